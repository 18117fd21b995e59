/**
 * Whether what a device began came to anything. A flow is looked at some seconds after its beginning, when its counters
 * have been read: nobody answered, or a TCP peer only refused (RST), then it failed. A ring of what began lately, so the
 * cost of an attempt is the same however many flows live.
 */
import { isIPv4 } from "../../lib/address.ts";
import { deviceBegan, isLocal, peerOffset } from "../direction.ts";
import { FlowState, type FlowRows } from "../flow-rows.ts";
import { FlowFlag } from "../observation.ts";

export interface AttemptEnd {
  readonly row: number;
  readonly slot: number;
  /** When it began. */
  readonly time: number;
  readonly failed: boolean;
}

const RING = 16_384;
const TCP = 6;
/** A TCP segment without options and data: what refuses a connection. A SYN's answer has options, and is larger. */
const BARE_TCP = { v4: 40, v6: 60 } as const;

export class Attempts {
  /** Attempts that were not looked at, since more began than the ring holds. */
  skipped = 0;
  readonly #rows: FlowRows;
  readonly #row = new Int32Array(RING);
  readonly #serial = new Float64Array(RING);
  readonly #began = new Float64Array(RING);
  #head = 0;
  #length = 0;

  constructor(rows: FlowRows) {
    this.#rows = rows;
  }

  /** A flow of a device's own that has just begun. @param monotonic milliseconds */
  began(row: number, monotonic: number): void {
    if (this.#length === RING) {
      this.#head = (this.#head + 1) % RING;
      this.#length--;
      this.skipped++;
    }
    const at = (this.#head + this.#length++) % RING;
    this.#row[at] = row;
    this.#serial[at] = this.#rows.serial[row] as number;
    this.#began[at] = monotonic;
  }

  /** Tells how those ended up that began before then (monotonic milliseconds) and whose rows are still there. */
  judge(before: number, visit: (end: AttemptEnd) => void): void {
    const rows = this.#rows;
    while (this.#length > 0) {
      const at = this.#head;
      if ((this.#began[at] as number) > before) return;
      this.#head = (at + 1) % RING;
      this.#length--;
      const row = this.#row[at] as number;
      if (rows.serial[row] !== this.#serial[at] || rows.state[row] === FlowState.Free) continue;
      const slot = rows.device[row] as number;
      if (slot < 0 || !deviceBegan(rows.direction[row] as number)) continue;
      visit({ row, slot, time: rows.start[row] as number, failed: hasFailed(rows, row) });
    }
  }
}

export function hasFailed(rows: FlowRows, row: number): boolean {
  const packets = rows.last[row * 4 + 2] as number;
  const bytes = rows.last[row * 4 + 3] as number;
  if (packets === 0) return ((rows.flags[row] as number) & FlowFlag.Answered) === 0;
  if (rows.protocol[row] !== TCP) return false;
  const bare = isIPv4(rows.addresses, row * 16) ? BARE_TCP.v4 : BARE_TCP.v6;
  // One or two refusals; a connection that carried something has had larger ones.
  return packets <= 2 && bytes === packets * bare;
}

/** Where the peer's address of a flow stands. */
export const peerAt = (rows: FlowRows, row: number): number => row * 16 + peerOffset(rows.direction[row] as number);

export const isWithInternet = (rows: FlowRows, row: number): boolean => !isLocal(rows.direction[row] as number);
