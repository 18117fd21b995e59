/**
 * Very many names in 8 bytes each: sorted hashes of 53 bits, the width of a double. What is asked is whether a name or one
 * above it is among them, so no name need be told back. A stranger's name is taken for one of 500,000 with a probability
 * of 6 · 10⁻¹¹; who chose one so that it is would be listed by his own choice.
 */
const HIGH_BITS = 0x1fffff;
const DOT = 46;

export class NameTable {
  readonly #hashes: Float64Array;

  /** @param hashes of `hashName`, in any order; taken over and sorted */
  constructor(hashes: Float64Array) {
    hashes.sort();
    let kept = 0;
    for (let i = 0; i < hashes.length; i++)
      if (i === 0 || hashes[i] !== hashes[i - 1]) hashes[kept++] = hashes[i] as number;
    this.#hashes = kept === hashes.length ? hashes : hashes.slice(0, kept);
  }

  get size(): number {
    return this.#hashes.length;
  }

  get bytes(): number {
    return this.#hashes.byteLength;
  }

  /** The part of `name` (canonical) that is in the table: itself, or the longest one above it; empty if none is. */
  match(name: string): string {
    if (this.#hashes.length === 0) return "";
    let found = "";
    eachSuffixHash(name, (hash, from) => {
      if (this.#has(hash)) found = name.slice(from);
    });
    return found;
  }

  #has(hash: number): boolean {
    const hashes = this.#hashes;
    let low = 0;
    let high = hashes.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((hashes[middle] as number) < hash) low = middle + 1;
      else high = middle;
    }
    return hashes[low] === hash;
  }
}

export function hashName(name: string): number {
  let whole = 0;
  eachSuffixHash(name, (hash, from) => {
    if (from === 0) whole = hash;
  });
  return whole;
}

/** From the end, so that each name above costs no more than its own letters. */
function eachSuffixHash(name: string, visit: (hash: number, from: number) => void): void {
  let a = 0x811c9dc5;
  let b = 0x9747b28c;
  for (let at = name.length - 1; at >= 0; at--) {
    const code = name.charCodeAt(at);
    a = Math.imul(a ^ code, 0x01000193);
    b = Math.imul(b + code + 1, 0x85ebca6b);
    b ^= b >>> 13;
    if (at === 0 || name.charCodeAt(at - 1) === DOT) visit(combine(a, b), at);
  }
}

function combine(a: number, b: number): number {
  let high = Math.imul(a ^ (a >>> 15), 0x2c1b3c6d);
  high ^= high >>> 12;
  const low = Math.imul(b ^ (b >>> 16), 0x297a2d39);
  return (high & HIGH_BITS) * 0x100000000 + ((low ^ (low >>> 15)) >>> 0);
}
