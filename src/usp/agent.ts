/**
 * A USP agent (TR-369) over whatever links it is given. It has never heard of SPIN: it serves the tree. Here its parts are
 * put together and its life is told: connect, Boot!, serve, drain, Disconnect.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ModelChange } from "../model/changes.ts";
import { Admission } from "./admission.ts";
import { Connection } from "./connection.ts";
import { CONTROLLER_TABLE, Controllers, TRUST } from "./controllers.ts";
import type { DispatchContext } from "./dispatch.ts";
import { get } from "./handlers/get.ts";
import { PROTOCOL_VERSIONS } from "./handlers/get-supported-protocol.ts";
import { resume } from "./handlers/operate.ts";
import { Inlet } from "./inlet.ts";
import type { Connected, MtpConnector } from "./mtp.ts";
import { MtpManager } from "./mtp-manager.ts";
import { parameterMap } from "./notification.ts";
import { DEFAULT_AGENT_LIMITS, type AgentLimits, type AgentOptions } from "./options.ts";
import { OnBoarding } from "./onboarding.ts";
import { Outlet } from "./outlet.ts";
import { PathCache } from "./path-cache.ts";
import { Periodic } from "./periodic.ts";
import { Permissions } from "./permissions.ts";
import { NO_POLICY } from "./policy.ts";
import { Sessions } from "./sessions.ts";
import { Registration } from "./service.ts";
import { Subscriptions } from "./subscriptions.ts";
import { Thresholds } from "./thresholds.ts";
import type { View } from "./view.ts";

/** How long answers and notifications have to leave when the agent stops. */
const DRAIN_MS = 2_000;
/** How long a connection that is to be made anew waits for answers to leave, among them that to the Set that wants it. */
const QUIET_MS = 1_000;

/** Figures of the agent's life. */
export interface AgentCounters {
  /** Requests answered. */
  readonly requests: number;
  /** Records that got no answer because nothing safe could be said (R-MTP.5, unknown senders …). */
  readonly ignoredRecords: number;
  readonly notifications: {
    readonly sent: number;
    readonly coalesced: number;
    readonly dropped: number;
    readonly expired: number;
    readonly waiting: number;
    /** Held by those that wait, beside changed values. */
    readonly bytes: number;
  };
}

export class Agent {
  readonly #options: AgentOptions;
  readonly #permissions: Permissions;
  readonly #controllers: Controllers;
  readonly #admission: Admission;
  readonly #outlet: Outlet;
  readonly #sessions: Sessions;
  readonly #inlet: Inlet;
  readonly #subscriptions: Subscriptions;
  readonly #thresholds: Thresholds;
  readonly #onBoarding: OnBoarding;
  readonly #periodic: Periodic;
  readonly #manager: MtpManager;
  readonly #limits: AgentLimits;
  readonly #context: Omit<DispatchContext, "view" | "responseBytes">;
  readonly #paths = new PathCache();
  /** Ends commands when the agent stops. */
  readonly #stopping = new AbortController();
  /** Ends connections, when answers have left. */
  readonly #links = new AbortController();
  /** Controllers whose rows changed since they were read. */
  readonly #changed = new Set<string>();
  #trustChanged = false;

