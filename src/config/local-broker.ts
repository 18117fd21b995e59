/** Options of the broker inside the home: for notices to the resident and for SPIN's own topics, never for controllers. */
import { bool, file, isLoopback, number, text, type ValuesOf } from "./option.ts";

export const localBrokerOptions = {
  host: text("Name or address of the broker; empty: there is none.", "", /^[A-Za-z0-9._:-]{0,255}$/),
  port: number("Port; 0: 8883 with TLS, 1883 without.", 0, 0, 65_535),
  tls: bool("Use TLS.", false),
  allow_plaintext: bool("Permit a connection without TLS to a broker beyond this machine.", false),
  ca_file: file("PEM file of the trusted authorities; empty: the system's."),
  username: text("User name.", "", /^.{0,256}$/),
  password_file: file("File that holds the password, readable by the agent alone."),
} as const;

export type LocalBrokerConfig = ValuesOf<typeof localBrokerOptions>;

export function localBrokerFault({ host, tls, allow_plaintext }: LocalBrokerConfig): string | undefined {
  if (host === "" || tls || allow_plaintext || isLoopback(host)) return undefined;
  return `local_broker option host is "${host}", beyond this machine, and tls is "0": set option allow_plaintext '1' to permit it`;
}
