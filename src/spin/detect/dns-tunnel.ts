/**
 * Data carried in DNS questions: many distinct names under one base domain in a minute, many questions whose names or
 * types carry a lot, or in an hour names that say as much as a page of text. Measured: 20 distinct names a minute under one base found iodine (218) and its like, benign devices
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
const CARRIERS = new Set(["TXT", "NULL", "PRIVATE", "CNAME", "MX", "SRV", "KEY", "TYPE10", "TYPE25", "TYPE65399"]);
/**
 * Slow tunnels: within an hour so many letters in new names that are very long each. A name of an advertisement's frame has
 * 42 before its base, but a page has one or two; who reads a hundred pages an hour stays below half of it.
 */
const SLOW = { windowMs: 3_600_000, letters: 10_000, long: 36 } as const;
/** A base domain that was not asked for this long gives its place to a new one. */
const IDLE_MS = 600_000;
/**
 * Programs that look up by name whether something is known to be bad (virus scanners, mail servers): names as long and as
 * many as a tunnel's. Nobody but their makers gets to see what stands in these names.
 */
const LOOKUPS = new Set([
  "mcafee.com",
  "sophosxl.net",
  "e5.sk",
  "spamhaus.org",
  "spamhaus.net",
  "surbl.org",
  "uribl.com",
]);

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
  /** Of the hour: since when, new names and their letters. */
  readonly #hourFrom: Float64Array;
  readonly #newNames: Float64Array;
  readonly #newLetters: Float64Array;
  readonly #told: Float64Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    const trackers = slots * BASES;
    this.#names = new DistinctSet(trackers, NAMES);
    this.#base = new Uint32Array(trackers);
    this.#lastAt = new Float64Array(trackers);
    this.#windowFrom = new Float64Array(trackers);
    this.#questions = new Float64Array(trackers);
    this.#letters = new Float64Array(trackers);
    this.#carriers = new Float64Array(trackers);
    this.#hourFrom = new Float64Array(trackers);
    this.#newNames = new Float64Array(trackers);
    this.#newLetters = new Float64Array(trackers);
    this.#told = new Float64Array(slots);
  }

  /** The device asked for a name (lower-case, no final dot) and a type (`A`, `TXT`, `TYPE65` …). */
  asked(slot: number, name: string, type: string, time: number): void {
    const { enable, names, questions, windowMs } = this.settings;
    if (!enable) return;
    const base = baseDomain(name);
    // Of the root, of a top level, and of the home itself nobody can carry anything.
    if (base === "" || base.length === name.length) return;
    if (LOOKUPS.has(base)) return;
    const at = this.#tracker(slot, hashText(base), time);
    const letters = name.length - base.length - 1;
    if (time - (this.#windowFrom[at] as number) >= windowMs) this.#begin(at, time);
    this.#questions[at] = (this.#questions[at] as number) + 1;
    this.#letters[at] = (this.#letters[at] as number) + letters;
    if (CARRIERS.has(type)) this.#carriers[at] = (this.#carriers[at] as number) + 1;
    if (this.#names.add(at, hashText(name), time, time - windowMs)) this.#countSlowly(at, letters, time);
    const asked = this.#questions[at];
    const distinct = asked < names ? 0 : this.#names.count(at, time - windowMs);
    const isMany = distinct >= names;
    const isSlow = (this.#newLetters[at] as number) >= SLOW.letters;
    if ((!isMany && asked < questions && !isSlow) || time - (this.#told[slot] as number) < TELL_AGAIN_MS) return;
    this.#told[slot] = time;
    if (!isMany && asked < questions) return this.#tellSlow(slot, at, base, time);
    const isLong = this.#letters[at] / asked >= LONG;
    const carries = (this.#carriers[at] as number) / asked >= 0.5;
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

  /** A name that was not asked for lately; short ones among them are taken off again, as a tunnel has none. */
  #countSlowly(at: number, letters: number, time: number): void {
    if (time - (this.#hourFrom[at] as number) >= SLOW.windowMs || time < (this.#hourFrom[at] as number)) {
      this.#hourFrom[at] = time;
      this.#newNames[at] = this.#newLetters[at] = 0;
    }
    const isLong = letters >= SLOW.long;
    this.#newNames[at] = (this.#newNames[at] as number) + Number(isLong);
    this.#newLetters[at] = Math.max(0, (this.#newLetters[at] as number) + (isLong ? letters : -SLOW.long));
  }

  #tellSlow(slot: number, at: number, base: string, time: number): void {
    const measured = this.#newNames[at] as number;
    this.#report({
      type: "DNSTunnel",
      slot,
      severity: "Medium",
      time,
      measured,
      threshold: Math.round(SLOW.letters / SLOW.long),
      windowMs: SLOW.windowMs,
      summary: `asked for ${measured} very long names under one domain within an hour, as software does that hides data in them`,
      peers: [base],
    });
  }

  clear(slot: number): void {
    for (let at = slot * BASES; at < (slot + 1) * BASES; at++) this.#free(at);
    this.#told[slot] = 0;
  }

  /** The one that follows the base; else a free or idle one, else that of the base with the fewest letters. */
  #tracker(slot: number, base: number, time: number): number {
    const from = slot * BASES;
    let least = from;
    let leastValue = Infinity;
    for (let at = from; at < from + BASES; at++) {
      const lastAt = this.#lastAt[at] as number;
      const isIdle = lastAt === 0 || time - lastAt >= IDLE_MS;
      if (this.#base[at] === base && !isIdle) {
        this.#lastAt[at] = time;
        return at;
      }
      const value = isIdle ? -1 : (this.#letters[at] as number) + (this.#newLetters[at] as number);
      if (value >= leastValue) continue;
      least = at;
      leastValue = value;
    }
    this.#free(least);
    this.#base[least] = base;
    this.#lastAt[least] = time;
    this.#begin(least, time);
    return least;
  }

  #begin(at: number, time: number): void {
    this.#windowFrom[at] = time;
    this.#questions[at] = this.#letters[at] = this.#carriers[at] = 0;
  }

  #free(at: number): void {
    this.#names.clear(at);
    this.#lastAt[at] = this.#hourFrom[at] = this.#newNames[at] = this.#newLetters[at] = 0;
    this.#begin(at, 0);
  }
}
