/**
 * The Enforcer of a gateway that may also bridge: the inet table holds what the gateway routes or answers itself, and a
 * second one, in the bridge family, what devices of the home say to each other over its ports. The second is loaded when
 * the first rule concerns such traffic, and left alone on gateways without one; a kernel that has no bridge family loses
 * nothing but that.
 */
import { describe } from "../lib/log.ts";
import type { Log } from "../lib/log.ts";
import type { Prefix } from "../lib/address.ts";
import type { ListRanges } from "../spin/lists/ranges.ts";
import type { Health } from "../spin/observation.ts";
import type { AddressDelta, ApplyReport, Enforcer, Hits, HomeNetwork, Policy } from "../spin/ruleset.ts";
import { bridgedPolicy } from "./bridged-policy.ts";
import { addCount } from "./ledger.ts";
import type { Tally } from "./ledger.ts";
import { LostSignal } from "./lost-signal.ts";
import type { NftablesEnforcer } from "./nftables.ts";

export interface WithBridgeOptions {
  readonly inet: NftablesEnforcer;
  readonly bridge: NftablesEnforcer;
  /** Whether our table of the bridge family stands, from an earlier life; rejects where it can't be asked. */
  readonly stands: () => Promise<boolean>;
  /** Whether bridged frames pass the inet table too (br_netfilter). */
  readonly isFilteredElsewhere: () => boolean;
  readonly log: Log;
}

export class WithBridge implements Enforcer {
  readonly #options: WithBridgeOptions;
  readonly #lost = new LostSignal();
  readonly #relays: Promise<void>[];
  #network: HomeNetwork | undefined;
  #looked = false;
  #isUp = false;
  /** Why the bridge's table can't be had, in words. */
  #missing = "";

  constructor(options: WithBridgeOptions) {
    this.#options = options;
    this.#relays = [options.inet, options.bridge].map((one) => this.#relay(one));
  }

  get lost(): AsyncIterable<void> {
    return this.#lost;
  }

  get health(): Health {
    const { inet, bridge } = this.#options;
    const own = inet.health;
    if (!this.#isUp) return this.#missing === "" ? own : { ...own, lastError: own.lastError || this.#missing };
    const { observations, lost, resyncs, lastError } = bridge.health;
    return {
      ...own,
      observations: own.observations + observations,
      lost: own.lost + lost,
      resyncs: own.resyncs + resyncs,
      lastError: own.lastError || lastError,
    };
  }

  resume(saved: unknown): void {
    const { inet, bridge } = this.#options;
    inet.resume(saved);
    if (typeof saved === "object" && saved !== null && "bridge" in saved) bridge.resume(saved.bridge);
  }

  counted(): { hits: Hits; readings: unknown } {
    const inet = this.#options.inet.counted();
    if (!this.#isUp) return inet;
    const bridge = this.#options.bridge.counted();
    return { hits: sum(inet.hits, bridge.hits), readings: { ...inet.readings, bridge: bridge.readings } };
  }

  async start(network: HomeNetwork): Promise<void> {
    this.#network = network;
    await this.#options.inet.start(network);
    if (this.#isUp) await this.#options.bridge.start(network);
    else if (!this.#looked) {
      // What an earlier life left there is in force, and to be brought up to date.
      const stands = await this.#options.stands().catch(() => false);
      this.#looked = true;
      if (stands) await this.#raise(network);
    }
  }

  async apply(policy: Policy): Promise<ApplyReport> {
    const { inet, bridge, isFilteredElsewhere } = this.#options;
    const report = await inet.apply(policy);
    if (!this.#network) return report;
    const bridged = bridgedPolicy(policy, { network: this.#network, countedElsewhere: isFilteredElsewhere() });
    if (bridged.rules.length > 0) await this.#raise(this.#network);
    if (!this.#isUp) return report;
    const { refused } = await bridge.apply(bridged);
    return { ...report, refused: new Map([...refused, ...report.refused]) };
  }

  addresses(delta: AddressDelta): Promise<void> {
    return this.#options.inet.addresses(delta);
  }

  list(list: number, addresses: ListRanges | undefined): Promise<void> {
    return this.#options.inet.list(list, addresses);
  }

  async hits(all = false): Promise<Hits> {
    const inet = await this.#options.inet.hits(all);
    return this.#isUp ? sum(inet, await this.#options.bridge.hits(all)) : inet;
  }

  cut(devices: readonly number[], destinations: readonly Prefix[]): Promise<void> {
    return this.#options.inet.cut(devices, destinations);
  }

  async close(): Promise<void> {
    const { inet, bridge } = this.#options;
    await Promise.all([inet.close(), bridge.close()]);
    await Promise.all(this.#relays);
    this.#lost.end();
  }

  /** Makes the table stand. What the kernel refuses is told once, and tried again when the next rule comes. */
  async #raise(network: HomeNetwork): Promise<void> {
    if (this.#isUp) return;
    try {
      await this.#options.bridge.start(network);
      this.#isUp = true;
      this.#missing = "";
    } catch (error) {
      const missing = `between devices on the gateway's bridges no rule holds: ${describe(error)}`;
      if (missing !== this.#missing) this.#options.log.warn(missing);
      this.#missing = missing;
    }
  }

  async #relay(enforcer: Enforcer): Promise<void> {
    for await (const _ of enforcer.lost) this.#lost.raise();
  }
}

function sum(a: Hits, b: Hits): Hits {
  return { ...a, rules: added(a.rules, b.rules), devices: added(a.devices, b.devices) };
}

function added(a: Hits["rules"], b: Hits["rules"]): Hits["rules"] {
  const total = new Map<number, Tally>();
  for (const counts of [a, b]) for (const [key, { packets, bytes }] of counts) addCount(total, key, packets, bytes);
  return total;
}
