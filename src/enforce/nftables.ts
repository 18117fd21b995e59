/**
 * The kernel as Enforcer: the policy's cells and the devices' addresses become elements of the static ruleset's maps
 * (spin.nft), as differences. What the kernel holds is read at the start and stays in force until the policy is known, so
 * that neither a crash nor a restart opens a gap.
 */
import { release } from "node:os";
import { isIPv4, parseAddress, printAddress, printMac } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { printPrefix } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import { describe } from "../lib/log.ts";
import type { Log } from "../lib/log.ts";
import { RESIDENT_PORTS } from "../lib/resident-ports.ts";
import type { Health } from "../spin/observation.ts";
import { PolicyTables } from "../spin/policy-tables.ts";
import { addressNumber } from "../spin/prefix-table.ts";
import type { AddressDelta, ApplyReport, Enforcer, Hits, HomeNetwork, Policy } from "../spin/ruleset.ts";
import { isNameAddress } from "../spin/policy.ts";
import { AnswerHold } from "./answer-hold.ts";
import { DroppedSources, SOURCE_SETS } from "./dropped-sources.ts";
import { Cuts } from "./cuts.ts";
import { COUNTED_MAPS, DROPPED_SETS, element, mapsOf } from "./elements.ts";
import type { CountedElement, Element } from "./elements.ts";
import { domainUses, elementsOf, levelUses, usesOf } from "./expand.ts";
import { Ledger, addCount } from "./ledger.ts";
import { KernelLists } from "./lists.ts";
import { SavedLists } from "./saved-lists.ts";
import type { ListRanges } from "../spin/lists/ranges.ts";
import type { PlanOptions } from "./ledger.ts";
import { LostSignal } from "./lost-signal.ts";
import { Owners } from "./owners.ts";
import { parseReadings } from "./readings.ts";
import type { Readings } from "./readings.ts";
import { SavedElements } from "./saved-elements.ts";
import type { FlowOfDevice, ForeignChange, Transport } from "./transport.ts";

/** As spin.nft states it in its set `version`, and spin-bridge.nft. */
export const RULESET_VERSION = 4;
export const BRIDGE_VERSION = 1;

export interface NftablesOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  readonly log: Log;
  /** Where the elements are kept for the boot script; absent: nowhere. */
  readonly savedFile?: string;
  /** TCP ports of the gateway that stay open to every device. */
  readonly residentPorts?: readonly number[];
  /** Whether the kernel takes a new timeout for an element that is there (Linux 6.12); default: by its version. */
  readonly refreshInPlace?: boolean;
}

/** Reading an element takes some 5 µs, here and in the helper together: 1 % of that. */
const READING_MS_PER_ELEMENT = 0.5;
/** Read at each harvest. */
const SMALL_MAP = 500;
const STATIC_MAPS = /^(lan|management[46]|resident|owner[46]|version) /;
/** Sets that the packet path fills. */
const FILLED_SETS: readonly string[] = [...DROPPED_SETS, ...SOURCE_SETS];

export class NftablesEnforcer implements Enforcer {
  readonly #options: NftablesOptions;
  readonly #transport: Transport;
  /** Of the transport's table: what it lacks is never put there. */
  readonly #maps: ReadonlySet<string>;
  readonly #filledSets: readonly string[];
  readonly #version: number;
  readonly #log: Log;
  readonly #tables = new PolicyTables();
  readonly #owners = new Owners();
  readonly #ledger = new Ledger();
  readonly #refused = new Map<number, string>();
  readonly #idsOfCell = new Map<string, readonly string[]>();
  readonly #cellsOfMac = new Map<number, Set<string>>();
  readonly #macsToExpand = new Set<number>();
  readonly #useCounts = new Map<string, number>();
  #domainLevels: ReadonlySet<number> = new Set();
  #listLevels: ReadonlySet<number> = new Set();
  /** When a map's counters were last read, monotonic. */
  readonly #countedAt = new Map<string, number>();
  readonly #lost = new LostSignal();
  readonly #sources = new DroppedSources();
  readonly #hold: AnswerHold;
  readonly #cuts: Cuts;
  /** The last addresses that are on their way to the kernel. */
  #arriving: Promise<void> | undefined;
  readonly #stop = new AbortController();
  readonly #saved: SavedElements | undefined;
  readonly #savedLists: SavedLists | undefined;
  /** Of the inet table: no list holds an address of the home, so none concerns the bridge. */
  readonly #lists: KernelLists | undefined;
  #network: HomeNetwork | undefined;
  #watching: Promise<void> | undefined;
  #queue: Promise<unknown> = Promise.resolve();
  #flushQueued: Promise<void> | undefined;
  #repairQueued: ForeignChange | undefined;
  #policyKnown = false;
  #status: Health["status"] = "Starting";
  #lastError = "";
  #resyncs = 0;
  #losses = 0;

