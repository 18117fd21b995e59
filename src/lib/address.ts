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
  const groups: number[] = [];
  for (let i = 0; i < 4; i++) {
    const word = words[offset + i] as number;
    groups.push(word >>> 16, word & 0xffff);
  }
  const { start, length } = longestZeroRun(groups);
  if (length < 2) return groups.map((group) => group.toString(16)).join(":");
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  return `${hex(groups.slice(0, start))}::${hex(groups.slice(start + length))}`;
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

function parseAddressInto(text: string, words: Uint32Array, offset: number): boolean {
  if (!text.includes(":")) {
    const word = parseIPv4(text);
    if (word === undefined) return false;
    words.set([0, 0, MAPPED_PREFIX_WORD, word], offset);
    return true;
  }
  const groups = parseIPv6Groups(text);
  if (!groups) return false;
  for (let i = 0; i < 4; i++) words[offset + i] = (((groups[2 * i] as number) << 16) | (groups[2 * i + 1] as number)) >>> 0;
  return true;
}

function parseIPv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (!match) return undefined;
  let word = 0;
  for (let i = 1; i <= 4; i++) {
    const part = match[i] as string;
    const octet = Number(part);
    if (octet > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    word = word * 256 + octet;
  }
  return word;
}

function parseIPv6Groups(text: string): number[] | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const parse = (half: string): number[] | undefined => {
    if (half === "") return [];
    const groups: number[] = [];
    const parts = half.split(":");
    for (const [index, part] of parts.entries()) {
      if (part.includes(".")) {
        const word = index === parts.length - 1 ? parseIPv4(part) : undefined;
        if (word === undefined) return undefined;
        groups.push(word >>> 16, word & 0xffff);
      } else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
      else return undefined;
    }
    return groups;
  };
  const head = parse(halves[0] as string);
  if (!head) return undefined;
  if (halves.length === 1) return head.length === 8 ? head : undefined;
  // An embedded IPv4 address may only end the whole text.
  if ((halves[0] as string).includes(".")) return undefined;
  const tail = parse(halves[1] as string);
  if (!tail || head.length + tail.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

function longestZeroRun(groups: number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let i = 0; i < 8; ) {
    let end = i;
    while (end < 8 && groups[end] === 0) end++;
    if (end - i > best.length) best = { start: i, length: end - i };
    i = Math.max(end, i + 1);
  }
  return best;
}
