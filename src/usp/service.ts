/**
 * The agent as a USP Service (TR-369 "Software Modularization and USP-Enabled Applications"): over a connection to a USP
 * Broker it offers its objects, keeps at it where they are refused, and takes them back before it leaves. What the broker
 * asks then, as any controller, the agent answers as ever.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Log } from "../lib/log.ts";
import { requestMsg, type MsgContent, type RequestType } from "./codec.ts";
import type { Connection } from "./connection.ts";
import type { Controller } from "./controllers.ts";
import type { Outlet } from "./outlet.ts";
import { retryDelay, type RetryPolicy } from "./retry.ts";

export interface RegistrationParts {
  readonly connection: Connection;
  /** The broker. */
  readonly controller: () => Controller | undefined;
  readonly outlet: Outlet;
  /** Paths of objects, with final dot. */
  readonly paths: readonly string[];
  /** What is not registered and why, in words; empty once all is. */
  readonly state: (fault: string) => void;
  readonly log: Log;
  readonly random: () => number;
}

/** Of refused paths. A broker that still asks what we registered last refuses the next (7028), for a moment. */
const RETRY: RetryPolicy = { minimumMs: 2_000, multiplier: 2, maximumMs: 300_000 };
/** A broker that hangs gets the question again; nothing else waits for it. */
const ANSWER_MS = 10_000;
/** The agent has but five seconds to stop. */
const FAREWELL_MS = 1_000;

export class Registration {
  readonly #parts: RegistrationParts;
  #isRegistered = false;
  /** Of the connection, or of our wish. */
  readonly #over = new AbortController();

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
  }

  /** Until all is registered, or the end. Never rejects. */
  async run(): Promise<void> {
    const { state, log, random, connection } = this.#parts;
    const { signal } = this.#over;
    let missing = this.#parts.paths;
    for (let attempt = 1; missing.length > 0 && !signal.aborted; attempt++) {
      const refused = await this.#register(missing, signal);
      if (signal.aborted) return;
      missing = missing.filter((path) => refused.has(path));
      const fault = [...refused].map(([path, why]) => `${path}: ${why}`).join("; ");
      state(fault);
      if (fault === "") return log.info(`registered ${this.#parts.paths.join(", ")} at ${connection.peer}`);
      const wait = retryDelay(RETRY, attempt, random());
      log.warn(`${connection.peer} does not register ${fault}; again in ${(wait / 1000).toFixed(1)} s`);
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** The connection ended. */
  end(): void {
    this.#over.abort();
  }

  /** Takes back what was registered. Never rejects, and never takes long. */
  async leave(): Promise<void> {
    this.end();
    if (!this.#isRegistered || !this.#parts.connection.isOpen) return;
    this.#isRegistered = false;
    await this.#ask({ $case: "deregister", value: { paths: [] } }, AbortSignal.timeout(FAREWELL_MS));
  }

  /** @returns what is refused, with the broker's reason */
  async #register(paths: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
    const value = { allowPartial: true, regPaths: paths.map((path) => ({ path })) };
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]);
    const answer = await this.#ask({ $case: "register", value }, limit);
    const all = (why: string) => new Map(paths.map((path) => [path, why]));
    if (answer === undefined) return all(`no answer within ${ANSWER_MS / 1000} s`);
    if (answer.kind === "error") return all(faultOf(answer.error));
    if (answer.kind !== "response" || answer.response.$case !== "registerResp") return all("no RegisterResp");
    // A path of which nothing is said is not registered.
    const refused = all("the answer does not name it");
    for (const { requestedPath, operStatus } of answer.response.value.registeredPathResults) {
      const status = operStatus?.operStatus;
      if (status?.$case === "operFailure") refused.set(requestedPath, faultOf(status.value));
      if (status?.$case !== "operSuccess") continue;
      refused.delete(requestedPath);
      this.#isRegistered = true;
    }
    return new Map([...refused].filter(([path]) => paths.includes(path)));
  }

  /** The answer; `undefined` where none comes before the signal. */
  async #ask(request: RequestType, signal: AbortSignal): Promise<MsgContent | undefined> {
    const { connection, outlet, controller } = this.#parts;
    const broker = controller();
    if (!broker) return undefined;
    const msgId = outlet.newMsgId();
    try {
      return await new Promise<MsgContent | undefined>((resolve) => {
        if (signal.aborted) return resolve(undefined);
        signal.addEventListener("abort", () => resolve(undefined), { once: true });
        connection.asked.set(msgId, resolve);
        outlet.ask(connection, broker, requestMsg(msgId, request));
      });
    } finally {
      connection.asked.delete(msgId);
    }
  }
}

const faultOf = ({ errCode, errMsg }: { errCode: number; errMsg: string }) => `${errCode} ${errMsg.slice(0, 128)}`;
