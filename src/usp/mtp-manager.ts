/**
 * Keeps a connection or a listener for each enabled row of `Device.LocalAgent.MTP.{i}.`, and a connection for each row of
 * a controller by which the agent dials it: connects, has it served, connects again with TR-369's back-off, and starts
 * over when a setting that matters was changed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { ModelChange } from "../model/changes.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { CONTROLLER_TABLE, MTP_TABLE } from "./controllers.ts";
import {
  isListener,
  type Connected,
  type DialFactory,
  type MtpConnector,
  type MtpFactory,
  type MtpListener,
  type MtpStates,
  type MtpStatus,
} from "./mtp.ts";
import type { Protocol } from "./policy.ts";
import { retryDelay } from "./retry.ts";

export interface MtpManagerParts {
  readonly tree: Tree;
  readonly factory: MtpFactory;
  readonly dial: DialFactory;
  readonly states: MtpStates;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Resolves when answers under way have left, or soon. */
  readonly quiet: () => Promise<void>;
  /** Serves a connection to its end; leaves it in order when the signal is aborted. */
  readonly serve: (mtp: string, connected: Connected, protocol: Protocol, signal: AbortSignal) => Promise<void>;
}

/** Rows that become connections, and the part of a path below them that names the row. */
const ROW = /^Device\.LocalAgent\.(?:MTP\.\d+|Controller\.\d+\.MTP\.\d+)(?=\.)/;
const CONTROLLER_ROW = /^Device\.LocalAgent\.Controller\.\d+(?=\.)/;
const IS_CONTROLLER_ROW = /^Device\.LocalAgent\.Controller\.\d+\.$/;

interface Task {
  /** `undefined`: its settings make no connection, yet. */
  readonly way: MtpConnector | MtpListener | undefined;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

export class MtpManager {
  readonly #parts: MtpManagerParts;
  readonly #tasks = new Map<string, Task>();
  readonly #changed = new Set<string>();
  #wake: () => void = () => undefined;

  constructor(parts: MtpManagerParts) {
    this.#parts = parts;
  }