  constructor(options: NftablesOptions) {
    this.#options = options;
    this.#transport = options.transport;
    const { family } = options.transport;
    this.#maps = new Set(mapsOf(family));
    this.#filledSets = FILLED_SETS.filter((set) => this.#maps.has(set));
    this.#version = family === "inet" ? RULESET_VERSION : BRIDGE_VERSION;
    this.#log = options.log;
    this.#cuts = new Cuts((filters) => this.#transport.cut(filters));
    this.#hold = new AnswerHold({ ...options, arriving: () => this.#arriving });
    if (options.savedFile !== undefined) {
      this.#saved = new SavedElements({
        path: options.savedFile,
        family,
        elements: () => this.#everything(),
        now: () => options.clock.now(),
        log: options.log,
      });
      if (family === "inet") this.#savedLists = new SavedLists(listsFile(options.savedFile), options.log);
    }
    if (family === "inet")
      this.#lists = new KernelLists({
        transport: options.transport,
        log: options.log,
        now: () => options.clock.now(),
        heldBy: (mac) => this.#owners.of(mac),
        useLevels: (levels) => this.#useListLevels(levels),
        turn: (work) => this.#exclusive(work),
        ...(this.#savedLists && { saved: this.#savedLists }),
      });
  }

  get lost(): AsyncIterable<void> {
    return this.#lost;
  }

  get health(): Health {
    return {
      backend: this.#transport.backend,
      status: this.#status,
      observations: this.#ledger.knownCount,
      lost: this.#losses + this.#hold.late,
      resyncs: this.#resyncs,
      decodeErrors: 0,
      lastError: this.#lastError,
    };
  }

  resume(saved: unknown): void {
    const readings = parseReadings(saved);
    if (!readings) return;
    this.#ledger.resume(readings);
    this.#owners.resume(readings.dropped);
    if (typeof saved === "object" && saved !== null && "lists" in saved) this.#lists?.resume(saved.lists);
  }

  counted(): { hits: Hits; readings: Readings & { readonly lists?: Readings } } {
    return {
      hits: { rules: this.#ruleHits(), devices: copy(this.#owners.dropped), domainNote: this.#hold.note },
      readings: {
        ...this.#ledger.readings,
        dropped: this.#owners.readings,
        ...(this.#lists && { lists: this.#lists.readings }),
      },
    };
  }

  async list(list: number, addresses: ListRanges | undefined): Promise<void> {
    if (!this.#lists) return;
    await this.#lists.set(list, addresses);
    // What was excepted for the rule's sake alone is the rule's again.
    await this.#exclusive(() => this.#flush());
    this.#saved?.changed("policy");
  }

  #ruleHits(): Map<number, { packets: number; bytes: number }> {
    const rules = copy(this.#ledger.hits);
    for (const [rule, { packets, bytes }] of this.#lists?.hits ?? []) addCount(rules, rule, packets, bytes);
    return rules;
  }

  async start(network: HomeNetwork): Promise<void> {
    this.#lists?.setNetwork(network);
    await this.#exclusive(async () => {
      const before = this.#network;
      this.#network = network;
      for (const old of before ? this.#staticElements(before) : []) this.#ledger.unwant(old.id);
      for (const fixed of this.#staticElements(network)) this.#ledger.want(fixed, []);
      await this.#resync(before === undefined);
      await this.#flush();
      this.#status = "Running";
      // What no list may hold has changed.
      if (before && this.#lists) this.#refillLists(this.#lists);
    });
    this.#watching ??= this.#transport.watch(this.#stop.signal, (change) => this.#foreign(change));
    this.#saved?.changed("addresses");
  }

  async apply(policy: Policy): Promise<ApplyReport> {
    return await this.#exclusive(async () => {
      if (!this.#policyKnown) this.#ledger.reviewAll();
      this.#policyKnown = true;
      this.#refused.clear();
      this.#ledger.retryRefused();
      this.#tables.setPolicy(policy);
      this.#useDomainLevels();
      this.#lists?.setPolicy(policy);
      this.#ledger.reviewKept();
      const interfaces = namesDomains(policy) ? (this.#network?.lanInterfaces ?? []) : [];
      // Begun before what the answers fill, ended after it: nobody waits for the end.
      if (interfaces.length > 0) await this.#hold.hold(interfaces);
      await this.#flush();
      await this.#lists?.forgetStrangers();
      if (interfaces.length === 0) await this.#hold.hold([]);
      this.#saved?.changed("policy");
      return {
        refused: new Map([...this.#tables.refused, ...this.#refused]),
        domainNote: this.#hold.note,
      };
    });
  }

  async addresses({ added, removed }: AddressDelta): Promise<void> {
    for (const one of removed) {
      if (one.kind === "name") this.#tables.removeName(one);
      else this.#released(one.mac, one.address);
    }
    for (const one of added) {
      if (one.kind === "device") this.#held(one.mac, one.address);
      else if (this.#network && isNameAddress(one.address, this.#network)) this.#tables.addName(one);
    }
    this.#saved?.changed("addresses");
    const arriving = (this.#arriving = this.#flushSoon());
    try {
      await arriving;
    } finally {
      if (this.#arriving === arriving) this.#arriving = undefined;
    }
  }

  async hits(all = false): Promise<Hits> {
    const maps = [...this.#countedNow(all), ...this.#filledSets];
    // What DNS tells goes in between: a device waits for it.
    const { mapsPerRead } = this.#transport;
    for (let next = 0; next < maps.length; next += mapsPerRead)
      await this.#exclusive(() => this.#count(maps.slice(next, next + mapsPerRead)));
    return await this.#exclusive(async () => {
      await this.#lists?.count();
      await this.#flush();
      const { note: domainNote } = this.#hold;
      const sources = this.#sources.take();
      return { rules: this.#ruleHits(), devices: copy(this.#owners.dropped), sources, domainNote };
    });
  }

  /** Counted maps that are to be read: the bigger one is, the more seldom, so that reading costs the same at all sizes. */
  #countedNow(all: boolean): string[] {
    const inUse = new Set(this.#ledger.mapsInUse);
    const at = this.#options.clock.monotonic();
    return COUNTED_MAPS.filter((map) => {
      if (!inUse.has(map)) return false;
      const size = this.#ledger.sizeOf(map);
      const due = (this.#countedAt.get(map) ?? -Infinity) + size * READING_MS_PER_ELEMENT;
      if (!all && size > SMALL_MAP && at < due) return false;
      this.#countedAt.set(map, at);
      return true;
    });
  }

  async #count(maps: readonly string[]): Promise<void> {
    const read = await this.#transport.read(maps, this.#now());
    if (!read) {
      this.#noteLoss("our table was gone");
      return await this.#reload();
    }
    this.#owners.countDropped(read);
    this.#sources.read(read);
    const found = new Map([...read].filter(([map]) => !FILLED_SETS.includes(map)));
    const { missing } = this.#ledger.observe(found, this.#now());
    if (missing > 0) this.#noteLoss(`${missing} elements were gone`);
  }

  async cut(devices: readonly number[], destinations: readonly Prefix[]): Promise<void> {
    const addresses = devices.flatMap((mac) => this.#owners.textsOf(mac));
    if (devices.length > 0 && addresses.length === 0) return;
    await this.#cuts.add({
      devices: devices.length > 0 ? addresses : undefined,
      destinations: destinations.length > 0 ? destinations.map(printPrefix) : undefined,
      spared: this.#network?.gatewayAddresses ?? [],
      ...(this.#tables.allowsAnything ? { allows: (flow) => this.#allows(flow) } : {}),
    });
  }

  #allows({ device, peer, protocol, port, initiator }: FlowOfDevice): boolean {
    const mac = this.#owners.macOf(printAddress(device));
    if (mac === undefined) return false;
    const family = isIPv4(peer) ? 4 : 6;
    return this.#tables.decide({ mac, family, peer, protocol, port, initiator }).verdict === "Allow";
  }

  async close(): Promise<void> {
    this.#stop.abort();
    await this.#hold.hold([]);
    await this.#watching;
    await this.#queue.catch(() => undefined);
    await this.#saved?.flush();
    await this.#savedLists?.flush();
    this.#lost.end();
    this.#status = "Disabled";
  }

  #staticElements(network: HomeNetwork): Element[] {
    const { residentPorts = RESIDENT_PORTS } = this.#options;
    return [element("version", [this.#version]), ...staticElements(network, residentPorts)].filter(this.#isOurs);
  }

  readonly #isOurs = ({ map }: Element): boolean => this.#maps.has(map);

  #now(): number {
    return this.#options.clock.now();
  }

  #planOptions(): PlanOptions {
    return {
      now: this.#now(),
      refreshInPlace: this.#options.refreshInPlace ?? kernelRefreshes(),
      mayRemove: ({ id }) => this.#policyKnown || STATIC_MAPS.test(id),
      keptFor: (kept) => this.#ruleOfFound(kept),
    };
  }

  /** One thing at a time with the kernel. What fails leaves the queue usable. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** Changes that come while one is on its way go together in the next. */
  #flushSoon(): Promise<void> {
    this.#flushQueued ??= this.#exclusive(async () => {
      this.#flushQueued = undefined;
      await this.#flush();
    });
    return this.#flushQueued;
  }

  #held(mac: number, address: string): void {
    const words = parseAddress(address);
    if (!words) return;
    const before = this.#owners.hold(mac, words);
    if (before === mac) return;
    if (before !== undefined) this.#macsToExpand.add(before);
    this.#macsToExpand.add(mac);
    this.#ledger.want(ownerElement(mac, words), []);
  }

  #released(mac: number, address: string): void {
    const words = parseAddress(address);
    if (!words || !this.#owners.release(mac, words)) return;
    this.#macsToExpand.add(mac);
    this.#ledger.unwant(ownerElement(mac, words).id);
  }

  /** Brings what is wanted up to date with the policy's cells and the devices' addresses. */
  #expand(): void {
    this.#tables.expire(this.#now());
    const keys = this.#tables.changes();
    const again = new Set<string>();
    if (this.#macsToExpand.size > 0) this.#lists?.ownersChanged();
    for (const mac of this.#macsToExpand) for (const key of this.#cellsOfMac.get(mac) ?? []) again.add(key);
    this.#macsToExpand.clear();
    for (const key of keys) again.add(key);
    for (const key of again) this.#expandCell(key);
  }

  #expandCell(key: string): void {
    const cell = this.#tables.cells.get(key);
    const before = this.#idsOfCell.get(key) ?? [];
    const elements = (cell ? elementsOf(cell, cell.mac === undefined ? [] : this.#owners.of(cell.mac)) : []).filter(
      this.#isOurs,
    );
    const ids = new Set(elements.map(({ id }) => id));
    for (const id of before) {
      if (ids.has(id)) continue;
      this.#ledger.unwant(id);
    }
    const known = new Set(before);
    for (const one of elements) {
      this.#ledger.want(one, cell?.rules ?? []);
      if (!known.has(one.id)) this.#use(usesOf(one), 1);
    }
    for (const id of before) if (!ids.has(id)) this.#use(usesOf(elementOfId(id)), -1);
    const mac = macOfKey(key);
    if (cell) this.#idsOfCell.set(key, [...ids]);
    else this.#idsOfCell.delete(key);
    if (mac === undefined) return;
    const cells = this.#cellsOfMac.get(mac) ?? new Set();
    if (cell) this.#cellsOfMac.set(mac, cells.add(key));
    else if (cells.delete(key) && cells.size === 0) this.#cellsOfMac.delete(mac);
  }

  /** Levels of rules on domains are always visited: names that we found in the kernel may be all that they hold. */
  #useDomainLevels(): void {
    const levels = this.#tables.domainLevels();
    for (const level of levels) if (!this.#domainLevels.has(level)) this.#use(domainUses(level), 1);
    for (const level of this.#domainLevels) if (!levels.has(level)) this.#use(domainUses(level), -1);
    this.#domainLevels = levels;
  }

  #useListLevels(levels: ReadonlySet<number>): void {
    const before = this.#listLevels;
    this.#listLevels = levels;
    for (const level of levels) if (!before.has(level)) this.#use(levelUses(level), 1);
    for (const level of before) if (!levels.has(level)) this.#use(levelUses(level), -1);
  }

  /** Packets ask only levels and layers that hold something. */
  #use(switches: readonly Element[], by: 1 | -1): void {
    for (const one of switches.filter(this.#isOurs)) {
      const count = (this.#useCounts.get(one.id) ?? 0) + by;
      if (count > 0) this.#useCounts.set(one.id, count);
      else this.#useCounts.delete(one.id);
      if (count === 0) this.#ledger.unwant(one.id);
      else if (!this.#ledger.wants(one.id)) this.#ledger.want(one, []);
    }
  }

  /** Makes the kernel hold what is wanted. */
  async #flush(): Promise<void> {
    this.#expand();
    await this.#lists?.flush();
    for (let attempt = 1; ; attempt++) {
      const options = this.#planOptions();
      let plan = this.#ledger.plan(options);
      plan = (plan.harvest.size > 0 && this.#ledger.told(plan, this.#transport.toldRemovals)) || plan;
      if (plan.harvest.size > 0) {
        const read = await this.#transport.read([...plan.harvest], options.now);
        if (!read) return await this.#reload();
        this.#ledger.observe(read, options.now);
        plan = this.#ledger.plan(options);
      }
      if (plan.removed.length + plan.added.length === 0) return this.#ledger.done(plan, options.now);
      plan = this.#ledger.emptying(plan, this.#transport.deletionLimit, options.now);
      try {
        this.#ledger.credit(await this.#transport.change(plan.removed, plan.added, options.now, plan.emptied));
        this.#ledger.done(plan, options.now);
        this.#lastError = "";
        return;
      } catch (error) {
        this.#lastError = describe(error);
        if (attempt === 1) {
          // Somebody may have changed the table, or an element expired in between: look, and try once more.
          this.#log.warn(`the kernel refused a change, looking what it holds: ${this.#lastError}`);
          await this.#resync(false);
        } else if (attempt === 2) await this.#isolate();
        else throw error;
      }
    }
  }

  /** Tries the additions in ever smaller parts, so that one bad element costs its rule only. */
  async #isolate(): Promise<void> {
    const options = this.#planOptions();
    const plan = this.#ledger.emptying(this.#ledger.plan(options), this.#transport.deletionLimit, options.now);
    this.#ledger.credit(await this.#transport.change(plan.removed, [], options.now, plan.emptied));
    const attempt = async (added: readonly Element[]): Promise<void> => {
      if (added.length === 0) return;
      try {
        await this.#transport.change([], added, options.now);
        this.#ledger.done({ removed: [], added }, options.now);
      } catch (error) {
        const [only] = added;
        if (added.length > 1 || !only) {
          const middle = added.length >> 1;
          await attempt(added.slice(0, middle));
          await attempt(added.slice(middle));
          return;
        }
        this.#log.error(`the kernel does not take ${only.id}`, error);
        for (const rule of this.#ledger.refuse(only.id)) this.#refused.set(rule, describe(error));
      }
    };
    this.#ledger.done({ removed: plan.removed, added: [] }, options.now);
    await attempt(plan.added);
    this.#ledger.reviewAll();
  }

  /** Looks what the kernel holds; loads the table if there is none, or one of another version. */
  async #resync(isFirst: boolean): Promise<void> {
    this.#resyncs++;
    const now = this.#now();
    const maps = [...this.#maps].filter((map) => !FILLED_SETS.includes(map) && !map.startsWith("list_"));
    const read = await this.#transport.read(maps, now);
    if (!read) {
      if (!isFirst) this.#noteLoss("our table was gone");
      return await this.#reload();
    }
    if (isFirst) this.#adoptOwners(read);
    this.#ledger.observe(read, now);
    this.#ledger.resumed();
    if (isFirst) await this.#lists?.start();
    const [version] = read.get("version") ?? [];
    if (version?.from[0] !== this.#version) {
      this.#log.info(
        `the table in the kernel is of version ${version?.from[0] ?? "unknown"}; loading ${this.#version}`,
      );
      await this.#reload();
    }
  }

  /** Who held which address before we were restarted. */
  #adoptOwners(read: ReadonlyMap<string, readonly CountedElement[]>): void {
    for (const map of ["owner4", "owner6"])
      for (const owner of read.get(map) ?? []) {
        const [, text = ""] = owner.id.split(" ");
        const words = parseAddress(text);
        const mac = Number.parseInt(owner.value.replaceAll(":", ""), 16);
        if (!words || Number.isNaN(mac)) continue;
        this.#owners.hold(mac, words);
        this.#ledger.want(ownerElement(mac, words), []);
      }
  }

  async #reload(): Promise<void> {
    this.#expand();
    const now = this.#now();
    const own = this.#ledger.everything(this.#planOptions());
    const ofLists = this.#lists?.everything() ?? [];
    await this.#transport.load([...own, ...ofLists], now);
    this.#ledger.loaded(own);
    this.#ledger.resumed();
    this.#owners.emptied();
    if (!this.#lists) return;
    this.#lists.emptied(ofLists);
    this.#refillLists(this.#lists);
  }

  #everything(): Element[] {
    return [...this.#ledger.everything(this.#planOptions()), ...(this.#lists?.everything() ?? [])];
  }

  /** When those before have had their turn. */
  #refillLists(lists: KernelLists): void {
    lists.refill().catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#lastError = describe(error);
      this.#log.error("lists could not be put back", error);
      this.#lost.raise();
    });
  }

  /** The rule that an element is kept for which was in the kernel when we started: a name that we did not hear of yet. */
  #ruleOfFound({ map, from, expires }: Element): number | undefined {
    const [, layer, way] = /^(pair|box)_(up|down)[46]$/.exec(map) ?? [];
    if (!layer || expires === Infinity) return undefined;
    const mark = from[0] as number;
    const mac = way === "up" ? (from[1] as number) : this.#owners.ownerOf(from[1] as bigint, map.endsWith("4") ? 4 : 6);
    return mac === undefined ? undefined : this.#tables.domainRule(layer === "box" ? mark >> 1 : mark, mac);
  }

  #foreign(change: ForeignChange): void {
    if (this.#stop.signal.aborted) return;
    const isQueued = this.#repairQueued !== undefined;
    if (!this.#repairQueued || change === "structure" || this.#repairQueued === "unheard") this.#repairQueued = change;
    if (isQueued) return;
    this.#exclusive(async () => {
      const what = this.#repairQueued;
      this.#repairQueued = undefined;
      if (what === "unheard")
        this.#log.warn("changes of our table may have gone unheard; looking what the kernel holds");
      else
        this.#noteLoss(what === "structure" ? "somebody changed our table" : "somebody changed elements of our table");
      await this.#resync(false);
      if (what === "structure") await this.#reload();
      else if (this.#lists) {
        await this.#lists.review(what === "elements");
        this.#refillLists(this.#lists);
      }
      await this.#flush();
    }).catch((error: unknown) => {
      this.#lastError = describe(error);
      this.#log.error("the rules could not be put back", error);
      this.#lost.raise();
    });
  }

  #noteLoss(what: string): void {
    this.#losses++;
    this.#log.warn(`${what}; putting it right`);
    this.#lost.raise();
  }
}

