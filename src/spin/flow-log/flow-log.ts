/**
 * What has been: flows that ended, questions to DNS, and what rules stopped, for days, within a bound of bytes.
 *
 * What happens waits in memory for a minute, then goes to a journal of all devices. After an hour the journal is summed
 * up, minute by minute, into a file of each device's own; where the log is full, the device with most in it loses its
 * oldest, so that none can push out another's. The disk is never waited for by whoever tells us, and what it refuses is
 * lost, counted and said.
 */
import type { Clock } from "../../lib/clock.ts";
import { parseAddress } from "../../lib/address.ts";
import { describe } from "../../lib/log.ts";
import type { Log } from "../../lib/log.ts";
import type { FlowRecorder, LogFound, LoggedRow, LogSearch, Traced, TraceSearch } from "../flow-recorder.ts";
import type { FlowRows } from "../flow-rows.ts";
import type { Observation } from "../observation.ts";
import { seal, type Block } from "./block.ts";
import { macKey, mayHold } from "./bloom.ts";
import { MAX_BLOCK_ROWS } from "./codec.ts";
import type { LogFiles } from "./files.ts";
import { FlowParts, readFlow } from "./flow-row.ts";
import { Pending, POOL_ROWS, questionKey } from "./pending.ts";
import { LogFlag, LogKind, LogRows } from "./rows.ts";
import { loggedRow, mayAnswer, mayTrace, NewestRows, trace } from "./search.ts";
import { Shelf, type LogFile } from "./shelf.ts";
import { JOURNAL_MS, JOURNAL_PART, turn, Upkeep } from "./upkeep.ts";

export interface FlowLogOptions {
  readonly files: LogFiles;
  readonly clock: Clock;
  readonly log: Log;
  /** Of all files together; what has just given way may lie beside it for ten minutes, a quarter as much at most. */
  readonly bytes: number;
  readonly days: number;
}

/** How long rows wait in memory: what a power cut costs. */
const WRITE_MS = 60_000;
/** Rows that are worth writing before that. */
const WRITE_ROWS = POOL_ROWS / 2;
/** Each journal has an eighth of what all may have. */
const JOURNAL_FILES = 8;
/** To the journals goes so many times the log's bytes a day before every device has to be brief. */
const DAILY = 4;
const DAY_MS = 86_400_000;
/** A search reads so many rows at once (1.2 µs each on x86-64), and lets others work after so many blocks. */
const MAX_ROWS_READ = 24 * MAX_BLOCK_ROWS;
const BLOCKS_A_TURN = 4;
/** Flows that live long are kept in parts, and looked for so often. */
const PARTS_TICKS = 600;
const UPKEEP_TICKS = 60;
const MAX_FILE = 4;
const MAX_ANSWERS_SHOWN = 4;

export class FlowLog implements FlowRecorder {
  refusal = "";
  base = 0;
  readonly ready: Promise<void>;
  /** Rows that found no room, in memory or on disk. */
  lost = 0;
  readonly #options: FlowLogOptions;
  readonly #shelf: Shelf;
  readonly #upkeep: Upkeep;
  readonly #pending = new Pending();
  readonly #parts = new FlowParts();
  /** On the way to the disk. */
  #writing: LogRows[] = [];
  #oldest = Infinity;
  readonly #one = new LogRows(1);
  #nextSerial = (): number => 0;
  #work: Promise<void>;
  #ticks = 0;
  /** Bytes that may be written before devices have to be brief; grows with the time. */
  #allowance: number;
  #allowedAt: number;
  #isClosed = false;

  constructor(options: FlowLogOptions) {
    this.#options = options;
    const { files, clock, log, bytes } = options;
    this.#shelf = new Shelf({ files, clock, log, maxFileBytes: bytes * MAX_FILE });
    const failed = (error: unknown) => this.#failed(error);
    this.#upkeep = new Upkeep({ ...options, shelf: this.#shelf, failed });
    this.#allowance = bytes;
    this.#allowedAt = clock.monotonic();
    this.ready = this.#load();
    this.#work = this.ready;
  }

