/**
 * STOMP 1.2 on the wire (https://stomp.github.io/stomp-specification-1.2.html): an encoder, and an incremental decoder
 * that holds no more than its limits whatever comes, so that one flooded frame costs that frame and not the connection.
 */
import { BEGINNING } from "./inbox.ts";

export interface StompFrame {
  readonly command: string;
  /** Unescaped; of a repeated name the first (“Repeated Header Entries”). */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** Of the body as it was sent: where it is more than the limit, `body` is no more than its beginning. */
  readonly bodyBytes: number;
  /** Headers are left out that were more than the limits allow. */
  readonly isCut: boolean;
}

export interface StompLimits {
  /** Of one header line, in bytes, escaped. */
  readonly lineBytes: number;
  /** Header lines that are kept of a frame. */
  readonly headers: number;
  readonly bodyBytes: number;
}

/** Destinations are up to a few kB; brokers add about ten headers of their own (RabbitMQ takes 100 at most). */
export const DEFAULT_STOMP_LIMITS: StompLimits = { lineBytes: 16_384, headers: 128, bodyBytes: 1 << 20 };

/** One end of line: a heart-beat (“Heart-beating”). */
export const HEART_BEAT = Buffer.from("\n");

/** A frame's bytes. With a body it has a content-length, so that the body may hold NULs. */
export function encodeFrame(command: string, headers: Iterable<readonly [string, string]>, body?: Uint8Array): Buffer {
  let head = `${command}\n`;
  for (const [name, value] of headers) head += `${escape(name)}:${escape(value)}\n`;
  if (body === undefined) return Buffer.from(`${head}\n\0`);
  head += `content-length:${body.length}\n\n`;
  const headBytes = Buffer.byteLength(head);
  const frame = Buffer.allocUnsafe(headBytes + body.length + 1);
  frame.write(head);
  frame.set(body, headBytes);
  frame[headBytes + body.length] = NUL;
  return frame;
}

/**
 * `push` what came, then take frames by `next` until there is none. What is no STOMP ends it: `fault` says why, and
 * nothing more is read. Never throws.
 */
export class StompDecoder {
  readonly #limits: StompLimits;
  /** Bytes that are kept of a body that is too long. */
  readonly #beginning: number;
  #input: Buffer = EMPTY;
  #at = 0;
  /** The beginning of a line whose end has not come. */
  #line: Buffer[] = [];
  #lineBytes = 0;
  #head: Head | undefined;
  #body: Body | undefined;
  #fault: string | undefined;

  constructor(limits: Partial<StompLimits> = {}) {
    this.#limits = { ...DEFAULT_STOMP_LIMITS, ...limits };
    this.#beginning = Math.min(BEGINNING, this.#limits.bodyBytes);
  }

  get fault(): string | undefined {
    return this.#fault;
  }

