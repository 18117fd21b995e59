/**
 * A device speaks to, or asks for, an entry of a list that is enabled and not excepted by a rule: one contact is enough.
 * How bad that is, the list's maker knows and we do not; so the severity is a setting.
 */
import type { DetectorSettings, Report, Severity } from "./finding.ts";

export interface ListedPeerSettings extends DetectorSettings {
  readonly severity: Severity;
  /** Contacts within the window before it is told. */
  readonly contacts: number;
  readonly windowMs: number;
}

export const defaultListedPeer: ListedPeerSettings = { enable: true, severity: "Low", contacts: 1, windowMs: 60_000 };

/** One device's contacts are told so often at most; those between count. */
const TELL_AGAIN_MS = 10_000;

export class ListedPeer {
  settings = defaultListedPeer;
  readonly #report: Report;
  readonly #windowFrom: Float64Array;
  readonly #contacts: Float64Array;
  readonly #told: Float64Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#windowFrom = new Float64Array(slots).fill(-Infinity);
    this.#contacts = new Float64Array(slots);
    this.#told = new Float64Array(slots).fill(-Infinity);
  }

  /** @param peer the address or name, and which list has it; called where it is told alone */
  contact(slot: number, time: number, peer: () => string): void {
    const { enable, severity, contacts, windowMs } = this.settings;
    if (!enable) return;
    if (time - (this.#windowFrom[slot] as number) >= windowMs || time < (this.#windowFrom[slot] as number)) {
      this.#windowFrom[slot] = time;
      this.#contacts[slot] = 0;
    }
    const measured = (this.#contacts[slot] = (this.#contacts[slot] as number) + 1);
    if (measured < contacts || Math.abs(time - (this.#told[slot] as number)) < TELL_AGAIN_MS) return;
    this.#told[slot] = time;
    this.#report({
      type: "ListedPeer",
      slot,
      severity,
      time,
      measured,
      threshold: contacts,
      windowMs,
      summary: "spoke to or asked for something that is on a list",
      peers: [peer()],
    });
  }

  clear(slot: number): void {
    this.#windowFrom[slot] = this.#told[slot] = -Infinity;
    this.#contacts[slot] = 0;
  }
}
