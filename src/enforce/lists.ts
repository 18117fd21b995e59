/**
 * Lists in the kernel: a place (two sets of spin.nft) for each list that rules name, kept at its content by differences,
 * and the elements of the rules on them. Its own books, because its sets are beyond what the others' are made for.
 */
import { describe } from "../lib/log.ts";
import type { Log } from "../lib/log.ts";
import { parseAddress, parsePrefix, type Prefix } from "../lib/address.ts";
import { COUNT_LEVEL } from "../spin/policy-cells.ts";
import { without, type ListRanges, type Width } from "../spin/lists/ranges.ts";
import { prefixFamily } from "../spin/rule-values.ts";
import { ListRefusal } from "../spin/ruleset.ts";
import type { Hits, HomeNetwork, Policy } from "../spin/ruleset.ts";
import { element, type Element } from "./elements.ts";
import type { HeldAddress } from "./expand.ts";
import { Ledger, type PlanOptions } from "./ledger.ts";
import {
  changeSet,
  emptySet,
  EMPTY,
  fingerprintOf,
  isHeld,
  rangesOf,
  SCRIPT_LIMIT,
  textOf,
  widthOf,
  type Turn,
} from "./list-ranges.ts";
import { LIST_RULE_MAPS, listElements, PLACES } from "./list-rules.ts";
import { parseReadings, type Readings } from "./readings.ts";
import type { SavedLists } from "./saved-lists.ts";
import type { Transport } from "./transport.ts";

export interface KernelListsOptions {
  readonly transport: Transport;
  readonly log: Log;
  readonly now: () => number;
  readonly heldBy: (mac: number) => Iterable<HeldAddress>;
  /** Levels that packets have to ask because of lists, in the place of those before. */
  readonly useLevels: (levels: ReadonlySet<number>) => void;
  /** Runs a piece of work when the kernel is free for it. */
  readonly turn: Turn;
  /** Where the boot script finds them. */
  readonly saved?: SavedLists;
}

interface Place {
  readonly list: number;
  /** What the list holds, as it was given; `undefined`: found in the kernel, and asked for by nobody yet. */
  content: ListRanges | undefined;
  /** What the kernel holds of it, by family; `undefined`: nobody knows. */
  held: { [family in 4 | 6]: Uint32Array | undefined };
  /** Of what the kernel holds, as it is written there; `undefined`: nothing is. */
  mark: number | undefined;
}

const FAMILIES = [4, 6] as const;
/**
 * So many ranges are loaded at boot, in 2 s with 80 MB of nft's; what is beyond comes with the agent. For each piece nft
 * reads all that a set holds.
 */
const BOOT_RANGES = 60_000;
/** All places together: the kernel takes 140 bytes for each (measured), and eight of the largest lists would take all of a gateway. */
const KERNEL_RANGES = 500_000;
const PLACES_SET = "list_places";
const COUNTED = LIST_RULE_MAPS.filter((map) => map !== "list_used");

export class KernelLists {
  readonly #options: KernelListsOptions;
  readonly #transport: Transport;
  readonly #ledger = new Ledger();
  readonly #places: (Place | undefined)[] = Array.from({ length: PLACES }, () => undefined);
  #policy: Policy = { rules: [] };
  #isPolicyKnown = false;
  #wanted = new Set<string>();
  #isDirty = false;
  #excluded: { 4: Uint32Array; 6: Uint32Array } = { 4: EMPTY, 6: EMPTY };

  constructor(options: KernelListsOptions) {
    this.#options = options;
    this.#transport = options.transport;
  }

  get hits(): Hits["rules"] {
    return this.#ledger.hits;
  }

