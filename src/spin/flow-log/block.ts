/**
 * A block: up to 1,024 rows, compressed, behind a header that says what is in it, so that a search reads only blocks that
 * may hold what it looks for. A file is blocks one after another; each stands for itself, with its own strings.
 *
 *   0 magic · 4 CRC-32 of the header from 8 on and of the filter · 8 CRC-32 of the payload · 12 payload's length
 *   16 length once inflated · 20 rows · 22 filter's length · 24 journal that the rows come from (0: none)
 *   28 reserved · 32 least and 40 greatest serial · 48 earliest start · 56 latest end · 64 filter, then the payload
 */
import { crc32 as zlibCrc32, deflateRaw, inflateRawSync } from "node:zlib";
import { promisify } from "node:util";
import { decode, encode, MAX_BLOCK_ROWS } from "./codec.ts";
import { BloomBuilder, COARSE_KEY, macKey } from "./bloom.ts";
import { LogFlag, type LogRows } from "./rows.ts";

export interface Block {
  readonly file: string;
  /** Where its header stands. */
  readonly at: number;
  readonly length: number;
  readonly rows: number;
  readonly minSerial: number;
  readonly maxSerial: number;
  readonly minStart: number;
  readonly maxEnd: number;
  /** Number of the journal whose rows it summed up; 0: none. */
  readonly from: number;
  readonly filter: Uint8Array;
  /** Since which generation of the log it counts. */
  readonly born: number;
}

const HEADER = 64;
const MAGIC_TEXT = "FSB1";
const MAGIC = 0x31425346;
const MAX_PAYLOAD = 1 << 20;
const MAX_FILTER = 4096;
const deflate = promisify(deflateRaw);

/**
 * The bytes of a block of those rows. Compressed by Node's thread pool.
 * @param journal That they sum up; 0: none. -1: they are a journal's, which is short and needs no filter.
 */
export async function seal(rows: LogRows, from: number, to: number, base: number, journal: number): Promise<Buffer> {
  const filter = new BloomBuilder();
  let minSerial = Infinity;
  let maxSerial = -Infinity;
  let minStart = Infinity;
  let maxEnd = -Infinity;
  for (let row = from; row < to; row++) {
    minSerial = Math.min(minSerial, (rows.serial[row] as number) + base);
    maxSerial = Math.max(maxSerial, (rows.serial[row] as number) + base);
    minStart = Math.min(minStart, rows.start[row] as number);
    maxEnd = Math.max(maxEnd, rows.end[row] as number);
    if (journal < 0) continue;
    filter.number(macKey(rows.mac[row] as number));
    if (((rows.flags[row] as number) & LogFlag.Coarse) !== 0) filter.number(COARSE_KEY);
    filter.address(rows.address, row * 4);
    filter.name(rows.name[row] as string);
  }
  const raw = encode(rows, from, to, base);
  const bits = journal < 0 ? new Uint8Array(0) : filter.bytes();
  const payload = await deflate(raw, { level: 6 });
  const head = Buffer.alloc(HEADER);
  head.writeUInt32LE(MAGIC, 0);
  head.writeUInt32LE(crc32(payload), 8);
  head.writeUInt32LE(payload.length, 12);
  head.writeUInt32LE(raw.length, 16);
  head.writeUInt16LE(to - from, 20);
  head.writeUInt16LE(bits.length, 22);
  head.writeUInt32LE(Math.max(0, journal), 24);
  head.writeDoubleLE(minSerial, 32);
  head.writeDoubleLE(maxSerial, 40);
  head.writeDoubleLE(minStart, 48);
  head.writeDoubleLE(maxEnd, 56);
  head.writeUInt32LE(crc32(bits, crc32(head.subarray(8))), 4);
  return Buffer.concat([head, bits, payload]);
}

/** What the header at `at` says; `undefined`: there is no whole block. */
export function readHeader(bytes: Buffer, at: number, file: string, born: number): Block | undefined {
  if (at + HEADER > bytes.length || bytes.readUInt32LE(at) !== MAGIC) return undefined;
  const payload = bytes.readUInt32LE(at + 12);
  const filter = bytes.readUInt16LE(at + 22);
  const rows = bytes.readUInt16LE(at + 20);
  const length = HEADER + filter + payload;
  if (payload > MAX_PAYLOAD || filter > MAX_FILTER || rows === 0 || rows > MAX_BLOCK_ROWS) return undefined;
  if (at + length > bytes.length) return undefined;
  const bits = bytes.subarray(at + HEADER, at + HEADER + filter);
  if (crc32(bits, crc32(bytes.subarray(at + 8, at + HEADER))) !== bytes.readUInt32LE(at + 4)) return undefined;
  return {
    file,
    at,
    length,
    rows,
    minSerial: bytes.readDoubleLE(at + 32),
    maxSerial: bytes.readDoubleLE(at + 40),
    minStart: bytes.readDoubleLE(at + 48),
    maxEnd: bytes.readDoubleLE(at + 56),
    from: bytes.readUInt32LE(at + 24),
    // A copy: the file's bytes shall not stay in memory for it.
    filter: new Uint8Array(bits),
    born,
  };
}

/** Whether the payload is what was written. */
export function isWhole(block: Buffer): boolean {
  const payload = payloadOf(block);
  return payload.length === block.readUInt32LE(12) && crc32(payload) === block.readUInt32LE(8);
}

/** Rows of a block's bytes; `undefined`: they are corrupt. */
export function unseal(bytes: Buffer): LogRows | undefined {
  if (bytes.length < HEADER || !isWhole(bytes)) return undefined;
  try {
    const raw = inflateRawSync(payloadOf(bytes), { maxOutputLength: MAX_PAYLOAD * 4 });
    return raw.length === bytes.readUInt32LE(16) ? decode(raw, bytes.readUInt16LE(20)) : undefined;
  } catch {
    return undefined;
  }
}

const payloadOf = (block: Buffer) => block.subarray(HEADER + block.readUInt16LE(22));

/** Where the next whole block begins at or after `from`, which tells damage from a torn end; -1: nowhere. */
export function nextBlock(bytes: Buffer, from: number): number {
  for (let at = bytes.indexOf(MAGIC_TEXT, from, "latin1"); at >= 0; at = bytes.indexOf(MAGIC_TEXT, at + 1, "latin1"))
    if (readHeader(bytes, at, "", 0)) return at;
  return -1;
}

/** Node's own since 20.15; before that, a table's. */
const crc32: (bytes: Uint8Array, before?: number) => number =
  typeof zlibCrc32 === "function" ? (bytes, before = 0) => zlibCrc32(bytes, before) : tableCrc32();

function tableCrc32(): (bytes: Uint8Array, before?: number) => number {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  return (bytes, before = 0) => {
    let crc = ~before;
    for (const byte of bytes) crc = (table[(crc ^ byte) & 255] as number) ^ (crc >>> 8);
    return ~crc >>> 0;
  };
}
