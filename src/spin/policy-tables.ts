/**
 * The policy as tables of disjoint cells: who wins, and where, is decided here once, for the kernel's sets and for the
 * judge of a replay alike. A packet meets the levels in order – of each tier Allow, Block, Reject – and inside a level
 * the layers, the most particular first; the first cell that holds it decides. Cells of Count come before all and
 * decide nothing.
 *
 * A change recomputes only the cells around it and remembers which changed, so that with ten thousand of them in place
 * the next one costs microseconds.
 */
import { canonicalAddress, parseAddress, printAddress } from "../lib/address.ts";
import {
  COUNT_LEVEL,
  DECIDING_LEVELS,
  LAYERS,
  answerOf,
  cellOf,
  entryCount,
  exactKey,
  hostSpan,
  isSameCell,
  isSameRule,
  levelOf,
  meansMac,
  meansName,
  namePlace,
  placesOf,
  rangeCells,
  tableKey,
} from "./policy-cells.ts";
import type { Cell, Entry, Layer, Name, Place, Table } from "./policy-cells.ts";
import { PrefixTable, addressNumber } from "./prefix-table.ts";
import type { Span } from "./prefix-table.ts";
import type { NameAddress, Policy, PolicyRule } from "./ruleset.ts";

/** A packet as the rules see it. `port` is the peer's. */
export interface PolicyPacket {
  readonly mac: number;
  readonly family: 4 | 6;
  /** Words of the peer's address (src/lib/address.ts). */
  readonly peer: ArrayLike<number>;
  readonly protocol: number;
  readonly port: number;
  readonly initiator: "Device" | "Peer";
}

export interface Decision {
  /** `Pass`: no rule said anything. */
  readonly verdict: "Pass" | "Allow" | "Block" | "Reject";
  /** The rule that decided. */
  readonly rule?: number;
  /** Count rules that the packet counts for. */
  readonly counted: readonly number[];
}

/** So many entries a single rule, and all rules together, may make before one is refused. */
const MAX_ENTRIES_OF_RULE = 32_768;
const MAX_ENTRIES = 131_072;

export class PolicyTables {
  readonly #rules = new Map<number, PolicyRule>();
  readonly #refused = new Map<number, string>();
  readonly #sizes = new Map<number, number>();
  #entries = 0;
  readonly #byDomain = new Map<string, Set<PolicyRule>>();
  /** Names by the rule's domain that they fell under, then by device and address. */
  readonly #names = new Map<string, Map<string, Name>>();
  #nextExpiry = Infinity;
  /** Exact cells (pair, device): what was said, by whom. */
  readonly #exact = new Map<string, { place: Place; level: number; entries: Map<string, Entry> }>();
  readonly #touchedExact = new Set<string>();
  readonly #tables = new Map<string, Table>();
  readonly #touchedTables = new Set<Table>();
  readonly #cells = new Map<string, Cell>();
  readonly #changed = new Set<string>();

  /** All cells as of the last `changes()` or `decide()`. */
  get cells(): ReadonlyMap<string, Cell> {
    return this.#cells;
  }

