/**
 * Source of servers' names: the first packets with a payload of flows that devices open, as the ruleset logs them
 * (src/enforce/spin.nft: NFLOG group 6, after our drops and before translation, so they carry the device's own address).
 * The kernel lets no device have more than its share; what it leaves out can't be counted here.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { Fragment, PacketView } from "./decode/packet.ts";
import { eachPacket, readPacketLog } from "./packet-log.ts";
import { LinkType } from "./pcap-format.ts";
import { ServerNames } from "./server-names.ts";
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
  readonly #view = new PacketView();
  readonly #names = new ServerNames((name) => {
    this.health.observations++;
    this.#emit({ kind: "server-name", time: this.#options.clock.now(), ...name });
  });
  #emit: (observation: Observation) => void = () => undefined;

  constructor(options: FirstPacketsOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    const { helper, group = FIRST_PACKETS_GROUP, log, clock } = this.#options;
    const { health } = this;
    this.#emit = emit;
    const timer = setInterval(() => {
      this.#names.sweep(clock.now());
      this.#count();
    }, SWEEP_MS);
    const missing = "names of servers in TLS and QUIC go unseen";
    try {
      await readPacketLog(
        { helper, log, health, group, kernelQueue: KERNEL_QUEUE, missing },
        signal,
        (bytes, start, end) => this.read(bytes, start, end),
      );
    } finally {
      clearInterval(timer);
    }
  }

  /** Takes NFLOG's netlink messages in [start, end). */
  read(bytes: Buffer, start: number, end: number): void {
    const time = this.#options.clock.now();
    eachPacket(bytes, start, end, (_, payload, payloadEnd, mac) => {
      const view = this.#view;
      view.parse(bytes, payload, payloadEnd - payload, payloadEnd - payload, LinkType.Raw, 0);
      if (view.fragment === Fragment.None) this.#names.packet(view, mac, time);
    });
    this.#count();
  }

  #count(): void {
    this.health.decodeErrors = this.#names.decodeErrors;
    this.health.passedOver = this.#names.passedOver;
  }
}
