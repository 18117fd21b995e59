/**
 * Totals of each device with each peer, protocol and port: for Query(Destinations) and the top list. Bounded per device;
 * at the quota the least valuable quarter goes (fewest bytes, longest silent), so that a scan only pushes out itself.
 */
import { grown, hashWords, WordIndex } from "./word-index.ts";
import { sameWords } from "./direction.ts";
import { NameSource } from "./names.ts";

/** "In 24 h" is the last six buckets of four hours: 20 to 24 hours. */
const BUCKETS = 6;
const BUCKET_MS = 4 * 60 * 60_000;
const FIRST_ROWS = 256;

export class Destinations {
  readonly #perDevice: number;
  readonly #index = new WordIndex(256);
  readonly #head: Int32Array;
  readonly #count: Int32Array;
  #capacity = 0;
  #free = -1;
  #next = new Int32Array(0);
  #nextSerial = 1;
  #bucket = 0;
  #bucketEnds = -Infinity;
  #rows: Int32Array = new Int32Array(0);

  // Columns, read by query.ts.
  words = new Uint32Array(0);
  /** Of the device; -1: the row is free. */
  slot = new Int16Array(0);
  protocol = new Uint8Array(0);
  port = new Uint16Array(0);
  /** Identifies the row's contents for ever. */
  serial = new Float64Array(0);
  /** BytesSent, BytesReceived, PacketsSent, PacketsReceived. */
  totals = new Float64Array(0);
  flows = new Uint32Array(0);
  firstSeen = new Float64Array(0);
  lastSeen = new Float64Array(0);
  recent = new Float32Array(0);
  names: string[] = [];
  /** How the names came to be known (names.ts). */
  nameSource = new Uint8Array(0);

  constructor(slots: number, perDevice: number) {
    this.#perDevice = Math.max(perDevice, 4);
    this.#head = new Int32Array(slots).fill(-1);
    this.#count = new Int32Array(slots);
  }

  /** The row of a destination, made if it is new. */
  at(
    slot: number,
    words: ArrayLike<number>,
    offset: number,
    protocol: number,
    port: number,
    name: string,
    time: number,
    source: number = NameSource.Dns,
  ): number {
    const hash = hashWords(words, offset, (slot << 24) ^ (protocol << 16) ^ port);
    const index = this.#index;
    for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) {
      const row = index.rowAt(at);
      if (
        this.slot[row] === slot &&
        this.port[row] === port &&
        this.protocol[row] === protocol &&
        sameWords(this.words, row * 4, words, offset)
      ) {
        if (name !== "" && !(source === NameSource.Ech && this.names[row] !== "")) this.#setName(row, name, source);
        return row;
      }
    }
    if ((this.#count[slot] as number) >= this.#perDevice) this.#dropLeast(slot);
    const row = this.#take(slot);
    for (let i = 0; i < 4; i++) this.words[row * 4 + i] = words[offset + i] as number;
    this.protocol[row] = protocol;
    this.port[row] = port;
    this.firstSeen[row] = this.lastSeen[row] = time;
    this.#setName(row, name, source);
    index.insert(hash, row);
    return row;
  }

  #setName(row: number, name: string, source: number): void {
    this.names[row] = name;
    this.nameSource[row] = name === "" ? NameSource.None : source;
  }

  add(
    row: number,
    bytesSent: number,
    bytesReceived: number,
    packetsSent: number,
    packetsReceived: number,
    time: number,
  ): void {
    const totals = this.totals;
    const at = row * 4;
    totals[at] = (totals[at] as number) + bytesSent;
    totals[at + 1] = (totals[at + 1] as number) + bytesReceived;
    totals[at + 2] = (totals[at + 2] as number) + packetsSent;
    totals[at + 3] = (totals[at + 3] as number) + packetsReceived;
    if (time > (this.lastSeen[row] as number)) this.lastSeen[row] = time;
    const recent = row * BUCKETS + this.#bucket;
    this.recent[recent] = (this.recent[recent] as number) + bytesSent + bytesReceived;
  }

