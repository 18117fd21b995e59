/**
 * STOMP 1.2 (TR-369 "STOMP Binding"): one connection to a broker, as a Link. Ids of requirements: R-STOMP.n.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import type { Link, ReceivedRecord, SendOptions } from "../usp/link.ts";
import { attempting } from "./attempt.ts";
import { MtpError, type MtpErrorKind } from "./error.ts";
import { HeartBeat } from "./heart-beat.ts";
import { Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";
import { explain, openSocket, type Endpoint } from "./socket.ts";
import { DEFAULT_STOMP_LIMITS, encodeFrame, HEART_BEAT, StompDecoder, type StompFrame } from "./stomp-codec.ts";
import {
  DEFAULT_STOMP_LINK_LIMITS,
  endpointOf,
  isDestination,
  type StompInfo,
  type StompLinkLimits,
  type StompOptions,
} from "./stomp-options.ts";
import { peerChain } from "./tls.ts";

export interface StompConnection {
  readonly link: Link;
  readonly info: StompInfo;
  /** Over TLS: DER of the broker's certificates, leaf first. */
  readonly chain?: readonly Uint8Array[];
}

/**
 * Connects and subscribes. `signal` ends the attempt; the link that comes of it is ended by `link.close()`.
 * @throws MtpError with the cause in words.
 */
export function connectStomp(options: StompOptions, signal: AbortSignal): Promise<StompConnection> {
  return attempting(options, signal, async (attempt) => {
    const endpoint = endpointOf(options);
    const socket = await openSocket(endpoint, attempt);
    const link = new StompLink(socket, endpoint, options);
    const info = await link.establish(attempt);
    return { link, info, ...(socket instanceof TLSSocket ? { chain: peerChain(socket) } : {}) };
  });
}

const CONTENT_TYPE = "application/vnd.bbf.usp.msg";
/** Peers that send none, or that of MQTT, are read too. */
const KNOWN_CONTENT_TYPES: readonly (string | undefined)[] = [undefined, "", CONTENT_TYPE, "usp.msg"];

/** The only subscription of a connection. */
const SUBSCRIPTION = "0";
/** How long a broker has for the receipt of the subscription: one that gives none has subscribed us all the same. */
const RECEIPT_MS = 2_000;
/** How long `close` waits for what is under way. */
const CLOSE_MS = 2_000;
/** Silence on the line after which the system asks whether the peer is still there, where no heart-beat does. */
const TCP_PROBE_MS = 30_000;
/** Beginnings of SEND frames that are kept: the same few destinations come again and again. */
const KNOWN_DESTINATIONS = 64;
const LONGEST_REASON = 256;

type Step = { readonly command: string; resolve(frame: StompFrame): void; reject(error: Error): void };

class StompLink implements Link {
  readonly #socket: Socket;
  readonly #options: StompOptions;
  readonly #limits: StompLinkLimits;
  readonly #peer: string;
  readonly #decoder: StompDecoder;
  readonly #inbox: Inbox<ReceivedRecord>;
  readonly #outbox: Outbox;
  readonly #heads = new Map<string, Buffer>();
  readonly #closed: Promise<void>;
  #heartBeat: HeartBeat | undefined;
  #step: Step | undefined;
  #destination = "";
  #isSubscribed = false;
  #isHeld = false;
  #isLeaving = false;
  /** Why the connection is about to end, as far as anybody said. */
  #cause: MtpError | undefined;
  #closing: Promise<void> | undefined;