  /** Whether any rule allows something. */
  get allowsAnything(): boolean {
    for (const rule of this.#rules.values()) if (rule.action === "Allow") return true;
    return false;
  }

  /** Rules that are not in the tables, and why in words. */
  get refused(): ReadonlyMap<number, string> {
    return this.#refused;
  }

  /** Makes the tables those of this policy; only rules that differ cost anything. */
  setPolicy(policy: Policy): void {
    const wanted = new Map(policy.rules.map((rule) => [rule.id, rule]));
    for (const [id, rule] of this.#rules) {
      const next = wanted.get(id);
      if (!next || !isSameRule(rule, next)) this.#removeRule(rule);
    }
    for (const id of this.#refused.keys()) if (!wanted.has(id)) this.#refused.delete(id);
    for (const [id, rule] of wanted) if (!this.#rules.has(id)) this.#addRule(rule);
  }

  /** A device was told that a name under a rule's domain has this address; saying it again renews it. */
  addName({ mac, domain, address, expires }: NameAddress): void {
    const words = parseAddress(address);
    if (!words) return;
    let names = this.#names.get(domain);
    if (!names) this.#names.set(domain, (names = new Map()));
    const text = printAddress(words);
    const key = `${mac} ${text}`;
    const known = names.get(key);
    const name: Name = known ?? { mac, domain, words, span: hostSpan(words), text, expires };
    if (known && known.expires >= expires) return;
    name.expires = expires;
    names.set(key, name);
    this.#nextExpiry = Math.min(this.#nextExpiry, expires);
    for (const rule of this.#rulesOn(domain)) this.#putName(rule, name);
  }

  removeName({ mac, domain, address }: Pick<NameAddress, "mac" | "domain" | "address">): void {
    const name = this.#names.get(domain)?.get(`${mac} ${canonicalAddress(address)}`);
    if (name) this.#dropName(name);
  }

  /** When the next name expires, in milliseconds since 1970. */
  get nextExpiry(): number {
    return this.#nextExpiry;
  }

  /** Forgets the names that have expired. */
  expire(now: number): void {
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = Infinity;
    for (const names of this.#names.values())
      for (const name of names.values()) {
        if (name.expires <= now) this.#dropName(name);
        else this.#nextExpiry = Math.min(this.#nextExpiry, name.expires);
      }
  }

  /** Levels at which a rule on a domain is at work, whatever its names resolved to so far. */
  domainLevels(): Set<number> {
    const levels = new Set<number>();
    for (const rules of this.#byDomain.values()) for (const rule of rules) levels.add(levelOf(rule));
    return levels;
  }

  /** The first rule on a domain that is at work at this level for this device. */
  domainRule(level: number, mac: number): number | undefined {
    let lowest: number | undefined;
    for (const rules of this.#byDomain.values())
      for (const rule of rules)
        if (levelOf(rule) === level && meansMac(rule, mac) && (lowest === undefined || rule.id < lowest))
          lowest = rule.id;
    return lowest;
  }

  /** The keys of the cells that changed since the last call: made, altered or (then no longer in `cells`) gone. */
  changes(): ReadonlySet<string> {
    this.#settle();
    const changed = new Set(this.#changed);
    this.#changed.clear();
    return changed;
  }

  /** What the rules say of a packet. */
  decide(packet: PolicyPacket): Decision {
    this.#settle();
    const peer = addressNumber(packet.peer, packet.family);
    const counted: number[] = [];
    for (const layer of LAYERS) counted.push(...(this.#lookup(layer, COUNT_LEVEL, packet, peer)?.rules ?? []));
    for (const level of DECIDING_LEVELS)
      for (const layer of LAYERS) {
        const cell = this.#lookup(layer, level, packet, peer);
        if (!cell || cell.verdict === "Count") continue;
        return { verdict: cell.verdict, rule: cell.rules[0] as number, counted };
      }
    return { verdict: "Pass", counted };
  }

  #lookup(layer: Layer, level: number, packet: PolicyPacket, peer: bigint): Cell | undefined {
    if (layer === "device") return this.#cells.get(exactKey(level, { layer, mac: packet.mac }));
    if (layer === "pair") {
      const span = { family: packet.family, from: peer, to: peer };
      return this.#cells.get(exactKey(level, { layer, mac: packet.mac, span }));
    }
    const mac = layer === "network" || layer === "box" ? packet.mac : undefined;
    const cells = this.#tables.get(tableKey(layer, level, packet.family, mac))?.prefixes.find(peer) ?? [];
    const initiator = packet.initiator === "Device" ? 0 : 1;
    return cells.find(
      ({ box }) =>
        !box ||
        (packet.protocol >= box.protocol.from &&
          packet.protocol <= box.protocol.to &&
          packet.port >= box.ports.from &&
          packet.port <= box.ports.to &&
          initiator >= box.initiator.from &&
          initiator <= box.initiator.to),
    );
  }

  #addRule(rule: PolicyRule): void {
    const size = entryCount(rule);
    if (size > MAX_ENTRIES_OF_RULE || this.#entries + size > MAX_ENTRIES) {
      const limit = size > MAX_ENTRIES_OF_RULE ? MAX_ENTRIES_OF_RULE : MAX_ENTRIES;
      const whose = size > MAX_ENTRIES_OF_RULE ? "one rule may have" : "all rules together may have";
      this.#refused.set(rule.id, `Too big: it has ${size} pairs of device and destination; ${whose} ${limit}.`);
      return;
    }
    this.#refused.delete(rule.id);
    this.#rules.set(rule.id, rule);
    this.#sizes.set(rule.id, size);
    this.#entries += size;
    const entry: Entry = { rule, service: rule, expires: Infinity };
    for (const place of placesOf(rule)) this.#put(levelOf(rule), place, String(rule.id), entry);
    if (rule.destinations === "*") return;
    for (const domain of rule.destinations.domains) {
      const rules = this.#byDomain.get(domain);
      if (rules) rules.add(rule);
      else this.#byDomain.set(domain, new Set([rule]));
    }
    for (const name of this.#namesFor(rule)) this.#putName(rule, name);
  }

  #removeRule(rule: PolicyRule): void {
    this.#rules.delete(rule.id);
    this.#entries -= this.#sizes.get(rule.id) ?? 0;
    this.#sizes.delete(rule.id);
    for (const place of placesOf(rule)) this.#take(levelOf(rule), place, String(rule.id));
    if (rule.destinations === "*") return;
    for (const name of this.#namesFor(rule)) this.#takeName(rule, name);
    for (const domain of rule.destinations.domains) {
      const rules = this.#byDomain.get(domain);
      rules?.delete(rule);
      if (rules?.size === 0) this.#byDomain.delete(domain);
    }
  }

  /** Rules on a domain or one above it. */
  *#rulesOn(domain: string): Iterable<PolicyRule> {
    const seen = new Set<PolicyRule>();
    for (let at = 0; at >= 0;) {
      for (const rule of this.#byDomain.get(domain.slice(at)) ?? []) if (!seen.has(rule)) yield rule;
      for (const rule of this.#byDomain.get(domain.slice(at)) ?? []) seen.add(rule);
      const dot = domain.indexOf(".", at);
      at = dot < 0 ? -1 : dot + 1;
    }
  }

  *#namesFor(rule: PolicyRule): Iterable<Name> {
    if (rule.destinations === "*" || rule.destinations.domains.length === 0) return;
    for (const [domain, names] of this.#names) if ([...this.#rulesOn(domain)].includes(rule)) yield* names.values();
  }

  #putName(rule: PolicyRule, name: Name): void {
    if (!meansName(rule, name)) return;
    const entry: Entry = { rule, service: rule, expires: name.expires };
    this.#put(levelOf(rule), namePlace(rule, name), `${rule.id} ${name.domain}`, entry);
  }

  #takeName(rule: PolicyRule, name: Name): void {
    if (meansName(rule, name)) this.#take(levelOf(rule), namePlace(rule, name), `${rule.id} ${name.domain}`);
  }

  #dropName(name: Name): void {
    for (const rule of this.#rulesOn(name.domain)) this.#takeName(rule, name);
    const names = this.#names.get(name.domain);
    names?.delete(`${name.mac} ${name.text}`);
    if (names?.size === 0) this.#names.delete(name.domain);
  }

  #put(level: number, place: Place, contributor: string, entry: Entry): void {
    if (place.layer === "pair" || place.layer === "device") {
      const key = exactKey(level, place);
      const exact = this.#exact.get(key);
      if (exact) exact.entries.set(contributor, entry);
      else this.#exact.set(key, { place, level, entries: new Map([[contributor, entry]]) });
      this.#touchedExact.add(key);
      return;
    }
    const span = place.span as Span;
    const key = tableKey(place.layer, level, span.family, place.mac);
    let table = this.#tables.get(key);
    if (!table) {
      table = {
        layer: place.layer,
        level,
        family: span.family,
        ...(place.mac === undefined ? {} : { mac: place.mac }),
        prefixes: new PrefixTable<Entry, Cell>(),
      };
      this.#tables.set(key, table);
    }
    table.prefixes.put(span, contributor, entry);
    this.#touchedTables.add(table);
  }

  #take(level: number, place: Place, contributor: string): void {
    if (place.layer === "pair" || place.layer === "device") {
      const key = exactKey(level, place);
      if (this.#exact.get(key)?.entries.delete(contributor)) this.#touchedExact.add(key);
      return;
    }
    const span = place.span as Span;
    const table = this.#tables.get(tableKey(place.layer, level, span.family, place.mac));
    if (!table) return;
    table.prefixes.remove(span, contributor);
    this.#touchedTables.add(table);
  }

  #settle(): void {
    for (const key of this.#touchedExact) {
      const exact = this.#exact.get(key);
      const answer = exact && answerOf(exact.level, [...exact.entries.values()]);
      if (exact?.entries.size === 0) this.#exact.delete(key);
      this.#setCell(key, exact && answer && cellOf(key, exact.level, exact.place, answer));
    }
    this.#touchedExact.clear();
    for (const table of this.#touchedTables) {
      const { gone, come } = table.prefixes.update((from, to, covering) => rangeCells(table, from, to, covering));
      const coming = new Set(come.map((cell) => cell.key));
      for (const { key } of gone) if (!coming.has(key)) this.#setCell(key, undefined);
      for (const cell of come) this.#setCell(cell.key, cell);
      if (table.prefixes.isEmpty) this.#tables.delete(tableKey(table.layer, table.level, table.family, table.mac));
    }
    this.#touchedTables.clear();
  }

  #setCell(key: string, cell: Cell | undefined): void {
    const before = this.#cells.get(key);
    if (before === cell || (before && cell && isSameCell(before, cell))) return;
    if (cell) this.#cells.set(key, cell);
    else this.#cells.delete(key);
    this.#changed.add(key);
  }
}
