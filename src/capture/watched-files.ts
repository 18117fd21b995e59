/** Small files of the gateway that others write: read bounded, and watched where the system lets us. */
import { watch } from "node:fs";
import { open } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Log } from "../lib/log.ts";

/** A home's lease, hosts and ethers files are a few kB; a list of names to block may be megabytes, of which this is read. */
const FILE_LIMIT = 1 << 20;

/** @throws the system's error */
export async function readBounded(file: string): Promise<string> {
  const handle = await open(file, "r");
  try {
    const buffer = Buffer.alloc(FILE_LIMIT);
    let length = 0;
    for (let read = 1; read > 0 && length < FILE_LIMIT; length += read)
      read = (await handle.read(buffer, length, FILE_LIMIT - length, length)).bytesRead;
    return buffer.toString("latin1", 0, length);
  } finally {
    await handle.close();
  }
}

/** Calls `onChange` when one of the files may have changed, until `close`. Files that can't be watched must be polled. */
export function watchFiles(files: readonly string[], log: Log, onChange: () => void): { close(): void } {
  const names = new Set(files.map((file) => basename(file)));
  const watchers: { close(): void }[] = [];
  for (const folder of new Set(files.map((file) => dirname(file)))) {
    try {
      const watcher = watch(folder, (_event, name) => {
        if (name !== null && names.has(name)) onChange();
      });
      watcher.on("error", (error) => log.debug(`watching ${folder}: ${error.message}`));
      watchers.push(watcher);
    } catch {
      // Not there, or no watches left: polling finds what changes.
    }
  }
  return { close: () => watchers.forEach((watcher) => watcher.close()) };
}
