/** The broker inside the home as MQTT wants it: for notices and for SPIN's own topics. */
import { readFileSync } from "node:fs";
import type { LocalBrokerConfig } from "../config/local-broker.ts";
import type { MqttConnection } from "../mtp/mqtt.ts";
import type { MqttOptions } from "../mtp/mqtt-options.ts";

/** Of mtp/mqtt.ts, which is a bundle of its own: whoever loads a part hands it in. */
export type ConnectMqtt = (options: MqttOptions, signal: AbortSignal) => Promise<MqttConnection>;

/** @param clientId One connection each: a second of one id would end the first. @throws Error where a file can't be read */
export function localBrokerOptions(
  { host, port, tls, ca_file, username, password_file }: LocalBrokerConfig,
  clientId: string,
): MqttOptions {
  const name = host.includes(":") ? `[${host}]` : host;
  return {
    url: `${tls ? "mqtts" : "mqtt"}://${name}:${port === 0 ? (tls ? 8883 : 1883) : port}`,
    version: "3.1.1",
    endpointId: clientId,
    clientId,
    appendReplyTo: false,
    ...(username === "" ? {} : { username }),
    ...(password_file === "" ? {} : { password: readFileSync(password_file, "utf8").split(/\r?\n/)[0] as string }),
    ...(tls ? { tls: { verify: true, ...(ca_file === "" ? {} : { ca: readFileSync(ca_file, "utf8") }) } } : {}),
  };
}
