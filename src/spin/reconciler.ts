/**
 * Keeps an enforcer at the newest policy. A change of rules only marks the policy as old; one pump at a time applies the
 * newest, so a burst of changes is one application. Addresses are told at once, as differences, and whole after a start.
 * What the enforcer refuses as a whole is tried again; what it refuses of a rule shows in the rule's state.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { parsePrefix as hostPrefix, printPrefix } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import type { RuleBook } from "./rules.ts";
import type {
  ApplyReport,
  DeviceAddress,
  Enforcer,
  Hits,
  HomeNetwork,
  NameAddress,
  Policy,
  PolicyRule,
} from "./ruleset.ts";

/** A change that takes the kernel longer than this is told. */
const OVERDUE_MS = 3000;
const OVERDUE = `the kernel took no change for more than ${OVERDUE_MS / 1000} s`;
const RETRY_MS = [250, 1000, 5000, 15_000];

export interface ReconcilerOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly rules: RuleBook;
  readonly enforcer: Enforcer;
  /** Every address of every device. */
  readonly deviceAddresses: () => DeviceAddress[];
  /** What devices were told of names under these domains, and still counts. */
  readonly nameAddresses: (domains: ReadonlySet<string>) => NameAddress[];
  /** Between the enforcer's start and the first policy. */
  readonly started?: () => Promise<void>;
  /** `trouble` changed. */
  readonly troubleChanged?: () => void;
  /** The enforcer has this policy. */
  readonly applied: (policy: Policy, report: ApplyReport) => void;
}

