/**
 * Query(Flows) and Query(Destinations): filters, pages and rows, newest first. A page is cut by the serial number of its
 * last row; serials never change or come again, so rows that come and go between pages neither repeat nor hide others.
 */
import { inPrefix, isIPv4, parseMac, parsePrefix, printAddress } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import type { Destinations } from "./destinations.ts";
import type { DeviceRow, DeviceTable } from "./devices.ts";
import { deviceBegan, isLocal, peerOffset } from "./direction.ts";
import { servicePort } from "./ended-flows.ts";
import type { EndedFlows, EndedRing } from "./ended-flows.ts";
import { FlowState } from "./flow-rows.ts";
import type { FlowRows } from "./flow-rows.ts";
import type { Names } from "./names.ts";
import { canonicalDomain, isUnderDomain } from "../lib/domain.ts";
import { prefixFamily } from "./rule-values.ts";
import { QueryError } from "./types.ts";
import type { DestinationRow, FlowRow, QueryFilter, QueryPage } from "./types.ts";
import type { Verdicts } from "./verdict.ts";

export const MAX_LIMIT = 500;
const DEFAULT_LIMIT = 100;

export interface QueryOptions {
  readonly devices: DeviceTable;
  readonly rows: FlowRows;
  readonly ended: EndedFlows;
  readonly destinations: Destinations;
  readonly names: Names;
  readonly verdicts: () => Verdicts;
  /** Tells this process's cursors from an earlier one's. */
  readonly epoch: string;
}

export class Queries {
  readonly #options: QueryOptions;

  constructor(options: QueryOptions) {
    this.#options = options;
  }

  flows(filter: QueryFilter): QueryPage<FlowRow> {
    const wanted = this.#parse(filter, "f");
    const { rows, ended } = this.#options;
    const found = new Newest<() => FlowRow>(wanted.limit + 1, wanted.before);
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.state[row] === FlowState.Free || !found.admits(rows.serial[row] as number)) continue;
      const device = rows.device[row] as number;
      if (device < 0 || (wanted.slot !== undefined && wanted.slot !== device)) continue;
      const direction = rows.direction[row] as number;
      if (isLocal(direction) || !wanted.during(rows.start[row] as number, rows.seen[row] as number)) continue;
      const peer = row * 16 + peerOffset(direction);
      if (!wanted.matches(rows.addresses, peer, () => this.#domainOf(row, peer))) continue;
      found.add(rows.serial[row] as number, () => this.#liveRow(row, peer));
    }
    for (const device of this.#devices(wanted)) {
      const ring = ended.ring(device.slot);
      for (let at = 0; ring && at < ring.length; at++) {
        if (!found.admits(ring.serial[at] as number)) continue;
        if (!wanted.during(ring.start[at] as number, ring.end[at] as number)) continue;
        if (!wanted.matches(ring.words, at * 4, () => ring.domain[at] as string)) continue;
        found.add(ring.serial[at] as number, () => endedRow(ring, at, device.physAddress));
      }
    }
    return this.#page(found, wanted.limit, "f");
  }

  destinations(filter: QueryFilter): QueryPage<DestinationRow> {
    const wanted = this.#parse(filter, "d");
    const { destinations } = this.#options;
    const found = new Newest<() => DestinationRow>(wanted.limit + 1, wanted.before);
    for (const device of this.#devices(wanted))
      destinations.each(device.slot, (row) => {
        if (!found.admits(destinations.serial[row] as number)) return;
        if (!wanted.during(destinations.firstSeen[row] as number, destinations.lastSeen[row] as number)) return;
        if (!wanted.matches(destinations.words, row * 4, () => destinations.names[row] as string)) return;
        found.add(destinations.serial[row] as number, () => this.#destinationRow(row, device));
      });
    return this.#page(found, wanted.limit, "d");
  }

  top(slot: number, count: number): { name: string; bytes: number }[] {
    const { destinations } = this.#options;
    const byName = new Map<string, number>();
    destinations.each(slot, (row) => {
      const bytes = destinations.recentBytes(row);
      if (bytes === 0) return;
      const name = destinations.names[row] || printAddress(destinations.words, row * 4);
      byName.set(name, (byName.get(name) ?? 0) + bytes);
    });
    return [...byName]
      .map(([name, bytes]) => ({ name, bytes }))
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, count);
  }

  #liveRow(row: number, peer: number): FlowRow {
    const { rows, devices } = this.#options;
    const began = deviceBegan(rows.direction[row] as number);
    const sent = row * 4 + (began ? 0 : 2);
    const received = row * 4 + (began ? 2 : 0);
    return {
      Start: rows.start[row] as number,
      End: rows.state[row] === FlowState.Ended ? (rows.seen[row] as number) : 0,
      PhysAddress: devices.bySlot(rows.device[row] as number)?.physAddress ?? "",
      Initiator: began ? "Device" : "Peer",
      Address: printAddress(rows.addresses, peer),
      Port: servicePort(rows, row),
      Protocol: rows.protocol[row] as number,
      Domain: this.#domainOf(row, peer),
      BytesSent: rows.last[sent + 1] as number,
      BytesReceived: rows.last[received + 1] as number,
      PacketsSent: rows.last[sent] as number,
      PacketsReceived: rows.last[received] as number,
    };
  }

  /** An answer may have come after the flow's first packet. */
  #domainOf(row: number, peer: number): string {
    const { rows, names } = this.#options;
    return (rows.domain[row] as string) || names.best(rows.device[row] as number, rows.addresses, peer);
  }

