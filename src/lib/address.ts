/**
 * Hardware and IP addresses: text ⇄ numbers.
 *
 * An IP address is four 32-bit words in network order, in a `Uint32Array` or at an offset of a larger one; an IPv4
 * address is its IPv4-mapped form (RFC 4291 §2.5.5.2, `::ffff:a.b.c.d`), so that one table holds both families. A MAC
 * address is one number below 2^48. Text is canonical because keys and searches compare strings: MAC addresses
 * upper-case with colons, IPv6 as RFC 5952, IPv4 dotted quad.
 */

export const MAPPED_PREFIX_WORD = 0xffff;

/** A prefix of either family. `bits` counts in the 128-bit space: an IPv4 /24 has 120. */
export interface Prefix {
  readonly words: Uint32Array;
  readonly bits: number;
}

/** Parses an IPv4 or IPv6 address without zone; `undefined` if it is not one. */
export function parseAddress(text: string): Uint32Array | undefined {
  const words = new Uint32Array(4);
  return parseAddressInto(text, words, 0) ? words : undefined;
}

/** Prints the four words at `offset` canonically; a mapped address prints as IPv4. */
export function printAddress(words: ArrayLike<number>, offset = 0): string {
  const w3 = words[offset + 3] as number;
  if (isIPv4(words, offset)) return `${w3 >>> 24}.${(w3 >>> 16) & 255}.${(w3 >>> 8) & 255}.${w3 & 255}`;
  for (let i = 0; i < 8; i++) groups[i] = (words[offset + (i >> 1)] as number) >>> (i & 1 ? 0 : 16);
  const { start, end } = longestZeroRun();
  let text = "";
  for (let i = 0; i < 8; i++) {
    if (i === start) {
      text += "::";
      i = end - 1;
    } else text += `${i === 0 || i === end ? "" : ":"}${(groups[i] as number).toString(16)}`;
  }
  return text;
}

/** Canonical text of an address given in any form; `undefined` if it is not one. */
export function canonicalAddress(text: string): string | undefined {
  const words = parseAddress(text);
  return words && printAddress(words);
}

/** Whether the words at `offset` hold an IPv4 (mapped) address. */
export function isIPv4(words: ArrayLike<number>, offset = 0): boolean {
  return words[offset] === 0 && words[offset + 1] === 0 && words[offset + 2] === MAPPED_PREFIX_WORD;
}

/** Parses `192.0.2.0/24`, `2001:db8::/32` or a bare address (a host prefix). Host bits are cleared. */
export function parsePrefix(text: string): Prefix | undefined {
  const slash = text.indexOf("/");
  const words = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!words) return undefined;
  const width = isIPv4(words) ? 32 : 128;
  const lengthText = slash < 0 ? String(width) : text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(lengthText) || Number(lengthText) > width) return undefined;
  const bits = Number(lengthText) + (128 - width);
  return { words: maskWords(words, bits), bits };
}

/** Canonical text of a prefix; a host prefix prints without a length. */
export function printPrefix(prefix: Prefix): string {
  const width = isIPv4(prefix.words) && prefix.bits >= 96 ? 32 : 128;
  const length = prefix.bits - (128 - width);
  return length === width ? printAddress(prefix.words) : `${printAddress(prefix.words)}/${length}`;
}

/** Whether the address at `offset` lies in the prefix. */
export function inPrefix(prefix: Prefix, words: ArrayLike<number>, offset = 0): boolean {
  let left = prefix.bits;
  for (let i = 0; i < 4 && left > 0; i++, left -= 32) {
    const mask = left >= 32 ? 0xffffffff : (0xffffffff << (32 - left)) >>> 0;
    if ((((words[offset + i] as number) ^ (prefix.words[i] as number)) & mask) !== 0) return false;
  }
  return true;
}

/** A copy of `words` with everything after the first `bits` cleared. */
export function maskWords(words: ArrayLike<number>, bits: number): Uint32Array {
  const masked = new Uint32Array(4);
  for (let i = 0, left = bits; i < 4 && left > 0; i++, left -= 32) {
    const mask = left >= 32 ? 0xffffffff : (0xffffffff << (32 - left)) >>> 0;
    masked[i] = ((words[i] as number) & mask) >>> 0;
  }
  return masked;
}

/** The 16 bytes of an address (IPv4: mapped) as words. */
export function wordsFromBytes(bytes: Uint8Array, offset: number, family: 4 | 6): Uint32Array {
  const words = new Uint32Array(4);
  const word = (at: number) =>
    (((bytes[at] as number) << 24) |
      ((bytes[at + 1] as number) << 16) |
      ((bytes[at + 2] as number) << 8) |
      (bytes[at + 3] as number)) >>>
    0;
  if (family === 4) {
    words[2] = MAPPED_PREFIX_WORD;
    words[3] = word(offset);
  } else for (let i = 0; i < 4; i++) words[i] = word(offset + 4 * i);
  return words;
}

