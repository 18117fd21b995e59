/**
 * Rows ⇄ bytes, column by column, numbers in LEB128: what is alike then stands together, and deflate makes the most of it.
 * Strings, addresses and hardware addresses stand once a block, in the order of their first use.
 */
import { LogFlag, LogRows, type LogKindCode } from "./rows.ts";

/** Longer texts are cut: a DNS name has 253 characters. */
const MAX_TEXT = 255;
/** No block has more; a file that claims so is corrupt. */
export const MAX_BLOCK_ROWS = 1024;
const MAX_COUNT = MAX_BLOCK_ROWS * 4;

/** Of the rows from `from` up to `to`, with `base` added to their serials. */
export function encode(rows: LogRows, from: number, to: number, base: number): Buffer {
  const out = new Writer();
  const strings = new Table<string>();
  const addresses = new Table<string>();
  const words: number[] = [];
  const macs = new Table<number>();
  const addressIndex = (column: Uint32Array, row: number) => {
    const at = row * 4;
    const key = `${column[at]},${column[at + 1]},${column[at + 2]},${column[at + 3]}`;
    const known = addresses.size;
    const index = addresses.index(key);
    if (index === known) for (let k = 0; k < 4; k++) words.push(column[at + k] as number);
    return index;
  };
  const body = new Writer();
  const each = (write: (row: number) => void) => {
    for (let row = from; row < to; row++) write(row);
  };
  let before = 0;
  const delta = (value: number) => {
    body.signed(value - before);
    before = value;
  };
  each((row) => delta((rows.serial[row] as number) + base));
  before = 0;
  each((row) => delta(rows.start[row] as number));
  each((row) => body.number((rows.end[row] as number) - (rows.start[row] as number)));
  each((row) => body.number(rows.kind[row] as number));
  each((row) => body.number(rows.flags[row] as number));
  each((row) => body.number(macs.index(rows.mac[row] as number)));
  each((row) => body.number(rows.protocol[row] as number));
  each((row) => body.number(rows.port[row] as number));
  each((row) => body.number(addressIndex(rows.address, row)));
  each((row) => body.number(strings.index((rows.name[row] as string).slice(0, MAX_TEXT))));
  each((row) => body.number(strings.index((rows.text[row] as string).slice(0, MAX_TEXT))));
  each((row) => body.number(addressIndex(rows.outside, row)));
  each((row) => body.number(rows.lowPort[row] as number));
  each((row) => body.number((rows.highPort[row] as number) - (rows.lowPort[row] as number)));
  each((row) => {
    const ports = rows.ports[row] ?? [];
    body.number(ports.length);
    for (const port of ports) body.number(port);
  });
  for (let k = 0; k < 4; k++) each((row) => body.number(rows.totals[row * 4 + k] as number));
  each((row) => body.number(rows.count[row] as number));
  // A part names its flow by the flow's serial, which has the same base.
  each((row) => body.number((rows.extra[row] as number) + (isPart(rows, row) ? base : 0)));

  out.number(strings.size);
  for (const text of strings.values()) out.text(text);
  out.number(addresses.size);
  for (const word of words) out.number(word);
  out.number(macs.size);
  for (const mac of macs.values()) out.number(mac);
  return Buffer.concat([out.bytes(), body.bytes()]);
}

