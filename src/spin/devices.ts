/**
 * The home's devices: one row a MAC address on the LAN side, bounded. Instance numbers are never reused. A row has a
 * slot, which is reused: it is the row's place in the columns of counters.ts, owners.ts, flows.ts and the rest.
 */
import { isLocallyAdministered, printMac } from "../lib/address.ts";
import { Counter } from "./counters.ts";
import type { Counters } from "./counters.ts";
import type { Owners } from "./owners.ts";
import type { DeviceField, DeviceStats, HomeDevice, Limits, Listener } from "./types.ts";

/** At most so many rows a second give way to new ones, so that a flood of forged addresses is no storm of notices. */
const REPLACEMENTS_PER_SECOND = 10;
/** A row that somebody named gives way only after this long. */
const NAMED_IDLE_MS = 30 * 24 * 60 * 60_000;
const MAX_HOST_NAME = 253;
const MAX_INTERFACE = 64;

export interface DeviceTableOptions {
  readonly limits: Limits;
  readonly counters: Counters;
  readonly owners: Owners;
  readonly monotonic: () => number;
  readonly vendorOf: (mac: number) => string;
  /** Whether a rule names the device: such a row never gives way. */
  readonly isRuled: (mac: number) => boolean;
  readonly notify: Listener;
  /** The slot is about to be free: let go of everything that stands in it. */
  readonly releasing: (slot: number) => void;
}

/** A row as it stands in the state file. */
export interface SavedDevice {
  readonly number: number;
  readonly mac: string;
  readonly name: string;
  readonly hostName: string;
  readonly interface: string;
  readonly firstSeen: number;
  readonly lastSeen: number;
}

export class DeviceTable {
  readonly #options: DeviceTableOptions;
  readonly #slots: (DeviceRow | undefined)[];
  readonly #byMac = new Map<number, DeviceRow>();
  /** In the order of the numbers, because numbers only grow. */
  readonly #byNumber = new Map<number, DeviceRow>();
  /** When each slot's device last sent something and last showed itself (monotonic), and the latter since 1970. */
  readonly #lastSent: Float64Array;
  readonly #lastShown: Float64Array;
  readonly #lastSeen: Float64Array;
  #nextNumber = 1;
  /** Numbers up to here are reserved on disk; beyond, no row is made until more are. */
  #reservedNumbers = Infinity;
  #replacements = REPLACEMENTS_PER_SECOND;
  /** Rows that differ from the state file. */
  dirty = false;
  evicted = 0;
  refused = 0;
  activeCount = 0;
  blockedCount = 0;

  constructor(options: DeviceTableOptions) {
    this.#options = options;
    const slots = options.limits.devices;
    this.#slots = new Array<DeviceRow | undefined>(slots).fill(undefined);
    this.#lastSent = new Float64Array(slots).fill(-Infinity);
    this.#lastShown = new Float64Array(slots);
    this.#lastSeen = new Float64Array(slots);
  }

  get size(): number {
    return this.#byMac.size;
  }
  get nextNumber(): number {
    return this.#nextNumber;
  }

  values(): IterableIterator<DeviceRow> {
    return this.#byNumber.values();
  }
  byNumber(number: number): DeviceRow | undefined {
    return this.#byNumber.get(number);
  }
  byMac(mac: number): DeviceRow | undefined {
    return this.#byMac.get(mac);
  }
  bySlot(slot: number): DeviceRow | undefined {
    return this.#slots[slot];
  }

  /** The device of a MAC address, made if it is new; `undefined` if there is no room. `time` is since 1970. */
  see(mac: number, time: number, interfaceName: string): DeviceRow | undefined {
    const known = this.#byMac.get(mac);
    if (known) {
      if (interfaceName !== "" && interfaceName !== known.interface) {
        known.interface = interfaceName.slice(0, MAX_INTERFACE);
        this.changed(known, "Interface");
      }
      return known;
    }
    const slot = this.#roomFor();
    if (slot < 0 || this.#nextNumber > this.#reservedNumbers) {
      this.refused++;
      return undefined;
    }
    const row = this.#place(slot, this.#nextNumber++, mac, time);
    row.interface = interfaceName.slice(0, MAX_INTERFACE);
    this.seen(slot, time);
    this.dirty = true;
    this.#options.notify({ kind: "device-added", device: row });
    return row;
  }

