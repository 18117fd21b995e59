/**
 * Outbound floods, by the clock: many new TCP connections a second, or many packets a second that nobody answers (UDP,
 * ICMP and the rest). Measured: benign devices open at most 13 connections a second, a SYN scan 708; 50 separates them.
 * What people use sends one-way for moments only, and little: a call 50 packets a second each way, a game 128; video
 * towards the Internet is answered on its own flow (QUIC, SRTP with RTCP muxed). So 300 unanswered packets a second for ten
 * seconds are none of these (our own reckoning, from the codecs' rates).
 */
import type { DetectorSettings, Report } from "./finding.ts";

export interface FloodSettings extends DetectorSettings {
  /** New TCP connections a second. */
  readonly connections: number;
  /** Unanswered packets a second. */
  readonly packets: number;
  /** Both as a mean over this long. */
  readonly windowMs: number;
}

export const defaultFlood: FloodSettings = { enable: true, connections: 50, packets: 300, windowMs: 10_000 };

/** The mean is taken over sub-windows of a second. */
const MAX_SECONDS = 60;
/** While the line is down nobody answers, and what people use goes on for a moment: then it takes so many times as much. */
const WHILE_DOWN = 10;

export class Flood {
  settings = defaultFlood;
  readonly #report: Report;
  readonly #slots: number;
  /** Since the last tick. */
  readonly #opened: Float64Array;
  readonly #unanswered: Float64Array;
  /** Rings of a second each. */
  readonly #openedRing: Float64Array;
  readonly #unansweredRing: Float64Array;
  #second = 0;
  #filled = 0;
  /** When the last second ended, monotonic. */
  #tickedAt = -Infinity;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#slots = slots;
    this.#opened = new Float64Array(slots);
    this.#unanswered = new Float64Array(slots);
    this.#openedRing = new Float64Array(slots * MAX_SECONDS);
    this.#unansweredRing = new Float64Array(slots * MAX_SECONDS);
  }

  /** A TCP connection that the device began and that had no answer when it was told, or any. */
  connected(slot: number): void {
    this.#opened[slot] = (this.#opened[slot] as number) + 1;
  }

  /** Packets on flows, not of TCP, that had no answer so far. */
  unanswered(slot: number, packets: number): void {
    this.#unanswered[slot] = (this.#unanswered[slot] as number) + packets;
  }

  /** Called once a second; when it comes late, as in a replay, the seconds between were quiet. @param monotonic ms */
  tick(time: number, monotonic: number, isLineUp: boolean): void {
    const { enable, connections, packets, windowMs } = this.settings;
    const seconds = Math.min(MAX_SECONDS, Math.max(1, Math.round(windowMs / 1000)));
    // A turn that comes early belongs to the second that runs.
    if (monotonic - this.#tickedAt < 500) return;
    this.#pass(monotonic);
    for (let slot = 0; slot < this.#slots; slot++) {
      const at = slot * MAX_SECONDS + this.#second;
      this.#openedRing[at] = this.#opened[slot] as number;
      this.#unansweredRing[at] = this.#unanswered[slot] as number;
      const isQuiet = this.#opened[slot] === 0 && this.#unanswered[slot] === 0;
      this.#opened[slot] = this.#unanswered[slot] = 0;
      // What is quiet now does not begin to flood now.
      if (isQuiet || !enable || this.#filled < seconds) continue;
      const opened = this.#mean(this.#openedRing, slot, seconds);
      const unanswered = this.#mean(this.#unansweredRing, slot, seconds);
      if (opened >= connections) this.#tell(slot, time, opened, connections, seconds, "new connections");
      else if (unanswered >= (isLineUp ? packets : WHILE_DOWN * packets))
        this.#tell(slot, time, unanswered, packets, seconds, "unanswered packets");
    }
  }

  clear(slot: number): void {
    this.#opened[slot] = this.#unanswered[slot] = 0;
    this.#openedRing.fill(0, slot * MAX_SECONDS, (slot + 1) * MAX_SECONDS);
    this.#unansweredRing.fill(0, slot * MAX_SECONDS, (slot + 1) * MAX_SECONDS);
  }

  /** Goes on to the present second, over those of which nothing was told. */
  #pass(monotonic: number): void {
    const passed = this.#tickedAt === -Infinity ? 1 : Math.round((monotonic - this.#tickedAt) / 1000);
    const steps = Math.min(MAX_SECONDS, Math.max(1, passed));
    this.#tickedAt = monotonic;
    for (let step = 0; step < steps; step++) {
      this.#second = (this.#second + 1) % MAX_SECONDS;
      if (step === steps - 1) break;
      for (let at = this.#second; at < this.#openedRing.length; at += MAX_SECONDS)
        this.#openedRing[at] = this.#unansweredRing[at] = 0;
    }
    this.#filled = Math.min(this.#filled + steps, MAX_SECONDS);
  }

  #mean(ring: Float64Array, slot: number, seconds: number): number {
    let sum = 0;
    for (let back = 0; back < seconds; back++)
      sum += ring[slot * MAX_SECONDS + ((this.#second - back + MAX_SECONDS) % MAX_SECONDS)] as number;
    return sum / seconds;
  }

  #tell(slot: number, time: number, mean: number, threshold: number, seconds: number, what: string): void {
    const measured = Math.round(mean);
    this.#report({
      type: "Flood",
      slot,
      severity: "High",
      time,
      measured,
      threshold,
      windowMs: seconds * 1000,
      summary: `sent ${measured} ${what} a second for ${seconds} s`,
      peers: [],
    });
  }
}
