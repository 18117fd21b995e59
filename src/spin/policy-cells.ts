/**
 * The cells of the policy's tables: what they are, what goes into them, and what one says when several rules meet in it.
 * Pure; policy-tables.ts holds them.
 */
import { inPrefix } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { outermostSpans, spanOf, wholeSpan } from "./prefix-table.ts";
import type { PrefixNode, PrefixTable, Span } from "./prefix-table.ts";
import { isAnyService, serviceBoxes } from "./service-boxes.ts";
import type { Service, ServiceBox } from "./service-boxes.ts";
import type { PolicyRule, Verdict } from "./ruleset.ts";

/** In the order in which a level asks them. */
export const LAYERS = ["pair", "network", "box", "device", "destination", "service"] as const;
export type Layer = (typeof LAYERS)[number];
/** Levels that decide: of each tier Allow, Block, Reject. */
export const DECIDING_LEVELS = [0, 1, 2, 3, 4, 5, 6, 7, 8] as const;
export const COUNT_LEVEL = 9;

/**
 * What the packets of a device (absent: of every one), with peers in `span` (absent: with every one) and of the services
 * in `box` (absent: of every one), meet at a level.
 *
 * pair: one device, one address · network: one device, a range · box: one device, a range, services · device: one device
 * · destination: a range · service: a range, services.
 */
export interface Cell {
  readonly key: string;
  readonly layer: Layer;
  readonly level: number;
  readonly mac?: number;
  readonly span?: Span;
  readonly box?: ServiceBox;
  readonly verdict: Verdict;
  /** Rules that a packet here counts for: the one that decides, or every Count rule. */
  readonly rules: readonly number[];
  /** Milliseconds since 1970, where only names hold the cell; Infinity otherwise. */
  readonly expires: number;
}

/** What a rule says at a place, and until when (milliseconds since 1970; Infinity: while the rule stands). */
export interface Entry {
  readonly rule: PolicyRule;
  readonly service: Service;
  readonly expires: number;
}

/** Where an entry goes: an exact cell (its key alone), or a prefix table. */
export interface Place {
  readonly layer: Layer;
  readonly mac?: number;
  readonly span?: Span;
}

export interface Answer {
  readonly key: string;
  readonly verdict: Verdict;
  readonly rules: readonly number[];
  readonly expires: number;
}

export interface Table {
  readonly layer: Layer;
  readonly level: number;
  readonly family: 4 | 6;
  readonly mac?: number;
  readonly prefixes: PrefixTable<Entry, Cell>;
}

export interface Name {
  readonly mac: number;
  readonly domain: string;
  readonly words: Uint32Array;
  readonly span: Span;
  readonly text: string;
  expires: number;
}

export function levelOf({ action, tier }: PolicyRule): number {
  if (action === "Count") return COUNT_LEVEL;
  return tier * 3 + (action === "Allow" ? 0 : action === "Block" ? 1 : 2);
}

/** Where a rule's own lists put it; what its domains add comes with their addresses. */
export function* placesOf(rule: PolicyRule): Iterable<Place> {
  const plain = isAnyService(rule);
  const spans =
    rule.destinations === "*" ? [wholeSpan(4), wholeSpan(6)] : outermostSpans(rule.destinations.prefixes.map(spanOf));
  if (rule.macs === "*") {
    for (const span of spans) yield { layer: plain ? "destination" : "service", span };
    return;
  }
  for (const mac of rule.macs) {
    if (rule.destinations === "*" && plain) yield { layer: "device", mac };
    else
      for (const span of spans) yield { layer: !plain ? "box" : span.from === span.to ? "pair" : "network", mac, span };
  }
}

export function entryCount(rule: PolicyRule): number {
  const macs = rule.macs === "*" ? 1 : rule.macs.length;
  const destinations = rule.destinations === "*" ? 2 : rule.destinations.prefixes.length;
  return macs * destinations * Math.max(1, rule.ports.length);
}

export function namePlace(rule: PolicyRule, name: Name): Place {
  return { layer: isAnyService(rule) ? "pair" : "box", mac: name.mac, span: name.span };
}

/** A name's address that the rule's own prefixes hold already is not counted twice. */
export function meansName(rule: PolicyRule, name: Name): boolean {
  if (!meansMac(rule, name.mac) || rule.destinations === "*") return false;
  return !rule.destinations.prefixes.some((prefix) => holds(prefix, name));
}

function holds(prefix: Prefix, name: Name): boolean {
  return inPrefix(prefix, name.words) && spanOf(prefix).family === name.span.family;
}

