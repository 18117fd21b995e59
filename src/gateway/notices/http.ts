/**
 * A notice by HTTP POST, as ntfy (docs.ntfy.sh/publish) takes it: the sentence as the body, Title, Priority and Tags as
 * headers. One request on a connection of its own, bounded in time; TLS is verified; redirections are not followed, so
 * that a token goes nowhere else.
 */
import { readFileSync } from "node:fs";
import { request as requestHttp, type IncomingMessage } from "node:http";
import { request as requestHttps } from "node:https";
import { DeliveryError, textOf, type Send } from "./delivery.ts";
import type { Notice } from "./sentence.ts";

export interface HttpPlace {
  readonly url: string;
  /** Read anew each time, so that a new token needs no restart; empty: none. */
  readonly tokenFile: string;
  readonly caFile: string;
  readonly timeoutMs?: number;
}

const TIMEOUT_MS = 15_000;
const MAX_ANSWER_BYTES = 65_536;
/** A server that says to wait longer is asked again then all the same. */
const MAX_RETRY_AFTER_MS = 3_600_000;
/** What may be better the next time, of those that say the request was wrong. */
const TRY_AGAIN: ReadonlySet<number> = new Set([401, 403, 408, 425, 429]);
/** Of 1 to 5, by severity. */
const PRIORITY: Readonly<Record<string, number>> = { High: 5, Medium: 4, Low: 3, Info: 2 };

export function httpSender({ url, tokenFile, caFile, timeoutMs = TIMEOUT_MS }: HttpPlace): Send {
  return async (delivery, signal) => {
    const { notice } = delivery;
    const body = Buffer.from(textOf(delivery));
    const headers = {
      "Content-Type": "text/plain; charset=utf-8",
      "Content-Length": body.length,
      Connection: "close",
      ...headersOf(notice),
      ...authorization(tokenFile),
    };
    const target = new URL(url);
    const isTls = target.protocol === "https:";
    const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
    const { status, retryAfterMs } = await new Promise<Answer>((resolve, reject) => {
      const fail = (error: Error) => {
        const why = limit.aborted ? "did not answer in time" : error.message;
        reject(new Error(`${target.origin}: ${why}`));
      };
      const options = { method: "POST", headers, agent: false as const, signal: limit };
      const answered = (response: IncomingMessage) => {
        drain(response);
        resolve(answerOf(response));
      };
      const request = isTls
        ? requestHttps(target, { ...options, ...(caFile === "" ? {} : { ca: readFileSync(caFile) }) }, answered)
        : requestHttp(target, options, answered);
      request.on("error", fail);
      request.end(body);
    });
    if (status >= 200 && status < 300) return;
    const isLasting = status < 500 && !TRY_AGAIN.has(status);
    throw new DeliveryError(`${target.origin} answered ${status}`, isLasting ? undefined : retryAfterMs);
  };
}

interface Answer {
  readonly status: number;
  readonly retryAfterMs: number;
}

function headersOf({ kind, severity, type }: Notice): Record<string, string> {
  if (kind === "DeviceDiscovered") return { Title: "New device", Priority: "3", Tags: "new" };
  if (kind === "IncidentClosed") return { Title: "Quiet again", Priority: "2", Tags: `white_check_mark,${type}` };
  return {
    Title: "Something looks wrong",
    Priority: `${PRIORITY[severity] ?? 3}`,
    Tags: `${severity === "High" ? "rotating_light" : "warning"},${type}`,
  };
}

function authorization(tokenFile: string): Record<string, string> {
  if (tokenFile === "") return {};
  const token = readFileSync(tokenFile, "utf8").trim();
  // Not the file's content: it is a secret.
  if (!/^[\x21-\x7e]{1,4096}$/.test(token)) throw new Error(`${tokenFile}: holds no token`);
  return { Authorization: `Bearer ${token}` };
}

function answerOf({ statusCode = 0, headers }: IncomingMessage): Answer {
  const after = headers["retry-after"] ?? "";
  const seconds = /^\d{1,9}$/.test(after) ? Number(after) : (Date.parse(after) - Date.now()) / 1000;
  const retryAfterMs = Number.isFinite(seconds) ? Math.min(MAX_RETRY_AFTER_MS, Math.max(0, seconds * 1000)) : 0;
  return { status: statusCode, retryAfterMs };
}

/** What it says is all in the status. */
function drain(response: IncomingMessage): void {
  let bytes = 0;
  response.on("error", () => undefined);
  response.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) response.destroy();
  });
}
