/**
 * What had been counted of each living flow when the counters were saved. Conntrack's counters are cumulative and outlive
 * the agent; after a restart a flow counts by its difference from here. A flow that is not here began after the save, so
 * the saved counters hold nothing of it and it counts whole. So a crash loses only the bytes of flows that moved some
 * after the save and ended before the restart, and counts nothing twice.
 *
 * Packed: per flow the id, a 32-bit hash of the tuple and four counters as LEB128 numbers, about 16 bytes; base64 in the
 * JSON document, together with the counters they belong to.
 */
import type { FlowColumns } from "./observation.ts";
import type { FlowRows } from "./flow-rows.ts";
import { FlowState, RowFlag } from "./flow-rows.ts";

export class Baselines {
  /** By id and hash; each holds the four counters. */
  #flows = new Map<string, Float64Array>();

  get size(): number {
    return this.#flows.size;
  }

  clear(): void {
    if (this.#flows.size > 0) this.#flows = new Map();
  }

  /** A flow begins whose id and tuple a saved one had. */
  drop(columns: FlowColumns, i: number): void {
    this.#flows.delete(keyOfColumns(columns, i));
  }

  /** Writes a flow's saved counters to `into` and forgets them; whether there were any that the reading continues. */
  take(columns: FlowColumns, i: number, into: Float64Array, at: number): boolean {
    const key = keyOfColumns(columns, i);
    const saved = this.#flows.get(key);
    if (!saved) return false;
    this.#flows.delete(key);
    // A lower reading is another flow's, or was zeroed meanwhile: either way nothing of it has been counted.
    if (
      (columns.packets[i] as number) < (saved[0] as number) ||
      (columns.bytes[i] as number) < (saved[1] as number) ||
      (columns.replyPackets[i] as number) < (saved[2] as number) ||
      (columns.replyBytes[i] as number) < (saved[3] as number)
    )
      return false;
    into.set(saved, at);
    return true;
  }

  pack(parts: number[]): void {
    for (const [key, counters] of this.#flows) {
      for (const number of key.split(":")) writeNumber(parts, Number(number));
      for (const counter of counters) writeNumber(parts, counter);
    }
  }

  /** Takes what `packBaselines` made; anything else is ignored. */
  load(text: unknown): void {
    if (typeof text !== "string") return;
    const bytes = Buffer.from(text, "base64");
    const reader = { at: 0 };
    while (reader.at < bytes.length) {
      const id = readNumber(bytes, reader);
      const hash = readNumber(bytes, reader);
      const counters = Float64Array.from({ length: 4 }, () => readNumber(bytes, reader));
      if (reader.at > bytes.length) return;
      this.#flows.set(keyOf(id, hash), counters);
    }
  }
}

/** The living flows of which something was counted, for the state file. */
export function packBaselines(rows: FlowRows, left: Baselines): string {
  const parts: number[] = [];
  // Those loaded that no source has shown yet still stand: the next start may come before the first dump.
  left.pack(parts);
  for (let row = 0; row < rows.capacity; row++) {
    if (rows.state[row] !== FlowState.Live) continue;
    const at = row * 4;
    const counted = (rows.credited[at] as number) > 0 || (rows.credited[at + 2] as number) > 0;
    if (!counted && ((rows.flags[row] as number) & RowFlag.Opened) === 0) continue;
    writeNumber(parts, rows.id[row] as number);
    writeNumber(
      parts,
      tupleHash(
        rows.addresses,
        row * 16,
        rows.ports[at] as number,
        rows.ports[at + 1] as number,
        rows.protocol[row] as number,
      ),
    );
    for (let k = 0; k < 4; k++) writeNumber(parts, Math.max(0, rows.credited[at + k] as number));
  }
  return Buffer.from(parts).toString("base64");
}

function keyOfColumns(columns: FlowColumns, i: number): string {
  const hash = tupleHash(
    columns.addresses,
    i * 16,
    columns.sourcePort[i] as number,
    columns.destinationPort[i] as number,
    columns.protocol[i] as number,
  );
  return keyOf(columns.id[i] as number, hash);
}

function keyOf(id: number, hash: number): string {
  return `${id}:${hash}`;
}

/** FNV-1a over the tuple: the same in every process, unlike the table's own hash. */
function tupleHash(
  addresses: ArrayLike<number>,
  at: number,
  sourcePort: number,
  destinationPort: number,
  protocol: number,
): number {
  let hash = 0x811c9dc5;
  const take = (word: number) => {
    for (let shift = 0; shift < 32; shift += 8) hash = Math.imul(hash ^ ((word >>> shift) & 255), 0x01000193);
  };
  for (let k = 0; k < 8; k++) take(addresses[at + k] as number);
  take((sourcePort << 16) | destinationPort);
  take(protocol);
  return hash >>> 0;
}

export function writeNumber(into: number[], value: number): void {
  let left = value;
  while (left >= 128) {
    into.push((left % 128) | 128);
    left = Math.floor(left / 128);
  }
  into.push(left);
}

/** Past the end, `reader.at` stands beyond the bytes. */
export function readNumber(bytes: Uint8Array, reader: { at: number }): number {
  let value = 0;
  let factor = 1;
  for (;;) {
    const byte = bytes[reader.at++];
    if (byte === undefined) {
      reader.at = bytes.length + 1;
      return 0;
    }
    value += (byte & 127) * factor;
    if (byte < 128) return value;
    factor *= 128;
  }
}
