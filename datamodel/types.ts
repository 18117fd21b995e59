/** Types of the field: addresses, prefixes, names, ports. Text is canonical, because keys and searches compare strings. */
import { canonicalAddress, parseMac, parsePrefix, printMac, printPrefix } from "../src/lib/address.ts";
import { canonicalDomain } from "../src/lib/domain.ts";
import { canonical, list, string, type ValueType } from "./values.ts";

/** `02:00:00:00:00:01`: upper-case with colons. */
export const macAddress: ValueType<string> = canonical(
  "MACAddress",
  { maxLength: 17 },
  "a MAC address like 02:00:00:00:00:01",
  (text) => {
    if (text === "") return "";
    const mac = parseMac(text);
    return mac === undefined ? undefined : printMac(mac);
  },
);

/** IPv4 or IPv6, IPv6 as RFC 5952; empty for none. */
export const ipAddress: ValueType<string> = canonical("IPAddress", { maxLength: 45 }, "an IP address", (text) =>
  text === "" ? "" : canonicalAddress(text),
);

/** `*`, or a MAC address. */
export const deviceSelector: ValueType<string> = canonical(
  "MACAddress",
  { maxLength: 17 },
  "a MAC address or *",
  (text) => {
    if (text === "*") return text;
    const mac = parseMac(text);
    return mac === undefined ? undefined : printMac(mac);
  },
);

/** `*`, an address, a prefix, a domain (with its subdomains), or a row of the List table. */
export const destination: ValueType<string> = {
  ...canonical("Destination", { maxLength: 260 }, "*, an address, a prefix, a domain or a list", canonicalDestination),
  facets: { maxLength: 260 },
};

function canonicalDestination(text: string): string | undefined {
  if (text === "*") return text;
  if (/^Device\.[A-Za-z0-9_.]+\.List\.[1-9]\d*\.?$/.test(text)) return text.replace(/\.$/, "");
  const prefix = parsePrefix(text);
  if (prefix) return printPrefix(prefix);
  // What looks like an address or a prefix but is none must not become a name.
  if (/[/:]/.test(text) || /^[\d.]+$/.test(text)) return undefined;
  return canonicalDomain(text);
}

/** `443` or `8000-8010`. */
export const portRange: ValueType<string> = {
  ...canonical("PortRange", {}, "a port or a range like 8000-8010", canonicalPortRange),
  facets: { maxLength: 11 },
};

function canonicalPortRange(text: string): string | undefined {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text);
  if (!match) return undefined;
  const from = Number(match[1]);
  const to = Number(match[2] ?? match[1]);
  if (to > 65535 || from > to) return undefined;
  return from === to ? `${from}` : `${from}-${to}`;
}

export const macAddressList = list(deviceSelector, { maxItems: 255 });
export const destinationList = list(destination, { maxItems: 255, maxLength: 4095 });
export const portList = list(portRange, { maxItems: 32 });
export const addressList = list(ipAddress);
export const nameList = list(string({ maxLength: 255 }));
