/** The first packets of flows, as NFLOG tells them → names of servers. A file of its own, which the gateway loads when it logs them. */
import type { Clock } from "../lib/clock.ts";
import { Fragment, PacketView } from "./decode/packet.ts";
import { eachPacket } from "./packet-log.ts";
import { LinkType } from "./pcap-format.ts";
import { ServerNames, type ServerName } from "./server-names.ts";

export class FirstPacketReader {
  readonly #clock: Clock;
  readonly #names: ServerNames;
  readonly #view = new PacketView();

  constructor(clock: Clock, tell: (name: ServerName) => void) {
    this.#clock = clock;
    this.#names = new ServerNames(tell);
  }

  /** Takes NFLOG's netlink messages in [start, end). */
  read(bytes: Buffer, start: number, end: number): void {
    const time = this.#clock.now();
    eachPacket(bytes, start, end, (_, payload, payloadEnd, mac) => {
      const view = this.#view;
      view.parse(bytes, payload, payloadEnd - payload, payloadEnd - payload, LinkType.Raw, 0);
      if (view.fragment === Fragment.None) this.#names.packet(view, mac, time);
    });
  }

  sweep(): void {
    this.#names.sweep(this.#clock.now());
  }

  get decodeErrors(): number {
    return this.#names.decodeErrors;
  }
  get passedOver(): number {
    return this.#names.passedOver;
  }
}
