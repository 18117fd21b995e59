/** Detectors and incidents of a home: what is seen goes in, incidents come out, with their device. */
import type { Clock } from "../lib/clock.ts";
import type { Counters } from "./counters.ts";
import { Detectors } from "./detect/detectors.ts";
import type { Finding } from "./detect/finding.ts";
import { Incidents, type Incident, type IncidentNotice } from "./detect/incidents.ts";
import type { DeviceTable } from "./devices.ts";
import type { FlowRows } from "./flow-rows.ts";
import type { HomeDevice } from "./types.ts";

export interface DetectionOptions {
  readonly clock: Clock;
  readonly slots: number;
  readonly rows: FlowRows;
  readonly counters: Counters;
  readonly devices: DeviceTable;
  readonly isStopped: (row: number) => boolean;
  readonly notify: (notice: IncidentNotice) => void;
}

const MAX_INCIDENTS = 100;
/** An address that its owner still holds is claimed again and again by a spoofer; by a clone of an old lease, now and then. */
const CLAIMS = 3;
const CLAIMS_MS = 60_000;
/** The wall clock went another way than the monotonic one: somebody set it. */
const CLOCK_SET_MS = 5000;

export class Detection {
  readonly detectors: Detectors;
  readonly incidents: Incidents;
  /** Address spoofing has no thresholds beyond its switch. */
  spoofing = { enable: true };
  readonly #options: DetectionOptions;
  /** Claims of each slot within a minute: how many, and since when. */
  readonly #claims: Float64Array;
  readonly #claimsFrom: Float64Array;
  /** When what was learned of the slot's device was erased (wall clock): it is learned anew, not told as new. */
  readonly #learnsFrom: Float64Array;
  /** Wall clock minus monotonic clock. */
  #clockOffset: number;

  constructor(options: DetectionOptions) {
    this.#options = options;
    const { slots, rows, counters, devices, clock } = options;
    this.incidents = new Incidents({ limit: MAX_INCIDENTS, notify: options.notify });
    this.#claims = new Float64Array(slots);
    this.#claimsFrom = new Float64Array(slots);
    this.#learnsFrom = new Float64Array(slots);
    this.#clockOffset = clock.now() - clock.monotonic();
    this.detectors = new Detectors({
      slots,
      rows,
      counters,
      isStopped: options.isStopped,
      knownMs: (slot) => {
        const row = devices.bySlot(slot);
        return row ? Math.max(0, clock.now() - Math.max(row.firstSeen, this.#learnsFrom[slot] as number)) : -1;
      },
      report: (finding) => this.#found(finding),
    });
  }

  tick(): void {
    const { clock } = this.#options;
    const offset = clock.now() - clock.monotonic();
    if (Math.abs(offset - this.#clockOffset) >= CLOCK_SET_MS) {
      this.detectors.clockSet();
      this.#claims.fill(0);
      this.#claimsFrom.fill(0);
    }
    this.#clockOffset = offset;
    this.detectors.tick(clock.now(), clock.monotonic());
    this.incidents.tick(clock.now());
  }

  /** All flows have been read as they stood at that time (milliseconds since 1970). */
  read(startedAt: number): void {
    const { clock } = this.#options;
    this.detectors.read(clock.monotonic() - Math.max(0, clock.now() - startedAt));
  }

  /**
   * The claimant shows an address as its own that its owner still holds. An owner that is silent from then on may be
   * asleep, and the claimant answer for it (Bonjour's sleep proxies do). Without an owner it is the gateway's, which is awake.
   */
  addressConflict(claimant: number, address: string, owner: HomeDevice | undefined): void {
    const slot = this.#options.devices.byMac(claimant)?.slot ?? -1;
    const time = this.#options.clock.now();
    if (slot < 0 || !this.spoofing.enable) return;
    if (time - (this.#claimsFrom[slot] as number) > CLAIMS_MS) {
      this.#claimsFrom[slot] = time;
      this.#claims[slot] = 0;
    }
    this.#claims[slot] = (this.#claims[slot] as number) + 1;
    if (this.#claims[slot] < CLAIMS) return;
    if (owner && owner.lastSeen <= (this.#claimsFrom[slot] as number)) return;
    this.#found({
      type: "AddressSpoofing",
      slot,
      severity: "Medium",
      time,
      measured: this.#claims[slot],
      threshold: CLAIMS,
      windowMs: CLAIMS_MS,
      summary: owner ? "claimed an address that another device holds" : "claimed an address of the gateway",
      peers: [`${address} of ${owner?.physAddress ?? "the gateway"}`],
    });
    this.#claims[slot] = 0;
  }

  /** The slot is another device's from now on. */
  clear(slot: number): void {
    this.detectors.clear(slot);
    this.#claims[slot] = 0;
    this.#learnsFrom[slot] = 0;
  }

  /** What the device did is forgotten; the device is not. */
  erase(slot: number): void {
    this.clear(slot);
    this.#learnsFrom[slot] = this.#options.clock.now();
  }

  save(): unknown {
    const { devices } = this.#options;
    const seen: [number, string, number?][] = [];
    for (const { number, slot } of devices.values()) {
      const bits = this.detectors.newDestination.save(slot);
      const since = Math.floor(this.#learnsFrom[slot] as number);
      if (bits !== "" || since > 0) seen.push(since > 0 ? [number, bits, since] : [number, bits]);
    }
    return { incidents: this.incidents.save(), seen };
  }

  /** Takes what `save` made, once the devices are loaded; what it is not is left out. */
  load(saved: unknown): void {
    if (typeof saved !== "object" || saved === null) return;
    const { incidents, seen } = saved as { incidents?: unknown; seen?: unknown };
    this.incidents.load(incidents);
    for (const entry of Array.isArray(seen) ? (seen as unknown[]) : []) {
      if (!Array.isArray(entry)) continue;
      const row = this.#options.devices.byNumber(Number(entry[0]));
      if (!row) continue;
      this.detectors.newDestination.load(row.slot, entry[1]);
      if (Number.isSafeInteger(entry[2])) this.#learnsFrom[row.slot] = entry[2] as number;
    }
  }

  #found(finding: Finding): Incident | undefined {
    const row = this.#options.devices.bySlot(finding.slot);
    return row && this.incidents.report(finding, row.mac).incident;
  }
}
