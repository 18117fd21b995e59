/**
 * From which addresses the packets came that we dropped: a device that takes an address while it is blocked shows it
 * nowhere else, since nobody answers it and so the gateway makes no neighbour entry. Read with the hits.
 */
import { addressText } from "./elements.ts";
import type { CountedElement } from "./elements.ts";

export interface DroppedSource {
  readonly mac: number;
  readonly address: string;
}

export const SOURCE_SETS: readonly string[] = ["sources4", "sources6"];

/** A device that invents addresses tells no more of them in one reading. */
const PER_DEVICE = 8;
const PER_READING = 256;
/** A set's reading says when an element expires only roughly. */
const SLACK_MS = 1000;

export class DroppedSources {
  /** When an element that we have seen expires, by set and element. */
  readonly #seen = new Map<string, ReadonlyMap<string, number>>();
  readonly #waiting: DroppedSource[] = [];

  /** Takes in what the sets sources* hold now. */
  read(read: ReadonlyMap<string, readonly CountedElement[]>): void {
    for (const map of SOURCE_SETS) {
      const elements = read.get(map);
      if (!elements) continue;
      const before = this.#seen.get(map);
      this.#seen.set(map, new Map(elements.map(({ id, expires }) => [id, expires])));
      const told = new Map<number, number>();
      for (const { id, from, expires } of elements) {
        const mac = from[0] as number;
        const count = told.get(mac) ?? 0;
        if (expires <= (before?.get(id) ?? -Infinity) + SLACK_MS || count >= PER_DEVICE) continue;
        if (this.#waiting.length >= PER_READING) break;
        told.set(mac, count + 1);
        this.#waiting.push({ mac, address: addressText(from[1] as bigint, map === "sources4" ? 4 : 6) });
      }
    }
  }

  /** What was not told yet. */
  take(): DroppedSource[] {
    return this.#waiting.splice(0);
  }
}
