/**
 * The home's devices: one row a MAC address on the LAN side, bounded. Instance numbers are never reused. A row has a
 * slot, which is reused: it is the row's place in the columns of counters.ts, owners.ts, flows.ts and the rest.
 */
import { Allowance } from "./allowance.ts";
import { Counter } from "./counters.ts";
import { DeviceRow } from "./device-row.ts";
import type { RowParts, SavedDevice } from "./device-row.ts";
import type { IdentityObservation, IdentitySource, KnownAs } from "./identity.ts";
import type { DeviceField, DeviceRemoval, Limits, Listener } from "./types.ts";

export { DeviceRow } from "./device-row.ts";
export type { SavedDevice } from "./device-row.ts";

/** At most so many rows a second give way to new ones, so that a flood of forged addresses is no storm of notices. */
const REPLACEMENTS_PER_SECOND = 10;
const DAY_MS = 24 * 60 * 60_000;
/** A row that somebody named gives way only after this long. */
const NAMED_IDLE_MS = 30 * DAY_MS;
/** What was known for so long, and seen within so long, is no forgery of a moment. */
const ESTABLISHED_MS = DAY_MS;
const TODAY_MS = DAY_MS;
const MAX_INTERFACE = 64;
/** A device may tell of itself so often at once, and once more each so often: what it says can't be a storm of notices. */
const SELF_CHANGES = 8;
const SELF_CHANGE_MS = 10_000;

export interface DeviceTableOptions extends RowParts {
  readonly limits: Limits;
  /** Whether a rule names the device, or one that it is merged with: such a row never goes by itself. */
  readonly isRuled: (mac: number) => boolean;
  readonly notify: Listener;
  /** Lets a new row's identity learn what was heard before. */
  readonly recall: (row: DeviceRow) => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The slot is about to be free: let go of everything that stands in it. */
  readonly releasing: (slot: number) => void;
}

