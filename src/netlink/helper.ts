/**
 * The helper process: the one part with CAP_NET_ADMIN and CAP_NET_RAW. It is spawned, supervised and spoken to here; what
 * the netlink messages mean stands in *-messages.ts. When it dies it is started again with back-off, subscriptions are
 * made again, and each subscriber is told of the loss.
 */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { type Log, describe } from "../lib/log.ts";
import {
  encodeFrame,
  FRAME_HEADER_BYTES,
  FRAME_LIMIT,
  FrameKind,
  FrameReader,
  NO_INDEX,
  PROTOCOL_VERSION,
  RequestKind,
  ResultFlag,
  words,
} from "./frames.ts";
import { batch } from "./batch.ts";
import { deleteMatching, type TupleTest } from "./conntrack-messages.ts";
import { u32le } from "./messages.ts";
import { NetlinkError } from "./netlink-error.ts";
import {
  decodeElements,
  dumpElements,
  type SetElement,
  type SetReference,
  type TableFamily,
} from "./nftables-messages.ts";
import { eachFrame, type FramesHandlers, framesPayload, type FramesRequest } from "./packet-frames.ts";

export interface HelperOptions {
  /** The program and what stands before it: `["/usr/libexec/spin-usp-helper"]`, `["ip", "netns", "exec", "home", …]`. */
  readonly command: readonly string[];
  /** What `loadRuleset` loads; fixed for the life of the helper. */
  readonly rulesetFile?: string;
  /** What it loads for the family bridge. */
  readonly bridgeRulesetFile?: string;
  readonly log: Log;
  /** Pauses before a restart, in ms: the first, doubled up to the last. */
  readonly backOff?: { readonly first: number; readonly last: number };
}

/** Netlink messages in [start, end) of `bytes`, valid until the call returns. */
export type MessagesHandler = (bytes: Buffer, start: number, end: number) => void;

export interface Subscription {
  readonly kind: (typeof RequestKind)["Conntrack" | "PacketLog" | "Route" | "Ruleset" | "Hold" | "Frames"];
  readonly payload: Uint8Array;
  onMessages: MessagesHandler;
  /** The kernel dropped messages, and the socket has been drained since; or the helper was started again. */
  onLoss(count: number, passedOver?: number): void;
  /** The kernel refused the subscription, or what it was to has gone; it is tried again at the next start. */
  onError(error: Error): void;
  /** The kernel accepted it; again at each restart. */
  onReady?(): void;
  /** The helper ended or does not answer, and why. It is being started again; should it answer after all, `onReady`. */
  onDown?(reason: string): void;
}

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

interface Result {
  readonly index: number;
  readonly flags: number;
  readonly text: string;
}

interface Pending {
  readonly what: string;
  readonly bytes: number;
  readonly onMessages: MessagesHandler | undefined;
  resolve(result: Result): void;
  reject(error: Error): void;
  /** `performance.now()` when we last heard of it. */
  heard: number;
}

const ANSWER_TIMEOUT_MS = 30_000;
/** How often the helper is asked whether it lives; anything that it says is an answer. */
const HEARTBEAT_MS = 1000;
/** Heartbeats without an answer until subscribers are told, and until it is killed and started again. */
const SILENT_BEATS = 2;
const DEAD_BEATS = 3;
/** What it is busy with gives it a heartbeat more for each so many bytes: a slow machine, many elements. */
const BYTES_PER_BEAT = 256 * 1024;
const GREETING_BEATS = 10;
const STABLE_MS = 30_000;
const STOP_GRACE_MS = 1000;
/** capability.h */
const CAP_NET_ADMIN = 1 << 12;
const CAP_NET_RAW = 1 << 13;
const MAGIC = 0x01020304;

export class NetfilterHelper {
  readonly #options: HelperOptions;
  readonly #log: Log;
  readonly #pending = new Map<number, Pending>();
  readonly #subscriptions = new Map<number, Subscription>();
  #child: Child | undefined;
  #greeted = false;
  #mayReadFrames = false;
  #next = 1;
  #lastError = "";
  #loading: Promise<unknown> = Promise.resolve();
  #settleUsable!: (reason: string | undefined) => void;
  readonly #usable: Promise<string | undefined>;

  constructor(options: HelperOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#usable = new Promise((resolve) => (this.#settleUsable = resolve));
  }

  /** Greeted us and has not ended since. */
  get running(): boolean {
    return this.#greeted;
  }

  /** Has CAP_NET_RAW, which `frames` needs and nothing else does. */
  get mayReadFrames(): boolean {
    return this.#mayReadFrames;
  }

  /** Of the process, while it lives. */
  get pid(): number | undefined {
    return this.#child?.pid;
  }

  /** Why it last ended, in words; empty while all is well. */
  get lastError(): string {
    return this.#lastError;
  }

