/**
 * Rules → policy: which rules are in force, in which tier, and which of them can have no effect because another one
 * decides first. Pure functions; time and lists come in as arguments.
 */
import {
  canonicalAddress,
  inPrefix,
  isIPv4,
  parseAddress,
  parsePrefix,
  printAddress,
  printMac,
  printPrefix,
} from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { isUnderDomain } from "../lib/domain.ts";
import type { ResolvedList } from "./lists/book.ts";
import { PORT_PROTOCOLS, isWholeFamily, prefixFamily } from "./rule-values.ts";
import type { Rule, RuleOrigin } from "./rule-values.ts";
import type { HomeNetwork, Policy, PolicyRule } from "./ruleset.ts";
import type { ScheduleState } from "./schedules.ts";

/** Who wins when both made a rule: firmware configuration. */
export type Authority = "Resident" | "Operator";
/** What a reference to a list holds; `undefined` while there is no such list. */
export type ListResolver = (reference: string) => ResolvedList | undefined;

/** When a schedule is active; `undefined` while there is no such schedule. */
export type ScheduleResolver = (id: number) => ScheduleState | undefined;

const TIERS: Record<Authority, Record<RuleOrigin, 0 | 1 | 2>> = {
  Resident: { User: 0, Controller: 1, System: 2 },
  Operator: { Controller: 0, User: 1, System: 2 },
};

/** The rules in force, in the order of their ids. Ignore rules only hide from reports and are no policy. */
export function resolvePolicy(
  rules: readonly Rule[],
  authority: Authority,
  now: number,
  lists?: ListResolver,
  schedules?: ScheduleResolver,
): Policy {
  const resolved: PolicyRule[] = [];
  for (const rule of rules)
    if (rule.action !== "Ignore" && isInForce(rule, now, lists, schedules))
      resolved.push({ ...resolveRule(rule, lists), tier: TIERS[authority][rule.origin], action: rule.action });
  return { rules: resolved };
}

/** What a rule covers, its lists looked up. */
export function resolveRule(rule: Rule, lists?: ListResolver): Omit<PolicyRule, "tier" | "action"> {
  const { id, macs, protocol, ports, initiator } = rule;
  return { id, macs, destinations: resolveDestinations(rule, lists), protocol, ports, initiator };
}

/** Enabled, not expired, in a slot of its schedules, and saying something that can be obeyed. */
export function isInForce(rule: Rule, now: number, lists?: ListResolver, schedules?: ScheduleResolver): boolean {
  if (!rule.enable || rule.expiry <= now || misconfiguration(rule, lists, schedules) !== undefined) return false;
  return isScheduled(rule, schedules);
}

/** Whether the rule's schedules let it hold at this moment. */
export function isScheduled(rule: Rule, schedules?: ScheduleResolver): boolean {
  return rule.schedules.length === 0 || rule.schedules.some((id) => schedules?.(id)?.isActive === true);
}

/** Why a rule can't be obeyed as it stands, in words; `undefined` if it can. */
export function misconfiguration(rule: Rule, lists?: ListResolver, schedules?: ScheduleResolver): string | undefined {
  if (rule.macs.length === 0) return "MACAddressList is empty, so no device is meant; `*` means every device.";
  if (rule.destinations !== "*") {
    const { prefixes, domains, lists: references } = rule.destinations;
    if (prefixes.length + domains.length + references.length === 0)
      return "DestinationList is empty, so no destination is meant; `*` means every destination.";
    // Without saying which: more may read this than may read DestinationList.
    if (references.some((reference) => lists?.(reference) === undefined))
      return "DestinationList refers to a list that does not exist.";
    if (references.some((reference) => lists?.(reference)?.state === "off"))
      return "DestinationList refers to a list that is disabled.";
    if (references.length > 0 && rule.initiator !== "Any")
      return "DestinationList refers to a list; such a rule can't tell who began (Initiator).";
  }
  const harmless = rule.action === "Count" || rule.action === "Ignore";
  if (rule.macs === "*" && !harmless && meansEverything(rule.destinations))
    return `A rule for every device and every destination may only Count or Ignore, not ${rule.action}.`;
  if (rule.ports.length > 0 && rule.protocol !== -1 && !PORT_PROTOCOLS.includes(rule.protocol))
    return `PortList is set, but protocol ${rule.protocol} has no ports.`;
  // One that is gone must not leave the rule to hold always.
  if (rule.schedules.some((id) => schedules?.(id) === undefined)) return "Schedule refers to one that does not exist.";
  return undefined;
}

/** The canonical texts of a rule's list members. */
export function allTexts(rule: Pick<Rule, "macs" | "destinations" | "ports">): {
  macs: string[];
  destinations: string[];
  ports: string[];
} {
  const { macs, destinations, ports } = rule;
  return {
    macs: macs === "*" ? ["*"] : macs.map(printMac),
    destinations:
      destinations === "*"
        ? ["*"]
        : [...destinations.prefixes.map(printPrefix), ...destinations.domains, ...destinations.lists],
    ports: ports.map(({ from, to }) => (from === to ? String(from) : `${from}-${to}`)),
  };
}

/**
 * The rules whose whole effect is the opposite of what is decided before them, and the rules that decide it: each pair of
 * device and destination that such a rule names lies whole inside a rule that outranks it with the opposite verdict. A
 * block under a higher tier's block is not overruled: what it asked for happens.
 */
