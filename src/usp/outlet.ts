/** Everything that leaves the agent: which connection and address lead to a controller, and the Records' envelopes. */
import type { Msg } from "../../proto/generated/usp-msg.ts";
import { describe, type Log } from "../lib/log.ts";
import type { Admission } from "./admission.ts";
import { UspErrorCode } from "../lib/usp-error.ts";
import { encodeMsg, encodeMsgRecord, encodeRecord, errorMsg, recordOf, type RecordType } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Controller } from "./controllers.ts";
import { NEWEST_VERSION, PROTOCOL_VERSIONS } from "./handlers/get-supported-protocol.ts";
import type { Posted, Postman } from "./outbox.ts";
import type { Door } from "./policy.ts";
import type { Sessions } from "./sessions.ts";

/** Where on a connection a controller is. */
export interface Destination {
  /** Absent where the connection is the address. */
  readonly to?: string;
  readonly retainResponse: boolean;
  readonly retainNotify: boolean;
}

const AT_THE_OTHER_END: Destination = { retainResponse: false, retainNotify: false };

export interface OutletParts {
  readonly endpointId: string;
  readonly log: Log;
  /** What message ids begin with. */
  readonly startId: string;
  readonly admission: Pick<Admission, "mayHear">;
}

export class Outlet implements Postman {
  readonly #endpointId: string;
  readonly #log: Log;
  readonly #startId: string;
  readonly #admission: Pick<Admission, "mayHear">;
  readonly #connections = new Set<Connection>();
  /** Made after it, as they send through it. */
  sessions: Sessions | undefined;
  /** Version of the last Record of each controller, by row path. */
  readonly #versions = new Map<string, string>();
  #lastMsgId = 0;

  constructor({ endpointId, log, startId, admission }: OutletParts) {
    this.#admission = admission;
    this.#endpointId = endpointId;
    this.#log = log;
    this.#startId = startId;
  }

  add(connection: Connection): void {
    this.#connections.add(connection);
  }

  remove(connection: Connection): void {
    this.#connections.delete(connection);
  }

  connections(): Iterable<Connection> {
    return this.#connections;
  }

  get isBusy(): boolean {
    for (const connection of this.#connections) if (connection.isOpen && !connection.isIdle) return true;
    return false;
  }

  /** Versions grow by additions alone: a peer of a version that we know is answered in it. */
  heardVersion(controller: Controller, version: string): void {
    this.#versions.set(controller.path, PROTOCOL_VERSIONS.includes(version) ? version : NEWEST_VERSION);
  }

  newMsgId(): string {
    return `${this.#startId}-${++this.#lastMsgId}`;
  }

  door(controller: Controller): Door | undefined {
    return this.#find(controller)?.connection.door;
  }

  isBroker(controller: Controller): boolean {
    return this.#find(controller)?.connection.isBroker ?? false;
  }

  post(controller: Controller, msg: Msg): Promise<Posted> | undefined {
    const found = this.#find(controller);
    if (!found) return undefined;
    const { connection, destination } = found;
    this.announce(connection, controller);
    if (this.sessions?.isUsedFor(controller)) return this.#postInSession(controller, msg, connection, destination.to);
    const record = this.#encode(connection, controller, msg);
    if (record.length > connection.maxRecordBytes) {
      this.#log.warn(`a notification of ${record.length} bytes to ${controller.endpointId} is more than its MTP takes`);
      return Promise.resolve("tooBig");
    }
    this.#tellOthers(connection, controller, msg);
    return connection.send(record, options(destination, destination.retainNotify)).then(
      () => "taken",
      (error: unknown) => {
        this.#log.debug(`a notification to ${controller.endpointId} was not taken: ${describe(error)}`);
        return connection.isOpen ? "refused" : "lost";
      },
    );
  }

  /** Several may be connected as one controller (two `ctl` of the resident): each is told, whoever subscribed. */
  #tellOthers(told: Connection, controller: Controller, msg: Msg): void {
    if (told.controller === undefined) return;
    for (const connection of this.#connections) {
      if (connection === told || !connection.isOpen || connection.controller !== controller.path) continue;
      this.announce(connection, controller);
      this.#hand(connection, this.#encode(connection, controller, msg), {}, undefined);
    }
  }

