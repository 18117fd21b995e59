/**
 * After the first hour: rows of one device with the same peer, port and protocol become one a minute, and questions one an
 * hour. What the Internet saw of the device, address and ports, stays.
 */
import { LogKind, LogRows } from "./rows.ts";
import { sumKey } from "./pending.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
/** Rows that one device's sum begins with room for. */
const FIRST_ROWS = 64;

export class RollUp {
  readonly #devices = new Map<number, { rows: LogRows; sums: Map<string, number> }>();

  add(from: LogRows): void {
    for (let row = 0; row < from.length; row++) {
      const mac = from.mac[row] as number;
      let device = this.#devices.get(mac);
      if (!device) this.#devices.set(mac, (device = { rows: new LogRows(FIRST_ROWS), sums: new Map() }));
      const span = from.kind[row] === LogKind.Question ? HOUR_MS : MINUTE_MS;
      const key = `${Math.floor((from.end[row] as number) / span)},${sumKey(from, row)}`;
      const known = device.sums.get(key);
      if (known !== undefined) {
        device.rows.merge(known, from, row);
        continue;
      }
      if (device.rows.full) device.rows = grown(device.rows);
      device.sums.set(key, device.rows.copy(from, row));
    }
  }

  /** How many devices. */
  get size(): number {
    return this.#devices.size;
  }

  /** Of each device its rows, by their serials. */
  *devices(): IterableIterator<readonly [mac: number, rows: LogRows]> {
    for (const [mac, { rows }] of this.#devices) yield [mac, bySerial(rows)];
  }
}

/** Each block is then a range of serials of its own. */
function bySerial(rows: LogRows): LogRows {
  const order = Array.from({ length: rows.length }, (_, row) => row).sort(
    (a, b) => (rows.serial[a] as number) - (rows.serial[b] as number),
  );
  const sorted = new LogRows(rows.length);
  for (const row of order) sorted.copy(rows, row);
  return sorted;
}

function grown(rows: LogRows): LogRows {
  const larger = new LogRows(rows.capacity * 2);
  for (let row = 0; row < rows.length; row++) larger.copy(rows, row);
  return larger;
}
