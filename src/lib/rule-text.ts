/**
 * Members of a rule's lists as text: hardware addresses, destinations, ports. Each has one canonical form; a refusal says
 * in words what was wrong, for the error that a controller gets.
 */
import { parseMac, parsePrefix, printMac, printPrefix, type Prefix } from "./address.ts";
import { canonicalDomain } from "./domain.ts";

/** A value with its canonical text, or why the text is none. */
export type Parsed<T> = { readonly value: T; readonly text: string } | { readonly error: string };

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** What a DestinationList may name. */
export type Destination =
  | { readonly kind: "prefix"; readonly prefix: Prefix }
  | { readonly kind: "domain"; readonly name: string }
  | { readonly kind: "list"; readonly reference: string };

/** One member of a MACAddressList: a unicast hardware address. */
export function parseMacMember(text: string): Parsed<number> {
  const mac = parseMac(text);
  if (mac === undefined) return { error: `${quote(text)} is not a MAC address (such as 02:00:00:00:00:01)` };
  if ((Math.floor(mac / 0x10000000000) & 1) !== 0)
    return { error: `${printMac(mac)} is a group address, not a device's` };
  if (mac === 0) return { error: "00:00:00:00:00:00 is no device's address" };
  return { value: mac, text: printMac(mac) };
}

/** One member of a DestinationList. */
export function parseDestinationMember(text: string): Parsed<Destination> {
  const prefix = parsePrefix(text);
  if (prefix) return { value: { kind: "prefix", prefix }, text: printPrefix(prefix) };
  if (/^Device\.([A-Za-z0-9_]+\.)*List\.\d+\.?$/.test(text)) {
    const reference = text.endsWith(".") ? text.slice(0, -1) : text;
    return { value: { kind: "list", reference }, text: reference };
  }
  const name = domainOf(text);
  if (name !== undefined) return { value: { kind: "domain", name }, text: name };
  return { error: `${quote(text)} is not an IP address, a prefix, a domain or a reference to a list` };
}

/**
 * The domain that a person wrote, canonical. `*.example.com` means the same as `example.com`, since subdomains are always
 * meant; a name that ends in digits alone is a mistyped address.
 */
function domainOf(text: string): string | undefined {
  const name = canonicalDomain(text.startsWith("*.") ? text.slice(2) : text);
  return name === undefined || /(^|\.)\d+$/.test(name) ? undefined : name;
}

/** One member of a PortList: a port or a range of ports. */
export function parsePortMember(text: string): Parsed<PortRange> {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return { error: `${quote(text)} is neither a port nor a range of ports (such as 443 or 8000-8010)` };
  const from = Number(match[1]);
  const to = match[2] === undefined ? from : Number(match[2]);
  if (from > 65535 || to > 65535) return { error: `${quote(text)} is beyond 65535, the last port` };
  if (from > to) return { error: `${quote(text)} ends before it begins` };
  return { value: { from, to }, text: from === to ? String(from) : `${from}-${to}` };
}

function quote(text: string): string {
  return `"${text.length > 60 ? `${text.slice(0, 60)}…` : text}"`;
}
