/**
 * SPIN 1.0's topics on the home's own broker: what moved, was blocked and was asked for, told once a second in sums, and the
 * nodes, retained. From Query() and the table of devices, as any tool of the resident could.
 */
import { describe, type Log } from "../../lib/log.ts";
import { pause } from "../../lib/pause.ts";
import type { MqttConnection } from "../../mtp/mqtt.ts";
import type { MqttOptions } from "../../mtp/mqtt-options.ts";
import { localBrokerOptions, type ConnectMqtt } from "../local-broker.ts";
import type { LocalBrokerConfig } from "../../config/local-broker.ts";
import { deviceNode, listed, peerId, remoteNode } from "./methods.ts";
import { LISTS, seconds, type ListName, type Row, type Spin1Home, type Values } from "./home.ts";

export interface TopicsOptions {
  readonly home: Spin1Home;
  readonly broker: LocalBrokerConfig;
  readonly connect: ConnectMqtt;
  /** Of JSON-RPC on SPIN/jsonrpc/q; absent: it is not taken. */
  readonly answer?: (text: string) => Promise<string | undefined>;
  readonly log: Log;
  readonly everyMs?: number;
}

const TRAFFIC = "SPIN/traffic";
const QUESTIONS = "SPIN/jsonrpc/q";
const ANSWERS = "SPIN/jsonrpc/a";
const EVERY_MS = 1_000;
const RETRY_MS = 5_000;
/** How often the lists are looked at, in rounds. */
const LISTS_EVERY = 5;
/** Flows, blocked peers and questions whose counts are known, each. */
const MAX_KNOWN = 8192;
/** Of one message. */
const MAX_FLOWS = 2000;
const MAX_EVENTS = 200;
const MAX_REQUEST_BYTES = 65_536;

/** Until the signal; a broker that is away is tried again. */
export async function runTopics(options: TopicsOptions, signal: AbortSignal): Promise<void> {
  const { broker, connect, log, answer } = options;
  const clientId = `spin-usp-spin1-${globalThis.crypto.randomUUID().slice(0, 8)}`;
  let isFailing = false;
  while (!signal.aborted) {
    let connection: MqttConnection | undefined;
    try {
      const base = localBrokerOptions(broker, clientId);
      const wanted: MqttOptions = answer
        ? { ...base, subscriptions: [{ topic: QUESTIONS, qos: 0 }], limits: { recordBytes: MAX_REQUEST_BYTES } }
        : { ...base, publishOnly: true };
      connection = await connect(wanted, signal);
      if (isFailing) log.info("the local broker is reached again");
      isFailing = false;
      await serve(connection, options, signal);
    } catch (error) {
      if (!signal.aborted && !isFailing) log.warn(`SPIN's topics can't be served: ${describe(error)}`);
      isFailing = true;
    } finally {
      await connection?.link.close().catch(() => undefined);
    }
    await pause(RETRY_MS, signal);
  }
}

async function serve(connection: MqttConnection, options: TopicsOptions, signal: AbortSignal): Promise<void> {
  const publish: Publish = (topic, message, retain = false) =>
    connection.publish({
      topic,
      payload: Buffer.from(message === undefined ? "" : JSON.stringify(message)),
      qos: 0,
      retain,
      contentType: "",
    });
  const ended = new AbortController();
  const limit = AbortSignal.any([signal, ended.signal]);
  const reading = read(connection, options).finally(() => ended.abort());
  const telling = new Telling(options.home, publish);
  try {
    await publish(TRAFFIC, { command: "serverRestart" });
    while (!limit.aborted) {
      await telling.round();
      await pause(options.everyMs ?? EVERY_MS, limit);
    }
    if (signal.aborted) await telling.clear();
  } finally {
    await connection.link.close();
    await reading;
  }
  if (!signal.aborted) throw new Error("the broker closed the connection");
}

type Publish = (topic: string, message: unknown, retain?: boolean) => Promise<void>;

async function read({ link, publish }: MqttConnection, { answer, log }: TopicsOptions): Promise<void> {
  try {
    for await (const { bytes, tooLong } of link.received) {
      if (!answer || tooLong !== undefined) continue;
      const said = await answer(Buffer.from(bytes).toString("utf8"));
      if (said !== undefined)
        await publish({ topic: ANSWERS, payload: Buffer.from(said), qos: 0, retain: false, contentType: "" });
    }
  } catch (error) {
    log.debug(`SPIN's topics: ${describe(error)}`);
  }
}

/** What was told already, so that each round tells what is new. */
class Telling {
  readonly #home: Spin1Home;
  readonly #publish: Publish;
  readonly #counts = new Map<string, readonly [packets: number, bytes: number]>();
  /** Text of each node as it was published. */
  readonly #nodes = new Map<number, string>();
  readonly #lists = new Map<string, string>();
  readonly #began = Date.now();
  #since = Date.now();
  #rounds = 0;

  constructor(home: Spin1Home, publish: Publish) {
    this.#home = home;
    this.#publish = publish;
  }

