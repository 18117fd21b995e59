/**
 * The columns of the flow table: storage, an index by id and tuple, and a free list. About 230 bytes a flow. Logic is in
 * flows.ts, reading in query.ts.
 */
import type { FlowColumns } from "./observation.ts";
import { finish, hashWords, mix, WordIndex } from "./word-index.ts";

export const FlowState = { Free: 0, Live: 1, Ended: 2 } as const;

/** Bits of `FlowRows.flags` beyond those of `FlowFlag`. */
export const RowFlag = {
  /** The flow's New event was seen. */
  NewSeen: 8,
  /** No End event: a dump did not show it any more. */
  EndedByDump: 16,
  /** It has been counted in FlowsOpened, or need not be. */
  Opened: 32,
  /** Another life of its id and tuple has taken its place in the index. */
  Superseded: 64,
} as const;

const FIRST_ROWS = 1024;

export class FlowRows {
  readonly limit: number;
  readonly #index = new WordIndex(FIRST_ROWS);
  #free = -1;
  capacity = 0;
  /** Rows in use. */
  used = 0;
  nextSerial = 1;

  readonly state: Uint8Array;
  readonly source: Uint8Array;
  readonly protocol: Uint8Array;
  readonly flags: Uint8Array;
  readonly direction: Uint8Array;
  /** Slot of the device; -1: not known yet. */
  readonly device: Int16Array;
  /** Slot of the other device of a flow inside the home; -1: none. */
  readonly peerDevice: Int16Array;
  readonly id: Float64Array;
  readonly addresses: Uint32Array;
  /** Source and destination port, original and reply. */
  readonly ports: Uint16Array;
  /** The newest reading: packets, bytes, reply packets, reply bytes. */
  readonly last: Float64Array;
  /** How much of it has been credited to the device. */
  readonly credited: Float64Array;
  readonly start: Float64Array;
  /** Time of the newest observation; of an ended flow, its end. */
  readonly seen: Float64Array;
  /** Identifies the flow for ever; grows with each new one. */
  readonly serial: Float64Array;
  /** Row and serial in Destinations: the serial tells whether the row is still that destination's. */
  readonly destination: Int32Array;
  readonly destinationSerial: Float64Array;
  readonly hash: Uint32Array;
  /** Next free row; or the neighbours in the list of ended rows. */
  readonly next: Int32Array;
  readonly previous: Int32Array;
  domain: string[] = [];
  /** How `domain` came to be known (names.ts). */
  readonly domainSource: Uint8Array;

  constructor(limit: number) {
    this.limit = limit;
    // All rows there may ever be: memory that nobody writes to costs nothing, and growing would leave copies behind.
    this.state = new Uint8Array(limit);
    this.source = new Uint8Array(limit);
    this.protocol = new Uint8Array(limit);
    this.flags = new Uint8Array(limit);
    this.direction = new Uint8Array(limit);
    this.device = new Int16Array(limit);
    this.peerDevice = new Int16Array(limit);
    this.id = new Float64Array(limit);
    this.addresses = new Uint32Array(limit * 16);
    this.ports = new Uint16Array(limit * 4);
    this.last = new Float64Array(limit * 4);
    this.credited = new Float64Array(limit * 4);
    this.start = new Float64Array(limit);
    this.seen = new Float64Array(limit);
    this.serial = new Float64Array(limit);
    this.destination = new Int32Array(limit);
    this.destinationSerial = new Float64Array(limit);
    this.hash = new Uint32Array(limit);
    this.next = new Int32Array(limit);
    this.previous = new Int32Array(limit);
    this.domainSource = new Uint8Array(limit);
  }

  /** The row of a flow; -1: none. */
  find(columns: FlowColumns, i: number, source: number, hash: number): number {
    const index = this.#index;
    for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) {
      const row = index.rowAt(at);
      if (this.#same(row, columns, i, source)) return row;
    }
    return -1;
  }