export class Reconciler {
  readonly #options: ReconcilerOptions;
  #network: HomeNetwork | undefined;
  #needsStart = false;
  #started = false;
  #policyIsOld = true;
  #isHeld = false;
  #pump: Promise<void> | undefined;
  #scheduled = false;
  #failures = 0;
  #retry: NodeJS.Timeout | undefined;
  #closed = false;
  #applied: Policy = { rules: [] };
  #domains: ReadonlySet<string> = new Set();
  #allowedDomains: ReadonlySet<string> = new Set();
  #settled: (() => void)[] = [];
  /** Since when something has waited for the kernel, monotonic. */
  #behindSince = Infinity;
  #error = "";
  #trouble = "";
  /** Since when rules that somebody removed are not back, monotonic. */
  #lostSince = Infinity;
  #restored = 0;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
  }

  /** Why the newest policy is not in force, in words; empty if it is, or may soon be. */
  get trouble(): string {
    return this.#trouble;
  }

  /** Whether the enforcer ever took the policy, so that some rules are in force. */
  get enforces(): boolean {
    return this.#started;
  }

  /** How often our rules were put back after somebody removed or changed them. */
  get restored(): number {
    return this.#restored;
  }

  /** Each second: what has waited too long is trouble. */
  tick(): void {
    const now = this.#options.clock.monotonic();
    if (this.#network === undefined || !this.#awaitsKernel()) this.#behindSince = Infinity;
    else if (this.#behindSince === Infinity) this.#behindSince = now;
    const isOverdue = now - this.#behindSince > OVERDUE_MS;
    this.#tellTrouble(this.#error || (isOverdue ? OVERDUE : ""));
  }

  /** The domains that rules in force name: what an answer is matched against. */
  get domains(): ReadonlySet<string> {
    return this.#domains;
  }

  /** Of them, those of exceptions: nothing that a device says of itself may come under one. */
  get allowedDomains(): ReadonlySet<string> {
    return this.#allowedDomains;
  }

  /** The home's cut is known, or changed. */
  networkChanged(network: HomeNetwork): void {
    this.#network = network;
    this.#needsStart = true;
    this.#wake();
  }

  /** A rule changed, or expired. Applied in this turn of the event loop, after the caller has finished. */
  policyChanged(): void {
    this.#policyIsOld = true;
    this.#wake();
  }

  /** Held: no policy is applied, so that the kernel keeps what it has. */
  hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (isHeld) return;
    this.#policyIsOld = true;
    this.#wake();
  }

  /** Tells the enforcer at once; before it has started, the start tells everything. */
  addresses(added: readonly (DeviceAddress | NameAddress)[], removed: readonly (DeviceAddress | NameAddress)[]): void {
    if (!this.#started || this.#closed) return;
    this.#options.enforcer.addresses({ added, removed }).catch((error: unknown) => {
      // What did not arrive is told again whole.
      this.#failed("the enforcer took no addresses", error);
    });
  }

  /** Ends living flows to what a rule on a name just came to cover. */
  cut(devices: readonly number[], destinations: readonly Prefix[]): void {
    if (!this.#started || this.#closed) return;
    this.#options.enforcer.cut(devices, destinations).catch((error: unknown) => {
      this.#options.log.warn("the enforcer did not end flows", error);
    });
  }

  async hits(all = false): Promise<Hits | undefined> {
    if (!this.#started || this.#closed) return undefined;
    try {
      return await this.#options.enforcer.hits(all);
    } catch (error) {
      this.#options.log.warn("the enforcer gave no hits", error);
      return undefined;
    }
  }

  /** Resolves when everything asked for until now is in force: not before the home is known. */
  settled(): Promise<void> {
    if (this.#closed || !this.#isBehind()) return Promise.resolve();
    return new Promise((resolve) => this.#settled.push(resolve));
  }

  /** Whether the home is known, so that it is worth waiting. */
  get canSettle(): boolean {
    return this.#network !== undefined;
  }

  /** Applies again whenever somebody else took the rules away, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const iterator = this.#options.enforcer.lost[Symbol.asyncIterator]();
    const stopped = new Promise<undefined>((resolve) => {
      if (signal.aborted) resolve(undefined);
      else signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    for (;;) {
      const result = await Promise.race([iterator.next(), stopped]);
      if (!result || result.done) break;
      this.#options.log.warn("somebody removed our rules from the kernel; putting them back");
      this.#needsStart = this.#network !== undefined;
      this.#lostSince = Math.min(this.#lostSince, this.#options.clock.monotonic());
      this.#wake();
    }
    await stopped;
    // An iterator that waits for ever may never answer: nobody waits for it.
    void iterator.return?.()?.catch(() => undefined);
  }

  /** Lets the pump finish and lets go of the enforcer. */
  async close(): Promise<void> {
    clearTimeout(this.#retry);
    this.#closed = true;
    await this.#pump;
    for (const resolve of this.#settled.splice(0)) resolve();
    await this.#options.enforcer.close();
  }

  #isBehind(): boolean {
    return this.#needsStart || this.#isPolicyDue() || this.#scheduled || this.#pump !== undefined;
  }

  #isPolicyDue(): boolean {
    return this.#policyIsOld && !this.#isHeld;
  }

  #awaitsKernel(): boolean {
    return this.#pump !== undefined || this.#needsStart;
  }

  #tellTrouble(trouble: string): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#options.rules.trouble = trouble;
    this.#options.troubleChanged?.();
  }

  #wake(): void {
    if (this.#scheduled || this.#pump || this.#closed) return;
    this.#scheduled = true;
    // One transaction may change many rules: they are applied together, when it is done.
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#closed || this.#pump) return;
      this.#pump = this.#work().finally(() => {
        this.#pump = undefined;
        if (!this.#closed && !this.#retry && (this.#needsStart || (this.#started && this.#isPolicyDue()))) this.#wake();
        else if (!this.#isBehind()) for (const resolve of this.#settled.splice(0)) resolve();
      });
    });
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    try {
      if (this.#needsStart) await this.#start();
      while (this.#started && this.#isPolicyDue() && !this.#needsStart && !this.#closed) await this.#apply();
      this.#failures = 0;
      this.#error = "";
      if (this.#started && !this.#needsStart) this.#tellRestored();
      this.#behindSince = Infinity;
      this.#tellTrouble("");
    } catch (error) {
      this.#failed("the policy is not in force yet", error);
    }
  }

  /** What was lost together, from both of our tables or in steps, is told and counted once. */
  #tellRestored(): void {
    if (this.#lostSince === Infinity) return;
    const took = Math.round(this.#options.clock.monotonic() - this.#lostSince);
    this.#lostSince = Infinity;
    this.#restored++;
    this.#options.log.warn(`our rules are back in the kernel, ${took} ms after their loss was noticed`);
  }

  async #start(): Promise<void> {
    const { enforcer, deviceAddresses } = this.#options;
    this.#needsStart = false;
    this.#policyIsOld = true;
    try {
      await enforcer.start(this.#network as HomeNetwork);
      this.#started = true;
      await enforcer.addresses({ added: deviceAddresses(), removed: [] });
      await this.#options.started?.();
    } catch (error) {
      this.#needsStart = true;
      throw error;
    }
  }

  async #apply(): Promise<void> {
    const { enforcer, rules, nameAddresses, applied } = this.#options;
    this.#policyIsOld = false;
    const { version } = rules;
    const policy = rules.policy();
    const before = this.#applied;
    this.#domains = domainsOf(policy.rules);
    this.#allowedDomains = domainsOf(policy.rules.filter(({ action }) => action === "Allow"));
    try {
      const report = await enforcer.apply(policy);
      // Answers that came while it was being applied were told already; telling again only renews.
      const names = this.#domains.size > 0 ? nameAddresses(this.#domains) : [];
      if (names.length > 0) await enforcer.addresses({ added: names, removed: [] });
      this.#applied = policy;
      rules.applied(version, report);
      applied(policy, report);
      for (const { devices, destinations } of flowsToCut(before, policy, names)) this.cut(devices, destinations);
    } catch (error) {
      this.#policyIsOld = true;
      throw error;
    }
  }

  #failed(what: string, error: unknown): void {
    if (this.#closed) return;
    const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)] as number;
    this.#error = error instanceof Error ? error.message : String(error);
    this.#tellTrouble(this.#error);
    this.#options.log.warn(`${what}, trying again in ${wait} ms`, error);
    this.#needsStart = this.#network !== undefined;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#wake();
    }, wait);
  }
}

