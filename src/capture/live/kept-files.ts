/**
 * Captures kept for the resident: files in one folder, readable by the agent's user (and root) alone, one a device, all
 * of them bounded, gone after a day and when the agent stops.
 */
import { closeSync, lstatSync, mkdirSync, openSync, readdirSync, unlinkSync, write } from "node:fs";
import { join } from "node:path";
import type { Sink, SinkFailed } from "./sink.ts";

/** The folder is memory on most gateways; 256 MiB are all that the smallest have. */
export const FILE_BYTES = 10 << 20;
const ALL_BYTES = 20 << 20;
/** What ends the key of a capture of headers alone: controllers make those, the resident whole ones. */
export const HEADERS = "-headers";
const KEPT_MS = 24 * 3_600_000;
const FILE_NAME = /^capture-[0-9A-Za-z_.-]+\.pcap(?:ng)?$/;

interface Kept {
  readonly path: string;
  readonly timer: NodeJS.Timeout;
  bytes: number;
}

export class KeptFiles {
  readonly #folder: string;
  /** By what was captured, the oldest first. */
  readonly #files = new Map<string, Kept>();

  constructor(folder: string) {
    this.#folder = folder;
  }

  /** A new file in the place of an older one of the same. @throws Error where the disk refuses */
  open(key: string, suffix: "pcap" | "pcapng", failed: SinkFailed): Sink {
    ownFolder(this.#folder);
    this.#remove(key);
    const path = join(this.#folder, `capture-${key.replaceAll(/[^0-9A-Za-z.]/g, "-")}.${suffix}`);
    // Left over by a crash, or put there by another: never followed, never written into.
    removeFile(path);
    const fd = openSync(path, "wx", 0o600);
    const timer = setTimeout(() => this.#remove(key), KEPT_MS).unref();
    const kept: Kept = { path, timer, bytes: 0 };
    this.#files.set(key, kept);
    return fileSink(path, fd, failed, (bytes) => {
      kept.bytes += bytes;
      this.#makeRoom(key);
    });
  }

  /** Removes them all. */
  close(): void {
    for (const key of [...this.#files.keys()]) this.#remove(key);
  }

  /** @returns how many it removed */
  removeWhere(isGoing: (key: string) => boolean): number {
    const going = [...this.#files.keys()].filter(isGoing);
    for (const key of going) this.#remove(key);
    return going.length;
  }

  /** The oldest give way to the one that grows: those of headers alone first, and to one of headers no others. */
  #makeRoom(growing: string): void {
    let bytes = [...this.#files.values()].reduce((sum, file) => sum + file.bytes, 0);
    const [headers, whole] = [true, false].map((isOf) =>
      [...this.#files].filter(([key]) => key !== growing && key.endsWith(HEADERS) === isOf),
    ) as [[string, Kept][], [string, Kept][]];
    for (const [key, file] of growing.endsWith(HEADERS) ? headers : [...headers, ...whole]) {
      if (bytes <= ALL_BYTES) return;
      bytes -= file.bytes;
      this.#remove(key);
    }
  }

  #remove(key: string): void {
    const kept = this.#files.get(key);
    if (!kept) return;
    clearTimeout(kept.timer);
    this.#files.delete(key);
    removeFile(kept.path);
  }
}

/** What an agent that was killed left behind. */
export function removeLeftovers(folder: string): void {
  let names: string[] = [];
  try {
    names = readdirSync(folder);
  } catch {
    return;
  }
  for (const name of names) if (FILE_NAME.test(name)) removeFile(join(folder, name));
}

/** @throws Error where it can't be made, or is not ours alone */
function ownFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const found = lstatSync(folder);
  if (!found.isDirectory() || found.uid !== process.getuid?.() || (found.mode & 0o022) !== 0)
    throw new Error(`${folder} is no folder that is the agent's alone to write`);
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone, or somebody else's; a new file is then refused by the system, in words.
  }
}

function fileSink(path: string, fd: number, failed: SinkFailed, grew: (bytes: number) => void): Sink {
  const waiting: Buffer[] = [];
  let pending = 0;
  let taken = 0;
  let why = "";
  let isWriting = false;
  let isOpen = true;
  let ended: (() => void) | undefined;
  const close = () => {
    if (isOpen) closeSync(fd);
    isOpen = false;
  };
  const next = () => {
    const chunk = waiting.shift();
    isWriting = chunk !== undefined;
    if (!chunk) {
      if (ended) {
        close();
        ended();
      }
      return;
    }
    writeWhole(fd, chunk, 0, (error) => {
      pending -= chunk.length;
      if (error && why === "") {
        why = `${path}: ${error.message}`;
        waiting.length = 0;
        pending = 0;
        if (!ended) failed(why);
      } else {
        taken += chunk.length;
        grew(chunk.length);
      }
      next();
    });
  };
  return {
    location: path,
    get pending() {
      return pending;
    },
    get taken() {
      return taken;
    },
    write(chunk) {
      if (why !== "" || !isOpen) return;
      waiting.push(chunk);
      pending += chunk.length;
      if (!isWriting) next();
    },
    end: () =>
      new Promise((resolve, reject) => {
        ended = () => (why === "" ? resolve() : reject(new Error(why)));
        if (!isWriting) next();
      }),
    discard() {
      waiting.length = 0;
      ended ??= () => undefined;
      if (!isWriting) next();
      removeFile(path);
    },
  };
}

function writeWhole(fd: number, chunk: Buffer, from: number, done: (error: Error | null) => void): void {
  write(fd, chunk, from, chunk.length - from, null, (error, written) => {
    if (error || from + written >= chunk.length) return done(error);
    writeWhole(fd, chunk, from + written, done);
  });
}
