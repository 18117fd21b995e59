/**
 * What a block may hold: a Bloom filter of its devices, peers and names, the names' parent domains included. Ten bits a key
 * and two hashes say yes wrongly in one case of thirty; blocks with very many keys somewhat more often.
 */
import { sameWords } from "../direction.ts";

const BITS_A_KEY = 10;
const MIN_BYTES = 8;
const MAX_BYTES = 2048;
/** Of a name's parents, so many: a name of a tunnel has dozens. */
const MAX_LABELS = 6;

export class BloomBuilder {
  readonly #keys = new Set<number>();
  #lastName = "";
  #last = new Uint32Array(4);

  number(hash: number): void {
    this.#keys.add(hash);
  }

  address(words: Uint32Array, offset: number): void {
    if (this.#keys.size > 0 && sameWords(words, offset, this.#last, 0)) return;
    this.#last.set(words.subarray(offset, offset + 4));
    this.#keys.add(addressKey(words, offset));
  }

  name(name: string): void {
    if (name === "" || name === this.#lastName) return;
    this.#lastName = name;
    // From the end: the parents that many names share, then the name itself.
    let at = name.length;
    for (let labels = 0; labels < MAX_LABELS && at > 0; labels++) {
      at = name.lastIndexOf(".", at - 1);
      this.#keys.add(nameKey(name.slice(at + 1)));
      if (at < 0) return;
    }
    this.#keys.add(nameKey(name));
  }

  bytes(): Uint8Array {
    let bytes = MIN_BYTES;
    while (bytes < MAX_BYTES && bytes * 8 < this.#keys.size * BITS_A_KEY) bytes *= 2;
    const bits = new Uint8Array(bytes);
    for (const key of this.#keys)
      for (const bit of places(key, bytes * 8)) bits[bit >>> 3] = (bits[bit >>> 3] as number) | (1 << (bit & 7));
    return bits;
  }
}

/** A filter of no bits says nothing: anything may be there. */
export function mayHold(bits: Uint8Array, key: number): boolean {
  if (bits.length === 0) return true;
  for (const bit of places(key, bits.length * 8))
    if (((bits[bit >>> 3] as number) & (1 << (bit & 7))) === 0) return false;
  return true;
}

/** Some row is of flows to peers that are not named. */
export const COARSE_KEY = 0x434f4152;

/** `bits` is a power of two. */
function places(key: number, bits: number): [number, number] {
  const other = Math.imul(key ^ (key >>> 15), 0x85ebca6b) >>> 0;
  return [key & (bits - 1), (other ^ (other >>> 13)) & (bits - 1)];
}

export function macKey(mac: number): number {
  return mixed(mixed(0x4d414321, mac % 0x100000000), Math.floor(mac / 0x100000000));
}

export function addressKey(words: ArrayLike<number>, offset: number): number {
  let hash = 0x41444452;
  for (let k = 0; k < 4; k++) hash = mixed(hash, words[offset + k] as number);
  return hash;
}

/** A filter can say of a domain with more labels than it keeps only that it is there itself. */
export function nameKey(name: string): number {
  let hash = 0x811c9dc5;
  for (let k = 0; k < name.length; k++) hash = Math.imul(hash ^ name.charCodeAt(k), 0x01000193);
  return mixed(hash >>> 0, name.length);
}

/** Whether a search for the domain with its subdomains can be narrowed by filters. */
export const isFiltered = (domain: string): boolean => domain.split(".").length <= MAX_LABELS;

function mixed(hash: number, word: number): number {
  let value = Math.imul(hash ^ word, 0x9e3779b1);
  value = Math.imul(value ^ (value >>> 15), 0x85ebca77);
  return (value ^ (value >>> 13)) >>> 0;
}