  /** Settles once the first start succeeded (`undefined`) or failed (why, in words). `run` must be under way. */
  usable(): Promise<string | undefined> {
    return this.#usable;
  }

  /** Keeps the helper alive until the signal. Resolves then; a helper that cannot be executed at all is not tried again. */
  async run(signal: AbortSignal): Promise<void> {
    const { first, last } = this.#options.backOff ?? { first: 100, last: 10_000 };
    let pause = first;
    for (let starts = 0; !signal.aborted; starts++) {
      const started = performance.now();
      const reason = await this.#once(signal, starts);
      if (signal.aborted) break;
      this.#lastError = reason.text;
      this.#settleUsable(reason.text);
      this.#log.warn(`helper ended: ${reason.text}`);
      for (const subscription of this.#subscriptions.values())
        subscription.onDown?.(`the helper ended: ${reason.text}`);
      if (reason.final) {
        await aborted(signal);
        break;
      }
      if (performance.now() - started > STABLE_MS) pause = first;
      await sleep(pause, undefined, { signal }).catch(() => undefined);
      pause = Math.min(pause * 2, last);
    }
    this.#settleUsable("stopped");
  }

  /** Stays subscribed over restarts until the returned function is called. */
  subscribe(subscription: Subscription): () => void {
    const request = this.#number();
    this.#subscriptions.set(request, subscription);
    if (this.#greeted) this.#sendSubscription(request, subscription);
    return () => {
      if (!this.#subscriptions.delete(request) || !this.#greeted) return;
      this.#request("end of a subscription", RequestKind.Forget, words(request)).catch(() => undefined);
    };
  }

  /**
   * Applies nftables messages (from nftables-messages.ts) as one transaction: all or nothing. Rejects with a
   * NetlinkError whose `index` is that of the first message at fault. `onEcho` gets what the kernel echoes.
   */
  async transact(messages: readonly Uint8Array[], onEcho?: MessagesHandler): Promise<void> {
    if (messages.length === 0) return;
    await this.#request("nftables transaction", RequestKind.Transact, batch(messages), onEcho);
  }

  /** The elements of one of our sets, with counters where it has them. */
  async dumpSet(set: SetReference): Promise<SetElement[]> {
    for (let attempt = 1; ; attempt++) {
      const elements: SetElement[] = [];
      const { flags } = await this.#request(
        `set ${set.set}`,
        RequestKind.DumpSet,
        dumpElements(set),
        (bytes, start, end) => decodeElements(bytes, start, end, elements),
      );
      // Somebody changed the ruleset in between: what came may be neither the old state nor the new.
      if (!(flags & ResultFlag.Interrupted) || attempt === 5) return elements;
    }
  }

  /** The same as raw messages, for a set too big for an object each. `begin` is called before each attempt. */
  async dumpSetMessages(set: SetReference, begin: () => MessagesHandler): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const { flags } = await this.#request(`set ${set.set}`, RequestKind.DumpSet, dumpElements(set), begin());
      if (!(flags & ResultFlag.Interrupted) || attempt === 5) return;
    }
  }

  /** Every conntrack entry, as raw messages. `buffers` of 32 KiB are read in a row, then `pauseMs` is left to others. */
  async dumpConntrack(onMessages: MessagesHandler, pace: { buffers: number; pauseMs: number }): Promise<void> {
    await this.#request("conntrack dump", RequestKind.DumpConntrack, words(pace.buffers, pace.pauseMs), onMessages);
  }

