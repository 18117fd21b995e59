/** What a list holds, once it is read: addresses and names that one asks for, and how the reading went. */
import { isIPv4, type Prefix } from "../../lib/address.ts";
import { prefixFamily } from "../rule-values.ts";
import { hashName, NameTable } from "./name-table.ts";
import { inRanges, normalized, type ListRanges } from "./ranges.ts";

/** More entries than this are left out of a list. Twice the target's; 4 MB as names, 4 MB as IPv4 addresses. */
export const MAX_ENTRIES = 500_000;

/** What an entry takes: a hash of a name, an IPv4 range, an IPv6 range. */
const NAME_BYTES = 8;
const RANGE_BYTES = { 4: 8, 6: 32 } as const;

export interface ListContent extends ListRanges {
  readonly names: NameTable;
  /** Taken in. */
  readonly entries: number;
  /** Lines or words that are no entry. */
  readonly unreadable: number;
  /** Entries that may not be in a list: private, the home's, the gateway's own, whole top-level domains. */
  readonly passedOver: number;
  /** Entries beyond the limit, or for which there was no room. */
  readonly beyond: number;
}

/** Whether the address (four words at `offset`) is in the list. */
export function holdsAddress({ v4, v6 }: ListRanges, words: ArrayLike<number>, offset: number): boolean {
  return isIPv4(words, offset) ? inRanges(v4, 1, words, offset + 3) : inRanges(v6, 4, words, offset);
}

export function bytesOf({ v4, v6, names }: ListContent): number {
  return v4.byteLength + v6.byteLength + names.bytes;
}

/** Takes entries one by one. */
export class ListBuilder {
  readonly #excluded: readonly Prefix[];
  readonly #limit: number;
  /** Bytes. */
  #room: number;
  #v4 = new Growing();
  #v6 = new Growing();
  #names = new Float64Array(1024);
  #nameCount = 0;
  entries = 0;
  unreadable = 0;
  passedOver = 0;
  beyond = 0;

  /** @param excluded no entry that overlaps one of these is taken @param room bytes that the content may take */
  constructor(excluded: readonly Prefix[], limit = MAX_ENTRIES, room = Infinity) {
    this.#excluded = excluded;
    this.#limit = limit;
    this.#room = room;
  }

  /** Counts an entry in, or as one too many. */
  #admits(bytes: number): boolean {
    if (this.entries >= this.#limit || this.#room < bytes) {
      this.beyond++;
      return false;
    }
    this.#room -= bytes;
    this.entries++;
    return true;
  }

  prefix(prefix: Prefix): void {
    const family = prefixFamily(prefix);
    if (this.#excluded.some((other) => overlap(prefix, other))) this.passedOver++;
    else if (this.#admits(RANGE_BYTES[family])) {
      const last = lastOf(prefix);
      if (family === 4) this.#v4.push([prefix.words[3] as number, last[3] as number]);
      else this.#v6.push([...prefix.words, ...last]);
    }
  }

  /** @param name canonical, two labels at least: a whole top-level domain is nobody's */
  name(name: string): void {
    if (!name.includes(".")) this.passedOver++;
    else if (this.#admits(NAME_BYTES)) {
      if (this.#nameCount === this.#names.length) {
        const grown = new Float64Array(2 * this.#nameCount);
        grown.set(this.#names);
        this.#names = grown;
      }
      this.#names[this.#nameCount++] = hashName(name);
    }
  }

  async finish(): Promise<ListContent> {
    const { entries, unreadable, passedOver, beyond } = this;
    const v4 = await normalized(this.#v4.taken(), 1);
    const v6 = await normalized(this.#v6.taken(), 4);
    const names = new NameTable(this.#names.slice(0, this.#nameCount));
    return { v4, v6, names, entries, unreadable, passedOver, beyond };
  }
}

class Growing {
  #words = new Uint32Array(1024);
  #length = 0;

  push(words: readonly number[]): void {
    if (this.#length + words.length > this.#words.length) {
      const grown = new Uint32Array(2 * this.#words.length);
      grown.set(this.#words);
      this.#words = grown;
    }
    this.#words.set(words, this.#length);
    this.#length += words.length;
  }

  taken(): Uint32Array {
    return this.#words.subarray(0, this.#length);
  }
}

/** One holds the other, as prefixes do when they meet. */
function overlap(a: Prefix, b: Prefix): boolean {
  if (prefixFamily(a) !== prefixFamily(b)) return false;
  const bits = Math.min(a.bits, b.bits);
  for (let i = 0, left = bits; i < 4 && left > 0; i++, left -= 32) {
    const mask = left >= 32 ? 0xffffffff : (0xffffffff << (32 - left)) >>> 0;
    if ((((a.words[i] as number) ^ (b.words[i] as number)) & mask) !== 0) return false;
  }
  return true;
}

function lastOf({ words, bits }: Prefix): Uint32Array {
  const last = new Uint32Array(4);
  for (let i = 0; i < 4; i++) {
    const fixed = Math.min(32, Math.max(0, bits - 32 * i));
    last[i] = (words[i] as number) | (fixed === 32 ? 0 : 0xffffffff >>> fixed);
  }
  return last;
}
