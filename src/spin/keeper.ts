/**
 * When the home is written to the state file: rarely, because flash wears, but soon when rows or their numbers change. Its
 * history, which is most of what there is to write, has a document of its own: each hour, and when the agent stops.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import type { DeviceTable } from "./devices.ts";
import { STATE_DOCUMENT } from "./state.ts";

/**
 * New rows are written with the next second's work, so that they keep their numbers over a crash. Each such write doubles
 * the pause before the next, so that a flood of forged addresses does not wear the flash; quiet makes it short again.
 */
const ROWS_PAUSE_MS = 900;
const ROWS_LONGEST_PAUSE_MS = 30_000;
const QUIET_MS = 60_000;
/** At most so often goes the history to flash; each write is one of the state's too, so that counters and marks belong together. */
const HISTORY_MS = 60 * 60_000;
export const HISTORY_DOCUMENT = "history";
/** Instance numbers are reserved on disk by so many, so that none is given twice whatever happens. */
const NUMBERS_AT_ONCE = 256;

export interface KeeperOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly store: Store;
  readonly devices: DeviceTable;
  readonly intervalMs: number;
  /** The document, with the numbers below `reserved` as given out. */
  readonly document: (reserved: number) => unknown;
  readonly history: () => unknown;
}

export class Keeper {
  readonly #options: KeeperOptions;
  /** Numbers below are on disk as given out, or about to be. */
  #reserved: number;
  #savedAt: number;
  #historySavedAt: number;
  #rowsSavedAt = -Infinity;
  #rowsPause = ROWS_PAUSE_MS;
  #isOpen = false;

  constructor(options: KeeperOptions, reserved: number) {
    this.#options = options;
    this.#reserved = reserved;
    this.#savedAt = this.#historySavedAt = options.clock.monotonic();
  }

  /** Reserves the first numbers, before anybody can see one. */
  async open(): Promise<void> {
    this.#isOpen = true;
    try {
      await this.save();
    } catch (error) {
      this.#options.log.error("the state is not kept: device rows may get other numbers after a restart", error);
    }
  }

  /** Saves for the last time, and gives back the numbers that nobody needed. */
  async close(): Promise<void> {
    const { devices, log } = this.#options;
    this.#isOpen = false;
    this.#reserved = devices.nextNumber;
    await Promise.all([this.#write(), this.saveHistory()]).catch((error: unknown) =>
      log.error("the counters were not saved", error),
    );
  }

  saveHistory(): Promise<void> {
    const { clock, store, history } = this.#options;
    this.#historySavedAt = clock.monotonic();
    return store.save(HISTORY_DOCUMENT, history);
  }

  save(): Promise<void> {
    const { devices } = this.#options;
    if (devices.nextNumber + NUMBERS_AT_ONCE / 2 > this.#reserved)
      this.#reserved = devices.nextNumber + NUMBERS_AT_ONCE;
    return this.#write();
  }

  /** The second's work. */
  tick(): void {
    const { clock, devices, intervalMs, log } = this.#options;
    const now = clock.monotonic();
    if (!this.#isOpen) return;
    const quiet = now - this.#rowsSavedAt;
    if (quiet >= QUIET_MS) this.#rowsPause = ROWS_PAUSE_MS;
    const rowsDue = devices.dirty && quiet >= this.#rowsPause;
    if (rowsDue) {
      this.#rowsSavedAt = now;
      this.#rowsPause = Math.min(this.#rowsPause * 2, ROWS_LONGEST_PAUSE_MS);
    }
    const numbersDue = devices.nextNumber + NUMBERS_AT_ONCE / 4 > this.#reserved;
    const historyDue = now - this.#historySavedAt >= HISTORY_MS;
    const failed = (error: unknown) => log.error("the counters were not saved", error);
    if (rowsDue || numbersDue || historyDue || now - this.#savedAt >= intervalMs) this.save().catch(failed);
    if (historyDue) this.saveHistory().catch(failed);
  }

  async #write(): Promise<void> {
    const { clock, store, devices, document } = this.#options;
    this.#savedAt = clock.monotonic();
    devices.dirty = false;
    const reserved = this.#reserved;
    await store.save(STATE_DOCUMENT, () => document(reserved));
    if (this.#isOpen) devices.reserve(reserved - 1);
  }
}
