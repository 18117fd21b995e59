/**
 * PORT: who keeps what has been, the flow log (flow-log/). It is a file of its own in the bundle, so nothing here may
 * rest on the identity of a class. Times are milliseconds since 1970, addresses four words (src/lib/address.ts).
 */
import type { Prefix } from "../lib/address.ts";
import type { FlowRows } from "./flow-rows.ts";
import type { Observation } from "./observation.ts";

/** 0: a flow, 1: a question to DNS, 2: packets that a rule stopped. */
export type LoggedKind = 0 | 1 | 2;

export interface LoggedRow {
  readonly serial: number;
  readonly kind: LoggedKind;
  readonly mac: number;
  readonly start: number;
  readonly end: number;
  /** The peer began; of blocked packets: they went to the device. */
  readonly byPeer: boolean;
  /** Of a flow that lived on after it. */
  readonly isPart: boolean;
  /** Canonical; empty where many peers were summed up. */
  readonly address: string;
  readonly name: string;
  /** Of a question: its type, a space, and the first addresses of the answer, with commas. */
  readonly text: string;
  readonly protocol: number;
  /** That the initiator addressed; of a question: result code + 1, or 0 if no answer was seen. */
  readonly port: number;
  /** Address and range of ports under which the Internet knew the device; empty if none. */
  readonly outside: string;
  readonly lowPort: number;
  readonly highPort: number;
  /** BytesSent, BytesReceived, PacketsSent, PacketsReceived; of a question: TTL in seconds, number of answers. */
  readonly totals: readonly [number, number, number, number];
  /** Flows, questions or samples summed up in the row. */
  readonly count: number;
  /** Of blocked packets: the rule's instance number, 0 if it is not known. */
  readonly extra: number;
}

export interface LogSearch {
  readonly kind: LoggedKind;
  /** `undefined`: of all devices. */
  readonly mac: number | undefined;
  readonly since: number;
  readonly until: number;
  readonly prefix: Prefix | undefined;
  /** With its subdomains; empty: any. */
  readonly domain: string;
  /** Only rows with a lower serial. */
  readonly before: number;
  readonly limit: number;
  /** The log's, as a page before said; `undefined` for the first page. */
  readonly generation: number | undefined;
  /** Serials of living flows: their parts are not shown beside them. */
  readonly living: ReadonlySet<number>;
}

export interface LogFound {
  /** The newest first; one more than the limit tells that there are more. */
  readonly rows: readonly LoggedRow[];
  /**
   * Every row above this serial has been looked at; those below have not all, because a search reads only so much at
   * once. -Infinity: all have.
   */
  readonly complete: number;
  readonly generation: number;
}

/** What an abuse report tells: who was it that the Internet knew by that address and port, at that time? */
export interface TraceSearch {
  readonly from: number;
  readonly to: number;
  readonly protocol: number;
  readonly outside: Uint32Array;
  /** `undefined` for protocols without ports. */
  readonly port: number | undefined;
  readonly peer: Uint32Array | undefined;
  readonly peerPort: number | undefined;
}

export interface Traced {
  /** Flows that had this port. */
  exactly: number;
  /** Flows of sums in whose range of ports it lies. */
  perhaps: number;
  /** Of one of them, where it is known. */
  peer: Uint32Array | undefined;
  peerPort: number;
}

export interface FlowRecorder {
  /** Why the log can't be written at present; empty if it can. */
  readonly refusal: string;
  /** What it added to serials of this process, once it is `ready`. */
  readonly base: number;
  /** Resolves when what earlier lives wrote has been found; never rejects. */
  readonly ready: Promise<void>;
  /** Whose numbers rows get that are no flow's: the table's. Before anything else. */
  begin(nextSerial: () => number): void;
  /** An ended row of the table, before it is released. */
  flow(mac: number, rows: FlowRows, row: number, name: string): void;
  question(mac: number, query: Extract<Observation, { kind: "query" }>): void;
  answer(mac: number, answer: Extract<Observation, { kind: "answer" }>): void;
  blocked(observation: Extract<Observation, { kind: "blocked" }>, name: string): void;
  /** The second's work. `rows` are the table's, of which flows that live long are kept in parts. */
  tick(rows: FlowRows, macOf: (slot: number) => number | undefined, nameOf: (row: number) => string): void;
  /** Looks at what waits at once, and at the disk while it goes on. "expired": the generation is gone. */
  find(search: LogSearch): Promise<LogFound | "expired">;
  trace(search: TraceSearch): Promise<Map<number, Traced>>;
  /** Forgets all of a device, on disk too, when it resolves. */
  erase(mac: number): Promise<void>;
  /** The same of all devices, known or forgotten. */
  eraseAll(): Promise<void>;
  /** All that is kept of a device, oldest first. */
  export(mac: number): AsyncIterableIterator<LoggedRow>;
  /** Writes what waits, and which flows live. */
  close(rows: FlowRows, macOf: (slot: number) => number | undefined, nameOf: (row: number) => string): Promise<void>;
}