  /** Deletes entries (messages from conntrack-messages.ts); one that is gone already is no error. Resolves to how many. */
  async deleteConntrack(messages: readonly Uint8Array[]): Promise<number> {
    let deleted = 0;
    for (let next = 0; next < messages.length;) {
      const part: Uint8Array[] = [];
      for (let bytes = 0; next < messages.length && bytes < FRAME_LIMIT / 8; next++) {
        const message = messages[next] as Uint8Array;
        part.push(message);
        bytes += message.length;
      }
      deleted += (await this.#request("conntrack delete", RequestKind.DeleteConntrack, Buffer.concat(part))).index;
    }
    return deleted;
  }

  /**
   * Deletes the conntrack entries whose tuples the test accepts. The test sees the four addresses (source and
   * destination of the original, then of the reply direction) as words and must not keep the array.
   */
  async deleteConntrackMatching(test: TupleTest): Promise<number> {
    const messages: Uint8Array[] = [];
    const collect = deleteMatching(test, messages);
    await this.dumpConntrack(collect, { buffers: 64, pauseMs: 0 });
    return await this.deleteConntrack(messages);
  }

  /** An rtnetlink dump: `type` is RTM_GETLINK, RTM_GETADDR, RTM_GETROUTE or RTM_GETNEIGH. */
  async dumpRoute(type: number, family: number, onMessages: MessagesHandler): Promise<void> {
    await this.#request("route dump", RequestKind.DumpRoute, words(type, family), onMessages);
  }

  /** Runs `nft -f` on the ruleset file of the family, after loads under way. Rejects with what nft said. */
  async loadRuleset(family: TableFamily = "inet"): Promise<void> {
    const load = () => this.#request(`ruleset of ${family}`, RequestKind.LoadRuleset, words(family === "inet" ? 0 : 1));
    // A flush of everything takes both families' tables: both are put back at once, and the helper runs one nft.
    const loading = this.#loading.then(load, load);
    this.#loading = loading;
    await loading;
  }

  /** Switches on conntrack's accounting, events and time stamps; its settings as they stand then, `-` for one not there. */
  async prepareConntrack(): Promise<Map<string, string>> {
    const { text } = await this.#request("conntrack settings", RequestKind.Prepare, words());
    const lines = text.split("\n").filter(Boolean);
    return new Map(lines.map((line) => line.split(" ", 2) as [string, string]));
  }

  /**
   * Calls `onChange` when somebody else changed a table of ours (or may have: after a loss or a restart), until the
   * returned function is called. Not for what `transact` and `loadRuleset` do.
   */
  watchRuleset(onChange: () => void): () => void {
    return this.subscribe({
      kind: RequestKind.Ruleset,
      payload: words(),
      onMessages: onChange,
      onLoss: onChange,
      onError: (error) => this.#log.warn("changes of the ruleset go unseen", error),
    });
  }

  /**
   * Frames of one interface, until the returned function is called; over restarts.
   * @throws RangeError if the request names no interface
   */
  frames(request: FramesRequest, handlers: FramesHandlers): () => void {
    const { onFrame } = handlers;
    return this.subscribe({
      kind: RequestKind.Frames,
      payload: framesPayload(request),
      onMessages: (bytes, start, end) => eachFrame(bytes, start, end, onFrame),
      onLoss: (count, passedOver = 0) => handlers.onLoss?.(count, passedOver),
      onError: (error) => handlers.onError(error),
      onReady: () => handlers.onReady?.(),
      onDown: (reason) => handlers.onDown?.(reason),
    });
  }

  /** Lets DNS answers that wait (a subscription of kind Hold) go on, up to this number. */
  release(newest: number): void {
    if (this.#greeted) this.#child?.stdin.write(encodeFrame(RequestKind.Release, 0, words(newest)));
  }

  /** Sends one request; resolves with its Result, rejects with a NetlinkError or when the helper ends. */
  #request(what: string, kind: number, payload: Uint8Array, onMessages?: MessagesHandler): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (!this.#child || !this.#greeted)
        return reject(new Error(`${what}: the helper is not running${this.#lastError && `: ${this.#lastError}`}`));
      if (payload.length > FRAME_LIMIT - FRAME_HEADER_BYTES)
        return reject(new NetlinkError(what, 90 /* EMSGSIZE */, undefined, `${payload.length} bytes`));
      const request = this.#number();
      this.#pending.set(request, {
        what,
        bytes: payload.length,
        onMessages,
        resolve,
        reject,
        heard: performance.now(),
      });
      this.#child.stdin.write(encodeFrame(kind, request, payload));
    });
  }

