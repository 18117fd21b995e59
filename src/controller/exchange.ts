/**
 * Requests and their answers over one Link to one agent: many in flight, matched by msg_id; notifications answered and
 * handed on while requests wait. What is not for us, or not from our agent, is ignored.
 */
import {
  decodeMsg,
  decodeRecord,
  encodeMsgRecord,
  requestMsg,
  responseMsg,
  type Envelope,
  type RequestType,
  type ResponseType,
  type WireLimits,
} from "../../proto/codec.ts";
import type * as wire from "../../proto/generated/usp-msg.ts";
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

export interface ExchangeOptions extends Endpoints {
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
  #count = 0;
  #ended: ControllerError | undefined;
  #farewell = "";
  /** Whether notifications that ask for an answer get one. */
  answers = true;

  constructor(link: Link, options: ExchangeOptions) {
    this.#link = link;
    this.#options = options;
    this.#envelope = { version: VERSION, toId: options.agentId, fromId: options.controllerId };
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
    if (recordType.$case === "disconnect")
      this.#farewell = recordType.value.reason || `code ${recordType.value.reasonCode}`;
    if (recordType.$case !== "noSessionContext") return;
    const msg = decodeMsg(recordType.value.payload, this.#options.limits);
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
    return this.#link.send(encodeMsgRecord(this.#envelope, msg), to === undefined ? {} : { to });
  }

  #end(error: ControllerError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    for (const { reject } of this.#pending.values()) reject(error);
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
