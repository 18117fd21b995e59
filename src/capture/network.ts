/**
 * Source of the home's shape: LAN interfaces and prefixes, the gateway's own addresses and hardware addresses. Through
 * the helper it hears of each change; without it, sysfs and procfs are read every few seconds.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import { RequestKind, words } from "../netlink/frames.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { decodeRoutes, RouteType } from "../netlink/route-messages.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { layOut, passedOver, type SystemTables } from "./home-layout.ts";
import type { Lan } from "./lan.ts";
import { readSystem } from "./network-files.ts";
import { SourceHealth } from "./source-health.ts";
import { whyUnusable } from "./why-unusable.ts";

export interface NetworkOptions {
  readonly helper?: NetfilterHelper | undefined;
  /** Told of the LAN interfaces. */
  readonly lan: Lan;
  /** LAN interfaces, if the configuration says. Empty: found. */
  readonly interfaces?: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

/** Changes come in bursts. */
const SETTLE_MS = 100;
/** In case a change was missed. */
const RECHECK_MS = 60_000;
const POLL_MS = 5000;

export class NetworkSource implements Source {
  readonly name = "network";
  readonly health = new SourceHealth();
  readonly #options: NetworkOptions;
  readonly #wakeup = new Wakeup();
  #added: readonly string[] = [];

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  get added(): readonly string[] {
    return this.#added;
  }

  /** What a controller names as LAN besides; rules go on to hold for the rest. Takes effect at once. */
  set added(names: readonly string[]) {
    this.#added = names;
    this.#wakeup.wake();
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    if (signal.aborted) return;
    const { helper, lan, clock, log, interfaces = [] } = this.#options;
    const { health } = this;
    health.status = "Starting";
    const unusable = await whyUnusable(helper, signal);
    const live = helper && unusable === undefined ? helper : undefined;
    const forget = live?.subscribe({
      kind: RequestKind.Route,
      payload: words(0),
      onMessages: () => this.#wakeup.wake(),
      onLoss: () => this.#wakeup.wake(),
      onError: (error) => log.warn("changes of the network are seen late", error),
    });
    let told = "";
    let failed = false;
    while (!signal.aborted) {
      failed = false;
      try {
        const tables = live ? await readKernel(live) : await readSystem();
        const layout = layOut(tables.links, tables.addresses, tables.routes, interfaces, this.#added);
        const complaints = passedOver(tables, interfaces, this.#added);
        const text = JSON.stringify(layout);
        if (text !== told) {
          told = text;
          health.observations++;
          emit({ kind: "network", time: clock.now(), ...layout });
          lan.set(layout.lanInterfaces, layout);
          log.info(`LAN: ${layout.lanInterfaces.join(", ") || "none found"}; ${layout.lanPrefixes.join(", ")}`);
        }
        if (layout.lanInterfaces.length === 0) complaints.push("no LAN interface was found");
        if (!live) complaints.push(unusable ?? "", "changes are seen late");
        health.running(live ? "helper" : "procfs", complaints.join("; "));
      } catch (error) {
        failed = true;
        health.failed((error as Error).message);
      }
      await this.#wakeup.wait(live && !failed ? RECHECK_MS : POLL_MS, signal);
      await new Wakeup().wait(SETTLE_MS, signal);
    }
    forget?.();
    health.status = "Disabled";
  }
}

async function readKernel(helper: NetfilterHelper): Promise<SystemTables> {
  const tables: SystemTables = { links: [], addresses: [], routes: [] };
  const collect = (bytes: Uint8Array, start: number, end: number) =>
    decodeRoutes(bytes, start, end, {
      link: (link) => tables.links.push(link),
      address: (address) => tables.addresses.push(address),
      route: (route) => tables.routes.push(route),
    });
  for (const type of [RouteType.GetLink, RouteType.GetAddress, RouteType.GetRoute])
    await helper.dumpRoute(type, 0, collect);
  return tables;
}