  constructor(socket: Socket, { host, port }: Endpoint, options: StompOptions) {
    const limits = { ...DEFAULT_STOMP_LINK_LIMITS, ...options.limits };
    this.#socket = socket;
    this.#options = options;
    this.#limits = limits;
    this.#peer = `${host}:${port}`;
    this.#decoder = new StompDecoder({ ...DEFAULT_STOMP_LIMITS, bodyBytes: limits.recordBytes });
    this.#inbox = new Inbox({ records: limits.incomingRecords, bytes: limits.incomingBytes }, () => false);
    this.#outbox = new Outbox({ records: limits.outgoingRecords, bytes: limits.outgoingBytes }, Infinity);
    socket.setKeepAlive(true, TCP_PROBE_MS);
    socket.on("error", (error) => (this.#cause ??= explain(error, this.#peer)));
    socket.on("data", (chunk: Buffer) => {
      this.#heartBeat?.heard();
      this.#decoder.push(chunk);
      this.#read();
    });
    this.#closed = new Promise((resolve) =>
      socket.once("close", () => {
        this.#ended();
        resolve();
      }),
    );
  }

  get received(): AsyncIterable<ReceivedRecord> {
    return this.#inbox;
  }

  send(record: Uint8Array, { to }: SendOptions = {}): Promise<void> {
    if (!this.#isSubscribed) return Promise.reject(this.#cause ?? new MtpError("closed", "not connected yet"));
    const head = to === undefined ? undefined : this.#headFor(to);
    if (head === undefined)
      return Promise.reject(new MtpError("address", `${JSON.stringify(to ?? "")} is no destination to send to`));
    const frame = encodeSend(head, record);
    return this.#outbox.send(frame.length, (done) => this.#write(frame, done));
  }

  close(): Promise<void> {
    this.#closing ??= this.#shut();
    return this.#closing;
  }

  /** From the STOMP frame to the subscription. */
  async establish(attempt: AbortSignal): Promise<StompInfo> {
    const abort = () => this.#end(attempt.reason as MtpError);
    attempt.addEventListener("abort", abort, { once: true });
    if (attempt.aborted) abort();
    try {
      const connected = await this.#ask("CONNECTED", encodeFrame("STOMP", connectHeaders(this.#options)));
      const info = this.#agree(connected);
      this.#destination = info.destination;
      await this.#subscribe();
      this.#isSubscribed = true;
      return info;
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      attempt.removeEventListener("abort", abort);
    }
  }

  /** What CONNECTED says, and what follows from it. */
  #agree({ headers }: StompFrame): StompInfo {
    const version = headers.get("version") ?? "1.0";
    if (version !== "1.2")
      throw new MtpError("version", `${this.#peer}: the broker speaks STOMP ${version.slice(0, 16)}, not 1.2`);
    const destinationFromServer = headers.get("subscribe-dest") ?? "";
    const destination = destinationFromServer || (this.#options.destination ?? "");
    if (!isDestination(destination))
      throw new MtpError(
        "subscribe",
        "there is no destination to listen on: none is configured, and the broker named none",
      );
    const { outgoingMs = 0, incomingMs = 0 } = this.#options.heartBeat ?? {};
    const [theirs, wanted] =
      /^(\d{1,9}),(\d{1,9})$/
        .exec(headers.get("heart-beat") ?? "")
        ?.slice(1)
        .map(Number) ?? [];
    const agreed = (one: number, other = 0) => (one === 0 || other === 0 ? 0 : Math.max(one, other));
    const sendsEveryMs = agreed(outgoingMs, wanted);
    const hearsEveryMs = agreed(incomingMs, theirs);
    this.#heartBeat = new HeartBeat({
      sendsEveryMs,
      hearsEveryMs,
      beat: () => void this.#socket.write(HEART_BEAT),
      silent: (ms) => this.#end(new MtpError("closed", `${this.#peer}: the broker has said nothing for ${ms} ms`)),
    });
    return { destination, destinationFromServer, sendsEveryMs, hearsEveryMs, server: headers.get("server") ?? "" };
  }

