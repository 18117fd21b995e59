/**
 * What waits to be written. Each device may fill so many rows a minute; what it does beyond that is summed up, first by
 * peer and port, then by port alone, so that a device that scans a million addresses costs as much as one that is busy,
 * and takes nothing from the others. Questions and blocked packets are summed up from the first.
 */
import { LogFlag, LogKind, LogRows } from "./rows.ts";

/** All rows that wait; 250 bytes each with their names. Past the soft bound every device has to be brief. */
export const POOL_ROWS = 4096;
const SOFT_ROWS = 3072;
/** Rows that a device may fill a minute: a laptop opens fewer than 100 flows in a busy one (measured on a home's capture). */
const DETAILED_ROWS = 256;
const BRIEF_ROWS = 16;
/** Rows of sums that it may have beyond them: by peer, then by port. */
const SUM_ROWS = 64;

export class Pending {
  rows = new LogRows(POOL_ROWS);
  /** Rows that found no room at all. */
  lost = 0;
  /** The disk has been given its day's share: every device is brief. */
  isBrief = false;
  #sums = new Map<string, number>();
  #used = new Map<number, Used>();
  #minute = NaN;
  readonly #one = new LogRows(1);

  get length(): number {
    return this.rows.length;
  }

  /** Takes a copy of the row. @param monotonic Of the clock, in milliseconds. */
  put(from: LogRows, row: number, monotonic: number): void {
    const minute = Math.floor(monotonic / 60_000);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#used.clear();
    }
    const mac = from.mac[row] as number;
    let used = this.#used.get(mac);
    if (!used) this.#used.set(mac, (used = { rows: 0, peers: 0, ports: 0, summed: new Set() }));
    const kind = from.kind[row] as number;
    const isFlow = kind === LogKind.Flow;
    const hasRoom = this.rows.length < SOFT_ROWS;
    const allowed = this.isBrief || !hasRoom ? BRIEF_ROWS : DETAILED_ROWS;
    if (isFlow && used.rows < allowed && !this.rows.full) {
      used.rows++;
      this.rows.copy(from, row);
      return;
    }
    // A scan's addresses are all new: their keys need not be made to find that out.
    const peer = (from.address[row * 4 + 3] as number) ^ (from.address[row * 4 + 1] as number);
    const mayBeThere = !isFlow || used.summed.has(peer);
    if (mayBeThere && this.#merge(sumKey(from, row), from, row)) return;
    const isDetail = !isFlow && used.rows < allowed && !this.rows.full;
    if (isDetail || (hasRoom && used.peers < SUM_ROWS)) {
      if (isDetail) used.rows++;
      else used.peers++;
      used.summed.add(peer);
      this.#sums.set(sumKey(from, row), this.rows.copy(from, row));
      return;
    }
    const isNew = used.ports < SUM_ROWS && hasRoom;
    if (this.#blur(from, row, isNew)) used.ports++;
  }

  /** Another reading of a row that may wait here: the answer to a question. @returns whether it did */
  amend(key: string, change: (rows: LogRows, row: number) => void): boolean {
    const row = this.#sums.get(key);
    if (row === undefined) return false;
    change(this.rows, row);
    return true;
  }

  /** Everything that waits; from now on it waits elsewhere. The minute's allowances go on. */
  take(): LogRows {
    const { rows } = this;
    this.#begin(new LogRows(POOL_ROWS));
    return rows;
  }

  remove(mac: number): void {
    const { rows } = this;
    const kept = new LogRows(POOL_ROWS);
    for (let row = 0; row < rows.length; row++) if (rows.mac[row] !== mac) kept.copy(rows, row);
    this.#begin(kept);
  }

  removeAll(): void {
    this.#begin(new LogRows(POOL_ROWS));
  }

  #begin(rows: LogRows): void {
    this.rows = rows;
    this.#sums = new Map();
  }

  #merge(key: string, from: LogRows, row: number): boolean {
    const at = this.#sums.get(key);
    if (at === undefined) return false;
    this.rows.merge(at, from, row);
    return true;
  }

  /** Sums it up without its peer: under its port if there may be another such row, else among all others of its kind. */
  #blur(from: LogRows, row: number, mayAdd: boolean): boolean {
    const blurred = this.#one;
    blurred.length = 0;
    blurred.copy(from, row);
    blurred.flags[0] = ((blurred.flags[0] as number) | LogFlag.Coarse) & ~LogFlag.Part;
    blurred.extra[0] = 0;
    blurred.address.fill(0);
    const isQuestion = from.kind[row] === LogKind.Question;
    // Of a tunnel's thousand names the domain is what tells.
    blurred.name[0] = isQuestion ? parentOf(from.name[row] as string) : "";
    if (isQuestion) blurred.text[0] = (from.text[row] as string).split(" ", 1)[0] as string;
    const key = sumKey(blurred, 0);
    if (this.#merge(key, blurred, 0)) return false;
    if (mayAdd && !this.rows.full) {
      this.#sums.set(key, this.rows.copy(blurred, 0));
      return true;
    }
    blurred.port[0] = 0;
    if (isQuestion) blurred.name[0] = "*";
    const all = sumKey(blurred, 0);
    if (this.#merge(all, blurred, 0)) return false;
    if (this.rows.full) this.lost++;
    else this.#sums.set(all, this.rows.copy(blurred, 0));
    return false;
  }
}

interface Used {
  rows: number;
  peers: number;
  ports: number;
  /** Peers of which there are sums. */
  readonly summed: Set<number>;
}

/** The same for rows that a sum may make one of. */
export function sumKey(rows: LogRows, row: number): string {
  const mac = rows.mac[row] as number;
  if (rows.kind[row] === LogKind.Question) return questionKey(mac, rows.name[row] as string, rows.text[row] as string);
  const a = row * 4;
  const { address, outside } = rows;
  return (
    `${rows.kind[row]},${mac},${rows.flags[row]},${rows.protocol[row]},${rows.port[row]},${rows.extra[row]},` +
    `${address[a]},${address[a + 1]},${address[a + 2]},${address[a + 3]},` +
    `${outside[a]},${outside[a + 1]},${outside[a + 2]},${outside[a + 3]}`
  );
}

/** @param text The type, and what may follow it. */
export function questionKey(mac: number, name: string, text: string): string {
  return `?${mac},${text.split(" ", 1)[0]},${name}`;
}

/** `*.example.com` of a name under example.com. */
function parentOf(name: string): string {
  const labels = name.split(".");
  return labels.length > 2 ? `*.${labels.slice(-2).join(".")}` : name;
}
