/**
 * Rules: what anybody asked for (`Device.X_SPIN.Rule.{i}.`), their state in words, and their hits. The book is the one
 * owner; who wins over whom is decided in policy.ts, and what the kernel made of it is told to the book afterwards.
 */
import type { Clock } from "../lib/clock.ts";
import { allTexts, isInForce, isScheduled, misconfiguration, overruled, resolvePolicy, resolveRule } from "./policy.ts";
import type { Authority, ListResolver, ScheduleResolver } from "./policy.ts";
import { numberOf } from "./lists/book.ts";
import { missingLists } from "./policy.ts";
import { NEVER } from "./rule-values.ts";
import type { Rule } from "./rule-values.ts";
import type { ApplyReport, Hits, Policy, PolicyRule } from "./ruleset.ts";

export { NEVER, newRule } from "./rule-values.ts";
export type { Rule, RuleAction, RuleOrigin } from "./rule-values.ts";

export type RuleStatus = "Disabled" | "Enabled" | "Pending" | "Expired" | "Overruled" | "Error" | "Error_Misconfigured";

export interface RuleState {
  readonly status: RuleStatus;
  /** In words; empty when the status says it all. */
  readonly reason: string;
  /** The rules that decide instead of this one, when Overruled. */
  readonly overruledBy: readonly number[];
}

export interface RuleHits {
  readonly packets: number;
  readonly bytes: number;
  /** When a hit was last noticed; 0: never. */
  readonly lastHit: number;
}

/** Equal for two rules that say the same. The order of a list's members does not matter. */
export function functionalKey(rule: Rule): string {
  const { macs, destinations, ports } = allTexts(rule);
  return JSON.stringify([
    rule.creator,
    rule.action,
    macs.sort(),
    destinations.sort(),
    rule.protocol,
    ports.sort(),
    rule.initiator,
    [...rule.schedules].sort((a, b) => a - b),
  ]);
}

/** What the book needs of the home. */
export interface RuleBookOptions {
  readonly clock: Clock;
  readonly authority: Authority;
  /** What a reference to a `.List.{i}.` holds; `undefined` while there is no such list. */
  readonly lists?: ListResolver;
  readonly schedules?: ScheduleResolver;
  /** The hardware addresses that a rule on these is on: what the resident merged stands for one device. */
  readonly united?: (macs: readonly number[]) => readonly number[];
  /** Why no rule can come into force, in words; empty: nothing is known that hinders. */
  readonly heldBy?: () => string;
}

interface Row {
  rule: Rule;
  key: string;
  packets: number;
  bytes: number;
  lastHit: number;
  /** What the enforcer said last, to tell its differences from its totals. */
  seenPackets: number;
  seenBytes: number;
}

/**
 * All rules. Changes are synchronous and make a new `version`; a reconciler applies `policy()` and reports back with
 * `applied(version, report)`, until when a changed rule is Pending.
 */
export class RuleBook {
  readonly #options: RuleBookOptions;
  readonly #rows = new Map<number, Row>();
  readonly #changedAt = new Map<number, number>();
  readonly #listeners = new Set<() => void>();
  #version = 0;
  #appliedVersion = 0;
  #refused: ReadonlyMap<number, string> = new Map();
  #domainNote = "";
  /** Why the newest policy is not in force, in words; empty if nothing is known to be wrong. */
  trouble = "";
  #overruled: { version: number; at: number; by: ReadonlyMap<number, readonly number[]> } | undefined;
  #nextExpiry = Infinity;
  #lookedAt = -Infinity;

  constructor(options: RuleBookOptions) {
    this.#options = options;
  }

