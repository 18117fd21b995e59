/**
 * The state directory: one JSON document a file, replaced atomically, so that `kill -9` or a power cut at any moment
 * leaves either the old document or the new one.
 *
 * A save is: temporary file, fsync, rename, fsync of the directory. Saves that arrive while one is under way wait for
 * the next round together: however many there are, a round costs one fsync a document and one for the directory (group
 * commit), and of a document that was saved twice only the newest is written.
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fsync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { describe } from "./log.ts";
import type { Log } from "./log.ts";

export interface Store {
  /** The document as it was last saved; `undefined` if there is none or it was corrupt (which is logged and set aside). */
  load(name: string): unknown;
  /** Whether there is such a document, readable or not. */
  has(name: string): boolean;
  /**
   * Resolves when the document is on disk; rejects when the disk refused it (the old document stays). A function is
   * called when its round begins, so that a burst of saves prints a document once; so is `toJSON` of a value, which
   * must not change its mind before. `undefined` deletes the document.
   */
  save(name: string, value: unknown): Promise<void>;
  /** Takes a document away that says nothing of use, though it parses; it is logged, and kept as `NAME.json.corrupt`. */
  setAside(name: string, why: string): void;
  /** Deletes what was so taken away, if it was. */
  dropAside?(name: string): void;
  /** Resolves when all that was saved before is on disk or was refused; what was refused is tried once more. */
  flush(): Promise<void>;
  /** Why some document can't be saved at present, in words; empty if all are on disk. They are tried again by themselves. */
  readonly refusal: string;
  /** The directory, for messages. */
  readonly directory: string;
}

const RETRY_MS = 10_000;
const sync = promisify(fsync);
const syncData = promisify(fdatasync);

interface Pending {
  value: unknown;
  readonly waiting: { resolve: () => void; reject: (error: Error) => void }[];
}

/** Opens (and makes, mode 0700) the directory. Throws if it cannot be made or listed; leftovers of a crash are removed. */
export function openStore(directory: string, log: Log): Store {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const file of readdirSync(directory)) if (file.endsWith(".json.new")) unlinkSync(join(directory, file));
  return new DirectoryStore(directory, log);
}

/** A store that forgets: for replays, the demo and tests. Values go through JSON, as on disk. */
export function memoryStore(): Store {
  const documents = new Map<string, string>();
  return {
    directory: "",
    has: (name) => documents.has(checkName(name)),
    load: (name) => {
      const text = documents.get(checkName(name));
      return text === undefined ? undefined : (JSON.parse(text) as unknown);
    },
    save: (name, value) => {
      const text = print(value);
      if (text === undefined) documents.delete(checkName(name));
      else documents.set(checkName(name), text);
      return Promise.resolve();
    },
    setAside: (name) => void documents.delete(checkName(name)),
    flush: () => Promise.resolve(),
    refusal: "",
  };
}

class DirectoryStore implements Store {
  readonly directory: string;
  readonly #log: Log;
  #pending = new Map<string, Pending>();
  #round: Promise<void> | undefined;
  /** What the disk refused and nobody saved again since. */
  readonly #refused = new Map<string, unknown>();
  #retry: NodeJS.Timeout | undefined;
  #refusal = "";
  /** Of the directory. */
  #descriptor: number | undefined;

  constructor(directory: string, log: Log) {
    this.directory = directory;
    this.#log = log;
  }

