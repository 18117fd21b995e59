/**
 * What a Subscription sets when it is triggered (TriggerAction Config, NotifyAndConfig): with its recipient's rights, and
 * only where the recipient might have been told. Never at once, since the change feed's listeners change nothing; and so
 * seldom that two Subscriptions that undo each other wear out neither processor nor flash.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { UspError } from "../lib/usp-error.ts";
import type { Tree } from "../model/tree.ts";
import type { Set_UpdateObject } from "../../proto/generated/usp-msg.ts";
import { set } from "./handlers/set.ts";
import type { Notification } from "./outbox.ts";
import { PathCache } from "./path-cache.ts";
import { parseSetting } from "./subscription-rows.ts";
import type { Subscription } from "./subscription.ts";
import type { View } from "./view.ts";

export interface TriggerParts {
  readonly tree: Tree;
  readonly clock: Clock;
  readonly log: Log;
  /** As the recipient sees the model now; `undefined` if it is gone or disabled. */
  readonly view: (subscription: Subscription) => View | undefined;
}

interface Pull {
  readonly subscription: Subscription;
  /** What would be told: `undefined` where the recipient may not know of it. */
  readonly build: (view: View) => Notification | undefined;
}

/** Between two settings by one Subscription; what comes between is done in the end. */
const INTERVAL_MS = 1000;
/** Sixteen settings of at most 4 kB are echoed in the answer that nobody reads. */
const RESPONSE_BYTES = 1_000_000;

export class Triggers {
  readonly #parts: TriggerParts;
  readonly #paths = new PathCache();
  /** Newest of each subscription that waits, by its path. */
  readonly #due = new Map<string, Pull>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #last = new Map<string, number>();

  constructor(parts: TriggerParts) {
    this.#parts = parts;
  }

  pull(pull: Pull): void {
    const { path } = pull.subscription;
    this.#due.set(path, pull);
    if (this.#timers.has(path)) return;
    const wait = (this.#last.get(path) ?? -Infinity) + INTERVAL_MS - this.#parts.clock.monotonic();
    this.#timers.set(
      path,
      setTimeout(() => this.#run(path), Math.max(wait, 0)),
    );
  }

  /** The subscription is gone or disabled. */
  drop(path: string): void {
    clearTimeout(this.#timers.get(path));
    this.#timers.delete(path);
    this.#due.delete(path);
    this.#last.delete(path);
  }

  stop(): void {
    for (const path of [...this.#timers.keys()]) this.drop(path);
  }

  #run(path: string): void {
    const { clock, view: viewOf } = this.#parts;
    const pull = this.#due.get(path);
    this.#timers.delete(path);
    this.#due.delete(path);
    if (!pull) return;
    this.#last.set(path, clock.monotonic());
    const view = viewOf(pull.subscription);
    if (view && pull.build(view)) this.#set(pull.subscription, view);
  }

  #set({ path, settings }: Subscription, view: View): void {
    const { tree, log } = this.#parts;
    const context = { tree, view, paths: this.#paths, responseBytes: RESPONSE_BYTES, absentDeleteFails: false };
    try {
      // Kept by an older version, one may be none.
      const updateObjs = settings.map((setting): Set_UpdateObject => {
        const { objPath, param, value } = parseSetting(setting);
        return { objPath, paramSettings: [{ param, value, required: true }] };
      });
      const response = set({ allowPartial: true, updateObjs }, context);
      if (response.$case !== "setResp") return;
      for (const { requestedPath, operStatus } of response.value.updatedObjResults) {
        const status = operStatus?.operStatus;
        if (status?.$case === "operFailure")
          log.info(`${path}: ${requestedPath} is not set as TriggerConfigSettings says: ${status.value.errMsg}`);
      }
    } catch (error) {
      if (!(error instanceof UspError)) throw error;
      log.info(`${path}: nothing is set: ${error.message}`);
    }
  }
}
