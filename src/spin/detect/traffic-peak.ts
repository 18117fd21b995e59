/**
 * A device sends far more than it is used to: what SPIN was made for, without the faults of its detector. The level is an
 * exponentially weighted mean of log2(bytes) over samples of ten seconds, with its deviation; a one-sided CUSUM of what
 * exceeds them raises the alarm. It is evaluated by the clock, so a single burst shows; learning stands still while the
 * alarm lasts, so an attack does not become the new normal; a level that stays for an hour does, once the incident told it.
 *
 * That a backup, a firmware's upload or a camera looks the same from outside is no mistake of the detector's, so a peak is
 * Info; it is more only where most of what is sent gets no answer.
 */
import type { DetectorSettings, Report } from "./finding.ts";

export interface TrafficPeakSettings extends DetectorSettings {
  /** Nothing below this many bytes a second is a peak. Default: 100 KiB/s, SPIN's own floor. */
  readonly floorBytesPerSecond: number;
  /** How many times the usual rate is too much, as the slack of the CUSUM. */
  readonly factor: number;
  /** How much is needed, in doublings beyond the slack, summed up over samples of ten seconds. */
  readonly threshold: number;
  /** Before it knows a device. */
  readonly learningMs: number;
}

export const defaultTrafficPeak: TrafficPeakSettings = {
  enable: true,
  floorBytesPerSecond: 102_400,
  factor: 4,
  threshold: 6,
  learningMs: 600_000,
};

const SAMPLE_MS = 10_000;
/** Weight of a sample in the mean: a time constant of an hour. */
const WEIGHT = SAMPLE_MS / 3_600_000;
/** While it learns, every sample counts alike until the mean has its time constant. */
const NEW_NORMAL_MS = 3_600_000;
const MOSTLY = 0.5;

export class TrafficPeak {
  settings = defaultTrafficPeak;
  readonly #report: Report;
  readonly #slots: number;
  readonly #mean: Float64Array;
  readonly #deviation: Float64Array;
  readonly #samples: Float64Array;
  readonly #sum: Float64Array;
  readonly #alarmedAt: Float64Array;
  readonly #before: Float64Array;
  #sampledAt = -Infinity;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#slots = slots;
    this.#mean = new Float64Array(slots);
    this.#deviation = new Float64Array(slots);
    this.#samples = new Float64Array(slots);
    this.#sum = new Float64Array(slots);
    this.#alarmedAt = new Float64Array(slots).fill(-1);
    this.#before = new Float64Array(slots).fill(-1);
  }

  /**
   * Called each second.
   * @param monotonic milliseconds; what the samples are spaced by
   * @param bytesSent of a slot, cumulative; -1 for a slot without a device
   * @param unansweredShare of the packets that a slot sent since the last sample
   */
  tick(
    time: number,
    monotonic: number,
    bytesSent: (slot: number) => number,
    unansweredShare: (slot: number) => number,
  ): void {
    const elapsed = monotonic - this.#sampledAt;
    if (elapsed < SAMPLE_MS) return;
    const isFirst = this.#sampledAt === -Infinity;
    this.#sampledAt = monotonic;
    for (let slot = 0; slot < this.#slots; slot++) {
      const bytes = bytesSent(slot);
      const before = this.#before[slot] as number;
      this.#before[slot] = bytes;
      // Asked for in every sample, so that it is this one's.
      const unanswered = bytes < 0 ? 0 : unansweredShare(slot);
      if (bytes < 0 || before < 0 || isFirst || bytes < before) continue;
      const rate = ((bytes - before) * 1000) / elapsed;
      if (this.settings.enable) this.#sample(slot, rate, time, unanswered);
    }
  }

  clear(slot: number): void {
    this.#mean[slot] = this.#deviation[slot] = this.#samples[slot] = this.#sum[slot] = 0;
    this.#alarmedAt[slot] = this.#before[slot] = -1;
  }

  #sample(slot: number, rate: number, time: number, unanswered: number): void {
    const { floorBytesPerSecond, factor, threshold, learningMs } = this.settings;
    const level = Math.log2(1 + rate);
    const isKnown = (this.#samples[slot] as number) * SAMPLE_MS >= learningMs;
    const mean = this.#mean[slot] as number;
    const usual = Math.max(mean + 2 * (this.#deviation[slot] as number), Math.log2(1 + floorBytesPerSecond / factor));
    const excess = level - usual - Math.log2(factor);
    const isPeak = rate >= floorBytesPerSecond && excess > 0;
    if (!isKnown) return this.#learn(slot, level);
    const sum = Math.max(0, (this.#sum[slot] as number) + (isPeak ? excess + 1 : -threshold / 3));
    this.#sum[slot] = Math.min(sum, 4 * threshold);
    if (sum < threshold) {
      if (sum === 0) this.#alarmedAt[slot] = -1;
      if (!isPeak) this.#learn(slot, level);
      return;
    }
    if ((this.#alarmedAt[slot] as number) < 0) this.#alarmedAt[slot] = time;
    if (time - (this.#alarmedAt[slot] as number) >= NEW_NORMAL_MS) return this.#accept(slot, level);
    // A pause ends nothing yet, but what is sent in it is no peak.
    if (isPeak) this.#tell(slot, time, rate, 2 ** usual * factor, unanswered);
  }

  #learn(slot: number, level: number): void {
    const samples = (this.#samples[slot] as number) + 1;
    this.#samples[slot] = samples;
    const weight = Math.max(WEIGHT, 1 / samples);
    const difference = level - (this.#mean[slot] as number);
    this.#mean[slot] = (this.#mean[slot] as number) + weight * difference;
    this.#deviation[slot] =
      (this.#deviation[slot] as number) + weight * (Math.abs(difference) - (this.#deviation[slot] as number));
  }

  /** It has been so for an hour: that is what the device does now. */
  #accept(slot: number, level: number): void {
    this.#mean[slot] = level;
    this.#sum[slot] = 0;
    this.#alarmedAt[slot] = -1;
  }

  #tell(slot: number, time: number, rate: number, usual: number, unanswered: number): void {
    const isOneWay = unanswered >= MOSTLY;
    this.#report({
      type: "TrafficPeak",
      slot,
      severity: isOneWay ? "Medium" : "Info",
      time,
      measured: Math.round(rate),
      threshold: Math.round(usual),
      windowMs: SAMPLE_MS,
      summary: `sent ${megabits(rate)} Mbit/s, more than its usual ${megabits(usual)}${isOneWay ? ", most of it without an answer" : ""}`,
      peers: [],
    });
  }
}

const megabits = (bytesPerSecond: number) => ((bytesPerSecond * 8) / 1e6).toFixed(1);
