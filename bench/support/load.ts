/** Get requests over MQTT 5, N in flight, to whoever answers on a topic: the same load for the agent and for the floor. */
import { type MqttClient, connectAsync } from "mqtt";
import { Msg } from "../../proto/generated/usp-msg.ts";
import { Record as UspRecord } from "../../proto/generated/usp-record.ts";
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

export class LoadGenerator {
  readonly #client: MqttClient;
  #waiting = new Map<number, { at: number; done: () => void }>();
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
      waiting.done();
    });
  }

  static async connect(port: number): Promise<LoadGenerator> {
    const client = await connectAsync({ host: "127.0.0.1", port, protocol: "mqtt", protocolVersion: 5 });
    await client.subscribeAsync(CONTROLLER_TOPIC);
    return new LoadGenerator(client);
  }

  /** One request; resolves when its answer is there. */
  get(path: string): Promise<void> {
    const id = 1_000_000_000 + this.#sequence++;
    const get = { paramPaths: [path], maxDepth: 0 };
    const payload = Msg.encode({
      header: { msgId: String(id), msgType: 1 },
      body: { msgBody: { $case: "request", value: { reqType: { $case: "get", value: get } } } },
    }).finish();
    const record = UspRecord.encode({
      version: "1.4",
      toId: AGENT_ID,
      fromId: CONTROLLER_ID,
      payloadSecurity: 0,
      macSignature: new Uint8Array(),
      senderCert: new Uint8Array(),
      recordType: { $case: "noSessionContext", value: { payload } },
    }).finish();
    return new Promise((done, reject) => {
      this.#waiting.set(id, { at: performance.now(), done });
      const properties = { responseTopic: CONTROLLER_TOPIC, contentType: "usp.msg" };
      this.#client.publish(AGENT_TOPIC, Buffer.from(record), { properties }, (error) => error && reject(error));
    });
  }

  /** Keeps `inFlight` requests going for a while; `pid` is the process that answers. */
  async run(path: string, inFlight: number, milliseconds: number, pid: number): Promise<Load> {
    this.#latencies = [];
    const cpu = cpuNs(pid);
    const began = performance.now();
    const end = began + milliseconds;
    const lane = async () => {
      while (performance.now() < end) await this.get(path);
    };
    await Promise.all(Array.from({ length: inFlight }, lane));
    const latencies = this.#latencies;
    return {
      requestsPerSecond: (latencies.length / (performance.now() - began)) * 1000,
      latencies,
      cpuUsPerRequest: (cpuNs(pid) - cpu) / 1000 / latencies.length,
      answerBytes: this.#answerBytes,
    };
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true);
  }
}
