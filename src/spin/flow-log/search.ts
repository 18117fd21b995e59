/** What a search of the log asks for, which rows answer it, and the newest of them. */
import { inPrefix, isIPv4, printAddress } from "../../lib/address.ts";
import type { Prefix } from "../../lib/address.ts";
import { isUnderDomain } from "../../lib/domain.ts";
import { sameWords } from "../direction.ts";
import type { LoggedRow, LogSearch, Traced, TraceSearch } from "../flow-recorder.ts";
import { addressKey, COARSE_KEY, isFiltered, macKey, mayHold, nameKey } from "./bloom.ts";
import type { Block } from "./block.ts";
import { LogFlag, LogKind, type LogRows } from "./rows.ts";

/** Whether the block may hold rows that the search wants. */
export function mayAnswer(block: Block, wanted: LogSearch): boolean {
  if (block.minSerial >= wanted.before || block.maxEnd < wanted.since || block.minStart > wanted.until) return false;
  if (wanted.mac !== undefined && !mayHold(block.filter, macKey(wanted.mac))) return false;
  if (wanted.prefix?.bits === 128 && !mayHold(block.filter, addressKey(wanted.prefix.words, 0))) return false;
  return wanted.domain === "" || !isFiltered(wanted.domain) || mayHold(block.filter, nameKey(wanted.domain));
}

export function answers(rows: LogRows, row: number, wanted: LogSearch): boolean {
  if (rows.kind[row] !== wanted.kind) return false;
  if (wanted.mac !== undefined && rows.mac[row] !== wanted.mac) return false;
  if ((rows.end[row] as number) < wanted.since || (rows.start[row] as number) > wanted.until) return false;
  if (wanted.prefix && !isIn(wanted.prefix, rows.address, row * 4)) return false;
  return wanted.domain === "" || isUnderDomain(rows.name[row] as string, wanted.domain);
}

function isIn(prefix: Prefix, words: Uint32Array, offset: number): boolean {
  return isIPv4(prefix.words) === isIPv4(words, offset) && inPrefix(prefix, words, offset);
}

/** The `room` rows with the greatest serials of all that are offered. */
export class NewestRows {
  readonly #room: number;
  #rows: LoggedRow[] = [];
  /** Rows below are not wanted any more. */
  floor = -Infinity;

  constructor(room: number) {
    this.#room = room;
  }

  offer(rows: LogRows, base: number, wanted: LogSearch): void {
    for (let row = 0; row < rows.length; row++) {
      const serial = (rows.serial[row] as number) + base;
      if (serial >= wanted.before || serial <= this.floor || !answers(rows, row, wanted)) continue;
      // Parts of a flow that lives are in the live row.
      if (((rows.flags[row] as number) & LogFlag.Part) !== 0 && wanted.living.has((rows.extra[row] as number) + base))
        continue;
      this.#rows.push(loggedRow(rows, row, serial));
      if (this.#rows.length >= 2 * this.#room) this.#cut();
    }
  }

  sorted(): LoggedRow[] {
    this.#cut();
    return this.#rows;
  }

  #cut(): void {
    this.#rows.sort((a, b) => b.serial - a.serial);
    if (this.#rows.length < this.#room) return;
    this.#rows.length = this.#room;
    this.floor = (this.#rows.at(-1) as LoggedRow).serial;
  }
}

export function loggedRow(rows: LogRows, row: number, serial: number): LoggedRow {
  const at = row * 4;
  return {
    serial,
    kind: rows.kind[row] as LoggedRow["kind"],
    mac: rows.mac[row] as number,
    start: rows.start[row] as number,
    end: rows.end[row] as number,
    byPeer: ((rows.flags[row] as number) & LogFlag.Peer) !== 0,
    isPart: ((rows.flags[row] as number) & LogFlag.Part) !== 0,
    address: printed(rows.address, at),
    name: rows.name[row] as string,
    text: rows.text[row] as string,
    protocol: rows.protocol[row] as number,
    port: rows.port[row] as number,
    outside: printed(rows.outside, at),
    lowPort: rows.lowPort[row] as number,
    highPort: rows.highPort[row] as number,
    totals: [...rows.totals.subarray(at, at + 4)] as unknown as LoggedRow["totals"],
    count: rows.count[row] as number,
    extra: rows.extra[row] as number,
  };
}

function printed(words: Uint32Array, at: number): string {
  return words[at + 3] === 0 && words[at + 2] === 0 && words[at] === 0 ? "" : printAddress(words, at);
}

export function mayTrace(block: Block, wanted: TraceSearch): boolean {
  if (block.maxEnd < wanted.from || block.minStart > wanted.to) return false;
  if (!wanted.peer || mayHold(block.filter, addressKey(wanted.peer, 0))) return true;
  return mayHold(block.filter, COARSE_KEY);
}

/** Counts the rows' flows that may be what the Internet saw, by device. */
export function trace(rows: LogRows, wanted: TraceSearch, found: Map<number, Traced>): void {
  for (let row = 0; row < rows.length; row++) {
    if (rows.kind[row] !== LogKind.Flow) continue;
    if ((rows.end[row] as number) < wanted.from || (rows.start[row] as number) > wanted.to) continue;
    if (rows.protocol[row] !== wanted.protocol || !sameWords(rows.outside, row * 4, wanted.outside, 0)) continue;
    const flags = rows.flags[row] as number;
    // A device's own IPv4 address that nobody translated is no address of the Internet's.
    if ((flags & LogFlag.Translated) === 0 && isIPv4(rows.outside, row * 4)) continue;
    const isCoarse = (flags & LogFlag.Coarse) !== 0;
    if (!isCoarse && !isPeer(rows, row, flags, wanted)) continue;
    if (isCoarse && rows.port[row] !== 0 && !isPort(rows.port[row] as number, flags, wanted)) continue;
    const port = wanted.port === undefined ? "exactly" : rows.hasPort(row, wanted.port);
    if (port === "no") continue;
    const mac = rows.mac[row] as number;
    const device = found.get(mac) ?? { exactly: 0, perhaps: 0, peer: undefined, peerPort: 0 };
    if (!found.has(mac)) found.set(mac, device);
    const isSure = port === "exactly" && !isCoarse;
    // Of a sum that names its ports, one flow had this one.
    if (isSure) device.exactly += wanted.port === undefined || !rows.ports[row] ? (rows.count[row] as number) : 1;
    else device.perhaps += rows.count[row] as number;
    if (!isCoarse) {
      device.peer = rows.address.slice(row * 4, row * 4 + 4);
      device.peerPort = rows.port[row] as number;
    }
  }
}

function isPeer(rows: LogRows, row: number, flags: number, wanted: TraceSearch): boolean {
  if (wanted.peer && !sameWords(rows.address, row * 4, wanted.peer, 0)) return false;
  return isPort(rows.port[row] as number, flags, wanted);
}

/** A flow that the peer began shows the device's port as its own: the peer's is not kept. */
function isPort(port: number, flags: number, { peerPort }: TraceSearch): boolean {
  return peerPort === undefined || (flags & LogFlag.Peer) !== 0 || port === peerPort;
}