  constructor(options: AgentOptions) {
    const { tree, clock, log, endpointId } = options;
    const policy = options.policy ?? NO_POLICY;
    const random = options.random ?? Math.random;
    const limits = { ...DEFAULT_AGENT_LIMITS, ...options.limits };
    this.#options = options;
    this.#limits = limits;
    this.#permissions = new Permissions(tree, log);
    this.#controllers = new Controllers(tree, this.#permissions, policy);
    this.#admission = new Admission({
      tree,
      controllers: this.#controllers,
      clock,
      log,
      trust: options.trust,
      refresh: () => this.#refresh(),
    });
    this.#outlet = new Outlet({
      endpointId,
      log,
      startId: randomBytes(4).toString("hex"),
      admission: this.#admission,
    });
    const outlet = this.#outlet;
    this.#sessions = outlet.sessions = new Sessions({
      ...options.sessions,
      trust: {
        check: (chain, endpointId) => this.#admission.certificateFault(chain, endpointId),
        ...options.sessions?.trust,
      },
      tree,
      controllers: this.#controllers,
      clock,
      random,
      log,
      envelope: (connection, controller) => outlet.envelope(connection, controller),
      find: (controller) => {
        const found = outlet.find(controller);
        return found && { connection: found.connection, to: found.destination.to };
      },
      disconnect: ({ connection, to }, controller, why) => outlet.disconnect(connection, controller, to, why),
      isTrustedBroker: (connection) => this.#admission.isTrustedBroker(connection),
      quiet: () => this.#quiet(QUIET_MS),
    });
    this.#subscriptions = new Subscriptions({
      tree,
      controllers: this.#controllers,
      postman: this.#outlet,
      clock,
      log,
      random,
      capacity: limits.queuedNotifications,
      capacityBytes: limits.notificationBytes,
      totalBytes: limits.allNotificationBytes,
    });
    this.#thresholds = new Thresholds({
      tree,
      view: (path) => this.#subscriptions.viewOf(path),
      tell: (change, args) => this.#subscriptions.tell(change, args),
    });
    this.#onBoarding = new OnBoarding({
      controllers: this.#controllers,
      ask: ({ path }, answered) => this.sendOnBoardRequest(path, answered),
      end: (controller) => this.#subscriptions.endOnBoard(controller),
    });
    this.#periodic = new Periodic(this.#controllers, clock, ({ path }) =>
      tree.changes.emit({ kind: "event", path: "Device.LocalAgent.", name: "Periodic!", args: {}, recipient: path }),
    );
    this.#context = {
      tree,
      paths: this.#paths,
      absentDeleteFails: limits.absentDeleteFails,
      requests: options.requests,
      log,
      clock,
      signal: this.#stopping.signal,
      dataModelUri: options.dataModelUri ?? (() => TR181),
      saved: options.saved ?? (() => SAVED),
    };
    this.#inlet = new Inlet({
      endpointId,
      log,
      limits,
      controllers: this.#controllers,
      admission: this.#admission,
      outlet: this.#outlet,
      sessions: this.#sessions,
      refresh: () => this.#refresh(),
      answered: (controller, msgId) => this.#subscriptions.answered(controller, msgId),
      resume: (controller) => this.#subscriptions.resume(controller),
      context: this.#context,
    });
    this.#manager = new MtpManager({
      tree,
      factory: options.mtp,
      dial: options.dial ?? (() => undefined),
      states: options.mtpStates,
      clock,
      log,
      random,
      quiet: () => this.#quiet(QUIET_MS),
      serve: (mtp, connected, protocol, signal) => this.#serve(mtp, connected, protocol, signal),
    });
  }

  /**
   * Connects the MTP rows, answers and notifies until the signal; then lets answers leave, says Disconnect, closes.
   * Call once. Rejects only on a bug of ours.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { tree, requests, log, endpointId } = this.#options;
    const unlisten = tree.changes.listen((change) => this.#handle(change));
    requests.listen((change, row) => this.#requestChanged(change, row.instance));
    try {
      this.#controllers.reload();
      this.#subscriptions.start();
      this.#thresholds.start();
      this.#tellBoot();
      this.#onBoarding.update();
      this.#periodic.update();
      this.#resumeRequests();
      log.info(`${endpointId} serves ${[...this.#controllers.all()].length} controllers`);
      const managed = this.#manager.run(this.#links.signal);
      await Promise.race([managed, aborted(signal)]);
      await this.#drain();
      this.#links.abort();
      await managed;
    } finally {
      this.#links.abort();
      this.#stopping.abort();
      unlisten();
      this.#periodic.stop();
      this.#sessions.stop();
      this.#admission.stop();
      this.#onBoarding.stop();
      this.#thresholds.stop();
      this.#subscriptions.stop();
    }
  }

  /**
   * Serves a link that a peer opened to us (WebSocket, Unix socket) until it ends, the signal is aborted or the agent
   * stops. Rejects when the link broke.
   * @param mtp Instance path of its LocalAgent.MTP row, without final dot.
   */
  async serve(
    mtp: string,
    connected: Connected,
    protocol: MtpConnector["protocol"],
    signal: AbortSignal,
  ): Promise<void> {
    await this.#serve(mtp, connected, protocol, AbortSignal.any([signal, this.#links.signal]));
  }

  /** ForceReconnect(): closes what stands on the MTP row (instance path without final dot) and connects anew. */
  reconnect(mtp: string): void {
    this.#manager.restart(mtp);
  }

  /** SendOnBoardRequest() of a Controller row (instance path without final dot). `answered` once its NotifyResp came. */
  sendOnBoardRequest(path: string, answered: () => void = () => undefined): void {
    const controller = this.#controllers.at(path);
    const { oui, productClass, serialNumber } = this.#options.device?.() ?? NO_DEVICE;
    if (!controller?.enabled) return;
    const agentSupportedProtocolVersions = PROTOCOL_VERSIONS.join(",");
    const value = { oui, productClass, serialNumber, agentSupportedProtocolVersions };
    this.#subscriptions.onBoard(controller, value, answered);
  }

  /**
   * The model as a controller (instance path of its row, without final dot) sees it: at its own door, or by none, for what
   * leaves the house by another way. `undefined` if it is gone or disabled.
   */
  viewOf(path: string, at: "door" | "none"): View | undefined {
    const controller = this.#controllers.at(path);
    if (!controller?.enabled) return undefined;
    return this.#controllers.view(controller, (at === "door" && this.#outlet.door(controller)) || NO_DOOR);
  }

  /** Whether a connection stands by which that controller can be told something. */
  reaches(path: string): boolean {
    const controller = this.#controllers.at(path);
    return controller !== undefined && this.#outlet.door(controller) !== undefined;
  }

  get counters(): AgentCounters {
    return {
      requests: this.#inlet.requests,
      ignoredRecords: this.#inlet.ignored,
      notifications: {
        ...this.#subscriptions.counters,
        waiting: this.#subscriptions.waiting,
        bytes: this.#subscriptions.heldBytes,
      },
    };
  }

  async #serve(
    mtp: string,
    connected: Connected,
    protocol: MtpConnector["protocol"],
    signal: AbortSignal,
  ): Promise<void> {
    const door = connected.door ?? { protocol, local: false };
    const connection = new Connection(mtp, connected, door, this.#limits);
    const registration = this.#registration(connection, connected);
    const leave = () => {
      const all = this.#controllers.all();
      const left = registration
        ? registration.leave().then(() => this.#outlet.leave(connection, all))
        : this.#outlet.leave(connection, all);
      this.#sessions.left(connection);
      left.catch((error: unknown) => this.#options.log.debug(`${mtp}: closing failed: ${String(error)}`));
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      const fault = this.#admission.peerFault(connection);
      if (fault !== undefined) return connection.link.refuse?.(fault);
      this.#admission.opened(connection);
      this.#outlet.add(connection);
      this.#greet(connection);
      registration?.run().catch((error: unknown) => this.#options.log.error(`${mtp}: registering failed`, error));
      if (signal.aborted) leave();
      await this.#inlet.receive(connection, Math.min(this.#limits.responseBytes, connection.maxRecordBytes - ENVELOPE));
    } finally {
      signal.removeEventListener("abort", leave);
      registration?.end();
      connection.ended();
      this.#outlet.remove(connection);
      await connection.link.close();
    }
  }

  /** With a broker. How it fares shows as the MTP row's Status. */
  #registration(connection: Connection, { register, controller }: Connected): Registration | undefined {
    if (!register || controller === undefined) return undefined;
    const { mtpStates, clock, tree, log, random } = this.#options;
    return new Registration({
      connection,
      controller: () => this.#controllers.at(controller),
      outlet: this.#outlet,
      paths: register,
      state: (reason) => {
        const status = reason === "" ? "Up" : "Error";
        const before = mtpStates.of(connection.mtp).status;
        mtpStates.set(connection.mtp, { status, reason, since: clock.now() });
        if (before !== status) tree.changes.value(`${connection.mtp}.`, "Status");
      },
      log,
      random: random ?? Math.random,
    });
  }

  /** The Connect Record first (R-MTP.8), then what waited. */
  #greet(connection: Connection): void {
    for (const controller of this.#controllers.all()) {
      if (!controller.enabled || this.#outlet.routeOn(connection, controller) === undefined) continue;
      const isNew = !connection.announced.has(controller.path);
      this.#outlet.announce(connection, controller);
      if (isNew) this.#subscriptions.resume(controller);
    }
  }

  #tellBoot(): void {
    const { cause, reason, commandKey, firmwareUpdated } = this.#options.boot;
    this.#subscriptions.tell({ kind: "event", path: "Device.", name: "Boot!", args: {} }, (view) => ({
      CommandKey: commandKey ?? "",
      Cause: cause,
      Reason: reason ?? "",
      FirmwareUpdated: `${firmwareUpdated}`,
      ParameterMap: parameterMap(view, view.caller.controller, (path) => this.#read(view, path)),
    }));
  }

  #read(view: View, path: string): ReadonlyMap<string, string> {
    const { tree } = this.#options;
    const context = {
      tree,
      view,
      paths: this.#paths,
      responseBytes: this.#limits.responseBytes,
      absentDeleteFails: false,
    };
    const response = get({ paramPaths: [path], maxDepth: 0 }, context);
    const values = new Map<string, string>();
    if (response.$case !== "getResp") return values;
    for (const { resolvedPathResults } of response.value.reqPathResults)
      for (const { resolvedPath, resultParams } of resolvedPathResults)
        for (const [name, value] of resultParams) values.set(`${resolvedPath}${name}`, value);
    return values;
  }

  /** What was under way before the restart and survives it. */
  #resumeRequests(): void {
    const { requests } = this.#options;
    for (const row of requests.kept()) {
      const controller = this.#controllers.known(row.Originator);
      const view = controller && this.#subscriptions.viewOf(controller.path);
      if (!view) requests.remove(row);
      else void resume(row, { ...this.#context, view, responseBytes: this.#limits.responseBytes });
    }
  }

  #requestChanged(change: "added" | "status" | "removed", instance: number): void {
    const { changes } = this.#options.tree;
    const supportedPath = "Device.LocalAgent.Request.{i}.";
    const path = `Device.LocalAgent.Request.${instance}.`;
    if (change === "status") return changes.value(path, "Status");
    if (change === "removed") changes.emit({ kind: "deleted", path, supportedPath });
    else {
      const node = this.#options.tree.at(path);
      const keys = new Map<string, string>();
      for (const name of ["Originator", "Command", "CommandKey", "Alias"])
        if (node) keys.set(name, this.#options.tree.text(node, name) ?? "");
      changes.emit({ kind: "created", path, supportedPath, keys });
    }
    changes.value("Device.LocalAgent.", "RequestNumberOfEntries");
  }

  /** Everything that happens to the model, as it happens. */
  #handle(change: ModelChange): void {
    this.#subscriptions.handle(change);
    this.#thresholds.handle(change);
    this.#manager.handle(change);
    if (change.kind === "event" || change.kind === "operationComplete") return;
    const ofTrust = change.path.startsWith(TRUST);
    if (!ofTrust && !change.path.startsWith(CONTROLLER_TABLE)) return;
    if (!ofTrust) this.#changed.add(/^Device\.LocalAgent\.Controller\.\d+/.exec(change.path)?.[0] ?? "");
    this.#trustChanged ||= ofTrust;
    // Once for all that a Message changes, and before the next one is read.
    if (this.#changed.size + Number(this.#trustChanged) === 1) queueMicrotask(() => this.#refresh());
  }

  /** Reads controllers and their rights again. What is to be said to one that goes is said before. */
  #refresh(): void {
    if (this.#changed.size === 0 && !this.#trustChanged) return;
    for (const path of this.#changed) this.#subscriptions.flush(path);
    this.#changed.clear();
    if (this.#trustChanged) this.#permissions.invalidate();
    this.#trustChanged = false;
    this.#controllers.reload();
    this.#sessions.update();
    this.#admission.invalidate(this.#outlet.connections());
    this.#subscriptions.controllersChanged();
    this.#onBoarding.update();
    this.#periodic.update();
    for (const connection of this.#outlet.connections()) this.#greet(connection);
  }

  /** Takes nothing new, and lets what is under way end. */
  async #drain(): Promise<void> {
    this.#inlet.close();
    this.#options.requests.abortAll();
    this.#stopping.abort();
    const flush = () => {
      for (const { path } of this.#controllers.all()) this.#subscriptions.flush(path);
    };
    const until = performance.now() + DRAIN_MS;
    flush();
    while (this.#options.requests.size > 0 && performance.now() < until) await sleep(5);
    await this.#quiet(until - performance.now());
    flush();
    await this.#quiet(until - performance.now());
  }

  /** Until all requests are answered and the answers taken, but no longer than that. */
  async #quiet(ms: number): Promise<void> {
    const until = performance.now() + ms;
    while ((this.#inlet.isBusy || this.#outlet.isBusy) && performance.now() < until) await sleep(5);
  }
}

const TR181 = "urn:broadband-forum-org:tr-181-2-19-1";
const SAVED = Promise.resolve();
/** The least that any door shows. */
const NO_DOOR = { protocol: "MQTT", local: false } as const;
/** Bytes of a Record besides the results in it: ids, versions, tags. */
const ENVELOPE = 300;
const NO_DEVICE = { oui: "", productClass: "", serialNumber: "" };

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
