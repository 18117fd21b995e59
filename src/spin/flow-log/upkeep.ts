/** The log's upkeep: what is old is summed up, what is too old or too much goes. One run at a time. */
import type { Clock } from "../../lib/clock.ts";
import { Age } from "./age.ts";
import { seal, type Block } from "./block.ts";
import { MAX_BLOCK_ROWS } from "./codec.ts";
import { compacted } from "./compaction.ts";
import type { LogFiles } from "./files.ts";
import { RollUp } from "./roll-up.ts";
import type { LogRows } from "./rows.ts";
import type { LogFile, Shelf } from "./shelf.ts";

export interface UpkeepOptions {
  readonly shelf: Shelf;
  readonly files: LogFiles;
  readonly clock: Clock;
  /** Of all files together. */
  readonly bytes: number;
  readonly days: number;
  readonly failed: (error: unknown) => void;
}

const DAY_MS = 86_400_000;
/** Of the bytes, journals get this part. */
export const JOURNAL_PART = 1 / 4;
/** How long one is written to. */
export const JOURNAL_MS = 15 * 60_000;
/** How long rows stay as they came. */
const DETAIL_MS = 60 * 60_000;
/** A device's file with more pairs of small blocks than these is written anew, with few large ones. */
const SMALL_BLOCKS = 24;
/** Blocks that the index has room for: 300 bytes each, and their filters. */
const MAX_BLOCKS = 6000;
/** Devices with a file; the table of devices has 255. Who forges addresses makes thousands of files, each of them small. */
const MAX_DEVICES = 512;

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #age: Age;

  constructor(options: UpkeepOptions) {
    this.#options = options;
    this.#age = new Age(options.clock, options.days * DAY_MS);
  }

  /** The second's work: the clock is looked at. */
  tick(): void {
    this.#age.tick();
  }

  /** The minute's work: what is old is summed up, what is too old or too much goes. */
  async run(): Promise<void> {
    const { bytes, shelf } = this.#options;
    try {
      await this.#run();
    } finally {
      // Where nothing can be written, room is what is needed first.
      await shelf.clean(shelf.retiredBytes > bytes / 4);
    }
  }

  async #run(): Promise<void> {
    const { bytes, shelf } = this.#options;
    for (let first = shelf.journals[0]; first && this.#mustRollUp(first); first = shelf.journals[0])
      if (!(await this.#rollUp(first))) break;
    for (const file of [...shelf.devices.values()]) {
      const gone = this.#age.expired(file.blocks);
      if (gone > 0) this.#drop(file, gone);
      if (file.blocks.length === 0) await shelf.retire(file);
      else if (file.garbage > file.bytes / 4 || smallPairs(file.blocks) > SMALL_BLOCKS) await this.#compact(file);
    }
    for (const file of briefest([...shelf.devices.values()])) await shelf.retire(file);
    const room = bytes * (1 - JOURNAL_PART);
    for (;;) {
      const [largest] = [...shelf.devices.values()].sort((a, b) => b.bytes - a.bytes);
      const isTooMuch = shelf.bytes - shelf.journalBytes > room || shelf.blockCount > MAX_BLOCKS;
      if (!largest || !isTooMuch) break;
      await this.#shrink(largest);
    }
  }

  #mustRollUp(file: LogFile): boolean {
    const { clock, bytes, shelf } = this.#options;
    if (shelf.journalBytes > bytes * JOURNAL_PART) return true;
    return clock.monotonic() - file.begun >= DETAIL_MS + JOURNAL_MS || this.#age.isOlder(file.blocks, DETAIL_MS);
  }

  /** @returns whether it went; if not, all is as before */
  async #rollUp(journal: LogFile): Promise<boolean> {
    const { shelf } = this.#options;
    const sums = new RollUp();
    for (const block of journal.blocks) {
      const rows = shelf.read(block);
      if (rows) sums.add(rows);
      await turn();
    }
    try {
      for (const [mac, rows] of this.#kept(sums))
        for (let from = 0; from < rows.length; from += MAX_BLOCK_ROWS) {
          const sealed = await seal(rows, from, Math.min(rows.length, from + MAX_BLOCK_ROWS), 0, journal.number);
          await shelf.append(shelf.deviceFile(mac), sealed, shelf.generation + 1);
        }
    } catch (error) {
      this.#options.failed(error);
      await shelf.dropSums([journal.number]);
      // Where even this can't be written, what is oldest gives way.
      if (shelf.journalBytes > 2 * this.#options.bytes * JOURNAL_PART) await shelf.retire(journal);
      return false;
    }
    // Whoever is turning pages goes on with the journal.
    await shelf.retire(journal);
    return true;
  }

  /** Of more devices than can be kept, those that are known, then those that did most. */
  #kept(sums: RollUp): Iterable<readonly [mac: number, rows: LogRows]> {
    if (sums.size <= MAX_DEVICES) return sums.devices();
    const { devices } = this.#options.shelf;
    const rank = ([mac, rows]: readonly [number, LogRows]) =>
      (devices.has(mac) ? Number.MAX_SAFE_INTEGER / 2 : 0) + rows.length;
    return [...sums.devices()].sort((a, b) => rank(b) - rank(a)).slice(0, MAX_DEVICES);
  }

  /** The oldest blocks no longer count: whoever turns pages comes to the end sooner. */
  #drop(file: LogFile, count: number): void {
    for (const { length } of file.blocks.slice(0, count)) file.garbage += length;
    file.blocks = file.blocks.slice(count);
  }

  async #compact(file: LogFile): Promise<void> {
    const { shelf } = this.#options;
    const next = shelf.newFile(file.mac);
    const sealed = await compacted(file.blocks, (block) => shelf.read(block), this.#options.files);
    await this.#options.files.create(next.name, Buffer.concat(sealed));
    // At once in memory, whatever the disk takes.
    const retired = shelf.retire(file);
    shelf.adopt(next, sealed);
    await retired;
  }

  /** Of the device with most, the oldest fifth. */
  async #shrink(file: LogFile): Promise<void> {
    // What could not be rewritten the last time is garbage still: that is enough to begin with.
    if (file.garbage < file.bytes / 5) {
      let count = 0;
      for (let bytes = 0; bytes < file.bytes / 5 && count < file.blocks.length; count++)
        bytes += (file.blocks[count] as Block).length;
      this.#drop(file, count);
    }
    if (file.blocks.length === 0) await this.#options.shelf.retire(file);
    else await this.#compact(file);
  }
}

/** Files beyond those that can be kept: of devices that were there for the shortest time. */
function briefest(files: readonly LogFile[]): LogFile[] {
  if (files.length <= MAX_DEVICES) return [];
  const spanOf = ({ blocks }: LogFile) =>
    blocks.reduce((latest, { maxEnd }) => Math.max(latest, maxEnd), -Infinity) -
    blocks.reduce((earliest, { minStart }) => Math.min(earliest, minStart), Infinity);
  return files
    .map((file) => ({ file, span: spanOf(file) }))
    .sort((a, b) => a.span - b.span)
    .slice(0, files.length - MAX_DEVICES)
    .map(({ file }) => file);
}

/** Neighbours of which compaction makes one; it leaves no such pair. */
function smallPairs(blocks: readonly Block[]): number {
  const isSmall = (block: Block | undefined) => block !== undefined && block.rows <= MAX_BLOCK_ROWS / 2;
  return blocks.filter((block, k) => isSmall(block) && isSmall(blocks[k + 1])).length;
}

/** Lets others work. */
export const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
