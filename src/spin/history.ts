/**
 * What each device and the home moved, minute by minute, hour by hour and day by day. An interval is one of the UTC clock:
 * its number is the time divided by its length, so that daylight saving means nothing here and a restart goes on in the
 * same interval. What a slot moved in the open interval is the difference of its counters from a mark; only where an
 * interval ends is there anything to do, and then a subtraction a slot.
 *
 * What nobody saw is zero and suspect: intervals of which more than a tenth passed unwatched (the agent was not running,
 * capture was off, the clock jumped), and those before a device was known.
 */
import type { Clock } from "../lib/clock.ts";
import { readNumber, writeNumber } from "./baselines.ts";
import { Counter, type Counters } from "./counters.ts";
import type { DeviceTable } from "./devices.ts";

/** How long an interval is, and how many that are over are kept. */
export const SPANS = {
  Minute: { seconds: 60, samples: 60 },
  Hour: { seconds: 3600, samples: 48 },
  Day: { seconds: 86_400, samples: 35 },
} as const;
export type SpanName = keyof typeof SPANS;

/** Intervals that are over, oldest first; every list is as long as the span keeps, and made when it is read. */
export interface Report {
  readonly bytesSent: readonly number[];
  readonly bytesReceived: readonly number[];
  readonly blockedPackets: readonly number[];
  /** 1 where the values are not the whole truth. */
  readonly suspect: readonly number[];
}

export interface HistoryOptions {
  readonly clock: Clock;
  readonly slots: number;
  readonly counters: Counters;
  readonly devices: DeviceTable;
}

const COLUMNS = [Counter.BytesSent, Counter.BytesReceived, Counter.BlockedPackets] as const;
const WIDTH = COLUMNS.length;
const NOTHING: readonly number[] = COLUMNS.map(() => 0);
const SAMPLES = Object.values(SPANS).reduce((sum, { samples }) => sum + samples, 0);
/** Of an interval, so much may pass unwatched before its values are suspect. */
const UNWATCHED_PART = 0.1;
/** A gateway without a battery starts in the past, until it hears the time: so long after a start that is waited for. */
const PATIENCE_MS = 10 * 60_000;

export class History {
  readonly #options: HistoryOptions;
  readonly #spans: { readonly [Name in SpanName]: Span };
  readonly #all: readonly Span[];
  /** Until when the home was watched (wall clock). */
  #watchedUntil: number;
  /** Until when (monotonic) a clock that stands before the saved time is not believed. */
  #patientUntil = -Infinity;

