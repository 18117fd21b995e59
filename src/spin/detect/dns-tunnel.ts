/**
 * Data carried in DNS questions: many distinct names under one base domain in a minute, or many questions whose names or
 * types carry a lot. Measured: 20 distinct names a minute under one base found iodine (218) and its like, benign devices
 * had at most 9; an exfiltration that asks for one name 135 times a minute is found by its rate, but a device that
 * retries a name is not told from it by the rate alone, so that is Info unless the questions are long.
 */
import { hashText } from "./hash.ts";
import { baseDomain } from "./base-domain.ts";
import { DistinctSet } from "./distinct-set.ts";
import type { DetectorSettings, Report } from "./finding.ts";

export interface DnsTunnelSettings extends DetectorSettings {
  /** Distinct names under one base domain within the window. */
  readonly names: number;
  /** Questions under one base domain within the window. */
  readonly questions: number;
  readonly windowMs: number;
}

export const defaultDnsTunnel: DnsTunnelSettings = { enable: true, names: 20, questions: 100, windowMs: 60_000 };

/** Base domains of a device that are watched at one time. */
const BASES = 8;
const NAMES = 64;
/**
 * Mean length of what stands before the base domain. Encoders fill their labels (iodine: over 50); host names of content
 * networks stay below (`r4---sn-4g5e6nez`: 16).
 */
const LONG = 24;
const TELL_AGAIN_MS = 10_000;
/** Types that people's devices hardly ask for by the dozen, and that tunnels do for their large answers. */
const CARRIERS = new Set(["TXT", "NULL", "PRIVATE", "CNAME", "MX", "SRV", "TYPE10", "TYPE65399"]);

export class DnsTunnel {
  settings = defaultDnsTunnel;
  readonly #report: Report;
  readonly #names: DistinctSet;
  readonly #base: Uint32Array;
  readonly #lastAt: Float64Array;
  readonly #windowFrom: Float64Array;
  readonly #questions: Float64Array;
  readonly #letters: Float64Array;
  readonly #carriers: Float64Array;
  readonly #told: Float64Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    const trackers = slots * BASES;
    this.#names = new DistinctSet(trackers, NAMES);
    this.#base = new Uint32Array(trackers);
    this.#lastAt = new Float64Array(trackers).fill(-Infinity);
    this.#windowFrom = new Float64Array(trackers);
    this.#questions = new Float64Array(trackers);
    this.#letters = new Float64Array(trackers);
    this.#carriers = new Float64Array(trackers);
    this.#told = new Float64Array(slots).fill(-Infinity);
  }

  /** The device asked for a name (lower-case, no final dot) and a type (`A`, `TXT`, `TYPE65` …). */
  asked(slot: number, name: string, type: string, time: number): void {
    const { enable, names, questions, windowMs } = this.settings;
    if (!enable) return;
    const base = baseDomain(name);
    // Of the root, of a top level, and of the home itself nobody can carry anything.
    if (base === "" || base.length === name.length) return;
    const at = this.#tracker(slot, hashText(base), time, windowMs);
    if (time - (this.#windowFrom[at] as number) >= windowMs) this.#begin(at, time);
    this.#questions[at] = (this.#questions[at] as number) + 1;
    this.#letters[at] = (this.#letters[at] as number) + (name.length - base.length - 1);
    if (CARRIERS.has(type)) this.#carriers[at] = (this.#carriers[at] as number) + 1;
    this.#names.add(at, hashText(name), time, time - windowMs);
    const asked = this.#questions[at];
    if (asked < names) return;
    const distinct = this.#names.count(at, time - windowMs);
    const isLong = this.#letters[at] / asked >= LONG;
    const carries = (this.#carriers[at] as number) / asked >= 0.5;
    const isMany = distinct >= names;
    if ((!isMany && asked < questions) || time - (this.#told[slot] as number) < TELL_AGAIN_MS) return;
    this.#told[slot] = time;
    this.#report({
      type: "DNSTunnel",
      slot,
      severity: (isMany && (isLong || carries)) || (isLong && carries) ? "High" : isLong || carries ? "Medium" : "Info",
      time,
      measured: isMany ? distinct : asked,
      threshold: isMany ? names : questions,
      windowMs,
      summary: isMany
        ? `asked for ${distinct >= NAMES ? "at least " : ""}${distinct} names under one domain in ${windowMs / 1000} s, as software does that hides data in them`
        : `asked ${asked} times for names of one domain in ${windowMs / 1000} s`,
      peers: [base],
    });
  }

  clear(slot: number): void {
    for (let at = slot * BASES; at < (slot + 1) * BASES; at++) this.#free(at);
    this.#told[slot] = -Infinity;
  }

  #tracker(slot: number, base: number, time: number, windowMs: number): number {
    const from = slot * BASES;
    let oldest = from;
    for (let at = from; at < from + BASES; at++) {
      if (this.#base[at] === base && time - (this.#lastAt[at] as number) < windowMs) {
        this.#lastAt[at] = time;
        return at;
      }
      if ((this.#lastAt[at] as number) < (this.#lastAt[oldest] as number)) oldest = at;
    }
    this.#free(oldest);
    this.#base[oldest] = base;
    this.#lastAt[oldest] = time;
    this.#begin(oldest, time);
    return oldest;
  }

  #begin(at: number, time: number): void {
    this.#windowFrom[at] = time;
    this.#questions[at] = this.#letters[at] = this.#carriers[at] = 0;
  }

  #free(at: number): void {
    this.#names.clear(at);
    this.#lastAt[at] = -Infinity;
    this.#begin(at, 0);
  }
}