/** Parses `02:00:00:00:00:01` or `02-00-…` in either case; `undefined` if it is not a MAC address. */
export function parseMac(text: string): number | undefined {
  if (!/^[0-9a-f]{2}([:-][0-9a-f]{2}){5}$/i.test(text)) return undefined;
  return Number.parseInt(text.replace(/[:-]/g, ""), 16);
}

/** Canonical text of a MAC address given as a number. */
export function printMac(mac: number): string {
  const hex = mac.toString(16).toUpperCase().padStart(12, "0");
  return `${hex.slice(0, 2)}:${hex.slice(2, 4)}:${hex.slice(4, 6)}:${hex.slice(6, 8)}:${hex.slice(8, 10)}:${hex.slice(10)}`;
}

/** The MAC address in six bytes at `offset`, as a number. */
export function macFromBytes(bytes: Uint8Array, offset: number): number {
  const high = ((bytes[offset] as number) << 8) | (bytes[offset + 1] as number);
  const low =
    (((bytes[offset + 2] as number) << 24) |
      ((bytes[offset + 3] as number) << 16) |
      ((bytes[offset + 4] as number) << 8) |
      (bytes[offset + 5] as number)) >>>
    0;
  return high * 0x100000000 + low;
}

/** Locally administered (IEEE 802: second bit of the first octet), as randomised addresses are. */
export function isLocallyAdministered(mac: number): boolean {
  return (Math.floor(mac / 0x10000000000) & 2) !== 0;
}

/** The eight groups of the IPv6 address that is being parsed or printed. */
const groups = new Uint16Array(8);

function parseAddressInto(text: string, words: Uint32Array, offset: number): boolean {
  if (!text.includes(":")) {
    const word = parseIPv4(text);
    if (word === undefined) return false;
    words[offset] = words[offset + 1] = 0;
    words[offset + 2] = MAPPED_PREFIX_WORD;
    words[offset + 3] = word;
    return true;
  }
  if (!parseIPv6Groups(text)) return false;
  for (let i = 0; i < 4; i++) words[offset + i] = ((groups[2 * i] as number) << 16) | (groups[2 * i + 1] as number);
  return true;
}

// Both parsers go through the characters, because expressions and parts cost three times as much (measured), and each
// answer's addresses come this way.

function parseIPv4(text: string): number | undefined {
  let word = 0;
  let octets = 0;
  let octet = -1;
  for (let at = 0; at < text.length; at++) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit >= 0 && digit <= 9) {
      // No leading zeros, which some read as octal.
      if (octet === 0) return undefined;
      octet = octet < 0 ? digit : octet * 10 + digit;
      if (octet > 255) return undefined;
    } else {
      if (text.charCodeAt(at) !== DOT || octet < 0 || octets === 3) return undefined;
      word = word * 256 + octet;
      octets++;
      octet = -1;
    }
  }
  return octets === 3 && octet >= 0 ? word * 256 + octet : undefined;
}

/** Fills `groups`; `false` if the text is no IPv6 address. */
function parseIPv6Groups(text: string): boolean {
  let count = 0;
  /** The group before which `::` stands. */
  let gap = -1;
  let at = 0;
  if (text.startsWith("::")) {
    gap = 0;
    at = 2;
  }
  while (at < text.length) {
    const from = at;
    let group = 0;
    for (let digit = hexDigit(text, at); digit >= 0 && at - from < 5; digit = hexDigit(text, at)) {
      group = group * 16 + digit;
      at++;
    }
    if (text.charCodeAt(at) === DOT) {
      // An embedded IPv4 address may only end the whole text.
      const word = parseIPv4(text.slice(from));
      if (word === undefined || count > 6) return false;
      groups[count++] = word >>> 16;
      groups[count++] = word;
      break;
    }
    if (at === from || at - from > 4 || count === 8) return false;
    groups[count++] = group;
    if (at === text.length) break;
    if (text.charCodeAt(at++) !== COLON || at === text.length) return false;
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) return false;
      gap = count;
      at++;
    }
  }
  if (gap < 0) return count === 8;
  if (count > 7) return false;
  const tail = 8 - (count - gap);
  groups.copyWithin(tail, gap, count);
  groups.fill(0, gap, tail);
  return true;
}

const DOT = 0x2e;
const COLON = 0x3a;

/** The value of the digit at `at`, -1 if there is none. */
function hexDigit(text: string, at: number): number {
  const code = text.charCodeAt(at);
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

/** Of two or more groups (RFC 5952 §4.2.2), the first of the longest; none: before the first group. */
function longestZeroRun(): { start: number; end: number } {
  let best = { start: -1, end: -1 };
  for (let i = 0; i < 8; i++) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > Math.max(1, best.end - best.start)) best = { start: i, end };
    i = end;
  }
  return best;
}
