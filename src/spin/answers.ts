/**
 * What DNS tells: questions are counted, answers name addresses, and an answer under a rule's domain reaches the enforcer
 * in the same turn of the event loop.
 */
import { parseAddress, printAddress } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import { Counter } from "./counters.ts";
import type { Counters } from "./counters.ts";
import type { DeviceTable } from "./devices.ts";
import { sameWords } from "./direction.ts";
import type { HomeMap } from "./direction.ts";
import type { FlowTable } from "./flows.ts";
import { isListToken, type ListBook } from "./lists/book.ts";
import { Names, NameSource } from "./names.ts";
import type { Observation } from "./observation.ts";
import type { Owners } from "./owners.ts";
import type { Reconciler } from "./reconciler.ts";
import type { NameAddress } from "./ruleset.ts";

type Query = Extract<Observation, { kind: "query" }>;
type Answer = Extract<Observation, { kind: "answer" }>;
type ServerName = Extract<Observation, { kind: "server-name" }>;

/** Answers whose client is not known yet wait for it, so many and so long. */
const MAX_HELD = 256;
const HELD_TICKS = 10;
/** What a device says counts for rules so long; it says it again with each connection. */
const HEARD_TTL_S = 300;

export interface AnswersOptions {
  readonly clock: Clock;
  readonly home: HomeMap;
  readonly owners: Owners;
  readonly devices: DeviceTable;
  readonly names: Names;
  readonly flows: FlowTable;
  /** Addresses that no rule may cut. */
  readonly management: ReadonlySet<string>;
  readonly reconciler?: Reconciler;
  readonly lists?: ListBook;
}

export class Answers {
  readonly #options: AnswersOptions;
  #held: { answer: Answer; client: Uint32Array; ticks: number }[] = [];
  #tokens: { readonly of: ReadonlySet<string>; readonly all: readonly string[] } = { of: new Set(), all: [] };
  /** Answers' addresses that no rule on the name will cover, because the name has too many. */
  refused = 0;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  /** @returns the slot of the device that asked; -1: none that is known */
  asked(query: Query, counters: Counters): number {
    const { devices, clock } = this.#options;
    const slot = this.#slotOf(query);
    if (slot < 0) return -1;
    counters.add(slot, Counter.DnsQueries, 1);
    // A question that a blocked device asks in vain is a retry, not life.
    if (devices.bySlot(slot)?.blocked === true) devices.seen(slot, query.time);
    else devices.sent(slot, query.time, clock.monotonic());
    return slot;
  }

