/**
 * Conntrack's netlink messages (linux/netfilter/nfnetlink_conntrack.h) into flow columns, in one pass and without
 * allocating per message: tens of thousands of events a second go through here.
 */
import { CT, ConntrackMessage, IP, PROTOCOL, TUPLE } from "../netlink/conntrack-messages.ts";
import { ATTRIBUTE_TYPE_MASK, eachMessage, MessageFlag, u16be, u16le, u32be, u64be } from "../netlink/messages.ts";
import { type FlowColumns, FlowEvent, FlowFlag, flowColumns } from "../spin/observation.ts";

/** enum ip_conntrack_status */
const STATUS = { SeenReply: 2, SourceNat: 16, Offload: 1 << 14, HardwareOffload: 1 << 15 } as const;
const NS_PER_MS = 1e6;
const CAPACITY = 1024;

export class ConntrackRows {
  readonly columns: FlowColumns = flowColumns(CAPACITY);
  /** Messages that were no conntrack entry, or not whole. */
  malformed = 0;
  readonly #emit: (columns: FlowColumns) => void;
  readonly #visit: (type: number, flags: number, start: number, end: number) => void;
  #bytes: Uint8Array = new Uint8Array(0);
  #now = 0;
  #dump = false;
  #ended: IdSet | undefined;

  /** `emit` gets the columns whenever they are full, and at the end of each `read`. */
  constructor(emit: (columns: FlowColumns) => void) {
    this.#emit = emit;
    this.#visit = (type, flags, start, end) => this.#message(type, flags, start, end);
  }

  /**
   * While a dump is under way, ids of ended flows go into `ended`, and dumped rows of such flows are left out: the
   * kernel fills a dump's next buffer ahead, so it can show a flow whose end was told before.
   */
  whileDumping(ended: IdSet | undefined): void {
    this.#ended = ended;
  }

  /** Reads the messages in [start, end). `now` is the time of rows that carry none, in ms since 1970. */
  read(bytes: Uint8Array, start: number, end: number, dump: boolean, now: number): void {
    this.#bytes = bytes;
    this.#now = now;
    this.#dump = dump;
    eachMessage(bytes, start, end, this.#visit);
    this.flush();
  }

  /** Emits what stands in the columns. */
  flush(): void {
    if (this.columns.length === 0) return;
    this.#emit(this.columns);
    this.columns.length = 0;
  }

  #message(type: number, flags: number, start: number, end: number): void {
    if (type !== ConntrackMessage.New && type !== ConntrackMessage.Delete) return;
    // An update has neither of the flags that make a new entry.
    const isEnd = type === ConntrackMessage.Delete;
    const event = isEnd
      ? FlowEvent.End
      : this.#dump || !(flags & (MessageFlag.Create | MessageFlag.Exclusive))
        ? FlowEvent.Counters
        : FlowEvent.New;
    if (!this.#row(event, start + 4, end)) {
      this.malformed++;
      return;
    }
    const { columns } = this;
    const id = columns.id[columns.length] as number;
    if (this.#ended) {
      if (isEnd) this.#ended.add(id);
      else if (this.#dump && this.#ended.has(id)) return;
    }
    if (++columns.length === CAPACITY) this.flush();
  }

  /** Writes the attributes in [at, end) into the row after the last; false if it is no whole entry. */
  #row(event: number, at: number, end: number): boolean {
    const bytes = this.#bytes;
    const { columns } = this;
    const row = columns.length;
    columns.event[row] = event;
    columns.flags[row] = 0;
    columns.packets[row] = columns.bytes[row] = columns.replyPackets[row] = columns.replyBytes[row] = 0;
    columns.time[row] = this.#now;
    let seen = 0;
    while (at + 4 <= end) {
      const length = u16le(bytes, at);
      if (length < 4 || at + length > end) return false;
      const type = u16le(bytes, at + 2) & ATTRIBUTE_TYPE_MASK;
      const value = at + 4;
      const stop = at + length;
      if (type === CT.Original) {
        if (!this.#tuple(value, stop, row * 16, columns.sourcePort, columns.destinationPort)) return false;
        seen |= 1;
      } else if (type === CT.Reply) {
        if (!this.#tuple(value, stop, row * 16 + 8, columns.replySourcePort, columns.replyDestinationPort))
          return false;
        seen |= 2;
      } else if (type === CT.Id) {
        columns.id[row] = u32be(bytes, value);
        seen |= 4;
      } else if (type === CT.Status) columns.flags[row] = flowFlags(u32be(bytes, value));
      else if (type === CT.CountersOriginal) this.#counters(value, stop, columns.packets, columns.bytes);
      else if (type === CT.CountersReply) this.#counters(value, stop, columns.replyPackets, columns.replyBytes);
      else if (type === CT.Timestamp) this.#timestamp(value, stop, event);
      at += (length + 3) & ~3;
    }
    return seen === 7;
  }

  #tuple(at: number, end: number, words: number, source: Uint16Array, destination: Uint16Array): boolean {
    const bytes = this.#bytes;
    const { addresses, protocol, length: row } = this.columns;
    let seen = 0;
    source[row] = destination[row] = 0;
    while (at + 4 <= end) {
      const length = u16le(bytes, at);
      if (length < 4 || at + length > end) return false;
      const type = u16le(bytes, at + 2) & ATTRIBUTE_TYPE_MASK;
      for (let inside = at + 4; inside + 4 <= at + length;) {
        const size = u16le(bytes, inside);
        if (size < 4 || inside + size > at + length) return false;
        const inner = u16le(bytes, inside + 2) & ATTRIBUTE_TYPE_MASK;
        const value = inside + 4;
        if (type === TUPLE.Ip) {
          if (inner === IP.Source4 && size === 8) seen |= put4(bytes, value, addresses, words, 1);
          else if (inner === IP.Destination4 && size === 8) seen |= put4(bytes, value, addresses, words + 4, 2);
          else if (inner === IP.Source6 && size === 20) seen |= put6(bytes, value, addresses, words, 1);
          else if (inner === IP.Destination6 && size === 20) seen |= put6(bytes, value, addresses, words + 4, 2);
        } else if (type === TUPLE.Protocol && size > 4) {
          if (inner === PROTOCOL.Number) {
            protocol[row] = bytes[value] as number;
            seen |= 4;
          } else if (inner === PROTOCOL.SourcePort) source[row] = u16be(bytes, value);
          else if (inner === PROTOCOL.DestinationPort || inner === PROTOCOL.IcmpId || inner === PROTOCOL.Icmp6Id)
            destination[row] = u16be(bytes, value);
          else if (inner === PROTOCOL.IcmpType || inner === PROTOCOL.Icmp6Type)
            source[row] = source[row] | ((bytes[value] as number) << 8);
          else if (inner === PROTOCOL.IcmpCode || inner === PROTOCOL.Icmp6Code)
            source[row] = source[row] | (bytes[value] as number);
        }
        inside += (size + 3) & ~3;
      }
      at += (length + 3) & ~3;
    }
    return seen === 7;
  }

  /** CTA_COUNTERS_PACKETS 1, CTA_COUNTERS_BYTES 2 */
  #counters(at: number, end: number, packets: Float64Array, octets: Float64Array): void {
    const bytes = this.#bytes;
    const row = this.columns.length;
    while (at + 12 <= end) {
      const type = u16le(bytes, at + 2) & ATTRIBUTE_TYPE_MASK;
      if (type === 1) packets[row] = u64be(bytes, at + 4);
      else if (type === 2) octets[row] = u64be(bytes, at + 4);
      at += Math.max(4, (u16le(bytes, at) + 3) & ~3);
    }
  }

