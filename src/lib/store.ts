/**
 * The state directory: one JSON document a file, replaced atomically, so that `kill -9` or a power cut at any moment
 * leaves either the old document or the new one.
 *
 * A save is: temporary file, fsync, rename, fsync of the directory. Saves that arrive while one is under way wait for
 * the next round together: however many there are, a round costs one fsync a document and one for the directory (group
 * commit), and of a document that was saved twice only the newest is written.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, unlinkSync } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "./log.ts";
import type { Log } from "./log.ts";

export interface Store {
  /** The document as it was last saved; `undefined` if there is none or it was corrupt (which is logged and set aside). */
  load(name: string): unknown;
  /**
   * Resolves when the document is on disk; rejects when the disk refused it (the old document stays). A function is
   * called when its round begins, so that a burst of saves prints a document once; so is `toJSON` of a value, which
   * must not change its mind before. `undefined` deletes the document.
   */
  save(name: string, value: unknown): Promise<void>;
  /** Resolves when all that was saved before is on disk or was refused. */
  flush(): Promise<void>;
  /** The directory, for messages. */
  readonly directory: string;
}

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
    flush: () => Promise.resolve(),
  };
}

class DirectoryStore implements Store {
  readonly directory: string;
  readonly #log: Log;
  #pending = new Map<string, Pending>();
  #round: Promise<void> | undefined;

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
      // Set aside rather than overwritten: somebody may want to see what happened to it.
      const aside = `${path}.corrupt`;
      renameSync(path, aside);
      syncDirectory(this.directory);
      this.#log.warn(`${path} is corrupt (${describe(error)}); set aside as ${aside}, starting without it`);
      return undefined;
    }
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
    while (this.#round) await this.#round;
  }

  /** Writes until nothing waits. Never rejects: each save has its own promise. */
  async #rounds(): Promise<void> {
    // What is saved in this same turn of the event loop joins the first round, and what the turn began goes out first: a
    // block reaches the kernel before a thousand rules are printed.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#pending.size > 0) {
      const batch = this.#pending;
      this.#pending = new Map();
      const results = await Promise.all([...batch].map(([name, pending]) => this.#replace(name, pending.value)));
      let directoryError: Error | undefined;
      if (results.includes(undefined)) directoryError = await this.#syncDirectory();
      for (const [index, pending] of [...batch.values()].entries()) {
        const error = results[index] ?? directoryError;
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
      const file = await open(temporary, "w", 0o600);
      try {
        await file.writeFile(text);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      return undefined;
    } catch (error) {
      await unlink(temporary).catch(() => undefined);
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  async #syncDirectory(): Promise<Error | undefined> {
    try {
      const handle = await open(this.directory, "r");
      try {
        await handle.sync();
      } finally {
        await handle.close();
      }
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
