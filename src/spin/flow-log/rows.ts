/**
 * Rows of the flow log in columns: what waits to be written, and what a block holds when it has been read. One shape for
 * its three kinds, so that blocks, quotas and searches are written once:
 *
 *            Flow                             Question (DNS)                Blocked (packets that a rule stopped)
 *   name     the peer's                       asked for                     the peer's
 *   text     how the name is known            type, a space, first answers  -
 *   port     that the initiator addressed     result code + 1, 0: unknown   the peer's
 *   totals   bytes and packets, both ways     TTL, number of answers        bytes and packets, both ways
 *   count    flows                            questions                     samples
 *   extra    of a part: the flow's serial     -                             the rule's instance number, 0: unknown
 *   outside  what the Internet saw of it      -                             -
 */
export const LogKind = { Flow: 0, Question: 1, Blocked: 2 } as const;
export type LogKindCode = (typeof LogKind)[keyof typeof LogKind];

export const LogFlag = {
  /** The peer began; of Blocked: towards the device. */
  Peer: 1,
  /** A part of a flow that lived on. */
  Part: 2,
  /** The address outside is not the device's own. */
  Translated: 4,
  /** Many flows to peers that there was no room to name: address and name are empty, the outside's ports a range. */
  Coarse: 8,
} as const;

export class LogRows {
  length = 0;
  capacity: number;
  /** Identifies the row for ever; newer rows have greater ones. */
  serial: Float64Array;
  kind: Uint8Array;
  flags: Uint8Array;
  mac: Float64Array;
  /** Milliseconds since 1970. */
  start: Float64Array;
  end: Float64Array;
  protocol: Uint8Array;
  port: Uint16Array;
  /** The peer's, four words a row; zeros: none. */
  address: Uint32Array;
  /** Address and ports under which the Internet knew the device; zeros: none. */
  outside: Uint32Array;
  lowPort: Uint16Array;
  highPort: Uint16Array;
  /** BytesSent, BytesReceived, PacketsSent, PacketsReceived. */
  totals: Float64Array;
  count: Float64Array;
  extra: Float64Array;
  name: string[] = [];
  text: string[] = [];
  /** All of the outside's ports, ascending, where they are few; `undefined`: one alone, or a whole range. */
  ports: (readonly number[] | undefined)[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
    this.serial = new Float64Array(capacity);
    this.kind = new Uint8Array(capacity);
    this.flags = new Uint8Array(capacity);
    this.mac = new Float64Array(capacity);
    this.start = new Float64Array(capacity);
    this.end = new Float64Array(capacity);
    this.protocol = new Uint8Array(capacity);
    this.port = new Uint16Array(capacity);
    this.address = new Uint32Array(capacity * 4);
    this.outside = new Uint32Array(capacity * 4);
    this.lowPort = new Uint16Array(capacity);
    this.highPort = new Uint16Array(capacity);
    this.totals = new Float64Array(capacity * 4);
    this.count = new Float64Array(capacity);
    this.extra = new Float64Array(capacity);
  }

  get full(): boolean {
    return this.length === this.capacity;
  }

  /** A row of zeros at the end; the caller sees to it that there is room. */
  add(kind: LogKindCode, serial: number, mac: number, start: number, end: number): number {
    const row = this.length++;
    this.serial[row] = serial;
    this.kind[row] = kind;
    this.flags[row] = 0;
    this.mac[row] = mac;
    this.start[row] = Math.floor(start);
    this.end[row] = Math.floor(Math.max(start, end));
    this.protocol[row] = this.port[row] = this.lowPort[row] = this.highPort[row] = 0;
    this.address.fill(0, row * 4, row * 4 + 4);
    this.outside.fill(0, row * 4, row * 4 + 4);
    this.totals.fill(0, row * 4, row * 4 + 4);
    this.count[row] = this.extra[row] = 0;
    this.name[row] = this.text[row] = "";
    this.ports[row] = undefined;
    return row;
  }

