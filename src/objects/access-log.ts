/**
 * `Device.X_SPIN.AccessLog.{i}.`: who saw what. A ring whose rows sum up what one controller does again and again, so that
 * who polls does not push out what others did, and who did something can't bury it under much else.
 */
import { ACCESS_ROWS, SpinAccessLog } from "../../datamodel/spin-access-log.ts";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import { bind } from "../model/binding.ts";
import type { Implementation, ModelTree } from "../model/implementation.ts";

export interface AccessRow {
  /** Instance number; never reused. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly time: number;
  lastTime: number;
  count: number;
  /** Endpoint id. */
  readonly controller: string;
  readonly what: string;
  /** Whether it showed whom the home talks to. */
  readonly secured: boolean;
}

export interface AccessLogOptions {
  readonly store: Pick<Store, "load" | "save">;
  readonly clock: Clock;
  readonly log: Log;
}

export const ACCESS_DOCUMENT = "access-log";
/** What comes within the hour after is the same access; a row is a day's at most, so that each day shows. */
const SAME_MS = 60 * 60_000;
const ROW_MS = 24 * 60 * 60_000;
/** Flash: a document of 40 kB at most, once a minute at most and only where something was done. */
const SAVE_MS = 60_000;
const MAX_TEXT = 256;

export class AccessLog {
  readonly #options: AccessLogOptions;
  readonly #rows: AccessRow[] = [];
  readonly #newest = new Map<string, AccessRow>();
  #next = 1;
  #savedAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #tree: ModelTree | undefined;

  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#load(options.store.load(ACCESS_DOCUMENT));
  }

  attach(tree: ModelTree): void {
    this.#tree = tree;
  }

  /** In the order of their numbers. */
  all(): readonly AccessRow[] {
    return this.#rows;
  }

  add(endpointId: string, what: string, secured: boolean): void {
    const time = this.#options.clock.now();
    const controller = endpointId.slice(0, MAX_TEXT);
    const words = what.slice(0, MAX_TEXT);
    const key = keyOf({ controller, what: words, secured });
    const row = this.#newest.get(key);
    // By a clock that was set back it may be done before it was first done: that is a row of its own.
    if (row && time >= row.time && time - row.lastTime < SAME_MS && time - row.time < ROW_MS) {
      row.lastTime = Math.max(row.lastTime, time);
      row.count++;
    } else {
      this.#makeRoom();
      const next = { number: this.#next++, time, lastTime: time, count: 1, controller, what: words, secured };
      this.#rows.push(next);
      this.#newest.set(key, next);
      this.#tell("created", next.number);
    }
    this.#saveSoon();
  }

  /** Writes what is not yet; at the end. Never rejects. */
  async close(): Promise<void> {
    const isDue = this.#timer !== undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (isDue) await this.#save();
  }

  /** The controller with most rows gives one: the oldest that showed nothing, or its oldest. */
  #makeRoom(): void {
    if (this.#rows.length < ACCESS_ROWS) return;
    const counts = new Map<string, number>();
    for (const { controller } of this.#rows) counts.set(controller, (counts.get(controller) ?? 0) + 1);
    const [most] = [...counts].reduce((best, each) => (each[1] > best[1] ? each : best));
    const own = this.#rows.filter(({ controller }) => controller === most);
    const gone = own.find(({ secured }) => !secured) ?? own[0];
    if (!gone) return;
    this.#rows.splice(this.#rows.indexOf(gone), 1);
    if (this.#newest.get(keyOf(gone)) === gone) this.#newest.delete(keyOf(gone));
    this.#tell("deleted", gone.number);
  }

  #tell(kind: "created" | "deleted", number: number): void {
    const { path: supportedPath } = SpinAccessLog;
    const path = supportedPath.replace("{i}", `${number}`);
    const changes = this.#tree?.changes;
    if (kind === "created") changes?.emit({ kind, path, supportedPath, keys: new Map() });
    else changes?.emit({ kind, path, supportedPath });
  }

  #saveSoon(): void {
    if (this.#timer) return;
    const wait = Math.max(0, this.#savedAt + SAVE_MS - this.#options.clock.monotonic());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      void this.#save();
    }, wait);
    this.#timer.unref();
  }

  async #save(): Promise<void> {
    const { store, clock, log } = this.#options;
    this.#savedAt = clock.monotonic();
    try {
      await store.save(ACCESS_DOCUMENT, { next: this.#next, rows: this.#rows });
    } catch (error) {
      log.warn(`the access log could not be saved: ${describe(error)}`);
    }
  }

  #load(saved: unknown): void {
    if (typeof saved !== "object" || saved === null) return;
    const { next, rows } = saved as { next?: unknown; rows?: unknown };
    for (const row of Array.isArray(rows) ? (rows as unknown[]).slice(-ACCESS_ROWS) : []) {
      if (!isAccessRow(row) || row.number < this.#next) continue;
      this.#rows.push(row);
      this.#newest.set(keyOf(row), row);
      this.#next = row.number + 1;
    }
    if (Number.isSafeInteger(next)) this.#next = Math.max(this.#next, next as number);
  }
}

const keyOf = ({ controller, what, secured }: Pick<AccessRow, "controller" | "what" | "secured">) =>
  `${Number(secured)} ${controller} ${what}`;

function isAccessRow(value: unknown): value is AccessRow {
  if (typeof value !== "object" || value === null) return false;
  const { number, time, lastTime, count, controller, what, secured } = value as Record<keyof AccessRow, unknown>;
  return (
    [number, time, lastTime, count].every((each) => Number.isSafeInteger(each)) &&
    [controller, what].every((each) => typeof each === "string" && each.length <= MAX_TEXT) &&
    typeof secured === "boolean"
  );
}

export function spinAccessLog(log: AccessLog): Implementation {
  return bind(SpinAccessLog, {
    rows: {
      instances: () => log.all().map(({ number }) => number),
      row: (_parent: unknown, instance: number) => log.all().find(({ number }) => number === instance),
    },
    get: {
      Time: ({ time }) => time,
      LastTime: ({ lastTime }) => lastTime,
      Count: ({ count }) => count,
      Controller: ({ controller }) => controller,
      What: ({ what }) => what,
      Secured: ({ secured }) => secured,
    },
  });
}