  async #load(): Promise<void> {
    try {
      this.base = Math.ceil(await this.#shelf.load());
    } catch (error) {
      this.#failed(error);
    }
  }

  begin(nextSerial: () => number): void {
    this.#nextSerial = nextSerial;
  }

  // ---- what happens ------------------------------------------------------------------------------------------------

  flow(mac: number, rows: FlowRows, row: number, name: string): void {
    this.#one.length = 0;
    if (readFlow(this.#one, mac, rows, row, name, this.#parts, false, this.#nextSerial)) this.#put();
  }

  question(mac: number, { name, type, time }: Extract<Observation, { kind: "query" }>): void {
    const row = this.#newRow(LogKind.Question, mac, time);
    this.#one.name[row] = name;
    this.#one.text[row] = type;
    this.#one.count[row] = 1;
    this.#put();
  }

  answer(mac: number, answer: Extract<Observation, { kind: "answer" }>): void {
    const name = answer.names[0] ?? "";
    const shown = answer.addresses.slice(0, MAX_ANSWERS_SHOWN).map(({ address }) => address);
    const text = shown.length > 0 ? `${answer.type} ${shown.join(",")}` : answer.type;
    const tell = (rows: LogRows, row: number) => {
      rows.port[row] = answer.rcode + 1;
      rows.text[row] = text;
      rows.totals[row * 4] = answer.addresses.reduce((least, { ttl }) => Math.min(least, ttl), Infinity);
      if (answer.addresses.length === 0) rows.totals[row * 4] = 0;
      rows.totals[row * 4 + 1] = answer.addresses.length;
    };
    if (this.#pending.amend(questionKey(mac, name, answer.type), tell)) return;
    const row = this.#newRow(LogKind.Question, mac, answer.time);
    this.#one.name[row] = name;
    this.#one.count[row] = 1;
    tell(this.#one, row);
    this.#put();
  }

  blocked(seen: Extract<Observation, { kind: "blocked" }>, name: string): void {
    const words = parseAddress(seen.address);
    if (!words) return;
    const row = this.#newRow(LogKind.Blocked, seen.mac, seen.time);
    const one = this.#one;
    one.flags[row] = seen.outbound ? 0 : LogFlag.Peer;
    one.address.set(words, row * 4);
    one.name[row] = name;
    one.protocol[row] = seen.protocol;
    one.port[row] = seen.port;
    one.totals[row * 4 + (seen.outbound ? 0 : 1)] = seen.bytes;
    one.totals[row * 4 + (seen.outbound ? 2 : 3)] = seen.packets;
    one.count[row] = 1;
    one.extra[row] = seen.rule ?? 0;
    this.#put();
  }

  #newRow(kind: 1 | 2, mac: number, time: number): number {
    this.#one.length = 0;
    return this.#one.add(kind, this.#nextSerial(), mac, time, time);
  }

  #put(): void {
    const now = this.#options.clock.monotonic();
    if (this.#pending.length === 0) this.#oldest = now;
    this.#pending.put(this.#one, 0, now);
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  tick(rows: FlowRows, macOf: MacOf, nameOf: NameOf): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    const now = clock.monotonic();
    this.#upkeep.tick();
    this.#allow(now);
    if (++this.#ticks % PARTS_TICKS === 0) this.#keepParts(rows, macOf, nameOf);
    const isDue = now - this.#oldest >= WRITE_MS || (this.#pending.length >= WRITE_ROWS && !this.#pending.isBrief);
    if (this.#pending.length > 0 && isDue && this.#writing.length === 0) this.#write();
    if (this.#ticks % UPKEEP_TICKS === 0) void this.#do(() => this.#upkeep.run());
  }

  #keepParts(rows: FlowRows, ...[macOf, nameOf, isLast = false]: [MacOf, NameOf, boolean?]): void {
    this.#parts.each(rows, isLast ? Infinity : this.#options.clock.now(), (row) => {
      const mac = macOf(rows.device[row] as number);
      this.#one.length = 0;
      if (mac === undefined || !readFlow(this.#one, mac, rows, row, nameOf(row), this.#parts, true, this.#nextSerial))
        return;
      // Whoever sees the flow next counts all of it, from the kernel's own counters.
      if (isLast) this.#one.totals.fill(0);
      this.#put();
    });
  }

  /** The day's share of the disk's life. */
  #allow(now: number): void {
    const { bytes } = this.#options;
    this.#allowance = Math.min(bytes, this.#allowance + ((now - this.#allowedAt) / DAY_MS) * DAILY * bytes);
    this.#allowedAt = now;
    this.#pending.isBrief = this.#allowance <= 0;
  }

  /** One thing after the other; whatever fails is said, and the next goes on. */
  #do(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(work).catch((error: unknown) => this.#failed(error));
    return this.#work;
  }

  /** The same, and whoever asked for it hears what failed: what is still on the disk is not erased. */
  async #must(work: () => Promise<void>): Promise<void> {
    let failure: Error | undefined;
    await this.#do(async () => {
      try {
        await work();
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
        throw error;
      }
    });
    if (failure) throw failure;
  }

