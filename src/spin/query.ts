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
import type { Reported } from "./ignoring.ts";
import { NAME_SOURCES, type Names, type NameSourceText } from "./names.ts";
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
  /** A rule of Action Ignore leaves it out. */
  readonly hides: (row: Reported) => boolean;
  /** Tells this process's cursors from an earlier one's. */
  readonly epoch: string;
}

export class Queries {
  readonly #options: QueryOptions;

  constructor(options: QueryOptions) {
    this.#options = options;
  }

  flows(filter: QueryFilter): QueryPage<FlowRow> {
    const wanted = this.parse(filter, "f");
    const found = new Newest(wanted.limit + 1, wanted.before);
    this.#findLive(wanted, found);
    for (const device of this.#devices(wanted)) this.#findEnded(wanted, device.slot, found);
    return this.#page(found, wanted.limit, "f", (group, at) =>
      group === LIVE ? this.#liveRow(at) : this.#endedRow(group, at),
    );
  }

  destinations(filter: QueryFilter): QueryPage<DestinationRow> {
    const wanted = this.parse(filter, "d");
    const { destinations } = this.#options;
    const { words, serial, firstSeen, lastSeen } = destinations;
    const found = new Newest(wanted.limit + 1, wanted.before);
    for (const { slot } of this.#devices(wanted))
      destinations.each(slot, (row) => {
        if (!found.admits(serial[row] as number)) return;
        if (!isDuring(wanted, firstSeen[row] as number, lastSeen[row] as number)) return;
        if (!isInPrefix(wanted, words, row * 4) || !isInDomain(wanted, destinations.names[row] as string)) return;
        found.add(serial[row] as number, slot, row);
      });
    return this.#page(found, wanted.limit, "d", (slot, row) => this.#destinationRow(slot, row));
  }

  /** Of the flows in the table the newest, one more than wanted; serials as the table has them. */
  liveFlows(wanted: Wanted): { serial: number; row: FlowRow }[] {
    const found = new Newest(wanted.limit + 1, wanted.before);
    this.#findLive(wanted, found);
    return found.sorted().map(({ serial, at }) => ({ serial, row: this.#liveRow(at) }));
  }

  /** Walks all rows, so it makes nothing per row. */
  #findLive(wanted: Wanted, found: Newest): void {
    const { rows } = this.#options;
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.state[row] === FlowState.Free || !found.admits(rows.serial[row] as number)) continue;
      const device = rows.device[row] as number;
      if (device < 0 || (wanted.slot !== undefined && wanted.slot !== device)) continue;
      const direction = rows.direction[row] as number;
      if (isLocal(direction) || !isDuring(wanted, rows.start[row] as number, rows.seen[row] as number)) continue;
      const peer = row * 16 + peerOffset(direction);
      if (!isInPrefix(wanted, rows.addresses, peer)) continue;
      if (wanted.domain !== "" && !isInDomain(wanted, this.#domainOf(row, peer)[0])) continue;
      found.add(rows.serial[row] as number, LIVE, row);
    }
  }

  #findEnded(wanted: Wanted, slot: number, found: Newest): void {
    const ring = this.#options.ended.ring(slot);
    if (!ring) return;
    for (let at = 0; at < ring.length; at++) {
      if (!found.admits(ring.serial[at] as number)) continue;
      if (!isDuring(wanted, ring.start[at] as number, ring.end[at] as number)) continue;
      if (!isInPrefix(wanted, ring.words, at * 4) || !isInDomain(wanted, ring.domain[at] as string)) continue;
      found.add(ring.serial[at] as number, slot, at);
    }
  }

  top(slot: number, count: number): { name: string; bytes: number }[] {
    const { destinations, devices, hides } = this.#options;
    const mac = devices.bySlot(slot)?.mac;
    const byName = new Map<string, number>();
    destinations.each(slot, (row) => {
      const bytes = destinations.recentBytes(row);
      if (bytes === 0) return;
      const address = printAddress(destinations.words, row * 4);
      const name = destinations.names[row] ?? "";
      const protocol = destinations.protocol[row] as number;
      if (mac !== undefined && hides({ mac, address, name, protocol, port: destinations.port[row] as number })) return;
      byName.set(name || address, (byName.get(name || address) ?? 0) + bytes);
    });
    return [...byName]
      .map(([name, bytes]) => ({ name, bytes }))
      .sort((a, b) => b.bytes - a.bytes)
      .slice(0, count);
  }

  #liveRow(row: number): FlowRow {
    const { rows, devices } = this.#options;
    const peer = row * 16 + peerOffset(rows.direction[row] as number);
    const began = deviceBegan(rows.direction[row] as number);
    const sent = row * 4 + (began ? 0 : 2);
    const received = row * 4 + (began ? 2 : 0);
    const [domain, source] = this.#domainOf(row, peer);
    return {
      Start: Math.floor(rows.start[row] as number),
      End: rows.state[row] === FlowState.Ended ? Math.floor(rows.seen[row] as number) : 0,
      PhysAddress: devices.bySlot(rows.device[row] as number)?.physAddress ?? "",
      Initiator: began ? "Device" : "Peer",
      Address: printAddress(rows.addresses, peer),
      Port: servicePort(rows, row),
      Protocol: rows.protocol[row] as number,
      Domain: domain,
      DomainSource: source,
      BytesSent: rows.last[sent + 1] as number,
      BytesReceived: rows.last[received + 1] as number,
      PacketsSent: rows.last[sent] as number,
      PacketsReceived: rows.last[received] as number,
    };
  }

  /** An answer may have come after the flow's first packet. */
  #domainOf(row: number, peer: number): readonly [string, NameSourceText] {
    const { rows, names } = this.#options;
    const own = rows.domain[row] as string;
    if (own !== "") return [own, sourceText(rows.domainSource[row])];
    const found = names.bestRow(rows.device[row] as number, rows.addresses, peer);
    return found < 0 ? ["", ""] : [names.nameAt(found), sourceText(names.sourceAt(found))];
  }

