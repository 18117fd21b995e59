/**
 * The source that replays a capture: at full speed, or in capture time (times a factor), once or for ever. It tells
 * SPIN the same observations, with the capture's times, that a gateway's kernel would have told.
 */
import type { Readable } from "node:stream";
import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import type { Prefix } from "../lib/address.ts";
import type { ManualClock } from "../lib/clock.ts";
import type { Health, Observation, Source } from "../spin/observation.ts";
import { PacketView } from "./decode/packet.ts";
import type { Judge, PacketCounts } from "./packet-flows.ts";
import { PacketFlows } from "./packet-flows.ts";
import { CaptureError, MAX_BLOCK } from "./pcap-format.ts";
import { HomeNetwork } from "./pcap-home.ts";
import type { CaptureInput } from "./pcap-input.ts";
import { openInput } from "./pcap-input.ts";
import { CaptureReader } from "./pcap-reader.ts";

export interface PcapOptions {
  /** Path of the capture, or a stream (which can't be looped). */
  readonly source: string | Readable;
  /** How often faster than captured; `max` without waiting. Default `max`. */
  readonly speed?: number | "max" | undefined;
  /** Begin again at the end, for ever; times go on growing. */
  readonly loop?: boolean | undefined;
  /** The LAN's prefixes; default: inferred. */
  readonly lanPrefixes?: readonly Prefix[] | undefined;
  readonly judge?: Judge | undefined;
  /** Moved along with the capture's time, before each observation. */
  readonly clock?: ManualClock | undefined;
  /** How often changed flows are told, in capture time. Default 1,000. */
  readonly intervalMs?: number | undefined;
  readonly maximumFlows?: number | undefined;
}

/** Small enough to stay in a core's cache between being read and being parsed. */
const BLOCK = 1 << 18;
/** Before each block: room for what the last one left over, which is less than one whole record. */
const RESERVE = MAX_BLOCK + 64;
/** Of the capture's head, what is looked at to tell home from foreign. */
const HEAD = 1 << 20;
/** A live pipe does not fill the head: what comes within this decides. */
const HEAD_WAIT_MS = 1500;
/** Between two rounds of a loop, in capture time. */
const LOOP_GAP_MS = 1000;
/** Blocks after which other work of the process gets its turn: some milliseconds. */
const BLOCKS_AT_ONCE = 32;
/** At most this long is slept at once, so that intervals pass and flows end where no packet comes. */
const SLEEP_MS = 200;

export class PcapSource implements Source {
  readonly name = "pcap";
  readonly #options: PcapOptions;
  readonly #speed: number | "max";
  #flows: PacketFlows | undefined;
  #status: Health["status"] = "Disabled";
  #observations = 0;
  #error: Error | undefined;
  /** Of the current packet, with what rounds after the first add to the capture's times. */
  readonly #time = new Float64Array(1);
  #shiftMs = 0;
  #isFirstPacket = true;
  /** Wall clock (monotonic) at which the capture time `#pacedFrom` was due. */
  #pacedAt = 0;
  #pacedFrom = 0;

  constructor(options: PcapOptions) {
    this.#options = options;
    this.#speed = options.speed ?? "max";
  }

  get health(): Health {
    return {
      backend: "file",
      status: this.#status,
      observations: this.#observations,
      lost: 0,
      resyncs: 0,
      decodeErrors: this.#flows?.decodeErrors ?? 0,
      lastError: this.#error?.message ?? "",
    };
  }

  /** Why the capture could not be opened (a system error) or read to its end (CaptureError); undefined if it could. */
  get error(): Error | undefined {
    return this.#error;
  }

  get counts(): PacketCounts | undefined {
    return this.#flows?.counts;
  }

  /** Replays until the end, or until the signal; everything that was counted has then been emitted. */
  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    const { source, lanPrefixes, judge, clock, intervalMs, maximumFlows, loop } = this.#options;
    this.#status = "Running";
    const home = new HomeNetwork(lanPrefixes ?? []);
    const flows: PacketFlows = new PacketFlows({
      home,
      judge,
      intervalMs,
      maximumFlows,
      emit: (observation) => {
        this.#observations++;
        clock?.moveTo(flows.now);
        emit(observation);
      },
    });
    this.#flows = flows;
    try {
      do {
        this.#isFirstPacket = true;
        await this.#round(signal, home, flows);
      } while (loop === true && typeof source === "string" && !signal.aborted && this.#error === undefined);
    } finally {
      flows.finish();
      clock?.moveTo(flows.now);
      this.#status = this.#error ? "Error" : "Disabled";
    }
  }

