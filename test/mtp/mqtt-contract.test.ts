/** The Link contract over MQTT, against mosquitto in both versions and aedes, which the demo embeds. */
import { connectMqtt } from "../../src/mtp/mqtt.ts";
import type { MqttOptions } from "../../src/mtp/mqtt-options.ts";
import { linkContract } from "../contracts/link.ts";
import { startAedes, type AedesBroker } from "../support/aedes.ts";
import { hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";

const never = new AbortController().signal;

const cases = [
  { version: "5", qos: 0 },
  { version: "5", qos: 1 },
  { version: "3.1.1", qos: 0 },
  { version: "3.1.1", qos: 1 },
] as const;

for (const { version, qos } of cases) {
  const name = `MQTT ${version} at QoS ${qos} over mosquitto`;
  if (!hasMosquitto) {
    test.skip(`${name} (SKIPPED: mosquitto is not installed)`, () => undefined);
    continue;
  }
  describe("mosquitto", () => {
    let broker: Broker;
    beforeAll(async () => {
      const limit = version === "5" ? ["max_packet_size 400000"] : [];
      broker = await startMosquitto({ config: ["max_queued_messages 0", ...limit] });
    });
    afterAll(() => broker.stop());
    linkContract(name, () => ({
      connect: () => pair({ url: broker.url, version, publishQos: qos, limits: { incomingRecords: 64 } }),
      cut: () => broker.kill(),
      restore: () => broker.start(),
      ...(version === "5" ? { tooLarge: 400_000 } : {}),
    }));
  });
}

describe("aedes", () => {
  let broker: AedesBroker;
  beforeAll(async () => {
    broker = await startAedes();
  });
  afterAll(() => broker.kill());
  linkContract("MQTT 3.1.1 at QoS 1 over aedes", () => ({
    // aedes sends on without acknowledgements, so a small bound would have to drop.
    connect: () => pair({ url: broker.url, version: "3.1.1", publishQos: 1 }),
    cut: () => broker.kill(),
    restore: () => broker.start(),
  }));
});

async function pair(options: Pick<MqttOptions, "url" | "version" | "publishQos" | "limits">) {
  const end = async (name: string) => {
    const address = `usp/v1/${name}`;
    const subscriptions = [{ topic: options.version === "5" ? address : `${address}/#`, qos: options.publishQos ?? 0 }];
    const { link } = await connectMqtt(
      { ...options, endpointId: `self::${name}`, responseTopic: address, subscriptions },
      never,
    );
    return { link, address };
  };
  const [a, b] = await Promise.all([end("a"), end("b")]);
  return { a, b };
}
