/**
 * A home on a fast clock: what conntrack, the resolver, ARP and DHCP would tell of devices that do as they are scripted,
 * fed through `Spin.observe`, second by second. The line to the Internet can go, the clock can jump and the router can
 * start again. Everything comes from one seed, so a run that raises an alarm raises it again.
 */
import { parseAddress, parseMac } from "../../../src/lib/address.ts";
import type { Clock } from "../../../src/lib/clock.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { memoryStore } from "../../../src/lib/store.ts";
import type { Incident } from "../../../src/spin/detect/incidents.ts";
import { type FlowColumns, FlowEvent, FlowFlag, flowColumns, type Observation } from "../../../src/spin/observation.ts";
import { Spin } from "../../../src/spin/spin.ts";
import { JobQueue } from "./job-queue.ts";
import { Random } from "./random.ts";

export const SECOND = 1000;
export const MINUTE = 60_000;
export const HOUR = 3_600_000;
export const DAY = 86_400_000;

const LAN = "192.0.2.0/24";
const LAN6 = "2001:db8:1::/64";
const GATEWAY = "192.0.2.1";
const WAN = parseAddress("203.0.113.2") as Uint32Array;
const COUNTERS_EVERY = 5;
const ROOM = 4096;
/** Conntrack's: a SYN without an answer, a datagram without one, a closed connection, a datagram stream. */
const TIMEOUT = { syn: 120 * SECOND, alone: 30 * SECOND, closed: 10 * SECOND, stream: 120 * SECOND } as const;
/** When a device sends the first packet of a connection again. */
const RETRIES_S = [1, 3, 7, 15, 31];
/** How long calls and games knock at somebody who does not answer although they should, and how often. */
const PATIENCE_MS = 12_000;
const TRYING_PER_SECOND = 10;

export const TCP = 6;
export const UDP = 17;
export const ICMP = 1;

export interface Device {
  readonly mac: number;
  readonly name: string;
  ipv4: string;
  ipv6: string;
}

export interface FlowPlan {
  readonly to: string;
  readonly port: number;
  readonly protocol?: number;
  /** Bytes a second and packet sizes; packets follow. */
  readonly up?: number;
  readonly down?: number;
  readonly upSize?: number;
  readonly seconds?: number;
  /** `refused`: a TCP peer says no. `silent`: nobody is there. Default: an answer while the line is up. */
  readonly peer?: "answers" | "refused" | "silent";
  /** The address that the device uses; default its IPv4 or IPv6 address, as the peer's. */
  readonly from?: string;
}

interface LiveFlow {
  readonly id: number;
  readonly protocol: number;
  readonly words: Uint32Array;
  readonly sourcePort: number;
  readonly port: number;
  readonly upRate: number;
  readonly downRate: number;
  readonly upSize: number;
  readonly began: number;
  readonly until: number;
  readonly peer: "answers" | "refused" | "silent";
  packets: number;
  bytes: number;
  replyPackets: number;
  replyBytes: number;
  countedAt: number;
}

/** Wall and monotonic time apart: the wall may be set. */
export class SimulatedClock implements Clock {
  #monotonic = 0;
  #wall: number;
  constructor(wall: number) {
    this.#wall = wall;
  }
  now(): number {
    return this.#wall;
  }
  monotonic(): number {
    return this.#monotonic;
  }
  advance(ms: number): void {
    this.#wall += ms;
    this.#monotonic += ms;
  }
  /** As NTP or a hand does; the monotonic clock goes on. */
  setWall(ms: number): void {
    this.#wall = ms;
  }
}

export interface SimulatedHomeOptions {
  readonly start: number;
  readonly seed?: number;
}

export class SimulatedHome {
  readonly random: Random;
  readonly clock: SimulatedClock;
  spin: Spin;
  /** The line to the Internet carries packets; the resolver resolves. */
  isOnline = true;
  hasNames = true;
  /** How many flows and questions there were. */
  readonly counts = { flows: 0, questions: 0, seconds: 0 };
  /** Of all lives of the router, also those that the ring has let go. */
  readonly #incidents = new Map<number, Incident>();
  readonly #alarmedAt = new Map<number, number>();
  readonly #store = memoryStore();
  readonly #jobs = new JobQueue();
  readonly #devices: Device[] = [];
  readonly #live = new Map<number, LiveFlow>();
  readonly #words = new Map<string, Uint32Array>();
  readonly #columns: FlowColumns = flowColumns(ROOM);
  #nextId = 1;
  /** Seconds since the start, whatever the wall says. */
  #second = 0;

  constructor({ start, seed = 1 }: SimulatedHomeOptions) {
    this.random = new Random(seed);
    this.clock = new SimulatedClock(start);
    this.spin = this.#boot();
  }

  /** Milliseconds since the start. */
  get elapsed(): number {
    return this.#second * SECOND;
  }

