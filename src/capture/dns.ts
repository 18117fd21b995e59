/**
 * Source of DNS: what home devices ask and what they are told, as the ruleset logs it (src/enforce/spin.nft: NFLOG
 * group 5, questions before and answers after translation, so both carry the device's own address). The frame's sender
 * is the device in a question only; of an answer the kernel knows no receiver's hardware address here.
 */
import { printAddress } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { u16be } from "../netlink/messages.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { decodeDns } from "./decode/dns.ts";
import { Fragment, IpProtocol, PacketKind, PacketView, TcpFlag } from "./decode/packet.ts";
import { DnsStreams } from "./dns-streams.ts";
import { eachPacket, readPacketLog } from "./packet-log.ts";
import { LinkType } from "./pcap-format.ts";
import { SourceHealth } from "./source-health.ts";

/** The NFLOG group of src/enforce/spin.nft. */
export const DNS_GROUP = 5;

export interface DnsOptions {
  readonly helper?: NetfilterHelper | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Default DNS_GROUP. */
  readonly group?: number;
}

/** Blocks by name hang on each. */
const KERNEL_QUEUE = 1;
const DNS_PORT = 53;

export class DnsSource implements Source {
  readonly name = "dns";
  readonly health = new SourceHealth();
  readonly #options: DnsOptions;
  readonly #view = new PacketView();
  readonly #streams = new DnsStreams();
  #emit: (observation: Observation) => void = () => undefined;

  constructor(options: DnsOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    const { helper, group = DNS_GROUP, log } = this.#options;
    this.#emit = emit;
    const missing = "DNS names go unseen";
    await readPacketLog(
      { helper, log, health: this.health, group, kernelQueue: KERNEL_QUEUE, missing },
      signal,
      (bytes, start, end) => this.read(bytes, start, end),
    );
  }

  /** Takes NFLOG's netlink messages in [start, end). */
  read(bytes: Buffer, start: number, end: number): void {
    const time = this.#options.clock.now();
    eachPacket(bytes, start, end, (_, payload, payloadEnd, mac) => this.#packet(bytes, payload, payloadEnd, mac, time));
  }

  #packet(bytes: Buffer, start: number, end: number, mac: number | undefined, time: number): void {
    const view = this.#view;
    view.parse(bytes, start, end - start, end - start, LinkType.Raw, 0);
    const isIp = view.kind === PacketKind.IPv4 || view.kind === PacketKind.IPv6;
    if (!isIp || view.transport < 0 || view.fragment !== Fragment.None) {
      this.health.decodeErrors++;
      return;
    }
    if (view.sourcePort !== DNS_PORT && view.destinationPort !== DNS_PORT) return;
    if (view.protocol === IpProtocol.Udp) this.#message(bytes.subarray(view.transport + 8, view.networkEnd), mac, time);
    else if (view.protocol === IpProtocol.Tcp) this.#segment(bytes, mac, time);
  }

  #segment(bytes: Buffer, mac: number | undefined, time: number): void {
    const view = this.#view;
    if (view.transport + 20 > view.networkEnd) return;
    const start = view.transport + ((bytes[view.transport + 12] as number) >>> 4) * 4;
    const isFirst = (view.tcpFlags & TcpFlag.Syn) !== 0;
    if (start > view.networkEnd || (start === view.networkEnd && !isFirst)) return;
    const { addresses, sourcePort, destinationPort } = view;
    const before = this.#streams.dropped;
    const segment = {
      stream: `${addresses.join()},${sourcePort},${destinationPort}`,
      sequence: bytes.readUInt32BE(view.transport + 4),
      isFirst,
      isLast: (view.tcpFlags & (TcpFlag.Fin | TcpFlag.Rst)) !== 0,
      data: bytes.subarray(start, view.networkEnd),
      isCut: ipLength(bytes, view.network) > view.networkEnd - view.network,
      time,
    };
    this.#streams.push(segment, (message) => this.#message(message, mac, time));
    this.health.decodeErrors += this.#streams.dropped - before;
  }

  #message(bytes: Uint8Array, mac: number | undefined, time: number): void {
    const view = this.#view;
    const message = decodeDns(bytes);
    if (!message || message.response !== (view.sourcePort === DNS_PORT)) {
      this.health.decodeErrors++;
      return;
    }
    this.health.observations++;
    if (message.response) {
      const { names, type, rcode, addresses } = message;
      const client = printAddress(view.addresses, 4);
      this.#emit({ kind: "answer", time, client, names, type, rcode, addresses });
      return;
    }
    const client = printAddress(view.addresses, 0);
    const { name, type } = message;
    this.#emit({ kind: "query", time, client, ...(mac === undefined ? {} : { mac }), name, type });
  }
}

/** What the IP header says: more than was logged, if the snap length cut the packet. */
function ipLength(bytes: Uint8Array, at: number): number {
  const isIPv4 = (bytes[at] as number) >>> 4 === 4;
  return isIPv4 ? u16be(bytes, at + 2) : 40 + u16be(bytes, at + 4);
}
