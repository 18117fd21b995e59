/** A flow log over a directory or memory, with flows told in words. */
import { parseAddress } from "../../../src/lib/address.ts";
import { ManualClock } from "../../../src/lib/clock.ts";
import type { Log } from "../../../src/lib/log.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { Direction } from "../../../src/spin/direction.ts";
import { FlowLog } from "../../../src/spin/flow-log/flow-log.ts";
import { memoryFiles, type LogFiles } from "../../../src/spin/flow-log/files.ts";
import { FlowRows, flowHash } from "../../../src/spin/flow-rows.ts";
import type { LogFound, LoggedRow, LogSearch } from "../../../src/spin/flow-recorder.ts";
import { columnsOf, mac, START, WAN, type FlowText } from "../home.ts";

/** A clock whose wall can be set while the time goes on. */
export class WallClock extends ManualClock {
  #set = 0;
  override now(): number {
    return super.now() + this.#set;
  }
  set(ms: number): void {
    this.#set += ms;
  }
}

export interface BedOptions {
  readonly files?: LogFiles;
  readonly clock?: WallClock;
  readonly log?: Log;
  readonly bytes?: number;
  readonly days?: number;
}

export class Bed {
  readonly clock: WallClock;
  readonly files: LogFiles;
  readonly log: FlowLog;
  readonly rows = new FlowRows(64);
  #id = 1;

  constructor(options: BedOptions = {}) {
    this.clock = options.clock ?? new WallClock(START);
    this.files = options.files ?? memoryFiles();
    this.log = new FlowLog({
      files: this.files,
      clock: this.clock,
      log: options.log ?? silentLog,
      bytes: options.bytes ?? 4_000_000,
      days: options.days ?? 7,
    });
    this.log.begin(() => this.rows.nextSerial++);
  }

  /** A flow of the device that began just now, moved that, and ended; it sent and received as many bytes. */
  flow(device: number, flow: Partial<FlowText> & { to: string }, name = "", bytes = 100): this {
    const now = this.clock.now();
    const from = flow.from ?? `192.0.2.${device}`;
    const columns = columnsOf([{ event: "New", id: this.#id++, from, ...flow, time: flow.time ?? now }], now);
    const row = this.rows.take(columns, 0, 0, flowHash(columns, 0));
    this.rows.direction[row] =
      from.startsWith("192.0.2.") || from.startsWith("2001:db8:1:") ? Direction.Outbound : Direction.Inbound;
    this.rows.last.set([1, bytes, 1, bytes], row * 4);
    this.log.flow(mac(device), this.rows, row, name);
    this.rows.release(row);
    return this;
  }

  /** The same many times over, to one address after the other from `first` on. */
  scan(device: number, first: number, count: number, portOf: (k: number) => number): this {
    const now = this.clock.now();
    const columns = columnsOf([{ event: "New", from: `192.0.2.${device}`, to: "100.64.0.0", port: 23 }], now);
    for (let k = 0; k < count; k++) {
      columns.id[0] = this.#id++;
      columns.addresses[7] = columns.addresses[11] = first + k;
      columns.sourcePort[0] = columns.replyDestinationPort[0] = portOf(k);
      const row = this.rows.take(columns, 0, 0, flowHash(columns, 0));
      this.rows.direction[row] = Direction.Outbound;
      this.log.flow(mac(device), this.rows, row, "");
      this.rows.release(row);
    }
    return this;
  }

  /** The seconds pass, and what they bring on is done. */
  async pass(ms: number, step = 60_000): Promise<this> {
    for (let left = ms; left > 0; left -= step) {
      this.clock.advance(Math.min(step, left));
      // Ticks come each second; only those that do something count.
      for (let k = 0; k < 60; k++)
        this.log.tick(
          this.rows,
          () => undefined,
          () => "",
        );
      await this.log.settled();
    }
    return this;
  }

  async found(search: Partial<LogSearch> = {}): Promise<LogFound> {
    const found = await this.search(search);
    if (found === "expired") throw new Error("the cursor has expired");
    return found;
  }

  async search(search: Partial<LogSearch> = {}): Promise<LogFound | "expired"> {
    await this.log.ready;
    return this.log.find({
      kind: 0,
      mac: undefined,
      since: -Infinity,
      until: Infinity,
      prefix: undefined,
      domain: "",
      before: Infinity,
      limit: 500,
      generation: undefined,
      living: new Set(),
      ...search,
    });
  }

  /** Everything that a search finds, over all pages. */
  async all(search: Partial<LogSearch> = {}): Promise<LoggedRow[]> {
    const rows: LoggedRow[] = [];
    let { before = Infinity, generation } = search;
    for (let pages = 0; pages < 10_000; pages++) {
      const found = await this.found({ ...search, before, generation });
      const limit = search.limit ?? 500;
      const page = found.rows.slice(0, limit).filter(({ serial }) => serial > found.complete);
      rows.push(...page);
      generation = found.generation;
      if (page.length === limit && found.rows.length > limit) before = page.at(-1)!.serial;
      else if (found.complete > -Infinity) before = found.complete + 1;
      else return rows;
    }
    throw new Error("pages without end");
  }

  trace(
    outside: string,
    port: number | undefined,
    more: { time?: number; to?: string; peerPort?: number; protocol?: number } = {},
  ) {
    const time = more.time ?? this.clock.now();
    return this.log.trace({
      from: time - 1000,
      to: time + 1000,
      protocol: more.protocol ?? 6,
      outside: parseAddress(outside)!,
      port,
      peer: more.to === undefined ? undefined : parseAddress(more.to),
      peerPort: more.peerPort,
    });
  }

  /** The agent ends, and starts anew on the same files. */
  async restart(options: BedOptions = {}): Promise<Bed> {
    await this.log.close(
      this.rows,
      () => undefined,
      () => "",
    );
    return this.crash(options);
  }

  /** The same without a word of farewell. */
  async crash(options: BedOptions = {}): Promise<Bed> {
    await this.log.settled();
    const bed = new Bed({ files: this.files, clock: this.clock, ...options });
    await bed.log.ready;
    return bed;
  }
}

export { mac, START, WAN };
