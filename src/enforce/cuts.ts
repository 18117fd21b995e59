/**
 * Flows to be ended, gathered: each pass reads the whole of conntrack's table, so that what many rules end, that came at
 * once, is ended in one.
 */
import type { FlowFilter } from "./transport.ts";

export class Cuts {
  readonly #pass: (filters: readonly FlowFilter[]) => Promise<void>;
  #waiting: FlowFilter[] = [];
  #next: Promise<void> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(pass: (filters: readonly FlowFilter[]) => Promise<void>) {
    this.#pass = pass;
  }

  /** Resolves when a pass that began after the call is over; rejects if it failed. */
  add(filter: FlowFilter): Promise<void> {
    this.#waiting.push(filter);
    this.#next ??= this.#begin();
    return this.#next;
  }

  #begin(): Promise<void> {
    const pass = this.#last.then(async () => {
      const filters = this.#waiting;
      this.#waiting = [];
      this.#next = undefined;
      await this.#pass(filters);
    });
    this.#last = pass.catch(() => undefined);
    return pass;
  }
}