  async round(): Promise<void> {
    const home = this.#home;
    const now = Date.now();
    const devices = await home.rows("Device");
    // What was alive from the last round on; the log takes whole seconds.
    const Since = new Date(this.#since - 2_000).toISOString();
    const flows = await home.query({ Kind: "Flows", Since });
    const blocked = await home.query({ Kind: "Blocked", Since });
    const questions = await home.query({ Kind: "DNSQueries", Since });
    const used = new Set<number>();
    const events = this.#events(devices, blocked, used);
    const asked = this.#asked(devices, questions, used);
    const traffic = this.#traffic(devices, flows, used, now);
    // SPIN told nodes before what spoke of them.
    for (const row of devices) await this.#node(row.number, deviceNode(row));
    for (const id of used) {
      const remote = home.remoteById(id);
      if (remote) await this.#node(id, remoteNode(remote));
    }
    await this.#leave(devices);
    if (traffic) await this.#publish(TRAFFIC, traffic);
    for (const message of [...events, ...asked]) await this.#publish(TRAFFIC, message);
    if (this.#rounds++ % LISTS_EVERY === 0) for (const name of Object.keys(LISTS)) await this.#list(name as ListName);
    this.#since = now;
  }

  /** So that nothing retained stays behind. */
  async clear(): Promise<void> {
    for (const id of this.#nodes.keys()) await this.#publish(`${TRAFFIC}/node/${id}`, undefined, true);
  }

  #traffic(devices: readonly Row[], rows: readonly Values[], used: Set<number>, now: number) {
    const flows = this.#moved("flow", devices, rows, used, MAX_FLOWS);
    if (flows.length === 0) return undefined;
    const sum = (of: "size" | "count") => flows.reduce((total, flow) => total + flow[of], 0);
    const result = {
      flows,
      timestamp: Math.floor(now / 1000),
      total_size: sum("size"),
      total_count: sum("count"),
    };
    return { command: "traffic", argument: "", result };
  }

  #events(devices: readonly Row[], rows: readonly Values[], used: Set<number>) {
    return this.#moved("blocked", devices, rows, used, MAX_EVENTS).map((result) => ({ command: "blocked", result }));
  }

  #moved(kind: string, devices: readonly Row[], rows: readonly Values[], used: Set<number>, most: number) {
    const moved = [];
    for (const row of rows) {
      const text = (name: string) => row.get(name) ?? "";
      const sum = (name: string) => Number(row.get(`${name}Sent`) ?? 0) + Number(row.get(`${name}Received`) ?? 0);
      const key = [kind, ...["Start", "PhysAddress", "Initiator", "Address", "Port", "Protocol"].map(text)].join(" ");
      const now = [sum("Packets"), sum("Bytes")] as const;
      // What a flow had moved before this began is no traffic of this second.
      const before = this.#counts.get(key) ?? (Date.parse(text("Start")) < this.#began - 2_000 ? now : [0, 0]);
      this.#remember(key, now);
      const [count, size] = [now[0] - before[0], now[1] - before[1]];
      if (count <= 0 || moved.length >= most) continue;
      const device = devices.find(({ values }) => values.get("PhysAddress") === text("PhysAddress"));
      if (!device) continue;
      const peer = peerId(this.#home, devices, text("Address"), text("Domain"), Math.floor(Date.now() / 1000));
      used.add(peer);
      const [from, to] = text("Initiator") === "Peer" ? [peer, device.number] : [device.number, peer];
      const [protocol, port] = [Number(text("Protocol")), Number(text("Port"))];
      // The initiator's own port is not in the log: many flows may be one row.
      moved.push({ from, to, protocol, from_port: 0, to_port: port, size, count });
    }
    return moved;
  }

  #asked(devices: readonly Row[], rows: readonly Values[], used: Set<number>) {
    const messages = [];
    for (const row of rows) {
      const name = row.get("Name") ?? "";
      const mac = row.get("PhysAddress") ?? "";
      const key = ["asked", mac, name, row.get("Type")].join(" ");
      const count = Number(row.get("Count") ?? 0);
      const known = this.#counts.get(key)?.[0];
      this.#remember(key, [count, 0]);
      const isOld = known === undefined && Date.parse(row.get("Time") ?? "") < this.#began - 2_000;
      const device = devices.find(({ values }) => values.get("PhysAddress") === mac);
      if (isOld || count <= (known ?? 0) || name === "" || !device || messages.length >= MAX_EVENTS) continue;
      const queriednode = this.#home.remote("", name, seconds(row.get("Time"))).id;
      used.add(queriednode);
      messages.push({ command: "dnsquery", result: { from: device.number, queriednode, query: `${name}.` } });
    }
    return messages;
  }

  #remember(key: string, counts: readonly [number, number]): void {
    this.#counts.delete(key);
    this.#counts.set(key, counts);
    for (const oldest of this.#counts.keys()) {
      if (this.#counts.size <= MAX_KNOWN) break;
      this.#counts.delete(oldest);
    }
  }

  async #node(id: number, node: object): Promise<void> {
    const { lastseen: _, ...lasting } = node as { lastseen: number };
    const text = JSON.stringify(lasting);
    if (this.#nodes.get(id) === text) return;
    this.#nodes.set(id, text);
    await this.#publish(`${TRAFFIC}/node/${id}`, { command: "nodeInfo", result: node }, true);
  }

  async #leave(devices: readonly Row[]): Promise<void> {
    const gone = new Set(this.#home.takeGone());
    const present = new Set(devices.map(({ number }) => number));
    for (const id of this.#nodes.keys())
      if (!present.has(id) && (gone.has(id) || this.#home.remoteById(id) === undefined)) {
        this.#nodes.delete(id);
        await this.#publish(`${TRAFFIC}/node/${id}`, undefined, true);
        await this.#publish(`${TRAFFIC}/admin`, { command: "nodeDeleted", result: { id } });
      }
  }

  async #list(name: ListName): Promise<void> {
    const result = await listed(this.#home, name);
    const text = JSON.stringify(result);
    if (this.#lists.get(name) === text) return;
    this.#lists.set(name, text);
    await this.#publish(TRAFFIC, { command: name, result });
  }
}