  #destinationRow(row: number, device: DeviceRow): DestinationRow {
    const { destinations, names, verdicts } = this.#options;
    const at = row * 4;
    const protocol = destinations.protocol[row] as number;
    const port = destinations.port[row] as number;
    return {
      PhysAddress: device.physAddress,
      Domain: destinations.names[row] as string,
      Address: printAddress(destinations.words, at),
      Protocol: protocol,
      Port: port,
      BytesSent: destinations.totals[at] as number,
      BytesReceived: destinations.totals[at + 1] as number,
      PacketsSent: destinations.totals[at + 2] as number,
      PacketsReceived: destinations.totals[at + 3] as number,
      Flows: destinations.flows[row] as number,
      FirstSeen: destinations.firstSeen[row] as number,
      LastSeen: destinations.lastSeen[row] as number,
      Blocked: verdicts().blocks({
        mac: device.mac,
        words: destinations.words,
        offset: at,
        names: names.all(device.slot, destinations.words, at),
        protocol,
        port,
      }),
    };
  }

  #devices(wanted: Wanted): Iterable<DeviceRow> {
    const { devices } = this.#options;
    if (wanted.slot === undefined) return devices.values();
    const device = devices.bySlot(wanted.slot);
    return device ? [device] : [];
  }

  #page<Row>(found: Newest<() => Row>, limit: number, kind: string): QueryPage<Row> {
    const newest = found.sorted();
    const truncated = newest.length > limit;
    if (truncated) newest.length = limit;
    const last = newest.at(-1);
    return {
      rows: newest.map(({ item }) => item()),
      nextCursor: truncated && last ? `${kind}.${this.#options.epoch}.${last.serial.toString(36)}` : "",
      truncated,
    };
  }

  #parse(filter: QueryFilter, kind: string): Wanted {
    const limit = filter.limit ?? DEFAULT_LIMIT;
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
      throw new QueryError(`Limit is ${limit}, not 1 to ${MAX_LIMIT}`);
    const since = filter.since ?? -Infinity;
    const until = filter.until ?? Infinity;
    if (since > until) throw new QueryError("Since is after Until");
    return {
      limit,
      before: filter.cursor ? this.#parseCursor(filter.cursor, kind) : Infinity,
      slot: filter.physAddress ? this.#slotOf(filter.physAddress) : undefined,
      during: (start, end) => end >= since && start <= until,
      matches: destinationFilter(filter.destination ?? ""),
    };
  }

  #slotOf(physAddress: string): number {
    const mac = parseMac(physAddress);
    if (mac === undefined) throw new QueryError(`PhysAddress "${physAddress.slice(0, 40)}" is not a MAC address`);
    return this.#options.devices.byMac(mac)?.slot ?? -1;
  }

  #parseCursor(cursor: string, kind: string): number {
    const match = /^([fd])\.([a-z0-9]+)\.([a-z0-9]{1,11})$/.exec(cursor);
    if (!match) throw new QueryError("Cursor is none that a Query gave");
    if (match[1] !== kind) throw new QueryError("Cursor is another Kind's");
    if (match[2] !== this.#options.epoch)
      throw new QueryError("Cursor is from before the agent restarted; start again without");
    return Number.parseInt(match[3] as string, 36);
  }
}

