/**
 * The flows of a capture in one typed array: open addressing on the 5-tuple, both directions of a flow in one record,
 * one list a timeout class in the order of last use. Bounded: when full, the flow that waited longest gives way.
 * String keys cost five times as much (measured), so there are none.
 */

/** Words of a record. The doubles share its memory: see `Double`. */
export const Word = {
  /** Source and destination of the original direction, four words each. */
  Source: 0,
  Destination: 4,
  /** Source port · 65536 + destination port. */
  Ports: 8,
  /** Protocol; for ICMP also the request's type · 256. */
  Key: 9,
  Hash: 10,
  State: 11,
  Previous: 12,
  Next: 13,
  List: 14,
  /** What `PacketView.view` was for the packets that count, each direction. */
  View: 15,
  ReplyView: 16,
  Verdict: 17,
  VerdictGeneration: 18,
} as const;

/** Doubles of a record: index = slot · DOUBLES + this. */
export const Double = {
  Packets: 10,
  Bytes: 11,
  ReplyPackets: 12,
  ReplyBytes: 13,
  First: 14,
  Last: 15,
  ReplyLast: 16,
} as const;

/** Bits of `Word.State`. */
export const State = {
  Dirty: 1,
  /** The New row was emitted. */
  Announced: 2,
  Answered: 4,
  /** A packet of that direction came in this interval. */
  Touched: 8,
  ReplyTouched: 16,
  Fin: 32,
  ReplyFin: 64,
  Closing: 128,
  /** Slot is in use. */
  Live: 256,
} as const;

export const WORDS = 34;
export const DOUBLES = 17;

/** Timeout classes, conntrack's defaults but for an open TCP connection (there five days) and a closed one. */
export const Timeout = { Unanswered: 0, Answered: 1, TcpOpening: 2, TcpOpen: 3, TcpClosed: 4 } as const;
export const TIMEOUT_MS: readonly number[] = [30_000, 120_000, 120_000, 3_600_000, 10_000];

/** Who gives way first when the table is full. */
const EVICTION_ORDER = [Timeout.TcpClosed, Timeout.Unanswered, Timeout.TcpOpening, Timeout.Answered, Timeout.TcpOpen];

export class PacketTable {
  words: Int32Array;
  doubles: Float64Array;
  size = 0;
  /** Set by `find`: the packet goes against the original direction. */
  reversed = false;

  #capacity: number;
  #index: Int32Array;
  #mask: number;
  /** Head of the free list, linked by `Word.Next`; -1: none. */
  #free = -1;
  /** Slots below this were used before. */
  #fresh = 0;
  #bucket = 0;
  #hash = 0;
  readonly #seed: number;
  readonly #maximum: number;
  readonly #heads = new Int32Array(TIMEOUT_MS.length).fill(-1);
  readonly #tails = new Int32Array(TIMEOUT_MS.length).fill(-1);