  /** The device showed itself, whoever made it do so. */
  seen(slot: number, time: number): void {
    this.#lastShown[slot] = this.#options.monotonic();
    if (time > (this.#lastSeen[slot] as number)) this.#lastSeen[slot] = time;
  }

  /** The device sent something by itself. */
  sent(slot: number, time: number, monotonicMs: number): void {
    if (time > (this.#lastSeen[slot] as number)) this.#lastSeen[slot] = time;
    this.#lastSent[slot] = this.#lastShown[slot] = monotonicMs;
    const row = this.#slots[slot];
    if (row && !row.active) this.#setActive(row, true);
  }

  lastSeen(slot: number): number {
    return this.#lastSeen[slot] as number;
  }

  setName(row: DeviceRow, name: string): void {
    if (row.name === name) return;
    row.name = name;
    this.dirty = true;
    this.changed(row, "Name");
  }

  setHostName(row: DeviceRow, hostName: string): void {
    const bounded = hostName.slice(0, MAX_HOST_NAME);
    if (row.hostName === bounded) return;
    row.hostName = bounded;
    this.dirty = true;
    this.changed(row, "HostName");
  }

  setBlocked(row: DeviceRow, blocked: boolean): void {
    if (row.blocked === blocked) return;
    row.blocked = blocked;
    this.blockedCount += blocked ? 1 : -1;
    this.changed(row, "Blocked");
  }

  /** The device's addresses changed. */
  addressesChanged(slot: number, family: 4 | 6): void {
    const row = this.#slots[slot];
    if (!row || row.frozen) return;
    row.forgetAddressLists();
    this.changed(row, family === 4 ? "IPv4Address" : "IPv6Address");
  }

  remove(row: DeviceRow, reason: "forgotten" | "evicted"): void {
    if (this.#byMac.get(row.mac) !== row) return;
    // The row keeps its last values for those who still hold it.
    row.freeze();
    this.#options.releasing(row.slot);
    this.#byMac.delete(row.mac);
    this.#byNumber.delete(row.number);
    this.#slots[row.slot] = undefined;
    if (row.active) this.activeCount--;
    if (row.blocked) this.blockedCount--;
    this.#options.counters.clear(row.slot);
    this.#lastSent[row.slot] = -Infinity;
    this.#lastSeen[row.slot] = 0;
    this.dirty = true;
    if (reason === "evicted") this.evicted++;
    this.#options.notify({ kind: "device-removed", device: row, reason });
  }

  /** The second's work: who fell silent. */
  tick(): void {
    this.#replacements = REPLACEMENTS_PER_SECOND;
    const silentSince = this.#options.monotonic() - this.#options.limits.activeMs;
    for (const row of this.#byNumber.values())
      if (row.active && (this.#lastSent[row.slot] as number) < silentSince) this.#setActive(row, false);
  }

  /** Numbers below `last` are on disk as reserved. */
  reserve(last: number): void {
    this.#reservedNumbers = last;
  }

  save(): SavedDevice[] {
    return [...this.#byNumber.values()].map((row) => ({
      number: row.number,
      mac: row.physAddress,
      name: row.name,
      hostName: row.hostName,
      interface: row.interface,
      firstSeen: row.firstSeen,
      lastSeen: row.lastSeen,
    }));
  }

  /** Takes a saved row; whether it fitted. */
  load(saved: SavedDevice, mac: number): DeviceRow | undefined {
    const slot = this.#slots.indexOf(undefined);
    if (slot < 0 || this.#byMac.has(mac) || this.#byNumber.has(saved.number)) return undefined;
    const row = this.#place(slot, saved.number, mac, saved.firstSeen);
    row.name = saved.name;
    row.hostName = saved.hostName;
    row.interface = saved.interface;
    this.#lastSeen[slot] = saved.lastSeen;
    this.#lastShown[slot] = this.#options.monotonic();
    this.#nextNumber = Math.max(this.#nextNumber, saved.number + 1);
    return row;
  }

  /** Numbers below were given out in an earlier life. */
  startNumbersAt(number: number): void {
    this.#nextNumber = Math.max(this.#nextNumber, number);
  }

  /** Something that a listener may want to know. */
  changed(row: DeviceRow, field: DeviceField): void {
    this.#options.notify({ kind: "device-changed", device: row, field });
  }

  #place(slot: number, number: number, mac: number, firstSeen: number): DeviceRow {
    const row = new DeviceRow(this, this.#options, slot, number, mac, firstSeen);
    this.#slots[slot] = row;
    this.#byMac.set(mac, row);
    this.#byNumber.set(number, row);
    return row;
  }

  #setActive(row: DeviceRow, active: boolean): void {
    row.active = active;
    this.activeCount += active ? 1 : -1;
    this.changed(row, "Active");
  }

  /** A free slot, made by letting the least valuable row go if need be; -1: none may go. */
  #roomFor(): number {
    if (this.#byMac.size < this.#slots.length) return this.#slots.indexOf(undefined);
    if (this.#replacements <= 0) return -1;
    let least: DeviceRow | undefined;
    let leastValue = Infinity;
    for (const row of this.#byNumber.values()) {
      const value = this.#value(row);
      if (value < leastValue) {
        leastValue = value;
        least = row;
      }
    }
    if (!least) return -1;
    this.#replacements--;
    this.remove(least, "evicted");
    return least.slot;
  }

  /** How much a row is worth keeping; Infinity: it stays. Among equals, the longest silent is worth least. */
  #value(row: DeviceRow): number {
    const { counters, owners, monotonic, isRuled } = this.#options;
    if (isRuled(row.mac)) return Infinity;
    const now = monotonic();
    const idle = now - (this.#lastShown[row.slot] as number);
    if (row.name !== "") return idle > NAMED_IDLE_MS ? 2e15 - idle : Infinity;
    const lived =
      row.hostName !== "" ||
      counters.get(row.slot, Counter.BytesReceived) > 0 ||
      counters.get(row.slot, Counter.LocalBytesReceived) > 0 ||
      owners.leased(row.slot, now);
    if (!lived) return -idle;
    return row.active ? Infinity : 1e15 - idle;
  }
}

/** The view of a row that others hold. Fields are written by DeviceTable alone. */
export class DeviceRow implements HomeDevice {
  readonly #table: DeviceTable;
  readonly #options: DeviceTableOptions;
  readonly slot: number;
  readonly number: number;
  readonly mac: number;
  readonly physAddress: string;
  readonly alias: string;
  readonly randomized: boolean;
  readonly vendor: string;
  readonly firstSeen: number;
  readonly stats: DeviceStats;
  name = "";
  hostName = "";
  interface = "";
  active = false;
  blocked = false;
  #ipv4: readonly string[] | undefined;
  #ipv6: readonly string[] | undefined;
  #frozenLastSeen: number | undefined;

  constructor(
    table: DeviceTable,
    options: DeviceTableOptions,
    slot: number,
    number: number,
    mac: number,
    firstSeen: number,
  ) {
    this.#table = table;
    this.#options = options;
    this.slot = slot;
    this.number = number;
    this.mac = mac;
    this.physAddress = printMac(mac);
    this.alias = `cpe-${number}`;
    this.randomized = isLocallyAdministered(mac);
    this.vendor = this.randomized ? "" : options.vendorOf(mac);
    this.firstSeen = firstSeen;
    this.stats = new LiveStats(options.counters, slot, options.monotonic);
  }

  get ipv4Addresses(): readonly string[] {
    return (this.#ipv4 ??= this.#options.owners.list(this.slot, 4));
  }
  get ipv6Addresses(): readonly string[] {
    return (this.#ipv6 ??= this.#options.owners.list(this.slot, 6));
  }
  get lastSeen(): number {
    return this.#frozenLastSeen ?? Math.floor(this.#table.lastSeen(this.slot));
  }

  get frozen(): boolean {
    return this.#frozenLastSeen !== undefined;
  }

  forgetAddressLists(): void {
    this.#ipv4 = this.#ipv6 = undefined;
  }

  /** The slot is about to be another's: keep what it said last. */
  freeze(): void {
    this.#frozenLastSeen = this.lastSeen;
    this.#ipv4 = this.ipv4Addresses;
    this.#ipv6 = this.ipv6Addresses;
    (this.stats as LiveStats).freeze();
  }
}

class LiveStats implements DeviceStats {
  readonly #counters: Counters;
  readonly #slot: number;
  readonly #monotonic: () => number;
  #frozen: number[] | undefined;

  constructor(counters: Counters, slot: number, monotonic: () => number) {
    this.#counters = counters;
    this.#slot = slot;
    this.#monotonic = monotonic;
  }

  get bytesSent(): number {
    return this.#get(Counter.BytesSent);
  }
  get bytesReceived(): number {
    return this.#get(Counter.BytesReceived);
  }
  get packetsSent(): number {
    return this.#get(Counter.PacketsSent);
  }
  get packetsReceived(): number {
    return this.#get(Counter.PacketsReceived);
  }
  get localBytesSent(): number {
    return this.#get(Counter.LocalBytesSent);
  }
  get localBytesReceived(): number {
    return this.#get(Counter.LocalBytesReceived);
  }
  get flowsOpened(): number {
    return this.#get(Counter.FlowsOpened);
  }
  get dnsQueryCount(): number {
    return this.#get(Counter.DnsQueries);
  }
  get blockedPackets(): number {
    return this.#get(Counter.BlockedPackets);
  }
  get blockedBytes(): number {
    return this.#get(Counter.BlockedBytes);
  }
  get activeFlowCount(): number {
    return this.#frozen ? 0 : this.#counters.activeFlows(this.#slot);
  }
  get bytesSentRate(): number {
    return this.#frozen ? 0 : this.#counters.rate(this.#slot, Counter.BytesSent, this.#monotonic());
  }
  get bytesReceivedRate(): number {
    return this.#frozen ? 0 : this.#counters.rate(this.#slot, Counter.BytesReceived, this.#monotonic());
  }

  freeze(): void {
    this.#frozen = this.#counters.save(this.#slot);
  }

  #get(counter: number): number {
    return this.#frozen ? (this.#frozen[counter] as number) : this.#counters.get(this.#slot, counter as 0);
  }
}
