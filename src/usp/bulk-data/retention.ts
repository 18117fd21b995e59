/** Reports that could not be delivered, of all profiles together: bounded in bytes, the oldest go. In memory alone. */
import type { Report } from "./report.ts";

/** Half a megabyte: at 1 kB, as summaries have, five days of reports at 900 s. */
export const RETAINED_BYTES = 512 * 1024;

export class Retention {
  readonly #maxBytes: number;
  /** By who made it, oldest first. */
  #kept: { readonly of: object; readonly report: Report }[] = [];

  constructor(maxBytes = RETAINED_BYTES) {
    this.#maxBytes = maxBytes;
  }

  of(owner: object): readonly Report[] {
    return this.#kept.filter((kept) => kept.of === owner).map(({ report }) => report);
  }

  /** @param most Of this owner; -1: as many as there is room for. */
  keep(owner: object, report: Report, most: number): void {
    this.#kept.push({ of: owner, report });
    if (most >= 0) {
      const surplus = this.of(owner).length - most;
      const drop = new Set(this.of(owner).slice(0, Math.max(surplus, 0)));
      this.#kept = this.#kept.filter((kept) => !drop.has(kept.report));
    }
    let bytes = this.#kept.reduce((sum, kept) => sum + kept.report.bytes, 0);
    while (bytes > this.#maxBytes) bytes -= (this.#kept.shift() as { report: Report }).report.bytes;
  }

  forget(owner: object): void {
    this.#kept = this.#kept.filter((kept) => kept.of !== owner);
  }
}