/** @returns the rows; `undefined`: the bytes are not `count` rows */
export function decode(bytes: Uint8Array, count: number): LogRows | undefined {
  const input = new Reader(bytes);
  const strings = input.list(() => input.text());
  const addressCount = input.number();
  if (addressCount > MAX_COUNT) return undefined;
  const words = new Uint32Array(addressCount * 4);
  for (let k = 0; k < words.length; k++) words[k] = input.number();
  const macs = input.list(() => input.number());
  if (input.failed || count > MAX_BLOCK_ROWS) return undefined;

  const rows = new LogRows(count);
  rows.length = count;
  const each = (read: (row: number) => void) => {
    for (let row = 0; row < count; row++) read(row);
  };
  const address = (column: Uint32Array, row: number) => {
    const index = input.number();
    for (let k = 0; k < 4; k++) column[row * 4 + k] = words[index * 4 + k] ?? 0;
  };
  let before = 0;
  const delta = () => (before += input.signed());
  each((row) => (rows.serial[row] = delta()));
  before = 0;
  each((row) => (rows.start[row] = delta()));
  each((row) => (rows.end[row] = (rows.start[row] as number) + input.number()));
  each((row) => (rows.kind[row] = input.number() as LogKindCode));
  each((row) => (rows.flags[row] = input.number()));
  each((row) => (rows.mac[row] = macs[input.number()] ?? 0));
  each((row) => (rows.protocol[row] = input.number()));
  each((row) => (rows.port[row] = input.number()));
  each((row) => address(rows.address, row));
  each((row) => (rows.name[row] = strings[input.number()] ?? ""));
  each((row) => (rows.text[row] = strings[input.number()] ?? ""));
  each((row) => address(rows.outside, row));
  each((row) => (rows.lowPort[row] = input.number()));
  each((row) => (rows.highPort[row] = (rows.lowPort[row] as number) + input.number()));
  each((row) => {
    const ports = input.list(() => input.number());
    rows.ports[row] = ports.length > 0 ? ports : undefined;
  });
  for (let k = 0; k < 4; k++) each((row) => (rows.totals[row * 4 + k] = input.number()));
  each((row) => (rows.count[row] = input.number()));
  each((row) => (rows.extra[row] = input.number()));
  return input.failed ? undefined : rows;
}

export const isPart = (rows: LogRows, row: number) => ((rows.flags[row] as number) & LogFlag.Part) !== 0;

/** Each value once, by the order of first use. */
class Table<T> {
  readonly #indexes = new Map<T, number>();
  get size(): number {
    return this.#indexes.size;
  }
  index(value: T): number {
    let index = this.#indexes.get(value);
    if (index === undefined) this.#indexes.set(value, (index = this.#indexes.size));
    return index;
  }
  values(): IterableIterator<T> {
    return this.#indexes.keys();
  }
}

class Writer {
  #buffer = Buffer.allocUnsafe(4096);
  #at = 0;

  number(value: number): void {
    this.#room(10);
    let left = Math.max(0, Math.min(value, Number.MAX_SAFE_INTEGER));
    while (left >= 128) {
      this.#buffer[this.#at++] = (left % 128) | 128;
      left = Math.floor(left / 128);
    }
    this.#buffer[this.#at++] = left;
  }

  /** Zigzag: small for small numbers of either sign. */
  signed(value: number): void {
    this.number(value < 0 ? -value * 2 - 1 : value * 2);
  }

  text(text: string): void {
    const length = Buffer.byteLength(text);
    this.number(length);
    this.#room(length);
    this.#at += this.#buffer.write(text, this.#at);
  }

  bytes(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  #room(length: number): void {
    if (this.#at + length <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#at + length));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** Reads past the end as zeros, and says so in the end. */
class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  failed = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  number(): number {
    let byte = this.#bytes[this.#at++];
    if (byte !== undefined && byte < 128) return byte;
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (byte === undefined || factor > Number.MAX_SAFE_INTEGER) {
        this.failed = true;
        return 0;
      }
      value += (byte & 127) * factor;
      if (byte < 128) return value;
      byte = this.#bytes[this.#at++];
    }
  }

  signed(): number {
    const value = this.number();
    return value % 2 === 1 ? -(value + 1) / 2 : value / 2;
  }

  text(): string {
    const length = this.number();
    const from = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) {
      this.failed = true;
      return "";
    }
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, length).toString();
  }

  list<T>(read: () => T): T[] {
    const length = this.number();
    if (length > MAX_COUNT) this.failed = true;
    const list: T[] = [];
    for (let k = 0; k < length && !this.failed; k++) list.push(read());
    return list;
  }
}
