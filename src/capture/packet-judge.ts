/**
 * HOOK: a replay obeys rules as the kernel would. The judge is asked once a flow and generation; its verdict is kept
 * with the flow and met by each packet.
 */
import { macFromBytes } from "../lib/address.ts";
import type { PacketView } from "./decode/packet.ts";
import { IpProtocol } from "./decode/packet.ts";
import type { HostTable } from "./packet-hosts.ts";
import type { PacketTable } from "./packet-table.ts";
import { WORDS, Word } from "./packet-table.ts";
import type { HomeNetwork } from "./pcap-home.ts";

/** The flow of a packet as a rule sees it. One object is reused: read it, don't keep it. */
export interface JudgedFlow {
  /** Hardware address of the home device; -1 while no frame has shown it. */
  mac: number;
  /** Four words each (src/lib/address.ts). The peer may be the gateway, a group, or another home device. */
  readonly deviceAddress: Uint32Array;
  readonly peerAddress: Uint32Array;
  /** The peer is a device of this home too: such frames do not pass a routing gateway. */
  isLocal: boolean;
  /** IANA number. */
  protocol: number;
  /** 0 where the protocol has none. */
  devicePort: number;
  peerPort: number;
  initiator: "Device" | "Peer";
  /** Milliseconds since 1970 of the packet that raised the question. */
  time: number;
}

export interface Judge {
  /** Changes when a verdict may have changed (rules, addresses, names): flows are then judged again. Any 32-bit integer but -1. */
  readonly generation: number;
  /**
   * 0: the flow's packets pass and nobody is told. Otherwise a handle of the judge's choice, for what it counts apart
   * (rule and device): positive, they pass; negative, they are dropped. 32 bits. Each packet is then told to `hit`.
   */
  judge(flow: JudgedFlow): number;
  /** One IP packet of `bytes` met the verdict. Called per packet: must not allocate. */
  hit(verdict: number, bytes: number): void;
}

/** Asks the judge, and keeps its verdicts in the flows' records. */
export class FlowJudge {
  readonly #judge: Judge;
  readonly #table: PacketTable;
  readonly #home: HomeNetwork;
  readonly #hosts: HostTable;
  readonly #flow: JudgedFlow = {
    mac: -1,
    deviceAddress: new Uint32Array(4),
    peerAddress: new Uint32Array(4),
    isLocal: false,
    protocol: 0,
    devicePort: 0,
    peerPort: 0,
    initiator: "Device",
    time: 0,
  };

  constructor(judge: Judge, table: PacketTable, home: HomeNetwork, hosts: HostTable) {
    this.#judge = judge;
    this.#table = table;
    this.#home = home;
    this.#hosts = hosts;
  }

  /** Whether the packet of the flow in `slot` is dropped; tells the judge. */
  drops(slot: number, reversed: boolean, view: PacketView, time: number): boolean {
    const { words } = this.#table;
    const at = slot * WORDS;
    const { generation } = this.#judge;
    if (words[at + Word.VerdictGeneration] !== generation) {
      words[at + Word.Verdict] = this.#ask(at, reversed, view, time);
      words[at + Word.VerdictGeneration] = generation;
    }
    const verdict = words[at + Word.Verdict] as number;
    if (verdict === 0) return false;
    this.#judge.hit(verdict, view.length);
    return verdict < 0;
  }

  #ask(at: number, reversed: boolean, view: PacketView, time: number): number {
    const { words } = this.#table;
    const isSourceHome = this.#isDevice(at + Word.Source);
    const isDestinationHome = this.#isDevice(at + Word.Destination);
    // Of a flow through the gateway that is nobody's, the kernel's rules see no device either.
    if (!isSourceHome && !isDestinationHome) return 0;
    const flow = this.#flow;
    const device = at + (isSourceHome ? Word.Source : Word.Destination);
    const peer = at + (isSourceHome ? Word.Destination : Word.Source);
    for (let i = 0; i < 4; i++) {
      flow.deviceAddress[i] = words[device + i] as number;
      flow.peerAddress[i] = words[peer + i] as number;
    }
    const ports = words[at + Word.Ports] as number;
    flow.protocol = (words[at + Word.Key] as number) & 0xff;
    const hasPorts = flow.protocol !== IpProtocol.Icmp && flow.protocol !== IpProtocol.Icmpv6;
    flow.devicePort = hasPorts ? (isSourceHome ? ports >>> 16 : ports & 0xffff) : 0;
    flow.peerPort = hasPorts ? (isSourceHome ? ports & 0xffff : ports >>> 16) : 0;
    flow.isLocal = isSourceHome && isDestinationHome;
    flow.initiator = isSourceHome ? "Device" : "Peer";
    flow.mac = this.#deviceMac(device, isSourceHome !== reversed, view);
    flow.time = time;
    return this.#judge.judge(flow) | 0;
  }

  #isDevice(at: number): boolean {
    const { words } = this.#table;
    return this.#home.isLan(words, at) && !this.#home.isGatewayAddress(words, at);
  }

  /** From the frame itself where it shows the device, else by the address. */
  #deviceMac(device: number, isSender: boolean, view: PacketView): number {
    const macAt = isSender ? view.sourceMac : view.destinationMac;
    if (macAt >= 0) {
      const mac = macFromBytes(view.bytes, macAt);
      if (mac !== 0 && !this.#home.isGateway(mac)) return mac;
    }
    return this.#hosts.macOf(this.#table.words, device);
  }
}
