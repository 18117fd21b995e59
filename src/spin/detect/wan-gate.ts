/**
 * Whether the Internet can be reached, as far as the home's traffic shows. While it can't, everything fails, and no failure
 * tells anything about the device.
 */

/** So many places that should have answered do not, and for so long nobody outside has answered anybody. */
const SIGNS = 3;
const SILENCE_MS = 10_000;

export class WanGate {
  #answeredAt = -Infinity;
  readonly #failed = new Set<number>();

  /** Somebody outside answered a device. */
  answered(time: number): void {
    if (time > this.#answeredAt) this.#answeredAt = time;
    if (this.#failed.size > 0) this.#failed.clear();
  }

  /**
   * What should have worked did not: a name that the device had looked up, a peer that had answered before. Each place
   * counts once: a worm's dead master is no sign of the line.
   */
  failedExpected(host: number): void {
    if (this.#failed.size < SIGNS) this.#failed.add(host);
  }

  isOpen(time: number): boolean {
    return this.#failed.size < SIGNS || time - this.#answeredAt < SILENCE_MS;
  }

  /** The clock was set: what was noted by the old one says nothing. */
  clear(): void {
    this.#answeredAt = -Infinity;
    this.#failed.clear();
  }
}
