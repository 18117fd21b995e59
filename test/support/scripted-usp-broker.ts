/** A USP Broker of a kind: listens on a socket, takes a Service, and says what the test tells it to. */
import { createServer, type Server, type Socket } from "node:net";
import {
  decodeMsg,
  decodeRecord,
  encodeMsgRecord,
  errorMsg,
  requestMsg,
  responseMsg,
  type MsgContent,
  type RequestType,
  type ResponseType,
} from "../../proto/codec.ts";
import { TlvType } from "../../src/mtp/uds-codec.ts";
import { eventually } from "./eventually.ts";
import { RawPeer } from "./uds.ts";

export interface Asked {
  readonly msgId: string;
  readonly request: RequestType;
}

export class ScriptedUspBroker {
  readonly records: string[] = [];
  readonly requests: Asked[] = [];
  connections = 0;
  /** Of a request of the Service; `undefined` says nothing. */
  answer: (request: RequestType) => ResponseType | { readonly errCode: number; readonly errMsg: string } | undefined =
    registered;
  /** What the Service calls itself. */
  service = "";
  readonly #server: Server;
  #peer: RawPeer | undefined;
  readonly #answers = new Map<string, (content: MsgContent) => void>();
  #last = 0;

  private constructor(readonly endpointId: string) {
    this.#server = createServer((socket) => this.#serve(socket));
  }

  static async start(path: string, endpointId = "os::02AA00-broker"): Promise<ScriptedUspBroker> {
    const broker = new ScriptedUspBroker(endpointId);
    await new Promise<void>((resolve) => broker.#server.listen(path, resolve));
    return broker;
  }

  /** Asks the Service, as any controller behind the broker does. */
  async ask(request: RequestType): Promise<MsgContent> {
    const msgId = `broker-${++this.#last}`;
    const answered = new Promise<MsgContent>((resolve) => this.#answers.set(msgId, resolve));
    this.#send(msgId, requestMsg(msgId, request));
    return answered;
  }

  async request(kind: RequestType["$case"], count = 1): Promise<Asked> {
    const found = await eventually(
      () => this.requests.filter(({ request }) => request.$case === kind)[count - 1],
      (asked) => asked !== undefined,
      { timeoutMs: 20_000, everyMs: 10, what: `the Service's ${kind} number ${count}` },
    );
    return found as Asked;
  }

  get isConnected(): boolean {
    return this.#peer?.isClosed === false;
  }

  cut(): void {
    this.#peer?.end();
  }

  async stop(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(socket: Socket): void {
    this.connections++;
    const peer = new RawPeer(socket);
    this.#peer = peer;
    let taken = 0;
    socket.on("data", () => {
      for (; taken < peer.tlvs.length; taken++) {
        const { type, value } = peer.tlvs[taken] as { type: number; value: Uint8Array };
        if (type === TlvType.handshake) {
          this.service = Buffer.from(value).toString();
          peer.say(TlvType.handshake, this.endpointId);
        }
        if (type === TlvType.record) this.#take(value);
      }
    });
  }

  #take(bytes: Uint8Array): void {
    const decoded = decodeRecord(bytes);
    if (!decoded.ok) throw new Error(decoded.reason);
    const { fromId, toId, recordType } = decoded.record;
    if (fromId !== this.service || toId !== this.endpointId) throw new Error(`${fromId} to ${toId}`);
    this.records.push(recordType.$case);
    if (recordType.$case !== "noSessionContext") return;
    const msg = decodeMsg(recordType.value.payload, { bytes: 1e8, elements: 1e6 });
    if (!msg.ok) throw new Error(msg.reason);
    const { msgId, content } = msg;
    if (content.kind !== "request") return this.#answers.get(msgId)?.(content);
    this.requests.push({ msgId, request: content.request });
    const answer = this.answer(content.request);
    if (answer === undefined) return;
    this.#send(
      msgId,
      "errCode" in answer ? errorMsg(msgId, answer.errCode, answer.errMsg) : responseMsg(msgId, answer),
    );
  }

  #send(_msgId: string, msg: Parameters<typeof encodeMsgRecord>[1]): void {
    const envelope = { version: "1.4", toId: this.service, fromId: this.endpointId };
    this.#peer?.say(TlvType.record, encodeMsgRecord(envelope, msg));
  }
}

/** Takes all. */
export function registered(request: RequestType): ResponseType | undefined {
  if (request.$case === "register") {
    const registeredPathResults = request.value.regPaths.map(({ path }) => ({
      requestedPath: path,
      operStatus: { operStatus: { $case: "operSuccess" as const, value: { registeredPath: path } } },
    }));
    return { $case: "registerResp", value: { registeredPathResults } };
  }
  if (request.$case === "deregister") return { $case: "deregisterResp", value: { deregisteredPathResults: [] } };
  return undefined;
}

/** Refuses all, path by path. */
export function refusing(errCode: number, errMsg: string): (request: RequestType) => ResponseType | undefined {
  return (request) => {
    if (request.$case !== "register") return registered(request);
    const registeredPathResults = request.value.regPaths.map(({ path }) => ({
      requestedPath: path,
      operStatus: { operStatus: { $case: "operFailure" as const, value: { errCode, errMsg } } },
    }));
    return { $case: "registerResp", value: { registeredPathResults } };
  };
}
