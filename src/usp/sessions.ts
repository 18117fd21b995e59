/**
 * Sessions with controllers (`Controller.{i}.E2ESession.`): which of them must, may or may not have one, and the way
 * between a session's Records and the connection that its controller is at. Also the signatures of what goes outside.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { UspErrorCode } from "../lib/usp-error.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { Budget } from "../session/budget.ts";
import type { Trust } from "../session/identity.ts";
import { isProtectedByMtp, signatureFault, Signer } from "../session/integrity.ts";
import { PeerSession, type PeerLimits, type PeerSettings } from "../session/peer.ts";
import { encodeRecord, type CompleteRecord, type Envelope, type UspRecord } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Controller, Controllers } from "./controllers.ts";
import { retryDelay } from "./retry.ts";
import type { SessionOptions } from "./session-states.ts";

/** Where a controller is. */
export interface Place {
  readonly connection: Connection;
  /** Absent where the connection is the address. */
  readonly to: string | undefined;
}

export interface SessionsParts extends Partial<Omit<SessionOptions, "trust">> {
  readonly trust: Trust;
  readonly tree: Tree;
  readonly controllers: Controllers;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Log;
  readonly envelope: (connection: Connection, controller: Controller) => Envelope;
  /** Where the controller is now, as for a notification. */
  readonly find: (controller: Controller) => Place | undefined;
  readonly disconnect: (place: Place, controller: Controller, why: { reasonCode: number; reason: string }) => void;
  readonly isTrustedBroker: (connection: Connection) => boolean;
  /** Resolves when answers under way have left, or soon. */
  readonly quiet: () => Promise<void>;
}

export type SessionMode = "Require" | "Allow" | "Forbid";

/** A request is read up to 1 MiB; answers are as long as the operator allows, and a retransmission reaches back that far. */
const LIMITS: PeerLimits = { earlyBytes: 1 << 20, sentBytes: 4 << 20, payloadBytes: 1 << 20, queuedBytes: 1 << 20 };
/** Of all controllers together. */
const ALL_BYTES = 16 << 20;
/** What MaxRetransmitTries 0 leaves to us. */
const USUAL_REPEATS = 10;
/** Longest wait for answers that TLS has to take first. */
const BACKLOG_MS = 1_000;
const MAX_TIMER_MS = 2 ** 31 - 1;

interface Settings extends PeerSettings {
  readonly mode: SessionMode;
}

interface Entry {
  controller: Controller;
  settings: Settings;
  /** Where its last Record came from, or ours went. */
  place: Place | undefined;
  deliver: (message: Uint8Array) => void;
  readonly peer: PeerSession;
  timer: NodeJS.Timeout | undefined;
  timerAt: number;
}

export class Sessions {
  readonly #parts: SessionsParts;
  readonly #signer: Signer | undefined;
  readonly #budget = new Budget(ALL_BYTES);
  readonly #settings = new Map<string, Settings>();
  readonly #entries = new Map<string, Entry>();
  /** Whose Record was the last. */
  #taken: Entry | undefined;