interface Wanted {
  readonly limit: number;
  /** Only rows with a lower serial. */
  readonly before: number;
  /** `undefined`: every device; -1: none. */
  readonly slot: number | undefined;
  readonly during: (start: number, end: number) => boolean;
  readonly matches: (words: ArrayLike<number>, offset: number, domain: () => string) => boolean;
}

function destinationFilter(text: string): Wanted["matches"] {
  if (text === "") return () => true;
  const prefix: Prefix | undefined = parsePrefix(text);
  if (prefix) {
    const family = prefixFamily(prefix);
    return (words, offset) => (isIPv4(words, offset) ? 4 : 6) === family && inPrefix(prefix, words, offset);
  }
  const domain = canonicalDomain(text);
  if (domain === undefined)
    throw new QueryError(`Destination "${text.slice(0, 60)}" is not an address, a prefix or a domain`);
  return (_words, _offset, name) => isUnderDomain(name(), domain);
}

function endedRow(ring: EndedRing, at: number, physAddress: string): FlowRow {
  return {
    Start: ring.start[at] as number,
    End: ring.end[at] as number,
    PhysAddress: physAddress,
    Initiator: ring.began[at] === 1 ? "Device" : "Peer",
    Address: printAddress(ring.words, at * 4),
    Port: ring.port[at] as number,
    Protocol: ring.protocol[at] as number,
    Domain: ring.domain[at] as string,
    BytesSent: ring.totals[at * 4] as number,
    BytesReceived: ring.totals[at * 4 + 1] as number,
    PacketsSent: ring.totals[at * 4 + 2] as number,
    PacketsReceived: ring.totals[at * 4 + 3] as number,
  };
}

/** The `room` items with the highest serials below `before`: a heap with the lowest of them on top. */
class Newest<Item> {
  readonly #room: number;
  readonly #before: number;
  readonly #heap: { serial: number; item: Item }[] = [];

  constructor(room: number, before: number) {
    this.#room = room;
    this.#before = before;
  }

  /** Whether an item with this serial would be kept. */
  admits(serial: number): boolean {
    if (serial >= this.#before) return false;
    return this.#heap.length < this.#room || serial > (this.#heap[0] as { serial: number }).serial;
  }

  add(serial: number, item: Item): void {
    const heap = this.#heap;
    const entry = { serial, item };
    if (heap.length < this.#room) {
      heap.push(entry);
      this.#up(heap.length - 1);
    } else {
      heap[0] = entry;
      this.#down();
    }
  }

  sorted(): { serial: number; item: Item }[] {
    return this.#heap.sort((a, b) => b.serial - a.serial);
  }

  #up(from: number): void {
    const heap = this.#heap;
    for (let at = from; at > 0;) {
      const parent = (at - 1) >> 1;
      if (serialAt(heap, parent) <= serialAt(heap, at)) return;
      swap(heap, parent, at);
      at = parent;
    }
  }

  #down(): void {
    const heap = this.#heap;
    for (let at = 0; ;) {
      let least = at;
      for (const child of [2 * at + 1, 2 * at + 2])
        if (child < heap.length && serialAt(heap, child) < serialAt(heap, least)) least = child;
      if (least === at) return;
      swap(heap, least, at);
      at = least;
    }
  }
}

function serialAt(heap: readonly { serial: number }[], at: number): number {
  return (heap[at] as { serial: number }).serial;
}

function swap<Item>(list: Item[], a: number, b: number): void {
  const held = list[a] as Item;
  list[a] = list[b] as Item;
  list[b] = held;
}
