/** Options of notices to the resident. */
import type { LocalBrokerConfig } from "./local-broker.ts";
import { bool, file, isLoopback, oneOf, text, topic, type ValuesOf } from "./option.ts";

export const noticeOptions = {
  url: text(
    "Where each notice goes by HTTP POST, as ntfy takes it: the sentence as the body. Empty: nowhere.",
    "",
    /^(?:https?:\/\/[^\s#@]+)?$/,
  ),
  token_file: file("File that holds an access token for that server (`Authorization: Bearer`)."),
  allow_plaintext: bool("Permit http:// to a server beyond this machine.", false),
  ca_file: file("PEM file of the authorities trusted for it; empty: the system's."),
  topic: topic("Topic on the local broker (section local_broker) that each notice goes to; empty: none."),
  format: oneOf("What is published there: an object with the sentence, or the sentence alone.", "JSON", "JSON", "Text"),
  min_severity: oneOf("Incidents below are not told.", "Medium", "Info", "Low", "Medium", "High"),
  new_devices: bool("Tell of devices that were never seen before.", true),
  peers: bool("Say in the notice whom it was about: addresses and names, which the server then knows too.", false),
} as const;

export type NoticeConfig = ValuesOf<typeof noticeOptions>;

export function noticeFault(notice: NoticeConfig, broker: LocalBrokerConfig): string | undefined {
  const { url, allow_plaintext, token_file, topic: to } = notice;
  if (to !== "" && broker.host === "") return `notice option topic is "${to}", but section local_broker has no host`;
  if (token_file !== "" && url === "") return "notice option token_file needs option url";
  if (url === "") return undefined;
  if (!URL.canParse(url)) return `notice option url is ${JSON.stringify(url)}; it must be a URL`;
  const { protocol, hostname } = new URL(url);
  if (protocol === "http:" && !allow_plaintext && !isLoopback(hostname.replace(/^\[|\]$/g, "")))
    return `notice option url is "${url}", without TLS: set option allow_plaintext '1' to permit it`;
  return undefined;
}
