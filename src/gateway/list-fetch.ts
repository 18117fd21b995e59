/**
 * A list by HTTP: one GET, bounded in time and size, into a file. Where a controller's may be fetched is checked at the
 * address that a name leads to, at each redirect anew, so that nobody turns the gateway against the home from inside.
 */
import { createHash } from "node:crypto";
import { open, rm } from "node:fs/promises";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { lookup as lookupDns } from "node:dns";
import { isIP } from "node:net";
import type { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { forbiddenBut, type Forbidden } from "../usp/bulk-data/forbidden.ts";

export interface ListRequest {
  readonly url: string;
  /** Of what is there already; empty: nothing is. */
  readonly etag: string;
  readonly lastModified: string;
  /** Inside the home too. */
  readonly mayBeLocal: boolean;
  /** Where what comes is written. */
  readonly file: string;
}

export interface FetchPolicy {
  /** Trusted authorities in PEM; absent: the system's. */
  readonly ca?: string | Buffer;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
  readonly idleMs?: number;
  /** Prefixes of what is forbidden otherwise that a controller's list may be fetched from all the same. */
  readonly allowLocal?: readonly string[];
}

export type Fetched =
  | { readonly kind: "same" }
  | { readonly kind: "new"; readonly sha256: string; readonly etag: string; readonly lastModified: string };

/** The largest published lists (a million names) are 20 to 30 MB; what a home can use of them is less. */
export const MAX_LIST_BYTES = 16 << 20;
/** All together, redirects too; and between two pieces. */
const TIMEOUT_MS = 120_000;
const IDLE_MS = 20_000;
const MAX_REDIRECTS = 5;
/** Of a validator that is sent back. */
const MAX_VALIDATOR = 256;
const GZIP_MAGIC = [0x1f, 0x8b];

/** @throws Error in words for an operator, without a part of the content */
export async function fetchList(request: ListRequest, policy: FetchPolicy, signal: AbortSignal): Promise<Fetched> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(policy.timeoutMs ?? TIMEOUT_MS)]);
  const forbidden: Forbidden = request.mayBeLocal ? () => undefined : forbiddenBut(policy.allowLocal ?? []);
  let url = new URL(request.url);
  try {
    for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects++) {
      const response = await get(url, request, policy, forbidden, limit);
      const { statusCode = 0, headers } = response;
      if (statusCode === 304) {
        response.destroy();
        return { kind: "same" };
      }
      if ([301, 302, 303, 307, 308].includes(statusCode) && headers.location !== undefined) {
        response.destroy();
        url = redirected(url, headers.location);
        continue;
      }
      if (statusCode !== 200) {
        response.destroy();
        throw new Error(`it answered ${statusCode}`);
      }
      const sha256 = await receive(response, request.file, policy, limit);
      const validator = (text: string | undefined) => (text && text.length <= MAX_VALIDATOR ? text : "");
      return { kind: "new", sha256, etag: validator(headers.etag), lastModified: validator(headers["last-modified"]) };
    }
    throw new Error(`it redirected more than ${MAX_REDIRECTS} times`);
  } catch (error) {
    await rm(request.file, { force: true });
    if (signal.aborted) throw signal.reason;
    const why = limit.aborted ? "it did not answer in time" : (error as Error).message;
    throw new Error(`${url.origin}: ${why}`, { cause: error });
  }
}

function get(
  url: URL,
  { etag, lastModified }: ListRequest,
  { ca }: FetchPolicy,
  forbidden: Forbidden,
  signal: AbortSignal,
): Promise<IncomingMessage> {
  const isTls = url.protocol === "https:";
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  const why = isIP(hostname) === 0 ? undefined : forbidden(hostname);
  if (why !== undefined) throw new Error(`${hostname} is ${why}, where only the resident's lists may come from`);
  return new Promise((resolve, reject) => {
    const request = (isTls ? requestHttps : requestHttp)(
      {
        method: "GET",
        hostname,
        port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
        path: `${url.pathname}${url.search}`,
        headers: {
          "Accept-Encoding": "gzip",
          "User-Agent": "spin-usp",
          Connection: "close",
          ...(etag === "" ? {} : { "If-None-Match": etag }),
          ...(lastModified === "" ? {} : { "If-Modified-Since": lastModified }),
        },
        agent: false,
        lookup: permitted(forbidden),
        signal,
        ...(isTls && ca !== undefined ? { ca } : {}),
      },
      resolve,
    );
    request.on("error", reject);
    request.end();
  });
}

