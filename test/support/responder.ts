/** The agent's end of a Link, answering as a test says: what a controller is tried against without an agent. */
import {
  decodeMsg,
  decodeRecord,
  encodeMsgRecord,
  encodeRecord,
  errorMsg,
  recordOf,
  requestMsg,
  responseMsg,
  type Envelope,
  type RecordType,
  type RequestType,
  type ResponseType,
} from "../../proto/codec.ts";
import type * as wire from "../../proto/generated/usp-msg.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { connectMqtt } from "../../src/mtp/mqtt.ts";
import { TOPIC_PRESETS, topicOf } from "../../src/lib/topics.ts";
import type { Link } from "../../src/usp/link.ts";

export const RESPONDER_ID = "os::00D09E-0001";

/** Answers a request; throws UspError for an Error Message; `undefined` says nothing. */
export type Answer = (
  request: RequestType,
  asked: Asked,
) => Promise<ResponseType | undefined> | ResponseType | undefined;

export interface Asked {
  readonly msgId: string;
  readonly from: string;
}

export class Responder {
  readonly #link: Link;
  #answer: Answer;
  #peer: { id: string; topic: string } | undefined;
  /** Requests and NotifyResps that came. */
  readonly requests: RequestType[] = [];
  readonly notifyResponses: { msgId: string; subscriptionId: string }[] = [];
  #onResponse: () => void = () => undefined;

  private constructor(link: Link, answer: Answer) {
    this.#link = link;
    this.#answer = answer;
  }

  static async start(url: string, version: "5" | "3.1.1", answer: Answer): Promise<Responder> {
    const topic = topicOf(TOPIC_PRESETS.spin.agent, { eid: RESPONDER_ID });
    const { link } = await connectMqtt(
      { url, version, endpointId: RESPONDER_ID, responseTopic: topic },
      new AbortController().signal,
    );
    const responder = new Responder(link, answer);
    responder.#run().catch(() => undefined); // ends with the broker
    return responder;
  }

  set answer(answer: Answer) {
    this.#answer = answer;
  }

  /** Sends a Notify to whoever asked last. */
  async notify(notify: Partial<wire.Notify>, msgId = `n-${Math.random()}`): Promise<void> {
    const whole = { subscriptionId: "", sendResp: false, notification: undefined, ...notify };
    await this.#send(encodeMsgRecord(this.#envelope(), requestMsg(msgId, { $case: "notify", value: whole })));
  }

  /** Sends any Record, by default from us to whoever asked last. */
  async record(recordType: RecordType, envelope: Partial<Envelope> = {}): Promise<void> {
    await this.#send(encodeRecord(recordOf({ ...this.#envelope(), ...envelope }, recordType)));
  }

  async raw(bytes: Uint8Array): Promise<void> {
    await this.#send(bytes);
  }

  /** Waits for the n-th NotifyResp. */
  async responded(count: number): Promise<void> {
    while (this.notifyResponses.length < count) await new Promise<void>((resolve) => (this.#onResponse = resolve));
  }

  close(): Promise<void> {
    return this.#link.close();
  }

  async #run(): Promise<void> {
    for await (const { bytes, replyTo } of this.#link.received) {
      const record = decodeRecord(bytes);
      if (!record.ok || record.record.recordType.$case !== "noSessionContext") continue;
      const msg = decodeMsg(record.record.recordType.value.payload);
      if (!msg.ok) continue;
      const { fromId } = record.record;
      if (replyTo !== undefined) this.#peer = { id: fromId, topic: replyTo };
      if (msg.content.kind === "response" && msg.content.response.$case === "notifyResp") {
        this.notifyResponses.push({ msgId: msg.msgId, subscriptionId: msg.content.response.value.subscriptionId });
        this.#onResponse();
      }
      if (msg.content.kind !== "request") continue;
      this.requests.push(msg.content.request);
      void this.#reply(msg.msgId, msg.content.request, fromId, replyTo ?? "");
    }
  }

  async #reply(msgId: string, request: RequestType, to: string, topic: string): Promise<void> {
    const envelope = { version: "1.4", toId: to, fromId: RESPONDER_ID };
    let msg: wire.Msg | undefined;
    try {
      const response = await this.#answer(request, { msgId, from: to });
      msg = response && responseMsg(msgId, response);
    } catch (error) {
      const { code, message, path } = error instanceof UspError ? error : new UspError(7003, String(error));
      const params = path === undefined ? [] : [{ paramPath: path, errCode: code, errMsg: message }];
      msg = errorMsg(msgId, code, message, params);
    }
    if (msg !== undefined) await this.#link.send(encodeMsgRecord(envelope, msg), { to: topic }).catch(() => undefined);
  }

  #envelope(): Envelope {
    return { version: "1.4", toId: this.#peer?.id ?? "", fromId: RESPONDER_ID };
  }

  #send(bytes: Uint8Array): Promise<void> {
    return this.#link.send(bytes, { to: this.#peer?.topic ?? "" });
  }
}

export function getResp(
  ...results: [requested: string, objects: { [path: string]: { [name: string]: string } }][]
): ResponseType {
  const reqPathResults = results.map(([requestedPath, objects]) => ({
    requestedPath,
    errCode: 0,
    errMsg: "",
    resolvedPathResults: Object.entries(objects).map(([resolvedPath, params]) => ({
      resolvedPath,
      resultParams: new Map(Object.entries(params)),
    })),
  }));
  return { $case: "getResp", value: { reqPathResults } };
}