  constructor(parts: SessionsParts) {
    this.#parts = parts;
    const { trust } = parts;
    this.#signer = trust.identity && trust.signs ? new Signer(trust.identity) : undefined;
    parts.states?.onReset((path) => this.#terminate(path, "Reset() was called"));
  }

  mode(controller: Controller): SessionMode {
    return this.#settingsOf(controller).mode;
  }

  /** Whether what is not an answer goes through a session. */
  isUsedFor(controller: Controller): boolean {
    const { mode } = this.#settingsOf(controller);
    return mode === "Require" || (mode === "Allow" && this.#entries.get(controller.path)?.peer.isInUse === true);
  }

  /** Whether an answer can go through a session: there is one, or the next Message opens one. */
  mayAnswer(controller: Controller): boolean {
    const entry = this.#entries.get(controller.path);
    return this.isUsedFor(controller) || (entry !== undefined && entry.peer.status !== "Down");
  }

  /** Sends a Message through the controller's session. Rejects when it will never leave. */
  send(controller: Controller, message: Uint8Array, place: Place): Promise<void> {
    const entry = this.#entry(controller);
    entry.place = place;
    return entry.peer.send(message);
  }

  /** A Record with a session in it. `deliver` gets the Messages that it completes. */
  take(place: Place, controller: Controller, record: CompleteRecord, deliver: (message: Uint8Array) => void): void {
    if (record.recordType.$case !== "sessionContext") return;
    const { mode, isSecure } = this.#settingsOf(controller);
    if (mode === "Forbid")
      return this.#refuse(place, controller, "SessionNotAllowed", "session context is not allowed");
    const value = record.recordType.value;
    // In the session that stands, it is a fault of that session (R-E2E.19).
    const isNew = this.#entries.get(controller.path)?.peer.sessionId !== value.sessionId;
    if (mode === "Require" && isSecure && record.payloadSecurity === 0 && isNew)
      return this.#refuse(place, controller, "SecureSessionRequired", "the payloads of a session have to be secured");
    const isProtected = this.#isProtected(place.connection);
    if (this.#parts.integrityRequired === true && record.macSignature.length === 0 && !isProtected) return;
    const entry = this.#entry(controller);
    this.#taken = entry;
    entry.place = place;
    entry.deliver = deliver;
    if (entry.peer.take(record, value, isProtected) === "noSecurity")
      this.#refuse(place, controller, "SecureSessionNotSupported", "the agent has no certificate for secured payloads");
  }

  /** Resolves when more may be asked in sessions; `undefined` if that is now. */
  get backlog(): Promise<unknown> | undefined {
    const { backlog } = this.#taken?.peer ?? {};
    // One that TLS never takes holds nobody else up.
    return backlog && Promise.race([backlog, sleep(BACKLOG_MS, undefined, { ref: false })]);
  }

  /** Why a Record outside of sessions is not to be read (R-E2E.30); `undefined` if it is. */
  integrityFault({ connection }: Place, record: UspRecord): string | undefined {
    if (record.macSignature.length === 0)
      return this.#parts.integrityRequired === true && !this.#isProtected(connection) ? "it is not signed" : undefined;
    return signatureFault(record, this.#parts.trust);
  }

  /** A Record of its session could not be read: that session is over (R-E2E.21). */
  broken(controller: Controller, reason: string): void {
    this.#entries.get(controller.path)?.peer.fail(reason);
  }

  /** The controller speaks outside of its session. */
  setAside(controller: Controller): void {
    this.#entries.get(controller.path)?.peer.setAside();
  }

  /** A Disconnect came or went: what is known of a session is known no more (R-MTP.7). */
  dropped(controller: Controller): void {
    this.#entries.get(controller.path)?.peer.drop("the session ended with a Disconnect");
  }

  /** The agent left the connection, and said so. */
  left(connection: Connection): void {
    for (const { place, peer } of this.#entries.values())
      if (place?.connection === connection) peer.drop("the agent left the connection");
  }

  /** Rows changed. */
  update(): void {
    this.#settings.clear();
    for (const [path, entry] of this.#entries) {
      const controller = this.#parts.controllers.at(path);
      if (!controller?.enabled || controller.endpointId !== entry.controller.endpointId) {
        entry.peer.drop("the controller is gone");
        clearTimeout(entry.timer);
        this.#entries.delete(path);
        this.#parts.states?.forget(path);
        continue;
      }
      const before = entry.settings;
      entry.controller = controller;
      entry.settings = this.#settingsOf(controller);
      if (before.mode !== entry.settings.mode && entry.settings.mode === "Forbid")
        this.#terminate(path, "sessions are forbidden now");
      else if (before.isSecure !== entry.settings.isSecure && entry.settings.mode === "Require")
        this.#terminate(path, "PayloadSecurity was changed");
      else this.#watch(entry);
    }
  }

  stop(): void {
    for (const { peer, timer } of this.#entries.values()) {
      clearTimeout(timer);
      peer.drop("the agent stops");
    }
    this.#entries.clear();
  }

  /** Bytes kept for all controllers. */
  get keptBytes(): number {
    return this.#budget.used;
  }

  /** Signs a Record where that is configured and the MTP does not protect it (R-E2E.29). */
  seal(connection: Connection, record: UspRecord): UspRecord {
    return this.#signer && !this.#isProtected(connection) ? this.#signer.sign(record) : record;
  }

  get signs(): boolean {
    return this.#signer !== undefined;
  }

  #entry(controller: Controller): Entry {
    let entry = this.#entries.get(controller.path);
    if (!entry) {
      const made: Entry = {
        controller,
        settings: this.#settingsOf(controller),
        place: undefined,
        deliver: () => undefined,
        peer: this.#peer(() => made),
        timer: undefined,
        timerAt: Infinity,
      };
      this.#entries.set(controller.path, (entry = made));
    }
    return entry;
  }

  #peer(entry: () => Entry): PeerSession {
    const { clock, random, trust, log, find, envelope } = this.#parts;
    const placeOf = () => {
      const mine = entry();
      if (!mine.place?.connection.isOpen) mine.place = find(mine.controller) ?? mine.place;
      return mine.place;
    };
    return new PeerSession({
      clock,
      random,
      settings: () => {
        const { settings } = entry();
        const mtp = placeOf()?.connection.maxRecordBytes ?? Infinity;
        return mtp < settings.maxRecordBytes ? { ...settings, maxRecordBytes: mtp } : settings;
      },
      limits: LIMITS,
      budget: this.#budget,
      envelope: () => {
        const { controller } = entry();
        const place = placeOf();
        if (!place) return { version: "1.4", toId: controller.endpointId, fromId: "" };
        return envelope(place.connection, controller);
      },
      givesWay: true,
      trust,
      ...(this.#signer ? { signer: this.#signer } : {}),
      emit: (record) => {
        const place = placeOf();
        if (!place?.connection.isOpen) return Promise.reject(new Error("the controller can't be reached"));
        return place.connection.send(encodeRecord(record), place.to === undefined ? {} : { to: place.to });
      },
      deliver: (message) => entry().deliver(message),
      changed: () => this.#watch(entry()),
      note: (text) => log.info(`${entry().controller.endpointId}: ${text}`),
    });
  }

  /** Shows what changed, and wakes up when something is due. */
  #watch(entry: Entry): void {
    const { states, tree, clock } = this.#parts;
    const { path } = entry.controller;
    const { status, retryCount } = entry.peer;
    const before = states?.of(path);
    states?.set(path, { status, retryCount });
    if (before && before.status !== status) tree.changes.value(`${path}.E2ESession.`, "Status");
    if (before && before.retryCount !== retryCount) tree.changes.value(`${path}.E2ESession.`, "CurrentRetryCount");
    const dueAt = entry.peer.nextDue;
    // One that rings too early costs less than setting it with each Record.
    if (dueAt === Infinity || (entry.timer && entry.timerAt <= dueAt)) return;
    clearTimeout(entry.timer);
    entry.timerAt = dueAt;
    const ring = () => {
      entry.timer = undefined;
      entry.timerAt = Infinity;
      if (this.#entries.get(path) !== entry) return;
      entry.peer.tick();
      this.#watch(entry);
    };
    entry.timer = setTimeout(ring, Math.min(Math.max(dueAt - clock.monotonic(), 0) + 1, MAX_TIMER_MS));
    entry.timer.unref();
  }

  /** R-E2E.6b, when the answer to what asked for it has left. */
  #terminate(path: string, reason: string): void {
    const end = async () => {
      // The answer is on its way after this turn.
      await new Promise((resolve) => setImmediate(resolve));
      await this.#parts.quiet();
      const entry = this.#entries.get(path);
      if (!entry?.peer.isInUse && entry?.peer.status === "Down") return;
      const { place, controller, peer } = entry ?? {};
      peer?.drop(reason);
      if (!place?.connection.isOpen || !controller) return;
      this.#parts.disconnect(place, controller, { reasonCode: UspErrorCode.SessionTerminated, reason });
    };
    end().catch((error: unknown) => this.#parts.log.error(`the session of ${path} could not be ended`, error));
  }

  #refuse(place: Place, controller: Controller, code: keyof typeof UspErrorCode, reason: string): void {
    this.#parts.disconnect(place, controller, { reasonCode: UspErrorCode[code], reason });
  }

  /** R-E2E.28. Who is at the other end of a TLS connection of its own has been held against its certificate by then. */
  #isProtected(connection: Connection): boolean {
    const { tls, door, hasAddresses } = connection;
    const isEncrypted = tls !== undefined || door.local || door.protocol === "UDS";
    const namesSender = !hasAddresses && (tls === undefined || tls.chain.length > 0);
    const isTrustedBroker = hasAddresses && isEncrypted && this.#parts.isTrustedBroker(connection);
    return isProtectedByMtp({ isEncrypted, namesSender, isTrustedBroker });
  }

  #settingsOf({ path }: Controller): Settings {
    let settings = this.#settings.get(path);
    if (!settings) this.#settings.set(path, (settings = read(this.#parts.tree.at(`${path}.E2ESession.`))));
    return settings;
  }
}

const FORBIDDEN: Settings = {
  mode: "Forbid",
  maxRecordBytes: Infinity,
  maxRepeats: 0,
  expiryMs: Infinity,
  isSecure: false,
  retryMs: () => Infinity,
};

function read(node: InstanceNode | undefined): Settings {
  if (!node) return FORBIDDEN;
  const value = <T>(name: string) => node.object.params.get(name)?.read(node.row) as T;
  const number = (name: string) => value<number>(name);
  const repeats = number("MaxRetransmitTries");
  const retry = {
    minimumMs: 1000 * number("SessionRetryMinimumWaitInterval"),
    multiplier: number("SessionRetryIntervalMultiplier") / 1000,
    maximumMs: Infinity,
  };
  return {
    mode: value<SessionMode>("SessionMode"),
    maxRecordBytes: number("MaxUSPRecordSize") || Infinity,
    maxRepeats: repeats < 0 ? Infinity : repeats || USUAL_REPEATS,
    expiryMs: 1000 * number("SessionExpiration") || Infinity,
    isSecure: value<string>("PayloadSecurity") === "TLS",
    retryMs: (attempt, random) => retryDelay(retry, attempt, random),
  };
}