  #number(): number {
    this.#next = this.#next === 0xfffffffe ? 1 : this.#next + 1;
    return this.#next;
  }

  /** One life of the process; resolves to why it ended. `final`: trying again is useless. */
  async #once(signal: AbortSignal, starts: number): Promise<{ text: string; final: boolean }> {
    const { command, rulesetFile, bridgeRulesetFile } = this.#options;
    const [program, ...args] = command;
    if (program === undefined) return { text: "no helper", final: true };
    const files = rulesetFile === undefined ? [] : ["--ruleset", rulesetFile];
    if (files.length > 0 && bridgeRulesetFile !== undefined) files.push(bridgeRulesetFile);
    const child: Child = spawn(program, [...args, ...files], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" },
    });
    this.#child = child;
    let complaint = "";
    let final = false;
    const fail = (text: string) => {
      complaint ||= text;
      child.kill("SIGKILL");
    };
    const reader = new FrameReader();
    let silent = 0;
    child.stdout.on("data", (chunk: Buffer) => {
      if (silent >= SILENT_BEATS && this.#greeted)
        for (const subscription of this.#subscriptions.values()) subscription.onReady?.();
      silent = 0;
      try {
        reader.push(chunk, (kind, request, bytes, start, end) => {
          if (kind === FrameKind.Hello) {
            const refused = this.#greet(bytes, start, end, starts);
            if (refused !== undefined) {
              final = true;
              fail(refused);
            }
          } else this.#handle(kind, request, bytes, start, end);
        });
      } catch (error) {
        this.#log.error("helper output", error);
        fail(describe(error));
      }
    });
    child.stderr.on("data", (chunk: Buffer) => (complaint = (complaint + chunk.toString("latin1")).slice(0, 500)));
    child.stdin.on("error", () => undefined);
    const watch = setInterval(() => {
      const late = [...this.#pending.values()].find((p) => performance.now() - p.heard > ANSWER_TIMEOUT_MS);
      if (late) fail(`no answer to ${late.what} for ${ANSWER_TIMEOUT_MS / 1000} s`);
      if (signal.aborted) return;
      // Counted, not timed: when we were held up ourselves, what it said meanwhile is read before the next one.
      silent++;
      if (!this.#greeted) return silent > GREETING_BEATS ? fail("it does not greet") : undefined;
      const busyWith = [...this.#pending.values()].reduce((sum, { bytes }) => sum + bytes, 0);
      const patience = Math.floor(busyWith / BYTES_PER_BEAT);
      if (silent === SILENT_BEATS + patience) {
        this.#log.warn("the helper does not answer");
        for (const subscription of this.#subscriptions.values()) subscription.onDown?.("the helper does not answer");
      }
      if (silent > DEAD_BEATS + patience)
        return fail(`no answer for ${(DEAD_BEATS + patience) * (HEARTBEAT_MS / 1000)} s`);
      child.stdin.write(encodeFrame(RequestKind.Forget, this.#number(), words(NO_INDEX)));
    }, HEARTBEAT_MS);
    const stop = () => {
      child.stdin.end();
      setTimeout(() => child.kill("SIGKILL"), STOP_GRACE_MS).unref();
    };
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    try {
      const [code, how] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
      return { text: complaint.trim() || (how ? `ended by ${how}` : `exit code ${code}`), final };
    } catch (error) {
      return { text: describe(error), final: true };
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", stop);
      this.#child = undefined;
      this.#greeted = false;
      const orphans = [...this.#pending.values()];
      this.#pending.clear();
      for (const { what, reject } of orphans) reject(new Error(`${what}: the helper ended: ${complaint.trim()}`));
    }
  }

  #greet(bytes: Buffer, start: number, end: number, starts: number): string | undefined {
    if (end - start < 12 || u32le(bytes, start) !== MAGIC) return "big-endian machines are not supported";
    const version = u32le(bytes, start + 4);
    if (version !== PROTOCOL_VERSION)
      return `the helper speaks version ${version}, not ${PROTOCOL_VERSION}: rebuild it with npm run helper`;
    const capabilities = u32le(bytes, start + 8);
    if (!(capabilities & CAP_NET_ADMIN))
      return "the helper lacks CAP_NET_ADMIN: setcap cap_net_admin,cap_net_raw+ep on it, or run as root";
    this.#mayReadFrames = (capabilities & CAP_NET_RAW) !== 0;
    this.#greeted = true;
    this.#lastError = "";
    for (const [request, subscription] of this.#subscriptions) {
      this.#sendSubscription(request, subscription);
      if (starts > 0) subscription.onLoss(1);
    }
    this.#settleUsable(undefined);
    return undefined;
  }

  #sendSubscription(request: number, { kind, payload, onError, onReady }: Subscription): void {
    this.#pending.set(request, {
      what: "subscription",
      bytes: payload.length,
      onMessages: undefined,
      resolve: () => onReady?.(),
      reject: onError,
      heard: performance.now(),
    });
    this.#child?.stdin.write(encodeFrame(kind, request, payload));
  }

  #handle(kind: number, request: number, bytes: Buffer, start: number, end: number): void {
    const pending = this.#pending.get(request);
    if (kind === FrameKind.Data) {
      if (pending) pending.heard = performance.now();
      const onMessages = pending?.onMessages ?? this.#subscriptions.get(request)?.onMessages;
      onMessages?.(bytes, start, end);
    } else if (kind === FrameKind.Loss)
      this.#subscriptions.get(request)?.onLoss(u32le(bytes, start), u32le(bytes, start + 4));
    else if (kind === FrameKind.Result) {
      const errno = u32le(bytes, start) | 0;
      const index = u32le(bytes, start + 4);
      const text = bytes.toString("utf8", start + 12, end);
      this.#pending.delete(request);
      // What was subscribed to has gone.
      if (!pending) this.#subscriptions.get(request)?.onError(new NetlinkError("subscription", errno, undefined, text));
      else if (errno === 0) pending.resolve({ index, flags: u32le(bytes, start + 8), text });
      else pending.reject(new NetlinkError(pending.what, errno, index === NO_INDEX ? undefined : index, text));
    }
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}
