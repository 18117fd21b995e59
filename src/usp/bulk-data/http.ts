/**
 * A report to a collector by HTTP: one request on a connection of its own, bounded in time. Where it may go is checked at
 * the address that a name leads to, so that nobody turns the gateway against the home from inside.
 */
import { createHash, randomBytes } from "node:crypto";
import { request as requestHttp, type IncomingMessage, type RequestOptions } from "node:http";
import { request as requestHttps } from "node:https";
import { forbiddenBut, guardedLookup, refuseLiteral } from "./forbidden.ts";

export interface HttpPost {
  readonly url: URL;
  readonly method: "POST" | "PUT";
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Empty: the collector is told no name. */
  readonly username: string;
  readonly password: string;
}

export interface HttpPolicy {
  /** Whether http:// may be used. */
  readonly allowPlaintext: boolean;
  /** Prefixes of what is forbidden otherwise (forbidden.ts): the home, private ranges, this machine. */
  readonly allowLocal: readonly string[];
  /** Trusted authorities in PEM; absent: the system's. */
  readonly ca?: string | Buffer;
  /** Of one delivery; absent: TIMEOUT_MS. */
  readonly timeoutMs?: number;
}

/** Name look-up, connection, sending and answer together. */
const TIMEOUT_MS = 30_000;
/** Of an answer's body nothing is used; so much is read to end the connection in order. */
const MAX_ANSWER_BYTES = 65_536;
const MAX_REDIRECTS = 3;

/** Resolves when the collector took it (2xx). @throws Error in words for an operator, or the signal's reason */
export async function postReport(post: HttpPost, policy: HttpPolicy, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(policy.timeoutMs ?? TIMEOUT_MS)]);
  let { url } = post;
  // Over TLS the password is safe with the collector; without, it is told only to one who asks, and by digest if he can.
  let authorization = post.username !== "" && url.protocol === "https:" ? basic(post) : undefined;
  let isChallenged = false;
  for (let redirects = 0; redirects <= MAX_REDIRECTS;) {
    const { status, location, challenges } = await exchange({ ...post, url }, authorization, policy, limit, signal);
    if (status >= 200 && status < 300) return;
    if (status === 401 && post.username !== "" && !isChallenged) {
      isChallenged = true;
      authorization = answerChallenge(challenges, post, url);
      if (authorization !== undefined) continue;
    }
    if (![301, 302, 307, 308].includes(status) || location === undefined)
      throw new Error(`${url.origin} answered ${status}`);
    url = redirected(url, location);
    redirects++;
  }
  throw new Error(`${url.origin} redirected more than ${MAX_REDIRECTS} times`);
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  /** WWW-Authenticate. */
  readonly challenges: readonly string[];
}

async function exchange(
  { url, method, headers, body }: HttpPost,
  authorization: string | undefined,
  { allowPlaintext, allowLocal, ca }: HttpPolicy,
  limit: AbortSignal,
  signal: AbortSignal,
): Promise<Answer> {
  const isTls = url.protocol === "https:";
  const forbidden = forbiddenBut(allowLocal);
  if (!isTls && !allowPlaintext)
    throw new Error(`${url.origin} is without TLS: that needs option allow_plaintext '1' in bulk_data`);
  const hostname = url.hostname.replace(/^\[|\]$/g, "");
  refuseLiteral(hostname, forbidden);
  const options: RequestOptions & { ca?: string | Buffer } = {
    method,
    hostname,
    port: url.port === "" ? (isTls ? 443 : 80) : Number(url.port),
    path: `${url.pathname}${url.search}`,
    headers: {
      ...headers,
      "Content-Length": body.length,
      Connection: "close",
      ...(authorization === undefined ? {} : { Authorization: authorization }),
    },
    agent: false,
    lookup: guardedLookup(forbidden),
    signal: limit,
    ...(isTls && ca !== undefined ? { ca } : {}),
  };
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => {
      if (signal.aborted) reject(signal.reason as Error);
      else if (limit.aborted) reject(new Error(`${url.origin} did not answer in time`));
      else reject(new Error(`${url.origin}: ${error.message}`, { cause: error }));
    };
    const request = (isTls ? requestHttps : requestHttp)(options, (response) => {
      // What it says is all in the status; the rest is read only to part in order.
      drain(response);
      const { statusCode = 0, headers: answered } = response;
      resolve({ status: statusCode, location: answered.location, challenges: challengesOf(response) });
    });
    request.on("error", fail);
    request.end(body);
  });
}

function drain(response: IncomingMessage): void {
  let bytes = 0;
  response.on("error", () => undefined);
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) response.destroy();
  });
}

/** To the same collector only: elsewhere nobody said that the report may go. */
function redirected(from: URL, location: string): URL {
  if (!URL.canParse(location, from.href)) throw new Error(`${from.origin} redirected to something that is no URL`);
  const to = new URL(location, from);
  if (to.origin !== from.origin) throw new Error(`${from.origin} redirected to ${to.origin}; set that as the URL`);
  return to;
}

function basic({ username, password }: HttpPost): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

function challengesOf({ rawHeaders }: IncomingMessage): string[] {
  return rawHeaders.filter((_, i) => i % 2 === 1 && rawHeaders[i - 1]?.toLowerCase() === "www-authenticate");
}

const DIGESTS: Readonly<Record<string, string>> = { "SHA-256": "sha256", MD5: "md5" };

/** RFC 7616 where it is offered, else Basic; `undefined` for what we can't answer. */
function answerChallenge(challenges: readonly string[], post: HttpPost, url: URL): string | undefined {
  for (const [algorithm, hash] of Object.entries(DIGESTS)) {
    for (const challenge of challenges) {
      if (!/^digest /i.test(challenge)) continue;
      const given = paramsOf(challenge);
      if ((given["algorithm"] ?? "MD5").toUpperCase() === algorithm) return digest(given, algorithm, hash, post, url);
    }
  }
  return challenges.some((challenge) => /^basic\b/i.test(challenge)) ? basic(post) : undefined;
}

function paramsOf(challenge: string): Record<string, string> {
  const params: Record<string, string> = {};
  for (const [, name, quoted, token] of challenge.slice(0, 4096).matchAll(/(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))/g))
    params[(name as string).toLowerCase()] = quoted ?? (token as string);
  return params;
}

function digest(
  given: Readonly<Record<string, string>>,
  algorithm: string,
  hash: string,
  { username, password, method }: HttpPost,
  url: URL,
): string | undefined {
  const hex = (text: string) => createHash(hash).update(text).digest("hex");
  const { realm = "", nonce = "", opaque } = given;
  const withQop = given["qop"] !== undefined;
  if (withQop && !(given["qop"] as string).split(",").some((qop) => qop.trim() === "auth")) return undefined;
  const uri = `${url.pathname}${url.search}`;
  const cnonce = randomBytes(8).toString("hex");
  const secret = hex(`${username}:${realm}:${password}`);
  const target = hex(`${method}:${uri}`);
  const response = hex(
    withQop ? `${secret}:${nonce}:00000001:${cnonce}:auth:${target}` : `${secret}:${nonce}:${target}`,
  );
  const quote = (text: string) => `"${text.replaceAll(/["\\]/g, "\\$&")}"`;
  return [
    `Digest username=${quote(username)}, realm="${realm}", nonce="${nonce}", uri=${quote(uri)}`,
    `algorithm=${algorithm}, response="${response}"`,
    ...(withQop ? [`qop=auth, nc=00000001, cnonce="${cnonce}"`] : []),
    ...(opaque === undefined ? [] : [`opaque="${opaque}"`]),
  ].join(", ");
}