  async #subscribe(): Promise<void> {
    const headers: [string, string][] = [
      ["id", SUBSCRIPTION],
      ["destination", this.#destination],
      ["ack", "auto"],
      ["receipt", "subscribed"],
    ];
    const timer = setTimeout(() => this.#arrived({ ...NOTHING, command: "RECEIPT" }), RECEIPT_MS);
    try {
      await this.#ask("RECEIPT", encodeFrame("SUBSCRIBE", headers));
    } finally {
      clearTimeout(timer);
    }
  }

  /** Sends a frame and waits for the one that answers it, or the end of the connection. */
  #ask(command: string, frame: Buffer): Promise<StompFrame> {
    return new Promise((resolve, reject) => {
      this.#step = { command, resolve, reject };
      if (this.#socket.destroyed) return this.#fail();
      this.#write(frame);
    });
  }

  #arrived(frame: StompFrame): void {
    if (this.#step?.command !== frame.command) return;
    const { resolve } = this.#step;
    this.#step = undefined;
    resolve(frame);
  }

  #fail(): void {
    const step = this.#step;
    this.#step = undefined;
    step?.reject(this.#cause ?? this.#hungUp());
  }

  /** Takes what came. False: not all of it, the inbox is full. */
  #read(): boolean {
    while (!this.#isHeld) {
      const frame = this.#decoder.next();
      if (frame !== undefined) this.#take(frame);
      else {
        const { fault } = this.#decoder;
        if (fault !== undefined) this.#end(new MtpError("closed", `${this.#peer}: what came is no STOMP: ${fault}`));
        return true;
      }
    }
    return false;
  }

  #take(frame: StompFrame): void {
    switch (frame.command) {
      case "MESSAGE":
        return this.#message(frame);
      case "ERROR":
        // The broker closes the connection now; what it said is the reason. RabbitMQ sends the receipt all the same.
        this.#cause ??= this.#errorOf(frame);
        this.#fail();
        this.#socket.end();
        return;
      case "CONNECTED":
      case "RECEIPT":
        return this.#arrived(frame);
      default:
        return this.#end(new MtpError("closed", `${this.#peer}: the broker sent a frame ${frame.command}`));
    }
  }

  #message({ headers, body, bodyBytes, isCut }: StompFrame): void {
    // What comes behind the DISCONNECT must not keep its receipt waiting.
    if (this.#isLeaving || isCut || !KNOWN_CONTENT_TYPES.includes(headers.get("content-type"))) return;
    const named = headers.get("reply-to-dest");
    const replyTo = named !== undefined && isDestination(named) ? { replyTo: named } : {};
    let isSync = true;
    let mayProceed = false;
    const tooLong = bodyBytes > this.#limits.recordBytes ? { tooLong: bodyBytes } : {};
    this.#inbox.push({ bytes: body, ...replyTo, ...tooLong }, body.length, () => {
      if (isSync) mayProceed = true;
      else this.#hold(false);
    });
    isSync = false;
    if (!mayProceed) this.#hold(true);
  }

  /** Reading stops while the inbox is full; TCP tells the broker. */
  #hold(isHeld: boolean): void {
    this.#isHeld = isHeld;
    if (this.#heartBeat) this.#heartBeat.isDeaf = isHeld;
    if (isHeld) this.#socket.pause();
    else if (this.#read()) this.#socket.resume();
  }

  #errorOf({ headers, body }: StompFrame): MtpError {
    const said = [headers.get("message") ?? "", body.toString()].map((text) =>
      text.replace(/[\p{Cc}\s]+/gu, " ").trim(),
    );
    const text = [...new Set(said)].filter(Boolean).join(": ").slice(0, LONGEST_REASON);
    const step = this.#step?.command;
    const who = this.#options.username === undefined ? "" : ` (user ${JSON.stringify(this.#options.username)})`;
    const [kind, what]: [MtpErrorKind, string] =
      step === "CONNECTED"
        ? isOfCredentials(text)
          ? ["credentials", `the broker refuses the connection${who}`]
          : ["rejected", "the broker refuses the connection"]
        : step === "RECEIPT" && !this.#isSubscribed
          ? ["subscribe", `the broker refuses the subscription to ${this.#destination}`]
          : ["closed", "the broker ended the connection"];
    return new MtpError(kind, `${this.#peer}: ${what}: ${text || "it does not say why"}`);
  }

  #headFor(to: string): Buffer | undefined {
    const known = this.#heads.get(to);
    if (known !== undefined) return known;
    if (!isDestination(to)) return undefined;
    const headers: [string, string][] = [
      ["destination", to],
      ["content-type", CONTENT_TYPE],
      ["reply-to-dest", this.#destination],
    ];
    const head = encodeFrame("SEND", headers).subarray(0, -END_OF_HEAD);
    if (this.#heads.size >= KNOWN_DESTINATIONS) this.#heads.clear();
    this.#heads.set(to, head);
    return head;
  }

  #write(frame: Buffer, done?: (error?: Error | null) => void): void {
    this.#heartBeat?.sent();
    this.#socket.write(frame, (error) => done?.(error ? (this.#cause ?? explain(error, this.#peer)) : undefined));
  }

  /** Ends it at once, for that reason. */
  #end(cause: MtpError): void {
    this.#cause ??= cause;
    this.#socket.destroy();
    this.#fail();
  }

  #ended(): void {
    this.#heartBeat?.stop();
    const isOurs = this.#closing !== undefined;
    const cause = (this.#cause ??= isOurs ? new MtpError("closed", "the connection was closed") : this.#hungUp());
    this.#fail();
    this.#inbox.end(isOurs ? undefined : cause);
    this.#outbox.close(isOurs ? new MtpError("closed", "the connection was closed") : cause);
  }

  #hungUp(): MtpError {
    const before = this.#isSubscribed ? "" : " before the connection stood";
    return new MtpError("closed", `${this.#peer}: the broker closed the connection${before}`);
  }

  /** Lets the broker say that it has all we sent, if it does so soon. */
  async #shut(): Promise<void> {
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
    this.#isLeaving = true;
    this.#inbox.release();
    if (this.#isSubscribed && !this.#socket.destroyed) {
      this.#socket.resume();
      await this.#ask("RECEIPT", encodeFrame("DISCONNECT", [["receipt", "bye"]])).catch(() => undefined);
      this.#socket.end();
    } else this.#socket.destroy();
    await this.#closed;
    clearTimeout(timer);
  }
}

