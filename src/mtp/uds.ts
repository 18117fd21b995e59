/**
 * Unix domain socket (TR-369 "UNIX Domain Socket Binding"): one connection as a Link, whichever end opened it. Ids of
 * requirements: R-UDS.n.
 */
import type { Socket } from "node:net";
import type { Link, ReceivedRecord } from "../usp/link.ts";
import { MtpError } from "./error.ts";
import { Inbox } from "./inbox.ts";
import { Outbox } from "./outbox.ts";
import { encodeFrame, FrameError, FrameReader, TlvType, type Tlv } from "./uds-codec.ts";

export interface UdsLimits {
  /** Greatest Record that is taken, in bytes; a greater one ends the connection. */
  readonly recordBytes: number;
  /** Records that came and were not taken yet, after which reading stops. */
  readonly incomingRecords: number;
  readonly incomingBytes: number;
  /** Records that were not sent yet, after which `send` rejects. */
  readonly outgoingRecords: number;
  readonly outgoingBytes: number;
}

export const DEFAULT_UDS_LIMITS: UdsLimits = {
  recordBytes: 1 << 20,
  incomingRecords: 256,
  incomingBytes: 4 << 20,
  outgoingRecords: 2048,
  outgoingBytes: 16 << 20,
};

export interface UdsLinkOptions {
  /** Ours. */
  readonly endpointId: string;
  /** The socket's path, for errors. */
  readonly path: string;
  readonly limits?: Partial<UdsLimits>;
  /** For the peer's handshake (R-UDS.18). Default 30,000. */
  readonly handshakeMs?: number;
  /** Whether a peer that closes ends the connection in order: one that comes for a question and goes. Default false. */
  readonly peerMayLeave?: boolean;
}

const HANDSHAKE_MS = 30_000;
/** For what was sent to leave, and the peer to close its end; then the connection is dropped. */
const CLOSE_MS = 2_000;
/** A peer on the same machine that takes nothing for so long hangs; what waits for it is memory. */
const STALL_MS = 60_000;
/** Room in a frame besides a Record: other TLVs, or a handshake before it. */
const FRAME_ROOM = 1024;
/** Of an endpoint id, in bytes. */
const MAX_ENDPOINT_ID = 256;
/** Of an error's text that is shown. */
const MAX_REASON = 256;

export class UdsLink implements Link {
  readonly received: AsyncIterable<ReceivedRecord>;
  /** Resolves when the connection is over, however it ended. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #options: UdsLinkOptions;
  readonly #reader: FrameReader;
  readonly #inbox: Inbox<ReceivedRecord>;
  readonly #outbox: Outbox;
  /** While the handshake is awaited. */
  #shaken: { resolve: (peer: string) => void; reject: (error: MtpError) => void } | undefined;
  #isOpen = false;
  #isReading = false;
  #isHeld = false;
  #leaving = false;
  /** Why it ended, where that was not in order. */
  #why: MtpError | undefined;
  #stallTimer: NodeJS.Timeout | undefined;
  #left = 0;

