/**
 * Source of who is on the LAN: the kernel's neighbour tables (ARP, NDP) and the bridge's table of hardware addresses,
 * which knows a device before it has an address. Through the helper; else `ip monitor`; else /proc/net/arp.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import type { Observation, Source } from "../spin/observation.ts";
import type { Lan } from "./lan.ts";
import type { NeighbourBackend, NeighbourFeed } from "./neighbours-feed.ts";
import { helperBackend } from "./neighbours-helper.ts";
import { SourceHealth } from "./source-health.ts";

export interface NeighboursOptions {
  readonly helper?: NetfilterHelper | undefined;
  readonly lan: Lan;
  readonly clock: Clock;
  readonly log: Log;
  /** Use this way alone, for tests and for doctor. */
  readonly only?: "helper" | "ip" | "procfs";
  /** What stands before spawned programs. */
  readonly prefix?: readonly string[];
  /** Default `/proc/net/arp`. */
  readonly arpFile?: string;
}

const RETRY_MS = 10_000;
/** Addresses whose holder is remembered, so that their going can be told with it. The kernel keeps 1,024 by default. */
const HOLDER_LIMIT = 8192;
const MULTICAST_BIT = 0x010000000000;

export class NeighboursSource implements Source {
  readonly name = "neighbours";
  readonly health = new SourceHealth();
  readonly #options: NeighboursOptions;

  constructor(options: NeighboursOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    if (signal.aborted) return;
    const { helper, lan, log, only, prefix = [], arpFile = "/proc/net/arp" } = this.#options;
    const { health } = this;
    const wakeup = new Wakeup();
    const forget = lan.onChange(() => wakeup.wake());
    const feed: NeighbourFeed = { lan, health, wakeup, prefix, tell: this.#teller(emit) };
    const all: { readonly name: string; readonly open: () => Promise<NeighbourBackend> }[] = [
      { name: "helper", open: () => Promise.resolve(helperBackend(helper)) },
      { name: "ip", open: async () => (await import("./without-helper.ts")).ipBackend() },
      { name: "procfs", open: async () => (await import("./without-helper.ts")).arpFileBackend(arpFile) },
    ];
    const ways = all.filter(({ name }) => only === undefined || name === only);
    health.status = "Starting";
    while (!signal.aborted) {
      let why = "";
      for (const { open } of ways) {
        const way = await open();
        health.backend = way.name;
        health.lastError = [why, way.cost].filter(Boolean).join("; ");
        const began = performance.now();
        const reason = await way.run(signal, feed);
        if (signal.aborted) break;
        log.warn(`neighbours by ${way.name}: ${reason}`);
        why = [why, `${way.name}: ${reason}`].filter(Boolean).join("; ");
        if (performance.now() - began > RETRY_MS) break;
      }
      if (signal.aborted) break;
      health.failed(why);
      await new Wakeup().wait(RETRY_MS, signal);
    }
    forget();
    health.status = "Disabled";
  }

  #teller(emit: (observation: Observation) => void): NeighbourFeed["tell"] {
    const { clock, lan } = this.#options;
    const holders = new Map<string, number>();
    return (interfaceName, state, mac, address) => {
      if (!lan.interfaces.has(interfaceName)) return;
      let holder = mac;
      if (address !== undefined) {
        const key = `${interfaceName} ${address}`;
        holder ??= holders.get(key);
        holders.delete(key);
        if (state !== "gone" && holder !== undefined) holders.set(key, holder);
        if (holders.size > HOLDER_LIMIT) holders.delete(holders.keys().next().value as string);
      }
      if (holder === undefined || holder === 0 || isMulticast(holder)) return;
      this.health.observations++;
      const common = { kind: "neighbour", time: clock.now(), mac: holder, interface: interfaceName, state } as const;
      emit(address === undefined ? common : { ...common, address });
    };
  }
}

function isMulticast(mac: number): boolean {
  return Math.floor(mac / MULTICAST_BIT) % 2 === 1;
}