  constructor(options: HistoryOptions) {
    this.#options = options;
    const now = (this.#watchedUntil = options.clock.now());
    const span = (name: SpanName) => new Span(SPANS[name].seconds, SPANS[name].samples, options, now);
    this.#spans = { Minute: span("Minute"), Hour: span("Hour"), Day: span("Day") };
    this.#all = Object.values(this.#spans);
  }

  /** The second's work. `isWatched`: what the devices move is being counted. */
  tick(isWatched: boolean): void {
    const { clock } = this.#options;
    const now = clock.now();
    if (now < this.#watchedUntil && clock.monotonic() < this.#patientUntil) return;
    this.#patientUntil = -Infinity;
    for (const span of this.#all) span.moveTo(now, now - this.#watchedUntil);
    if (isWatched) this.#watchedUntil = now;
  }

  /** Of the device with that instance number, or of the home; `undefined`: there is no such device. */
  report(name: SpanName, device?: number): Report | undefined {
    const { counters, devices } = this.#options;
    if (device === undefined) return this.#spans[name].report(counters.home, 0);
    const row = devices.byNumber(device);
    return row && this.#spans[name].report(row.slot, row.firstSeen);
  }

  /** When the newest sample of a report ended: milliseconds since 1970. */
  end(name: SpanName): number {
    return this.#spans[name].end;
  }

  /** The slot is another device's from now on. */
  clear(slot: number): void {
    for (const span of this.#all) span.clear(slot);
  }

  /** Of a device whose counters stay, or of the home. */
  erase(slot: number = this.#options.counters.home): void {
    for (const span of this.#all) span.erase(slot);
  }

  /** With the counters as they stand, because what a later save of them has more was moved since. */
  save(): unknown {
    const { counters, devices } = this.#options;
    const pack = (slot: number) =>
      packed([...COLUMNS.map((column) => counters.get(slot, column)), ...this.#all.flatMap((span) => span.save(slot))]);
    return {
      at: Math.round(this.#watchedUntil),
      spans: packed(this.#all.flatMap((span) => span.state())),
      home: pack(counters.home),
      devices: [...devices.values()].map(({ number, slot }) => [number, pack(slot)]),
    };
  }

  /** Takes what `save` made, once counters and devices are loaded; what it is not is left out. */
  load(saved: unknown): void {
    // What was counted in an earlier life did not happen now.
    for (const span of this.#all) span.mark();
    const { at, spans, home, devices } = (saved ?? {}) as Record<string, unknown>;
    const state = unpacked(spans, SAMPLES + 2 * this.#all.length);
    if (!Number.isSafeInteger(at) || !Array.isArray(devices) || !state) return;
    for (const span of this.#all) span.resume(state);
    this.#watchedUntil = at as number;
    this.#patientUntil = this.#options.clock.monotonic() + PATIENCE_MS;
    const load = (slot: number, text: unknown) => {
      const next = unpacked(text, (SAMPLES + this.#all.length + 1) * WIDTH);
      if (!next) return;
      const { counters } = this.#options;
      const since = COLUMNS.map((column) => Math.max(0, counters.get(slot, column) - next()));
      // In which minute it was nobody knows; in which hour, and on which day, most likely the one that was open.
      for (const span of this.#all) span.load(slot, next, span === this.#spans.Minute ? NOTHING : since);
    };
    load(this.#options.counters.home, home);
    for (const entry of devices as unknown[]) {
      const [number, text] = Array.isArray(entry) ? (entry as unknown[]) : [];
      const row = this.#options.devices.byNumber(Number(number));
      if (row) load(row.slot, text);
    }
  }
}

/** One ring: for each of the last intervals three values a slot, and the open interval beside it. */
class Span {
  readonly #ms: number;
  readonly #samples: number;
  readonly #counters: Counters;
  /** By position (the interval's number modulo the samples), then as the marks: by slot and column. */
  readonly #values: Float64Array;
  readonly #suspect: Uint8Array;
  /** Counters as they stood when the open interval began, less what it already had. */
  readonly #marks: Float64Array;
  /** Number of the open interval. */
  open: number;
  #isOpenSuspect: boolean;

  constructor(seconds: number, samples: number, { slots, counters }: HistoryOptions, now: number) {
    this.#ms = seconds * 1000;
    this.#samples = samples;
    this.#counters = counters;
    this.#values = new Float64Array(samples * (slots + 1) * WIDTH);
    this.#suspect = new Uint8Array(samples).fill(1);
    this.#marks = new Float64Array((slots + 1) * WIDTH);
    this.open = Math.floor(now / this.#ms);
    this.#isOpenSuspect = now - this.open * this.#ms > this.#ms * UNWATCHED_PART;
  }

  /** @param unwatchedMs How long ago it was, by the wall clock, that the home was watched; negative: the clock went back. */
  moveTo(now: number, unwatchedMs: number): void {
    const next = Math.floor(now / this.#ms);
    const isGap = Math.abs(unwatchedMs) > this.#ms * UNWATCHED_PART;
    if (isGap) this.#isOpenSuspect = true;
    if (next > this.open) {
      this.#close(next);
      this.#isOpenSuspect = isGap;
    } else if (next < this.open) this.#isOpenSuspect = this.#reopen(next) || isGap;
  }

  #close(next: number): void {
    const from = this.#index(this.open, 0);
    for (let k = 0; k < this.#marks.length; k++) this.#values[from + k] = this.#moved(k);
    this.mark();
    this.#suspect[this.#at(this.open)] = Number(this.#isOpenSuspect);
    // Where more intervals went by than there is room for, the last ones are all that is left.
    const first = Math.max(this.open + 1, next - this.#samples);
    for (let gap = first; gap < next; gap++) this.#empty(gap);
    this.open = next;
  }

  /** The open interval begins with nothing. */
  mark(): void {
    for (let k = 0; k < this.#marks.length; k++) this.#marks[k] = this.#counter(k);
  }

  /**
   * The clock went back: what lies after its new time has not happened yet. The interval that it went back into goes on
   * with what it had, and with what was open. Returns whether what it had was suspect.
   */
  #reopen(next: number): boolean {
    const before = this.open;
    const isKept = next >= before - this.#samples;
    if (isKept)
      this.#marks.forEach((mark, k, marks) => (marks[k] = mark - (this.#values[this.#index(next, k)] as number)));
    const wasSuspect = !isKept || this.#suspect[this.#at(next)] === 1;
    // Their positions are those of intervals that had already left.
    for (let gone = Math.max(next, before - this.#samples); gone < before; gone++) this.#empty(gone);
    this.open = next;
    return wasSuspect;
  }

  get end(): number {
    return this.open * this.#ms;
  }

  report(slot: number, knownSince: number): Report {
    const column = (index: number) => this.#column(slot * WIDTH + index).reverse();
    // A device that was first seen in the future was so by a clock that has been set since.
    const since = knownSince < this.end + this.#ms ? knownSince : 0;
    const past = (of: (interval: number) => number) => this.#past(of);
    const suspect = (interval: number) =>
      since < (interval + 1) * this.#ms ? (this.#suspect[this.#at(interval)] as number) : 1;
    return {
      get bytesSent() {
        return column(0);
      },
      get bytesReceived() {
        return column(1);
      },
      get blockedPackets() {
        return column(2);
      },
      get suspect() {
        return past(suspect).reverse();
      },
    };
  }

  /** Its counters stay. */
  erase(slot: number): void {
    this.load(slot, () => 0);
  }

  /** Its counters are cleared too, before or after. */
  clear(slot: number): void {
    this.load(slot, () => 0);
    this.#marks.fill(0, slot * WIDTH, (slot + 1) * WIDTH);
  }

  /** For each column what the open interval has, then those that are over, the newest first. */
  save(slot: number): number[] {
    return COLUMNS.flatMap((_, column) => {
      const k = slot * WIDTH + column;
      return [this.#moved(k), ...this.#column(k)];
    });
  }

  /**
   * @param next Gives one number after the other, in the order of `save`.
   * @param since What was moved after that, by column: it belongs to the interval that was open.
   */
  load(slot: number, next: () => number, since: readonly number[] = NOTHING): void {
    for (let k = slot * WIDTH; k < (slot + 1) * WIDTH; k++) {
      this.#marks[k] = this.#counter(k) - next() - (since[k % WIDTH] as number);
      this.#past((interval) => (this.#values[this.#index(interval, k)] = next()));
    }
  }

  /** Which interval is open, whether it is suspect, and which of those that are over are, the newest first. */
  state(): number[] {
    return [
      this.open,
      Number(this.#isOpenSuspect),
      ...this.#past((interval) => this.#suspect[this.#at(interval)] as number),
    ];
  }

  resume(next: () => number): void {
    this.open = next();
    this.#isOpenSuspect = next() > 0;
    this.#past((interval) => (this.#suspect[this.#at(interval)] = Math.min(next(), 1)));
  }

  /** Something of each interval that is over, the newest first. */
  #past(of: (interval: number) => number): number[] {
    return Array.from({ length: this.#samples }, (_, k) => of(this.open - 1 - k));
  }

  #empty(interval: number): void {
    const from = this.#index(interval, 0);
    this.#values.fill(0, from, from + this.#marks.length);
    this.#suspect[this.#at(interval)] = 1;
  }

  #column(k: number): number[] {
    return this.#past((interval) => this.#values[this.#index(interval, k)] as number);
  }

  #moved(k: number): number {
    return this.#counter(k) - (this.#marks[k] as number);
  }

  #counter(k: number): number {
    // As a small integer: with a double for an index, a minute's end takes fifty times as long.
    return this.#counters.get((k / WIDTH) | 0, COLUMNS[k % WIDTH] as (typeof COLUMNS)[number]);
  }

  #index(interval: number, k: number): number {
    return this.#at(interval) * this.#marks.length + k;
  }

  /** Also of intervals before 1970, where a clock without a battery may begin. */
  #at(interval: number): number {
    return ((interval % this.#samples) + this.#samples) % this.#samples;
  }
}

/** LEB128 numbers, a run of zeros as a zero and its length: most devices are silent most of the time. */
function packed(values: readonly number[]): string {
  const bytes: number[] = [];
  for (let k = 0; k < values.length; k++) {
    const from = k;
    while (values[k] === 0) k++;
    if (k > from) {
      writeNumber(bytes, 0);
      writeNumber(bytes, k - from);
    }
    if (k < values.length) writeNumber(bytes, Math.max(0, values[k] as number));
  }
  return Buffer.from(bytes).toString("base64");
}

/** Gives its numbers one after the other; `undefined` if there are not exactly so many. */
function unpacked(text: unknown, count: number): (() => number) | undefined {
  if (typeof text !== "string") return undefined;
  const bytes = Buffer.from(text, "base64");
  const values = new Float64Array(count);
  const reader = { at: 0 };
  let k = 0;
  while (reader.at < bytes.length) {
    const value = readNumber(bytes, reader);
    if (value > 0) {
      if (k < count && value <= Number.MAX_SAFE_INTEGER) values[k] = value;
      k++;
    } else k += readNumber(bytes, reader);
    if (reader.at > bytes.length || k > count) return undefined;
  }
  let at = 0;
  return k === count ? () => values[at++] as number : undefined;
}
