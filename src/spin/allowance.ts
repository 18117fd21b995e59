/** How often each device may do something at once, and from then on by and by: a bucket of tokens a slot. */
export class Allowance {
  readonly #burst: number;
  readonly #gainMs: number;
  readonly #left: Float64Array;
  readonly #reckonedAt: Float64Array;

  /** @param burst At once; @param gainMs once more after so long (monotonic) */
  constructor(slots: number, burst: number, gainMs: number) {
    this.#burst = burst;
    this.#gainMs = gainMs;
    this.#left = new Float64Array(slots);
    this.#reckonedAt = new Float64Array(slots);
  }

  /** The slot is another's. */
  reset(slot: number, now: number): void {
    this.#left[slot] = this.#burst;
    this.#reckonedAt[slot] = now;
  }

  /** Whether it may now; if so, that is used up. */
  take(slot: number, now: number): boolean {
    const gained = (now - (this.#reckonedAt[slot] as number)) / this.#gainMs;
    const left = Math.min(this.#burst, (this.#left[slot] as number) + gained);
    this.#reckonedAt[slot] = now;
    this.#left[slot] = left < 1 ? left : left - 1;
    return left >= 1;
  }
}
