/**
 * PORT: what makes the rules so. The policy comes whole, when somebody changes it; addresses come as differences,
 * because DNS and DHCP change them all the time.
 */
import type { Prefix } from "../lib/address.ts";
import type { ListRanges } from "./lists/ranges.ts";
import type { Health } from "./observation.ts";

export type Verdict = "Block" | "Reject" | "Allow" | "Count";
export type Initiator = "Any" | "Device" | "Peer";

export interface PolicyDestinations {
  readonly prefixes: readonly Prefix[];
  /** Names; and of each list that holds names a token (lists/book.ts). */
  readonly domains: readonly string[];
  /** Numbers of the lists whose addresses are meant, which the enforcer was given by `list`. */
  readonly lists?: readonly number[];
}

/** A rule in force, as a packet meets it: its tier is decided, its lists are parsed, its names stay names. */
export interface PolicyRule {
  /** Instance number of the Rule row. */
  readonly id: number;
  /** 0 wins over 1 wins over 2; inside a tier Allow wins. */
  readonly tier: 0 | 1 | 2;
  readonly action: Verdict;
  /** Hardware addresses, or every device. Never empty. */
  readonly macs: readonly number[] | "*";
  readonly destinations: PolicyDestinations | "*";
  /** IANA number; -1 any. */
  readonly protocol: number;
  /** Of the peer; empty: any. */
  readonly ports: readonly { readonly from: number; readonly to: number }[];
  readonly initiator: Initiator;
}

export interface Policy {
  readonly rules: readonly PolicyRule[];
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** What the enforcer must know of the home, besides rules. */
export interface HomeNetwork {
  readonly lanInterfaces: readonly string[];
  readonly lanPrefixes: readonly Prefix[];
  readonly gatewayAddresses: readonly string[];
  /** What no rule may cut: the agent's own connections to its brokers and controllers. */
  readonly management: readonly Endpoint[];
  /**
   * Those that the agent has now, to whom its rows lead it: their packets pass as well, and that is all. A rule on a name
   * covers such an address for devices, so that nobody lifts a rule by leading the agent there.
   */
  readonly connections?: readonly Endpoint[];
}

/** A device holds an address. One address has one owner. */
export interface DeviceAddress {
  readonly kind: "device";
  readonly mac: number;
  readonly address: string;
}

/** A device was told that a name has an address; so a rule on that name (or a parent of it) covers it, for that device. */
export interface NameAddress {
  readonly kind: "name";
  readonly mac: number;
  /** The rule's domain that the name fell under. */
  readonly domain: string;
  readonly address: string;
  /** Milliseconds since 1970; renewed by adding again. */
  readonly expires: number;
}

export interface AddressDelta {
  readonly added: readonly (DeviceAddress | NameAddress)[];
  readonly removed: readonly (DeviceAddress | NameAddress)[];
}

/** Monotone since the enforcer started; a rule's counters survive refreshes and re-creation of its elements. */
export interface Hits {
  readonly rules: ReadonlyMap<number, { readonly packets: number; readonly bytes: number }>;
  /** Dropped or rejected, by device. */
  readonly devices: ReadonlyMap<number, { readonly packets: number; readonly bytes: number }>;
  /** Addresses that dropped packets came from, as far as they were not told of lately. Anybody may write any there. */
  readonly sources?: readonly { readonly mac: number; readonly address: string }[];
  /** As in ApplyReport, at this moment. */
  readonly domainNote?: string;
}

export interface ApplyReport {
  /** Rules that the kernel refused, and why in words. */
  readonly refused: ReadonlyMap<number, string>;
  /** What rules on domains can't promise here, in words; absent: they keep what they say. */
  readonly domainNote?: string;
}

/** A list that the enforcer can't take, whatever one waits; the message says why, in words. */
export class ListRefusal extends Error {
  override readonly name = "ListRefusal";
}

export interface Enforcer {
  /** Sets up what does not vary. Called before anything else, and again when the home's network changes. */
  start(network: HomeNetwork): Promise<void>;
  /** Makes exactly this policy so. Idempotent; resolves when the kernel has it. */
  apply(policy: Policy): Promise<ApplyReport>;
  addresses(delta: AddressDelta): Promise<void>;
  /**
   * Holds the addresses of a list ready for rules that name it, in the place of what it held for that number; `undefined`
   * lets go of them. The arrays stay as they are. After `start`. @throws ListRefusal
   */
  list?(number: number, addresses: ListRanges | undefined): Promise<void>;
  /** What was counted until a moment ago; of very many elements some seconds ago, unless `all`. */
  hits(all?: boolean): Promise<Hits>;
  /**
   * What `hits` would tell of what was read until now, and how far the kernel's counters are read with that: JSON of its
   * own, to be saved together with what was counted.
   */
  counted?(): { hits: Hits; readings: unknown };
  /** Before `start`: the readings that were saved last. What was counted since then is told as hits, once. */
  resume?(readings: unknown): void;
  /** Ends established flows of these devices and destinations, so that offloaded and NATed ones stop too. */
  cut(devices: readonly number[], destinations: readonly Prefix[]): Promise<void>;
  /** Yields each time somebody else removed or changed our rules; the caller applies the newest policy again. */
  readonly lost: AsyncIterable<void>;
  readonly health: Health;
  /** Lets go of the kernel; the rules stay in force. */
  close(): Promise<void>;
}
