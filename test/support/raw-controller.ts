/** A controller at the level of Records, over the bare `ws` package: it sends what it is told, and keeps what comes. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { WebSocket, WebSocketServer } from "ws";
import {
  decodeMsg,
  decodeRecord,
  encodeMsgRecord,
  requestMsg,
  responseMsg,
  type CompleteRecord,
  type MsgContent,
  type RequestType,
} from "../../proto/codec.ts";
import { AGENT_ID, CONTROLLER_ID } from "./agent.ts";
import { eventually } from "./eventually.ts";

const LIMITS = { bytes: 64 << 20, elements: 1_000_000 };

export class RawController {
  readonly records: CompleteRecord[] = [];
  /** Answers and Errors, by message id. */
  readonly answers = new Map<string, MsgContent>();
  readonly notifications: { readonly msgId: string; readonly subscriptionId: string; readonly what: string }[] = [];
  /** Code of the Close frame. */
  closeCode: number | undefined;

  constructor(
    readonly socket: WebSocket,
    readonly id = CONTROLLER_ID,
  ) {
    socket.on("message", (bytes: Buffer) => this.#take(bytes));
    socket.on("close", (code) => (this.closeCode = code));
    socket.on("error", () => undefined);
  }

  /** At an agent that listens. */
  static async dial(port: number, options: { id?: string; path?: string } = {}): Promise<RawController> {
    const { id = CONTROLLER_ID } = options;
    const path = options.path ?? `/usp?eid=${id}`;
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, ["v1.usp"], { perMessageDeflate: false });
    const controller = new RawController(socket, id);
    await once(socket, "open");
    return controller;
  }

  /** `dial`, again and again until it is let in. */
  static async reach(port: number, options: { id?: string } = {}): Promise<RawController> {
    const dial = () => RawController.dial(port, options).catch(() => undefined);
    return (await eventually(dial, Boolean, { timeoutMs: 30_000, what: "the agent's port" })) as RawController;
  }

  send(bytes: Uint8Array): void {
    this.socket.send(bytes);
  }

  record(msgId: string, request: RequestType, fromId = this.id): Uint8Array {
    return encodeMsgRecord({ version: "1.4", fromId, toId: AGENT_ID }, requestMsg(msgId, request));
  }

  /** Sends a request and waits for what answers it. */
  async ask(msgId: string, request: RequestType, timeoutMs = 10_000): Promise<MsgContent> {
    this.send(this.record(msgId, request));
    return (await eventually(() => this.answers.get(msgId), Boolean, {
      everyMs: 5,
      timeoutMs,
      what: `the answer to ${msgId}`,
    })) as MsgContent;
  }

  async closed(): Promise<number> {
    return (await eventually(
      () => this.closeCode,
      (code) => code !== undefined,
      { everyMs: 10, what: "the Close" },
    )) as number;
  }

  get kinds(): string[] {
    return this.records.map(({ recordType }) => recordType.$case);
  }

  #take(bytes: Buffer): void {
    const decoded = decodeRecord(bytes, LIMITS);
    if (!decoded.ok) throw new Error(decoded.reason);
    this.records.push(decoded.record);
    const { recordType } = decoded.record;
    if (recordType.$case !== "noSessionContext") return;
    const msg = decodeMsg(recordType.value.payload, LIMITS);
    if (!msg.ok) throw new Error(msg.reason);
    const { msgId, content } = msg;
    if (content.kind !== "request") this.answers.set(msgId, content);
    else if (content.request.$case === "notify") {
      const { subscriptionId, notification, sendResp } = content.request.value;
      this.notifications.push({ msgId, subscriptionId, what: notification?.$case ?? "" });
      const response = responseMsg(msgId, { $case: "notifyResp", value: { subscriptionId } });
      if (sendResp) this.send(encodeMsgRecord({ version: "1.4", fromId: this.id, toId: AGENT_ID }, response));
    }
  }
}

/** A server that agents dial, with or without what USP asks of it. */
export class RawServer {
  readonly requests: IncomingMessage[] = [];
  readonly sessions: RawController[] = [];
  readonly #server: WebSocketServer;

  private constructor(server: WebSocketServer, headers: readonly string[]) {
    this.#server = server;
    server.on("headers", (all) => all.push(...headers));
    server.on("connection", (socket, request) => {
      this.requests.push(request);
      this.sessions.push(new RawController(socket));
    });
  }

  static async start(
    port: number,
    { headers = [], ...options }: ConstructorParameters<typeof WebSocketServer>[0] & { headers?: string[] } = {},
  ): Promise<RawServer> {
    const server = new WebSocketServer({ host: "127.0.0.1", port, ...options });
    const it = new RawServer(server, headers);
    await once(server, "listening");
    return it;
  }

  /** The session after so many. */
  async session(after = 0, timeoutMs = 30_000): Promise<RawController> {
    const at = () => this.sessions[after];
    return (await eventually(at, Boolean, { timeoutMs, everyMs: 20, what: `session ${after}` })) as RawController;
  }

  async stop(): Promise<void> {
    for (const client of this.#server.clients) client.terminate();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
