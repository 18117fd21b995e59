/**
 * A device keeps trying what a Block or Reject rule stops: packets that it sent in vain, within a window. That a device of
 * which everything is blocked does so says little, so that is Info.
 */
import type { DetectorSettings, Report } from "./finding.ts";

export interface RuleViolationSettings extends DetectorSettings {
  /** Packets stopped within the window. */
  readonly packets: number;
  readonly windowMs: number;
}

/** A TCP connection that is dropped sends some 6 packets in a minute: ten a minute are many attempts at it. */
export const defaultRuleViolation: RuleViolationSettings = { enable: true, packets: 100, windowMs: 600_000 };

const PEERS = 8;

export class RuleViolation {
  settings = defaultRuleViolation;
  readonly #report: Report;
  readonly #windowFrom: Float64Array;
  readonly #packets: Float64Array;
  readonly #peers: string[][];

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#windowFrom = new Float64Array(slots).fill(-Infinity);
    this.#packets = new Float64Array(slots);
    this.#peers = Array.from({ length: slots }, () => []);
  }

  /** Packets of the device that a rule stopped. @param isAllBlocked whether a rule blocks all that it does */
  stopped(slot: number, packets: number, time: number, peer: string, isAllBlocked: boolean): void {
    const { enable, packets: threshold, windowMs } = this.settings;
    if (!enable || packets <= 0) return;
    const peers = this.#peers[slot] as string[];
    if (time - (this.#windowFrom[slot] as number) >= windowMs || time < (this.#windowFrom[slot] as number)) {
      this.#windowFrom[slot] = time;
      this.#packets[slot] = 0;
      peers.length = 0;
    }
    if (!peers.includes(peer) && peers.push(peer) > PEERS) peers.shift();
    const measured = (this.#packets[slot] = (this.#packets[slot] as number) + packets);
    if (measured < threshold) return;
    this.#report({
      type: "RuleViolation",
      slot,
      severity: isAllBlocked ? "Info" : "Low",
      time,
      measured,
      threshold,
      windowMs,
      summary: "keeps trying what a rule stops",
      peers: [...peers],
    });
    this.#windowFrom[slot] = time;
    this.#packets[slot] = 0;
    peers.length = 0;
  }

  clear(slot: number): void {
    this.#windowFrom[slot] = -Infinity;
    this.#packets[slot] = 0;
    (this.#peers[slot] as string[]).length = 0;
  }
}
