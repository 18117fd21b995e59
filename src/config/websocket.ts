/** Options of a port on which controllers reach the agent by WebSocket. */
import { parseAddress } from "../lib/address.ts";
import { bool, file, isLoopback, many, number, one, oneOf, text, type ValuesOf } from "./option.ts";

const interfaceName = /^[A-Za-z][A-Za-z0-9_.@-]{0,14}$/;

export const webSocketOptions = {
  listen: many(
    "Address, or name of an interface with all of its addresses, to listen on; none: all of this machine.",
    (value) => parseAddress(value) !== undefined || interfaceName.test(value),
    "an address or the name of an interface",
  ),
  port: number("TCP port.", 8443, 1, 65535),
  path: text("Path of the agent's resource.", "/usp", /^\/[\x21\x22\x24-\x3e\x40-\x7e]{0,1023}$/),
  tls: bool("Use TLS.", true),
  allow_plaintext: bool("Permit connections without TLS from beyond this machine.", false),
  cert_file: file("PEM file of the agent's certificate."),
  key_file: file("PEM file of its key."),
  ca_file: file("PEM file of the authorities trusted for controllers; empty: the system's."),
  client_certificates: oneOf(
    "Whether controllers show a certificate. One that they show is checked in any case.",
    "require",
    "require",
    "request",
    "none",
  ),
  keepalive: number("Seconds between Pings.", 60, 1, 86400),
} as const;

/** Of an endpoint to be dialled; empty: none. */
export const webSocketUrl = (description: string) =>
  one(description, "", (value) => {
    if (value === "") return value;
    if (/^wss?:\/\/[^/?#@]+(?:\/[^?#]*)?$/.test(value) && URL.canParse(value)) return value;
    throw new Error("must be wss://HOST:PORT/PATH, or ws:// without TLS");
  });

/** The parts of such a URL. */
export function webSocketTarget(url: string): { host: string; port: number; path: string; isTls: boolean } {
  const { protocol, hostname, port, pathname } = new URL(url);
  const isTls = protocol === "wss:";
  const host = hostname.replace(/^\[|\]$/g, "");
  return { host, port: port === "" ? (isTls ? 443 : 80) : Number(port), path: pathname, isTls };
}

/** What in a section does not go together, in words. */
export function webSocketFault(section: WebSocketConfig): string | undefined {
  const { name, tls, listen, allow_plaintext, cert_file, key_file } = section;
  if (tls && (cert_file === "" || key_file === ""))
    return `websocket '${name}' needs cert_file and key_file, or tls '0'`;
  if (tls || allow_plaintext || (listen.length > 0 && listen.every(isLoopback))) return undefined;
  return `websocket '${name}' option tls is "0" and it listens beyond this machine: set option allow_plaintext '1' to permit it, or list listen '127.0.0.1'`;
}

/** The same of a controller's options. */
export function webSocketDialFault(
  controller: {
    readonly name: string;
    readonly websocket_url: string;
    readonly websocket: string;
    readonly role: string;
  },
  { allowPlaintext, sections }: { readonly allowPlaintext: boolean; readonly sections: ReadonlySet<string> },
): string | undefined {
  const { name, websocket, websocket_url: url, role } = controller;
  if (websocket !== "" && !sections.has(websocket))
    return `controller '${name}' option websocket is "${websocket}", but there is no such websocket section`;
  if ((websocket !== "" || url !== "") && role === "Resident")
    return `controller '${name}' option role is "Resident", which counts only at the home's own door, not by WebSocket: use another`;
  if (!url.startsWith("ws://") || allowPlaintext) return undefined;
  if (isLoopback(webSocketTarget(url).host)) return undefined;
  return `controller '${name}' option websocket_url is "${url}", beyond this machine and without TLS: set option allow_plaintext '1' to permit it`;
}

export type WebSocketConfig = ValuesOf<typeof webSocketOptions> & { readonly name: string };
