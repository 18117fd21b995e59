/**
 * A row of the flow table as the log keeps it. A flow that lives on is kept in parts, an hour each: what it moved then, and
 * no byte twice; its last part is written when it ends.
 */
import {
  deviceBegan,
  isLocal,
  ORIGINAL_DESTINATION,
  ORIGINAL_SOURCE,
  peerOffset,
  REPLY_DESTINATION,
  REPLY_SOURCE,
  sameWords,
} from "../direction.ts";
import { servicePort } from "../ended-flows.ts";
import { FlowState, type FlowRows } from "../flow-rows.ts";
import { NAME_SOURCES } from "../names.ts";
import { LogFlag, LogKind, type LogRows } from "./rows.ts";

/** How long a flow lives before a part of it is kept. */
const PART_MS = 60 * 60_000;
/** Flows that are kept in parts; others are written when they end. */
const MAX_PARTED = 2048;

interface Part {
  readonly until: number;
  /** Packets, bytes, reply packets, reply bytes that are in parts already. */
  readonly counted: readonly number[];
}

export class FlowParts {
  readonly #parts = new Map<number, Part>();

  of(serial: number): Part | undefined {
    return this.#parts.get(serial);
  }

  keep(serial: number, part: Part): void {
    this.#parts.set(serial, part);
  }

  ended(serial: number): void {
    this.#parts.delete(serial);
  }

  get full(): boolean {
    return this.#parts.size >= MAX_PARTED;
  }

  /** Calls for each living flow of which it is time to keep a part. */
  each(rows: FlowRows, now: number, visit: (row: number) => void): void {
    for (let row = 0; row < rows.capacity; row++) {
      if (rows.state[row] !== FlowState.Live || (rows.device[row] as number) < 0) continue;
      if (isLocal(rows.direction[row] as number)) continue;
      const before = this.#parts.get(rows.serial[row] as number);
      const since = before ? before.until : (rows.start[row] as number);
      if (now - since < PART_MS) continue;
      if (before || !this.full) visit(row);
    }
  }
}

/** Adds it to `into`. @returns false if there is nothing to keep */
export function readFlow(
  into: LogRows,
  mac: number,
  rows: FlowRows,
  row: number,
  name: string,
  parts: FlowParts,
  livesOn: boolean,
  nextSerial: () => number,
): boolean {
  const serial = rows.serial[row] as number;
  const direction = rows.direction[row] as number;
  const began = deviceBegan(direction);
  const before = parts.of(serial);
  const end = rows.seen[row] as number;
  const isPart = before !== undefined || livesOn;
  const moved = [0, 1, 2, 3].map((k) => Math.max(0, (rows.last[row * 4 + k] as number) - (before?.counted[k] ?? 0)));
  if (livesOn)
    parts.keep(serial, {
      until: Math.max(end, before?.until ?? 0),
      counted: [...rows.last.subarray(row * 4, row * 4 + 4)],
    });
  else parts.ended(serial);
  if (before && moved.every((each) => each === 0)) return false;

  const start = before ? before.until : (rows.start[row] as number);
  const to = into.add(LogKind.Flow, isPart ? nextSerial() : serial, mac, start, end);
  const at = row * 16;
  const outside = at + (began ? REPLY_DESTINATION : ORIGINAL_DESTINATION);
  const own = at + (began ? ORIGINAL_SOURCE : REPLY_SOURCE);
  const isTranslated = !sameWords(rows.addresses, outside, rows.addresses, own);
  into.flags[to] = (began ? 0 : LogFlag.Peer) | (isPart ? LogFlag.Part : 0) | (isTranslated ? LogFlag.Translated : 0);
  into.extra[to] = isPart ? serial : 0;
  into.protocol[to] = rows.protocol[row] as number;
  into.port[to] = servicePort(rows, row);
  const peer = at + peerOffset(direction);
  for (let k = 0; k < 4; k++) {
    into.address[to * 4 + k] = rows.addresses[peer + k] as number;
    into.outside[to * 4 + k] = rows.addresses[outside + k] as number;
  }
  if (into.port[to] !== 0) into.lowPort[to] = into.highPort[to] = rows.ports[row * 4 + (began ? 3 : 1)] as number;
  const [sent, received] = began ? [0, 2] : [2, 0];
  into.totals[to * 4] = moved[sent + 1] as number;
  into.totals[to * 4 + 1] = moved[received + 1] as number;
  into.totals[to * 4 + 2] = moved[sent] as number;
  into.totals[to * 4 + 3] = moved[received] as number;
  into.count[to] = 1;
  into.name[to] = name;
  // Of a name that came after the flow had begun, the table keeps no source.
  into.text[to] = rows.domain[row] === name ? (NAME_SOURCES[rows.domainSource[row] as number] ?? "") : "";
  return true;
}
