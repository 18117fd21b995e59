/**
 * The files of the log and what is in them. `00000012-j.log` is a journal: rows of all devices as they came, for an hour
 * or so; `00000013-020000000001.log` is what is left of one device's rows after that. Files only grow, or give way to a
 * new one; one that has given way stays a while, so that whoever turns its pages finds the next.
 */
import type { Clock } from "../../lib/clock.ts";
import { describe } from "../../lib/log.ts";
import type { Log } from "../../lib/log.ts";
import { isWhole, nextBlock, readHeader, unseal, type Block } from "./block.ts";
import type { LogFiles } from "./files.ts";
import type { LogRows } from "./rows.ts";

export interface LogFile {
  readonly name: string;
  readonly number: number;
  /** `undefined`: a journal. */
  readonly mac: number | undefined;
  bytes: number;
  blocks: Block[];
  /** Monotonic, of a journal: when it was begun. */
  readonly begun: number;
  /** Blocks that no longer count are still in the file. */
  garbage: number;
}

interface Retired {
  readonly file: LogFile;
  /** The first generation that has what took its place. */
  readonly died: number;
  /** Monotonic. */
  readonly until: number;
}

const NAME = /^(\d{8})-(?:(j|r)|([0-9a-f]{12}))\.log$/;
/** How long a file that has given way can still be read. */
const GRACE_MS = 10 * 60_000;
/** Of damaged files so many are kept for whoever wants to see what happened. */
const MAX_ASIDE = 2;

export interface ShelfOptions {
  readonly files: LogFiles;
  readonly clock: Clock;
  readonly log: Log;
  /** A file that is larger was not written by us. */
  readonly maxFileBytes: number;
}

export class Shelf {
  journals: LogFile[] = [];
  readonly devices = new Map<number, LogFile>();
  /** Grows whenever rows change their shape or go. */
  generation = 0;
  /** Cursors of earlier generations find no ground any more. */
  oldestGeneration = 0;
  readonly #options: ShelfOptions;
  #retired: Retired[] = [];
  #nextNumber = 1;

  constructor(options: ShelfOptions) {
    this.#options = options;
  }

  /** Finds what earlier lives wrote. @returns the greatest serial of it */
  async load(): Promise<number> {
    const { files, log } = this.#options;
    const found = files.list().sort((a, b) => (a.name < b.name ? -1 : 1));
    const aside = found.filter(({ name }) => name.endsWith(".corrupt"));
    for (const { name } of aside.slice(0, Math.max(0, aside.length - MAX_ASIDE))) await files.remove(name);
    for (const { name, bytes } of found) {
      if (name.endsWith(".log.new")) await files.remove(name);
      const match = NAME.exec(name);
      if (!match) continue;
      this.#nextNumber = Math.max(this.#nextNumber, Number(match[1]) + 1);
      if (match[2] === "r") await files.remove(name);
      else
        await this.#open(name, bytes, Number(match[1]), match[3]).catch((error: unknown) =>
          log.warn(`flow log ${name} can't be read: ${describe(error)}`),
        );
    }
    // A journal that is still there has not been summed up whole: what its sums have is in it.
    await this.dropSums(this.journals.map(({ number }) => number));
    return Math.max(0, ...this.#current().flatMap(({ blocks }) => blocks.map(({ maxSerial }) => maxSerial)));
  }

