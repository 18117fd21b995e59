/**
 * An open-addressing index from hashes to row numbers of a table in columns: linear probing, at most half full, removal
 * by shifting back (no tombstones, so a table that lives for years does not silt up). It compares nothing: the table
 * walks the candidates and compares its own columns.
 */

/** Devices choose addresses and ports; the seed keeps them from choosing collisions. */
const seed = (Math.random() * 0x100000000) >>> 0;

/** Hash of the four words of an address, and something else to hash with them. */
export function hashWords(words: ArrayLike<number>, offset: number, also: number): number {
  let hash = mix(seed ^ also, words[offset + 3] as number);
  hash = mix(hash, words[offset + 2] as number);
  hash = mix(hash, words[offset + 1] as number);
  hash = mix(hash, words[offset] as number);
  return finish(hash);
}

/** One round of MurmurHash3's 32-bit body. */
export function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  hash ^= Math.imul(k, 0x1b873593);
  hash = (hash << 13) | (hash >>> 19);
  return (Math.imul(hash, 5) + 0xe6546b64) | 0;
}

export function finish(hash: number): number {
  hash ^= hash >>> 16;
  hash = Math.imul(hash, 0x85ebca6b);
  hash ^= hash >>> 13;
  hash = Math.imul(hash, 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/** A larger column with the old one's contents. */
export function grown<Column extends { set(from: Column): void }>(from: Column, to: Column): Column {
  to.set(from);
  return to;
}

export class WordIndex {
  /** Row + 1; 0 is empty. */
  #rows: Int32Array;
  #hashes: Uint32Array;
  #mask: number;
  #used = 0;

  /** `expected` rows fit without growing. */
  constructor(expected: number) {
    let size = 16;
    while (size < expected * 2) size *= 2;
    this.#rows = new Int32Array(size);
    this.#hashes = new Uint32Array(size);
    this.#mask = size - 1;
  }

  /** Position of the first candidate for a hash; -1: none. */
  first(hash: number): number {
    return this.#seek(hash & this.#mask, hash);
  }

  /** Position of the candidate after `at`; -1: none. */
  following(at: number, hash: number): number {
    return this.#seek((at + 1) & this.#mask, hash);
  }

  rowAt(at: number): number {
    return (this.#rows[at] as number) - 1;
  }

  insert(hash: number, row: number): void {
    if (this.#used * 2 >= this.#rows.length) this.#resize(this.#rows.length * 2);
    this.#put(hash, row);
    this.#used++;
  }

  remove(hash: number, row: number): void {
    let hole = this.first(hash);
    while (this.#rows[hole] !== row + 1) hole = this.following(hole, hash);
    for (let at = (hole + 1) & this.#mask; this.#rows[at] !== 0; at = (at + 1) & this.#mask) {
      const home = (this.#hashes[at] as number) & this.#mask;
      // An entry moves into the hole unless its home lies after the hole, up to where it stands.
      if (((at - home) & this.#mask) >= ((at - hole) & this.#mask)) {
        this.#rows[hole] = this.#rows[at] as number;
        this.#hashes[hole] = this.#hashes[at] as number;
        hole = at;
      }
    }
    this.#rows[hole] = 0;
    this.#used--;
    if (this.#rows.length > 4096 && this.#used * 16 < this.#rows.length) this.#resize(this.#rows.length / 4);
  }

  #seek(at: number, hash: number): number {
    const rows = this.#rows;
    const hashes = this.#hashes;
    while (rows[at] !== 0) {
      if (hashes[at] === hash) return at;
      at = (at + 1) & this.#mask;
    }
    return -1;
  }

  #put(hash: number, row: number): void {
    let at = hash & this.#mask;
    while (this.#rows[at] !== 0) at = (at + 1) & this.#mask;
    this.#rows[at] = row + 1;
    this.#hashes[at] = hash;
  }

  #resize(size: number): void {
    const rows = this.#rows;
    const hashes = this.#hashes;
    this.#rows = new Int32Array(size);
    this.#hashes = new Uint32Array(size);
    this.#mask = size - 1;
    for (let at = 0; at < rows.length; at++)
      if (rows[at] !== 0) this.#put(hashes[at] as number, (rows[at] as number) - 1);
  }
}
