/** Between the neighbours source and its ways of reading. */
import type { Wakeup } from "../lib/wakeup.ts";
import type { Lan } from "./lan.ts";
import type { SourceHealth } from "./source-health.ts";

export type NeighbourChange = "reachable" | "stale" | "gone" | "frame";

/** What a way of reading needs from the source, and tells it. */
export interface NeighbourFeed {
  readonly lan: Lan;
  readonly health: SourceHealth;
  /** Read the tables anew now: the LAN changed. */
  readonly wakeup: Wakeup;
  readonly prefix: readonly string[];
  /** `mac` may be unknown when an address is gone. */
  tell(interfaceName: string, state: NeighbourChange, mac: number | undefined, address: string | undefined): void;
}

export interface NeighbourBackend {
  readonly name: "helper" | "ip" | "procfs";
  readonly cost: string;
  /** Runs until the signal (resolves empty) or until it cannot go on (resolves to why, in words). */
  run(signal: AbortSignal, feed: NeighbourFeed): Promise<string>;
}
