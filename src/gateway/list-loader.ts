/**
 * Loads lists: from the disk at once, from their sources when it is time, and tells the desk and the book. The last good
 * content of each stays on disk and in use whatever an update brings. A module of its own, read when there is a list.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Prefix } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import { describe, type Log } from "../lib/log.ts";
import type { ListBook } from "../spin/lists/book.ts";
import { bytesOf, type ListContent } from "../spin/lists/content.ts";
import { NOT_LOADED, type ListDesk, type ListSource, type ListState } from "../spin/lists/desk.ts";
import { parseList } from "../spin/lists/parse.ts";
import { fetchList, MAX_LIST_BYTES, type FetchPolicy } from "./list-fetch.ts";

export interface ListLoaderOptions {
  readonly desk: ListDesk;
  readonly book: ListBook;
  /** Where contents are kept. */
  readonly directory: string;
  readonly policy: () => FetchPolicy;
  /** What no list may hold. */
  readonly excluded: () => readonly Prefix[];
  readonly clock: Clock;
  readonly log: Log;
  /** Of the first attempt again after a failure; doubled up to the list's own interval. */
  readonly retryMs?: number;
  /** Of all lists together. Default MEMORY_BYTES, DISK_BYTES. */
  readonly memoryBytes?: number;
  readonly diskBytes?: number;
}

/** What is on disk, besides the content. */
interface Kept {
  readonly url: string;
  readonly sha256: string;
  readonly etag: string;
  readonly lastModified: string;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** What stood there before: where a power cut came between the two files, the content is that still. */
  readonly before?: string;
}

interface Task {
  readonly source: ListSource;
  readonly stop: AbortController;
  kept: Kept | undefined;
  content: ListContent | undefined;
  state: ListState;
  failures: number;
  timer: NodeJS.Timeout | undefined;
  work: Promise<void>;
}

/**
 * All lists together: 64 rows of 500,000 entries would take a gateway's whole memory, and their files the room in which rules
 * are saved. Four lists of the largest size, or two million names; three of the largest files.
 */
const MEMORY_BYTES = 16 << 20;
const DISK_BYTES = 48 << 20;
/** Fetched and read at one time: what one server withholds shall not keep the others waiting. */
const FETCHES = 2;
const RETRY_MS = 60_000;
const MAX_RETRY_MS = 6 * 3_600_000;
/** Lists of many homes must not be fetched at one moment: a tenth more or less. */
const JITTER = 0.1;
/** setTimeout takes no longer. */
const MAX_TIMER_MS = 2_000_000_000;

export class ListLoader {
  readonly #options: ListLoaderOptions;
  readonly #tasks = new Map<number, Task>();
  readonly #waiting: (() => void)[] = [];
  #fetching = 0;
  #closed = false;