  /** Reads the capture once. What is wrong with the file ends up in `error`. */
  async #round(signal: AbortSignal, home: HomeNetwork, flows: PacketFlows): Promise<void> {
    let input: CaptureInput | undefined;
    let stop: (() => void) | undefined;
    try {
      const opened = (input = await openInput(this.#options.source, signal));
      stop = () => void opened.close().catch(() => undefined);
      // A pipe may keep silent for ever: closing it ends the read that waits.
      signal.addEventListener("abort", stop, { once: true });
      await this.#read(signal, input, home, flows);
    } catch (error) {
      if (!isOfTheWorld(error)) throw error;
      if (!signal.aborted) this.#error = error;
    } finally {
      if (stop) signal.removeEventListener("abort", stop);
      await input?.close();
    }
  }

  async #read(signal: AbortSignal, input: CaptureInput, home: HomeNetwork, flows: PacketFlows): Promise<void> {
    const reader = new CaptureReader();
    const buffer = new Uint8Array(RESERVE + HEAD);
    let start = 0;
    let { end, failure } = await fill(input, buffer, 0, HEAD, HEAD_WAIT_MS);
    if (home.version === 0) sampleHome(home, buffer, end);
    for (let blocks = 1; ; blocks++) {
      reader.feed(buffer, start, end);
      if (this.#speed === "max") this.#drain(reader, flows);
      else await this.#drainInTime(signal, reader, flows, this.#speed);
      if (signal.aborted) return;
      if (failure || reader.error) break;
      const left = end - reader.position;
      buffer.copyWithin(RESERVE - left, reader.position, end);
      if (blocks % BLOCKS_AT_ONCE === 0) await setImmediate();
      ({ end, failure } = await fill(input, buffer, RESERVE, BLOCK, 0));
      if (signal.aborted) return;
      start = RESERVE - left;
      reader.feed(buffer, start, end);
      if (end === RESERVE) break;
    }
    reader.finish();
    this.#error = failure ?? reader.error;
  }

  /** Hands over the window's packets. */
  #drain(reader: CaptureReader, flows: PacketFlows): void {
    const time = this.#time;
    while (reader.next()) {
      if (this.#isFirstPacket) this.#begin(reader, flows);
      time[0] = (reader.time[0] as number) + this.#shiftMs;
      flows.packet(
        reader.buffer,
        reader.offset,
        reader.captured,
        reader.wire,
        reader.linkType,
        reader.interfaceId,
        time,
      );
    }
  }

  /** The same, each packet when it is due. */
  async #drainInTime(signal: AbortSignal, reader: CaptureReader, flows: PacketFlows, speed: number): Promise<void> {
    const time = this.#time;
    while (reader.next()) {
      if (this.#isFirstPacket) this.#begin(reader, flows);
      time[0] = (reader.time[0] as number) + this.#shiftMs;
      if (this.#aheadMs(speed) > 0 && !(await this.#isDue(signal, speed, flows))) return;
      const { buffer, offset, captured, wire, linkType, interfaceId } = reader;
      flows.packet(buffer, offset, captured, wire, linkType, interfaceId, time);
    }
  }

  #begin(reader: CaptureReader, flows: PacketFlows): void {
    this.#isFirstPacket = false;
    const first = reader.time[0] as number;
    this.#shiftMs = flows.counts.packets === 0 ? 0 : flows.now + LOOP_GAP_MS - first;
    if (flows.counts.packets > 0) return;
    this.#pacedAt = performance.now();
    this.#pacedFrom = first;
  }

  /** How far the current packet lies ahead of the moment, in capture time. */
  #aheadMs(speed: number): number {
    return (this.#time[0] as number) - this.#pacedFrom - (performance.now() - this.#pacedAt) * speed;
  }

  /** Waits until the current packet's time; `false` if the signal came first. */
  async #isDue(signal: AbortSignal, speed: number, flows: PacketFlows): Promise<boolean> {
    for (;;) {
      if (signal.aborted) return false;
      const ahead = this.#aheadMs(speed);
      if (ahead <= 0) return true;
      flows.advance((this.#time[0] as number) - ahead);
      // Aborted: the next turn sees it.
      await sleep(Math.min(SLEEP_MS, ahead / speed), undefined, { signal }).catch(() => undefined);
    }
  }
}

/**
 * Reads up to `length` bytes to `buffer` at `from`: whole, or at a pipe what comes within `waitMs`. Tells where they end.
 * A failure comes with what was read before it.
 */
async function fill(
  input: CaptureInput,
  buffer: Uint8Array,
  from: number,
  length: number,
  waitMs: number,
): Promise<{ end: number; failure?: Error }> {
  const started = performance.now();
  let end = from;
  try {
    do {
      const reading = input.read(buffer, end, from + length - end);
      const got = typeof reading === "number" ? reading : await reading;
      if (got === 0) break;
      end += got;
    } while (end < from + length && performance.now() - started < waitMs);
    return { end };
  } catch (error) {
    if (!isOfTheWorld(error)) throw error;
    return { end, failure: error };
  }
}

function sampleHome(home: HomeNetwork, head: Uint8Array, length: number): void {
  const reader = new CaptureReader();
  const view = new PacketView();
  reader.feed(head, 0, length);
  while (reader.next()) {
    view.parse(head, reader.offset, reader.captured, reader.wire, reader.linkType, reader.interfaceId);
    home.sample(view);
  }
  home.conclude();
}

/** What a file or the system does wrong, as opposed to a bug of ours (which Node's own checks call ERR_…). */
function isOfTheWorld(error: unknown): error is Error {
  if (error instanceof CaptureError) return true;
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && (!code.startsWith("ERR_") || code === "ERR_STREAM_PREMATURE_CLOSE");
}
