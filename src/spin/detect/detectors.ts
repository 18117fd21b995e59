/**
 * All detectors over one home: what flows, questions and ARP show goes to each of them, at a constant cost for each fact.
 * They know slots; who the device is, and what follows, is incidents.ts's.
 */
import { isIPv4, printAddress } from "../../lib/address.ts";
import { Counter, type Counters } from "../counters.ts";
import { deviceBegan } from "../direction.ts";
import type { FlowRows } from "../flow-rows.ts";
import { ArpScan } from "./arp-scan.ts";
import { Attempts, isWithInternet, peerAt, type AttemptEnd } from "./attempts.ts";
import { baseDomain } from "./base-domain.ts";
import { DnsTunnel } from "./dns-tunnel.ts";
import { FanOut } from "./fan-out.ts";
import type { Report } from "./finding.ts";
import { Flood } from "./flood.ts";
import { hashAddress, hashText } from "./hash.ts";
import { ListedPeer } from "./listed-peer.ts";
import { NewDestination } from "./new-destination.ts";
import { RuleViolation } from "./rule-violation.ts";
import { TrafficPeak } from "./traffic-peak.ts";
import { WanGate } from "./wan-gate.ts";

export interface DetectorsOptions {
  readonly slots: number;
  readonly rows: FlowRows;
  readonly counters: Counters;
  /** A rule of ours stops the flow: its failure says nothing of the device. */
  readonly isStopped: (row: number) => boolean;
  /** For how long the device has been known, in milliseconds; -1: no device in the slot. */
  readonly knownMs: (slot: number) => number;
  readonly report: Report;
}

const TCP = 6;
/** An answer has so long; where counters are read by dumps, it shows in the next one that begins later than a second. */
const ANSWER_WAIT_MS = 6_000;
const ANSWERED_AFTER_MS = 1_000;
/** Addresses that share a prefix of this many bits are one destination where there is no name. */
const PREFIX = { v4: 24, v6: 48 } as const;

export class Detectors {
  readonly fanOut: FanOut;
  readonly arpScan: ArpScan;
  readonly flood: Flood;
  readonly dnsTunnel: DnsTunnel;
  readonly trafficPeak: TrafficPeak;
  readonly newDestination: NewDestination;
  readonly listedPeer: ListedPeer;
  readonly ruleViolation: RuleViolation;
  readonly #options: DetectorsOptions;
  readonly #attempts: Attempts;
  readonly #gate = new WanGate();
  /** Packets sent without an answer on their flow, and all, since the last sample of the peaks. */
  readonly #unanswered: Float64Array;
  readonly #sentBefore: Float64Array;
  /** When the last reading of all counters began, monotonic; Infinity: they are told as they change, without readings. */
  #readAt = Infinity;

  constructor(options: DetectorsOptions) {
    const { slots, rows, report } = options;
    this.#options = options;
    this.#attempts = new Attempts(rows);
    this.fanOut = new FanOut(slots, report);
    this.arpScan = new ArpScan(slots, report);
    this.flood = new Flood(slots, report);
    this.dnsTunnel = new DnsTunnel(slots, report);
    this.trafficPeak = new TrafficPeak(slots, report);
    this.newDestination = new NewDestination(slots, report);
    this.listedPeer = new ListedPeer(slots, report);
    this.ruleViolation = new RuleViolation(slots, report);
    this.#unanswered = new Float64Array(slots);
    this.#sentBefore = new Float64Array(slots);
  }

  /** A flow has got its device: one that just began, not one that a dump showed. @param monotonic milliseconds */
  began(row: number, monotonic: number): void {
    const { rows } = this.#options;
    if (!deviceBegan(rows.direction[row] as number)) return;
    if (rows.protocol[row] === TCP && isWithInternet(rows, row)) this.flood.connected(rows.device[row] as number);
    this.#attempts.began(row, monotonic);
  }

  /** Packets that were counted for the device of a flow with the Internet, since the reading before. */
  moved(row: number, sent: number, received: number): void {
    const { rows } = this.#options;
    if (received > 0) return this.#gate.answered(rows.seen[row] as number);
    if (sent === 0 || !deviceBegan(rows.direction[row] as number) || rows.last[row * 4 + 2] !== 0) return;
    const slot = rows.device[row] as number;
    this.#unanswered[slot] = (this.#unanswered[slot] as number) + sent;
    if (rows.protocol[row] !== TCP) this.flood.unanswered(slot, sent);
  }

  /** All flows have been read as they stood then. @param monotonic milliseconds */
  read(monotonic: number): void {
    this.#readAt = monotonic;
  }