  /** Until the signal; then leaves all connections in order. */
  async run(signal: AbortSignal): Promise<void> {
    for (const node of this.#rows()) this.#changed.add(pathOf(node));
    signal.addEventListener("abort", () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const paths = [...this.#changed];
      this.#changed.clear();
      await Promise.all(paths.map((path) => this.#restart(path)));
      if (this.#changed.size > 0 || signal.aborted) continue;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      // What one Message changes is taken together, and its answer leaves before its connection does.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#parts.quiet();
    }
    await Promise.all([...this.#tasks.keys()].map((path) => this.#stop(path)));
  }

  /** ForceReconnect(), or the row changed. Path without final dot. */
  restart(path: string): void {
    this.#changed.add(path);
    this.#wake();
  }

  /** Called by the change feed. */
  handle(change: ModelChange): void {
    if (change.kind === "event" || change.kind === "operationComplete") return;
    if (change.kind === "value" && !this.#isSetting(change.path, change.param)) return;
    const row = ROW.exec(change.path)?.[0];
    if (row !== undefined) return this.restart(row);
    if (IS_CONTROLLER_ROW.test(change.path) && concernsDialling(change)) this.#restartDialled(change.path);
    // A connector may itself keep something there: the client id that the broker gave.
    if (change.kind === "value" && !change.isSet) return;
    for (const [path, { way }] of this.#tasks)
      if (!way || way.watches.some((watched) => change.path.startsWith(watched))) this.restart(path);
  }

  /** The controller came, went, or is another: whoever is dialled for it has to be looked at again. */
  #restartDialled(controller: string): void {
    for (const path of this.#tasks.keys()) if (path.startsWith(controller)) this.restart(path);
    for (const node of this.#rows()) if (node.path.startsWith(controller)) this.restart(pathOf(node));
  }

  #isSetting(path: string, param: string): boolean {
    const schema = this.#parts.tree.at(path)?.object.params.get(param)?.schema;
    return schema !== undefined && schema.access !== "readOnly";
  }

  async #restart(path: string): Promise<void> {
    await this.#stop(path);
    const node = this.#parts.tree.at(path);
    if (!node || !this.#isEnabled(node)) {
      if (node) this.#state(path, "Down", "disabled");
      else this.#parts.states.forget(path);
      return;
    }
    const way = path.startsWith(MTP_TABLE) ? this.#parts.factory(node) : this.#parts.dial(node);
    const abort = new AbortController();
    if (!way) {
      // A controller's row by which it is not dialled needs nothing.
      if (!path.startsWith(MTP_TABLE)) return;
      this.#state(path, "Error", "its settings make no connection");
      this.#tasks.set(path, { way, abort, done: Promise.resolve() });
      return;
    }
    this.#tasks.set(path, { way, abort, done: this.#keep(path, way, abort.signal) });
  }

  /** A row of a controller counts while the controller does. */
  #isEnabled(node: InstanceNode): boolean {
    const isOn = (row: InstanceNode) => row.object.params.get("Enable")?.read(row.row) === true;
    const controller = CONTROLLER_ROW.exec(node.path)?.[0];
    const parent = controller === undefined ? undefined : this.#parts.tree.at(controller);
    return isOn(node) && (parent === undefined || isOn(parent));
  }

  async #stop(path: string): Promise<void> {
    const task = this.#tasks.get(path);
    if (!task) return;
    this.#tasks.delete(path);
    task.abort.abort();
    await task.done;
    this.#state(path, "Down", "closed");
  }

  /** Connect or listen, serve, wait, again. Never rejects. */
  async #keep(path: string, way: MtpConnector | MtpListener, signal: AbortSignal): Promise<void> {
    let attempt = 0;
    let reason = "";
    const up = () => {
      // The end of what the log complained of; what never failed says nothing.
      if (attempt > 0) this.#parts.log.warn(`${path} (${way.protocol}) is up again`);
      attempt = 0;
      this.#state(path, "Up", "");
    };
    while (!signal.aborted) {
      try {
        if (isListener(way)) await this.#listen(path, way, up, signal);
        else {
          const connected = await way.connect(signal);
          up();
          await this.#parts.serve(path, connected, way.protocol, signal);
        }
        reason = "the connection ended";
      } catch (error) {
        if (signal.aborted) return;
        reason = describe(error);
      }
      if (signal.aborted) return;
      attempt++;
      const wait = retryDelay(way.retry, attempt, this.#parts.random());
      this.#state(path, attempt === 1 ? "Down" : "Error", reason);
      this.#parts.log.warn(`${path} (${way.protocol}): ${reason}; again in ${(wait / 1000).toFixed(1)} s`);
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Until the listener ends, and all that it accepted with it. */
  async #listen(path: string, way: MtpListener, up: () => void, signal: AbortSignal): Promise<void> {
    const served = new Set<Promise<void>>();
    const end = new AbortController();
    const accept = (connected: Connected) => {
      const one = this.#parts.serve(path, connected, way.protocol, AbortSignal.any([signal, end.signal])).then(
        () => this.#parts.log.debug(`${path}: ${connected.peer ?? "a peer"} left`),
        (error: unknown) => this.#parts.log.info(`${path}: ${connected.peer ?? "a peer"}: ${describe(error)}`),
      );
      served.add(one);
      void one.finally(() => served.delete(one));
    };
    try {
      await way.listen(signal, { listening: up, accept });
    } finally {
      end.abort();
      await Promise.all(served);
    }
  }

  #state(path: string, status: MtpStatus, reason: string): void {
    const { states, tree, clock } = this.#parts;
    const before = states.of(path).status;
    states.set(path, { status, reason, since: clock.now() });
    if (before !== status && path.startsWith(MTP_TABLE)) tree.changes.value(`${path}.`, "Status");
  }

  *#rows(): Iterable<InstanceNode> {
    for (const path of [`${MTP_TABLE}{i}.`, `${CONTROLLER_TABLE}{i}.MTP.{i}.`]) {
      const table = this.#parts.tree.object(path);
      if (table) yield* this.#parts.tree.all(table);
    }
  }
}

const pathOf = (node: InstanceNode) => node.path.slice(0, -1);

/** Of changes in a Controller row itself: those that say whether and as whom it is dialled. */
function concernsDialling(change: ModelChange): boolean {
  if (change.kind === "value") return change.param === "Enable" || change.param === "EndpointID";
  return change.kind === "created" || change.kind === "deleted";
}