/** Look-up that leads to permitted addresses alone. */
function permitted(forbidden: Forbidden): typeof lookupDns {
  const look = (
    host: string,
    options: { all?: boolean },
    done: (error: Error | null, address: unknown, family?: number) => void,
  ) => {
    lookupDns(host, { ...options, all: true }, (error, found) => {
      if (error) return done(error, "");
      const good = found.filter(({ address }) => forbidden(address) === undefined);
      const [first] = good;
      if (!first) {
        const why = forbidden(found[0]?.address ?? "") ?? "no address";
        return done(new Error(`${host} leads to ${why}, where only the resident's lists may come from`), "");
      }
      if (options.all === true) done(null, good);
      else done(null, first.address, first.family);
    });
  };
  return look as unknown as typeof lookupDns;
}

function redirected(from: URL, location: string): URL {
  if (location.length > 2048 || !URL.canParse(location, from.href))
    throw new Error("it redirected to something that is no URL");
  const to = new URL(location, from);
  if (to.protocol !== "https:" && to.protocol !== "http:") throw new Error(`it redirected to ${to.protocol}`);
  if (from.protocol === "https:" && to.protocol === "http:") throw new Error("it redirected from https to http");
  if (to.username !== "" || to.password !== "") throw new Error("it redirected to a URL with a name or password");
  return to;
}

/** Writes the body, unpacked where it is gzip. @returns its SHA-256 in hex */
async function receive(
  response: IncomingMessage,
  path: string,
  policy: FetchPolicy,
  signal: AbortSignal,
): Promise<string> {
  const { maxBytes = MAX_LIST_BYTES, idleMs = IDLE_MS } = policy;
  const tooBig = () => new Error(`it is larger than ${maxBytes} bytes`);
  const announced = Number(response.headers["content-length"] ?? 0);
  if (announced > maxBytes) {
    response.destroy();
    throw tooBig();
  }
  response.setTimeout(idleMs, () => response.destroy(new Error("it stopped sending")));
  const file = await open(path, "w", 0o600);
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of unpacked(response, response.headers["content-encoding"] ?? "", maxBytes, tooBig)) {
      signal.throwIfAborted();
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooBig();
      hash.update(chunk);
      await file.write(chunk);
    }
    if (!response.complete) throw new Error("it ended before its end");
    await file.sync();
  } finally {
    response.destroy();
    await file.close();
  }
  return hash.digest("hex");
}

/** What is packed may be small and become large: each piece that comes out is counted by the reader. */
async function* unpacked(
  response: IncomingMessage,
  encoding: string,
  maxBytes: number,
  tooBig: () => Error,
): AsyncIterable<Buffer> {
  if (encoding !== "" && encoding !== "identity" && encoding !== "gzip")
    throw new Error("it is packed in a way that was not asked for");
  const iterator = (response as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  const first = await iterator.next();
  const rest = async function* () {
    if (!first.done) yield first.value;
    let received = first.done ? 0 : first.value.length;
    for (let next = await iterator.next(); !next.done; next = await iterator.next()) {
      received += next.value.length;
      if (received > maxBytes) throw tooBig();
      yield next.value;
    }
  };
  const isPacked = !first.done && first.value[0] === GZIP_MAGIC[0] && first.value[1] === GZIP_MAGIC[1];
  if (!isPacked) {
    if (encoding === "gzip") throw new Error("it is said to be gzip and is not");
    yield* rest();
    return;
  }
  const gunzip = createGunzip();
  const feeding = feed(rest(), gunzip);
  feeding.catch(() => undefined);
  try {
    yield* gunzip as AsyncIterable<Buffer>;
    await feeding;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw code?.startsWith("Z_") === true ? new Error("it can't be unpacked") : error;
  } finally {
    gunzip.destroy();
  }
}

async function feed(
  source: AsyncIterable<Buffer>,
  into: NodeJS.WritableStream & Pick<Readable, "destroy">,
): Promise<void> {
  try {
    for await (const chunk of source)
      if (!into.write(chunk)) await new Promise<void>((resolve) => into.once("drain", resolve).once("close", resolve));
    into.end();
  } catch (error) {
    into.destroy(error as Error);
    throw error;
  }
}