  device(index: number, name: string): Device {
    const device: Device = {
      mac: (parseMac("02:00:00:00:00:00") as number) + index,
      name,
      ipv4: `192.0.2.${index + 9}`,
      ipv6: `2001:db8:1::${(index + 9).toString(16)}`,
    };
    this.#devices.push(device);
    this.lease(device);
    return device;
  }

  lease(device: Device, hours = 12): void {
    const time = this.clock.now();
    const { mac, ipv4: address, name: hostName } = device;
    this.#tell({ kind: "lease", time, mac, address, hostName, expires: time + hours * HOUR });
    this.shown(device, address);
    this.shown(device, device.ipv6);
  }

  /** The kernel confirmed the neighbour. */
  shown(device: Device, address: string): void {
    this.#tell({
      kind: "neighbour",
      time: this.clock.now(),
      mac: device.mac,
      address,
      interface: "br-lan",
      state: "reachable",
    });
  }

  arp(device: Device, target: string): void {
    this.#tell({ kind: "who-has", time: this.clock.now(), mac: device.mac, target });
  }

  /** A question of the device's, and its answer if names resolve. */
  ask(device: Device, name: string, addresses: readonly string[] = [], type = "A"): void {
    const time = this.clock.now();
    const { ipv4: client, mac } = device;
    this.counts.questions++;
    this.#tell({ kind: "query", time, client, mac, name, type });
    if (!this.isOnline || !this.hasNames) return;
    const records = addresses.map((address) => ({ address, ttl: 300 }));
    this.#tell({ kind: "answer", time, client, mac, names: [name], type, rcode: 0, addresses: records });
  }

  /** Begins a flow now. */
  flow(device: Device, plan: FlowPlan): void {
    const { to, port, protocol = TCP, up = 0, down = 0, upSize = 120, seconds = 0, peer = "answers" } = plan;
    const now = this.clock.monotonic();
    const reached = peer !== "silent" && this.isOnline;
    const isSix = to.includes(":");
    const words = new Uint32Array(16);
    const source = this.#parse(plan.from ?? (isSix ? device.ipv6 : device.ipv4));
    const target = this.#parse(to);
    words.set(source, 0);
    words.set(target, 4);
    words.set(target, 8);
    words.set(isSix ? source : WAN, 12);
    const linger = !reached
      ? protocol === TCP
        ? TIMEOUT.syn
        : TIMEOUT.alone
      : protocol === TCP
        ? TIMEOUT.closed
        : seconds > 2
          ? TIMEOUT.stream
          : TIMEOUT.alone;
    const flow: LiveFlow = {
      id: this.#nextId++,
      protocol,
      words,
      sourcePort: 32_768 + (this.#nextId % 28_000),
      port,
      upRate: up,
      downRate: down,
      upSize,
      began: now,
      until: now + seconds * SECOND + linger,
      peer,
      packets: 0,
      bytes: 0,
      replyPackets: 0,
      replyBytes: 0,
      countedAt: now,
    };
    this.counts.flows++;
    this.#emit(flow, FlowEvent.New);
    // The first packets: a handshake, a refusal, a question and its answer, or nothing in return.
    const size = protocol === TCP ? 60 : upSize;
    flow.packets = reached && protocol === TCP && peer === "answers" ? 3 : 1;
    flow.bytes = flow.packets * size;
    if (reached) {
      flow.replyPackets = peer === "refused" ? 1 : protocol === TCP ? 2 : 1;
      flow.replyBytes = peer === "refused" ? (isSix ? 60 : 40) : flow.replyPackets * 120;
    }
    this.#live.set(flow.id, flow);
  }

  /** `ms` from now, whatever becomes of the wall's time. */
  after(ms: number, work: () => void): void {
    this.#jobs.add(this.elapsed + Math.max(0, ms), work);
  }

  /** Again and again, the first time after a random part of the period. */
  every(ms: number, work: () => void, jitter = 0.1): void {
    const again = () => {
      work();
      this.after(ms * (1 + jitter * (this.random.unit() - 0.5)), again);
    };
    this.after(ms * this.random.unit(), again);
  }

  run(ms: number): void {
    for (const end = this.#second + Math.round(ms / SECOND); this.#second < end;) this.#step();
  }

  /** The router starts again: what was not saved is gone; flows of before show up with their counters. */
  async reboot(): Promise<void> {
    await this.spin.save();
    this.spin = this.#boot();
    for (const device of this.#devices) this.lease(device);
    this.#live.clear();
  }

  incidents(): Incident[] {
    return [...this.#incidents.values()];
  }

  /** When it was known to be more than Info, in milliseconds since the start; `undefined`: never. */
  alarmedAt(incident: Incident): number | undefined {
    return this.#alarmedAt.get(incident.number);
  }

  deviceOf(incident: Incident): string {
    return this.#devices.find(({ mac }) => mac === incident.mac)?.name ?? String(incident.mac);
  }

  #boot(): Spin {
    const spin = new Spin({ clock: this.clock, log: silentLog, store: this.#store });
    spin.subscribe((notice) => {
      if (notice.kind !== "incident") return;
      const { incident } = notice.notice;
      const { number, severity } = incident;
      this.#incidents.set(number, incident);
      if (severity !== "Info" && !this.#alarmedAt.has(number)) this.#alarmedAt.set(number, this.elapsed);
    });
    spin.observe({
      kind: "network",
      time: this.clock.now(),
      lanInterfaces: ["br-lan"],
      lanPrefixes: [LAN, LAN6],
      gatewayAddresses: [GATEWAY, "2001:db8:1::1", "203.0.113.2"],
      gatewayMacs: [(parseMac("02:00:00:00:00:00") as number) + 0xffff],
    });
    return spin;
  }

  #step(): void {
    this.#second++;
    this.counts.seconds++;
    this.clock.advance(SECOND);
    for (let job = this.#jobs.due(this.elapsed); job; job = this.#jobs.due(this.elapsed)) job();
    if (this.#second % COUNTERS_EVERY === 0) this.#count();
    this.#flush();
    this.spin.tick();
  }

  /** A reading of all counters, and the ends that came since the last one. */
  #count(): void {
    const now = this.clock.monotonic();
    for (const flow of this.#live.values()) {
      this.#move(flow, now);
      const isOver = now >= flow.until;
      if (flow.countedAt === now || isOver) this.#emit(flow, isOver ? FlowEvent.End : FlowEvent.Counters);
      if (isOver) this.#live.delete(flow.id);
    }
  }

  /** What the flow carried since it was last counted. */
  #move(flow: LiveFlow, now: number): void {
    const { upRate, downRate, upSize, peer, protocol } = flow;
    const from = flow.countedAt;
    const isFirst = flow.countedAt === flow.began;
    if (peer !== "answers" || flow.replyPackets === 0) {
      // Nobody answers: a SYN is sent again, QUIC's first packet a few times; calls and games give up after seconds.
      const since = (time: number) => (time - flow.began) / SECOND;
      const isRetried = protocol === TCP || flow.port === 443;
      const isTrying = peer !== "silent";
      const patience = isTrying ? flow.began + PATIENCE_MS : flow.until - TIMEOUT.alone;
      const packetRate = isTrying ? Math.min(upRate / upSize, TRYING_PER_SECOND) : upRate / upSize;
      const again = isRetried
        ? RETRIES_S.filter((at) => flow.replyPackets === 0 && at > since(from) && at <= since(now)).length
        : Math.round((Math.max(0, Math.min(now, patience, flow.until) - from) / SECOND) * packetRate);
      if (again > 0) {
        flow.packets += again;
        flow.bytes += again * (protocol === TCP ? 60 : upSize);
      }
      if (again > 0 || isFirst) flow.countedAt = now;
      return;
    }
    const linger = protocol === TCP ? TIMEOUT.closed : TIMEOUT.alone;
    const seconds = Math.max(0, Math.min(now, flow.until - linger) - from) / SECOND;
    if (seconds === 0 && !isFirst) return;
    // Without a line, TCP sends little and hears nothing.
    const up = this.isOnline || protocol !== TCP ? upRate * seconds : Math.min(upRate * seconds, 1500);
    flow.bytes += up;
    flow.packets += Math.ceil(up / upSize);
    if (this.isOnline) {
      flow.replyBytes += downRate * seconds;
      flow.replyPackets += Math.ceil((downRate * seconds) / 1200) + Math.ceil(up / upSize / 2);
    }
    flow.countedAt = now;
  }

  #emit(flow: LiveFlow, event: number): void {
    const columns = this.#columns;
    if (columns.length === ROOM) this.#flush();
    const i = columns.length++;
    const isAnswered = flow.replyPackets > 0;
    columns.event[i] = event;
    columns.id[i] = flow.id;
    columns.protocol[i] = flow.protocol;
    columns.flags[i] = isAnswered ? FlowFlag.Answered : 0;
    columns.addresses.set(flow.words, i * 16);
    columns.sourcePort[i] = columns.replyDestinationPort[i] = flow.sourcePort;
    columns.destinationPort[i] = columns.replySourcePort[i] = flow.port;
    columns.packets[i] = flow.packets;
    columns.bytes[i] = Math.round(flow.bytes);
    columns.replyPackets[i] = flow.replyPackets;
    columns.replyBytes[i] = Math.round(flow.replyBytes);
    columns.time[i] = this.clock.now();
  }

  /** Flows are told before what comes after them. */
  #tell(observation: Observation): void {
    this.#flush();
    this.spin.observe(observation);
  }

  #flush(): void {
    if (this.#columns.length === 0) return;
    this.spin.observe({ kind: "flows", columns: this.#columns });
    this.#columns.length = 0;
  }

  #parse(address: string): Uint32Array {
    const known = this.#words.get(address);
    if (known) return known;
    const words = parseAddress(address);
    if (!words) throw new Error(`no address: ${address}`);
    if (this.#words.size > 50_000) this.#words.clear();
    this.#words.set(address, words);
    return words;
  }
}