  push(chunk: Buffer): void {
    if (this.#fault !== undefined) return;
    this.#input = this.#at < this.#input.length ? Buffer.concat([this.#input.subarray(this.#at), chunk]) : chunk;
    this.#at = 0;
  }

  next(): StompFrame | undefined {
    while (this.#fault === undefined && this.#at < this.#input.length) {
      if (this.#body !== undefined) {
        const frame = this.#readBody(this.#body);
        if (frame !== undefined) return frame;
      } else this.#readLine();
    }
    return undefined;
  }

  #readLine(): void {
    const from = this.#at;
    const end = this.#input.indexOf(LF, from);
    const isWhole = end >= 0;
    const part = this.#input.subarray(from, isWhole ? end : undefined);
    this.#at = isWhole ? end + 1 : this.#input.length;
    if (this.#lineBytes <= this.#limits.lineBytes) this.#line.push(part);
    this.#lineBytes += part.length;
    // The first line is a word of few letters: what goes on longer is something else.
    if (this.#head === undefined && this.#lineBytes > LONGEST_COMMAND) return this.#fail("no STOMP frame begins so");
    if (!isWhole) return;
    const isTooLong = this.#lineBytes > this.#limits.lineBytes;
    const line = isTooLong ? undefined : withoutReturn(this.#line.length === 1 ? part : Buffer.concat(this.#line));
    this.#line = [];
    this.#lineBytes = 0;
    if (this.#head === undefined) this.#begin(line as Buffer);
    else if (line?.length === 0) this.#beginBody(this.#head);
    else this.#header(this.#head, line);
  }

  /** Between frames: ends of line, or a command. */
  #begin(line: Buffer): void {
    if (line.length === 0) return;
    const command = line.toString("latin1");
    if (!/^[A-Z]+$/.test(command)) return this.#fail(`no STOMP frame begins with ${JSON.stringify(command)}`);
    this.#head = { command, headers: new Map(), isCut: false, contentLength: undefined };
  }

  #header(head: Head, line: Buffer | undefined): void {
    if (line === undefined) {
      head.isCut = true;
      return;
    }
    if (line.includes(NUL)) return this.#fail(`a NUL among the headers of ${head.command}`);
    const text = line.toString();
    const colon = text.indexOf(":");
    const isPlain = head.command === "CONNECTED";
    const name = colon < 0 ? undefined : unescape(text.slice(0, colon), isPlain);
    const value = unescape(text.slice(colon + 1), isPlain);
    if (name === undefined || value === undefined)
      return this.#fail(`${JSON.stringify(text.slice(0, 64))} is no header of ${head.command}`);
    if (name === "content-length" && head.contentLength === undefined) {
      if (!/^\d{1,15}$/.test(value)) return this.#fail(`${head.command} has a content-length ${value.slice(0, 32)}`);
      head.contentLength = Number(value);
    }
    if (head.headers.has(name)) return;
    if (head.headers.size < this.#limits.headers) head.headers.set(name, value);
    else head.isCut = true;
  }

  #beginBody({ contentLength }: Head): void {
    const size = contentLength ?? 0;
    const bytes = Buffer.allocUnsafe(size > this.#limits.bodyBytes ? this.#beginning : size);
    this.#body = { bytes, filled: 0, length: 0, left: contentLength };
  }

  /** The frame, if its end is here. */
  #readBody(body: Body): StompFrame | undefined {
    const head = this.#head as Head;
    if (body.left === undefined) {
      const end = this.#input.indexOf(NUL, this.#at);
      this.#keep(body, this.#input.subarray(this.#at, end < 0 ? undefined : end));
      this.#at = end < 0 ? this.#input.length : end + 1;
      return end < 0 ? undefined : this.#finish(head, body);
    }
    const part = this.#input.subarray(this.#at, this.#at + body.left);
    this.#at += part.length;
    body.left -= part.length;
    this.#keep(body, part);
    if (body.left > 0 || this.#at >= this.#input.length) return undefined;
    if (this.#input[this.#at++] === NUL) return this.#finish(head, body);
    this.#fail(`the body of ${head.command} is longer than its content-length`);
    return undefined;
  }

  /** Copied, so that a small body does not hold the chunk that it came in. */
  #keep(body: Body, part: Buffer): void {
    body.length += part.length;
    const isTooLong = body.length + (body.left ?? 0) > this.#limits.bodyBytes;
    const filled = isTooLong ? Math.min(this.#beginning, body.length) : body.length;
    if (filled > body.bytes.length || (isTooLong && body.bytes.length > this.#beginning)) {
      const other = Buffer.allocUnsafe(isTooLong ? this.#beginning : Math.max(filled, 2 * body.bytes.length));
      body.bytes.copy(other, 0, 0, body.filled);
      body.bytes = other;
    }
    if (body.filled < filled) part.copy(body.bytes, body.filled, 0, filled - body.filled);
    body.filled = filled;
  }

  #finish({ command, headers, isCut }: Head, { bytes, filled, length }: Body): StompFrame {
    this.#head = undefined;
    this.#body = undefined;
    return { command, headers, isCut, bodyBytes: length, body: bytes.subarray(0, filled) };
  }

  #fail(fault: string): void {
    this.#fault = fault;
    this.#input = EMPTY;
    this.#line = [];
    this.#head = this.#body = undefined;
  }
}

interface Head {
  readonly command: string;
  readonly headers: Map<string, string>;
  isCut: boolean;
  contentLength: number | undefined;
}

interface Body {
  bytes: Buffer;
  filled: number;
  /** All that came of it, kept or not. */
  length: number;
  /** Of a content-length; without one, the body ends at a NUL. */
  left: number | undefined;
}

const EMPTY = Buffer.alloc(0);
const NUL = 0;
const LF = 10;
const CR = 13;
/** `UNSUBSCRIBE` and a carriage return are 12. */
const LONGEST_COMMAND = 16;

function withoutReturn(line: Buffer): Buffer {
  return line[line.length - 1] === CR ? line.subarray(0, -1) : line;
}

/** “Value Encoding”. The specification leaves CONNECT and CONNECTED out; R-STOMP.4 escapes in the STOMP frame too. */
function escape(text: string): string {
  return /[\\\r\n:]/.test(text) ? text.replace(/[\\\r\n:]/g, (c) => ESCAPES[c] as string) : text;
}

/** `undefined`: an escape that there is none of. Where brokers differ in whether they escape, that stays as it is. */
function unescape(text: string, isLenient: boolean): string | undefined {
  if (!text.includes("\\")) return text;
  if (!isLenient && /\\(?![\\rnc])/.test(text.replaceAll("\\\\", ""))) return undefined;
  return text.replace(/\\[\\rnc]/g, (c) => UNESCAPES[c] as string);
}

const ESCAPES: { readonly [character: string]: string } = { "\\": "\\\\", "\r": "\\r", "\n": "\\n", ":": "\\c" };
const UNESCAPES: { readonly [escape: string]: string } = { "\\\\": "\\", "\\r": "\r", "\\n": "\n", "\\c": ":" };