  copy(from: LogRows, row: number): number {
    const to = this.add(
      from.kind[row] as LogKindCode,
      from.serial[row] as number,
      from.mac[row] as number,
      from.start[row] as number,
      from.end[row] as number,
    );
    this.flags[to] = from.flags[row] as number;
    this.protocol[to] = from.protocol[row] as number;
    this.port[to] = from.port[row] as number;
    this.lowPort[to] = from.lowPort[row] as number;
    this.highPort[to] = from.highPort[row] as number;
    for (let k = 0; k < 4; k++) {
      this.address[to * 4 + k] = from.address[row * 4 + k] as number;
      this.outside[to * 4 + k] = from.outside[row * 4 + k] as number;
      this.totals[to * 4 + k] = from.totals[row * 4 + k] as number;
    }
    this.count[to] = from.count[row] as number;
    this.extra[to] = from.extra[row] as number;
    this.name[to] = from.name[row] as string;
    this.text[to] = from.text[row] as string;
    this.ports[to] = from.ports[row];
    return to;
  }

  /** Takes `from`'s row into `to`, which becomes both: for rows that are alike in what a summary keeps. */
  merge(to: number, from: LogRows, row: number): void {
    this.serial[to] = Math.max(this.serial[to] as number, from.serial[row] as number);
    this.start[to] = Math.min(this.start[to] as number, from.start[row] as number);
    this.end[to] = Math.max(this.end[to] as number, from.end[row] as number);
    this.count[to] = (this.count[to] as number) + (from.count[row] as number);
    if (this.name[to] === "") this.name[to] = from.name[row] as string;
    if (this.kind[to] === LogKind.Question) {
      // The newest answer tells.
      if (from.port[row] === 0) return;
      this.port[to] = from.port[row] as number;
      this.text[to] = from.text[row] as string;
      this.totals[to * 4] = from.totals[row * 4] as number;
      this.totals[to * 4 + 1] = from.totals[row * 4 + 1] as number;
      return;
    }
    for (let k = 0; k < 4; k++)
      this.totals[to * 4 + k] = (this.totals[to * 4 + k] as number) + (from.totals[row * 4 + k] as number);
    this.#mergePorts(to, from, row);
  }

  /** Keeps the rows that `keeps` says, in their order. */
  filter(keeps: (row: number, rows: LogRows) => boolean): LogRows {
    const kept = new LogRows(this.length);
    for (let row = 0; row < this.length; row++) if (keeps(row, this)) kept.copy(this, row);
    return kept;
  }

  #mergePorts(to: number, from: LogRows, row: number): void {
    const mine = this.#portsOf(to);
    const theirs = from.#portsOf(row);
    this.lowPort[to] = Math.min(this.lowPort[to] as number, from.lowPort[row] as number);
    this.highPort[to] = Math.max(this.highPort[to] as number, from.highPort[row] as number);
    if (!mine || !theirs) {
      this.ports[to] = undefined;
      // A whole range that is one port wide is that port.
      return;
    }
    const all = [...new Set([...mine, ...theirs])].sort((a, b) => a - b);
    this.ports[to] = all.length > 1 && all.length <= MAX_PORTS ? all : undefined;
  }

  /** `undefined`: a whole range. */
  #portsOf(row: number): readonly number[] | undefined {
    return this.ports[row] ?? (this.lowPort[row] === this.highPort[row] ? [this.lowPort[row] as number] : undefined);
  }

  /** Whether the Internet saw that port of the device; `exactly` told apart from one that lies in a range. */
  hasPort(row: number, port: number): "exactly" | "perhaps" | "no" {
    const ports = this.#portsOf(row);
    if (ports) return ports.includes(port) ? "exactly" : "no";
    return port >= (this.lowPort[row] as number) && port <= (this.highPort[row] as number) ? "perhaps" : "no";
  }
}

/** So many ports of a summary are named; more of them become a range. Each costs two bytes on disk. */
export const MAX_PORTS = 32;
