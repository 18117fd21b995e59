/** A sum for each slot that fades exponentially with a window: about how much came within it. */
export class FadingSum {
  readonly #sums: Float64Array;
  readonly #times: Float64Array;

  constructor(slots: number) {
    this.#sums = new Float64Array(slots);
    this.#times = new Float64Array(slots);
  }

  add(slot: number, time: number, windowMs: number, amount = 1): void {
    this.#sums[slot] = this.at(slot, time, windowMs) + amount;
    this.#times[slot] = time;
  }

  at(slot: number, time: number, windowMs: number): number {
    const sum = this.#sums[slot] as number;
    if (sum === 0) return 0;
    return sum * Math.exp(-Math.max(0, time - (this.#times[slot] as number)) / windowMs);
  }

  clear(slot: number): void {
    this.#sums[slot] = this.#times[slot] = 0;
  }
}
