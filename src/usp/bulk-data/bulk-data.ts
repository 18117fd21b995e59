/**
 * Bulk data (TR-369 annex A): the profiles of `Device.BulkData.` and when each is due. It sees the model as each profile's
 * owner does, and nothing of who or what that is.
 */
import type { ModelChange } from "../../model/changes.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { InstanceNode } from "../../model/tree.ts";
import { BULK_DATA, PROFILE_TABLE, readProfile, type Profile } from "./profile.ts";
import { Reporter, type ReporterParts } from "./reporter.ts";
import { Retention } from "./retention.ts";
import { nextDue, ownPhase } from "./schedule.ts";
import type { BulkDataStates } from "./state.ts";

export interface BulkDataParts extends ReporterParts {
  readonly states: BulkDataStates;
  /** Most that failed reports of all profiles may take; absent: RETAINED_BYTES. */
  readonly retainedBytes?: number;
  /** Least time between reports of one profile that are asked for; absent: FORCE_INTERVAL_MS. */
  readonly forceIntervalMs?: number;
}

interface Beat {
  readonly reporter: Reporter;
  profile: Profile;
  /** Milliseconds since 1970. */
  due: number;
  /** By the monotonic clock. */
  forcedAt: number;
}

/** So often the clock is looked at: it may have jumped. */
const LOOK_MS = 60_000;
/** Between reports of one profile that are asked for by ForceCollection(). */
const FORCE_INTERVAL_MS = 1_000;

export class BulkData {
  readonly #parts: BulkDataParts;
  readonly #retention: Retention;
  readonly #beats = new Map<string, Beat>();
  #timer: NodeJS.Timeout | undefined;
  #status: string | undefined;
  #isRunning = false;
  #isStale = false;

  constructor(parts: BulkDataParts) {
    this.#parts = parts;
    this.#retention = new Retention(parts.retainedBytes);
  }

  /** Until the signal; then what is under way is given up, and what waits is lost. */
  async run(signal: AbortSignal): Promise<void> {
    const unlisten = this.#parts.tree.changes.listen((change) => this.#handle(change));
    this.#refresh();
    this.#isRunning = true;
    if (!signal.aborted) await new Promise((stop) => signal.addEventListener("abort", stop, { once: true }));
    this.#isRunning = false;
    unlisten();
    clearTimeout(this.#timer);
    await Promise.all([...this.#beats.keys()].map((path) => this.#end(path)));
  }

  /** ForceCollection() of a profile, by instance path with final dot. @throws UspError 7022, 7005 */
  force(path: string): void {
    const beat = this.#beats.get(path);
    if (!beat)
      throw new UspError(UspErrorCode.CommandFailed, `${path} makes no reports: it, or BulkData, is not enabled`);
    const now = this.#parts.clock.monotonic();
    if (now - beat.forcedAt < (this.#parts.forceIntervalMs ?? FORCE_INTERVAL_MS))
      throw new UspError(UspErrorCode.ResourcesExceeded, `${path} has just made a report; ask again in a second`);
    beat.forcedAt = now;
    this.#report(path, beat);
  }

  #handle(change: ModelChange): void {
    if (this.#isStale || !change.path.startsWith(BULK_DATA)) return;
    if (change.kind === "event" || change.kind === "operationComplete") return;
    if (change.kind === "value" && change.path === BULK_DATA && change.param !== "Enable") return;
    // Once for all that a Message changes.
    this.#isStale = true;
    queueMicrotask(() => {
      this.#isStale = false;
      if (this.#isRunning) this.#refresh();
    });
  }

  /** Reads the rows again. What did not change keeps its beat. */
  #refresh(): void {
    const { tree, clock } = this.#parts;
    const root = tree.at(BULK_DATA);
    const isOn = root?.object.params.get("Enable")?.read(root.row) === true;
    const rows = isOn ? this.#rows() : [];
    const enabled = new Map<string, Profile>();
    for (const row of rows) {
      const profile = readProfile(tree, row);
      if (profile.enabled) enabled.set(row.path, profile);
    }
    for (const path of [...this.#beats.keys()]) if (!enabled.has(path)) void this.#end(path);
    for (const [path, profile] of enabled) {
      const beat = this.#beats.get(path) ?? this.#begin(path, profile);
      const { encoding, intervalMs, phase } = beat.profile;
      if (encoding.type !== profile.encoding.type) beat.reporter.forget();
      const isMoved = intervalMs !== profile.intervalMs || phase !== profile.phase;
      beat.profile = profile;
      if (isMoved) beat.due = this.#nextDue(profile, clock.now());
    }
    this.#arm();
    this.#tellStatus();
  }

  #rows(): Iterable<InstanceNode> {
    const { tree } = this.#parts;
    const table = tree.object(PROFILE_TABLE);
    return table ? tree.all(table) : [];
  }

  #begin(path: string, profile: Profile): Beat {
    const reporter = new Reporter(this.#parts, this.#retention, (failure) => this.#fared(path, failure));
    const beat = { reporter, profile, due: this.#nextDue(profile, this.#parts.clock.now()), forcedAt: -Infinity };
    this.#beats.set(path, beat);
    return beat;
  }

  async #end(path: string): Promise<void> {
    const beat = this.#beats.get(path);
    this.#beats.delete(path);
    await beat?.reporter.stop();
    this.#parts.states.set(path, undefined);
    this.#tellStatus();
  }

  #nextDue({ path, intervalMs, phase }: Profile, now: number): number {
    return nextDue(now, intervalMs, phase ?? ownPhase(this.#parts.identity().endpointId, path, intervalMs));
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const due = Math.min(...[...this.#beats.values()].map((beat) => beat.due));
    if (due === Infinity) return;
    const wait = Math.min(Math.max(due - this.#parts.clock.now(), 0), LOOK_MS);
    this.#timer = setTimeout(() => this.#look(), wait);
    this.#timer.unref();
  }

  #look(): void {
    const now = this.#parts.clock.now();
    for (const [path, beat] of this.#beats) {
      const isDue = now >= beat.due;
      // A clock that was put back would leave it waiting for a time long gone by.
      if (isDue || beat.due - now > beat.profile.intervalMs) beat.due = this.#nextDue(beat.profile, now);
      if (isDue) this.#report(path, beat);
    }
    this.#arm();
  }

  #report(path: string, beat: Beat): void {
    const row = this.#parts.tree.at(path);
    if (row) beat.reporter.report(readProfile(this.#parts.tree, row));
  }

  #fared(path: string, failure: string | undefined): void {
    const { states, log } = this.#parts;
    if (!this.#beats.has(path)) return;
    const before = states.of(path);
    states.set(path, failure);
    if (failure !== undefined && failure !== before) log.warn(`${path}: no report: ${failure}`);
    if (failure === undefined && before !== undefined) log.info(`${path}: reports are delivered again`);
    this.#tellStatus();
  }

  /** Where it differs from what was told last. */
  #tellStatus(): void {
    const { tree } = this.#parts;
    const root = tree.at(BULK_DATA);
    const status = root && tree.text(root, "Status");
    if (status === this.#status) return;
    this.#status = status;
    if (this.#isRunning) tree.changes.value(BULK_DATA, "Status");
  }
}
