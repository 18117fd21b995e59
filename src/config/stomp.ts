/** Options of a STOMP broker. */
import { mqttOptions } from "./mqtt.ts";
import { isLoopback, number, one, text, type ValuesOf } from "./option.ts";

const { host, tls, allow_plaintext, ca_file, cert_file, key_file, username, password_file } = mqttOptions;

export const stompOptions = {
  host,
  port: number("Port; 0: 61614 with TLS, 61613 without.", 0, 0, 65535),
  tls,
  allow_plaintext,
  ca_file,
  cert_file,
  key_file,
  username,
  password_file,
  virtual_host: text("Virtual host at the broker; empty: its default.", "", /^.{0,256}$/),
  destination: one(
    "Where controllers send to the agent; empty: `/topic/usp.v1.agent.ENDPOINT-ID`. What the broker names instead counts.",
    "",
    destinationText,
  ),
  heartbeat: number("Seconds between heart-beats, both ways; 0: none.", 30, 0, 3600),
  retry_interval: number("Seconds within which the first attempt to connect again comes.", 60, 1, 65535),
} as const;

export type StompConfig = ValuesOf<typeof stompOptions> & { readonly name: string };

export function stompPort({ port, tls }: Pick<StompConfig, "port" | "tls">): number {
  return port === 0 ? (tls ? 61_614 : 61_613) : port;
}

/** Why the section makes no sense, in words; `undefined` if it does. */
export function stompFault({ name, host, tls, allow_plaintext, cert_file, key_file }: StompConfig): string | undefined {
  if (!tls && !allow_plaintext && !isLoopback(host))
    return `stomp '${name}' option tls is "0" and host is "${host}", beyond this machine: set option allow_plaintext '1' to permit it`;
  if ((cert_file === "") !== (key_file === "")) return `stomp '${name}' needs both of cert_file and key_file, or none`;
  return undefined;
}

/** Whether two sections are of one connection: a row is known by these three. */
export function stompTwins(sections: readonly StompConfig[]): string | undefined {
  const seen = new Map<string, string>();
  for (const { name, host, username, virtual_host } of sections) {
    const key = JSON.stringify([host, username, virtual_host]);
    const other = seen.get(key);
    if (other !== undefined) return `stomp '${name}' has host, username and virtual_host as stomp '${other}' has`;
    seen.set(key, name);
  }
  return undefined;
}

/** Why a controller can't be reached by the section that it names. */
export function stompRouteFault(
  { name, stomp, role }: { readonly name: string; readonly stomp: string; readonly role: string },
  sections: readonly StompConfig[],
): string | undefined {
  if (stomp === "") return undefined;
  if (role === "Resident")
    return `controller '${name}' option role is "Resident", which counts only at the home's own door, not by STOMP: use another, or no option stomp`;
  if (!sections.some((section) => section.name === stomp))
    return `controller '${name}' option stomp is "${stomp}", but there is no such stomp section`;
  return undefined;
}

/** @throws Error saying what a destination should be */
export function destinationText(value: string): string {
  if (/\p{Cc}/u.test(value) || Buffer.byteLength(value) > 8_000)
    throw new Error("must be a destination without control characters, at most 8000 bytes");
  return value;
}
