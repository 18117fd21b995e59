/** Options of a broker. */
import { parseAddress } from "../lib/address.ts";
import { TOPIC_PRESET_NAMES, type TopicPresetName } from "../lib/topics.ts";
import { one, text, file, topic, bool, number, oneOf, type ValuesOf } from "./option.ts";

export const mqttOptions = {
  host: one("Name or address of the broker.", undefined, (value) => {
    const isAddress = value.includes(":") || /^[\d.]+$/.test(value);
    if (!/^[A-Za-z0-9._:-]{1,255}$/.test(value) || (isAddress && parseAddress(value) === undefined))
      throw new Error("must be a name or an address");
    return value;
  }),
  port: number("Port; 0: 8883 with TLS, 1883 without.", 0, 0, 65535),
  version: oneOf("MQTT version.", "5.0", "5.0", "3.1.1"),
  tls: bool("Use TLS.", true),
  allow_plaintext: bool("Permit a connection without TLS to a broker beyond this machine.", false),
  ca_file: file("PEM file of the trusted authorities; empty: the system's."),
  cert_file: file("PEM file of the client certificate."),
  key_file: file("PEM file of its key."),
  username: text("User name.", "", /^.{0,256}$/),
  password_file: file("File that holds the password, readable by the agent alone."),
  client_id: text("Client id; empty: the broker's choice (5.0), the endpoint id (3.1.1).", ""),
  topics: oneOf<TopicPresetName>(
    "Topics as others have them, for the agent and its controllers, where none are named: `bbf` (and `spin`) is `usp/v1/agent/ENDPOINT-ID` and `usp/v1/controller/ENDPOINT-ID`.",
    "bbf",
    ...TOPIC_PRESET_NAMES,
  ),
  topic: topic("Where controllers send to the agent; empty: by `topics`, so `usp/v1/agent/ENDPOINT-ID` as a rule."),
  qos: number(
    "QoS of what the agent sends. At 1, a mosquitto without `set_tcp_nodelay true` adds 40 ms to each answer.",
    0,
    0,
    2,
  ),
  keepalive: number("Seconds between keep-alives; 0: none.", 60, 0, 65535),
} as const;

export type MqttConfig = ValuesOf<typeof mqttOptions> & { readonly name: string };
