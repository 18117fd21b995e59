/**
 * What we want in the kernel's maps, what we know to be there, the difference, and what the counters said: the books of
 * the kernel backend, without any I/O. Element counters become rules' hits here: a counter that fell was begun anew.
 */
import type { Count, CountedElement, Element } from "./elements.ts";
import { READINGS_LIMIT, byId } from "./readings.ts";
import type { Reading, Readings } from "./readings.ts";

interface Wanted {
  readonly element: Element;
  readonly rules: readonly number[];
  /** The kernel did not take it; not tried again until it changes or `retryRefused`. */
  refused: boolean;
}

interface Known {
  element: Element;
  packets: number;
  bytes: number;
  /** Rules that its counter counts for. */
  rules: readonly number[];
  /** Found in the kernel, not put there by us since we run. */
  found: boolean;
  /** Counted, and no rule's yet. */
  owed: Count;
  /** The last reading that saw it. */
  reading: number;
}

export interface Plan {
  readonly removed: readonly Element[];
  readonly added: readonly Element[];
  /** Elements that stay, but count for other rules from now on. */
  readonly reowned: readonly Element[];
  /** Maps to be read before, because counters would be lost or change owner. */
  readonly harvest: ReadonlySet<string>;
  /** Maps of which all is removed, and what stays added again. */
  readonly emptied: ReadonlySet<string>;
}

export interface Tally {
  packets: number;
  bytes: number;
}

export interface PlanOptions {
  readonly now: number;
  /** A new timeout is taken without losing the counter (Linux 6.12). */
  readonly refreshInPlace: boolean;
  /** Whether an element that nobody wants may go; those that may not stay as they are. */
  readonly mayRemove: (element: Element) => boolean;
  /** The rule that an element found in the kernel is kept for although nobody wants it (yet). */
  readonly keptFor: (element: Element) => number | undefined;
}

/** An element about to expire is left to the kernel; timeouts that differ less are the same. */
const SLACK_MS = 2000;
const NOTHING: Count = { packets: 0, bytes: 0 };

export class Ledger {
  readonly #wanted = new Map<string, Wanted>();
  readonly #known = new Map<string, Map<string, Known>>();
  readonly #dirty = new Set<string>();
  readonly #kept = new Set<string>();
  readonly #rules = new Map<number, Tally>();
  /** Of our last life, until we have looked what the kernel holds. */
  #before: { readonly all: boolean; readonly elements: Map<string, Count> } | undefined;
  #reading = 0;

  /** Monotone hits by rule. */
  get hits(): ReadonlyMap<number, Count> {
    return this.#rules;
  }

  /** Before the first `observe`: how far elements had been counted in an earlier life. */
  resume({ all, elements }: Readings): void {
    this.#before = { all, elements: byId(elements) };
  }

  /** The kernel's elements have been observed: what else there was of the earlier life is gone. */
  resumed(): void {
    this.#before = undefined;
  }

