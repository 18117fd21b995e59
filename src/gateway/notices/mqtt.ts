/** A notice by MQTT on the home's own broker, on a connection for it alone: notices are rare. */
import { localBrokerOptions, type ConnectMqtt } from "../local-broker.ts";
import type { LocalBrokerConfig } from "../../config/local-broker.ts";
import { textOf, type Delivery, type Send } from "./delivery.ts";

export interface MqttPlace {
  readonly broker: LocalBrokerConfig;
  readonly topic: string;
  readonly format: "JSON" | "Text";
  readonly connect: ConnectMqtt;
  readonly timeoutMs?: number;
}

/** For connecting and for the broker's word that it has it. */
const TIMEOUT_MS = 15_000;
/** Made anew for each agent on one broker. */
const CLIENT_ID = "spin-usp-notices";

export function mqttSender({ broker, topic, format, connect, timeoutMs = TIMEOUT_MS }: MqttPlace): Send {
  const clientId = `${CLIENT_ID}-${globalThis.crypto.randomUUID().slice(0, 8)}`;
  return async (delivery, signal) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const wanted = { ...localBrokerOptions(broker, clientId), publishOnly: true, publishQos: 1 as const };
    const { link, publish } = await connect({ ...wanted, connectTimeoutMs: timeoutMs }, limit);
    try {
      const payload = Buffer.from(format === "Text" ? textOf(delivery) : JSON.stringify(messageOf(delivery)));
      await unless(limit, publish({ topic, payload, qos: 1, retain: false, contentType: "" }));
    } finally {
      await link.close();
    }
  };
}

function messageOf({ notice, suppressed, ...rest }: Delivery) {
  const { subject, time, device, ...told } = notice;
  return {
    ...told,
    time: new Date(time).toISOString(),
    subject,
    device: device.name,
    physAddress: device.physAddress,
    text: textOf({ notice, suppressed, ...rest }),
    suppressed,
  };
}

function unless(signal: AbortSignal, promise: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new Error("the broker did not take it in time"));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