  constructor(options: ListLoaderOptions) {
    this.#options = options;
    options.desk.onSource((number) => this.#sourceChanged(number));
    options.desk.onRefresh((number) => this.#refresh(number));
  }

  /** Resolves when what is on disk is loaded. */
  async open(): Promise<void> {
    await mkdir(this.#options.directory, { recursive: true, mode: 0o700 });
    await this.#forgetStrangers();
    for (const { number } of this.#options.desk.sources) {
      this.#sourceChanged(number);
      await this.#tasks.get(number)?.work;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const number of [...this.#tasks.keys()]) this.#end(number);
    await Promise.all([...this.#tasks.values()].map(({ work }) => work));
  }

  #sourceChanged(number: number): void {
    if (this.#closed) return;
    const source = this.#options.desk.source(number);
    const before = this.#tasks.get(number);
    if (source && before && isSame(source, before.source)) return;
    this.#end(number);
    const done = before?.work ?? Promise.resolve();
    if (!source) {
      this.#tasks.delete(number);
      void done.then(() => this.#forget(number));
      return;
    }
    const task: Task = {
      source,
      stop: new AbortController(),
      kept: undefined,
      content: undefined,
      state: NOT_LOADED,
      failures: 0,
      timer: undefined,
      work: done,
    };
    this.#tasks.set(number, task);
    if (!source.enable) this.#options.book.fill(number, undefined, "it is disabled");
    else task.work = done.then(() => this.#begin(task));
  }

  #end(number: number): void {
    const task = this.#tasks.get(number);
    clearTimeout(task?.timer);
    task?.stop.abort();
  }

  /** Never rejects. */
  async #begin(task: Task): Promise<void> {
    const { source } = task;
    try {
      if (source.url === "") return await this.#useContent(task);
      if (source.url.startsWith("file:")) return await this.#useFile(task);
      await this.#useKept(task);
    } catch (error) {
      this.#failed(task, describe(error));
      return;
    }
    const { clock } = this.#options;
    const due = task.kept ? task.kept.time + source.refreshMs - clock.now() : 0;
    this.#schedule(task, Math.max(0, Math.min(due, source.refreshMs)));
  }

  async #useContent(task: Task): Promise<void> {
    const { source } = task;
    if (source.content === "")
      return this.#tell(task, {
        ...NOT_LOADED,
        status: "Error_Misconfigured",
        reason: "neither URL nor Content is set",
      });
    const bytes = Buffer.from(source.content);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    if (source.checksum !== "" && source.checksum !== sha256) return this.#failed(task, CHECKSUM);
    await this.#use(task, [bytes], sha256, this.#options.clock.now());
  }

  async #useFile(task: Task): Promise<void> {
    const { source } = task;
    if (!source.mayBeFile) throw new Error("file: is for the firmware's configuration alone");
    const path = fileURLToPath(source.url);
    const { size, mtimeMs } = await stat(path);
    if (size > MAX_LIST_BYTES) throw new Error(`it is larger than ${MAX_LIST_BYTES} bytes`);
    const sha256 = await hashOf(path);
    if (source.checksum !== "" && source.checksum !== sha256) throw new Error(CHECKSUM);
    if (task.state.checksum !== sha256) await this.#use(task, createReadStream(path), sha256, mtimeMs);
    task.failures = 0;
    this.#schedule(task, source.refreshMs);
  }

  /** The last good content, if it is of this source and whole. */
  async #useKept(task: Task): Promise<void> {
    const { source } = task;
    const path = this.#path(source.number, "list");
    const kept = await this.#readKept(source.number);
    if (kept?.url !== source.url || (source.checksum !== "" && kept.sha256 !== source.checksum)) return;
    const sha256 = await hashOf(path).catch(() => "");
    if (sha256 !== "" && sha256 === kept.before) {
      // The last good one, but no longer the newest.
      const earlier = { ...kept, sha256, etag: "", lastModified: "", time: 0 };
      if (await this.#use(task, createReadStream(path), sha256, kept.time)) task.kept = earlier;
      return;
    }
    if (sha256 !== kept.sha256) {
      this.#options.log.warn(`the kept content of list ${source.number} is damaged; set aside, and fetched again`);
      await rename(path, `${path}.corrupt`).catch(() => undefined);
      await rm(this.#path(source.number, "json"), { force: true });
      return;
    }
    if (await this.#use(task, createReadStream(path), sha256, kept.time)) task.kept = kept;
  }

  /** @returns whether there was anything in it */
  async #use(
    task: Task,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    sha256: string,
    time: number,
  ): Promise<boolean> {
    const { source, stop } = task;
    const content = await parseList(chunks, {
      format: source.format,
      excluded: this.#options.excluded(),
      room: this.#memoryLeft(task),
    });
    if (stop.signal.aborted) return false;
    if (content.entries === 0 && content.beyond > 0) {
      this.#failed(task, "the other lists have taken all the memory that lists may have");
      return false;
    }
    if (content.entries === 0) {
      this.#failed(
        task,
        `nothing in it can be used as ${source.format} (${content.unreadable} lines or words can't be read)`,
      );
      return false;
    }
    task.content = content;
    task.failures = 0;
    const { entries, unreadable, passedOver, beyond } = content;
    const reason = beyond > 0 ? `${beyond} entries are beyond the ${entries} that there is room for` : "";
    this.#options.book.fill(source.number, content);
    this.#tell(task, {
      status: "Enabled",
      reason,
      entries,
      unreadable,
      passedOver: passedOver + beyond,
      checksum: sha256,
      lastUpdate: Math.floor(time),
    });
    return true;
  }

  #refresh(number: number): void {
    const task = this.#tasks.get(number);
    if (!task?.source.enable || this.#closed) return;
    if (task.source.url === "") return;
    this.#schedule(task, 0);
  }

  #schedule(task: Task, afterMs: number): void {
    clearTimeout(task.timer);
    if (task.stop.signal.aborted) return;
    const jittered = afterMs * (1 + JITTER * (2 * Math.random() - 1));
    const update = () => {
      task.work = task.work.then(() => this.#inTurn(() => this.#update(task)));
    };
    task.timer = setTimeout(update, Math.min(jittered, MAX_TIMER_MS));
    task.timer.unref();
  }

  async #inTurn(work: () => Promise<void>): Promise<void> {
    while (this.#fetching >= FETCHES) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.#fetching++;
    try {
      await work();
    } finally {
      this.#fetching--;
      this.#waiting.shift()?.();
    }
  }

  /** Bytes that the others leave the list. */
  #memoryLeft(task: Task): number {
    let left = this.#options.memoryBytes ?? MEMORY_BYTES;
    for (const other of this.#tasks.values())
      if (other !== task && other.content && other.source.enable) left -= bytesOf(other.content);
    return Math.max(0, left);
  }

