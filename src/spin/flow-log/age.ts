/**
 * How old what is kept is, by a clock that may be wrong: one without a battery, or that somebody sets. Nothing is thrown
 * away for its age before the clock has gone on without a jump for a while, and what was written before something that is
 * too old is too old, whatever its own times say.
 */
import type { Clock } from "../../lib/clock.ts";
import type { Block } from "./block.ts";

/** After a start the time may yet come from the network; a jump may be taken back. */
const START_PATIENCE_MS = 60 * 60_000;
const JUMP_PATIENCE_MS = 24 * 60 * 60_000;
const JUMP_MS = 10 * 60_000;

export class Age {
  readonly #clock: Clock;
  readonly #keptMs: number;
  /** Wall clock less monotonic. */
  #offset: number;
  /** Monotonic: until then nothing expires. */
  #patientUntil: number;

  constructor(clock: Clock, keptMs: number) {
    this.#clock = clock;
    this.#keptMs = keptMs;
    this.#offset = clock.now() - clock.monotonic();
    this.#patientUntil = clock.monotonic() + START_PATIENCE_MS;
  }

  tick(): void {
    const now = this.#clock.monotonic();
    const offset = this.#clock.now() - now;
    if (Math.abs(offset - this.#offset) > JUMP_MS)
      this.#patientUntil = Math.max(this.#patientUntil, now + JUMP_PATIENCE_MS);
    this.#offset = offset;
  }

  /** How many blocks from the first on are past their time. */
  expired(blocks: readonly Block[]): number {
    if (this.#clock.monotonic() < this.#patientUntil) return 0;
    const before = this.#clock.now() - this.#keptMs;
    let count = 0;
    for (const [index, { maxEnd }] of blocks.entries()) if (maxEnd < before) count = index + 1;
    return count;
  }

  /** Whether all of it is older than that; what is from the future counts as new. */
  isOlder(blocks: readonly Block[], ms: number): boolean {
    const before = this.#clock.now() - ms;
    return blocks.length > 0 && blocks.every(({ maxEnd }) => maxEnd < before);
  }
}
