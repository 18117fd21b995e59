/** The Record that is missing: when it is asked for, and how often. */
import type { SessionContext } from "./context.ts";
import type { PeerParts } from "./peer-parts.ts";

/**
 * What is missing is asked for in the second retry window and later: what is late comes by itself, and each request costs
 * a number that the peer may not expect.
 */
const FIRST_REQUEST = 2;
/** Requests for one Record before the session is given up. */
const REQUESTS = 4;

export class Gap {
  readonly #parts: PeerParts;
  #open: { dueAt: number; requests: number } | undefined;

  constructor(parts: PeerParts) {
    this.#parts = parts;
  }

  /** By the monotonic clock; Infinity: nothing is missing. */
  get dueAt(): number {
    return this.#open?.dueAt ?? Infinity;
  }

  close(): void {
    this.#open = undefined;
  }

  /** Whether to ask at once: more is missing than what was asked for, and has waited long enough. */
  watch({ hasGap }: SessionContext, hasMoved: boolean): boolean {
    if (!hasGap) this.#open = undefined;
    else if (!this.#open) this.#open = { dueAt: this.#next(0), requests: 0 };
    else if (hasMoved && this.#open.requests > 0) {
      this.#open = { dueAt: 0, requests: 0 };
      return true;
    }
    return false;
  }

  /** Whether it is to be asked for once more; if so it counts. */
  mayAsk(): boolean {
    const gap = this.#open;
    if (!gap || gap.requests >= REQUESTS) return false;
    gap.dueAt = this.#next(++gap.requests);
    return true;
  }

  #next(requests: number): number {
    const { clock, settings, random } = this.#parts;
    return clock.monotonic() + settings().retryMs(FIRST_REQUEST + requests, random());
  }
}
