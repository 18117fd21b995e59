/**
 * Source of servers' names: the first packets with a payload of flows that devices open, as the ruleset logs them
 * (src/enforce/spin.nft: NFLOG group 6, after our drops and before translation, so they carry the device's own address).
 * The kernel lets no device have more than its share; what it leaves out can't be counted here.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { readPacketLog } from "./packet-log.ts";
import { SourceHealth } from "./source-health.ts";

/** The NFLOG group of src/enforce/spin.nft. */
export const FIRST_PACKETS_GROUP = 6;

export interface FirstPacketsOptions {
  readonly helper?: NetfilterHelper | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Default FIRST_PACKETS_GROUP. */
  readonly group?: number;
}

/** A page load opens dozens of connections at once. */
const KERNEL_QUEUE = 16;
const SWEEP_MS = 1000;

export class FirstPacketsSource implements Source {
  readonly name = "first-packets";
  readonly health = new SourceHealth();
  readonly #options: FirstPacketsOptions;
  constructor(options: FirstPacketsOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    const { helper, group = FIRST_PACKETS_GROUP, log, clock } = this.#options;
    const { health } = this;
    // Read when it is needed: opening QUIC is nothing for a gateway whose kernel can't log.
    const { FirstPacketReader } = await import("./first-packet-reader.ts");
    const reader = new FirstPacketReader(clock, (name) => {
      health.observations++;
      emit({ kind: "server-name", time: clock.now(), ...name });
    });
    const count = () => {
      health.decodeErrors = reader.decodeErrors;
      health.passedOver = reader.passedOver;
    };
    const timer = setInterval(() => {
      reader.sweep();
      count();
    }, SWEEP_MS);
    const missing = "names of servers in TLS and QUIC go unseen";
    try {
      await readPacketLog(
        { helper, log, health, group, kernelQueue: KERNEL_QUEUE, missing },
        signal,
        (bytes, start, end) => {
          reader.read(bytes, start, end);
          count();
        },
      );
    } finally {
      clearInterval(timer);
    }
  }
}
