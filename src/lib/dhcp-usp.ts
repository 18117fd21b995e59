/**
 * What a DHCP server says of a USP controller (TR-369 §"Using DHCP", R-DIS.1…): the vendor-identifying options 125 (DHCPv4)
 * and 17 (DHCPv6) of the Broadband Forum, whose sub-options 25 to 29 are texts. The platform's DHCP client leaves them in a
 * file as `NAME=HEX` lines, as udhcpc and odhcp6c hand them to their scripts.
 */

export interface DiscoveredController {
  /** Sub-option 25: URL, or name alone. */
  readonly url: string;
  /** 26 */
  readonly provisioningCode: string;
  /** 27, in seconds, and 28, in thousandths: of the retry formula; absent: the standard's. */
  readonly retryMinimum: number | undefined;
  readonly retryMultiplier: number | undefined;
  /** 29 */
  readonly endpointId: string;
}

/** The Broadband Forum's enterprise number. */
const ENTERPRISE = 3561;
/** Names of the two options by those who hand them on, and how wide their codes and lengths are. */
const OPTIONS: readonly { readonly name: RegExp; readonly isV6: boolean }[] = [
  { name: /^(?:opt125|OPTION_125|v4)$/i, isV6: false },
  { name: /^(?:OPTION_17|opt17|v6)$/i, isV6: true },
];
/** DHCPv4 options hold 255 bytes each and may go on in another; nobody sends more than a few. */
const MAX_TEXT = 16_384;

/** `undefined` where the text says nothing of a controller. Never throws. */
export function parseDhcp(text: string): DiscoveredController | undefined {
  for (const line of text.slice(0, MAX_TEXT).split("\n")) {
    const [name = "", value = ""] = line.trim().split("=", 2);
    const option = OPTIONS.find((one) => one.name.test(name));
    const hex = value.replace(/[":\s]/g, "");
    if (!option || !/^(?:[0-9a-f]{2})+$/i.test(hex)) continue;
    const found = option.isV6 ? ofV6(Buffer.from(hex, "hex")) : ofV4(Buffer.from(hex, "hex"));
    if (found) return found;
  }
  return undefined;
}

/** RFC 3925 §4: enterprise number, length, data; again and again. */
function ofV4(bytes: Buffer): DiscoveredController | undefined {
  for (let at = 0; at + 5 <= bytes.length; at += 5 + (bytes[at + 4] as number))
    if (bytes.readUInt32BE(at) === ENTERPRISE)
      return controllerIn(subOptions(bytes.subarray(at + 5, at + 5 + (bytes[at + 4] as number)), 1));
  return undefined;
}

/** RFC 8415 §21.17: one enterprise number, then its options. */
function ofV6(bytes: Buffer): DiscoveredController | undefined {
  if (bytes.length < 4 || bytes.readUInt32BE(0) !== ENTERPRISE) return undefined;
  return controllerIn(subOptions(bytes.subarray(4), 2));
}

function subOptions(bytes: Buffer, width: 1 | 2): ReadonlyMap<number, string> {
  const texts = new Map<number, string>();
  for (let at = 0; at + 2 * width <= bytes.length;) {
    const code = bytes.readUIntBE(at, width);
    const length = bytes.readUIntBE(at + width, width);
    const data = bytes.subarray(at + 2 * width, at + 2 * width + length);
    if (data.length < length) break;
    // A final NUL is tolerated; other control characters are nobody's text.
    const text = data.toString("utf8").replace(/\0$/, "");
    if (!/[\p{Cc}\uFFFD]/u.test(text)) texts.set(code, text);
    at += 2 * width + length;
  }
  return texts;
}

function controllerIn(texts: ReadonlyMap<number, string>): DiscoveredController | undefined {
  const url = texts.get(25) ?? "";
  const endpointId = texts.get(29) ?? "";
  if (url === "" && endpointId === "") return undefined;
  const number = (code: number, min: number) => {
    const value = Number(texts.get(code) || Number.NaN);
    return Number.isInteger(value) && value >= min && value <= 65_535 ? value : undefined;
  };
  return {
    url,
    provisioningCode: (texts.get(26) ?? "").slice(0, 64),
    retryMinimum: number(27, 1),
    retryMultiplier: number(28, 1000),
    endpointId,
  };
}
