/**
 * The support session that the resident grants: while it lasts, the role Support sees what is secured. It ends by the
 * clock on the wall, and by time that passed where that clock is set back: no later than so long after it was granted as
 * it was to last, but for what a crash does not count.
 */
import { MAX_SUPPORT_S } from "../../datamodel/spin-access-log.ts";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";

export interface SupportSessionOptions {
  readonly store: Pick<Store, "load" | "save">;
  readonly clock: Clock;
  readonly log: Log;
  /** It was granted, or is over. */
  readonly changed: () => void;
}

export const SUPPORT_DOCUMENT = "support-session";
/** How often what is left is written: so much a crash can lengthen it where the clock is set back, too. */
const NOTE_MS = 10 * 60_000;

export class SupportSession {
  readonly #options: SupportSessionOptions;
  /** Milliseconds since 1970; 0: there is none. */
  #until = 0;
  /** By the monotonic clock. */
  #deadline = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: SupportSessionOptions) {
    this.#options = options;
    const { until, left } = (options.store.load(SUPPORT_DOCUMENT) ?? {}) as Record<string, unknown>;
    if (!Number.isSafeInteger(until) || !Number.isSafeInteger(left)) return;
    this.#until = until as number;
    this.#deadline = options.clock.monotonic() + Math.min(left as number, MAX_SUPPORT_S * 1000);
    if (this.#left() > 0) this.#wait();
    else this.#until = 0;
  }

  /** Whether it lasts. */
  get granted(): boolean {
    return this.#left() > 0;
  }

  /** Milliseconds since 1970; `undefined` where there is none. */
  get until(): number | undefined {
    const left = this.#left();
    return left > 0 ? Math.min(this.#until, this.#options.clock.now() + left) : undefined;
  }

  /** From now on, for so long; 0 ends it. Resolves when it is on disk. */
  async grant(durationMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#until = durationMs === 0 ? 0 : Math.ceil(clock.now() + durationMs);
    this.#deadline = clock.monotonic() + durationMs;
    this.#wait();
    this.#options.changed();
    await this.#save();
  }

  #left(): number {
    if (this.#until === 0) return 0;
    const { clock } = this.#options;
    return Math.min(this.#until - clock.now(), this.#deadline - clock.monotonic());
  }

  #wait(): void {
    clearTimeout(this.#timer);
    const left = this.#left();
    if (left <= 0) return;
    this.#timer = setTimeout(() => this.#noted(), Math.min(left, NOTE_MS));
    this.#timer.unref();
  }

  #noted(): void {
    if (this.#left() <= 0) {
      this.#until = 0;
      this.#options.log.info("the support session is over");
      this.#options.changed();
    }
    this.#wait();
    this.#save().catch((error: unknown) =>
      this.#options.log.warn(`the support session could not be saved: ${describe(error)}`),
    );
  }

  #save(): Promise<void> {
    const left = Math.ceil(this.#left());
    return this.#options.store.save(SUPPORT_DOCUMENT, left > 0 ? { until: this.#until, left } : undefined);
  }

  /** What is left is known exactly to the next life. Never rejects. */
  async close(): Promise<void> {
    clearTimeout(this.#timer);
    if (this.#until === 0) return;
    await this.#save().catch((error: unknown) => this.#options.log.warn(`support session: ${describe(error)}`));
  }
}