export class DeviceTable {
  readonly #options: DeviceTableOptions;
  readonly #slots: (DeviceRow | undefined)[];
  readonly #byMac = new Map<number, DeviceRow>();
  /** In the order of the numbers, because numbers only grow. */
  readonly #byNumber = new Map<number, DeviceRow>();
  /** When each slot's device last sent something (monotonic), and when it last showed itself, since 1970. */
  readonly #lastSent: Float64Array;
  readonly #lastSeen: Float64Array;
  /**
   * When it was first and last seen, on the clock of `#watched`: the time that the home was watched since the start, so that
   * neither a clock that is set, nor a gateway that was off or looked away, makes a device idle. Before the start: negative.
   */
  readonly #bornAt: Float64Array;
  readonly #shownAt: Float64Array;
  #watched = 0;
  #tickedAt: number;
  /** Silent for so long, a device is forgotten. */
  #forgetAfterMs: number;
  readonly #selfChanges: Allowance;
  /** Rows of which something is known that was not told yet. */
  readonly #untold = new Set<DeviceRow>();
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
    this.#lastSeen = new Float64Array(slots);
    this.#bornAt = new Float64Array(slots);
    this.#shownAt = new Float64Array(slots);
    this.#selfChanges = new Allowance(slots, SELF_CHANGES, SELF_CHANGE_MS);
    this.#tickedAt = options.monotonic();
    this.#forgetAfterMs = options.limits.forgetAfterMs;
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
    this.#bornAt[slot] = this.#watched;
    this.seen(slot, time);
    this.#options.recall(row);
    Object.assign(row, row.identity.knownAs(row.vendor));
    this.dirty = true;
    this.#options.notify({ kind: "device-added", device: row });
    // What is merged into it has its reference again.
    this.#mergeChanged(this.#mergedInto(mac));
    return row;
  }

  /** The device showed itself, whoever made it do so. */
  seen(slot: number, time: number): void {
    this.#shownAt[slot] = this.#watched;
    if (time > (this.#lastSeen[slot] as number)) this.#lastSeen[slot] = time;
  }

  /** The device sent something by itself. */
  sent(slot: number, time: number, monotonicMs: number): void {
    if (time > (this.#lastSeen[slot] as number)) this.#lastSeen[slot] = time;
    this.#lastSent[slot] = monotonicMs;
    this.#shownAt[slot] = this.#watched;
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

  /** What a source says of the device. Told at once, unless the device changes its mind all the time: then by and by. */
  identify(row: DeviceRow, source: IdentitySource, said: Partial<IdentityObservation>): void {
    if (row.frozen || !row.identity.learn(source, said)) return;
    this.dirty = true;
    if (!this.#tellIdentity(row)) this.#untold.add(row);
  }

  setBlocked(row: DeviceRow, blocked: boolean): void {
    if (row.blocked === blocked) return;
    row.blocked = blocked;
    this.blockedCount += blocked ? 1 : -1;
    this.changed(row, "Blocked");
  }

  setIgnored(row: DeviceRow, ignored: boolean): void {
    if (row.ignored === ignored) return;
    row.ignored = ignored;
    this.changed(row, "Ignored");
  }

  /** `into` is what it is merged into from now on; absent: nothing. @throws MergeError */
  merge(row: DeviceRow, into: DeviceRow | undefined): void {
    const { merges } = this.#options;
    const moved = into ? merges.merge(row.mac, into.mac) : merges.undo(row.mac) ? [row.mac] : [];
    if (moved.length === 0) return;
    this.dirty = true;
    this.#mergeChanged(moved);
  }

  /** Devices that are silent for so long are forgotten; Infinity: none is. */
  setForgetAfter(ms: number): void {
    this.#forgetAfterMs = ms;
  }

  /** The device's addresses changed. */
  addressesChanged(slot: number, family: 4 | 6): void {
    const row = this.#slots[slot];
    if (!row || row.frozen) return;
    row.forgetAddressLists();
    this.changed(row, family === 4 ? "IPv4Address" : "IPv6Address");
  }

  remove(row: DeviceRow, reason: DeviceRemoval): void {
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
    this.#untold.delete(row);
    this.dirty = true;
    if (reason === "evicted") this.evicted++;
    const { merges, isRuled } = this.#options;
    const merged = this.#mergedInto(row.mac);
    // A rule that names one of them goes on to hold for all: forgetting lifts nothing.
    if (row.unitedMacs.length > 1 && !isRuled(row.mac)) merges.forget(row.mac);
    this.#options.notify({ kind: "device-removed", device: row, reason });
    this.#mergeChanged(merged);
  }

  /** The second's work: who fell silent, and for how long. `isWatched`: whoever shows himself is seen. */
  tick(isWatched: boolean): void {
    this.#replacements = REPLACEMENTS_PER_SECOND;
    const now = this.#options.monotonic();
    if (isWatched) this.#watched += now - this.#tickedAt;
    this.#tickedAt = now;
    const silentSince = now - this.#options.limits.activeMs;
    for (const row of [...this.#byNumber.values()]) {
      if (row.active && (this.#lastSent[row.slot] as number) < silentSince) this.#setActive(row, false);
      if (this.#idle(row) >= this.#forgetAfterMs && !this.#isNamed(row) && !this.#options.isRuled(row.mac))
        this.remove(row, "idle");
    }
    for (const row of this.#untold) if (this.#tellIdentity(row)) this.#untold.delete(row);
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
      known: Math.round(this.#watched - (this.#bornAt[row.slot] as number)),
      idle: Math.round(this.#idle(row)),
      activeChanged: row.activeChanged,
      identity: row.identity.save(),
    }));
  }

  /** Takes a saved row; whether it fitted. */
  load(saved: SavedDevice, mac: number): DeviceRow | undefined {
    const slot = this.#slots.indexOf(undefined);
    if (slot < 0 || this.#byMac.has(mac) || this.#byNumber.has(saved.number)) return undefined;
    const row = this.#place(slot, saved.number, mac, saved.firstSeen);
    row.name = saved.name;
    row.interface = saved.interface;
    row.activeChanged = saved.activeChanged;
    row.identity.load(saved.identity);
    // As it was kept before there were several sources.
    if (saved.identity === undefined) row.identity.learn("dhcp", { hostName: saved.hostName });
    Object.assign(row, row.identity.knownAs(row.vendor));
    this.#lastSeen[slot] = saved.lastSeen;
    this.#bornAt[slot] = this.#watched - saved.known;
    this.#shownAt[slot] = this.#watched - saved.idle;
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
    this.#selfChanges.reset(slot, this.#options.monotonic());
    this.#byMac.set(mac, row);
    this.#byNumber.set(number, row);
    return row;
  }

  #mergedInto(mac: number): number[] {
    const { merges } = this.#options;
    return merges.united(mac).filter((each) => merges.into(each) === mac);
  }

  #mergeChanged(macs: readonly number[]): void {
    for (const mac of macs) {
      const row = this.#byMac.get(mac);
      if (row) this.changed(row, "MergedInto");
    }
  }

  /** Somebody gave it a name, or one that it is merged with. */
  #isNamed(row: DeviceRow): boolean {
    return row.name !== "" || row.unitedMacs.some((mac) => (this.#byMac.get(mac)?.name ?? "") !== "");
  }

  /** How long it has been silent while the home was watched: ms. */
  #idle(row: DeviceRow): number {
    return this.#watched - (this.#shownAt[row.slot] as number);
  }

  /** Makes public what is known now; `false`: not yet, it changed too often of late. */
  #tellIdentity(row: DeviceRow): boolean {
    const known: KnownAs = row.identity.knownAs(row.vendor);
    const fields = PUBLIC.filter(([key]) => row[key] !== known[key]).map(([, field]) => field);
    if (fields.length === 0) return true;
    if (!this.#selfChanges.take(row.slot, this.#options.monotonic())) return false;
    Object.assign(row, known);
    for (const field of fields) this.changed(row, field);
    return true;
  }

  #setActive(row: DeviceRow, active: boolean): void {
    row.active = active;
    row.activeChanged = this.#options.now();
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

  /**
   * How much a row is worth keeping; Infinity: it stays. First go those that never got an answer, no lease and no line in a
   * file (what a forged address lacks), then those that were not seen today, then those that are new and silent now. Among
   * equals, the longest silent is worth least.
   */
  #value(row: DeviceRow): number {
    const { counters, owners, monotonic, isRuled } = this.#options;
    if (isRuled(row.mac)) return Infinity;
    const idle = this.#idle(row);
    if (this.#isNamed(row)) return idle > NAMED_IDLE_MS ? 3e15 - idle : Infinity;
    const lives =
      row.identity.isOnFile ||
      counters.get(row.slot, Counter.BytesReceived) > 0 ||
      counters.get(row.slot, Counter.LocalBytesReceived) > 0 ||
      owners.leased(row.slot, monotonic());
    if (!lives) return -idle;
    if (row.active) return Infinity;
    if (idle > TODAY_MS) return 1e15 - idle;
    const known = this.#watched - (this.#bornAt[row.slot] as number);
    return known > ESTABLISHED_MS ? Infinity : 2e15 - idle;
  }
}

/** What is public of a device's identity, and how the change of it is told. */
const PUBLIC = [
  ["hostName", "HostName"],
  ["type", "Type"],
  ["typeReason", "TypeReason"],
  ["mudUrl", "MUDURL"],
] as const satisfies readonly (readonly [keyof KnownAs, DeviceField])[];