  /** Of a connected socket on which nobody listened yet. */
  constructor(socket: Socket, options: UdsLinkOptions) {
    const limits = { ...DEFAULT_UDS_LIMITS, ...options.limits };
    this.#socket = socket;
    this.#options = options;
    this.#reader = new FrameReader(limits.recordBytes + FRAME_ROOM);
    this.#inbox = new Inbox({ records: limits.incomingRecords, bytes: limits.incomingBytes }, () => false);
    this.#outbox = new Outbox({ records: limits.outgoingRecords, bytes: limits.outgoingBytes }, Infinity);
    this.received = this.#inbox;
    socket.on("data", (chunk: Buffer) => {
      if (this.#leaving) return;
      this.#reader.push(chunk);
      this.#read();
    });
    socket.on("error", ({ code, message }: NodeJS.ErrnoException) => {
      const isGone = code === "EPIPE" || code === "ECONNRESET";
      this.#why ??= this.#error(isGone ? "the peer closed the connection" : message);
    });
    this.closed = new Promise((resolve) =>
      socket.once("close", () => {
        this.#ended();
        resolve();
      }),
    );
  }

  /**
   * Says who we are and hears who the peer is: the one that connected speaks first (R-UDS.14). Call once, before all else;
   * the link is over if it fails.
   * @param fault Why the peer is not welcome; it is told.
   * @returns the peer's endpoint id
   * @throws MtpError
   */
  async handshake(role: "client" | "server", fault?: (peer: string) => string | undefined): Promise<string> {
    const own = Buffer.from(this.#options.endpointId);
    const ms = this.#options.handshakeMs ?? HANDSHAKE_MS;
    const heard = new Promise<string>((resolve, reject) => (this.#shaken = { resolve, reject }));
    const timer = setTimeout(() => this.#fail(`no handshake within ${ms / 1000} s`), ms);
    try {
      if (role === "client") this.#socket.write(encodeFrame(TlvType.handshake, own));
      const peer = await heard;
      const why = endpointFault(peer, this.#options.endpointId) ?? fault?.(peer);
      if (why !== undefined) throw this.#fail(why);
      if (role === "server") this.#socket.write(encodeFrame(TlvType.handshake, own));
      this.#isOpen = true;
      this.#read();
      return peer;
    } catch (error) {
      await this.closed;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  send(record: Uint8Array): Promise<void> {
    if (!this.#isOpen || this.#leaving) return Promise.reject(this.#why ?? this.#error("the connection was closed"));
    this.#watchForStall();
    return this.#outbox.send(record.length, (done) =>
      this.#socket.write(encodeFrame(TlvType.record, record), (error) => {
        this.#left++;
        done(error && (this.#why ?? this.#error(error.message)));
      }),
    );
  }

  /** R-UDS.24 */
  refuse(reason: string): void {
    this.#fail(`it sent what is no USP Record: ${reason}`, reason);
    this.#inbox.end(this.#why);
  }

  async close(): Promise<void> {
    this.#leave();
    await this.closed;
  }

  /** Takes frames until there is none, or nobody takes what they held. */
  #read(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    try {
      // What follows the handshake waits for its verdict.
      while (!this.#isHeld && !this.#leaving && (this.#isOpen || this.#shaken !== undefined)) {
        const tlvs = this.#reader.next();
        if (tlvs === undefined) break;
        for (const tlv of tlvs) this.#take(tlv);
      }
    } catch (error) {
      if (!(error instanceof FrameError)) throw error;
      this.#fail(`it sent what is no frame: ${error.message}`, error.message);
    } finally {
      this.#isReading = false;
    }
    if (this.#isHeld) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  #take({ type, value }: Tlv): void {
    if (this.#leaving) return;
    if (type === TlvType.record && this.#isOpen) return this.#takeRecord(value);
    if (type === TlvType.error) {
      this.#fail(`the peer reports an error: ${textOf(value) || "unnamed"}`, "");
      return;
    }
    // Later handshakes, Records before the first, and unknown TLVs are ignored (R-UDS.15, .16, .20).
    if (type !== TlvType.handshake || this.#shaken === undefined) return;
    const { resolve } = this.#shaken;
    this.#shaken = undefined;
    resolve(value.length > MAX_ENDPOINT_ID ? "" : Buffer.from(value).toString("utf8"));
  }

  #takeRecord(bytes: Uint8Array): void {
    let isRead = false;
    this.#inbox.push({ bytes }, bytes.length, () => {
      isRead = true;
      if (!this.#isHeld) return;
      this.#isHeld = false;
      this.#read();
    });
    if (!isRead) this.#isHeld = true;
  }

  /** Ends it for the peer's fault, which the peer is told unless the text is empty. */
  #fail(why: string, told = why): MtpError {
    if (this.#leaving) return this.#why ?? this.#error(why);
    this.#why = this.#error(why);
    if (told !== "" && !this.#socket.destroyed) this.#socket.write(encodeFrame(TlvType.error, Buffer.from(told)));
    this.#leave();
    return this.#why;
  }

  /** What was sent leaves; nothing more is taken. */
  #leave(): void {
    if (this.#leaving) return;
    this.#leaving = true;
    this.#shaken?.reject(this.#why ?? this.#error("the connection was closed"));
    this.#shaken = undefined;
    clearTimeout(this.#stallTimer);
    const timer = setTimeout(() => this.#socket.destroy(), CLOSE_MS);
    void this.closed.then(() => clearTimeout(timer));
    this.#socket.end();
    this.#socket.resume();
  }

  #ended(): void {
    const isInOrder = this.#leaving || (this.#isOpen && this.#options.peerMayLeave === true);
    if (!isInOrder) this.#why ??= this.#error("the peer closed the connection");
    const why = this.#why;
    this.#leaving = true;
    clearTimeout(this.#stallTimer);
    this.#shaken?.reject(why ?? this.#error("the connection was closed"));
    this.#inbox.end(why);
    this.#outbox.close(why ?? this.#error("the connection was closed"));
  }

  #watchForStall(): void {
    if (this.#stallTimer !== undefined) return;
    const before = this.#left;
    this.#stallTimer = setTimeout(() => {
      this.#stallTimer = undefined;
      if (this.#outbox.pending === 0) return;
      if (this.#left !== before) return this.#watchForStall();
      this.#why ??= this.#error(`the peer took nothing for ${STALL_MS / 1000} s`);
      this.#socket.destroy();
    }, STALL_MS);
    this.#stallTimer.unref();
  }

  #error(text: string): MtpError {
    return new MtpError("closed", `${this.#options.path}: ${text}`);
  }
}

/** Lenient towards what others name themselves: the rows of the controllers say whom we know. */
function endpointFault(peer: string, own: string): string | undefined {
  if (!/^[^:\p{Cc}]+:[^:\p{Cc}]*:[^\p{Cc}]+$/u.test(peer)) return "the handshake names no endpoint id";
  return peer === own ? `${own} is the endpoint id of both ends` : undefined;
}

const textOf = (value: Uint8Array) =>
  Buffer.from(value)
    .toString("utf8", 0, MAX_REASON)
    .replace(/\p{Cc}/gu, " ");
