/**
 * Who is on the LAN: neighbours, frames and leases become device rows and owned addresses. Never the gateway, never the
 * WAN side, never a group address.
 */
import { parseAddress, printAddress } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import type { DeviceRow, DeviceTable } from "./devices.ts";
import type { HomeMap } from "./direction.ts";
import type { Observation } from "./observation.ts";
import { Claim, Evidence } from "./owners.ts";
import type { EvidenceCode, Owners } from "./owners.ts";

type Neighbour = Extract<Observation, { kind: "neighbour" }>;
type Lease = Extract<Observation, { kind: "lease" }>;
type Network = Extract<Observation, { kind: "network" }>;

/** Sightings that came before the home's cut was known, or that it did not allow: the next cut may. */
const MAX_HELD = 1024;
/** The same conflict is told again only after this long. */
const CONFLICT_QUIET_MS = 60_000;
const MAX_CONFLICTS_REMEMBERED = 256;

export interface NeighbourhoodOptions {
  readonly clock: Clock;
  readonly home: HomeMap;
  readonly owners: Owners;
  readonly devices: DeviceTable;
  /**
   * Somebody shows an address as its own that its owner still holds: told each time, and as a conflict once a minute.
   * Without an owner it is the gateway's.
   */
  readonly claimed: (address: string, owner: DeviceRow | undefined, claimant: number) => void;
  readonly conflict: (address: string, owner: DeviceRow, claimant: number) => void;
}

export class Neighbourhood {
  readonly #options: NeighbourhoodOptions;
  #lanInterfaces = new Set<string>();
  #gatewayMacs = new Set<number>();
  #held: (Neighbour | Lease)[] = [];
  readonly #conflictAt = new Map<string, number>();
  conflicts = 0;

  constructor(options: NeighbourhoodOptions) {
    this.#options = options;
  }

  networkSeen(network: Network): void {
    const { devices, owners } = this.#options;
    this.#lanInterfaces = new Set(network.lanInterfaces);
    this.#gatewayMacs = new Set(network.gatewayMacs);
    // What turned out to be the gateway is no device.
    for (const mac of this.#gatewayMacs) {
      const row = devices.byMac(mac);
      if (row) devices.remove(row, "gateway");
    }
    for (const address of network.gatewayAddresses) {
      const words = parseAddress(address);
      if (words) owners.release(words, 0);
    }
    const held = this.#held;
    this.#held = [];
    for (const observation of held)
      if (observation.kind === "lease") this.lease(observation);
      else this.neighbour(observation);
  }

  neighbour(observation: Neighbour): void {
    const { devices, clock } = this.#options;
    const { mac, state, time } = observation;
    if (!this.#isDevice(mac)) return;
    if (!this.#options.home.known) return this.#hold(observation);
    if (observation.interface !== "" && this.#lanInterfaces.size > 0 && !this.#lanInterfaces.has(observation.interface))
      return this.#hold(observation);
    // What the kernel forgot says nothing new: whoever held the address keeps it until somebody may have it.
    if (state === "gone") return;
    // Who is dropped answers to nobody: it makes no device, and takes no address that another one has.
    if (state === "dropped" && !devices.byMac(mac)) return;
    const row = devices.see(mac, time, observation.interface);
    if (!row) return;
    // A device whose traffic is blocked goes on sending frames; those are no sign of life of its own.
    if (state === "frame" && !row.blocked) devices.sent(row.slot, time, clock.monotonic());
    else if (state !== "stale") devices.seen(row.slot, time);
    if (observation.address === undefined) return;
    const evidence = state === "stale" ? Evidence.Stale : Evidence.Confirmed;
    this.#claim(row, observation, observation.address, evidence, 0);
  }

  /** A device that was not known asked a question. */
  asked(mac: number, address: string, time: number): void {
    this.neighbour({ kind: "neighbour", time, mac, address, interface: "", state: "frame" });
  }

  lease(observation: Lease): void {
    const { devices, owners, clock } = this.#options;
    const { mac, address, expires, time } = observation;
    if (!this.#isDevice(mac)) return;
    if (!this.#options.home.known) return this.#hold(observation);
    const now = clock.now();
    const left = expires === undefined ? Infinity : expires - now;
    if (observation.ended === true || left <= 0) {
      const row = devices.byMac(mac);
      const words = parseAddress(address);
      if (row && words) owners.endLease(row.slot, words, 0);
      return;
    }
    const row = devices.see(mac, time, "");
    if (!row) return;
    if (observation.hostName !== undefined) devices.identify(row, "dhcp", { hostName: observation.hostName });
    this.#claim(row, observation, address, Evidence.Lease, clock.monotonic() + left);
  }

  #claim(
    row: DeviceRow,
    observation: Neighbour | Lease,
    address: string,
    evidence: EvidenceCode,
    leasedUntil: number,
  ): void {
    const { home, owners, clock } = this.#options;
    const words = parseAddress(address);
    if (!words) return;
    if (observation.kind === "neighbour" && observation.state === "frame" && home.isGateway(words, 0)) {
      this.conflicts++;
      return this.#options.claimed(printAddress(words), undefined, row.mac);
    }
    if (!home.claimable(words, 0)) return this.#hold(observation);
    const owner = owners.find(words, 0);
    const isDropped = observation.kind === "neighbour" && observation.state === "dropped";
    if (isDropped && owner >= 0 && owner !== row.slot) return this.#conflict(printAddress(words), owner, row.mac);
    const result = owners.claim(row.slot, words, 0, evidence, clock.monotonic(), leasedUntil);
    if (result === Claim.Refused && evidence !== Evidence.Stale) this.#conflict(printAddress(words), owner, row.mac);
  }

  #conflict(address: string, ownerSlot: number, claimant: number): void {
    const { devices, clock, claimed, conflict } = this.#options;
    this.conflicts++;
    const owner = devices.bySlot(ownerSlot);
    if (owner) claimed(address, owner, claimant);
    const key = `${address} ${claimant}`;
    const now = clock.monotonic();
    if (!owner || now - (this.#conflictAt.get(key) ?? -Infinity) < CONFLICT_QUIET_MS) return;
    if (this.#conflictAt.size >= MAX_CONFLICTS_REMEMBERED) this.#conflictAt.clear();
    this.#conflictAt.set(key, now);
    conflict(address, owner, claimant);
  }

  #hold(observation: Neighbour | Lease): void {
    if (this.#held.length >= MAX_HELD) this.#held.shift();
    this.#held.push(observation);
  }

  /** A host's address: not a group's, not nobody's, not the gateway's. */
  #isDevice(mac: number): boolean {
    return (
      mac > 0 && mac < 0x1000000000000 && (Math.floor(mac / 0x10000000000) & 1) === 0 && !this.#gatewayMacs.has(mac)
    );
  }
}
