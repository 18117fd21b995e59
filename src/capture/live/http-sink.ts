/**
 * A capture sent to a URL while it grows: one request whose body goes in chunks (RFC 9112 §7.1) on a connection of its
 * own. No redirect is followed: where it may go was checked once, at the very address that is connected to.
 */
import { request as requestHttp, type ClientRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as requestHttps } from "node:https";
import type { LookupFunction } from "node:net";
import type { CaptureTarget } from "../../spin/live-capture.ts";
import type { Sink, SinkFailed } from "./sink.ts";

/** What says where a request may go. */
export interface TargetGuard {
  /** @throws Error where the host is an address that is forbidden */
  check(host: string): void;
  /** Gives only addresses that are not. */
  readonly lookup: LookupFunction;
}

export interface HttpSinkOptions {
  /** Absent: it may go anywhere. */
  readonly guard?: TargetGuard;
  /** Trusted authorities in PEM; absent: Node's. */
  readonly ca?: string | Buffer;
  readonly mediaType: string;
}

/** Name look-up, connection and handshake together. */
const CONNECT_MS = 10_000;
/** Of an answer's body nothing is used; so much is read to part in order. */
const MAX_ANSWER_BYTES = 65_536;

/** @throws Error in words where the URL can't be used or nobody is reached there */
export async function openHttpSink(
  target: CaptureTarget,
  options: HttpSinkOptions,
  failed: SinkFailed,
  signal: AbortSignal,
): Promise<Sink> {
  const url = parseTarget(target);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  options.guard?.check(host);
  const sink = new HttpSink(url, requestOf(url, host, target, options), failed);
  await sink.connected(signal);
  return sink;
}

/** @throws Error in words */
export function parseTarget({ url: text, username, password }: CaptureTarget): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !["http:", "https:"].includes(url.protocol)) throw new Error("FileTarget is no http: or https: URL");
  if (url.username !== "" || url.password !== "")
    throw new Error("FileTarget holds a name or a password, which belong into arguments of their own");
  if ((username !== "" || password !== "") && url.protocol !== "https:")
    throw new Error("FileTarget is without TLS: a password goes to https: only");
  return url;
}

function requestOf(url: URL, host: string, target: CaptureTarget, { guard, ca, mediaType }: HttpSinkOptions) {
  const isTls = url.protocol === "https:";
  const { method, username, password } = target;
  const withName = username !== "" || password !== "";
  const options: RequestOptions & { ca?: string | Buffer } = {
    method,
    hostname: host,
    port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    headers: {
      "Content-Type": mediaType,
      "Transfer-Encoding": "chunked",
      Connection: "close",
      ...(withName ? { Authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` } : {}),
    },
    agent: false,
    ...(guard ? { lookup: guard.lookup } : {}),
    ...(isTls && ca !== undefined ? { ca } : {}),
  };
  return (isTls ? requestHttps : requestHttp)(options);
}

class HttpSink implements Sink {
  readonly location: string;
  readonly #origin: string;
  readonly #request: ClientRequest;
  readonly #failed: SinkFailed;
  readonly #isTls: boolean;
  #pending = 0;
  taken = 0;
  #isEnding = false;
  /** Status of the answer, or why there will be none. */
  #outcome: { status: number } | { why: string } | undefined;
  #settled: () => void = () => undefined;

  constructor(url: URL, request: ClientRequest, failed: SinkFailed) {
    this.location = url.href;
    this.#origin = url.origin;
    this.#isTls = url.protocol === "https:";
    this.#request = request;
    this.#failed = failed;
    request.on("error", (error: NodeJS.ErrnoException) => this.#settle({ why: wordsOf(error) }));
    request.on("response", (response) => {
      drain(response);
      this.#settle({ status: response.statusCode ?? 0 });
    });
    request.on("close", () => this.#settle({ why: "closed the connection" }));
  }

  get pending(): number {
    return this.#pending;
  }

  connected(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = (error?: Error) => {
        clearTimeout(timer);
        signal.removeEventListener("abort", stop);
        this.#settled = () => undefined;
        if (!error) return resolve();
        this.discard();
        reject(error);
      };
      const stop = () => done(new Error("cancelled before the target was reached"));
      const timer = setTimeout(() => done(new Error(`${this.#origin} did not answer in time`)), CONNECT_MS);
      signal.addEventListener("abort", stop, { once: true });
      this.#settled = () => done(new Error(this.#words()));
      this.#request.once("socket", (socket) => socket.once(this.#isTls ? "secureConnect" : "connect", () => done()));
      this.#request.flushHeaders();
      if (signal.aborted) stop();
    });
  }

  write(chunk: Buffer): void {
    if (this.#outcome) return;
    this.#pending += chunk.length;
    this.#request.write(chunk, (error) => {
      this.#pending -= chunk.length;
      if (!error) this.taken += chunk.length;
    });
  }

  end(limitMs: number): Promise<void> {
    this.#isEnding = true;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle({ why: "did not take the file in time" }), limitMs);
      this.#settled = () => {
        clearTimeout(timer);
        const outcome = this.#outcome;
        this.#request.destroy();
        if (outcome && "status" in outcome && outcome.status >= 200 && outcome.status < 300) resolve();
        else reject(new Error(this.#words()));
      };
      if (this.#outcome) return this.#settled();
      this.#request.end();
    });
  }

  discard(): void {
    this.#isEnding = true;
    // Whoever waits for the end need not any longer.
    this.#settle({ why: "was given up" });
    this.#request.destroy();
  }

  #settle(outcome: { status: number } | { why: string }): void {
    if (this.#outcome) return;
    this.#outcome = outcome;
    this.#settled();
    if (!this.#isEnding) this.#failed(this.#words());
  }

  #words(): string {
    const outcome = this.#outcome;
    if (!outcome) return `${this.#origin} has not answered`;
    if ("why" in outcome) return `${this.#origin} ${outcome.why}`;
    const early = this.#isEnding ? "" : " before the end";
    return `${this.#origin} answered ${outcome.status}${early}`;
  }
}

function wordsOf({ code, message }: NodeJS.ErrnoException): string {
  if (code === "ECONNREFUSED") return "refuses connections";
  if (code === "ECONNRESET" || code === "EPIPE") return "closed the connection";
  if (code === "ENOTFOUND") return "has no address";
  return `can't be used: ${message}`;
}

function drain(response: IncomingMessage): void {
  let bytes = 0;
  response.on("error", () => undefined);
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) response.destroy();
  });
}
