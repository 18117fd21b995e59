/** Requests over MQTT 5, N in flight, to whoever answers on a topic: the same load for agent, floor and peer. */
import { type MqttClient, connectAsync } from "mqtt";
import {
  decodeMsg,
  decodeRecord,
  encodeMsgRecord,
  requestMsg,
  type MsgContent,
  type RequestType,
} from "../../proto/codec.ts";
import { AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC } from "../../test/support/agent.ts";
import { cpuNs } from "./process.ts";

export interface Load {
  readonly requestsPerSecond: number;
  /** Milliseconds, one a request. */
  readonly latencies: number[];
  /** Of the endpoint that answered. */
  readonly cpuUsPerRequest: number;
  readonly answerBytes: number;
}

/** What one lane sends again and again: it is told how often something was sent before. */
export type Ask = (load: LoadGenerator, sequence: number) => Promise<unknown>;

const WHOLE_ANSWERS = { bytes: 1 << 26, elements: 1_000_000 };

export class LoadGenerator {
  readonly #client: MqttClient;
  #waiting = new Map<number, { at: number; done: (answer: Buffer) => void }>();
  #sequence = 0;
  #latencies: number[] = [];
  #answerBytes = 0;

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on("message", (_topic, payload) => {
      // The msg_id is ten digits near the start; finding it costs less than decoding a large answer.
      const match = /\d{10}/.exec(payload.subarray(0, 400).toString("latin1"));
      const waiting = match && this.#waiting.get(Number(match[0]));
      if (!waiting) return;
      this.#waiting.delete(Number(match[0]));
      this.#latencies.push(performance.now() - waiting.at);
      this.#answerBytes = payload.length;
      waiting.done(payload);
    });
  }

  static async connect(port: number): Promise<LoadGenerator> {
    const client = await connectAsync({ host: "127.0.0.1", port, protocol: "mqtt", protocolVersion: 5 });
    await client.subscribeAsync(CONTROLLER_TOPIC);
    return new LoadGenerator(client);
  }

  /** One request; resolves to its answer, not decoded. */
  send(request: RequestType): Promise<Buffer> {
    const id = 1_000_000_000 + this.#sequence++;
    const record = encodeMsgRecord(
      { version: "1.3", toId: AGENT_ID, fromId: CONTROLLER_ID },
      requestMsg(String(id), request),
    );
    return new Promise((done, reject) => {
      this.#waiting.set(id, { at: performance.now(), done });
      const properties = { responseTopic: CONTROLLER_TOPIC, contentType: "usp.msg" };
      this.#client.publish(AGENT_TOPIC, Buffer.from(record), { properties }, (error) => error && reject(error));
    });
  }

  async get(path: string): Promise<void> {
    await this.send({ $case: "get", value: { paramPaths: [path], maxDepth: 0 } });
  }

  /** Requests that were not answered. */
  get unanswered(): number {
    return this.#waiting.size;
  }

  /** Keeps `inFlight` requests going for a while, Gets of a path or others; `pid` is the process that answers. */
  async run(what: string | Ask, inFlight: number, milliseconds: number, pid: number): Promise<Load> {
    this.#latencies = [];
    const ask: Ask = typeof what === "string" ? (load) => load.get(what) : what;
    const cpu = cpuNs(pid);
    const began = performance.now();
    const end = began + milliseconds;
    let sequence = 0;
    let asked = 0;
    const lane = async () => {
      for (; performance.now() < end; asked++) await ask(this, sequence++);
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    const seconds = (performance.now() - began) / 1000;
    return {
      requestsPerSecond: asked / seconds,
      latencies: this.#latencies,
      cpuUsPerRequest: (cpuNs(pid) - cpu) / 1000 / asked,
      answerBytes: this.#answerBytes,
    };
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }
}

/** The Message of an answer. */
export function contentOf(answer: Uint8Array): MsgContent {
  const decoded = decodeRecord(answer, WHOLE_ANSWERS);
  if (!decoded.ok || decoded.record.recordType.$case !== "noSessionContext") throw new Error("not a Record");
  const msg = decodeMsg(decoded.record.recordType.value.payload, WHOLE_ANSWERS);
  if (!msg.ok) throw new Error(msg.reason);
  return msg.content;
}