  /** A new live row with the flow's identity and nothing counted; -1: the table is full. */
  take(columns: FlowColumns, i: number, source: number, hash: number): number {
    if (this.#free < 0 && !this.#grow()) return -1;
    const row = this.#free;
    this.#free = this.next[row] as number;
    this.used++;
    this.state[row] = FlowState.Live;
    this.source[row] = source;
    this.protocol[row] = columns.protocol[i] as number;
    this.flags[row] = 0;
    this.device[row] = -1;
    this.peerDevice[row] = -1;
    this.id[row] = columns.id[i] as number;
    for (let k = 0; k < 16; k++) this.addresses[row * 16 + k] = columns.addresses[i * 16 + k] as number;
    this.ports[row * 4] = columns.sourcePort[i] as number;
    this.ports[row * 4 + 1] = columns.destinationPort[i] as number;
    this.ports[row * 4 + 2] = columns.replySourcePort[i] as number;
    this.ports[row * 4 + 3] = columns.replyDestinationPort[i] as number;
    for (let k = 0; k < 4; k++) this.last[row * 4 + k] = this.credited[row * 4 + k] = 0;
    this.start[row] = this.seen[row] = columns.time[i] as number;
    this.serial[row] = this.nextSerial++;
    this.destination[row] = -1;
    this.destinationSerial[row] = 0;
    this.hash[row] = hash;
    this.#index.insert(hash, row);
    return row;
  }

  /** The row stays, but its id and tuple find another one. */
  supersede(row: number): void {
    this.#index.remove(this.hash[row] as number, row);
    this.flags[row] = (this.flags[row] as number) | RowFlag.Superseded;
  }

  release(row: number): void {
    if (((this.flags[row] as number) & RowFlag.Superseded) === 0) this.#index.remove(this.hash[row] as number, row);
    this.state[row] = FlowState.Free;
    this.domain[row] = "";
    this.domainSource[row] = 0;
    this.next[row] = this.#free;
    this.#free = row;
    this.used--;
  }

  get full(): boolean {
    return this.#free < 0 && this.capacity >= this.limit;
  }
  get hasFree(): boolean {
    return this.#free >= 0;
  }

  #same(row: number, columns: FlowColumns, i: number, source: number): boolean {
    if (this.id[row] !== columns.id[i] || this.source[row] !== source) return false;
    if (this.protocol[row] !== columns.protocol[i]) return false;
    if (this.ports[row * 4] !== columns.sourcePort[i] || this.ports[row * 4 + 1] !== columns.destinationPort[i])
      return false;
    for (let k = 0; k < 8; k++) if (this.addresses[row * 16 + k] !== columns.addresses[i * 16 + k]) return false;
    return true;
  }

  /** Puts rows never used on the free list, a quarter more at a time: whoever walks the rows walks no more than these. */
  #grow(): boolean {
    const from = this.capacity;
    const to = Math.min(this.limit, from === 0 ? FIRST_ROWS : from + Math.max(FIRST_ROWS, from >> 2));
    if (to <= from) return false;
    for (let row = from; row < to; row++) {
      this.next[row] = row + 1 < to ? row + 1 : -1;
      this.domain.push("");
    }
    this.#free = from;
    this.capacity = to;
    return true;
  }
}

/** Hash of what identifies a flow: id, protocol, original tuple. */
export function flowHash(columns: FlowColumns, i: number): number {
  const at = i * 16;
  const id = columns.id[i] as number;
  const ports = ((columns.sourcePort[i] as number) << 16) | (columns.destinationPort[i] as number);
  let hash = hashWords(columns.addresses, at, ports);
  hash = mix(hash, columns.addresses[at + 7] as number);
  hash = mix(hash, (columns.addresses[at + 6] as number) ^ Math.imul(columns.addresses[at + 5] as number, 31));
  hash = mix(hash, (id | 0) ^ (columns.protocol[i] as number));
  return finish(hash);
}
