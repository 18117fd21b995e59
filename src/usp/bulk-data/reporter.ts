/**
 * One profile at work: a report when it is due or asked for, delivered, tried again until the next is due, and kept for the
 * next one where the profile says so (TR-369 R-BULK.2 to R-BULK.5). One delivery at a time.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../../lib/clock.ts";
import { describe, type Log } from "../../lib/log.ts";
import { UspError } from "../../lib/usp-error.ts";
import type { Tree } from "../../model/tree.ts";
import { retryDelay, type RetryPolicy } from "../retry.ts";
import type { View } from "../view.ts";
import { sendByHttp, sendByMqtt, type Publish, type ReporterIdentity } from "./delivery.ts";
import { encode } from "./encode.ts";
import type { HttpPolicy } from "./http.ts";
import type { Profile } from "./profile.ts";
import { isForRecords } from "./records-topics.ts";
import { collect, stillAllowed, type Report } from "./report.ts";
import type { Retention } from "./retention.ts";

export interface ReporterParts {
  readonly tree: Tree;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  readonly identity: () => ReporterIdentity;
  /**
   * The model as the owner (path of its Controller row) sees it: at its own door, or by none, for what leaves to others.
   * `undefined` where it is gone or disabled.
   */
  readonly viewOf: (owner: string, at: "door" | "none") => View | undefined;
  /** Whether the owner can be told something now. */
  readonly reaches: (owner: string) => boolean;
  readonly publish: Publish | undefined;
  /** Read anew for each delivery: files may have changed. */
  readonly http: () => HttpPolicy;
  /** Greatest report. */
  readonly reportBytes: number;
}

/** A Notify with more would not pass the brokers of large fleets (AWS IoT Core: 128 kB). */
const MAX_PUSH_BYTES = 64_000;
/** Pushed while the owner is out of reach: they wait in its queue, 1 MB at most; later ones are not made. */
const MAX_WAITING_PUSHES = 16;
/** Of MQTT, whose rows have no such parameters: the same as of HTTP, by default. */
const MQTT_RETRY: RetryPolicy = { minimumMs: 5_000, multiplier: 2, maximumMs: Infinity };

export class Reporter {
  readonly #parts: ReporterParts;
  readonly #retention: Retention;
  readonly #tell: (failure: string | undefined) => void;
  /** Since the owner was last within reach. */
  #waitingPushes = 0;
  /** The delivery under way. */
  #delivery: { readonly stop: AbortController; readonly done: Promise<void> } | undefined;

  /** @param tell How the last report fared: why not, in words. */
  constructor(parts: ReporterParts, retention: Retention, tell: (failure: string | undefined) => void) {
    this.#parts = parts;
    this.#retention = retention;
    this.#tell = tell;
  }

  get isBusy(): boolean {
    return this.#delivery !== undefined;
  }

  /** Makes a report and begins to deliver it; what is not delivered by now has failed. */
  report(profile: Profile): void {
    this.#delivery?.stop.abort(new Error("the next report is due"));
    const stop = new AbortController();
    const before = this.#delivery?.done ?? Promise.resolve();
    const done = before.then(() => this.#deliver(profile, stop.signal));
    const delivery = { stop, done };
    this.#delivery = delivery;
    const ended = done.catch((error: unknown) => this.#parts.log.error(`${profile.path}: the report failed`, error));
    void ended.then(() => {
      if (this.#delivery === delivery) this.#delivery = undefined;
    });
  }

  /** Gives up what is under way, and what waits. */
  async stop(): Promise<void> {
    this.#delivery?.stop.abort(new Error("stopped"));
    await this.#delivery?.done.catch(() => undefined);
    this.forget();
  }

  /** Drops reports that are kept. */
  forget(): void {
    this.#retention.forget(this);
  }

  async #deliver(profile: Profile, signal: AbortSignal): Promise<void> {
    const { viewOf, clock, reportBytes } = this.#parts;
    const { target, owner, references } = profile;
    const isPush = target.protocol === "USPEventNotif";
    if (isPush && this.#parts.reaches(owner)) this.#waitingPushes = 0;
    else if (isPush && ++this.#waitingPushes > MAX_WAITING_PUSHES)
      return this.#tell(`its Controller is out of reach, and ${MAX_WAITING_PUSHES} reports wait for it`);
    const view = viewOf(owner, isPush ? "door" : "none");
    if (!view) return this.#tell("its Controller is gone or disabled");
    let report: Report;
    try {
      report = collect(view, references, clock.now(), isPush ? Math.min(MAX_PUSH_BYTES, reportBytes) : reportBytes);
    } catch (error) {
      if (!(error instanceof UspError)) throw error;
      return this.#tell(error.message);
    }
    if (isPush) return this.#push(profile, report);
    await this.#attempts(profile, report, signal);
  }

  /** To the owner's subscriptions, whose retries are the notification's (TR-369 annex A.4). */
  #push({ path, owner, encoding }: Profile, report: Report): void {
    const { viewOf } = this.#parts;
    const args = {
      // Read each time that it is sent: rights and privacy may have changed since.
      get Data() {
        const view = viewOf(owner, "door");
        return view ? encode([stillAllowed(view, report)], encoding) : "";
      },
    };
    this.#parts.tree.changes.emit({ kind: "event", path, name: "Push!", args, recipient: owner });
    this.#tell(undefined);
  }

  async #attempts(profile: Profile, report: Report, signal: AbortSignal): Promise<void> {
    const { target } = profile;
    const retry = target.protocol === "HTTP" ? target.retry : MQTT_RETRY;
    for (let attempt = 1; ; attempt++) {
      try {
        signal.throwIfAborted();
        await this.#send(profile, report, signal);
        this.#retention.forget(this);
        return this.#tell(undefined);
      } catch (error) {
        if (signal.aborted) break;
        this.#tell(describe(error));
        if (!retry) break;
      }
      const wait = retryDelay(retry, attempt, this.#parts.random());
      await sleep(Math.min(wait, MAX_TIMER_MS), undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) break;
    }
    this.#retention.keep(this, report, profile.retained);
  }

  async #send({ target, encoding, owner }: Profile, report: Report, signal: AbortSignal): Promise<void> {
    const { viewOf, publish, http, identity } = this.#parts;
    const view = viewOf(owner, "none");
    if (!view) throw new Error("its Controller is gone or disabled");
    // What waited is judged again: rights and privacy may have changed since.
    const reports = [...this.#retention.of(this), report].map((one) => stillAllowed(view, one));
    const text = encode(reports, encoding);
    if (target.protocol === "HTTP")
      await sendByHttp(text, encoding, target, { view, identity: identity(), policy: http() }, signal);
    else if (target.protocol === "MQTT") {
      if (!publish) throw new Error("there is no MQTT here");
      // Judged when it was set; who listens where may have changed since.
      if (isForRecords(this.#parts.tree, target.topic))
        throw new Error(
          `the agent or a Controller awaits Records at MQTT.PublishTopic, ${JSON.stringify(target.topic)}`,
        );
      await sendByMqtt(text, encoding, target, publish, signal);
    }
  }
}

const MAX_TIMER_MS = 2 ** 31 - 1;
