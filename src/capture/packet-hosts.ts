/**
 * Which hardware address each LAN address was last seen with, so that a neighbour is told once and again when it
 * changes or some time has passed. Bounded: a flood of forged addresses makes it forget, not grow.
 */
const LIMIT = 16_384;
const BUCKETS = LIMIT * 2;

export class HostTable {
  readonly #words = new Int32Array(LIMIT * 4);
  readonly #macs = new Float64Array(LIMIT);
  readonly #told = new Float64Array(LIMIT);
  readonly #index = new Uint16Array(BUCKETS);
  #size = 0;

  /** Notes that `mac` holds the address; `true` when that is news, or was last told more than `everyMs` ago. */
  note(words: Int32Array, at: number, mac: number, time: number, everyMs: number): boolean {
    let entry = this.#find(words, at);
    if (entry < 0) {
      if (this.#size === LIMIT - 1) this.#clear();
      entry = this.#add(words, at);
    } else if (this.#macs[entry] === mac && time - (this.#told[entry] as number) < everyMs) return false;
    this.#macs[entry] = mac;
    this.#told[entry] = time;
    return true;
  }

  /** The hardware address last seen with the address; -1 if none. */
  macOf(words: Int32Array, at: number): number {
    const entry = this.#find(words, at);
    return entry < 0 ? -1 : (this.#macs[entry] as number);
  }

  #find(words: Int32Array, at: number): number {
    const own = this.#words;
    for (let bucket = hash(words, at); ; bucket = (bucket + 1) & (BUCKETS - 1)) {
      const entry = (this.#index[bucket] as number) - 1;
      if (entry < 0) return -1;
      const base = entry * 4;
      if (
        own[base + 3] === words[at + 3] &&
        own[base + 2] === words[at + 2] &&
        own[base + 1] === words[at + 1] &&
        own[base] === words[at]
      )
        return entry;
    }
  }

  #add(words: Int32Array, at: number): number {
    let bucket = hash(words, at);
    while (this.#index[bucket] !== 0) bucket = (bucket + 1) & (BUCKETS - 1);
    const entry = this.#size++;
    for (let i = 0; i < 4; i++) this.#words[entry * 4 + i] = words[at + i] as number;
    this.#index[bucket] = entry + 1;
    return entry;
  }

  #clear(): void {
    this.#index.fill(0);
    this.#size = 0;
  }
}

/**
 * A stand-in where the capture has no hardware addresses: locally administered, the same for the same address. IPv4
 * 192.0.2.1 gives 02:00:C0:00:02:01; of IPv6 the interface identifier is folded in under 0A:….
 */
export function standInMac(words: ArrayLike<number>, at: number): number {
  const low = (words[at + 3] as number) >>> 0;
  if (words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff) return 0x02_00_0000_0000 + low;
  const folded = Math.imul((words[at] as number) ^ (words[at + 1] as number), 0x9e3779b1) ^ (words[at + 2] as number);
  return 0x0a_00_0000_0000 + ((folded ^ (folded >>> 8)) & 0xff) * 0x1_0000_0000 + low;
}

function hash(words: Int32Array, at: number): number {
  let h = Math.imul(
    (words[at + 3] as number) ^ Math.imul((words[at + 2] as number) ^ Math.imul(words[at] as number, 31), 0x9e3779b1),
    0x85ebca6b,
  );
  h ^= Math.imul(words[at + 1] as number, 0xc2b2ae35);
  return (h ^ (h >>> 16)) & (BUCKETS - 1);
}
