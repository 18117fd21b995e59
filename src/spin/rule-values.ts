/**
 * A rule, typed, and the values of its lists: text ⇄ typed (members: src/lib/rule-text.ts).
 */
import { isIPv4 } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { parseDestinationMember, parseMacMember, parsePortMember } from "../lib/rule-text.ts";
import type { Destination, Parsed, PortRange } from "../lib/rule-text.ts";
import type { Initiator } from "./ruleset.ts";

/** What a rule's DestinationList names. `lists` are references, kept as they were written. */
export interface Destinations {
  readonly prefixes: readonly Prefix[];
  /** Lower-case, without the final dot; each stands for itself and its subdomains. */
  readonly domains: readonly string[];
  readonly lists: readonly string[];
}

export type { Parsed, PortRange };

export type RuleAction = "Block" | "Reject" | "Allow" | "Ignore" | "Count";
export type RuleOrigin = "User" | "Controller" | "System";

/** 9999-12-31T23:59:59Z: the expiry of a rule that has none. */
export const NEVER = Date.UTC(9999, 11, 31, 23, 59, 59);

/** One row, typed. Times are milliseconds since 1970. */
export interface Rule {
  /** Instance number of the row. */
  readonly id: number;
  readonly enable: boolean;
  readonly action: RuleAction;
  readonly origin: RuleOrigin;
  /** Endpoint id of who made it; empty for the system's own. */
  readonly creator: string;
  /** An empty list means no device at all. */
  readonly macs: readonly number[] | "*";
  /** Empty lists mean no destination at all. */
  readonly destinations: Destinations | "*";
  /** IANA number; −1 any. */
  readonly protocol: number;
  /** Of the peer; empty: any. */
  readonly ports: readonly PortRange[];
  readonly initiator: Initiator;
  /** Instance numbers of the schedules in whose slots it holds; 0 for a reference to none. Empty: always. */
  readonly schedules: readonly number[];
  readonly creation: number;
  readonly expiry: number;
  readonly reason: string;
}

/** A rule with the defaults of the data model; only the id has none. */
export function newRule(fields: Partial<Rule> & { readonly id: number }): Rule {
  return {
    enable: false,
    action: "Block",
    origin: "Controller",
    creator: "",
    macs: [],
    destinations: { prefixes: [], domains: [], lists: [] },
    protocol: -1,
    ports: [],
    initiator: "Any",
    schedules: [],
    creation: 0,
    expiry: NEVER,
    reason: "",
    ...fields,
  };
}

/** Protocols whose header begins with a source and a destination port (IANA). */
export const PORT_PROTOCOLS: readonly number[] = [6, 17, 33, 132, 136];

/** `*`, or hardware addresses. The canonical text keeps the order and drops repetitions. */
export function parseMacList(text: string): Parsed<readonly number[] | "*"> {
  const members = splitList(text);
  if (members.includes("*")) return members.length === 1 ? { value: "*", text: "*" } : starAmongOthers();
  const macs = new Map<number, string>();
  for (const member of members) {
    const parsed = parseMacMember(member);
    if ("error" in parsed) return parsed;
    macs.set(parsed.value, parsed.text);
  }
  return { value: [...macs.keys()], text: [...macs.values()].join(",") };
}

/** `*`, or addresses, prefixes, domains and references to lists. The canonical text keeps the order. */
export function parseDestinationList(text: string): Parsed<Destinations | "*"> {
  const members = splitList(text);
  if (members.includes("*")) return members.length === 1 ? { value: "*", text: "*" } : starAmongOthers();
  const seen = new Map<string, Destination>();
  for (const member of members) {
    const parsed = parseDestinationMember(member);
    if ("error" in parsed) return parsed;
    seen.set(parsed.text, parsed.value);
  }
  const value = { prefixes: [] as Prefix[], domains: [] as string[], lists: [] as string[] };
  for (const destination of seen.values()) {
    if (destination.kind === "prefix") value.prefixes.push(destination.prefix);
    else if (destination.kind === "domain") value.domains.push(destination.name);
    else value.lists.push(destination.reference);
  }
  return { value, text: [...seen.keys()].join(",") };
}

/** `443,8000-8010`; empty: any. */
export function parsePortList(text: string): Parsed<readonly PortRange[]> {
  const ports = new Map<string, PortRange>();
  for (const member of splitList(text)) {
    const parsed = parsePortMember(member);
    if ("error" in parsed) return parsed;
    ports.set(parsed.text, parsed.value);
  }
  return { value: [...ports.values()], text: [...ports.keys()].join(",") };
}

/** −1 for any, else an IANA protocol number. */
export function parseProtocol(value: number): Parsed<number> {
  if (Number.isInteger(value) && value >= -1 && value <= 255) return { value, text: String(value) };
  return { error: `${value} is not a protocol number (0 to 255, or -1 for any)` };
}

/** The family that a prefix lies in. `::/0` is all of IPv6 and nothing of IPv4. */
export function prefixFamily(prefix: Prefix): 4 | 6 {
  return prefix.bits >= 96 && isIPv4(prefix.words) ? 4 : 6;
}

/** Whether a prefix holds every address of its family. */
export function isWholeFamily(prefix: Prefix): boolean {
  return prefix.bits === (prefixFamily(prefix) === 4 ? 96 : 0);
}

function splitList(text: string): string[] {
  return text.trim() === "" ? [] : text.split(",").map((member) => member.trim());
}

function starAmongOthers(): { readonly error: string } {
  return { error: "`*` stands alone: it means every one" };
}
