/**
 * Counters of devices and of the home, in columns: one slot a device, one more for the home. What a device is credited
 * with, the home is too, so the home's sums stay when a slot is cleared for another device.
 */
export const Counter = {
  BytesSent: 0,
  BytesReceived: 1,
  PacketsSent: 2,
  PacketsReceived: 3,
  LocalBytesSent: 4,
  LocalBytesReceived: 5,
  FlowsOpened: 6,
  DnsQueries: 7,
  BlockedPackets: 8,
  BlockedBytes: 9,
} as const;
export type CounterIndex = (typeof Counter)[keyof typeof Counter];

export const COUNTER_COUNT = 10;

/** Rates look back this far, with one sample a second. */
const RATE_WINDOW_MS = 10_000;
const SAMPLES = 11;

export class Counters {
  /** The slot of the home. */
  readonly home: number;
  readonly #values: Float64Array;
  /** Flows alive: a gauge, so it is apart. */
  readonly #activeFlows: Int32Array;
  /** Rings of BytesSent and BytesReceived per slot, and when each sample was taken (monotonic ms). */
  readonly #sent: Float64Array;
  readonly #received: Float64Array;
  readonly #sampledAt = new Float64Array(SAMPLES).fill(-Infinity);
  #newest = 0;

  constructor(slots: number) {
    this.home = slots;
    this.#values = new Float64Array((slots + 1) * COUNTER_COUNT);
    this.#activeFlows = new Int32Array(slots + 1);
    this.#sent = new Float64Array((slots + 1) * SAMPLES);
    this.#received = new Float64Array((slots + 1) * SAMPLES);
  }

  get(slot: number, counter: CounterIndex): number {
    return this.#values[slot * COUNTER_COUNT + counter] as number;
  }

  add(slot: number, counter: CounterIndex, amount: number): void {
    const values = this.#values;
    const at = slot * COUNTER_COUNT + counter;
    const home = this.home * COUNTER_COUNT + counter;
    values[at] = (values[at] as number) + amount;
    values[home] = (values[home] as number) + amount;
  }

  /** For the home alone. */
  addHome(counter: CounterIndex, amount: number): void {
    const at = this.home * COUNTER_COUNT + counter;
    this.#values[at] = (this.#values[at] as number) + amount;
  }

  /** Traffic with the Internet. */
  addTraffic(
    slot: number,
    bytesSent: number,
    bytesReceived: number,
    packetsSent: number,
    packetsReceived: number,
  ): void {
    this.add(slot, Counter.BytesSent, bytesSent);
    this.add(slot, Counter.BytesReceived, bytesReceived);
    this.add(slot, Counter.PacketsSent, packetsSent);
    this.add(slot, Counter.PacketsReceived, packetsReceived);
  }

  activeFlows(slot: number): number {
    return this.#activeFlows[slot] as number;
  }

  addActiveFlows(slot: number, amount: number): void {
    this.#activeFlows[slot] = (this.#activeFlows[slot] as number) + amount;
    this.#activeFlows[this.home] = (this.#activeFlows[this.home] as number) + amount;
  }

  /** Makes a slot ready for another device; the home keeps what it had. */
  clear(slot: number): void {
    this.#values.fill(0, slot * COUNTER_COUNT, (slot + 1) * COUNTER_COUNT);
    this.#sent.fill(0, slot * SAMPLES, (slot + 1) * SAMPLES);
    this.#received.fill(0, slot * SAMPLES, (slot + 1) * SAMPLES);
    const active = this.#activeFlows[slot] as number;
    if (active !== 0) this.addActiveFlows(slot, -active);
  }

  /** Takes the second's sample for the rates. */
  sample(monotonicMs: number): void {
    this.#newest = (this.#newest + 1) % SAMPLES;
    this.#sampledAt[this.#newest] = monotonicMs;
    for (let slot = 0; slot <= this.home; slot++) {
      this.#sent[slot * SAMPLES + this.#newest] = this.get(slot, Counter.BytesSent);
      this.#received[slot * SAMPLES + this.#newest] = this.get(slot, Counter.BytesReceived);
    }
  }

  /** Bits per second over the last 10 s, whole. */
  rate(slot: number, counter: 0 | 1, monotonicMs: number): number {
    const since = this.#oldestSample(monotonicMs);
    if (since < 0) return 0;
    const ring = counter === Counter.BytesSent ? this.#sent : this.#received;
    const bytes = this.get(slot, counter) - (ring[slot * SAMPLES + since] as number);
    const span = Math.max(monotonicMs - (this.#sampledAt[since] as number), RATE_WINDOW_MS);
    return Math.round((bytes * 8000) / span);
  }

  /** The oldest sample inside the window; after a gap, the newest one before it; -1 if there is none. */
  #oldestSample(monotonicMs: number): number {
    if (this.#sampledAt[this.#newest] === -Infinity) return -1;
    let found = this.#newest;
    for (let back = 1; back < SAMPLES; back++) {
      const index = (this.#newest - back + SAMPLES) % SAMPLES;
      // Ticks come a little late: a sample of ten ticks ago is still the window's.
      if (monotonicMs - (this.#sampledAt[index] as number) > RATE_WINDOW_MS + 500) break;
      found = index;
    }
    return found;
  }

  /** The ten counters of a slot, for the state file. */
  save(slot: number): number[] {
    return Array.from(this.#values.subarray(slot * COUNTER_COUNT, (slot + 1) * COUNTER_COUNT));
  }

  /** Takes saved counters; whatever is not a counter becomes 0. The samples follow, so that a start is not a burst. */
  load(slot: number, saved: unknown): void {
    const list = Array.isArray(saved) ? (saved as unknown[]) : [];
    for (let counter = 0; counter < COUNTER_COUNT; counter++) {
      const value = list[counter];
      this.#values[slot * COUNTER_COUNT + counter] =
        typeof value === "number" && Number.isFinite(value) && value > 0 ? value : 0;
    }
    this.#sent.fill(this.get(slot, Counter.BytesSent), slot * SAMPLES, (slot + 1) * SAMPLES);
    this.#received.fill(this.get(slot, Counter.BytesReceived), slot * SAMPLES, (slot + 1) * SAMPLES);
  }
}