  /** Once a second. @param time milliseconds since 1970; `monotonic` in milliseconds */
  tick(time: number, monotonic: number): void {
    const before = Math.min(monotonic - ANSWER_WAIT_MS, this.#readAt - ANSWERED_AFTER_MS);
    this.#attempts.judge(before, (end) => this.#judge(end));
    this.flood.tick(time, monotonic, this.#gate.isOpen(time));
    const { counters, knownMs } = this.#options;
    this.trafficPeak.tick(
      time,
      monotonic,
      (slot) => (knownMs(slot) < 0 ? -1 : counters.get(slot, Counter.BytesSent)),
      // Without a line nobody answers anything.
      (slot) => this.#unansweredShare(slot) * Number(this.#gate.isOpen(time)),
    );
  }

  /** The clock was set: windows over the old times say nothing of the new. What was learned about devices stays. */
  clockSet(): void {
    this.#gate.clear();
    for (let slot = 0; slot < this.#options.slots; slot++)
      for (const detector of [this.fanOut, this.arpScan, this.dnsTunnel]) detector.clear(slot);
  }

  /** The slot is another device's from now on. */
  clear(slot: number): void {
    for (const detector of [
      this.fanOut,
      this.arpScan,
      this.flood,
      this.dnsTunnel,
      this.trafficPeak,
      this.newDestination,
      this.listedPeer,
      this.ruleViolation,
    ])
      detector.clear(slot);
    this.#unanswered[slot] = this.#sentBefore[slot] = 0;
  }

  #judge({ row, slot, time, failed }: AttemptEnd): void {
    const { rows } = this.#options;
    const offset = peerAt(rows, row);
    const withInternet = isWithInternet(rows, row);
    const domain = rows.domain[row] as string;
    // What the device asked is its peer's port; for ICMP the column holds type and code.
    const hasPorts = rows.protocol[row] === TCP || rows.protocol[row] === 17 || rows.protocol[row] === 132;
    const port = hasPorts ? (rows.ports[row * 4 + 1] as number) : 0;
    const host = () => printAddress(rows.addresses, offset);
    if (!failed) {
      this.fanOut.answered(slot, port, time);
      if (withInternet) this.#contact(slot, row, offset, domain, port, host);
      return;
    }
    if (this.#options.isStopped(row)) return;
    const isNamed = domain !== "";
    if (withInternet) {
      const isExpected = isNamed || this.newDestination.knows(slot, this.#destination(row, offset, domain, port));
      if (isExpected) this.#gate.failedExpected(hashAddress(rows.addresses, offset));
      if (!this.#gate.isOpen(time)) return;
    }
    const protocol = rows.protocol[row] as number;
    this.fanOut.failed({
      slot,
      hostHash: hashAddress(rows.addresses, offset),
      host,
      protocol,
      port,
      time,
      isNamed,
    });
  }

  /** Somebody outside answered. */
  #contact(slot: number, row: number, offset: number, domain: string, port: number, host: () => string): void {
    const { rows, knownMs } = this.#options;
    const hash = this.#destination(row, offset, domain, port);
    const peer = () => `${domain === "" ? host() : domain} port ${port}`;
    this.newDestination.seen(slot, hash, peer, knownMs(slot), rows.start[row] as number);
  }

  /** Hash of what counts as one destination. */
  #destination(row: number, offset: number, domain: string, port: number): number {
    const { addresses, protocol } = this.#options.rows;
    const place = domain === "" ? hashPrefix(addresses, offset) : hashText(baseDomain(domain) || domain);
    return (place ^ Math.imul(port + 1, 0x9e3779b1) ^ (protocol[row] as number)) >>> 0;
  }

  #unansweredShare(slot: number): number {
    const sent = this.#options.counters.get(slot, Counter.PacketsSent);
    const since = sent - (this.#sentBefore[slot] as number);
    const unanswered = this.#unanswered[slot] as number;
    this.#sentBefore[slot] = sent;
    this.#unanswered[slot] = 0;
    return since > 0 ? unanswered / since : 0;
  }
}

function hashPrefix(addresses: ArrayLike<number>, offset: number): number {
  const isFour = isIPv4(addresses, offset);
  const bits = isFour ? PREFIX.v4 : PREFIX.v6;
  if (isFour) return hashAddress([0, 0, 0xffff, (addresses[offset + 3] as number) >>> (32 - bits)], 0);
  return hashAddress([addresses[offset] as number, (addresses[offset + 1] as number) >>> (64 - bits), 0, 0], 0);
}
