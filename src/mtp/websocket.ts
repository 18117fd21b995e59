/**
 * WebSocket (TR-369 "WebSocket Binding"): one session as a Link, whichever end opened it. Ids of requirements: R-WS.n.
 * Frames are the `ws` package's; keep-alive and every limit are ours.
 */
import type { WebSocket } from "ws";
import type { Link, ReceivedRecord } from "../usp/link.ts";
import { MtpError } from "./error.ts";
import { Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";

export interface WebSocketLimits {
  /** Greatest Record that is taken, in bytes; a greater one ends the session with 1009. */
  readonly recordBytes: number;
  /** Records that came and were not taken yet, after which reading stops. */
  readonly incomingRecords: number;
  readonly incomingBytes: number;
  /** Records that were not sent yet, after which `send` rejects. */
  readonly outgoingRecords: number;
  readonly outgoingBytes: number;
}

/**
 * The smallest frames come by the ten thousand in the 64 kB that are read at once, before reading can stop: the inbox
 * must have room for these 32 × over.
 */
export const DEFAULT_WEBSOCKET_LIMITS: WebSocketLimits = {
  recordBytes: 1 << 20,
  incomingRecords: 512,
  incomingBytes: 4 << 20,
  outgoingRecords: 2048,
  outgoingBytes: 16 << 20,
};

export interface WebSocketLinkOptions {
  /** Who is at the other end, for errors: `192.0.2.1:8443`. */
  readonly peer: string;
  /** Between Pings (R-WS.18). Default 60,000. */
  readonly keepAliveMs?: number;
  /** For a Pong, or anything else, after a Ping. Default 10,000. */
  readonly pongMs?: number;
  readonly limits: WebSocketLimits;
}

/** What both ends ask of the `ws` package. A text frame is refused whatever it holds, so nothing checks its UTF-8. */
export const socketOptions = ({ recordBytes }: WebSocketLimits) => ({
  maxPayload: recordBytes,
  perMessageDeflate: false,
  skipUTF8Validation: true,
  closeTimeout: CLOSE_MS,
});

/** For the peer's Close after ours; then the connection is dropped. */
const CLOSE_MS = 2_000;
const KEEP_ALIVE_MS = 60_000;
const PONG_MS = 10_000;
/** Bytes per millisecond: slower than that nobody takes what is sent. */
const SLOWEST = 64;
/** Of a Close frame's reason, in bytes (RFC 6455 §5.5). */
const MAX_REASON = 123;
const UNUSABLE = 1003;
const POLICY = 1008;
/** Of Close codes: those with which a session ends in order. 1005: the peer gave none. */
const IN_ORDER: readonly number[] = [1000, 1001, 1005];
const BINARY = { binary: true };

export class WebSocketLink implements Link {
  readonly received: AsyncIterable<ReceivedRecord>;
  /** Resolves when the session is over, however it ended. */
  readonly closed: Promise<void>;
  readonly #socket: WebSocket;
  readonly #options: WebSocketLinkOptions;
  readonly #inbox: Inbox<ReceivedRecord>;
  readonly #outbox: Outbox;
  readonly #pings: NodeJS.Timeout;
  #check: NodeJS.Timeout | undefined;
  /** Frames of any kind that came, and Records that left. */
  #came = 0;
  #left = 0;
  #leaving = false;
  /** Why it was ended from here, where that was not in order. */
  #why: MtpError | undefined;

  /** Of an open socket on which nobody listened yet. */
  constructor(socket: WebSocket, options: WebSocketLinkOptions) {
    const { limits } = options;
    this.#socket = socket;
    this.#options = options;
    this.#inbox = new Inbox({ records: limits.incomingRecords, bytes: limits.incomingBytes }, () => false);
    this.#outbox = new Outbox({ records: limits.outgoingRecords, bytes: limits.outgoingBytes }, Infinity);
    this.received = this.#inbox;
    socket.on("message", (data: Buffer, isBinary: boolean) => this.#receive(data, isBinary));
    for (const kind of ["ping", "pong"] as const) socket.on(kind, () => this.#came++);
    // Whatever it is, the session closes.
    socket.on("error", (error) => (this.#why ??= new MtpError("closed", `${options.peer}: ${error.message}`)));
    this.closed = new Promise((resolve) =>
      socket.once("close", (code, reason) => {
        this.#ended(code, reason);
        resolve();
      }),
    );
    this.#pings = setInterval(() => this.#ping(), options.keepAliveMs ?? KEEP_ALIVE_MS);
  }

  get isOpen(): boolean {
    return !this.#leaving && this.#socket.readyState === this.#socket.OPEN;
  }

  send(record: Uint8Array): Promise<void> {
    if (!this.isOpen) return Promise.reject(this.#why ?? new MtpError("closed", `${this.#options.peer}: closed`));
    return this.#outbox.send(record.length, (done) =>
      this.#socket.send(record, BINARY, (error) => {
        if (!error) this.#left++;
        done(error && new MtpError("closed", `${this.#options.peer}: ${error.message}`, { cause: error }));
      }),
    );
  }

  /** R-WS.16 */
  refuse(reason: string): void {
    if (this.#leaving) return;
    this.#why ??= new MtpError("rejected", `${this.#options.peer}: it sent what is no USP Record: ${reason}`);
    this.#leave(UNUSABLE, reason);
    this.#inbox.end(this.#why);
  }

  async close(): Promise<void> {
    if (!this.#leaving) this.#leave(1000, "");
    await this.closed;
  }

  /** Another takes its place: nothing more is taken from it. */
  displace(): void {
    if (this.#leaving) return;
    this.#why ??= new MtpError("closed", `${this.#options.peer}: a session that TLS has verified took its place`);
    this.#leave(POLICY, "another session took its place");
    this.#inbox.end(this.#why);
  }

  /** Whether the other end is alive: it answers a Ping within that time. */
  async answers(withinMs: number): Promise<boolean> {
    if (!this.isOpen) return false;
    const before = this.#came;
    this.#socket.ping();
    const until = performance.now() + withinMs;
    while (this.isOpen && this.#came === before && performance.now() < until)
      await new Promise((resolve) => setTimeout(resolve, ANSWER_POLL_MS));
    return this.isOpen && this.#came !== before;
  }

  #receive(data: Buffer, isBinary: boolean): void {
    this.#came++;
    if (this.#leaving) return;
    if (!isBinary) return this.refuse("a text frame");
    let isRead = false;
    this.#inbox.push({ bytes: data }, data.length, () => {
      isRead = true;
      if (this.#socket.isPaused) this.#socket.resume();
    });
    if (!isRead) this.#socket.pause();
  }

  #leave(code: number, reason: string): void {
    this.#leaving = true;
    this.#socket.close(code, fit(reason));
    // The peer's Close comes behind whatever it sent before.
    this.#inbox.release();
    if (this.#socket.isPaused) this.#socket.resume();
  }

  /** R-WS.17 */
  #ping(): void {
    if (!this.isOpen) return;
    this.#socket.ping();
    if (this.#check !== undefined) return;
    const { recordBytes } = this.#options.limits;
    const [came, left, waiting] = [this.#came, this.#left, this.#outbox.pending];
    this.#check = setTimeout(
      () => {
        this.#check = undefined;
        if (waiting > 0 && this.#left === left) return this.#drop("it takes nothing that is sent");
        // The Ping may wait behind Records; and where nobody takes what comes, the Pong may not be read.
        const isSilent = waiting === 0 && this.#came === came && !this.#socket.isPaused;
        if (isSilent) this.#drop("it does not answer a Ping");
      },
      (this.#options.pongMs ?? PONG_MS) + Math.min(this.#socket.bufferedAmount, recordBytes) / SLOWEST,
    );
  }

  #drop(why: string): void {
    this.#why ??= new MtpError("closed", `${this.#options.peer}: ${why}`);
    this.#socket.terminate();
  }

  #ended(code: number, reason: Buffer): void {
    clearInterval(this.#pings);
    clearTimeout(this.#check);
    const said = reason.length === 0 ? "" : `, saying ${JSON.stringify(reason.toString())}`;
    const end =
      code === 1006
        ? `${this.#options.peer}: the connection broke`
        : `${this.#options.peer}: the peer closed the session with ${code}${said}`;
    const isInOrder = this.#why === undefined && (this.#leaving || IN_ORDER.includes(code));
    const error = this.#why ?? new MtpError("closed", end);
    this.#leaving = true;
    this.#outbox.close(error);
    this.#inbox.end(isInOrder ? undefined : error);
  }
}

const ANSWER_POLL_MS = 20;

/** As much of it as a Close frame takes, in whole characters. */
function fit(reason: string): string {
  let text = reason.slice(0, MAX_REASON);
  while (Buffer.byteLength(text) > MAX_REASON) text = text.slice(0, -1);
  return text;
}
