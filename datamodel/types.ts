/** Types of the field: addresses, prefixes, names, ports. Text is canonical, because keys and searches compare strings. */
import { canonicalAddress, parseMac, printMac } from "../src/lib/address.ts";
import { parseDestinationMember, parseMacMember, parsePortMember } from "../src/lib/rule-text.ts";
import { canonical, list, string, ValueError, type ValueType } from "./values.ts";

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

/** `*`, or a MAC address of a device. */
export const deviceSelector = member("MACAddress", 17, parseMacMember, "*");

/** `*`, an address, a prefix, a domain (with its subdomains), or a row of the List table. */
export const destination = member("string", 260, parseDestinationMember, "*");

/** `443` or `8000-8010`. */
export const portRange = member("string", 11, parsePortMember);

/** A list member whose text is canonicalised by src/lib/rule-text.ts; `star` is taken as it is. */
function member(
  dataType: string,
  maxLength: number,
  parse: (text: string) => { readonly text: string } | { readonly error: string },
  star?: string,
): ValueType<string> {
  const facets = dataType === "string" ? { maxLength } : { maxLength, dataType };
  return {
    ...string(facets),
    parse(text) {
      if (text === star) return text;
      const parsed = parse(text);
      if ("error" in parsed) throw new ValueError("range", parsed.error);
      return parsed.text;
    },
  };
}

export const macAddressList = list(deviceSelector, { maxItems: 255, maxLength: 4095, isSet: true });
export const destinationList = list(destination, { maxItems: 255, maxLength: 4095, isSet: true });
export const portList = list(portRange, { maxItems: 32, isSet: true });
export const addressList = list(ipAddress);
export const nameList = list(string({ maxLength: 255 }));
