/**
 * Requests and their answers over one Link to one agent: many in flight, matched by msg_id; notifications answered and
 * handed on while requests wait. What is not for us, or not from our agent, is ignored.
 */
import {
  decodeMsg,
  decodeRecord,
  encodeMsg,
  encodeMsgRecord,
  encodeRecord,
  recordOf,
  requestMsg,
  responseMsg,
  type Envelope,
  type RequestType,
  type ResponseType,
  type UspRecord,
  type WireLimits,
} from "../../proto/codec.ts";
import type * as wire from "../../proto/generated/usp-msg.ts";
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import type { MqttConnection } from "../mtp/mqtt.ts";
import { ControllerError } from "./error.ts";
import { notificationOf, type Notification } from "./notification.ts";
import { errorOf } from "./outcome.ts";

export type Link = MqttConnection["link"];

export interface Endpoints {
  /** Of the controller. */
  readonly controllerId: string;
  readonly agentId: string;
  /** Where the agent listens; absent where the connection is the address. */
  readonly agentTopic?: string;
}

export interface Waiting {
  /** Default: that of the controller. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** Messages in a session (session.ts makes one), where there is to be one. */
export interface Session {
  send(message: Uint8Array): Promise<void>;
  take(record: UspRecord, value: SessionContextRecord): void;
  /** The agent left it. */
  drop(reason: string): void;
  readonly isInUse: boolean;
  close(): void;
}

export type OpenSession = (wire: {
  readonly envelope: Envelope;
  readonly send: (record: Uint8Array) => Promise<void>;
  readonly deliver: (message: Uint8Array) => void;
  /** It failed, for that reason, and is begun anew. */
  readonly failed: (reason: string) => void;
}) => Session;

export interface ExchangeOptions extends Endpoints {
  /** Absent: each Message in a Record of its own. */
  readonly openSession?: OpenSession;
  readonly timeoutMs: number;
  readonly limits: WireLimits;
  readonly onNotification: (notification: Notification) => void;
  readonly onEnd: (error: ControllerError) => void;
}

const VERSION = "1.4";
/** Notifications whose repetition is recognised. */
const REMEMBERED = 512;

interface Pending {
  readonly resolve: (response: ResponseType) => void;
  readonly reject: (error: Error) => void;
}

export class Exchange {
  readonly #link: Link;
  readonly #options: ExchangeOptions;
  readonly #envelope: Envelope;
  readonly #pending = new Map<string, Pending>();
  readonly #prefix = globalThis.crypto.randomUUID().slice(0, 8);
  readonly #seen = new Set<string>();
  readonly #reading: Promise<void>;
  readonly #session: Session | undefined;
  #count = 0;
  #ended: ControllerError | undefined;
  #farewell = "";
  /** Whether notifications that ask for an answer get one. */
  answers = true;

