/**
 * Keeps a connection for each enabled row of `Device.LocalAgent.MTP.{i}.`: connects, has it served, connects again with
 * TR-369's back-off, and starts over when a setting that matters was changed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { ModelChange } from "../model/changes.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { MTP_TABLE } from "./controllers.ts";
import type { Connected, MtpConnector, MtpFactory, MtpStates, MtpStatus } from "./mtp.ts";
import { retryDelay } from "./retry.ts";

export interface MtpManagerParts {
  readonly tree: Tree;
  readonly factory: MtpFactory;
  readonly states: MtpStates;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Resolves when answers under way have left, or soon. */
  readonly quiet: () => Promise<void>;
  /** Serves a connection to its end; leaves it in order when the signal is aborted. */
  readonly serve: (mtp: string, connected: Connected, connector: MtpConnector, signal: AbortSignal) => Promise<void>;
}

interface Task {
  /** `undefined`: its settings make no connection, yet. */
  readonly connector: MtpConnector | undefined;
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
    if (change.path.startsWith(MTP_TABLE)) {
      const row = /^Device\.LocalAgent\.MTP\.\d+/.exec(change.path)?.[0];
      if (row !== undefined) this.restart(row);
      return;
    }
    // A connector may itself keep something there: the client id that the broker gave.
    if (change.kind === "value" && !change.isSet) return;
    for (const [path, { connector }] of this.#tasks)
      if (!connector || connector.watches.some((watched) => change.path.startsWith(watched))) this.restart(path);
  }

  #isSetting(path: string, param: string): boolean {
    const schema = this.#parts.tree.at(path)?.object.params.get(param)?.schema;
    return schema !== undefined && schema.access !== "readOnly";
  }

  async #restart(path: string): Promise<void> {
    await this.#stop(path);
    const node = this.#parts.tree.at(path);
    if (!node || node.object.params.get("Enable")?.read(node.row) !== true) {
      if (node) this.#state(path, "Down", "disabled");
      else this.#parts.states.forget(path);
      return;
    }
    const connector = this.#parts.factory(node);
    const abort = new AbortController();
    if (!connector) {
      this.#state(path, "Error", "its settings make no connection");
      this.#tasks.set(path, { connector, abort, done: Promise.resolve() });
      return;
    }
    this.#tasks.set(path, { connector, abort, done: this.#keep(path, connector, abort.signal) });
  }

  async #stop(path: string): Promise<void> {
    const task = this.#tasks.get(path);
    if (!task) return;
    this.#tasks.delete(path);
    task.abort.abort();
    await task.done;
    this.#state(path, "Down", "closed");
  }

  /** Connect, serve, wait, again. Never rejects. */
  async #keep(path: string, connector: MtpConnector, signal: AbortSignal): Promise<void> {
    let attempt = 0;
    let reason = "";
    while (!signal.aborted) {
      try {
        const connected = await connector.connect(signal);
        attempt = 0;
        reason = "";
        this.#state(path, "Up", "");
        await this.#parts.serve(path, connected, connector, signal);
        reason = "the connection ended";
      } catch (error) {
        if (signal.aborted) return;
        reason = describe(error);
      }
      if (signal.aborted) return;
      attempt++;
      const wait = retryDelay(connector.retry, attempt, this.#parts.random());
      this.#state(path, attempt === 1 ? "Down" : "Error", reason);
      this.#parts.log.warn(`${path} (${connector.protocol}): ${reason}; again in ${(wait / 1000).toFixed(1)} s`);
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  #state(path: string, status: MtpStatus, reason: string): void {
    const { states, tree, clock } = this.#parts;
    const before = states.of(path).status;
    states.set(path, { status, reason, since: clock.now() });
    if (before !== status) tree.changes.value(`${path}.`, "Status");
  }

  #rows(): Iterable<InstanceNode> {
    const table = this.#parts.tree.object(`${MTP_TABLE}{i}.`);
    return table ? this.#parts.tree.all(table) : [];
  }
}

const pathOf = (node: InstanceNode) => node.path.slice(0, -1);
