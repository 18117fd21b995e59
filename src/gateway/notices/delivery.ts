/**
 * Brings notices to one place, one at a time, in their order. What can't be brought is tried again, later and later; what
 * comes too often waits, and while it waits a newer notice on the same subject takes its place, so that in the end the
 * newest state is told. What had to be left out is counted, and the next notice says so.
 */
import { describe, type Log } from "../../lib/log.ts";
import { pause } from "../../lib/pause.ts";
import { retryDelay } from "../../usp/retry.ts";
import type { Notice } from "./sentence.ts";

export interface Delivery {
  readonly notice: Notice;
  /** Notices left out before it. */
  readonly suppressed: number;
}

/** Rejects with DeliveryError where trying again is of no use, or not before some time. */
export type Send = (delivery: Delivery, signal: AbortSignal) => Promise<void>;

export class DeliveryError extends Error {
  override readonly name = "DeliveryError";
  constructor(
    message: string,
    /** Milliseconds; `undefined`: never again. */
    readonly againAfterMs: number | undefined,
  ) {
    super(message);
  }
}

export interface Pace {
  /** So many at once, */
  readonly burst: number;
  /** then one each: a person reads them. */
  readonly everyMs: number;
  readonly retryMs: number;
  readonly retryMaximumMs: number;
  /** Attempts for one notice, before what is newer is tried. */
  readonly attempts: number;
}

export const PACE: Pace = {
  burst: 10,
  everyMs: 120_000,
  retryMs: 5_000,
  // An attempt each quarter of an hour reaches a server that was down for a night with the last of what happened.
  retryMaximumMs: 900_000,
  attempts: 40,
};

/** Subjects that wait. Past them the oldest is left out: what is newer matters more. */
const MAX_WAITING = 32;

export class Deliverer {
  readonly #waiting = new Map<string, Notice>();
  readonly #send: Send;
  readonly #log: Log;
  readonly #pace: Pace;
  #suppressed = 0;
  #wake: () => void = () => undefined;
  #tokens: number;
  #refilled = performance.now();

  constructor({ send, log, pace = PACE }: { readonly send: Send; readonly log: Log; readonly pace?: Pace }) {
    this.#send = send;
    this.#log = log;
    this.#pace = pace;
    this.#tokens = pace.burst;
  }

  add(notice: Notice): void {
    // At its old place: nobody waits longer because more happened.
    if (this.#waiting.has(notice.subject)) this.#suppressed++;
    this.#waiting.set(notice.subject, notice);
    for (const subject of this.#waiting.keys()) {
      if (this.#waiting.size <= MAX_WAITING) break;
      this.#waiting.delete(subject);
      this.#suppressed++;
    }
    this.#wake();
  }

  async run(signal: AbortSignal): Promise<void> {
    let isFailing = false;
    let attempt = 0;
    while (!signal.aborted) {
      const [subject] = this.#waiting.keys();
      if (subject === undefined) {
        await this.#something(signal);
        continue;
      }
      const wait = this.#wait();
      if (wait > 0 && attempt === 0) {
        await pause(wait, signal);
        continue;
      }
      const notice = this.#waiting.get(subject) as Notice;
      const suppressed = this.#suppressed;
      try {
        await this.#send({ notice, suppressed }, signal);
        if (isFailing) this.#log.info("notices reach their place again");
        isFailing = false;
        this.#done(subject, notice);
        this.#suppressed -= suppressed;
        attempt = 0;
        this.#tokens--;
      } catch (error) {
        if (signal.aborted) return;
        attempt++;
        const again = error instanceof DeliveryError ? error.againAfterMs : 0;
        // Once, not at each attempt: the log is small.
        if (!isFailing) this.#log.warn(`a notice can't be delivered: ${describe(error)}`);
        isFailing = true;
        if (again === undefined || attempt >= this.#pace.attempts) {
          this.#done(subject, notice);
          this.#suppressed++;
          attempt = 0;
          this.#tokens--;
          continue;
        }
        const { retryMs: minimumMs, retryMaximumMs: maximumMs } = this.#pace;
        const delay = retryDelay({ minimumMs, multiplier: 2, maximumMs }, attempt, Math.random());
        await pause(Math.min(maximumMs, Math.max(delay, again)), signal);
      }
    }
  }

  /** Unless something newer has come since. */
  #done(subject: string, notice: Notice): void {
    if (this.#waiting.get(subject) === notice) this.#waiting.delete(subject);
  }

  /** Milliseconds until the next may go. */
  #wait(): number {
    const { burst, everyMs } = this.#pace;
    const now = performance.now();
    this.#tokens = Math.min(burst, this.#tokens + (now - this.#refilled) / everyMs);
    this.#refilled = now;
    return this.#tokens >= 1 ? 0 : (1 - this.#tokens) * everyMs;
  }

  #something(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = () => {
        signal.removeEventListener("abort", end);
        this.#wake = () => undefined;
        resolve();
      };
      this.#wake = end;
      signal.addEventListener("abort", end, { once: true });
      if (signal.aborted) end();
    });
  }
}

/** The sentence, with what was left out before it. */
export function textOf({ notice, suppressed }: Delivery): string {
  if (suppressed === 0) return notice.text;
  return `${notice.text} (${suppressed} ${suppressed === 1 ? "notice" : "notices"} before this one ${suppressed === 1 ? "was" : "were"} left out.)`;
}
