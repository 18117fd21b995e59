/** Everything that reaches the agent: Records in, judged by TR-369's rules, requests to their handlers. */
import type { Log } from "../lib/log.ts";
import { UspErrorCode } from "../lib/usp-error.ts";
import type { Admission } from "./admission.ts";
import {
  decodeMsg,
  decodeRecord,
  errorMsg,
  type CompleteRecord,
  type RecordFailure,
  type RequestType,
} from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Controller, Controllers } from "./controllers.ts";
import { dispatch, type Answer, type DispatchContext } from "./dispatch.ts";
import type { ReceivedRecord } from "./link.ts";
import type { AgentLimits } from "./options.ts";
import type { Outlet } from "./outlet.ts";
import type { Sessions } from "./sessions.ts";
import type { View } from "./view.ts";

export interface InletParts {
  readonly endpointId: string;
  readonly log: Log;
  readonly limits: AgentLimits;
  readonly controllers: Controllers;
  readonly admission: Admission;
  readonly outlet: Outlet;
  readonly sessions: Sessions;
  /** Takes in changes of the controllers' rows that were made since. */
  readonly refresh: () => void;
  readonly answered: (controller: Controller, msgId: string) => void;
  readonly resume: (controller: Controller) => void;
  readonly context: Omit<DispatchContext, "view" | "responseBytes">;
}

/** Longest stretch of work before timers and sockets have their turn. */
const TURN_MS = 5;

/** Where to answer one Record. */
interface Sender {
  readonly connection: Connection;
  readonly controller: Controller;
  readonly to: string | undefined;
  /** It came through the controller's session, and its answer goes there (R-MSG.0a). */
  readonly inSession?: boolean;
}

export class Inlet {
  requests = 0;
  ignored = 0;
  readonly #parts: InletParts;
  /** Message ids of unfinished requests, by controller. */
  readonly #unfinished = new Map<string, Set<string>>();
  readonly #contexts = new WeakMap<View, DispatchContext>();
  #closed = false;

  constructor(parts: InletParts) {
    this.#parts = parts;
  }

  /** Takes Records until the link ends. Rejects with the link's error when it broke. */
  async receive(connection: Connection, responseBytes: number): Promise<void> {
    let turn = performance.now();
    for await (const received of connection.link.received) {
      this.#take(connection, received, responseBytes);
      if (connection.mustWait) await connection.ready();
      const { backlog } = this.#parts.sessions;
      if (backlog) await backlog;
      if (performance.now() - turn > TURN_MS) {
        await new Promise((resolve) => setImmediate(resolve));
        turn = performance.now();
      }
    }
  }

  /** New requests are no longer taken. */
  close(): void {
    this.#closed = true;
  }

  get isBusy(): boolean {
    for (const unfinished of this.#unfinished.values()) if (unfinished.size > 0) return true;
    return false;
  }

  #take(connection: Connection, { bytes, replyTo, tooLong }: ReceivedRecord, responseBytes: number): void {
    const decoded = decodeRecord(bytes);
    this.#parts.refresh();
    if (tooLong !== undefined) {
      if (decoded.ok) return this.#ignore(`a Record of ${tooLong} bytes`);
      const reason = `${tooLong} bytes are more than this agent takes`;
      return this.#refuse(connection, { ...decoded, code: UspErrorCode.ResourcesExceeded, reason }, replyTo);
    }
    if (!decoded.ok) return this.#refuse(connection, decoded, replyTo);
    const { record } = decoded;
    const sender = this.#sender(connection, record.fromId, record.toId, replyTo);
    if (!sender) return this.#ignore(`a Record from ${record.fromId}`);
    const isOfSession = record.recordType.$case === "sessionContext";
    const fault = isOfSession ? undefined : this.#parts.sessions.integrityFault(sender, record);
    if (fault !== undefined) return this.#ignore(`a Record from ${record.fromId}: ${fault}`);
    this.#parts.outlet.heardVersion(sender.controller, record.version);
    this.#note(sender);
    this.#read(sender, record, responseBytes);
  }

