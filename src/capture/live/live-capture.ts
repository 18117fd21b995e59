/**
 * Live captures: one of a device at a time, four in all, each bounded in time, packets and bytes, and in what waits for
 * its target. What the target does not take in time is dropped and counted; nothing here grows with the traffic.
 */
import { once } from "node:events";
import type { Log } from "../../lib/log.ts";
import {
  LONGEST_SNAP,
  type CaptureRequest,
  type CaptureResult,
  type CaptureTarget,
  type LiveCapture,
  type Visible,
} from "../../spin/live-capture.ts";
import { pcap, pcapng, type FileFormat } from "./file-format.ts";
import { concerns, maskPeers, readHeaders, type FrameHeaders } from "./frame-headers.ts";
import type { FrameTap } from "./frame-tap.ts";
import { openHttpSink, type TargetGuard } from "./http-sink.ts";
import { FILE_BYTES, HEADERS, KeptFiles } from "./kept-files.ts";
import type { Sink } from "./sink.ts";

export interface LiveCaptureOptions {
  readonly tap: FrameTap;
  readonly interfaces: () => ReadonlySet<string>;
  /** Of captures without a target. */
  readonly folder: string;
  /** For targets that must not lie in the home. */
  readonly guard: TargetGuard;
  /** Trusted authorities in PEM; absent: Node's. @throws Error */
  readonly ca?: () => Buffer | undefined;
  readonly log: Log;
  readonly clock?: { now(): number };
  readonly limits?: Partial<typeof LIMITS>;
}

const LIMITS = {
  /** The kernel runs the filter of each on every packet of its interface, and holds 8 MiB for it. */
  captures: 4,
  /** What waits for a target: a second of a busy camera's stream; four of them fit into the smallest gateway. */
  pendingBytes: 2 << 20,
  /** A target that takes nothing for so long never will. */
  stallMs: 15_000,
  /** For the rest of the file and the target's answer. */
  endMs: 15_000,
  /** The same after Cancel, or as the agent stops: who asked waits for it. */
  cancelMs: 1_500,
  /** Until the kernel says that it listens. */
  readyMs: 5_000,
  /** How often it is asked what may be seen, and whether the target takes anything. */
  tickMs: 1_000,
  fileBytes: FILE_BYTES,
};

/** Chunks as they are sent; a record that is longer gets one of its own. */
const CHUNK_BYTES = 32 << 10;
/** Whoever watches sees a packet so late at most. */
const FLUSH_MS = 100;
/** Of a frame of which headers alone are wanted, so much is asked for: more than all that are usual together. */
const HEADER_SNAP = 512;

const keyOfDevice = (mac: number) => mac.toString(16).padStart(12, "0");
/** Of files: what a controller has kept of a device does not take the place of what the resident has. */
const DEVICE_KEY = /^[0-9a-f]{12}(?:-headers)?$/;

const VISIBLE: readonly Visible[] = ["Frames", "Headers", "HeadersWithoutPeers"];

export class LiveCaptures implements LiveCapture {
  readonly #options: LiveCaptureOptions;
  readonly #limits: typeof LIMITS;
  readonly #files: KeptFiles;
  readonly #running = new Set<string>();

  constructor(options: LiveCaptureOptions) {
    this.#options = options;
    this.#limits = { ...LIMITS, ...options.limits };
    this.#files = new KeptFiles(options.folder);
  }

  get interfaces(): ReadonlySet<string> {
    return this.#options.interfaces();
  }

  /** Removes what was kept. */
  close(): void {
    this.#files.close();
  }