export function meansMac(rule: PolicyRule, mac: number): boolean {
  return rule.macs === "*" || rule.macs.includes(mac);
}

export function hostSpan(words: Uint32Array): Span {
  return spanOf({ words, bits: 128 });
}

export function exactKey(level: number, { layer, mac, span }: Place): string {
  return span ? `${layer} ${level} ${mac} ${span.family} ${span.from}` : `${layer} ${level} ${mac}`;
}

export function tableKey(layer: Layer, level: number, family: 4 | 6, mac: number | undefined): string {
  return `${layer} ${level} ${mac ?? "*"} ${family}`;
}

/** The cells of a segment: one without services, else as many as the services of its rules make. */
export function rangeCells(table: Table, from: bigint, to: bigint, covering: readonly PrefixNode<Entry>[]): Cell[] {
  const { level, layer, mac, family } = table;
  const span: Span = { family, from, to };
  const place: Place = mac === undefined ? { layer, span } : { layer, mac, span };
  const prefix = `${tableKey(layer, level, family, mac)} ${from}-${to}`;
  // The innermost prefix speaks first.
  const entries: Entry[] = [];
  for (let i = covering.length - 1; i >= 0; i--) {
    const own = [...(covering[i] as PrefixNode<Entry>).entries.values()];
    entries.push(...own.sort((a, b) => a.rule.id - b.rule.id));
  }
  if (layer === "network" || layer === "destination") {
    const answer = answerOf(level, entries, true);
    return answer ? [cellOf(prefix, level, place, answer)] : [];
  }
  return serviceBoxes(entries, (matching) => answerOf(level, matching, true)).map(({ box, answer }) => {
    const { protocol, ports, initiator } = box;
    const key = `${prefix} ${protocol.from}-${protocol.to} ${ports.from}-${ports.to} ${initiator.from}-${initiator.to}`;
    return { ...cellOf(key, level, place, answer), box };
  });
}

/** What a cell with these entries says. `ordered`: the first one decides; otherwise the one with the lowest id. */
export function answerOf(level: number, entries: readonly Entry[], ordered = false): Answer | undefined {
  let first = entries[0];
  if (!first) return undefined;
  let expires = 0;
  for (const entry of entries) {
    if (!ordered && entry.rule.id < first.rule.id) first = entry;
    if (entry.expires > expires) expires = entry.expires;
  }
  const rules =
    level === COUNT_LEVEL ? [...new Set(entries.map((entry) => entry.rule.id))].sort((a, b) => a - b) : [first.rule.id];
  const verdict = first.rule.action;
  return { key: `${verdict} ${rules.join(",")} ${expires}`, verdict, rules, expires };
}

export function cellOf(key: string, level: number, { layer, mac, span }: Place, answer: Answer): Cell {
  const { verdict, rules, expires } = answer;
  return {
    key,
    layer,
    level,
    ...(mac === undefined ? {} : { mac }),
    ...(span === undefined ? {} : { span }),
    verdict,
    rules,
    expires,
  };
}

export function isSameCell(a: Cell, b: Cell): boolean {
  return a.verdict === b.verdict && a.expires === b.expires && isSameList(a.rules, b.rules);
}

export function isSameRule(a: PolicyRule, b: PolicyRule): boolean {
  return (
    a === b ||
    (a.tier === b.tier &&
      a.action === b.action &&
      a.protocol === b.protocol &&
      a.initiator === b.initiator &&
      isSameList(a.macs, b.macs) &&
      isSameDestinations(a.destinations, b.destinations) &&
      (a.ports === b.ports ||
        (a.ports.length === b.ports.length &&
          a.ports.every((range, i) => range.from === b.ports[i]?.from && range.to === b.ports[i]?.to))))
  );
}

function isSameDestinations(a: PolicyRule["destinations"], b: PolicyRule["destinations"]): boolean {
  if (a === "*" || b === "*") return a === b;
  const samePrefixes =
    a.prefixes === b.prefixes ||
    (a.prefixes.length === b.prefixes.length &&
      a.prefixes.every((prefix, i) => {
        const other = b.prefixes[i] as Prefix;
        return prefix.bits === other.bits && isSameList([...prefix.words], [...other.words]);
      }));
  return samePrefixes && isSameList(a.domains, b.domains) && isSameList(a.lists ?? [], b.lists ?? []);
}

function isSameList<T>(a: readonly T[] | "*", b: readonly T[] | "*"): boolean {
  if (a === b) return true;
  return a !== "*" && b !== "*" && a.length === b.length && a.every((member, i) => member === b[i]);
}
