/**
 * The elements as a file for the boot script (boot.sh), which loads them with the static ruleset before forwarding
 * starts. Replaced atomically; writes are gathered, since each one wears the flash.
 */
import { open, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { describe } from "../lib/log.ts";
import type { Log } from "../lib/log.ts";
import type { TableFamily } from "../netlink/nftables-messages.ts";
import type { Element } from "./elements.ts";
import { addLines } from "./element-lines.ts";

const HEADER =
  "# Elements of the table of spin-usp, for its boot script. Written by the agent whenever rules change.\n";
const GATHER_MS = 100;
/** Addresses come and go all the time: what only they changed waits longer. */
const ADDRESSES_MS = 60_000;

export class SavedElements {
  readonly #path: string;
  readonly #family: TableFamily;
  readonly #elements: () => readonly Element[];
  readonly #now: () => number;
  readonly #log: Log;
  #timer: NodeJS.Timeout | undefined;
  #due = Infinity;
  #writing: Promise<void> = Promise.resolve();
  #last = "";

  constructor(options: {
    path: string;
    family: TableFamily;
    elements: () => readonly Element[];
    now: () => number;
    log: Log;
  }) {
    this.#path = options.path;
    this.#family = options.family;
    this.#elements = options.elements;
    this.#now = options.now;
    this.#log = options.log;
  }

  /** Something changed: `policy` is written almost at once. */
  changed(what: "policy" | "addresses"): void {
    const due = performance.now() + (what === "policy" ? GATHER_MS : ADDRESSES_MS);
    if (due >= this.#due) return;
    this.#due = due;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.flush(), due - performance.now());
    this.#timer.unref();
  }

  /** Writes what is due. Never rejects: what can't be written is logged and tried again with the next change. */
  flush(): Promise<void> {
    if (this.#due === Infinity) return this.#writing;
    clearTimeout(this.#timer);
    this.#due = Infinity;
    this.#writing = this.#writing.then(() => this.#write());
    return this.#writing;
  }

  async #write(): Promise<void> {
    // The version is the ruleset's own.
    const elements = this.#elements().filter(({ map }) => map !== "version");
    const text = HEADER + addLines(this.#family, elements, this.#now());
    if (text === this.#last) return;
    try {
      await replaceFile(this.#path, text);
      this.#last = text;
    } catch (error) {
      this.#log.error(`the elements for the next boot were not saved: ${describe(error)}`);
    }
  }
}

async function replaceFile(path: string, text: string): Promise<void> {
  const fresh = `${path}.new`;
  const file = await open(fresh, "w", 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(fresh, path);
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
