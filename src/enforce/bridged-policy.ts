/** What of a policy concerns frames that the gateway only bridges: those between devices of the home. */
import { inPrefix, parsePrefix } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { prefixFamily } from "../spin/rule-values.ts";
import type { HomeNetwork, Policy, PolicyRule } from "../spin/ruleset.ts";

export interface BridgedPolicyOptions {
  readonly network: HomeNetwork;
  /** Bridged frames pass the inet table as well (br_netfilter), which counts them. */
  readonly countedElsewhere: boolean;
}

/** Where another device of the home can be: private, link-local and multicast addresses, and the limited broadcast. */
const LOCAL_RANGES = prefixes([
  "10.0.0.0/8",
  "100.64.0.0/10",
  "169.254.0.0/16",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "224.0.0.0/4",
  "255.255.255.255/32",
  "fc00::/7",
  "fe80::/10",
  "ff00::/8",
]);
const LINK_LOCAL_RANGES = prefixes(["169.254.0.0/16", "fe80::/10"]);

/**
 * The rules that mean other devices of the home, with their destinations cut to those. Rules for every device hold in the
 * home's own networks alone: the gateway may bridge for others too, such as containers. Names never resolve to addresses
 * of the home, and nobody knows who began a flow of a bridge, so domains and rules with an Initiator are left out.
 */
export function bridgedPolicy({ rules }: Policy, { network, countedElsewhere }: BridgedPolicyOptions): Policy {
  const home = [...network.lanPrefixes, ...LINK_LOCAL_RANGES];
  const around = [...network.lanPrefixes, ...LOCAL_RANGES];
  return {
    rules: rules.flatMap((rule) => {
      if (rule.initiator !== "Any" || (rule.action === "Count" && countedElsewhere)) return [];
      const bridged = rule.macs === "*" ? within(rule, home) : rule.destinations === "*" ? rule : within(rule, around);
      return bridged ? [bridged] : [];
    }),
  };
}

function within(rule: PolicyRule, ranges: readonly Prefix[]): PolicyRule | undefined {
  const { destinations } = rule;
  const kept = destinations === "*" ? ranges : destinations.prefixes.flatMap((prefix) => cut(prefix, ranges));
  return kept.length === 0 ? undefined : { ...rule, destinations: { prefixes: kept, domains: [] } };
}

/** What of a prefix lies in the ranges. */
function cut(prefix: Prefix, ranges: readonly Prefix[]): readonly Prefix[] {
  if (ranges.some((range) => isInside(prefix, range))) return [prefix];
  return ranges.filter((range) => isInside(range, prefix));
}

function isInside(inner: Prefix, outer: Prefix): boolean {
  return inner.bits >= outer.bits && prefixFamily(inner) === prefixFamily(outer) && inPrefix(outer, inner.words);
}

function prefixes(texts: readonly string[]): Prefix[] {
  return texts.map((text) => parsePrefix(text)).filter((prefix) => prefix !== undefined);
}
