/** What the rules in force say of a device, and of a device and one destination: for the columns that show it. */
import { inPrefix, isIPv4 } from "../lib/address.ts";
import { rank } from "./policy.ts";
import { isUnderDomain } from "../lib/domain.ts";
import { isListToken, type ListBook } from "./lists/book.ts";
import { prefixFamily } from "./rule-values.ts";
import type { Policy, PolicyRule } from "./ruleset.ts";

/** One destination of a device. `names`: all under which the device knows the address. */
export interface Question {
  readonly mac: number;
  readonly words: ArrayLike<number>;
  readonly offset: number;
  readonly names: readonly string[];
  readonly protocol: number;
  readonly port: number;
}

/** Answers questions about one policy; made anew with each. */
export class Verdicts {
  readonly #lists: ListBook | undefined;
  readonly #ordered: readonly PolicyRule[];
  /** Rules that name a device, and those for every device, each in deciding order. */
  readonly #byMac = new Map<number, PolicyRule[]>();
  readonly #forEvery: readonly PolicyRule[];

  constructor(policy: Policy, refused: ReadonlyMap<number, string> = new Map(), lists?: ListBook) {
    this.#lists = lists;
    this.#ordered = policy.rules
      .filter((rule) => rule.action !== "Count" && !refused.has(rule.id))
      .sort((a, b) => rank(a) - rank(b) || a.id - b.id);
    this.#forEvery = this.#ordered.filter((rule) => rule.macs === "*");
    for (const rule of this.#ordered) {
      if (rule.macs === "*") continue;
      for (const mac of rule.macs) {
        const rules = this.#byMac.get(mac);
        if (rules) rules.push(rule);
        else this.#byMac.set(mac, [rule]);
      }
    }
  }

  /** Whether a rule in force blocks all of a device's traffic. Exceptions for some destinations leave it blocked. */
  blocksAllOf(mac: number): boolean {
    for (const rule of this.#byMac.get(mac) ?? []) {
      if (rule.destinations !== "*" || rule.protocol !== -1 || rule.ports.length > 0 || rule.initiator !== "Any")
        continue;
      return rule.action !== "Allow";
    }
    return false;
  }

  /** Whether the first rule that covers the destination blocks it, whoever began. */
  blocks(question: Question): boolean {
    const deciding = this.deciding(question);
    return deciding !== undefined && deciding.action !== "Allow";
  }

  /** The first rule that covers the destination, whoever began. */
  deciding(question: Question): PolicyRule | undefined {
    const own = this.#byMac.get(question.mac) ?? [];
    const first = own.find((rule) => covers(rule, question, this.#lists));
    const general = this.#forEvery.find((rule) => covers(rule, question, this.#lists));
    return first && general ? (rank(general) < rank(first) ? general : first) : (first ?? general);
  }
}

function covers(rule: PolicyRule, question: Question, lists: ListBook | undefined): boolean {
  if (rule.protocol !== -1 && rule.protocol !== question.protocol) return false;
  if (rule.ports.length > 0 && !rule.ports.some(({ from, to }) => from <= question.port && question.port <= to))
    return false;
  if (rule.destinations === "*") return true;
  const family = isIPv4(question.words, question.offset) ? 4 : 6;
  return (
    rule.destinations.prefixes.some(
      (prefix) => prefixFamily(prefix) === family && inPrefix(prefix, question.words, question.offset),
    ) ||
    rule.destinations.domains.some((domain) =>
      isListToken(domain)
        ? lists?.tokenHolds(domain, question.names) === true
        : question.names.some((name) => isUnderDomain(name, domain)),
    ) ||
    rule.destinations.lists?.some((list) => lists?.holds(list, question.words, question.offset)) === true
  );
}