/** What of the ruleset depends on the home alone. */
function staticElements(network: HomeNetwork, residentPorts: readonly number[]): Element[] {
  const elements: Element[] = [];
  for (const name of network.lanInterfaces) elements.push(element("lan", [name.slice(0, 15)]));
  for (const port of residentPorts) elements.push(element("resident", [port]));
  for (const { address, port } of [...network.management, ...(network.connections ?? [])]) {
    const words = parseAddress(address);
    if (!words) continue;
    const family = address.includes(":") && !printAddress(words).includes(".") ? 6 : 4;
    elements.push(element(`management${family}`, [addressNumber(words, family), port]));
  }
  return elements;
}

function namesDomains({ rules }: Policy): boolean {
  return rules.some(({ destinations }) => destinations !== "*" && destinations.domains.length > 0);
}

function ownerElement(mac: number, words: Uint32Array): Element {
  const family = printAddress(words).includes(":") ? 6 : 4;
  return element(`owner${family}`, [addressNumber(words, family)], printMac(mac).toLowerCase());
}

/** Enough of an element to know what it uses: its set and its level. */
function elementOfId(id: string): Pick<Element, "map" | "from"> {
  const [map = "", mark = ""] = id.split(" ");
  return { map, from: [Number.parseInt(mark, 10)] };
}

/** Keys of cells name the device in third place, `*` for none. */
function macOfKey(key: string): number | undefined {
  const mac = Number(key.split(" ", 3)[2]);
  return Number.isInteger(mac) ? mac : undefined;
}

function copy<K>(counts: ReadonlyMap<K, { packets: number; bytes: number }>) {
  return new Map([...counts].map(([key, { packets, bytes }]) => [key, { packets, bytes }]));
}

function kernelRefreshes(): boolean {
  const [major = 0, minor = 0] = release().split(".").map(Number);
  return major > 6 || (major === 6 && minor >= 12);
}

/** Beside the file of elements. */
function listsFile(elementsFile: string): string {
  return elementsFile.replace(/(\.nft)?$/, "-lists.nft");
}
