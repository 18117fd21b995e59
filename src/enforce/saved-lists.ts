/**
 * What lists hold in the kernel, as a file for the boot script (boot.sh): written as a stream, since it may be megabytes,
 * only when a list changed, and replaced atomically.
 */
import { open, rename, rm } from "node:fs/promises";
import { setImmediate as immediate } from "node:timers/promises";
import { describe } from "../lib/log.ts";
import type { Log } from "../lib/log.ts";
import { TABLE } from "./elements.ts";

const HEADER = "# Lists of the table of spin-usp, for its boot script. Written by the agent whenever a list changes.\n";

export interface SavedPart {
  readonly set: string;
  /** Elements as nft writes them. */
  readonly text: string;
}

export class SavedLists {
  readonly #path: string;
  readonly #log: Log;
  #writing: Promise<void> = Promise.resolve();

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /** Lists are now these. */
  changed(parts: Iterable<SavedPart>): void {
    this.#writing = this.#writing.then(() => this.#write(parts));
  }

  /** Resolves when all is written. Never rejects. */
  flush(): Promise<void> {
    return this.#writing;
  }

  async #write(parts: Iterable<SavedPart>): Promise<void> {
    const fresh = `${this.#path}.new`;
    try {
      const file = await open(fresh, "w", 0o600);
      let isEmpty = true;
      try {
        await file.write(HEADER);
        for (const { set, text } of parts) {
          isEmpty = false;
          await file.write(`add element inet ${TABLE} ${set} { ${text} }\n`);
          await immediate();
        }
        await file.sync();
      } finally {
        await file.close();
      }
      if (isEmpty) await Promise.all([rm(fresh, { force: true }), rm(this.#path, { force: true })]);
      else await rename(fresh, this.#path);
    } catch (error) {
      this.#log.error(`lists for the next boot were not saved: ${describe(error)}`);
    }
  }
}
