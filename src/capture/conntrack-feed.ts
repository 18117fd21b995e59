/** Between the conntrack source and its ways of reading. */
import type { Clock } from "../lib/clock.ts";
import type { Wakeup } from "../lib/wakeup.ts";
import type { FlowColumns } from "../spin/observation.ts";
import type { SourceHealth } from "./source-health.ts";

/** What a way of reading needs from the source, and tells it. */
export interface ConntrackFeed {
  readonly clock: Clock;
  readonly health: SourceHealth;
  readonly prefix: readonly string[];
  readonly wakeup: Wakeup;
  readonly counterIntervalMs: number;
  flows(columns: FlowColumns): void;
  lost(count: number): void;
  dumped(startedAt: number): void;
}

export interface ConntrackBackend {
  readonly name: "helper" | "conntrack-tools" | "procfs";
  /** What is lost by using this one, in words; empty for the best. */
  readonly cost: string;
  /** Runs until the signal (resolves empty) or until it cannot go on (resolves to why, in words). */
  run(signal: AbortSignal, feed: ConntrackFeed): Promise<string>;
}

/** At most this share of a core goes into dumps. */
const DUMP_SHARE = 0.015;

/** ms until the next dump of a table with so many entries, where reading one takes `msPerEntry` of a core. */
export function dumpPause(wantedMs: number, entries: number, msPerEntry: number): number {
  return Math.max(wantedMs, (entries * msPerEntry) / DUMP_SHARE);
}