  #endedRow(slot: number, at: number): FlowRow {
    const { ended, devices } = this.#options;
    const ring = ended.ring(slot) as EndedRing;
    const total = at * 4;
    return {
      Start: Math.floor(ring.start[at] as number),
      End: Math.floor(ring.end[at] as number),
      PhysAddress: devices.bySlot(slot)?.physAddress ?? "",
      Initiator: ring.began[at] === 1 ? "Device" : "Peer",
      Address: printAddress(ring.words, at * 4),
      Port: ring.port[at] as number,
      Protocol: ring.protocol[at] as number,
      Domain: ring.domain[at] as string,
      DomainSource: sourceText(ring.domainSource[at]),
      BytesSent: ring.totals[total] as number,
      BytesReceived: ring.totals[total + 1] as number,
      PacketsSent: ring.totals[total + 2] as number,
      PacketsReceived: ring.totals[total + 3] as number,
    };
  }

  #destinationRow(slot: number, row: number): DestinationRow {
    const { destinations, names, verdicts, devices } = this.#options;
    const device = devices.bySlot(slot) as DeviceRow;
    const at = row * 4;
    const protocol = destinations.protocol[row] as number;
    const port = destinations.port[row] as number;
    let known: readonly string[] | undefined;
    return {
      PhysAddress: device.physAddress,
      Domain: destinations.names[row] as string,
      DomainSource: sourceText(destinations.nameSource[row]),
      Address: printAddress(destinations.words, at),
      Protocol: protocol,
      Port: port,
      BytesSent: destinations.totals[at] as number,
      BytesReceived: destinations.totals[at + 1] as number,
      PacketsSent: destinations.totals[at + 2] as number,
      PacketsReceived: destinations.totals[at + 3] as number,
      Flows: destinations.flows[row] as number,
      FirstSeen: Math.floor(destinations.firstSeen[row] as number),
      LastSeen: Math.floor(destinations.lastSeen[row] as number),
      Blocked: verdicts().blocks({
        mac: device.mac,
        words: destinations.words,
        offset: at,
        // Only rules with domains ask for them.
        get names() {
          return (known ??= names.all(device.slot, destinations.words, at));
        },
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

  #page<Row>(found: Newest, limit: number, kind: string, rowOf: (group: number, at: number) => Row): QueryPage<Row> {
    const newest = found.sorted();
    const truncated = newest.length > limit;
    if (truncated) newest.length = limit;
    const last = newest.at(-1);
    return {
      rows: newest.map(({ group, at }) => rowOf(group, at)),
      nextCursor: truncated && last ? this.cursor(kind, last.serial) : "",
      truncated,
    };
  }

  /** @param detail What the kind needs besides the place. */
  cursor(kind: string, place: number, detail = 0): string {
    return `${kind}.${this.#options.epoch}.${place.toString(36)}${detail === 0 ? "" : `.${detail.toString(36)}`}`;
  }

  /** @throws QueryError */
  parse(filter: QueryFilter, kind: string): Wanted {
    const limit = filter.limit ?? DEFAULT_LIMIT;
    if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
      throw new QueryError(`Limit is ${limit}, not 1 to ${MAX_LIMIT}`);
    const since = filter.since ?? -Infinity;
    const until = filter.until ?? Infinity;
    if (since > until) throw new QueryError("Since is after Until");
    const mac = filter.physAddress ? macOf(filter.physAddress) : undefined;
    return {
      limit,
      ...(filter.cursor ? this.#parseCursor(filter.cursor, kind) : { before: Infinity, detail: undefined }),
      mac,
      slot: mac === undefined ? undefined : (this.#options.devices.byMac(mac)?.slot ?? -1),
      since,
      until,
      ...destinationFilter(filter.destination ?? ""),
    };
  }

  #parseCursor(cursor: string, kind: string): Pick<Wanted, "before" | "detail"> {
    const match = /^([a-z])\.([a-z0-9]+)\.([a-z0-9]{1,11})(?:\.([a-z0-9]{1,6}))?$/.exec(cursor);
    if (!match) throw new QueryError("Cursor is none that a Query gave");
    if (match[1] !== kind) throw new QueryError("Cursor is another Kind's");
    if (match[2] !== this.#options.epoch)
      throw new QueryError("Cursor is from before the agent restarted; start again without");
    return { before: Number.parseInt(match[3] as string, 36), detail: Number.parseInt(match[4] ?? "0", 36) };
  }
}

function macOf(physAddress: string): number {
  const mac = parseMac(physAddress);
  if (mac === undefined) throw new QueryError(`PhysAddress "${physAddress.slice(0, 40)}" is not a MAC address`);
  return mac;
}

export interface Wanted {
  readonly limit: number;
  /** Only rows with a lower serial. */
  readonly before: number;
  /** What the cursor says besides; `undefined`: there is none. */
  readonly detail: number | undefined;
  /** `undefined`: every device. */
  readonly mac: number | undefined;
  /** `undefined`: every device; -1: none. */
  readonly slot: number | undefined;
  readonly since: number;
  readonly until: number;
  readonly prefix: Prefix | undefined;
  readonly family: 4 | 6;
  /** Empty: any. */
  readonly domain: string;
}

function sourceText(source: number | undefined): NameSourceText {
  return NAME_SOURCES[source ?? 0] ?? "";
}

function destinationFilter(text: string): Pick<Wanted, "prefix" | "family" | "domain"> {
  const any = { prefix: undefined, family: 4, domain: "" } as const;
  if (text === "") return any;
  const prefix = parsePrefix(text);
  if (prefix) return { ...any, prefix, family: prefixFamily(prefix) };
  const domain = canonicalDomain(text);
  if (domain === undefined)
    throw new QueryError(`Destination "${text.slice(0, 60)}" is not an address, a prefix or a domain`);
  return { ...any, domain };
}

function isDuring(wanted: Wanted, start: number, end: number): boolean {
  return end >= wanted.since && start <= wanted.until;
}

function isInPrefix({ prefix, family }: Wanted, words: ArrayLike<number>, offset: number): boolean {
  return !prefix || ((isIPv4(words, offset) ? 4 : 6) === family && inPrefix(prefix, words, offset));
}

function isInDomain({ domain }: Wanted, name: string): boolean {
  return domain === "" || isUnderDomain(name, domain);
}

/** The group of rows in the flow table; other groups are slots of devices. */
const LIVE = -1;

/** Where the `room` rows with the highest serials below `before` stand: a heap in columns with the lowest on top. */
class Newest {
  readonly #before: number;
  readonly #serials: Float64Array;
  readonly #groups: Int32Array;
  readonly #places: Int32Array;
  #length = 0;

  constructor(room: number, before: number) {
    this.#before = before;
    this.#serials = new Float64Array(room);
    this.#groups = new Int32Array(room);
    this.#places = new Int32Array(room);
  }

  /** Whether a row with this serial would be kept. */
  admits(serial: number): boolean {
    if (serial >= this.#before) return false;
    return this.#length < this.#serials.length || serial > (this.#serials[0] as number);
  }

  add(serial: number, group: number, place: number): void {
    const isFull = this.#length === this.#serials.length;
    const at = isFull ? 0 : this.#length++;
    this.#serials[at] = serial;
    this.#groups[at] = group;
    this.#places[at] = place;
    if (isFull) this.#down();
    else this.#up(at);
  }

  sorted(): { serial: number; group: number; at: number }[] {
    return Array.from({ length: this.#length }, (_, index) => ({
      serial: this.#serials[index] as number,
      group: this.#groups[index] as number,
      at: this.#places[index] as number,
    })).sort((a, b) => b.serial - a.serial);
  }

  #up(from: number): void {
    for (let at = from; at > 0;) {
      const parent = (at - 1) >> 1;
      if ((this.#serials[parent] as number) <= (this.#serials[at] as number)) return;
      this.#swap(parent, at);
      at = parent;
    }
  }

  #down(): void {
    for (let at = 0; ;) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < this.#length && (this.#serials[left] as number) < (this.#serials[least] as number)) least = left;
      if (right < this.#length && (this.#serials[right] as number) < (this.#serials[least] as number)) least = right;
      if (least === at) return;
      this.#swap(least, at);
      at = least;
    }
  }

  #swap(a: number, b: number): void {
    swap(this.#serials, a, b);
    swap(this.#groups, a, b);
    swap(this.#places, a, b);
  }
}

function swap(column: Float64Array | Int32Array, a: number, b: number): void {
  const held = column[a] as number;
  column[a] = column[b] as number;
  column[b] = held;
}