  #failed(error: unknown): void {
    const why = describe(error);
    if (this.refusal === "") this.#options.log.error(`the flow log can't be kept: ${why}`);
    this.refusal = why;
  }

  #write(): void {
    const rows = this.#pending.take();
    this.lost += this.#pending.lost;
    this.#pending.lost = 0;
    this.#oldest = Infinity;
    this.#writing.push(rows);
    void this.#do(async () => {
      let written = 0;
      try {
        for (; written < rows.length; written += MAX_BLOCK_ROWS) {
          const to = Math.min(rows.length, written + MAX_BLOCK_ROWS);
          const sealed = await seal(rows, written, to, this.base, -1);
          // What is not derived from other rows was always there.
          await this.#shelf.append(this.#journal(), sealed, 0);
          this.#allowance -= sealed.length;
        }
        if (this.refusal !== "") this.#options.log.warn("the flow log can be kept again");
        this.refusal = "";
      } finally {
        this.lost += Math.max(0, rows.length - written);
        this.#writing = this.#writing.filter((one) => one !== rows);
      }
    });
  }

  /** The journal that is written to. */
  #journal(): LogFile {
    const { clock } = this.#options;
    const last = this.#shelf.journals.at(-1);
    const isFull = last !== undefined && last.bytes >= (this.#options.bytes * JOURNAL_PART) / JOURNAL_FILES;
    if (last && !isFull && clock.monotonic() - last.begun < JOURNAL_MS) return last;
    const next = this.#shelf.newFile();
    this.#shelf.journals.push(next);
    return next;
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  async find(search: LogSearch): Promise<LogFound | "expired"> {
    const shelf = this.#shelf;
    const generation = search.generation ?? shelf.generation;
    if (generation < shelf.oldestGeneration) return "expired";
    const newest = new NewestRows(search.limit + 1);
    for (const rows of [...this.#writing, this.#pending.rows]) newest.offer(rows, this.base, search);
    const blocks = [...shelf.blocks(generation)]
      .filter((block) => mayAnswer(block, search))
      .sort((a, b) => b.maxSerial - a.maxSerial);
    let read = 0;
    let next = 0;
    for (; next < blocks.length && read < MAX_ROWS_READ; next++) {
      const block = blocks[next] as Block;
      if (block.maxSerial <= newest.floor) break;
      if (next % BLOCKS_A_TURN === BLOCKS_A_TURN - 1) await turn();
      const rows = shelf.read(block, (damaged) => this.#damaged(damaged));
      read += block.rows;
      if (rows) newest.offer(rows, 0, search);
    }
    const rows = newest.sorted();
    const left = blocks[next];
    const isAll = !left || left.maxSerial <= newest.floor;
    return { rows, complete: isAll ? -Infinity : left.maxSerial, generation };
  }

  async trace(search: TraceSearch): Promise<Map<number, Traced>> {
    await this.ready;
    const found = new Map<number, Traced>();
    for (const rows of [...this.#writing, this.#pending.rows]) trace(rows, search, found);
    const blocks = [...this.#shelf.blocks(this.#shelf.generation)].filter((block) => mayTrace(block, search));
    for (const [index, block] of blocks.entries()) {
      if (index % BLOCKS_A_TURN === BLOCKS_A_TURN - 1) await turn();
      const rows = this.#shelf.read(block, (damaged) => this.#damaged(damaged));
      if (rows) trace(rows, search, found);
    }
    return found;
  }

  #damaged({ file }: Block): void {
    // In its turn: whatever is being written to the file stands then.
    void this.#do(() => this.#shelf.repair(file));
  }

  async *export(mac: number): AsyncIterableIterator<LoggedRow> {
    await this.ready;
    const blocks = [...this.#shelf.blocks(this.#shelf.generation)]
      .filter((block) => mayHold(block.filter, macKey(mac)))
      .sort((a, b) => a.minSerial - b.minSerial);
    const waiting = [...this.#writing, this.#pending.rows].map((rows) => rows.filter((row) => rows.mac[row] === mac));
    for (const block of blocks) {
      const rows = this.#shelf.read(block);
      await turn();
      for (let row = 0; rows && row < rows.length; row++)
        if (rows.mac[row] === mac) yield loggedRow(rows, row, rows.serial[row] as number);
    }
    for (const rows of waiting)
      for (let row = 0; row < rows.length; row++) yield loggedRow(rows, row, (rows.serial[row] as number) + this.base);
  }

  erase(mac: number): Promise<void> {
    this.#pending.remove(mac);
    return this.#must(async () => {
      const shelf = this.#shelf;
      await shelf.dropAside();
      const own = shelf.devices.get(mac);
      if (own) await shelf.retire(own);
      shelf.oldestGeneration = ++shelf.generation;
      // Nothing that has given way may keep it either.
      await shelf.clean(true);
      for (const journal of [...shelf.journals]) {
        if (!journal.blocks.some((block) => mayHold(block.filter, macKey(mac)))) continue;
        const sealed: Buffer[] = [];
        for (const block of journal.blocks) {
          const rows = shelf.read(block)?.filter((row, all) => all.mac[row] !== mac);
          if (rows && rows.length > 0) sealed.push(await seal(rows, 0, rows.length, 0, -1));
        }
        await shelf.rewrite(journal, sealed);
      }
    });
  }

  eraseAll(): Promise<void> {
    this.#pending.removeAll();
    return this.#must(async () => {
      const shelf = this.#shelf;
      await shelf.dropAside();
      for (const file of [...shelf.journals, ...shelf.devices.values()]) await shelf.retire(file);
      shelf.oldestGeneration = ++shelf.generation;
      await shelf.clean(true);
    });
  }

  async close(rows: FlowRows, macOf: MacOf, nameOf: NameOf): Promise<void> {
    this.#isClosed = true;
    this.#keepParts(rows, macOf, nameOf, true);
    if (this.#pending.length > 0) this.#write();
    await this.#do(() => this.#shelf.clean(true));
  }

  /** For the manual and the benchmark. */
  get figures() {
    const { bytes, journalBytes, blockCount, retiredBytes } = this.#shelf;
    return { bytes, journalBytes, retiredBytes, blockCount, waiting: this.#pending.length, lost: this.lost };
  }

  /** Resolves when all that was begun is done: for tests. */
  settled(): Promise<void> {
    return this.#do(() => Promise.resolve());
  }
}

type MacOf = (slot: number) => number | undefined;
type NameOf = (row: number) => string;
