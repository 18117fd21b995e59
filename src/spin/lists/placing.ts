/**
 * Keeps the kernel at what rules need of lists: the addresses of each enabled list that an enabled rule names are placed
 * before the rule holds, brought up to date when the list changes, and taken away once no rule asks for them. One thing at
 * a time, the newest state first; what fails is tried again.
 */
import type { Log } from "../../lib/log.ts";
import { describe } from "../../lib/log.ts";
import type { Rule } from "../rule-values.ts";
import type { Enforcer } from "../ruleset.ts";
import { ListRefusal } from "../ruleset.ts";
import { numberOf, type ListBook } from "./book.ts";
import type { ListRanges } from "./ranges.ts";

const RETRY_MS = [1000, 5000, 30_000];

export interface PlacingOptions {
  readonly book: ListBook;
  readonly enforcer: Enforcer;
  readonly rules: () => readonly Rule[];
  /** Resolves when the enforcer obeys the newest policy. */
  readonly settled: () => Promise<void>;
  readonly log: Log;
}

export class Placing {
  readonly #options: PlacingOptions;
  readonly #placed = new Map<number, ListRanges>();
  /** What was refused of lists that are placed as they were before. */
  readonly #refused = new Map<number, ListRanges>();
  #started = false;
  #isDue = false;
  #working: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  #failures = 0;
  #closed = false;

  constructor(options: PlacingOptions) {
    this.#options = options;
    options.book.needsPlacing = options.enforcer.list !== undefined;
  }

  /** The enforcer has begun: what is loaded is placed before the first policy, so that no rule is without its list. */
  async start(): Promise<void> {
    if (this.#started) return;
    this.#started = true;
    this.#isDue = true;
    // Nothing is taken away meanwhile: that would wait for the policy, which waits for this.
    this.#run(false);
    await this.#working;
  }

  /** Lists or rules changed. */
  changed(): void {
    this.#isDue = true;
    if (this.#started) this.#wake();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#working;
  }

  #wake(): void {
    if (this.#closed || this.#retry) return;
    this.#run(true);
  }

  #run(mayRemove: boolean): void {
    this.#working ??= Promise.resolve()
      .then(() => this.#work(mayRemove))
      .finally(() => {
        this.#working = undefined;
        if (this.#isDue) this.#wake();
      });
  }

  /** Never rejects. */
  async #work(mayRemove: boolean): Promise<void> {
    const { enforcer, book, log } = this.#options;
    while (this.#isDue && !this.#closed) {
      this.#isDue = false;
      try {
        const wanted = this.#wanted();
        for (const [number, content] of wanted) {
          if (this.#placed.get(number) === content) continue;
          await this.#place(number, content);
        }
        for (const number of mayRemove ? [...this.#placed.keys()] : []) {
          if (wanted.has(number)) continue;
          // Not before no rule leads packets there.
          book.placed(number, false);
          await this.#options.settled();
          if (this.#wanted().has(number)) continue;
          await enforcer.list?.(number, undefined);
          this.#placed.delete(number);
          this.#refused.delete(number);
        }
        this.#failures = 0;
      } catch (error) {
        const wait = RETRY_MS[Math.min(this.#failures++, RETRY_MS.length - 1)] as number;
        log.warn(`a list is not in the kernel yet, trying again in ${wait} ms: ${describe(error)}`);
        this.#retry ??= setTimeout(() => {
          this.#retry = undefined;
          this.changed();
        }, wait);
        return;
      }
    }
  }

  async #place(number: number, content: ListRanges): Promise<void> {
    const { enforcer, book, log } = this.#options;
    try {
      await enforcer.list?.(number, content);
    } catch (error) {
      if (!(error instanceof ListRefusal)) throw error;
      // An update that is too big leaves its rules what they had.
      if (!this.#placed.has(number)) book.placed(number, false, error.message);
      else if (this.#refused.get(number) !== content)
        log.warn(`list ${number} stays in the kernel as it was: ${error.message}`);
      this.#refused.set(number, content);
      return;
    }
    this.#refused.delete(number);
    this.#placed.set(number, content);
    book.placed(number, true);
  }

  #wanted(): Map<number, ListRanges> {
    const { book, rules } = this.#options;
    const wanted = new Map<number, ListRanges>();
    for (const { enable, action, destinations } of rules()) {
      if (!enable || action === "Ignore" || destinations === "*") continue;
      for (const reference of destinations.lists) {
        const resolved = book.resolve(reference);
        const content = book.content(numberOf(reference));
        if (resolved && content && resolved.state !== "off" && resolved.state !== "refused" && resolved.hasAddresses)
          wanted.set(resolved.number, content);
      }
    }
    return wanted;
  }
}