  #read(sender: Sender, record: CompleteRecord, responseBytes: number): void {
    const { connection, controller } = sender;
    const { sessions, limits } = this.#parts;
    const { recordType, payloadSecurity } = record;
    switch (recordType.$case) {
      case "noSessionContext":
        if (sessions.mode(controller) === "Require") return this.#requireSession(sender, recordType.value.payload);
        sessions.setAside(controller);
        return this.#message(sender, recordType.value.payload, payloadSecurity, responseBytes);
      case "sessionContext":
        // An answer there is cut into Records that the MTP takes.
        return sessions.take(sender, controller, record, (message) =>
          this.#message({ ...sender, inSession: true }, message, 0, limits.responseBytes),
        );
      case "disconnect":
        this.#parts.log.debug(`${controller.endpointId} disconnects: ${recordType.value.reason.slice(0, 128)}`);
        sessions.dropped(controller);
        // Whatever comes next to it begins with a Connect Record (R-MTP.8).
        connection.announced.delete(controller.path);
        return;
      case "mqttConnect":
        this.#compareVersions(sender, recordType.value.version);
        return;
      case "stompConnect":
      case "websocketConnect":
      case "udsConnect":
        return this.#parts.log.debug(`${controller.endpointId} connects`);
    }
  }

  /** What wants an answer is told that it takes a session; the rest is ignored (R-MTP.5). */
  #requireSession(sender: Sender, payload: Uint8Array): void {
    const decoded = decodeMsg(payload);
    const { msgId } = decoded;
    const isRequest = decoded.ok ? decoded.content.kind === "request" : decoded.isRequest;
    if (msgId === undefined || !isRequest)
      return this.#ignore(`a Message of ${sender.controller.endpointId} outside a session`);
    this.#error(
      sender,
      msgId,
      UspErrorCode.SecureSessionRequired,
      "this controller has to use a session (SessionMode)",
    );
  }

  /** R-MQTT.26a: over two versions of MQTT, one side's reply address is not the other's. */
  #compareVersions({ connection, controller }: Sender, version: number): void {
    const { connectRecord } = connection;
    if (connectRecord.$case !== "mqttConnect" || connectRecord.value.version === version) return;
    const [theirs, ours] = [version, connectRecord.value.version].map((is5) => (is5 ? "5" : "3.1.1"));
    this.#parts.log.warn(`${controller.endpointId} speaks MQTT ${theirs}, this agent ${ours}: set both to the same`);
  }

  #message(sender: Sender, payload: Uint8Array, payloadSecurity: number, responseBytes: number): void {
    const decoded = decodeMsg(payload);
    if (!decoded.ok) {
      const { msgId, isRequest, code, reason } = decoded;
      if (msgId === undefined || !isRequest)
        return this.#ignore(`a Message of ${sender.controller.endpointId}: ${reason}`);
      return this.#error(sender, msgId, code, reason);
    }
    const { msgId, content } = decoded;
    if (payloadSecurity !== 0) {
      if (content.kind !== "request") return this.#ignore("a secured payload");
      return this.#error(sender, msgId, UspErrorCode.SecureSessionNotSupported, "payload security is not supported");
    }
    if (content.kind === "request") return this.#request(sender, msgId, content.request, responseBytes);
    const asked = sender.connection.asked.get(msgId);
    if (asked) return asked(content);
    if (content.kind === "response") {
      if (content.response.$case === "notifyResp") this.#parts.answered(sender.controller, msgId);
      return;
    }
    this.#parts.log.info(
      `${sender.controller.endpointId} answers ${msgId.slice(0, 64)} with error ${content.error.errCode}: ${content.error.errMsg.slice(0, 128)}`,
    );
  }

  #request(sender: Sender, msgId: string, request: RequestType, responseBytes: number): void {
    const { limits } = this.#parts;
    const { controller } = sender;
    if (this.#closed) return;
    const unfinished = this.#unfinishedOf(controller);
    if (unfinished.has(msgId)) return this.#ignore("a request that is under way already"); // R-MSG.4
    if (unfinished.size >= limits.unfinishedRequests) {
      const why = `${unfinished.size} requests of yours are unfinished; wait for their answers`;
      return this.#error(sender, msgId, UspErrorCode.ResourcesExceeded, why);
    }
    const answer = dispatch(msgId, request, this.#contextOf(sender, responseBytes));
    if (!(answer instanceof Promise)) return this.#answer(sender, answer);
    unfinished.add(msgId);
    const finished = answer.then((later) => this.#answer(sender, later)).finally(() => unfinished.delete(msgId));
    finished.catch((error: unknown) => this.#parts.log.error("an answer was lost", error));
  }

  /** Made once for a controller on a connection, until its rights change. */
  #contextOf({ connection, controller }: Sender, responseBytes: number): DispatchContext {
    const view = this.#parts.controllers.view(controller, connection.door);
    let context = this.#contexts.get(view);
    if (!context || context.responseBytes !== responseBytes) {
      context = { ...this.#parts.context, view, responseBytes };
      this.#contexts.set(view, context);
    }
    return context;
  }

  #answer({ connection, controller, to, inSession }: Sender, { msg, afterwards }: Answer): void {
    this.requests++;
    if (msg && (connection.isOpen || inSession)) this.#parts.outlet.respond(connection, controller, to, msg, inSession);
    for (const command of afterwards?.() ?? [])
      command.catch((error: unknown) => this.#parts.log.error("a command's end was lost", error));
  }

  #error({ connection, controller, to, inSession }: Sender, msgId: string, code: number, reason: string): void {
    this.#parts.outlet.respond(connection, controller, to, errorMsg(msgId, code, reason), inSession);
  }

  /**
   * R-MTP.5: an Error only if the sender is valid, it was for us, it holds a Request with an id, and there is a way back.
   * Else the MTP itself says so, where it can.
   */
  #refuse(connection: Connection, failure: RecordFailure, replyTo: string | undefined): void {
    const { fromId, toId, msgId, isRequest, isOfSession, code, reason } = failure;
    const sender = this.#sender(connection, fromId ?? "", toId ?? "", replyTo);
    if (sender && isOfSession) this.#parts.sessions.broken(sender.controller, reason);
    if (sender && msgId !== undefined && isRequest) return this.#error(sender, msgId, code, reason);
    this.#ignore(`a Record: ${reason}`);
    connection.link.refuse?.(reason);
  }

  /** The controller that sent a Record, if it is one of ours, it was meant for us and can be answered. */
  #sender(connection: Connection, fromId: string, toId: string, replyTo: string | undefined): Sender | undefined {
    const { endpointId, admission, outlet } = this.#parts;
    // R-E2E.1; R-ARC.2: what bears our own id is not from a peer.
    if (toId !== endpointId || fromId === endpointId) return undefined;
    const controller = admission.admit(connection, fromId, replyTo);
    if (!controller) return undefined;
    if (!connection.hasAddresses) return { connection, controller, to: undefined };
    const to = replyTo ?? outlet.routeOn(connection, controller)?.to;
    if (to === undefined) return undefined;
    return { connection, controller, to };
  }

  /** It is at the other end of a connection that has no addresses: what waits for it may go there. */
  #note({ connection, controller }: Sender): void {
    if (connection.hasAddresses || connection.heard.has(controller.path)) return;
    // Else what waited was sent when the connection came.
    const isNew = this.#parts.outlet.routeOn(connection, controller) === undefined;
    connection.heard.add(controller.path);
    this.#parts.outlet.announce(connection, controller);
    if (isNew) this.#parts.resume(controller);
  }

  #unfinishedOf({ path }: Controller): Set<string> {
    let unfinished = this.#unfinished.get(path);
    if (!unfinished) this.#unfinished.set(path, (unfinished = new Set()));
    return unfinished;
  }

  #ignore(what: string): void {
    this.ignored++;
    this.#parts.log.debug(`ignored ${what.slice(0, 256)}`);
  }
}