  /** How far elements have been counted, for `resume`. */
  get readings(): Pick<Readings, "all" | "elements"> {
    const elements: Reading[] = [];
    for (const [id, { packets, bytes }] of this.#before?.elements ?? []) elements.push([id, packets, bytes]);
    for (const known of this.#known.values())
      for (const [id, { packets, bytes, owed }] of known) {
        if (packets === owed.packets && bytes === owed.bytes) continue;
        if (elements.length === READINGS_LIMIT) return { all: false, elements };
        elements.push([id, packets - owed.packets, bytes - owed.bytes]);
      }
    return { all: this.#before?.all ?? true, elements };
  }

  get knownCount(): number {
    let count = 0;
    for (const elements of this.#known.values()) count += elements.size;
    return count;
  }

  /** How many elements a map holds, as far as we know. */
  sizeOf(map: string): number {
    return this.#known.get(map)?.size ?? 0;
  }

  /** Maps that hold something, as far as we know. */
  get mapsInUse(): string[] {
    return [...this.#known].filter(([, elements]) => elements.size > 0).map(([map]) => map);
  }

  wants(id: string): boolean {
    return this.#wanted.has(id);
  }

  want(element: Element, rules: readonly number[]): void {
    this.#wanted.set(element.id, { element, rules, refused: false });
    this.#dirty.add(element.id);
  }

  unwant(id: string): void {
    if (this.#wanted.delete(id)) this.#dirty.add(id);
  }

  /** Takes an element out of what is tried, until it is wanted anew. Returns the rules that it was for. */
  refuse(id: string): readonly number[] {
    const wanted = this.#wanted.get(id);
    if (wanted) wanted.refused = true;
    return wanted?.rules ?? [];
  }

  /** What the kernel did not take is tried again. */
  retryRefused(): void {
    for (const [id, wanted] of this.#wanted) {
      if (!wanted.refused) continue;
      wanted.refused = false;
      this.#dirty.add(id);
    }
  }

  /** Everything is compared again: removals were held back until now. */
  reviewAll(): void {
    for (const elements of this.#known.values()) for (const id of elements.keys()) this.#dirty.add(id);
  }

  /** What was kept for a rule is asked for again, since rules changed. */
  reviewKept(): void {
    for (const id of this.#kept) this.#dirty.add(id);
    this.#kept.clear();
  }

  /** What the table should hold when it is loaded anew. */
  everything(options: PlanOptions): Element[] {
    const elements = [...this.#wanted.values()].filter(({ refused }) => !refused).map(({ element }) => element);
    for (const known of this.#known.values())
      for (const { element } of known.values())
        if (
          !this.#wanted.has(element.id) &&
          element.expires > options.now + SLACK_MS &&
          (!options.mayRemove(element) || options.keptFor(element) !== undefined)
        )
          elements.push(element);
    return elements.filter(({ expires }) => expires > options.now);
  }

  /** The table was loaded anew with these. */
  loaded(elements: readonly Element[]): void {
    const before = new Map([...this.#known].map(([map, known]) => [map, new Map(known)]));
    this.#known.clear();
    this.#dirty.clear();
    for (const element of elements) {
      const old = before.get(element.map)?.get(element.id);
      const rules = this.#wanted.get(element.id)?.rules ?? old?.rules ?? [];
      this.#mapOf(element).set(element.id, {
        element,
        packets: 0,
        bytes: 0,
        rules,
        found: old?.found ?? false,
        owed: old?.owed ?? NOTHING,
        reading: 0,
      });
    }
  }

  plan({ now, refreshInPlace, mayRemove, keptFor }: PlanOptions): Plan {
    const removed: Element[] = [];
    const added: Element[] = [];
    const reowned: Element[] = [];
    const harvest = new Set<string>();
    for (const id of this.#dirty) {
      const wanted = this.#wanted.get(id);
      const known = this.#known.get(mapName(id))?.get(id);
      if (!wanted) {
        if (!known || !mayRemove(known.element)) continue;
        const rule = known.found ? keptFor(known.element) : undefined;
        if (rule !== undefined) {
          this.#assign(known, [rule]);
          this.#kept.add(id);
        } else if (known.element.expires > now + SLACK_MS) {
          removed.push(known.element);
          if (known.rules.length > 0) harvest.add(known.element.map);
        } else if (known.element.expires > now) continue;
        else this.#known.get(known.element.map)?.delete(id);
        continue;
      }
      const { element, rules, refused } = wanted;
      if (refused || element.expires <= now) continue;
      if (!known) {
        added.push(element);
        continue;
      }
      if (known.found && known.rules.length === 0) this.#assign(known, rules);
      const isRefresh = element.expires !== Infinity && known.element.expires !== Infinity;
      const isSameTime = isRefresh
        ? Math.abs(element.expires - known.element.expires) < SLACK_MS / 2
        : element.expires === known.element.expires;
      if (element.value !== known.element.value || (!isSameTime && !(isRefresh && refreshInPlace))) {
        removed.push(known.element);
        added.push(element);
        if (known.rules.length > 0) harvest.add(element.map);
      } else if (!isSameTime) added.push(element);
      else if (!isSameList(rules, known.rules)) {
        if (known.rules.length === 0) continue;
        harvest.add(element.map);
        reowned.push(element);
      }
    }
    return { removed, added, reowned, harvest, emptied: new Set() };
  }

  /**
   * The same plan with whole maps replaced where it takes more than `limit` elements out of one: for a transport whose
   * deletions cost the more the fuller the map.
   */
  emptying(plan: Plan, limit: number, now: number): Plan {
    const counts = new Map<string, number>();
    for (const { map } of plan.removed) counts.set(map, (counts.get(map) ?? 0) + 1);
    const emptied = new Set([...counts].filter(([, count]) => count > limit).map(([map]) => map));
    if (emptied.size === 0) return plan;
    const removed = plan.removed.filter(({ map }) => !emptied.has(map));
    const added = plan.added.filter(({ map }) => !emptied.has(map));
    const going = new Set(plan.removed.map(({ id }) => id));
    const coming = new Map(plan.added.map((element) => [element.id, element]));
    for (const map of emptied)
      for (const [id, { element }] of this.#known.get(map) ?? []) {
        removed.push(element);
        if (!going.has(id) && !coming.has(id) && element.expires > now) added.push(element);
      }
    for (const element of coming.values()) if (emptied.has(element.map)) added.push(element);
    return { ...plan, removed, added, emptied };
  }

  /**
   * The same plan for a transport that tells what removed elements had counted: nothing is read before; what comes to
   * count for other rules is made anew. `undefined` where it would tell more than `limit`.
   */
  told(plan: Plan, limit: number): Plan | undefined {
    const { removed, added, reowned } = plan;
    if (removed.length + reowned.length > limit) return undefined;
    return { ...plan, removed: [...removed, ...reowned], added: [...added, ...reowned], harvest: new Set() };
  }

  /** What removed elements had counted at their end. Before `done`. */
  credit(told: ReadonlyMap<string, Count>): void {
    for (const [id, count] of told) {
      const known = this.#known.get(mapName(id))?.get(id);
      if (known) this.#credit(known, count);
    }
  }

  /** The kernel has taken the plan. */
  done({ removed, added }: Pick<Plan, "removed" | "added">, now: number): void {
    const before = new Map<string, Known>();
    for (const { map, id } of removed) {
      const known = this.#known.get(map)?.get(id);
      if (known) before.set(id, known);
      this.#known.get(map)?.delete(id);
    }
    for (const element of added) {
      const known = this.#mapOf(element).get(element.id);
      const { rules = [], found = false, owed = NOTHING } = before.get(element.id) ?? {};
      if (known) known.element = element;
      else this.#mapOf(element).set(element.id, { element, packets: 0, bytes: 0, rules, found, owed, reading: 0 });
    }
    for (const id of this.#dirty) {
      const known = this.#known.get(mapName(id))?.get(id);
      const wanted = this.#wanted.get(id);
      if (known && wanted) {
        this.#assign(known, wanted.rules);
        known.found = false;
      }
      // What nobody wants and yet stays, until the kernel lets it expire, is looked at again.
      if (!(known && !wanted && !this.#kept.has(id) && known.element.expires > now)) this.#dirty.delete(id);
    }
  }

  /**
   * Takes in what maps hold now. Returns how many elements are missing that should be there, and how many are there that
   * we don't know; both are then part of the next plan.
   */
  observe(read: ReadonlyMap<string, readonly CountedElement[]>, now: number): { missing: number; strange: number } {
    let missing = 0;
    let strange = 0;
    for (const [map, elements] of read) {
      const known = this.#known.get(map);
      const reading = ++this.#reading;
      for (const element of elements) {
        const own = known?.get(element.id);
        if (own) {
          own.reading = reading;
          this.#credit(own, element);
          if (own.element.value !== element.value) this.#dirty.add(element.id);
          own.element = element;
          continue;
        }
        const { packets, bytes } = element;
        const owed = this.#owed(element);
        this.#mapOf(element).set(element.id, { element, packets, bytes, rules: [], found: true, owed, reading });
        this.#dirty.add(element.id);
        strange++;
      }
      for (const [id, { element, reading: seen }] of known ?? []) {
        if (seen === reading) continue;
        known?.delete(id);
        this.#dirty.add(id);
        if (element.expires > now + SLACK_MS) missing++;
      }
    }
    return { missing, strange };
  }

  #credit(known: Known, { packets, bytes }: Count): void {
    const fell = packets < known.packets || bytes < known.bytes;
    const morePackets = fell ? packets : packets - known.packets;
    const moreBytes = fell ? bytes : bytes - known.bytes;
    known.packets = packets;
    known.bytes = bytes;
    if (morePackets === 0 && moreBytes === 0) return;
    if (known.rules.length === 0) {
      const { owed } = known;
      if (known.found) known.owed = { packets: owed.packets + morePackets, bytes: owed.bytes + moreBytes };
      return;
    }
    for (const rule of known.rules) addCount(this.#rules, rule, morePackets, moreBytes);
  }

  /** What an element that we found has counted since the reading of our last life. */
  #owed({ id, packets, bytes }: CountedElement): Count {
    if (!this.#before) return NOTHING;
    const before = this.#before.elements.get(id);
    this.#before.elements.delete(id);
    if (!before) return this.#before.all ? { packets, bytes } : NOTHING;
    if (packets < before.packets || bytes < before.bytes) return { packets, bytes };
    return { packets: packets - before.packets, bytes: bytes - before.bytes };
  }

  /** The element counts for these rules, and what it owes is theirs. */
  #assign(known: Known, rules: readonly number[]): void {
    known.rules = rules;
    if (rules.length === 0 || known.owed === NOTHING) return;
    for (const rule of rules) addCount(this.#rules, rule, known.owed.packets, known.owed.bytes);
    known.owed = NOTHING;
  }

  #mapOf({ map }: Element): Map<string, Known> {
    let elements = this.#known.get(map);
    if (!elements) this.#known.set(map, (elements = new Map()));
    return elements;
  }
}

export function addCount<K>(counts: Map<K, Tally>, key: K, packets: number, bytes: number): void {
  const count = counts.get(key);
  if (!count) {
    counts.set(key, { packets, bytes });
    return;
  }
  count.packets += packets;
  count.bytes += bytes;
}

function mapName(id: string): string {
  return id.slice(0, id.indexOf(" "));
}

function isSameList(a: readonly number[], b: readonly number[]): boolean {
  return a === b || (a.length === b.length && a.every((member, i) => member === b[i]));
}
