/** Which device holds which address, one owner each; and what was dropped, by device. */
import { isIPv4, printAddress } from "../lib/address.ts";
import { addressNumber } from "../spin/prefix-table.ts";
import { addressText } from "./elements.ts";
import type { CountedElement } from "./elements.ts";
import type { HeldAddress } from "./expand.ts";
import { addCount } from "./ledger.ts";
import type { Tally } from "./ledger.ts";
import type { Reading } from "./readings.ts";

export class Owners {
  readonly #owners = new Map<string, number>();
  readonly #addresses = new Map<number, Map<string, HeldAddress>>();
  readonly #dropped = new Map<number, Tally>();
  /** Last readings of the sets' counters. */
  readonly #readings = new Map<string, Tally>();

  /** Packets and bytes dropped, by device, monotone. */
  get dropped(): ReadonlyMap<number, Readonly<Tally>> {
    return this.#dropped;
  }

  /** Makes the device the owner; returns who was before. */
  hold(mac: number, words: Uint32Array): number | undefined {
    const text = printAddress(words);
    const before = this.#owners.get(text);
    if (before === mac) return before;
    if (before !== undefined) this.#addresses.get(before)?.delete(text);
    this.#owners.set(text, mac);
    const family = isIPv4(words) ? 4 : 6;
    let held = this.#addresses.get(mac);
    if (!held) this.#addresses.set(mac, (held = new Map()));
    held.set(text, { family, value: addressNumber(words, family) });
    return before;
  }

  /** Takes the address from the device; false if it was not its owner. */
  release(mac: number, words: Uint32Array): boolean {
    const text = printAddress(words);
    if (this.#owners.get(text) !== mac) return false;
    this.#owners.delete(text);
    this.#addresses.get(mac)?.delete(text);
    return true;
  }

  /** Who holds the address (canonical text). */
  macOf(text: string): number | undefined {
    return this.#owners.get(text);
  }

  of(mac: number): Iterable<HeldAddress> {
    return this.#addresses.get(mac)?.values() ?? [];
  }

  textsOf(mac: number): string[] {
    return [...(this.#addresses.get(mac)?.keys() ?? [])];
  }

  ownerOf(value: bigint, family: 4 | 6): number | undefined {
    return this.#owners.get(addressText(value, family));
  }

  /** How far the sets dropped_* have been counted, for `resume`. */
  get readings(): Reading[] {
    return [...this.#readings].map(([id, { packets, bytes }]) => [id, packets, bytes]);
  }

  /** Before the first `countDropped`: how far the sets had been counted in an earlier life. */
  resume(readings: readonly Reading[]): void {
    for (const [id, packets, bytes] of readings) this.#readings.set(id, { packets, bytes });
  }

  /** The sets were made anew. */
  emptied(): void {
    this.#readings.clear();
  }

  /** Takes in what the sets dropped_* hold now. */
  countDropped(read: ReadonlyMap<string, readonly CountedElement[]>): void {
    for (const [map, elements] of read) {
      if (!map.startsWith("dropped_")) continue;
      const seen = new Set<string>();
      for (const { id, from, packets, bytes } of elements) {
        seen.add(id);
        const before = this.#readings.get(id);
        const fell = !before || packets < before.packets || bytes < before.bytes;
        const more = fell ? { packets, bytes } : { packets: packets - before.packets, bytes: bytes - before.bytes };
        this.#readings.set(id, { packets, bytes });
        const mac =
          map === "dropped_up" ? (from[0] as number) : this.ownerOf(from[0] as bigint, map.endsWith("4") ? 4 : 6);
        if (mac !== undefined && more.packets > 0) addCount(this.#dropped, mac, more.packets, more.bytes);
      }
      for (const id of this.#readings.keys()) if (id.startsWith(`${map} `) && !seen.has(id)) this.#readings.delete(id);
    }
  }
}