  answered(answer: Answer): void {
    if (answer.rcode !== 0 || answer.addresses.length === 0) return;
    const slot = this.#slotOf(answer);
    if (slot >= 0) return this.#learn(answer, slot);
    const client = parseAddress(answer.client);
    if (client) {
      if (this.#held.length >= MAX_HELD) this.#held.shift();
      this.#held.push({ answer, client, ticks: HELD_TICKS });
    }
  }

  /**
   * A device said whom it speaks to. Under a rule that blocks the name the address is blocked for this device, as after an
   * answer: else whoever asks nobody, or asks in secret, gets past. But a device may say what it likes, so a name that
   * falls under an exception counts for no rule.
   */
  serverNamed(seen: ServerName): void {
    const { names, reconciler, clock } = this.#options;
    const slot = this.#slotOf(seen);
    const words = parseAddress(seen.address);
    if (slot < 0 || !words || seen.name === "") return;
    const source = seen.ech ? NameSource.Ech : seen.protocol === TCP ? NameSource.Tls : NameSource.Quic;
    const expires = names.learn(slot, words, 0, [seen.name], HEARD_TTL_S, clock.monotonic(), source);
    if (!reconciler || expires === 0) return;
    const facts: NameAddress[] = [];
    this.#addFacts(facts, slot, words, 0, this.#heardUnder([seen.name], reconciler.domains), expires);
    if (facts.length > 0) this.#tell(facts, slot, reconciler);
  }

  /** The domains that count for names which a device said itself. */
  #heardUnder(names: readonly string[], domains: ReadonlySet<string>): readonly string[] {
    const allowed = this.#options.reconciler?.allowedDomains;
    if (domains.size === 0 || (allowed && allowed.size > 0 && this.#matching(names, allowed).length > 0)) return [];
    return this.#matching(names, domains);
  }

  /** An address has got an owner: answers that waited for it are heard. */
  clientFound(words: ArrayLike<number>, offset: number): void {
    if (this.#held.length === 0) return;
    const slot = this.#options.owners.find(words, offset);
    const found = this.#held.filter(({ client }) => sameWords(client, 0, words, offset));
    if (slot < 0 || found.length === 0) return;
    this.#held = this.#held.filter((held) => !found.includes(held));
    for (const { answer } of found) this.#learn(answer, slot);
  }

  tick(): void {
    if (this.#held.length > 0) this.#held = this.#held.filter((held) => --held.ticks > 0);
  }

  /** Whether one of the names falls under a domain of a rule in force. */
  isUnderRules(names: readonly string[]): boolean {
    const domains = this.#options.reconciler?.domains;
    return domains !== undefined && domains.size > 0 && this.#matching(names, domains).length > 0;
  }

  /**
   * What devices were told of names under the domains and still counts: by answers that live, and by flows that live
   * although their answers are over.
   */
  underDomains(domains: ReadonlySet<string>): NameAddress[] {
    const { names, flows, clock } = this.#options;
    const facts: NameAddress[] = [];
    const now = clock.monotonic();
    const under = (chain: readonly string[], source: number) =>
      source === NameSource.Dns ? this.#matching(chain, domains) : this.#heardUnder(chain, domains);
    names.eachAlive(now, (slot, words, offset, chain, expires, source) =>
      this.#addFacts(facts, slot, words, offset, under(chain, source), expires),
    );
    flows.eachNamed((slot, words, offset, name, source) =>
      this.#addFacts(facts, slot, words, offset, under([name], source), now + Names.lifetimeMs(0)),
    );
    return facts;
  }

  #learn(answer: Answer, slot: number): void {
    const { names, reconciler, clock } = this.#options;
    const domains = reconciler && reconciler.domains.size > 0 ? this.#matching(answer.names, reconciler.domains) : [];
    const now = clock.monotonic();
    const facts: NameAddress[] = [];
    for (const { address, ttl } of answer.addresses) {
      const words = parseAddress(address);
      if (!words) continue;
      const expires = names.learn(slot, words, 0, answer.names, ttl, now);
      if (expires === 0) this.refused++;
      else this.#addFacts(facts, slot, words, 0, domains, expires);
    }
    if (facts.length > 0 && reconciler) this.#tell(facts, slot, reconciler);
  }

  #tell(facts: readonly NameAddress[], slot: number, reconciler: Reconciler): void {
    reconciler.addresses(facts, []);
    // A living flow to what is covered only now (the address had another name, or the answer came late) must end.
    for (const { mac, address } of facts) {
      const words = parseAddress(address) as Uint32Array;
      if (this.#options.flows.hasPeer(slot, words, 0)) reconciler.cut([mac], [{ words, bits: 128 }]);
    }
  }

  #addFacts(
    facts: NameAddress[],
    slot: number,
    words: ArrayLike<number>,
    offset: number,
    domains: readonly string[],
    expires: number,
  ): void {
    if (domains.length === 0) return;
    const { devices, home, management, clock } = this.#options;
    const row = devices.bySlot(slot);
    if (!row || !home.coverable(words, offset)) return;
    const address = printAddress(words, offset);
    if (management.has(address)) return;
    const wall = expires - clock.monotonic() + clock.now();
    for (const domain of domains) facts.push({ kind: "name", mac: row.mac, domain, address, expires: wall });
  }

  /** The domains under which one of the names falls, and the tokens of lists that have one. */
  #matching(names: readonly string[], domains: ReadonlySet<string>): string[] {
    const found = matching(names, domains);
    for (const token of this.#tokensOf(domains)) if (this.#options.lists?.tokenHolds(token, names)) found.push(token);
    return found;
  }

  #tokensOf(domains: ReadonlySet<string>): readonly string[] {
    if (this.#tokens.of !== domains) this.#tokens = { of: domains, all: [...domains].filter(isListToken) };
    return this.#tokens.all;
  }

  #slotOf({ mac, client }: Query | Answer | ServerName): number {
    const { devices, owners } = this.#options;
    const row = mac === undefined ? undefined : devices.byMac(mac);
    if (row) return row.slot;
    const words = parseAddress(client);
    return words ? owners.find(words, 0) : -1;
  }
}

const TCP = 6;

/** The domains that one of the names is or lies under. */
function matching(names: readonly string[], domains: ReadonlySet<string>): string[] {
  const found = new Set<string>();
  for (const name of names)
    for (let from = 0; from >= 0;) {
      const suffix = from === 0 ? name : name.slice(from);
      if (domains.has(suffix)) found.add(suffix);
      const dot = name.indexOf(".", from);
      from = dot < 0 ? -1 : dot + 1;
    }
  return [...found];
}
