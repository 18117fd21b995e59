/** A small home for tests: a gateway, a LAN in both families, and a way to say what conntrack would. */
import { parseAddress, parseMac } from "../../src/lib/address.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { FlowEvent, flowColumns } from "../../src/spin/observation.ts";
import type { FlowColumns, Observation } from "../../src/spin/observation.ts";
import { Spin } from "../../src/spin/spin.ts";
import type { SpinOptions } from "../../src/spin/spin.ts";

export const WAN = "203.0.113.2";
export const START = Date.UTC(2026, 0, 1);

export function mac(index: number): number {
  return (parseMac("02:00:00:00:00:00") as number) + index;
}

export interface FlowText {
  readonly event?: keyof typeof FlowEvent;
  readonly id?: number;
  readonly protocol?: number;
  readonly flags?: number;
  readonly from: string;
  readonly to: string;
  readonly sourcePort?: number;
  readonly port?: number;
  /** Whom the reply comes from and goes to; default: the mirror, masqueraded for IPv4 that leaves the LAN. */
  readonly replyFrom?: string;
  readonly replyTo?: string;
  /** Packets, bytes, reply packets, reply bytes: cumulative. */
  readonly counters?: readonly [number, number, number, number];
  readonly time?: number;
}

export function columnsOf(flows: readonly FlowText[], now: number): FlowColumns {
  const columns = flowColumns(Math.max(1, flows.length));
  columns.length = flows.length;
  for (const [i, flow] of flows.entries()) {
    columns.event[i] = FlowEvent[flow.event ?? "Counters"];
    columns.id[i] = flow.id ?? 1;
    columns.protocol[i] = flow.protocol ?? 6;
    columns.flags[i] = flow.flags ?? 0;
    const masqueraded = flow.from.startsWith("192.0.2.") && !flow.to.startsWith("192.0.2.");
    const texts = [flow.from, flow.to, flow.replyFrom ?? flow.to, flow.replyTo ?? (masqueraded ? WAN : flow.from)];
    for (const [k, text] of texts.entries()) columns.addresses.set(parseAddress(text) as Uint32Array, i * 16 + k * 4);
    columns.sourcePort[i] = flow.sourcePort ?? 40000;
    columns.destinationPort[i] = flow.port ?? 443;
    columns.replySourcePort[i] = flow.port ?? 443;
    columns.replyDestinationPort[i] = flow.sourcePort ?? 40000;
    const [packets, bytes, replyPackets, replyBytes] = flow.counters ?? [0, 0, 0, 0];
    columns.packets[i] = packets;
    columns.bytes[i] = bytes;
    columns.replyPackets[i] = replyPackets;
    columns.replyBytes[i] = replyBytes;
    columns.time[i] = flow.time ?? now;
  }
  return columns;
}

export class TestHome {
  readonly clock: ManualClock;
  readonly spin: Spin;

  constructor(options: Partial<SpinOptions> & { clock?: ManualClock } = {}) {
    this.clock = options.clock ?? new ManualClock(START);
    this.spin = new Spin({ log: silentLog, ...options, clock: this.clock });
  }

  /** 192.0.2.0/24 and 2001:db8:1::/64 on br-lan, the gateway at .1. */
  network(): this {
    this.tell({
      kind: "network",
      time: this.clock.now(),
      lanInterfaces: ["br-lan"],
      lanPrefixes: ["192.0.2.0/24", "2001:db8:1::/64"],
      gatewayAddresses: ["192.0.2.1", "2001:db8:1::1", WAN],
      gatewayMacs: [mac(0xffff)],
    });
    return this;
  }

  neighbour(index: number, address: string, state: "reachable" | "stale" | "gone" | "frame" = "reachable"): this {
    this.tell({ kind: "neighbour", time: this.clock.now(), mac: mac(index), address, interface: "br-lan", state });
    return this;
  }

  lease(index: number, address: string, hostName?: string, expires?: number, ended = false): this {
    this.tell({
      kind: "lease",
      time: this.clock.now(),
      mac: mac(index),
      address,
      ...(hostName !== undefined && { hostName }),
      ...(expires !== undefined && { expires }),
      ended,
    });
    return this;
  }

  answer(client: string, names: readonly string[], addresses: readonly string[], ttl = 300): this {
    this.tell({
      kind: "answer",
      time: this.clock.now(),
      client,
      names,
      type: "A",
      rcode: 0,
      addresses: addresses.map((address) => ({ address, ttl })),
    });
    return this;
  }

  flows(...flows: FlowText[]): this {
    this.tell({ kind: "flows", columns: columnsOf(flows, this.clock.now()) });
    return this;
  }

  dumped(startedAt = this.clock.now()): this {
    this.tell({ kind: "dumped", startedAt, time: this.clock.now() });
    return this;
  }

  after(ms: number): this {
    this.clock.advance(ms);
    return this;
  }

  tell(observation: Observation): void {
    this.spin.observe(observation);
  }

  device(index: number) {
    const device = this.spin.deviceByMac(mac(index));
    if (!device) throw new Error(`no device ${index}`);
    return device;
  }

  /** BytesSent, BytesReceived, PacketsSent, PacketsReceived. */
  traffic(index: number): [number, number, number, number] {
    const { stats } = this.device(index);
    return [stats.bytesSent, stats.bytesReceived, stats.packetsSent, stats.packetsReceived];
  }
}
