/** Why a broker refused a CONNECT, in words. Codes: MQTT 3.1.1 §3.2.2.3, MQTT 5 §3.2.2.2. */
import { MtpError, type MtpErrorKind } from "./error.ts";
import type { MqttOptions } from "./mqtt-options.ts";

export interface Connack {
  readonly returnCode?: number;
  readonly reasonCode?: number;
  readonly sessionPresent?: boolean;
  readonly properties?: {
    readonly assignedClientIdentifier?: string;
    readonly maximumPacketSize?: number;
    readonly maximumQoS?: number;
    readonly receiveMaximum?: number;
    readonly reasonString?: string;
    readonly responseInformation?: string;
    readonly serverKeepAlive?: number;
    readonly userProperties?: { readonly [name: string]: string | readonly string[] };
  };
}

export function connackError(connack: Connack, options: MqttOptions, peer: string): MtpError {
  const code = connack.reasonCode ?? connack.returnCode ?? 0;
  const [kind, text] = REASONS[code] ?? ["rejected", "the broker refuses the connection"];
  const said = connack.properties?.reasonString;
  const who = kind === "credentials" ? ` (user ${JSON.stringify(options.username ?? "")})` : "";
  const which = kind === "version" ? ` ${options.version}` : "";
  return new MtpError(kind, `${peer}: ${text}${which}${who}, code ${code}${said === undefined ? "" : `: ${said}`}`);
}

const REASONS: { readonly [code: number]: readonly [MtpErrorKind, string] } = {
  1: ["version", "the broker does not speak MQTT"],
  2: ["client-id", "the broker does not accept the client id"],
  3: ["rejected", "the broker is not available"],
  4: ["credentials", "user name or password is wrong"],
  5: ["credentials", "not authorized"],
  0x81: ["rejected", "the broker finds the CONNECT malformed"],
  0x82: ["rejected", "the broker finds a protocol error in the CONNECT"],
  0x84: ["version", "the broker does not speak MQTT"],
  0x85: ["client-id", "the broker does not accept the client id"],
  0x86: ["credentials", "user name or password is wrong"],
  0x87: ["credentials", "not authorized"],
  0x88: ["rejected", "the broker is not available"],
  0x89: ["rejected", "the broker is busy"],
  0x8a: ["rejected", "the broker has banned this client"],
  0x8c: ["credentials", "the broker wants another way of authentication"],
  0x90: ["rejected", "the broker does not accept the will's topic"],
  0x95: ["too-large", "the CONNECT is more than the broker takes"],
  0x97: ["rejected", "a quota is exceeded"],
  0x99: ["rejected", "the broker finds the will's payload malformed"],
  0x9a: ["rejected", "the broker does not retain messages"],
  0x9b: ["rejected", "the broker does not support this quality of service"],
  0x9c: ["rejected", "use another server"],
  0x9d: ["rejected", "the server has moved"],
  0x9f: ["rejected", "too many connections"],
};