  async #postInSession(controller: Controller, msg: Msg, connection: Connection, to?: string): Promise<Posted> {
    try {
      await this.sessions?.send(controller, encodeMsg(msg), { connection, to });
      return "taken";
    } catch (error) {
      this.#log.debug(`a notification to ${controller.endpointId} did not leave in its session: ${describe(error)}`);
      return connection.isOpen ? "refused" : "lost";
    }
  }

  /** Answers where the request came from. What can't be sent is replaced by an Error for the same request. */
  respond(
    connection: Connection,
    controller: Controller,
    to: string | undefined,
    msg: Msg,
    inSession: boolean | undefined,
  ): void {
    this.announce(connection, controller, to);
    if (inSession === true && this.sessions)
      return this.#respondInSession(this.sessions, connection, controller, to, msg);
    const destination = this.routeOn(connection, controller);
    const where = { ...(to === undefined ? {} : { to }), ...(destination?.retainResponse ? { retain: true } : {}) };
    const record = this.#encode(connection, controller, msg);
    const msgId = msg.header?.msgId ?? "";
    const tooBig = (why: string) =>
      this.#encode(
        connection,
        controller,
        errorMsg(msgId, UspErrorCode.ResourcesExceeded, `the answer can't be sent: ${why}`),
      );
    if (record.length > connection.maxRecordBytes) {
      const why = `${record.length} bytes are more than the ${connection.maxRecordBytes} that the MTP takes; ask for less`;
      this.#hand(connection, tooBig(why), where, undefined);
    } else this.#hand(connection, record, where, (error) => tooBig(describe(error)));
  }

  #respondInSession(
    sessions: Sessions,
    connection: Connection,
    controller: Controller,
    to: string | undefined,
    msg: Msg,
  ): void {
    // The session ended since, by a Disconnect: there is nothing to answer in.
    if (!sessions.mayAnswer(controller)) return;
    sessions.send(controller, encodeMsg(msg), { connection, to }).catch((error: unknown) => {
      this.#log.debug(`${connection.mtp}: an answer did not leave in its session: ${describe(error)}`);
      if (connection.isOpen && connection.lost++ === 0)
        this.#log.warn(`${connection.mtp}: an answer is lost, and perhaps more: ${describe(error)}`);
    });
  }

  /** R-MTP.8: before any other Record to that controller on the connection. */
  announce(connection: Connection, controller: Controller, replyTo?: string): void {
    const to = this.routeOn(connection, controller)?.to ?? replyTo;
    if (to === undefined && connection.hasAddresses) return;
    const { endpointId, path } = controller;
    const before = connection.announced.get(path);
    if (before && before.endpointId === endpointId && before.to === to) return;
    connection.announced.set(path, { endpointId, to });
    if (controller.withheld.has("Connect")) return;
    this.#record(connection, controller, connection.connectRecord, to);
  }

  /** A request of ours; its answer comes to `connection.asked`. */
  ask(connection: Connection, controller: Controller, msg: Msg): void {
    this.announce(connection, controller);
    this.#hand(connection, this.#encode(connection, controller, msg), {}, undefined);
  }

  /** Ends a session the agent does not want; the Connect Record comes again before anything else (R-MTP.8). */
  disconnect(
    connection: Connection,
    controller: Controller,
    to: string | undefined,
    { reasonCode, reason }: { reasonCode: number; reason: string },
  ): void {
    if (!controller.withheld.has("Disconnect"))
      this.#record(connection, controller, { $case: "disconnect", value: { reason, reasonCode } }, to);
    connection.announced.delete(controller.path);
    this.announce(connection, controller, to);
  }

  /** Says Disconnect to all (R-MTP.7, R-MTP.9) and closes. */
  async leave(connection: Connection, controllers: Iterable<Controller>): Promise<void> {
    for (const controller of controllers) {
      if (!connection.announced.has(controller.path) || controller.withheld.has("Disconnect")) continue;
      const to = this.routeOn(connection, controller)?.to;
      if (to === undefined && connection.hasAddresses) continue;
      const value = { reason: "the agent leaves this connection", reasonCode: 0 };
      this.#record(connection, controller, { $case: "disconnect", value }, to);
    }
    await connection.link.close();
  }

  /** Where the controller is on that connection, by its MTP rows, or by having spoken there. */
  routeOn(connection: Connection, controller: Controller): Destination | undefined {
    if (!this.#admission.mayHear(connection, controller)) return undefined;
    if (connection.controller !== undefined) return AT_THE_OTHER_END;
    // Who came and said neither who it is nor anything else may be anybody.
    if (!connection.hasAddresses) return isKnownAt(connection, controller) ? AT_THE_OTHER_END : undefined;
    for (const route of controller.routes) {
      if (route.protocol !== connection.door.protocol) continue;
      if (!connection.isBy(route.agentMtp)) continue;
      if (route.to !== "") return route;
    }
    return undefined;
  }

  /** Where the controller is now. */
  find(controller: Controller): { connection: Connection; destination: Destination } | undefined {
    return this.#find(controller);
  }

  #find(controller: Controller): { connection: Connection; destination: Destination } | undefined {
    let other: { connection: Connection; destination: Destination } | undefined;
    // The controller's own order first, then whatever connection it is at.
    for (const { agentMtp, protocol } of [...controller.routes, ANY]) {
      for (const connection of this.#connections) {
        if (!connection.isOpen || (protocol && protocol !== connection.door.protocol)) continue;
        if (!connection.isBy(agentMtp)) continue;
        const destination = this.routeOn(connection, controller);
        if (!destination) continue;
        const found = { connection, destination };
        if (connection.hasAddresses || connection.peer !== undefined) return found;
        // It may have spoken there, but the connection is not its own.
        other ??= found;
      }
      if (other) return other;
    }
    return undefined;
  }

  #record(connection: Connection, controller: Controller, type: RecordType, to: string | undefined): void {
    const record = this.#seal(connection, recordOf(this.envelope(connection, controller), type));
    this.#hand(connection, record, to === undefined ? {} : { to }, undefined);
  }

  #hand(
    connection: Connection,
    record: Uint8Array,
    where: { to?: string; retain?: boolean },
    instead: ((error: unknown) => Uint8Array) | undefined,
  ): void {
    connection.send(record, where).catch((error: unknown) => {
      this.#log.debug(`${connection.mtp}: a Record of ${record.length} bytes was not taken: ${describe(error)}`);
      if (instead && connection.isOpen) this.#hand(connection, instead(error), where, undefined);
      else if (connection.isOpen && connection.lost++ === 0)
        this.#log.warn(`${connection.mtp}: an answer is lost, and perhaps more: ${describe(error)}`);
    });
  }

  /** A Message in a Record of its own. */
  #encode(connection: Connection, controller: Controller, msg: Msg): Uint8Array {
    const envelope = this.envelope(connection, controller);
    if (!this.sessions?.signs) return encodeMsgRecord(envelope, msg);
    return this.#seal(
      connection,
      recordOf(envelope, { $case: "noSessionContext", value: { payload: encodeMsg(msg) } }),
    );
  }

  #seal(connection: Connection, record: ReturnType<typeof recordOf>): Uint8Array {
    return encodeRecord(this.sessions?.seal(connection, record) ?? record);
  }

  envelope({ controller, peer }: Connection, { path, endpointId }: Controller) {
    const version = this.#versions.get(path) ?? NEWEST_VERSION;
    const toId = controller === undefined ? endpointId : (peer ?? endpointId);
    return { version, toId, fromId: this.#endpointId };
  }
}

const isKnownAt = ({ peer, heard }: Connection, { endpointId, path }: Controller) =>
  peer === endpointId || heard.has(path);

const ANY = { agentMtp: "", protocol: undefined } as const;

function options({ to }: Destination, retain: boolean): { to?: string; retain?: boolean } {
  return { ...(to === undefined ? {} : { to }), ...(retain ? { retain } : {}) };
}
