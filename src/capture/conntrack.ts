/**
 * Source of flows: the kernel's connection tracking. Three ways to read it, best first; each that is not the best is
 * shown as Degraded with what it costs. Counters stand only in dumps and in the end of a flow, so the table is dumped
 * every `counterIntervalMs`, less often when it is large.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import type { FlowColumns, Observation, Source } from "../spin/observation.ts";
import type { ConntrackBackend, ConntrackFeed } from "./conntrack-feed.ts";
import { helperBackend } from "./conntrack-helper.ts";
import { SourceHealth } from "./source-health.ts";

export interface ConntrackOptions {
  /** Absent: there is none. */
  readonly helper?: NetfilterHelper | undefined;
  /** How old a counter may be; changed at run time through `counterIntervalMs`. */
  readonly counterIntervalMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Use this way alone, for tests and for doctor. */
  readonly only?: "helper" | "conntrack-tools" | "procfs";
  /** What stands before spawned programs: `["ip", "netns", "exec", "home"]`. */
  readonly prefix?: readonly string[];
  /** Default `/proc/net/nf_conntrack`. */
  readonly procFile?: string;
  /** Of the helper's socket; the kernel doubles it. Default 8 MiB. */
  readonly receiveBufferBytes?: number;
}

const RETRY_MS = 10_000;

export class ConntrackSource implements Source {
  readonly name = "conntrack";
  readonly health = new SourceHealth();
  readonly #options: ConntrackOptions;
  readonly #wakeup = new Wakeup();
  #intervalMs: number;

  constructor(options: ConntrackOptions) {
    this.#options = options;
    this.#intervalMs = options.counterIntervalMs;
  }

  get counterIntervalMs(): number {
    return this.#intervalMs;
  }

  /** Takes effect at once. */
  set counterIntervalMs(ms: number) {
    this.#intervalMs = ms;
    this.#wakeup.wake();
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    const { log, only } = this.#options;
    const ways = this.#ways().filter(({ name }) => only === undefined || name === only);
    const feed = this.#feed(emit);
    this.health.status = "Starting";
    while (!signal.aborted) {
      let why = "";
      for (const { open } of ways) {
        const way = await open();
        const cost = [why, way.cost].filter(Boolean).join("; ");
        const began = performance.now();
        this.health.backend = way.name;
        this.health.lastError = cost;
        const reason = await way.run(signal, feed);
        if (signal.aborted) break;
        log.warn(`conntrack by ${way.name}: ${reason}`);
        why = [why, `${way.name}: ${reason}`].filter(Boolean).join("; ");
        // One that worked and then failed is tried again before the next best.
        if (performance.now() - began > RETRY_MS) break;
      }
      if (signal.aborted) break;
      this.health.failed(why);
      await new Wakeup().wait(RETRY_MS, signal);
    }
    this.health.status = "Disabled";
  }

  /** Best first; each by its backend's name. */
  #ways(): { readonly name: string; readonly open: () => Promise<ConntrackBackend> }[] {
    const { helper, procFile = "/proc/net/nf_conntrack", receiveBufferBytes = 8 << 20 } = this.#options;
    return [
      { name: "helper", open: () => Promise.resolve(helperBackend(helper, receiveBufferBytes)) },
      { name: "conntrack-tools", open: async () => (await import("./without-helper.ts")).toolsBackend() },
      { name: "procfs", open: async () => (await import("./without-helper.ts")).procfsBackend(procFile) },
    ];
  }

  #feed(emit: (observation: Observation) => void): ConntrackFeed {
    const { clock, prefix = [] } = this.#options;
    const { health } = this;
    const flows: { kind: "flows"; columns: FlowColumns } = { kind: "flows", columns: undefined as never };
    const interval = () => this.#intervalMs;
    return {
      get counterIntervalMs() {
        return interval();
      },
      clock,
      health,
      prefix,
      wakeup: this.#wakeup,
      flows: (columns) => {
        health.observations += columns.length;
        flows.columns = columns;
        emit(flows);
      },
      lost: (count) => {
        health.lost += count;
        emit({ kind: "loss", time: clock.now(), lost: count });
      },
      dumped: (startedAt) => emit({ kind: "dumped", startedAt, time: clock.now() }),
    };
  }
}