  constructor(link: Link, options: ExchangeOptions) {
    this.#link = link;
    this.#options = options;
    this.#envelope = { version: VERSION, toId: options.agentId, fromId: options.controllerId };
    this.#session = options.openSession?.({
      envelope: this.#envelope,
      send: (record) => this.#hand(record, options.agentTopic),
      deliver: (message) => this.#message(message, undefined),
      failed: (reason) => this.#refuse(new ControllerError("protocol", reason)),
    });
    this.#reading = this.#read();
  }

  /** Text that no other exchange uses. */
  unique(): string {
    return `${this.#prefix}-${++this.#count}`;
  }

  /** @throws UspError as the agent answered; ControllerError; MtpError if it can't be sent. */
  async request(
    request: RequestType,
    { timeoutMs = this.#options.timeoutMs, signal }: Waiting = {},
  ): Promise<ResponseType> {
    if (this.#ended !== undefined) throw this.#ended;
    signal?.throwIfAborted();
    const msgId = this.unique();
    const answer = new Promise<ResponseType>((resolve, reject) => this.#pending.set(msgId, { resolve, reject }));
    const fail = (error: Error) => this.#pending.get(msgId)?.reject(error);
    const timer = setTimeout(() => fail(this.#late(timeoutMs)), timeoutMs);
    const abort = () => fail(signal?.reason as Error);
    signal?.addEventListener("abort", abort, { once: true });
    this.#send(requestMsg(msgId, request), this.#options.agentTopic).catch(fail);
    try {
      return await answer;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      this.#pending.delete(msgId);
    }
  }

  /** Ends the link; what waits is rejected. */
  async close(): Promise<void> {
    this.#end(new ControllerError("closed", "the connection was closed"));
    await this.#leaveSession();
    await this.#link.close();
    await this.#reading;
  }

  async #read(): Promise<void> {
    // What comes with the connection waits until whoever made it can listen.
    await new Promise((resolve) => setTimeout(resolve, 0));
    try {
      for await (const { bytes, replyTo } of this.#link.received) this.#take(bytes, replyTo);
      this.#end(new ControllerError("closed", "the connection was closed"));
    } catch (error) {
      this.#end(new ControllerError("closed", (error as Error).message, { cause: error }));
    }
  }

  #take(bytes: Uint8Array, replyTo: string | undefined): void {
    const decoded = decodeRecord(bytes, this.#options.limits);
    if (!decoded.ok) return this.#link.refuse?.(decoded.reason);
    const { toId, fromId, recordType } = decoded.record;
    if (toId !== this.#envelope.fromId || fromId !== this.#envelope.toId) return;
    if (recordType.$case === "disconnect") this.#left(recordType.value);
    else if (recordType.$case === "noSessionContext") this.#message(recordType.value.payload, replyTo);
    else if (recordType.$case === "sessionContext") this.#session?.take(decoded.record, recordType.value);
  }

  #left({ reason, reasonCode }: { readonly reason: string; readonly reasonCode: number }): void {
    this.#farewell = reason || `code ${reasonCode}`;
    if (!this.#session) return;
    this.#session.drop(this.#farewell);
    // 7100 to 7199: about the Record, and so about what waits for an answer.
    if (reasonCode >= 7100 && reasonCode < 7200)
      this.#refuse(new ControllerError("protocol", `the agent ends the session: ${reasonCode} ${reason}`));
  }

  #message(payload: Uint8Array, replyTo: string | undefined): void {
    const msg = decodeMsg(payload, this.#options.limits);
    if (!msg.ok) {
      if (msg.msgId === undefined) return;
      const text = `the agent's answer can't be read: ${msg.reason}`;
      this.#pending.get(msg.msgId)?.reject(new ControllerError("protocol", text));
      return;
    }
    const { msgId, content } = msg;
    if (content.kind === "response") this.#pending.get(msgId)?.resolve(content.response);
    else if (content.kind === "error") this.#pending.get(msgId)?.reject(errorOf(content.error));
    else if (content.request.$case === "notify") this.#notified(msgId, content.request.value, replyTo);
  }

  #notified(msgId: string, notify: wire.Notify, replyTo: string | undefined): void {
    const to = replyTo ?? this.#options.agentTopic;
    if (notify.sendResp && this.answers) {
      const response = responseMsg(msgId, { $case: "notifyResp", value: { subscriptionId: notify.subscriptionId } });
      // If it can't be sent, the agent sends the notification again.
      this.#send(response, to).catch(() => undefined);
    }
    if (this.#seen.has(msgId)) return;
    if (this.#seen.size >= REMEMBERED) for (const oldest of this.#seen) if (this.#seen.delete(oldest)) break;
    this.#seen.add(msgId);
    const notification = notificationOf(msgId, notify);
    if (notification !== undefined) this.#options.onNotification(notification);
  }

  #send(msg: wire.Msg, to: string | undefined): Promise<void> {
    if (this.#session) return this.#session.send(encodeMsg(msg));
    return this.#hand(encodeMsgRecord(this.#envelope, msg), to);
  }

  #hand(record: Uint8Array, to: string | undefined): Promise<void> {
    return this.#link.send(record, to === undefined ? {} : { to });
  }

  /** The agent forgets the session with it (R-MTP.7), and says the next thing outside. */
  async #leaveSession(): Promise<void> {
    const session = this.#session;
    if (session?.isInUse === true) {
      const value = { reason: "the controller leaves", reasonCode: 0 };
      const record = encodeRecord(recordOf(this.#envelope, { $case: "disconnect", value }));
      await this.#hand(record, this.#options.agentTopic).catch(() => undefined);
    }
    session?.close();
  }

  #refuse(error: ControllerError): void {
    for (const { reject } of this.#pending.values()) reject(error);
  }

  #end(error: ControllerError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#refuse(error);
    this.#options.onEnd(error);
  }

  #late(timeoutMs: number): ControllerError {
    const { agentId, agentTopic, controllerId } = this.#options;
    const where = agentTopic === undefined ? "" : ` on ${agentTopic}`;
    const said = this.#farewell === "" ? "" : `; it said: ${this.#farewell}`;
    const text = `no answer from ${agentId}${where} within ${timeoutMs} ms: it is not there, listens elsewhere, or does not know ${controllerId}${said}`;
    return new ControllerError("timeout", text);
  }
}