  load(name: string): unknown {
    const path = this.#path(name);
    let text: string;
    try {
      text = readFileSync(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
    try {
      return JSON.parse(text) as unknown;
    } catch (error) {
      this.setAside(name, describe(error));
      return undefined;
    }
  }

  setAside(name: string, why: string): void {
    // Set aside rather than overwritten: somebody may want to see what happened to it.
    const path = this.#path(name);
    const aside = `${path}.corrupt`;
    renameSync(path, aside);
    syncDirectory(this.directory);
    this.#log.error(`${path} is corrupt (${why}); set aside as ${aside}, starting without it`);
  }

  dropAside(name: string): void {
    rmSync(`${this.#path(name)}.corrupt`, { force: true });
  }

  get refusal(): string {
    return this.#refusal;
  }

  has(name: string): boolean {
    return existsSync(this.#path(name));
  }

  save(name: string, value: unknown): Promise<void> {
    checkName(name);
    return new Promise<void>((resolve, reject) => {
      const pending = this.#pending.get(name);
      if (pending) {
        pending.value = value;
        pending.waiting.push({ resolve, reject });
      } else this.#pending.set(name, { value, waiting: [{ resolve, reject }] });
      this.#round ??= this.#rounds();
    });
  }

  async flush(): Promise<void> {
    await this.#idle();
    this.#tryAgain();
    await this.#idle();
    clearTimeout(this.#retry);
    this.#retry = undefined;
  }

  async #idle(): Promise<void> {
    while (this.#round) await this.#round;
  }

  #tryAgain(): void {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (this.#refused.size > 0) this.#round ??= this.#rounds();
  }

  /** Keeps in mind what the disk refused; a document that can't be printed is its maker's fault and is not tried again. */
  #note(batch: ReadonlyMap<string, Pending>, errors: readonly (Error | undefined)[]): void {
    for (const [index, [name, { value }]] of [...batch].entries()) {
      const error = errors[index];
      if (error && "code" in error) this.#refused.set(name, value);
      else this.#refused.delete(name);
    }
    const before = this.#refusal;
    const error = errors.find((one) => one && "code" in one);
    if (this.#refused.size === 0) this.#refusal = "";
    else if (error) this.#refusal = describe(error);
    if (before === "" && this.#refusal !== "")
      this.#log.error(`${this.directory} can't be written, trying again each ${RETRY_MS / 1000} s: ${this.#refusal}`);
    if (before !== "" && this.#refusal === "") this.#log.warn(`${this.directory} can be written again; all is saved`);
    if (this.#refused.size === 0) return;
    this.#retry ??= setTimeout(() => this.#tryAgain(), RETRY_MS);
    this.#retry.unref();
  }

  /** Writes until nothing waits. Never rejects: each save has its own promise. */
  async #rounds(): Promise<void> {
    // What is saved in this same turn of the event loop joins the first round, and what the turn began goes out first: a
    // block reaches the kernel before a thousand rules are printed.
    await new Promise<void>((resolve) => setImmediate(resolve));
    // Whatever is saved shows whether there is room again for what was refused.
    for (const [name, value] of this.#refused)
      if (!this.#pending.has(name)) this.#pending.set(name, { value, waiting: [] });
    while (this.#pending.size > 0) {
      const batch = this.#pending;
      this.#pending = new Map();
      const results = await Promise.all([...batch].map(([name, pending]) => this.#replace(name, pending.value)));
      let directoryError: Error | undefined;
      if (results.includes(undefined)) directoryError = await this.#syncDirectory();
      const errors = results.map((result) => result ?? directoryError);
      this.#note(batch, errors);
      for (const [index, pending] of [...batch.values()].entries()) {
        const error = errors[index];
        for (const { resolve, reject } of pending.waiting) error ? reject(error) : resolve();
      }
    }
    this.#round = undefined;
  }

  /** Returns the error rather than throwing it: one document's failure is not its neighbours'. */
  async #replace(name: string, value: unknown): Promise<Error | undefined> {
    const path = this.#path(name);
    const temporary = `${path}.new`;
    try {
      const text = print(value);
      if (text === undefined) {
        await unlink(path).catch(ignoreMissing);
        return undefined;
      }
      // What only touches the kernel's memory is done here; each step through Node's thread pool costs 50 µs, and on a
      // machine that is busy a turn of its scheduler.
      const file = openSync(temporary, "w", 0o600);
      try {
        writeFileSync(file, text);
        await syncData(file);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, path);
      return undefined;
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      return error as Error;
    }
  }

  async #syncDirectory(): Promise<Error | undefined> {
    try {
      this.#descriptor ??= openSync(this.directory, "r");
      await sync(this.#descriptor);
      return undefined;
    } catch (error) {
      return error as Error;
    }
  }

  #path(name: string): string {
    return join(this.directory, `${checkName(name)}.json`);
  }
}

function print(value: unknown): string | undefined {
  return JSON.stringify(typeof value === "function" ? (value as () => unknown)() : value);
}

function checkName(name: string): string {
  if (!/^[a-z0-9][a-z0-9_-]*$/i.test(name)) throw new TypeError(`not a document's name: ${JSON.stringify(name)}`);
  return name;
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