  /** The second's work: every four hours the oldest bucket empties. */
  tick(monotonicMs: number): void {
    if (monotonicMs < this.#bucketEnds) return;
    const passed = this.#bucketEnds === -Infinity ? 1 : 1 + Math.floor((monotonicMs - this.#bucketEnds) / BUCKET_MS);
    for (let step = 0; step < Math.min(passed, BUCKETS); step++) {
      this.#bucket = (this.#bucket + 1) % BUCKETS;
      for (let at = this.#bucket; at < this.recent.length; at += BUCKETS) this.recent[at] = 0;
    }
    this.#bucketEnds = monotonicMs + BUCKET_MS;
  }

  /** The rows of one device. */
  each(slot: number, visit: (row: number) => void): void {
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number) visit(row);
  }

  count(slot: number): number {
    return this.#count[slot] as number;
  }

  /** Bytes of the last 24 h. */
  recentBytes(row: number): number {
    let bytes = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) bytes += this.recent[row * BUCKETS + bucket] as number;
    return bytes;
  }

  removeAll(slot: number): void {
    while ((this.#head[slot] as number) >= 0) {
      const row = this.#head[slot] as number;
      this.#head[slot] = this.#next[row] as number;
      this.#release(row);
    }
    this.#count[slot] = 0;
  }

  #dropLeast(slot: number): void {
    const count = this.#count[slot] as number;
    if (this.#rows.length < count) this.#rows = new Int32Array(count);
    const rows = this.#rows.subarray(0, count);
    let i = 0;
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number) rows[i++] = row;
    rows.sort((a, b) => this.#bytes(a) - this.#bytes(b) || (this.lastSeen[a] as number) - (this.lastSeen[b] as number));
    const going = count >> 2;
    // Rebuild the list from those that stay: a quarter goes at once, so this is rare.
    this.#head[slot] = -1;
    for (i = going; i < count; i++) {
      const row = rows[i] as number;
      this.#next[row] = this.#head[slot];
      this.#head[slot] = row;
    }
    for (i = 0; i < going; i++) this.#release(rows[i] as number);
    this.#count[slot] = count - going;
  }

  #bytes(row: number): number {
    return (this.totals[row * 4] as number) + (this.totals[row * 4 + 1] as number);
  }

  #take(slot: number): number {
    if (this.#free < 0) this.#grow();
    const row = this.#free;
    this.#free = this.#next[row] as number;
    this.#next[row] = this.#head[slot] as number;
    this.#head[slot] = row;
    this.#count[slot] = (this.#count[slot] as number) + 1;
    this.slot[row] = slot;
    this.serial[row] = this.#nextSerial++;
    this.totals.fill(0, row * 4, row * 4 + 4);
    this.recent.fill(0, row * BUCKETS, (row + 1) * BUCKETS);
    this.flows[row] = 0;
    return row;
  }

  #release(row: number): void {
    const also =
      ((this.slot[row] as number) << 24) ^ ((this.protocol[row] as number) << 16) ^ (this.port[row] as number);
    this.#index.remove(hashWords(this.words, row * 4, also), row);
    this.slot[row] = -1;
    this.serial[row] = 0;
    this.names[row] = "";
    this.#next[row] = this.#free;
    this.#free = row;
  }

  #grow(): void {
    const from = this.#capacity;
    // By a quarter at a time: what is not used yet stays small.
    const to = from + Math.max(FIRST_ROWS, from >> 2);
    this.words = grown(this.words, new Uint32Array(to * 4));
    this.slot = grown(this.slot, new Int16Array(to).fill(-1));
    this.protocol = grown(this.protocol, new Uint8Array(to));
    this.port = grown(this.port, new Uint16Array(to));
    this.serial = grown(this.serial, new Float64Array(to));
    this.totals = grown(this.totals, new Float64Array(to * 4));
    this.flows = grown(this.flows, new Uint32Array(to));
    this.firstSeen = grown(this.firstSeen, new Float64Array(to));
    this.lastSeen = grown(this.lastSeen, new Float64Array(to));
    this.recent = grown(this.recent, new Float32Array(to * BUCKETS));
    this.nameSource = grown(this.nameSource, new Uint8Array(to));
    this.#next = grown(this.#next, new Int32Array(to));
    for (let row = from; row < to; row++) {
      this.#next[row] = row + 1 < to ? row + 1 : -1;
      this.names.push("");
    }
    this.#free = from;
    this.#capacity = to;
  }
}