function domainsOf(rules: readonly PolicyRule[]): Set<string> {
  const domains = new Set<string>();
  for (const rule of rules)
    if (rule.destinations !== "*") for (const domain of rule.destinations.domains) domains.add(domain);
  return domains;
}

/** What blocks that are new (or no longer excepted) cover: their established flows must end. An empty list means any. */
function flowsToCut(
  before: Policy,
  after: Policy,
  names: readonly NameAddress[],
): { devices: readonly number[]; destinations: readonly Prefix[] }[] {
  const known = new Map(before.rules.map((rule) => [rule.id, rule]));
  const present = new Map(after.rules.map((rule) => [rule.id, rule]));
  const exceptionsFell = before.rules.some((rule) => rule.action === "Allow" && !isSame(rule, present.get(rule.id)));
  const cuts = [];
  for (const rule of after.rules) {
    if (rule.action !== "Block" && rule.action !== "Reject") continue;
    if (!exceptionsFell && isSame(rule, known.get(rule.id))) continue;
    const devices = rule.macs === "*" ? [] : rule.macs;
    if (rule.destinations === "*") {
      cuts.push({ devices, destinations: [] });
      continue;
    }
    const destinations = [...rule.destinations.prefixes, ...namedPrefixes(rule, names)];
    if (destinations.length > 0) cuts.push({ devices, destinations });
  }
  return cuts;
}

function namedPrefixes(rule: PolicyRule, names: readonly NameAddress[]): Prefix[] {
  if (rule.destinations === "*") return [];
  const domains = new Set(rule.destinations.domains);
  const texts = new Set<string>();
  for (const { domain, mac, address } of names)
    if (domains.has(domain) && (rule.macs === "*" || rule.macs.includes(mac))) texts.add(address);
  return [...texts].map(hostPrefix).filter((prefix) => prefix !== undefined);
}

/** A rule that nobody touched comes with the very same lists each time, so most comparisons end at identity. */
function isSame(rule: PolicyRule, other: PolicyRule | undefined): boolean {
  if (!other || rule.action !== other.action || rule.tier !== other.tier) return false;
  if (rule.protocol !== other.protocol || rule.initiator !== other.initiator) return false;
  if (rule.macs !== other.macs && String(rule.macs) !== String(other.macs)) return false;
  if (rule.ports !== other.ports && JSON.stringify(rule.ports) !== JSON.stringify(other.ports)) return false;
  if (rule.destinations === "*" || other.destinations === "*") return rule.destinations === other.destinations;
  const { prefixes, domains, lists = [] } = rule.destinations;
  if (String(lists) !== String(other.destinations.lists ?? [])) return false;
  return (
    (prefixes === other.destinations.prefixes ||
      String(prefixes.map(printPrefix)) === String(other.destinations.prefixes.map(printPrefix))) &&
    (domains === other.destinations.domains || String(domains) === String(other.destinations.domains))
  );
}