  /** Those of interfaces hold frames of each of their devices. */
  forget(mac?: number): Promise<number> {
    const own = mac === undefined ? undefined : keyOfDevice(mac);
    return Promise.resolve(
      this.#files.removeWhere(
        (key) => own === undefined || key === own || key === `${own}${HEADERS}` || !DEVICE_KEY.test(key),
      ),
    );
  }

  async run(request: CaptureRequest, signal: AbortSignal): Promise<CaptureResult> {
    const key = request.mac === undefined ? request.interfaces.join("+") : keyOfDevice(request.mac);
    const unusable = this.#options.tap.unusable();
    if (unusable !== undefined) return nothing("Failed", unusable);
    const first = request.visible();
    if (typeof first !== "string") return nothing("Refused", first.denied);
    if (this.#running.has(key)) return nothing("Busy", "a capture of it runs already");
    // Controllers from afar can't take them all: one is left for the resident, and for whom it lets see all.
    const most = this.#limits.captures - (first === "Frames" ? 0 : 1);
    if (this.#running.size >= most) return nothing("Busy", `${this.#running.size} captures run already`);
    this.#running.add(key);
    try {
      const capture = new Capture(request, first, this.#options, this.#limits);
      const file = first === "Frames" ? key : `${key}${HEADERS}`;
      return await capture.run((failed) => this.#sink(file, request, failed, signal), signal);
    } catch (error) {
      this.#options.log.error("a live capture failed", error);
      return nothing("Failed", "the capture failed; the agent's log says more");
    } finally {
      this.#running.delete(key);
    }
  }

  #sink(key: string, { target, format }: CaptureRequest, failed: (why: string) => void, signal: AbortSignal) {
    const suffix = format === "pcapng" ? "pcapng" : "pcap";
    if (!target) return Promise.resolve(this.#files.open(key, suffix, failed));
    return openHttpSink(target, this.#httpOptions(target), failed, signal);
  }

  #httpOptions({ mayBeLocal }: CaptureTarget) {
    const ca = this.#options.ca?.();
    return {
      mediaType: "application/vnd.tcpdump.pcap",
      ...(mayBeLocal ? {} : { guard: this.#options.guard }),
      ...(ca === undefined ? {} : { ca }),
    };
  }
}

type Ending = Pick<CaptureResult, "status" | "reason">;

class Capture {
  readonly #request: CaptureRequest;
  readonly #options: LiveCaptureOptions;
  readonly #limits: typeof LIMITS;
  readonly #format: FileFormat;
  readonly #headers: FrameHeaders = {
    length: 0,
    network: 0,
    family: 0,
    isArp: false,
    transport: 0,
    protocol: 0,
  };
  #visible: Visible;
  #headersOnly = false;
  #packets = 0;
  #bytes = 0;
  #lost = 0;
  /** Bytes of the file so far. */
  #written = 0;
  #sink: Sink | undefined;
  #chunk = Buffer.alloc(0);
  #filled = 0;
  #stalledSince = 0;
  #takenBefore = 0;
  #ending: Ending | undefined;
  #end: (ending: Ending) => void = () => undefined;
  readonly #ended: Promise<Ending>;

  constructor(request: CaptureRequest, visible: Visible, options: LiveCaptureOptions, limits: typeof LIMITS) {
    this.#request = request;
    this.#visible = visible;
    this.#options = options;
    this.#limits = limits;
    this.#format = request.format === "pcapng" ? pcapng : pcap;
    this.#ended = new Promise((resolve) => {
      this.#end = (ending) => {
        this.#ending ??= ending;
        resolve(this.#ending);
      };
    });
  }

  async run(openSink: (failed: (why: string) => void) => Promise<Sink>, signal: AbortSignal): Promise<CaptureResult> {
    const cancelled = () => this.#end({ status: "Canceled", reason: "it was cancelled" });
    signal.addEventListener("abort", cancelled, { once: true });
    try {
      try {
        if (signal.aborted) return nothing("Canceled", "it was cancelled");
        this.#sink = await openSink((reason) => this.#end({ status: "Undelivered", reason }));
      } catch (error) {
        const { message } = error as Error;
        if (signal.aborted) return nothing("Canceled", "it was cancelled");
        return nothing(this.#request.target ? "Undelivered" : "Failed", message);
      }
      return await this.#into(this.#sink, signal);
    } finally {
      signal.removeEventListener("abort", cancelled);
    }
  }

  async #into(sink: Sink, signal: AbortSignal): Promise<CaptureResult> {
    const startTime = this.#now();
    const taps: (() => void)[] = [];
    const flush = setInterval(() => this.#flush(), FLUSH_MS);
    const tick = setInterval(() => this.#tick(), this.#limits.tickMs);
    const over = setTimeout(
      () => this.#end({ status: "Complete", reason: "Duration is over" }),
      this.#request.durationMs,
    );
    let ending: Ending;
    try {
      this.#listen(taps);
      ending = await this.#ended;
    } catch (error) {
      ending = { status: "Failed", reason: (error as Error).message };
    } finally {
      for (const close of taps) close();
      clearInterval(flush);
      clearInterval(tick);
      clearTimeout(over);
    }
    const endTime = this.#now();
    if (ending.status === "Undelivered" || ending.status === "Failed") sink.discard();
    else {
      this.#flush();
      try {
        await this.#closed(sink, ending, signal);
      } catch (error) {
        if (ending.status !== "Canceled") ending = { status: "Undelivered", reason: (error as Error).message };
        sink.discard();
      }
    }
    return {
      ...ending,
      packets: this.#packets,
      bytes: this.#bytes,
      lost: this.#lost,
      startTime,
      endTime,
      location: sink.location,
      headersOnly: this.#headersOnly,
    };
  }

  /** Cancel cuts the waiting for a target short as well. */
  async #closed(sink: Sink, { status }: Ending, signal: AbortSignal): Promise<void> {
    const { endMs, cancelMs } = this.#limits;
    if (status === "Canceled" || signal.aborted) return sink.end(cancelMs);
    const ended = sink.end(endMs);
    const settled = ended.catch(() => undefined);
    const stop = new AbortController();
    const patience = once(signal, "abort", { signal: stop.signal }).then(
      async () => {
        await Promise.race([settled, later(cancelMs)]);
        throw new Error("cancelled before the target had taken it all");
      },
      () => undefined,
    );
    try {
      await Promise.race([ended, patience]);
    } finally {
      stop.abort();
    }
  }

  /** @throws RangeError for a name that no interface has */
  #listen(taps: (() => void)[]): void {
    const { interfaces, mac, snapLength } = this.#request;
    const snap = Math.min(snapLength, this.#visible === "Frames" ? LONGEST_SNAP : HEADER_SNAP);
    this.#append(this.#format.head(snap));
    let waiting = interfaces.length;
    const timer = setTimeout(() => {
      if (waiting > 0) this.#end({ status: "Failed", reason: "the kernel does not say that it listens" });
    }, this.#limits.readyMs).unref();
    void this.#ended.then(() => clearTimeout(timer));
    let left = interfaces.length;
    for (const name of interfaces) {
      const close = this.#options.tap.open(
        { interface: name, ...(mac === undefined ? {} : { mac }), snapLength: snap },
        {
          onFrame: (bytes, start, end, original, timeMs) => this.#take(bytes, start, end, original, timeMs),
          onLoss: (lost) => void (this.#lost += lost),
          onReady: () => void waiting--,
          onError: ({ message }) => {
            waiting--;
            // Where several carry the device, the rest goes on.
            if (--left > 0) return void this.#options.log.warn(`no capture at ${name}: ${message}`);
            const status = this.#packets > 0 ? "Partial" : "Failed";
            this.#end({ status, reason: `${name}: ${message}` });
          },
        },
      );
      taps.push(close);
    }
  }

  #take(bytes: Buffer, start: number, end: number, original: number, timeMs: number): void {
    if (this.#ending) return;
    const { address, snapLength, packetCount, byteCount, target } = this.#request;
    const headers = this.#headers;
    const isWhole = this.#visible === "Frames";
    if (!isWhole || address) readHeaders(bytes, start, end, headers);
    if (address && !concerns(bytes, start, headers, address)) return;
    const kept = Math.min(end - start, snapLength, isWhole ? LONGEST_SNAP : headers.length);
    const size = this.#format.size(kept);
    if (byteCount > 0 && this.#bytes + kept > byteCount)
      return this.#end({ status: "Complete", reason: "ByteCount is reached" });
    if (!target && this.#written + size > this.#limits.fileBytes)
      return this.#end({ status: "Partial", reason: `the file may hold no more than ${this.#limits.fileBytes} bytes` });
    if ((this.#sink?.pending ?? 0) + this.#filled + size > this.#limits.pendingBytes) {
      this.#lost++;
      return;
    }
    if (kept < Math.min(end - start, snapLength)) this.#headersOnly = true;
    const at = this.#room(size);
    const data = this.#format.begin(this.#chunk, at, timeMs, kept, Math.max(original, kept));
    bytes.copy(this.#chunk, data, start, start + kept);
    if (this.#visible === "HeadersWithoutPeers") {
      headers.length = kept;
      maskPeers(this.#chunk, data, headers);
      this.#headersOnly = true;
    }
    this.#packets++;
    this.#bytes += kept;
    if (packetCount > 0 && this.#packets >= packetCount)
      this.#end({ status: "Complete", reason: "PacketCount is reached" });
  }

  #append(bytes: Buffer): void {
    const at = this.#room(bytes.length);
    bytes.copy(this.#chunk, at);
  }

  /** Where that many bytes go. */
  #room(size: number): number {
    if (this.#filled + size > this.#chunk.length) {
      this.#flush();
      this.#chunk = Buffer.allocUnsafe(Math.max(CHUNK_BYTES, size));
    }
    const at = this.#filled;
    this.#filled += size;
    this.#written += size;
    return at;
  }

  #flush(): void {
    if (this.#filled === 0 || !this.#sink) return;
    this.#sink.write(this.#chunk.subarray(0, this.#filled));
    this.#chunk = this.#chunk.subarray(this.#filled);
    this.#filled = 0;
  }

  /** What the caller may see now, and whether the target still takes what it is given. */
  #tick(): void {
    const now = this.#request.visible();
    if (typeof now !== "string") return this.#end({ status: "Partial", reason: now.denied });
    // Never more than at first: what is asked for of the kernel was fixed then.
    if (VISIBLE.indexOf(now) > VISIBLE.indexOf(this.#visible)) this.#visible = now;
    const { pending = 0, taken = 0 } = this.#sink ?? {};
    if (pending === 0 || taken !== this.#takenBefore) this.#stalledSince = 0;
    else this.#stalledSince ||= performance.now();
    this.#takenBefore = taken;
    if (this.#stalledSince > 0 && performance.now() - this.#stalledSince > this.#limits.stallMs)
      this.#end({ status: "Undelivered", reason: `the target takes nothing for ${this.#limits.stallMs / 1000} s` });
  }
  #now(): number {
    return this.#options.clock?.now() ?? Date.now();
  }
}

/** One that never began. */
function nothing(status: CaptureResult["status"], reason: string): CaptureResult {
  return {
    status,
    reason,
    packets: 0,
    bytes: 0,
    lost: 0,
    startTime: 0,
    endTime: 0,
    location: "",
    headersOnly: false,
  };
}

function later(ms: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, ms).unref());
}