  /** Counts changes of what the policy may depend on. */
  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#rows.size;
  }

  /** When the next rule expires, or its schedule begins or ends, in milliseconds since 1970; Infinity: none does. */
  get nextExpiry(): number {
    return this.#nextExpiry;
  }

  /** Called after each change, synchronously; returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Adds a rule or replaces the one of its id. `hits` restores counters that were kept over a restart. */
  put(rule: Rule, hits?: RuleHits): void {
    const existing = this.#rows.get(rule.id);
    const key = functionalKey(rule);
    const sameEffect = existing !== undefined && existing.key === key && hasSameEffect(existing.rule, rule);
    const row = existing ?? { rule, key, packets: 0, bytes: 0, lastHit: 0, seenPackets: 0, seenBytes: 0 };
    row.rule = rule;
    row.key = key;
    if (hits) Object.assign(row, { packets: hits.packets, bytes: hits.bytes, lastHit: hits.lastHit });
    this.#rows.set(rule.id, row);
    if (!sameEffect) this.#changed(rule.id);
  }

  /** Forgets a rule; whether there was one. */
  remove(id: number): boolean {
    const row = this.#rows.get(id);
    if (!row) return false;
    this.#rows.delete(id);
    this.#changed(id);
    this.#changedAt.delete(id);
    return true;
  }

  get(id: number): Rule | undefined {
    return this.#rows.get(id)?.rule;
  }

  /** All rules in the order of their ids. */
  list(): Rule[] {
    return [...this.#rows.values()].map((row) => row.rule).sort((a, b) => a.id - b.id);
  }

  /** All rules in force, resolved by tier. */
  policy(): Policy {
    const { authority, clock, lists, schedules, united } = this.#options;
    const policy = resolvePolicy(this.list(), authority, clock.now(), lists, schedules);
    if (!united) return policy;
    return { rules: policy.rules.map((rule) => (rule.macs === "*" ? rule : { ...rule, macs: united(rule.macs) })) };
  }

  /** The rules of Action Ignore that are in force, as far as they cover anything. */
  ignored(): Omit<PolicyRule, "action">[] {
    const { lists, united } = this.#options;
    return this.list()
      .filter(({ id, action }) => action === "Ignore" && this.inForce(id))
      .map((rule) => {
        const resolved = resolveRule(rule, lists);
        return { ...resolved, macs: united && resolved.macs !== "*" ? united(resolved.macs) : resolved.macs, tier: 0 };
      });
  }

  /** Tells the book what an enforcer made of the policy of `version`. */
  applied(version: number, report: ApplyReport): void {
    this.#appliedVersion = Math.max(this.#appliedVersion, version);
    this.#refused = report.refused;
    this.#domainNote = report.domainNote ?? "";
    for (const [id, changed] of this.#changedAt) if (changed <= this.#appliedVersion) this.#changedAt.delete(id);
  }

  /**
   * Whether rules expired, or schedules began or ended, since the last change or call, so that the policy is to be applied
   * again. So it is when the clock was set back.
   */
  expire(): boolean {
    const now = this.#options.clock.now();
    const wasSetBack = now < this.#lookedAt;
    this.#lookedAt = now;
    if (now < this.#nextExpiry && !wasSetBack) return false;
    this.#changed(undefined);
    return true;
  }

  /** A list has changed: what rules on it say is not in force before the policy that follows. */
  listChanged(list: number): void {
    for (const [id, { rule }] of this.#rows)
      if (rule.destinations !== "*" && rule.destinations.lists.some((reference) => numberOf(reference) === list))
        this.#changedAt.set(id, this.#version + 1);
    this.#changed(undefined);
  }

  /** Lists or schedules that rules refer to have changed. */
  referencesChanged(): void {
    this.#changed(undefined);
  }

  state(id: number): RuleState {
    const rule = this.#rows.get(id)?.rule;
    if (!rule) throw new RangeError(`no rule ${id}`);
    const state = (status: RuleStatus, reason = "", overruledBy: readonly number[] = []) => ({
      status,
      reason,
      overruledBy,
    });
    if (!rule.enable) return state("Disabled");
    const now = this.#options.clock.now();
    if (rule.expiry <= now) return state("Expired", `Expired at ${new Date(rule.expiry).toISOString()}.`);
    const wrong = misconfiguration(rule, this.#options.lists, this.#options.schedules);
    if (wrong !== undefined) return state("Error_Misconfigured", wrong);
    const refused = this.#refused.get(id);
    const pending = this.#changedAt.has(id);
    if (refused !== undefined && !pending) return state("Error", refused);
    if (pending && rule.action !== "Ignore") {
      const why = this.#options.heldBy?.() || this.trouble;
      return state("Pending", why === "" ? "Not yet in force." : `Not yet in force: ${why}`);
    }
    if (!isScheduled(rule, this.#options.schedules)) return state("Enabled", this.#whenScheduled(rule));
    const missing = missingLists(rule, this.#options.lists);
    if (missing.length > 0 && rule.action !== "Ignore") {
      const isRefused = missing.some(({ state: each }) => each === "refused");
      const which = missing.map(({ number, reason }) => `List.${number}: ${reason}`).join("; ");
      return state(isRefused ? "Error" : "Pending", `What lists hold is not in force: ${which}.`);
    }
    const by = this.#overruledRules(now).get(id);
    if (by) return state("Overruled", `Rule ${by.join(", ")} decides instead, for all that this rule covers.`, by);
    return state("Enabled", this.#domainNote !== "" && this.#namesDomains(rule) ? this.#domainNote : "");
  }

  /** Whether a rule is in force at this moment: enabled, not expired, well-formed. */
  inForce(id: number): boolean {
    const rule = this.#rows.get(id)?.rule;
    const { clock, lists, schedules } = this.#options;
    return rule !== undefined && isInForce(rule, clock.now(), lists, schedules);
  }

  /** Whether its schedules, if it has any, let a rule hold at this moment. */
  isScheduled(id: number): boolean {
    const rule = this.#rows.get(id)?.rule;
    return rule !== undefined && isScheduled(rule, this.#options.schedules);
  }

  hits(id: number): RuleHits {
    const row = this.#rows.get(id);
    if (!row) throw new RangeError(`no rule ${id}`);
    return { packets: row.packets, bytes: row.bytes, lastHit: row.lastHit };
  }

  /**
   * Adds what an enforcer counted since the last call. Its totals are monotone while it lives; a total that fell is a new
   * enforcer's and counts whole. Returns the ids whose hits rose.
   */
  count(hits: Hits): number[] {
    this.#domainNote = hits.domainNote ?? "";
    const risen: number[] = [];
    const now = this.#options.clock.now();
    for (const [id, total] of hits.rules) {
      const row = this.#rows.get(id);
      if (!row) continue;
      const fell = total.packets < row.seenPackets || total.bytes < row.seenBytes;
      const packets = fell ? total.packets : total.packets - row.seenPackets;
      const bytes = fell ? total.bytes : total.bytes - row.seenBytes;
      row.seenPackets = total.packets;
      row.seenBytes = total.bytes;
      if (packets === 0 && bytes === 0) continue;
      row.packets += packets;
      row.bytes += bytes;
      row.lastHit = now;
      risen.push(id);
    }
    return risen;
  }

  #whenScheduled({ schedules }: Rule): string {
    const next = this.#nextSlotChange(schedules);
    return next === Infinity
      ? "Not now: none of its schedules is active."
      : `Not now: its schedules say from ${new Date(next).toISOString()}.`;
  }

  #nextSlotChange(schedules: readonly number[]): number {
    return Math.min(...schedules.map((id) => this.#options.schedules?.(id)?.until ?? Infinity));
  }

  #namesDomains({ action, destinations }: Rule): boolean {
    if (action === "Ignore" || destinations === "*") return false;
    const { domains, lists } = destinations;
    return domains.length > 0 || lists.some((list) => (this.#options.lists?.(list)?.token ?? "") !== "");
  }

  #overruledRules(now: number): ReadonlyMap<number, readonly number[]> {
    const known = this.#overruled;
    if (known?.version === this.#version && now < this.#nextExpiry) return known.by;
    const by = overruled(this.policy());
    this.#overruled = { version: this.#version, at: now, by };
    return by;
  }

  #changed(id: number | undefined): void {
    this.#version++;
    if (id !== undefined) this.#changedAt.set(id, this.#version);
    const now = this.#options.clock.now();
    this.#nextExpiry = Infinity;
    for (const { rule } of this.#rows.values()) {
      if (!rule.enable || rule.expiry <= now) continue;
      this.#nextExpiry = Math.min(this.#nextExpiry, rule.expiry);
      if (rule.schedules.length > 0)
        this.#nextExpiry = Math.min(this.#nextExpiry, this.#nextSlotChange(rule.schedules));
    }
    if (this.#nextExpiry === NEVER) this.#nextExpiry = Infinity;
    for (const listener of this.#listeners) listener();
  }
}

/** Whether two rules of equal keys are in force at the same times and in the same tier. */
function hasSameEffect(a: Rule, b: Rule): boolean {
  return a.enable === b.enable && a.origin === b.origin && a.expiry === b.expiry;
}