  /** CTA_TIMESTAMP_START 1, CTA_TIMESTAMP_STOP 2; a dumped row keeps the time of reading. */
  #timestamp(at: number, end: number, event: number): void {
    const wanted = event === FlowEvent.New ? 1 : event === FlowEvent.End ? 2 : 0;
    while (at + 12 <= end) {
      if ((u16le(this.#bytes, at + 2) & ATTRIBUTE_TYPE_MASK) === wanted)
        this.columns.time[this.columns.length] = u64be(this.#bytes, at + 4) / NS_PER_MS;
      at += Math.max(4, (u16le(this.#bytes, at) + 3) & ~3);
    }
  }
}

/** Numbers below 2^53, in open addressing: no allocation per number. */
export class IdSet {
  #slots = new Float64Array(1024).fill(-1);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  clear(): void {
    // A flood's worth of slots is not kept.
    if (this.#slots.length > 1 << 16) this.#slots = new Float64Array(1024);
    this.#slots.fill(-1);
    this.#size = 0;
  }

  has(id: number): boolean {
    return this.#slots[this.#find(id)] === id;
  }

  add(id: number): void {
    const slot = this.#find(id);
    if (this.#slots[slot] === id) return;
    this.#slots[slot] = id;
    if (++this.#size * 2 > this.#slots.length) this.#grow();
  }

  #find(id: number): number {
    const mask = this.#slots.length - 1;
    let slot = Math.imul((id | 0) ^ (id / 0x100000000), 0x9e3779b1) >>> 8;
    for (slot &= mask; this.#slots[slot] !== -1 && this.#slots[slot] !== id; slot = (slot + 1) & mask);
    return slot;
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Float64Array(old.length * 2).fill(-1);
    for (const id of old) if (id !== -1) this.#slots[this.#find(id)] = id;
  }
}

function put4(bytes: Uint8Array, from: number, words: Uint32Array, at: number, seen: number): number {
  words[at] = words[at + 1] = 0;
  words[at + 2] = 0xffff;
  words[at + 3] = u32be(bytes, from);
  return seen;
}

function put6(bytes: Uint8Array, from: number, words: Uint32Array, at: number, seen: number): number {
  for (let i = 0; i < 4; i++) words[at + i] = u32be(bytes, from + 4 * i);
  return seen;
}

function flowFlags(status: number): number {
  return (
    (status & STATUS.SeenReply ? FlowFlag.Answered : 0) |
    (status & STATUS.SourceNat ? FlowFlag.SourceNat : 0) |
    (status & (STATUS.Offload | STATUS.HardwareOffload) ? FlowFlag.Offloaded : 0)
  );
}
