/** The view of one device that others hold, on the columns in which its table, its addresses and its counters stand. */
import { isLocallyAdministered, printMac } from "../lib/address.ts";
import { Counter } from "./counters.ts";
import type { Counters } from "./counters.ts";
import type { DeviceType } from "./device-types.ts";
import { Identity } from "./identity.ts";
import type { Merges } from "./merges.ts";
import type { Owners } from "./owners.ts";
import type { DeviceStats, HomeDevice } from "./types.ts";

/** What a row reads through. */
export interface RowParts {
  readonly counters: Counters;
  readonly owners: Owners;
  readonly merges: Merges;
  readonly monotonic: () => number;
  readonly vendorOf: (mac: number) => string;
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
  /** For how long it has been known, and silent, while the home was watched: ms. */
  readonly known: number;
  readonly idle: number;
  readonly activeChanged: number;
  /** `Identity.save()`. */
  readonly identity: unknown;
}

/** What a row asks its table. */
interface RowTable {
  lastSeen(slot: number): number;
  byMac(mac: number): { readonly number: number } | undefined;
}

/** The view of a row that others hold. Fields are written by DeviceTable alone. */
export class DeviceRow implements HomeDevice {
  readonly #table: RowTable;
  readonly #options: RowParts;
  readonly slot: number;
  readonly number: number;
  readonly mac: number;
  readonly physAddress: string;
  readonly alias: string;
  readonly randomized: boolean;
  readonly vendor: string;
  readonly firstSeen: number;
  readonly stats: DeviceStats;
  /** All that it was heard to say; what is public of it are the four fields below. */
  readonly identity = new Identity();
  hostName = "";
  type: DeviceType = "";
  typeReason = "";
  mudUrl = "";
  name = "";
  interface = "";
  active = false;
  /** When `active` last changed; 0: not since it is known. */
  activeChanged = 0;
  blocked = false;
  ignored = false;
  #ipv4: readonly string[] | undefined;
  #ipv6: readonly string[] | undefined;
  #frozenLastSeen: number | undefined;

  constructor(table: RowTable, options: RowParts, slot: number, number: number, mac: number, firstSeen: number) {
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

  /** Number of the row it is merged into; 0: none, or one that is not there. */
  get mergedInto(): number {
    const target = this.#options.merges.into(this.mac);
    return (target !== undefined && this.#table.byMac(target)?.number) || 0;
  }
  get unitedMacs(): readonly number[] {
    return this.#options.merges.united(this.mac);
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