  async #open(name: string, bytes: number, number: number, macText: string | undefined): Promise<void> {
    const { files, log, maxFileBytes, clock } = this.#options;
    const mac = macText === undefined ? undefined : Number.parseInt(macText, 16);
    if (bytes > maxFileBytes) {
      log.warn(`flow log ${name} has ${bytes} bytes, which is not our doing; set aside as ${name}.corrupt`);
      return files.rename(name, `${name}.corrupt`);
    }
    const file: LogFile = { name, number, mac, bytes, blocks: [], begun: clock.monotonic(), garbage: 0 };
    await this.#walk(file);
    if (file.blocks.length === 0) return files.remove(name);
    if (mac === undefined) {
      this.journals.push(file);
      return;
    }
    // A crash came between a file and the one that took its place: the newer one has all of it.
    const older = this.devices.get(mac);
    if (older) await files.remove(older.name);
    this.devices.set(mac, file);
  }

  /** The blocks of a file: what is torn off its end is cut, and where there is damage inside it is set aside. */
  async #walk(file: LogFile): Promise<void> {
    const { files, log } = this.#options;
    const bytes = await files.whole(file.name);
    const blocks: Block[] = [];
    let isDamaged = false;
    let at = 0;
    while (at < bytes.length) {
      const block = readHeader(bytes, at, file.name, this.generation);
      if (block && isWhole(bytes.subarray(at, at + block.length))) {
        this.#nextNumber = Math.max(this.#nextNumber, block.from + 1);
        blocks.push(block);
        at += block.length;
        continue;
      }
      const next = nextBlock(bytes, at + 1);
      if (next < 0) break;
      isDamaged = true;
      at = next;
    }
    file.blocks = blocks;
    if (isDamaged) {
      log.warn(`flow log ${file.name} is damaged; set aside as ${file.name}.corrupt, going on with what is whole`);
      const whole = Buffer.concat(blocks.map((block) => bytes.subarray(block.at, block.at + block.length)));
      await files.rename(file.name, `${file.name}.corrupt`);
      await files.create(file.name, whole);
      let to = 0;
      file.blocks = blocks.map((block) => ({ ...block, at: (to += block.length) - block.length }));
      file.bytes = whole.length;
    } else if (at < bytes.length) {
      log.info(`flow log ${file.name} ends in the middle of a block, as after a power cut; cut at ${at}`);
      await files.cut(file.name, at);
      file.bytes = at;
    } else file.bytes = bytes.length;
  }

  /** Files that were set aside as damaged go: nobody can take one device's rows out of them. */
  async dropAside(): Promise<void> {
    const { files } = this.#options;
    for (const { name } of files.list()) if (name.endsWith(".log.corrupt")) await files.remove(name);
  }

  /** Sums of these journals go; they are the last in their files. */
  async dropSums(journals: readonly number[]): Promise<void> {
    for (const [mac, file] of this.devices) {
      const first = file.blocks.findIndex(({ from }) => from !== 0 && journals.includes(from));
      if (first < 0) continue;
      file.bytes = (file.blocks[first] as Block).at;
      file.blocks = file.blocks.slice(0, first);
      if (first === 0) this.devices.delete(mac);
      if (first === 0) await this.#options.files.remove(file.name);
      else await this.#options.files.cut(file.name, file.bytes);
    }
  }

  deviceFile(mac: number): LogFile {
    let file = this.devices.get(mac);
    if (!file) this.devices.set(mac, (file = this.newFile(mac)));
    return file;
  }

  /** A file that does not exist yet. */
  newFile(mac?: number): LogFile {
    const number = this.#nextNumber++;
    const name = `${String(number).padStart(8, "0")}-${mac === undefined ? "j" : mac.toString(16).padStart(12, "0")}.log`;
    return { name, number, mac, bytes: 0, blocks: [], begun: this.#options.clock.monotonic(), garbage: 0 };
  }

  /** Appends a sealed block. @throws the system's error; the file is then as it was, as far as the disk allows */
  async append(file: LogFile, sealed: Buffer, born: number): Promise<void> {
    const { files } = this.#options;
    try {
      await files.append(file.name, sealed);
    } catch (error) {
      await files.cut(file.name, file.bytes).catch(() => undefined);
      throw error;
    }
    const block = readHeader(sealed, 0, file.name, born) as Block;
    file.blocks.push({ ...block, at: file.bytes });
    file.bytes += sealed.length;
  }

  /** A file that has been created with these blocks takes its device's place. */
  adopt(file: LogFile, sealed: readonly Buffer[]): void {
    for (const bytes of sealed) {
      file.blocks.push({ ...(readHeader(bytes, 0, file.name, this.generation) as Block), at: file.bytes });
      file.bytes += bytes.length;
    }
    if (file.mac !== undefined) this.devices.set(file.mac, file);
  }

  /** The file holds these blocks and no others from now on. */
  async rewrite(file: LogFile, sealed: readonly Buffer[]): Promise<void> {
    const { files } = this.#options;
    if (sealed.length > 0) await files.create(file.name, Buffer.concat(sealed));
    else await files.remove(file.name);
    file.blocks = [];
    file.bytes = 0;
    this.adopt(file, sealed);
    if (sealed.length === 0) this.journals = this.journals.filter((one) => one !== file);
  }

  /** Rows of a block; `undefined` if its file has gone, or is damaged, which `damaged` then hears. */
  read(block: Block, damaged?: (block: Block) => void): LogRows | undefined {
    const { files } = this.#options;
    const read = (name: string) => files.read(name, block.at, block.length);
    let bytes = read(block.file);
    if (bytes.length === 0) bytes = read(retiredName(block.file));
    const rows = bytes.length === block.length ? unseal(bytes) : undefined;
    if (!rows) damaged?.(block);
    return rows;
  }

  /** Reads a file anew that turned out to be damaged. */
  async repair(name: string): Promise<void> {
    const file = this.#current().find((one) => one.name === name);
    if (file) await this.#walk(file);
  }

  /** Blocks as they were at that generation. */
  *blocks(generation: number): IterableIterator<Block> {
    for (const { blocks } of this.#current()) for (const block of blocks) if (block.born <= generation) yield block;
    for (const { file, died } of this.#retired)
      if (generation < died) for (const block of file.blocks) if (block.born <= generation) yield block;
  }

  /** The file's rows are elsewhere from a new generation on, or nowhere. In memory at once, on disk when it resolves. */
  async retire(file: LogFile): Promise<void> {
    const { files, clock } = this.#options;
    this.generation++;
    this.journals = this.journals.filter((one) => one !== file);
    if (file.mac !== undefined && this.devices.get(file.mac) === file) this.devices.delete(file.mac);
    if (file.bytes === 0) return;
    this.#retired.push({ file, died: this.generation, until: clock.monotonic() + GRACE_MS });
    await files.rename(file.name, retiredName(file.name));
  }

  /** Takes away what nobody can ask for any more; everything that has given way, if `all`. */
  async clean(all: boolean): Promise<void> {
    const now = this.#options.clock.monotonic();
    const gone = this.#retired.filter(({ until }) => all || until <= now);
    if (gone.length === 0) return;
    this.#retired = this.#retired.filter((one) => !gone.includes(one));
    this.oldestGeneration = Math.max(this.oldestGeneration, ...gone.map(({ died }) => died));
    for (const { file } of gone) await this.#options.files.remove(retiredName(file.name));
  }

  get journalBytes(): number {
    return sum(this.journals);
  }
  /** Of what counts. */
  get bytes(): number {
    return sum(this.#current());
  }
  get retiredBytes(): number {
    return sum(this.#retired.map(({ file }) => file));
  }
  get blockCount(): number {
    return this.#current().reduce((total, { blocks }) => total + blocks.length, 0);
  }

  #current(): LogFile[] {
    return [...this.journals, ...this.devices.values()];
  }
}

const retiredName = (name: string) => `${name.slice(0, 8)}-r.log`;

function sum(files: readonly { readonly bytes: number }[]): number {
  return files.reduce((total, { bytes }) => total + bytes, 0);
}
