/**
 * Whether the Internet can be reached, as far as the home's traffic shows. While it can't, everything fails, and no failure
 * tells anything about the device.
 */

/** So many attempts that should have worked fail in a row, and for so long nobody outside has answered anybody. */
const SIGNS = 3;
const SILENCE_MS = 10_000;

export class WanGate {
  #answeredAt = -Infinity;
  #failures = 0;

  /** Somebody outside answered a device. */
  answered(time: number): void {
    if (time > this.#answeredAt) this.#answeredAt = time;
    this.#failures = 0;
  }

  /** What should have worked did not: a name that the device had looked up, a port that applications use. */
  failedExpected(): void {
    this.#failures++;
  }

  isOpen(time: number): boolean {
    return this.#failures < SIGNS || time - this.#answeredAt < SILENCE_MS;
  }
}