  get readings(): Readings {
    return { ...this.#ledger.readings, dropped: [] };
  }

  resume(saved: unknown): void {
    const readings = parseReadings(saved);
    if (readings) this.#ledger.resume(readings);
  }

  /** Elements of rules on lists, for the boot script; what lists hold it finds in a file of their own. */
  everything(): Element[] {
    return this.#ledger.everything(this.#planOptions());
  }

  /** What no list may hold, from now on. */
  setNetwork({ lanPrefixes, gatewayAddresses, management }: HomeNetwork): void {
    const addresses = [...gatewayAddresses, ...management.map(({ address }) => address)];
    const hosts = addresses.flatMap((text) => (parseAddress(text) ? (parsePrefix(text) ?? []) : []));
    const all = [...lanPrefixes, ...hosts];
    const of = (family: 4 | 6) =>
      Uint32Array.from(
        all.filter((prefix) => prefixFamily(prefix) === family).flatMap((prefix) => bounds(prefix, family)),
      );
    this.#excluded = { 4: of(4), 6: of(6) };
  }

  /** The table stands: what it holds is looked at. With the kernel's turn. */
  async start(): Promise<void> {
    const now = this.#options.now();
    const read = await this.#transport.read([PLACES_SET, ...LIST_RULE_MAPS], now);
    if (!read) return;
    for (const { from } of read.get(PLACES_SET) ?? []) {
      const [at, list, mark] = from as [number, number, number];
      if (at < PLACES && !this.#places[at])
        this.#places[at] = { list, content: undefined, held: { 4: undefined, 6: undefined }, mark };
    }
    this.#ledger.observe(new Map([...read].filter(([map]) => map !== PLACES_SET)), now);
    this.#ledger.resumed();
  }

  /** Somebody did something to elements of our table, or (not `isKnown`) may have. With the kernel's turn. */
  async review(isKnown: boolean): Promise<void> {
    if (this.#ledger.knownCount === 0 && this.#places.every((place) => place === undefined)) return;
    const now = this.#options.now();
    const read = await this.#transport.read(LIST_RULE_MAPS, now);
    if (!read) return;
    this.#ledger.observe(read, now);
    for (const [at, place] of this.#places.entries())
      for (const family of FAMILIES) {
        const held = place?.held[family];
        if (!place || !held || held.length === 0) continue;
        // One that is too big to look at is loaded anew where there is reason to.
        const isRight = (await isHeld(this.#transport, setOf(at, family), family, held)) ?? !isKnown;
        if (isRight) continue;
        this.#options.log.warn(`list ${place.list} may have been changed in the kernel; putting it right`);
        await this.#mark(at, place, undefined);
        place.held[family] = undefined;
      }
    await this.flush();
  }

  /** The table was loaded anew, with `elements` of ours among the others and no list in it. */
  emptied(elements: readonly Element[]): void {
    this.#ledger.loaded(elements);
    this.#ledger.resumed();
    for (const place of this.#places)
      if (place) Object.assign(place, { held: { 4: EMPTY, 6: EMPTY }, mark: undefined });
  }

  /** What places should hold and do not, after `emptied` or `review`. Takes turns by itself. */
  async refill(): Promise<void> {
    for (const [at, place] of this.#places.entries()) {
      if (!place?.content) continue;
      await this.#fill(at, place);
    }
  }

  /** As `Enforcer.list`. Takes turns by itself. */
  async set(list: number, content: ListRanges | undefined): Promise<void> {
    let at = this.#places.findIndex((place) => place?.list === list);
    if (!content) return at < 0 ? undefined : await this.#drop(at);
    if (this.#transport.bulk === undefined) refuseBig(content);
    const others = this.#places.reduce((sum, place) => sum + (place?.list === list ? 0 : countOf(place?.content)), 0);
    if (others + countOf(content) > KERNEL_RANGES)
      throw new ListRefusal(
        `it holds ${countOf(content)} addresses and prefixes, and other lists in rules ${others}; the kernel has room for ${KERNEL_RANGES} together`,
      );
    if (at < 0) at = this.#places.findIndex((place) => place === undefined);
    if (at < 0)
      throw new ListRefusal(`rules name ${PLACES} lists with addresses already; the kernel has room for no more`);
    const place = (this.#places[at] ??= { list, content, held: { 4: undefined, 6: undefined }, mark: undefined });
    place.content = content;
    await this.#fill(at, place);
    this.#isDirty = true;
    this.#options.saved?.changed(this.#textParts());
  }

  /** What `flush` is to bring into force. */
  setPolicy(policy: Policy): void {
    this.#policy = policy;
    if (!this.#isPolicyKnown) this.#ledger.reviewAll();
    this.#isPolicyKnown = true;
    this.#isDirty = true;
    this.#ledger.retryRefused();
  }

  /** Lets go of lists of an earlier life that nobody asked for before the first policy. With the kernel's turn. */
  async forgetStrangers(): Promise<void> {
    for (const [at, place] of this.#places.entries())
      if (place && !place.content) {
        this.#places[at] = undefined;
        await this.#empty(at, place);
      }
  }

  /** Devices have got or lost addresses. */
  ownersChanged(): void {
    this.#isDirty = true;
  }

  /** Makes the kernel's rules on lists those of the policy. With its turn. */
  async flush(): Promise<void> {
    if (this.#isDirty) this.#expand();
    this.#isDirty = false;
    for (let attempt = 1; ; attempt++) {
      const options = this.#planOptions();
      let plan = this.#ledger.plan(options);
      if (plan.harvest.size > 0) {
        const read = await this.#transport.read([...plan.harvest], options.now);
        if (read) this.#ledger.observe(read, options.now);
        plan = this.#ledger.plan(options);
      }
      if (plan.removed.length + plan.added.length === 0) return this.#ledger.done(plan, options.now);
      try {
        this.#ledger.credit(await this.#transport.change(plan.removed, plan.added, options.now));
        return this.#ledger.done(plan, options.now);
      } catch (error) {
        if (attempt === 2) throw error;
        this.#options.log.warn(`the kernel refused rules on lists, looking what it holds: ${describe(error)}`);
        const read = await this.#transport.read(LIST_RULE_MAPS, options.now);
        if (read) this.#ledger.observe(read, options.now);
      }
    }
  }

  /** Takes in what was counted. With the kernel's turn. */
  async count(): Promise<void> {
    const maps = COUNTED.filter((map) => this.#ledger.sizeOf(map) > 0);
    if (maps.length === 0) return;
    const now = this.#options.now();
    const read = await this.#transport.read(maps, now);
    if (!read) return;
    if (this.#ledger.observe(read, now).missing > 0) await this.flush();
  }

  #expand(): void {
    const wanted = new Set<string>();
    const levels = new Set<number>();
    const placeOf = (list: number) => {
      const at = this.#places.findIndex((place) => place?.list === list);
      return at < 0 ? undefined : at;
    };
    for (const { element: one, rules } of listElements(this.#policy, placeOf, this.#options.heldBy)) {
      this.#ledger.want(one, rules);
      wanted.add(one.id);
      const [code] = one.from;
      if (one.map === "list_used" && typeof code === "number" && code <= COUNT_LEVEL) levels.add(code);
    }
    this.#options.useLevels(levels);
    for (const id of this.#wanted) if (!wanted.has(id)) this.#ledger.unwant(id);
    this.#wanted = wanted;
  }

  async #fill(at: number, place: Place): Promise<void> {
    const { content } = place;
    if (!content) return;
    const wanted = { 4: EMPTY, 6: EMPTY };
    for (const family of FAMILIES)
      wanted[family] = without(rangesOf(content, family), this.#excluded[family], widthOf(family));
    const mark = fingerprintOf(wanted[4], wanted[6]);
    // As our last life left it.
    if (place.mark === mark && !place.held[4] && !place.held[6]) place.held = wanted;
    if (place.mark === mark && place.held[4] === wanted[4] && place.held[6] === wanted[6]) return;
    await this.#options.turn(() => this.#mark(at, place, undefined));
    for (const family of FAMILIES) {
      const set = setOf(at, family);
      const before = place.held[family] ?? (await this.#emptied(set));
      place.held[family] = undefined;
      const after = wanted[family];
      await changeSet(this.#transport, set, family, { before, after }, this.#options.turn);
      place.held[family] = after;
    }
    await this.#options.turn(() => this.#mark(at, place, mark));
  }

  async #emptied(set: string): Promise<Uint32Array> {
    await this.#options.turn(() => emptySet(this.#transport, set));
    return EMPTY;
  }

  async #drop(at: number): Promise<void> {
    const place = this.#places[at] as Place;
    this.#places[at] = undefined;
    this.#isDirty = true;
    await this.#options.turn(async () => {
      await this.flush();
      await this.#empty(at, place);
    });
    this.#options.saved?.changed(this.#textParts());
  }

  async #empty(at: number, place: Place): Promise<void> {
    await this.#mark(at, place, undefined);
    for (const family of FAMILIES) await emptySet(this.#transport, setOf(at, family));
  }

  /** Writes for the next life which list it finds here and what it holds; or that nobody knows. */
  async #mark(at: number, place: Place, mark: number | undefined): Promise<void> {
    const elementOf = (value: number | undefined) =>
      value === undefined ? [] : [element(PLACES_SET, [at, place.list, value])];
    if (place.mark === mark) return;
    await this.#transport.change(elementOf(place.mark), elementOf(mark), this.#options.now());
    place.mark = mark;
  }

  #planOptions(): PlanOptions {
    return {
      now: this.#options.now(),
      refreshInPlace: true,
      mayRemove: () => this.#isPolicyKnown,
      keptFor: () => undefined,
    };
  }

  /** All that places hold, as parts of lines for nft. */
  *#textParts(): Iterable<{ readonly set: string; readonly text: string }> {
    let left = BOOT_RANGES;
    for (const [at, place] of this.#places.entries()) {
      if (!place?.content) continue;
      for (const family of FAMILIES) {
        const held = place.held[family] ?? EMPTY;
        const step = 2 * widthOf(family);
        for (let from = 0; from < held.length && left > 0; from += 1000 * step, left -= 1000) {
          const ranges = [];
          for (let i = from; i < Math.min(held.length, from + 1000 * step); i += step)
            ranges.push(held.subarray(i, i + step));
          yield { set: setOf(at, family), text: textOf(ranges, family) };
        }
      }
      // Last: whoever loads less than all of it must not say that it is there.
      if (place.mark !== undefined && left > 0)
        yield { set: PLACES_SET, text: `${at} . ${place.list} . ${place.mark}` };
    }
  }
}

function countOf(content: ListRanges | undefined): number {
  return content ? content.v4.length / 2 + content.v6.length / 8 : 0;
}

function refuseBig(content: ListRanges): void {
  const count = countOf(content);
  if (count > SCRIPT_LIMIT)
    throw new ListRefusal(
      `it holds ${count} addresses and prefixes; without the helper ${SCRIPT_LIMIT} is all that can be enforced`,
    );
}

function setOf(at: number, family: 4 | 6): string {
  return `list${family}_${at}`;
}

function bounds({ words, bits }: Prefix, family: 4 | 6): number[] {
  const width: Width = widthOf(family);
  const from = [...words].slice(4 - width);
  const fixed = bits - 32 * (4 - width);
  const to = from.map((word, i) => {
    const own = Math.min(32, Math.max(0, fixed - 32 * i));
    return own === 32 ? word : (word | (0xffffffff >>> own)) >>> 0;
  });
  return [...from, ...to];
}
