/**
 * The Enforcer of a replay: it holds no packets back, it says of each what the kernel would have done, by the same tables.
 * Whoever replays asks once a flow, keeps the answer while `generation` stands, and counts each packet by it.
 */
import { canonicalAddress, parseAddress, printAddress } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import { RESIDENT_PORTS } from "../lib/resident-ports.ts";
import type { Health } from "../spin/observation.ts";
import { PolicyTables } from "../spin/policy-tables.ts";
import type { Decision, PolicyPacket } from "../spin/policy-tables.ts";
import { isNameAddress } from "../spin/policy.ts";
import type { AddressDelta, ApplyReport, Enforcer, Hits, HomeNetwork, Policy } from "../spin/ruleset.ts";
import { addCount } from "./ledger.ts";
import type { Tally } from "./ledger.ts";
import { LostSignal } from "./lost-signal.ts";

/** A packet of a home device, in either direction. `port` is the peer's. */
export interface JudgedPacket extends PolicyPacket {
  /** ICMP type, where the protocol is ICMP or ICMPv6. */
  readonly icmpType?: number;
}

export interface JudgeOptions {
  readonly clock: Clock;
  readonly residentPorts?: readonly number[];
}

const PASS: Decision = { verdict: "Pass", counted: [] };
/** Multicast listener and neighbour discovery messages (RFC 2710, 3810, 4861). */
const DISCOVERY_TYPES = [130, 131, 132, 133, 134, 135, 136, 137, 143];

export class Judge implements Enforcer {
  readonly #tables = new PolicyTables();
  readonly #options: JudgeOptions;
  readonly #lost = new LostSignal();
  readonly #rules = new Map<number, Tally>();
  readonly #devices = new Map<number, Tally>();
  #network: HomeNetwork | undefined;
  #gateway = new Set<string>();
  #generation = 0;
  #nextExpiry = Infinity;
  #started = false;

  constructor(options: JudgeOptions) {
    this.#options = options;
  }

  /** Answers given under another generation are to be asked for again. */
  get generation(): number {
    if (this.#options.clock.now() >= this.#nextExpiry) this.#expire();
    return this.#generation;
  }

  get lost(): AsyncIterable<void> {
    return this.#lost;
  }

  get health(): Health {
    const status = this.#started ? "Running" : "Starting";
    return { backend: "judge", status, observations: 0, lost: 0, resyncs: 0, decodeErrors: 0, lastError: "" };
  }

  start(network: HomeNetwork): Promise<void> {
    this.#network = network;
    this.#gateway = new Set(network.gatewayAddresses.map((address) => canonicalAddress(address) ?? address));
    this.#started = true;
    this.#generation++;
    return Promise.resolve();
  }

  apply(policy: Policy): Promise<ApplyReport> {
    this.#tables.setPolicy(policy);
    this.#tables.changes();
    this.#generation++;
    return Promise.resolve({ refused: new Map(this.#tables.refused) });
  }

  /** Packets of a capture carry the device's hardware address, so only names matter here. */
  addresses({ added, removed }: AddressDelta): Promise<void> {
    for (const one of removed) if (one.kind === "name") this.#tables.removeName(one);
    for (const one of added)
      if (one.kind === "name" && this.#network && isNameAddress(one.address, this.#network)) {
        this.#tables.addName(one);
        this.#nextExpiry = Math.min(this.#nextExpiry, one.expires);
      }
    // Only what changed a cell makes answers old: most renewals do not.
    if (this.#tables.changes().size > 0) this.#generation++;
    return Promise.resolve();
  }

  /** What the kernel would do with the packet. */
  judge(packet: JudgedPacket): Decision {
    if (this.#options.clock.now() >= this.#nextExpiry) this.#expire();
    return this.#isUntouchable(packet) ? PASS : this.#tables.decide(packet);
  }

  /** Counts packets that met a decision. */
  count({ verdict, rule, counted }: Decision, mac: number, packets: number, bytes: number): void {
    for (const id of counted) addCount(this.#rules, id, packets, bytes);
    if (rule !== undefined) addCount(this.#rules, rule, packets, bytes);
    if (verdict === "Block" || verdict === "Reject") addCount(this.#devices, mac, packets, bytes);
  }

  hits(): Promise<Hits> {
    return Promise.resolve({ rules: snapshot(this.#rules), devices: snapshot(this.#devices) });
  }

  cut(_devices: readonly number[], _destinations: readonly Prefix[]): Promise<void> {
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.#lost.end();
    return Promise.resolve();
  }

  /** What stands before all rules in the ruleset's input and output chains; a capture holds no connection of the agent. */
  #isUntouchable({ peer, protocol, port, icmpType }: JudgedPacket): boolean {
    const text = printAddress(peer);
    if (!this.#gateway.has(text) && !isMulticast(text)) return false;
    if (protocol === 17 && (port === 67 || port === 547)) return true;
    if (protocol === 58 && icmpType !== undefined && DISCOVERY_TYPES.includes(icmpType)) return true;
    return protocol === 6 && (this.#options.residentPorts ?? RESIDENT_PORTS).includes(port);
  }

  #expire(): void {
    const now = this.#options.clock.now();
    this.#tables.expire(now);
    this.#nextExpiry = this.#tables.nextExpiry;
    if (this.#tables.changes().size > 0) this.#generation++;
  }
}

function isMulticast(text: string): boolean {
  return text.startsWith("ff") || text === "255.255.255.255" || /^2(2[4-9]|3\d)\./.test(text);
}

function snapshot(counts: ReadonlyMap<number, Tally>) {
  return new Map([...counts].map(([key, { packets, bytes }]) => [key, { packets, bytes }]));
}

/** Words of an address for `JudgedPacket.peer`. Throws if the text is none. */
export function peerWords(text: string): Uint32Array {
  const words = parseAddress(text);
  if (!words) throw new RangeError(`${text} is not an address`);
  return words;
}
