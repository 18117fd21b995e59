/**
 * Where time comes from. Replays run on the capture's time and tests on their own, so nothing that reasons about
 * traffic asks the system directly.
 */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. May jump when the system's time is set. */
  now(): number;
  /** Milliseconds from an arbitrary start; never jumps. */
  monotonic(): number;
}

export const systemClock: Clock = { now: () => Date.now(), monotonic: () => performance.now() };

/** A clock that stands until it is moved: for replays and tests. */
export class ManualClock implements Clock {
  #now: number;
  constructor(startMs = 0) {
    this.#now = startMs;
  }
  now(): number {
    return this.#now;
  }
  monotonic(): number {
    return this.#now;
  }
  /** Moves forward to `ms`; moving back is ignored, as captures may hold unordered packets. */
  moveTo(ms: number): void {
    if (ms > this.#now) this.#now = ms;
  }
  advance(ms: number): void {
    this.#now += ms;
  }
}
