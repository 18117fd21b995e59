/**
 * MQTT 5 and 3.1.1 (TR-369 "MQTT Binding"): one connection to a broker, as a Link. Ids of requirements: R-MQTT.n.
 * The protocol itself is mqtt.js; sockets, reconnection and every limit are ours.
 */
import { MqttClient, type IClientOptions, type IClientPublishOptions } from "mqtt";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Link, ReceivedRecord, SendOptions } from "../usp/link.ts";
import { attempting } from "./attempt.ts";
import { MtpError } from "./error.ts";
import { BEGINNING, Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";
import {
  DEFAULT_MQTT_LIMITS,
  type MqttInfo,
  type MqttLimits,
  type MqttOptions,
  type MqttPublication,
} from "./mqtt-options.ts";
import { connackError, type Connack } from "./mqtt-reasons.ts";
import { covers, isTopicName, planSubscriptions, replyToOf, withReplyTo, type Subscription } from "./mqtt-topics.ts";
import { explain, openSocket, type Endpoint } from "./socket.ts";
import { peerChain } from "./tls.ts";

export interface MqttConnection {
  readonly link: Link;
  readonly info: MqttInfo;
  /** Sends what is no Record; settles as `Link.send` does. */
  readonly publish: (publication: MqttPublication) => Promise<void>;
  /** Over TLS: DER of the broker's certificates, leaf first. */
  readonly chain?: readonly Uint8Array[];
}

/**
 * Connects and subscribes. `signal` ends the attempt; the link that comes of it is ended by `link.close()`.
 * @throws MtpError with the cause in words.
 */
export function connectMqtt(options: MqttOptions, signal: AbortSignal): Promise<MqttConnection> {
  return attempting(options, signal, async (attempt) => {
    const socket = await openSocket(endpointOf(options), attempt);
    const link = new MqttLink(socket, options, attempt);
    const publish = (publication: MqttPublication) => link.publish(publication);
    const info = await link.establish();
    return { link, publish, info, ...(socket instanceof TLSSocket ? { chain: peerChain(socket) } : {}) };
  });
}

const CONTENT_TYPE = "usp.msg";
/** R-MQTT.26; peers that send none are read too. */
const KNOWN_CONTENT_TYPES: readonly (string | undefined)[] = [
  undefined,
  "",
  CONTENT_TYPE,
  "application/vnd.bbf.usp.msg",
];

const KNOWN_TOPICS = 64;

/** How long `close` waits for what is under way. */
const CLOSE_MS = 2_000;

class MqttLink implements Link {
  readonly #client: MqttClient;
  readonly #socket: Socket;
  readonly #options: MqttOptions;
  readonly #limits: MqttLimits;
  readonly #attempt: AbortSignal;
  readonly #inbox: Inbox<ReceivedRecord>;
  #outbox: Outbox;
  readonly #topics = new Set<string>();
  #publish: IClientPublishOptions = { qos: 0 };
  #info: MqttInfo | undefined;
  #connack: Connack | undefined;
  /** Why the connection is about to end, as far as anybody said. */
  #cause: MtpError | undefined;
  #closing: Promise<void> | undefined;
  readonly #closed: Promise<void>;

  constructor(socket: Socket, options: MqttOptions, attempt: AbortSignal) {
    this.#socket = socket;
    this.#options = options;
    this.#attempt = attempt;
    this.#limits = { ...DEFAULT_MQTT_LIMITS, ...options.limits };
    this.#inbox = new Inbox({ records: this.#limits.incomingRecords, bytes: this.#limits.incomingBytes }, () =>
      this.#awaitsAck(),
    );
    this.#outbox = new Outbox({ records: 0, bytes: 0 }, 0);
    // Connected by hand, so that not even the CONNECT goes uncounted.
    this.#client = new MqttClient(() => socket, { ...clientOptions(options, this.#limits), manualConnect: true });
    this.#client.handleMessage = (packet, done) => this.#receive(packet, done);
    this.#closed = new Promise((resolve) => this.#client.once("close", resolve));
    this.#listen();
    this.#client.connect();
  }

  get received(): AsyncIterable<ReceivedRecord> {
    return this.#inbox;
  }

  send(record: Uint8Array, { to, retain }: SendOptions = {}): Promise<void> {
    const info = this.#info;
    if (info === undefined) return Promise.reject(new MtpError("closed", "not connected yet"));
    if (to === undefined || !this.#isTopicName(to)) {
      return Promise.reject(new MtpError("address", `${JSON.stringify(to ?? "")} is no topic to publish to`));
    }
    const suffixed = info.version === "3.1.1" && this.#options.appendReplyTo !== false;
    const topic = suffixed ? withReplyTo(to, info.replyTopic) : to;
    const size = record.length + 3 * (topic.length + info.replyTopic.length) + 32;
    if (size > info.maximumPacketSize) {
      const text = `a Record of ${record.length} bytes is more than the broker takes (${info.maximumPacketSize})`;
      return Promise.reject(new MtpError("too-large", text));
    }
    const payload = Buffer.from(record.buffer, record.byteOffset, record.length);
    const options = retain === true ? { ...this.#publish, retain } : this.#publish;
    const sent = this.#outbox.send(size, (done) => this.#client.publish(topic, payload, options, done));
    if (this.#awaitsAck()) this.#inbox.release();
    return sent;
  }

  publish({ topic, payload, qos, retain, contentType }: MqttPublication): Promise<void> {
    const info = this.#info;
    if (info === undefined) return Promise.reject(new MtpError("closed", "not connected yet"));
    if (!this.#isTopicName(topic))
      return Promise.reject(new MtpError("address", `${JSON.stringify(topic)} is no topic to publish to`));
    const size = payload.length + 3 * (topic.length + contentType.length) + 32;
    if (size > info.maximumPacketSize) {
      const text = `a report of ${payload.length} bytes is more than the broker takes (${info.maximumPacketSize})`;
      return Promise.reject(new MtpError("too-large", text));
    }
    const options: IClientPublishOptions = {
      qos: Math.min(qos, this.#connack?.properties?.maximumQoS ?? 2) as 0 | 1 | 2,
      retain,
      ...(info.version === "5" ? { properties: { contentType } } : {}),
    };
    return this.#outbox.send(size, (done) => this.#client.publish(topic, payload, options, done));
  }

  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  /** From the CONNECT that was sent to the subscriptions that were granted. */
  async establish(): Promise<MqttInfo> {
    try {
      await this.#orEnded(new Promise<void>((resolve) => this.#client.once("connect", () => resolve())));
      const connack = this.#connack ?? {};
      const plan = this.#plan(connack);
      if (this.#options.publishOnly === true) {
        this.#info = this.#describe(connack, { subscriptions: [], replyTopic: undefined }, []);
        return this.#info;
      }
      if (plan.subscriptions.length === 0) {
        throw new MtpError(
          "subscribe",
          "there is no topic to listen on: none is configured, and the broker named none",
        );
      }
      const granted = await this.#orEnded(this.#subscribe(plan.subscriptions));
      this.#info = this.#describe(connack, plan, granted);
      return this.#info;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  #listen(): void {
    const peer = hostText(endpointOf(this.#options));
    const { counts } = this.#options;
    if (counts) {
      this.#client.on("packetsend", ({ cmd }) => {
        counts.packetsSent++;
        if (cmd === "subscribe") counts.subscribeSent++;
        else if (cmd === "unsubscribe") counts.unsubscribeSent++;
      });
    }
    this.#client.on("packetreceive", (packet) => {
      if (counts) counts.packetsReceived++;
      if (packet.cmd === "connack") this.#connack = packet;
      if (packet.cmd === "disconnect") {
        const reason = packet.properties?.reasonString ?? `reason ${packet.reasonCode ?? 0}`;
        this.#cause = new MtpError("closed", `the broker ended the connection: ${reason}`);
      }
    });
    this.#client.on("error", (error) => (this.#cause ??= this.#explain(error as NodeJS.ErrnoException, peer)));
    this.#client.once("close", () => {
      const before = this.#info === undefined ? " before the connection stood" : "";
      const cause = this.#cause ?? new MtpError("closed", `${peer}: the broker closed the connection${before}`);
      this.#cause = cause;
      this.#inbox.end(this.#closing === undefined ? cause : undefined);
      this.#outbox.close(this.#closing === undefined ? cause : new MtpError("closed", "the connection was closed"));
    });
  }

  #explain(error: NodeJS.ErrnoException, peer: string): MtpError {
    if (this.#info === undefined && this.#connack !== undefined)
      return connackError(this.#connack, this.#options, peer);
    if (typeof error.code === "string") return explain(error, peer);
    return new MtpError("closed", `${peer}: ${error.message}`, { cause: error });
  }

  /** What `step` gives, unless the connection or the attempt ends before. */
  #orEnded<Value>(step: Promise<Value>): Promise<Value> {
    return new Promise((resolve, reject) => {
      const fail = () => reject(this.#cause);
      const abort = () => {
        this.#cause ??= this.#attempt.reason as MtpError;
        this.#socket.destroy();
        reject(this.#attempt.reason as Error);
      };
      this.#client.once("close", fail);
      this.#attempt.addEventListener("abort", abort, { once: true });
      if (this.#attempt.aborted) abort();
      void step.then(resolve, reject).finally(() => {
        this.#client.removeListener("close", fail);
        this.#attempt.removeEventListener("abort", abort);
      });
    });
  }

  #plan(connack: Connack) {
    const announced = connack.properties?.userProperties?.["subscribe-topic"] ?? [];
    return planSubscriptions({
      version: this.#options.version,
      configured: this.#options.subscriptions ?? [],
      announced: typeof announced === "string" ? [announced] : announced,
      responseInformation: connack.properties?.responseInformation,
      responseTopic: this.#options.responseTopic,
      qos: this.#options.publishQos ?? 0,
    });
  }

  /** The filters that were granted; the broker's refusals are no error as long as one is left (R-MQTT.17). */
  #subscribe(subscriptions: readonly Subscription[]): Promise<readonly string[]> {
    return new Promise((resolve, reject) => {
      const map = Object.fromEntries(subscriptions.map(({ topic, qos }) => [topic, { qos }]));
      this.#client.subscribe(map, (error, asked, packet) => {
        const codes = (packet as { granted?: readonly number[] } | undefined)?.granted ?? [];
        const granted = (asked ?? []).filter((_, at) => (codes[at] ?? 0x80) < 0x80).map(({ topic }) => topic);
        if (granted.length > 0) return resolve(granted);
        const topics = subscriptions.map(({ topic }) => topic).join(", ");
        return reject(
          new MtpError("subscribe", `the broker granted none of ${topics}${error ? `: ${error.message}` : ""}`),
        );
      });
    });
  }

  #describe(connack: Connack, plan: ReturnType<typeof planSubscriptions>, granted: readonly string[]): MqttInfo {
    const { version, endpointId, publishProperties } = this.#options;
    const properties = connack.properties ?? {};
    const exact = [plan.replyTopic, ...granted.map((filter) => filter.replace(/\/#$/, ""))];
    const found = exact.find(
      (topic) => topic !== undefined && isTopicName(topic) && granted.some((filter) => covers(filter, topic)),
    );
    const replyTopic = found ?? (this.#options.publishOnly === true ? "" : undefined);
    if (replyTopic === undefined) {
      throw new MtpError(
        "subscribe",
        `${endpointId}: none of the granted topics (${granted.join(", ")}) is one that a peer can answer to`,
      );
    }
    const publishQos = Math.min(this.#options.publishQos ?? 0, properties.maximumQoS ?? 2) as 0 | 1 | 2;
    this.#publish =
      version === "5"
        ? {
            qos: publishQos,
            properties: {
              responseTopic: replyTopic,
              contentType: CONTENT_TYPE,
              ...(publishProperties ? { userProperties: { ...publishProperties } } : {}),
            },
          }
        : { qos: publishQos };
    this.#outbox = new Outbox(
      { records: this.#limits.outgoingRecords, bytes: this.#limits.outgoingBytes },
      publishQos === 0 ? Infinity : (properties.receiveMaximum ?? (version === "5" ? 65_535 : WINDOW_311)),
    );
    return {
      version,
      subscribed: granted,
      refused: plan.subscriptions.map(({ topic }) => topic).filter((topic) => !granted.includes(topic)),
      replyTopic,
      ...(properties.assignedClientIdentifier === undefined
        ? {}
        : { assignedClientId: properties.assignedClientIdentifier }),
      ...(properties.responseInformation === undefined ? {} : { responseInformation: properties.responseInformation }),
      sessionPresent: connack.sessionPresent === true,
      keepAliveSeconds: properties.serverKeepAlive ?? this.#options.keepAliveSeconds ?? 60,
      maximumPacketSize: properties.maximumPacketSize ?? MAX_PACKET,
      publishQos,
    };
  }

  /** `done()` acknowledges (QoS 1, 2) and reads on; `done(LATER)` only reads on. */
  #receive(packet: Published, done: (error?: Error) => void): void {
    const { payload, properties } = packet;
    const bytes = typeof payload === "string" ? Buffer.from(payload) : payload;
    if (!KNOWN_CONTENT_TYPES.includes(properties?.contentType)) return done();
    const named = this.#options.version === "5" ? properties?.responseTopic : replyToOf(packet.topic);
    const replyTo = named !== undefined && this.#isTopicName(named) ? { replyTo: named } : {};
    const isTooLong = bytes.length > this.#limits.recordBytes;
    // Copied, so that the rest of it goes.
    const kept = isTooLong ? { bytes: Buffer.from(bytes.subarray(0, BEGINNING)), tooLong: bytes.length } : { bytes };
    const record = { ...kept, ...replyTo };
    const size = kept.bytes.length;
    if (packet.qos !== 1) return this.#inbox.push(record, size, done);
    let isAcknowledged = false;
    let isRead = false;
    const acknowledge = () => {
      isAcknowledged = true;
      if (isRead) this.#acknowledge(packet.messageId);
    };
    const proceed = () => {
      isRead = true;
      done(isAcknowledged ? undefined : LATER);
    };
    return this.#inbox.push(record, size, proceed, acknowledge);
  }

  /** mqtt.js acknowledges when its callback is called without an error, and never after; so this is its inside. */
  #acknowledge(messageId: number | undefined): void {
    if (this.#client.connected) this.#client["_sendPacket"]({ cmd: "puback", messageId, reasonCode: 0 });
  }

  /** The same few topics come again and again. */
  #isTopicName(topic: string): boolean {
    if (this.#topics.has(topic)) return true;
    if (!isTopicName(topic)) return false;
    if (this.#topics.size >= KNOWN_TOPICS) this.#topics.clear();
    this.#topics.add(topic);
    return true;
  }

  #awaitsAck(): boolean {
    return this.#publish.qos !== 0 && this.#outbox.pending > 0;
  }

  async #shut(): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
    this.#inbox.release();
    if (this.#client.connected) this.#client.end(false);
    else this.#socket.destroy();
    await this.#closed;
    clearTimeout(timer);
  }
}

/** What mqtt.js hands over of a PUBLISH. */
interface Published {
  readonly topic: string;
  readonly qos: number;
  readonly messageId?: number;
  readonly payload: Buffer | string;
  readonly properties?: { readonly contentType?: string; readonly responseTopic?: string };
}

const LATER = new Error("acknowledged later");

/** 3.1.1 has no Receive Maximum; brokers keep some tens under way. */
const WINDOW_311 = 20;
/** Of the protocol: the greatest remaining length. */
const MAX_PACKET = 268_435_455;

function clientOptions(options: MqttOptions, limits: MqttLimits): IClientOptions {
  const { username, password, will, version, sessionExpirySeconds } = options;
  const isV5 = version === "5";
  return {
    protocolId: "MQTT",
    protocolVersion: isV5 ? 5 : 4,
    clientId: options.clientId ?? (isV5 ? "" : options.endpointId),
    clean: options.cleanStart ?? true,
    keepalive: options.keepAliveSeconds ?? 60,
    reconnectPeriod: 0,
    resubscribe: false,
    // It would keep 65,536 numbers as buffers: 12 MB, and 18 ms at the first packet.
    writeCache: false,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(will === undefined ? {} : { will: { ...will, payload: Buffer.from(will.payload) } }),
    ...(isV5
      ? {
          properties: {
            requestResponseInformation: true,
            maximumPacketSize: limits.recordBytes + 70_000,
            receiveMaximum: Math.min(limits.incomingRecords, 65_535),
            // Some brokers' hooks look at the first user property only; it stays the first.
            userProperties: { "usp-endpoint-id": options.endpointId, ...options.connectProperties },
            ...(sessionExpirySeconds === undefined ? {} : { sessionExpiryInterval: sessionExpirySeconds }),
          },
        }
      : {}),
  };
}

function endpointOf(options: MqttOptions): Endpoint {
  let url: URL;
  try {
    url = new URL(options.url);
  } catch {
    throw new MtpError(
      "address",
      `${JSON.stringify(options.url)} is no address of a broker, as mqtt://192.0.2.1:1883 is`,
    );
  }
  if (url.protocol !== "mqtt:" && url.protocol !== "mqtts:") {
    throw new MtpError("address", `${options.url}: an MQTT broker's address begins with mqtt:// or mqtts://`);
  }
  const isTls = url.protocol === "mqtts:";
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (host === "") throw new MtpError("address", `${options.url}: names no host`);
  return {
    host,
    port: url.port === "" ? (isTls ? 8883 : 1883) : Number(url.port),
    tls: isTls ? (options.tls ?? {}) : undefined,
  };
}

function hostText({ host, port }: Endpoint): string {
  return `${host}:${port}`;
}