  /** The same of the disk. @throws Error if it is nothing */
  async #diskLeft(number: number): Promise<number> {
    const { directory, diskBytes = DISK_BYTES } = this.#options;
    const own = `${number}.`;
    const names = (await readdir(directory)).filter((name) => !name.startsWith(own));
    const sizes = await Promise.all(
      names.map((name) =>
        stat(join(directory, name)).then(
          ({ size }) => size,
          () => 0,
        ),
      ),
    );
    const left = sizes.reduce((room, size) => room - size, diskBytes);
    if (left <= 0) throw new Error("the other lists have taken all the room on the disk that lists may have");
    return left;
  }

  /** Never rejects. */
  async #update(task: Task): Promise<void> {
    const { source, stop, kept } = task;
    if (stop.signal.aborted) return;
    try {
      if (source.url.startsWith("file:")) return await this.#useFile(task);
      const file = this.#path(source.number, "new");
      const policy = this.#options.policy();
      const maxBytes = Math.min(policy.maxBytes ?? MAX_LIST_BYTES, await this.#diskLeft(source.number));
      const fetched = await fetchList(
        {
          url: source.url,
          etag: kept?.etag ?? "",
          lastModified: kept?.lastModified ?? "",
          mayBeLocal: source.mayBeLocal,
          file,
        },
        { ...policy, maxBytes },
        stop.signal,
      );
      const time = this.#options.clock.now();
      if (fetched.kind === "same" && kept) {
        task.kept = { ...kept, time };
        await this.#writeKept(source.number, task.kept);
        task.failures = 0;
        this.#tell(task, { ...task.state, status: "Enabled", reason: "", lastUpdate: Math.floor(time) });
      } else if (fetched.kind === "new") {
        if (source.checksum !== "" && fetched.sha256 !== source.checksum) throw new Error(CHECKSUM);
        if (!(await this.#use(task, createReadStream(file), fetched.sha256, time))) {
          await rm(file, { force: true });
          return;
        }
        const { sha256, etag, lastModified } = fetched;
        task.kept = { url: source.url, sha256, etag, lastModified, time, ...(kept && { before: kept.sha256 }) };
        await this.#writeKept(source.number, task.kept);
        await rename(file, this.#path(source.number, "list"));
      } else throw new Error("it says that nothing changed, and nothing is there");
      this.#schedule(task, source.refreshMs);
    } catch (error) {
      await rm(this.#path(source.number, "new"), { force: true });
      if (!stop.signal.aborted) this.#failed(task, describe(error));
    }
  }

  #failed(task: Task, why: string): void {
    const { source, content } = task;
    const wait = Math.min((this.#options.retryMs ?? RETRY_MS) * 2 ** task.failures++, MAX_RETRY_MS, source.refreshMs);
    this.#options.log.warn(`list ${source.number}: ${why}`);
    if (content)
      this.#tell(task, {
        ...task.state,
        status: "Enabled",
        reason: `the last update failed, what was there stays: ${why}`,
      });
    else {
      this.#options.book.fill(source.number, undefined, `it could not be loaded: ${why}`);
      this.#tell(task, { ...NOT_LOADED, status: "Error", reason: why });
    }
    // What is set here changes by being set again.
    if (source.url !== "") this.#schedule(task, wait);
  }

  #tell(task: Task, state: ListState): void {
    if (task.stop.signal.aborted) return;
    task.state = state;
    this.#options.desk.tell(task.source.number, state);
  }

  #path(number: number, kind: "list" | "json" | "new" | "list.corrupt"): string {
    return join(this.#options.directory, `${number}.${kind}`);
  }

  async #readKept(number: number): Promise<Kept | undefined> {
    try {
      const value = JSON.parse(await readFile(this.#path(number, "json"), "utf8")) as Record<keyof Kept, unknown>;
      const texts = [value.url, value.sha256, value.etag, value.lastModified];
      return texts.every((text) => typeof text === "string") && Number.isFinite(value.time)
        ? (value as Kept)
        : undefined;
    } catch {
      return undefined;
    }
  }

  async #writeKept(number: number, kept: Kept): Promise<void> {
    const path = this.#path(number, "json");
    await writeFile(`${path}.new`, JSON.stringify(kept), { mode: 0o600, flush: true });
    await rename(`${path}.new`, path);
  }

  async #forget(number: number): Promise<void> {
    if (this.#tasks.has(number)) return;
    const kinds = ["list", "json", "new", "list.corrupt"] as const;
    await Promise.all(kinds.map((kind) => rm(this.#path(number, kind), { force: true })));
  }

  /** Files of lists that are gone. */
  async #forgetStrangers(): Promise<void> {
    const { directory, desk } = this.#options;
    for (const name of await readdir(directory)) {
      const number = Number(/^(\d+)\.(?:list|json|new|list\.corrupt)$/.exec(name)?.[1] ?? -1);
      if (number >= 0 && !desk.source(number)) await rm(join(directory, name), { force: true });
    }
  }
}

const CHECKSUM = "it has another SHA-256 than Checksum says";

function isSame(a: ListSource, b: ListSource): boolean {
  return (Object.keys(a) as (keyof ListSource)[]).every((key) => a[key] === b[key]);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
