/**
 * Where the log's files lie: a directory, or memory where nothing shall outlive the process. Appends and removals wait
 * for no disk but the kernel's memory, and never on the thread that works: they go through Node's pool. Reads of a block,
 * some kilobytes of a file that was written not long ago, are made at once: the pool costs more than they do.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { appendFile, readFile, rename, rm, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface LogFiles {
  /** Names with their sizes. @throws the system's error */
  list(): { readonly name: string; readonly bytes: number }[];
  append(name: string, bytes: Buffer): Promise<void>;
  /** A whole new file: there entirely or not at all. */
  create(name: string, bytes: Buffer): Promise<void>;
  whole(name: string): Promise<Buffer>;
  /** What stands there; less than asked for where the file is shorter, nothing where there is none. */
  read(name: string, at: number, length: number): Buffer;
  cut(name: string, bytes: number): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(name: string): Promise<void>;
}

/** @throws the system's error where the directory can't be made */
export function directoryFiles(directory: string): LogFiles {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const path = (name: string) => join(directory, name);
  return {
    // What has no size, a link to nowhere, is none of ours and no hindrance.
    list: () =>
      readdirSync(directory).map((name) => ({
        name,
        bytes: statSync(path(name), { throwIfNoEntry: false })?.size ?? 0,
      })),
    append: (name, bytes) => appendFile(path(name), bytes, { mode: 0o600 }),
    create: async (name, bytes) => {
      const fresh = path(`${name}.new`);
      try {
        await writeFile(fresh, bytes, { mode: 0o600, flush: true });
        await rename(fresh, path(name));
      } catch (error) {
        // Half a file on a full disk would take the room that is missing.
        await rm(fresh, { force: true }).catch(() => undefined);
        throw error;
      }
    },
    whole: (name) => readFile(path(name)),
    read: (name, at, length) => {
      let file: number;
      try {
        file = openSync(path(name), "r");
      } catch {
        return Buffer.alloc(0);
      }
      try {
        const bytes = Buffer.allocUnsafe(length);
        return bytes.subarray(0, readSync(file, bytes, 0, length, at));
      } catch {
        return Buffer.alloc(0);
      } finally {
        closeSync(file);
      }
    },
    cut: (name, bytes) => truncate(path(name), bytes),
    rename: (from, to) => rename(path(from), path(to)),
    remove: (name) => rm(path(name), { force: true }),
  };
}

export function memoryFiles(): LogFiles {
  const files = new Map<string, Buffer>();
  const whole = (name: string) => files.get(name) ?? Buffer.alloc(0);
  const set = (name: string, bytes: Buffer) => {
    files.set(name, bytes);
    return Promise.resolve();
  };
  return {
    list: () => [...files].map(([name, { length }]) => ({ name, bytes: length })),
    append: (name, bytes) => set(name, Buffer.concat([whole(name), bytes])),
    create: set,
    whole: (name) => Promise.resolve(whole(name)),
    read: (name, at, length) => whole(name).subarray(at, at + length),
    cut: (name, bytes) => set(name, whole(name).subarray(0, bytes)),
    rename: (from, to) => {
      const bytes = whole(from);
      files.delete(from);
      return set(to, bytes);
    },
    remove: (name) => {
      files.delete(name);
      return Promise.resolve();
    },
  };
}