const NOTHING: StompFrame = { command: "", headers: new Map(), body: Buffer.alloc(0), bodyBytes: 0, isCut: false };
/** The empty line and the NUL of a frame without a body. */
const END_OF_HEAD = 2;

function connectHeaders({ endpointId, username, password, virtualHost, heartBeat }: StompOptions): [string, string][] {
  const headers: [string, string][] = [["accept-version", "1.2"]];
  if (virtualHost !== undefined && virtualHost !== "") headers.push(["host", virtualHost]);
  if (username !== undefined) headers.push(["login", username]);
  if (password !== undefined) headers.push(["passcode", password]);
  if (heartBeat) headers.push(["heart-beat", `${heartBeat.outgoingMs},${heartBeat.incomingMs}`]);
  headers.push(["endpoint-id", endpointId]);
  return headers;
}

/** STOMP has no codes; these are the words of RabbitMQ, ActiveMQ and Artemis. */
function isOfCredentials(text: string): boolean {
  return /access refused|authenticat|user ?name|password|credential|not authorized|security/i.test(text);
}

/** A SEND frame from its kept beginning. */
function encodeSend(head: Buffer, record: Uint8Array): Buffer {
  const length = `content-length:${record.length}\n\n`;
  const frame = Buffer.allocUnsafe(head.length + length.length + record.length + 1);
  head.copy(frame);
  frame.write(length, head.length, "latin1");
  frame.set(record, head.length + length.length);
  frame[frame.length - 1] = 0;
  return frame;
}