  /** `seed` keeps whoever chooses the packets from choosing the collisions. */
  constructor(maximum: number, seed: number) {
    this.#maximum = maximum;
    this.#seed = seed | 0;
    this.#capacity = Math.min(4096, maximum);
    const buffer = new ArrayBuffer(this.#capacity * WORDS * 4);
    this.words = new Int32Array(buffer);
    this.doubles = new Float64Array(buffer);
    this.#index = new Int32Array(indexSize(this.#capacity));
    this.#mask = this.#index.length - 1;
  }

  /** Slots that exist; grows. */
  get capacity(): number {
    return this.#capacity;
  }

  get isFull(): boolean {
    return this.size >= this.#maximum;
  }

  /** The flow of a packet with these addresses (source, destination), ports and key, or -1; sets `reversed`. */
  find(addresses: Int32Array, sourcePort: number, destinationPort: number, key: number): number {
    const a0 = addresses[0] as number;
    const a1 = addresses[1] as number;
    const a2 = addresses[2] as number;
    const a3 = addresses[3] as number;
    const b0 = addresses[4] as number;
    const b1 = addresses[5] as number;
    const b2 = addresses[6] as number;
    const b3 = addresses[7] as number;
    const hash = this.#mix(side(a0, a1, a2, a3, sourcePort) + side(b0, b1, b2, b3, destinationPort) + key);
    const ports = (sourcePort << 16) | destinationPort;
    const reversePorts = (destinationPort << 16) | sourcePort;
    const words = this.words;
    const index = this.#index;
    const mask = this.#mask;
    let bucket = hash & mask;
    for (let entry = index[bucket] as number; entry !== 0; entry = index[bucket] as number) {
      const at = (entry - 1) * WORDS;
      if (words[at + Word.Hash] === hash && words[at + Word.Key] === key) {
        if (
          words[at + Word.Ports] === ports &&
          words[at + 3] === a3 &&
          words[at + 7] === b3 &&
          words[at + 2] === a2 &&
          words[at + 6] === b2 &&
          words[at + 1] === a1 &&
          words[at + 5] === b1 &&
          words[at] === a0 &&
          words[at + 4] === b0
        ) {
          this.reversed = false;
          return entry - 1;
        }
        if (
          words[at + Word.Ports] === reversePorts &&
          words[at + 3] === b3 &&
          words[at + 7] === a3 &&
          words[at + 2] === b2 &&
          words[at + 6] === a2 &&
          words[at + 1] === b1 &&
          words[at + 5] === a1 &&
          words[at] === b0 &&
          words[at + 4] === a0
        ) {
          this.reversed = true;
          return entry - 1;
        }
      }
      bucket = (bucket + 1) & mask;
    }
    this.#bucket = bucket;
    this.#hash = hash;
    return -1;
  }

  /**
   * Adds the flow that the last `find` missed and returns its slot, zeroed but for the tuple. With `swap` the packet goes
   * against the flow's original direction. The table must not be full.
   */
  add(
    addresses: Int32Array,
    sourcePort: number,
    destinationPort: number,
    key: number,
    swap: boolean,
    list: number,
  ): number {
    const slot = this.#take();
    const at = slot * WORDS;
    const words = this.words;
    words.fill(0, at, at + WORDS);
    const first = swap ? 4 : 0;
    for (let i = 0; i < 4; i++) {
      words[at + i] = addresses[first + i] as number;
      words[at + 4 + i] = addresses[4 - first + i] as number;
    }
    words[at + Word.Ports] = swap ? (destinationPort << 16) | sourcePort : (sourcePort << 16) | destinationPort;
    words[at + Word.Key] = key;
    words[at + Word.Hash] = this.#hash;
    words[at + Word.State] = State.Live;
    words[at + Word.VerdictGeneration] = -1;
    this.#index[this.#bucket] = slot + 1;
    this.size++;
    this.reversed = swap;
    this.#append(slot, list);
    if (this.size * 2 > this.#index.length) this.#rehash(this.#index.length * 2);
    return slot;
  }

  /** Forgets a flow; its slot may be used again. */
  remove(slot: number): void {
    const at = slot * WORDS;
    this.#unlink(slot);
    this.#deleteFromIndex(slot, this.words[at + Word.Hash] as number);
    this.words[at + Word.State] = 0;
    this.words[at + Word.Next] = this.#free;
    this.#free = slot;
    this.size--;
  }

  /** Puts a flow at the end of a list: it was used just now. */
  use(slot: number, list: number): void {
    if (this.#tails[list] === slot) return;
    this.#unlink(slot);
    this.#append(slot, list);
  }

  /** A flow of that list that waited longest, or -1. */
  oldest(list: number): number {
    return this.#heads[list] as number;
  }

  /** The flow to give up when there is no room, or -1. */
  dispensable(): number {
    for (const list of EVICTION_ORDER) if ((this.#heads[list] as number) >= 0) return this.#heads[list] as number;
    return -1;
  }

  /** When a packet of the flow was last counted, in either direction. */
  lastSeen(slot: number): number {
    const at = slot * DOUBLES;
    return Math.max(this.doubles[at + Double.Last] as number, this.doubles[at + Double.ReplyLast] as number);
  }

  #mix(sum: number): number {
    let h = (sum ^ this.#seed) | 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return h ^ (h >>> 16);
  }

  #take(): number {
    if (this.#free >= 0) {
      const slot = this.#free;
      this.#free = this.words[slot * WORDS + Word.Next] as number;
      return slot;
    }
    if (this.#fresh === this.#capacity) this.#grow();
    return this.#fresh++;
  }

  #grow(): void {
    this.#capacity = Math.min(this.#capacity * 2, this.#maximum);
    const buffer = new ArrayBuffer(this.#capacity * WORDS * 4);
    const words = new Int32Array(buffer);
    words.set(this.words);
    this.words = words;
    this.doubles = new Float64Array(buffer);
  }

  #rehash(size: number): void {
    const index = new Int32Array(size);
    const mask = size - 1;
    for (let slot = 0; slot < this.#fresh; slot++) {
      if (((this.words[slot * WORDS + Word.State] as number) & State.Live) === 0) continue;
      let bucket = (this.words[slot * WORDS + Word.Hash] as number) & mask;
      while (index[bucket] !== 0) bucket = (bucket + 1) & mask;
      index[bucket] = slot + 1;
    }
    this.#index = index;
    this.#mask = mask;
  }

  /** Closes the gap behind it, so that no search stops early (Knuth 6.4, algorithm R). */
  #deleteFromIndex(slot: number, hash: number): void {
    const index = this.#index;
    const mask = this.#mask;
    let gap = hash & mask;
    while (index[gap] !== slot + 1) gap = (gap + 1) & mask;
    for (let next = (gap + 1) & mask; index[next] !== 0; next = (next + 1) & mask) {
      const home = (this.words[((index[next] as number) - 1) * WORDS + Word.Hash] as number) & mask;
      if (((next - home) & mask) >= ((next - gap) & mask)) {
        index[gap] = index[next] as number;
        gap = next;
      }
    }
    index[gap] = 0;
  }

  #append(slot: number, list: number): void {
    const words = this.words;
    const tail = this.#tails[list] as number;
    const at = slot * WORDS;
    words[at + Word.List] = list;
    words[at + Word.Previous] = tail;
    words[at + Word.Next] = -1;
    if (tail >= 0) words[tail * WORDS + Word.Next] = slot;
    else this.#heads[list] = slot;
    this.#tails[list] = slot;
  }

  #unlink(slot: number): void {
    const words = this.words;
    const at = slot * WORDS;
    const list = words[at + Word.List] as number;
    const previous = words[at + Word.Previous] as number;
    const next = words[at + Word.Next] as number;
    if (previous >= 0) words[previous * WORDS + Word.Next] = next;
    else this.#heads[list] = next;
    if (next >= 0) words[next * WORDS + Word.Previous] = previous;
    else this.#tails[list] = previous;
  }
}

/** One end of a flow as a number; the two are added, so that both directions give the same hash. */
function side(w0: number, w1: number, w2: number, w3: number, port: number): number {
  let h = Math.imul(w3 ^ Math.imul(w1 ^ Math.imul(w0, 0x9e3779b1), 0x85ebca6b), 0xc2b2ae35);
  h ^= Math.imul(w2 + port, 0x27d4eb2f);
  return Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) >> 2;
}

function indexSize(slots: number): number {
  let size = 64;
  while (size < slots * 2) size *= 2;
  return size;
}
