/**
 * A device that asks by ARP for many addresses of the LAN that nobody has, within half a minute. Measured: 20 in 30 s found
 * the scan (255) and no benign device (at most 11, a router that booted). A hub that greets every device of a large home
 * asks for as many, hence only what no known device holds is counted; a scan goes over the whole prefix.
 */
import { DistinctSet } from "./distinct-set.ts";
import type { DetectorSettings, Report } from "./finding.ts";

export interface ArpScanSettings extends DetectorSettings {
  /** Distinct addresses asked for within the window. */
  readonly threshold: number;
  readonly windowMs: number;
}

export const defaultArpScan: ArpScanSettings = { enable: true, threshold: 20, windowMs: 30_000 };

const TARGETS = 64;
const TELL_AGAIN_MS = 10_000;

export class ArpScan {
  settings = defaultArpScan;
  readonly #report: Report;
  readonly #targets: DistinctSet;
  readonly #told: Float64Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#targets = new DistinctSet(slots, TARGETS);
    this.#told = new Float64Array(slots);
  }

  /** The device asked who has an IPv4 address (the word, in host order) that no known device holds. */
  asked(slot: number, target: number, time: number): void {
    const { enable, threshold, windowMs } = this.settings;
    if (!enable) return;
    const since = time - windowMs;
    if (!this.#targets.add(slot, target, time, since)) return;
    const measured = this.#targets.count(slot, since);
    if (measured < threshold || time - (this.#told[slot] as number) < TELL_AGAIN_MS) return;
    this.#told[slot] = time;
    this.#report({
      type: "ARPScan",
      slot,
      severity: "Medium",
      time,
      measured,
      threshold,
      windowMs,
      summary: `asked for ${measured >= TARGETS ? "at least " : ""}${measured} unused addresses of the home network in ${windowMs / 1000} s`,
      peers: [],
    });
  }

  clear(slot: number): void {
    this.#targets.clear(slot);
    this.#told[slot] = 0;
  }
}