export function overruled(policy: Policy): Map<number, number[]> {
  const deciding = policy.rules.filter((rule) => rule.action !== "Count");
  const result = new Map<number, number[]>();
  if (!deciding.some((rule) => rule.action === "Allow")) return result;
  const forEvery = deciding.filter((rule) => rule.macs === "*");
  const byMac = new Map<number, PolicyRule[]>();
  for (const rule of deciding) {
    if (rule.macs === "*") continue;
    for (const mac of rule.macs) {
      const rules = byMac.get(mac);
      if (rules) rules.push(rule);
      else byMac.set(mac, [rule]);
    }
  }
  for (const rule of deciding) {
    const by = overruledBy(rule, (mac) => (mac === "*" ? forEvery : [...forEvery, ...(byMac.get(mac) ?? [])]));
    if (by) result.set(rule.id, by);
  }
  return result;
}

function overruledBy(
  rule: PolicyRule,
  candidatesFor: (mac: number | "*") => readonly PolicyRule[],
): number[] | undefined {
  const by = new Set<number>();
  for (const mac of rule.macs === "*" ? (["*"] as const) : rule.macs) {
    const candidates = candidatesFor(mac).filter((other) => outranks(other, rule) && coversService(other, rule));
    if (!candidates.some((other) => opposes(other, rule))) return undefined;
    candidates.sort((a, b) => rank(a) - rank(b) || a.id - b.id);
    for (const destination of partsOf(rule)) {
      const first = candidates.find((other) => coversDestination(other, destination));
      if (!first || !opposes(first, rule)) return undefined;
      by.add(first.id);
    }
  }
  return by.size === 0 ? undefined : [...by].sort((a, b) => a - b);
}

/** The order in which rules decide: tiers, and Allow first inside a tier. */
export function rank(rule: PolicyRule): number {
  return rule.tier * 2 + (rule.action === "Allow" ? 0 : 1);
}

function outranks(other: PolicyRule, rule: PolicyRule): boolean {
  return rank(other) < rank(rule);
}

function opposes(other: PolicyRule, rule: PolicyRule): boolean {
  return (other.action === "Allow") !== (rule.action === "Allow");
}

function partsOf(rule: PolicyRule): readonly (Prefix | string | number)[] {
  if (rule.destinations === "*") return ["*"];
  const { prefixes, domains, lists = [] } = rule.destinations;
  return [...prefixes, ...domains, ...lists];
}

/** A number is that of a list. */
function coversDestination(rule: PolicyRule, destination: Prefix | string | number): boolean {
  if (rule.destinations === "*") return true;
  if (typeof destination === "number") return rule.destinations.lists?.includes(destination) === true;
  if (typeof destination === "string") {
    return destination !== "*" && rule.destinations.domains.some((domain) => isUnderDomain(destination, domain));
  }
  const family = prefixFamily(destination);
  return rule.destinations.prefixes.some(
    (prefix) =>
      prefix.bits <= destination.bits && prefixFamily(prefix) === family && inPrefix(prefix, destination.words),
  );
}

function coversService(other: PolicyRule, rule: PolicyRule): boolean {
  if (other.initiator !== "Any" && other.initiator !== rule.initiator) return false;
  if (other.protocol !== -1 && other.protocol !== rule.protocol) return false;
  if (other.ports.length === 0) return true;
  if (rule.ports.length === 0) return false;
  return rule.ports.every(({ from, to }) => {
    let reached = from;
    for (const range of [...other.ports].sort((a, b) => a.from - b.from))
      if (range.from <= reached && range.to >= reached) reached = range.to + 1;
    return reached > to;
  });
}

function meansEverything(destinations: Rule["destinations"]): boolean {
  return destinations === "*" || destinations.prefixes.some(isWholeFamily);
}

function resolveDestinations(rule: Rule, lists?: ListResolver): PolicyRule["destinations"] {
  if (rule.destinations === "*") return "*";
  const { prefixes, domains, lists: references } = rule.destinations;
  if (references.length === 0) return { prefixes, domains };
  // What is not there yet comes in with a later policy; the rest holds already.
  const ready = references.map((reference) => lists?.(reference)).filter((list) => list?.state === "ready");
  return {
    prefixes,
    domains: [...domains, ...ready.flatMap((list) => list?.token || [])],
    lists: ready.flatMap((list) => (list?.hasAddresses === true ? [list.number] : [])),
  };
}

/** The lists that a rule waits for, or that can't be had. */
export function missingLists(rule: Rule, lists?: ListResolver): ResolvedList[] {
  if (rule.destinations === "*") return [];
  return rule.destinations.lists
    .map((reference) => lists?.(reference))
    .filter((list) => list !== undefined)
    .filter(({ state }) => state === "waiting" || state === "refused");
}

/**
 * Whether an address that a name resolved to may stand for the name: never one inside the home, the gateway's, that of a
 * management connection, or one that is nobody's on the Internet (RFC 6890); else a name could be made to cut those off.
 */
export function isNameAddress(address: string, network: HomeNetwork): boolean {
  const words = parseAddress(address);
  if (!words) return false;
  const inside = (prefix: Prefix) => prefixFamily(prefix) === (isIPv4(words) ? 4 : 6) && inPrefix(prefix, words);
  if (SPECIAL_PREFIXES.some(inside) || network.lanPrefixes.some(inside)) return false;
  const text = printAddress(words);
  const isText = (other: string) => canonicalAddress(other) === text;
  return !network.gatewayAddresses.some(isText) && !network.management.some((peer) => isText(peer.address));
}

/** Nobody's on the Internet, or nobody's alone (RFC 6890). */
export const SPECIAL_PREFIXES: readonly Prefix[] = [
  "0.0.0.0/8",
  "10.0.0.0/8",
  "127.0.0.0/8",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "224.0.0.0/3",
  "::/127",
  "fc00::/7",
  "fe80::/10",
  "ff00::/8",
]
  .map(parsePrefix)
  .filter((prefix) => prefix !== undefined);
