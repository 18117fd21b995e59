/**
 * A DNS message as a home device sent or got it (RFC 1035, RFC 9460): the question, and for an answer the CNAME chain
 * to the addresses. Input is hostile: everything is bounded, nothing throws, and bytes that a name may not show are
 * escaped. Only the records that belong to the question count; a resolver may append anything.
 */
import { printAddress, wordsFromBytes } from "../../lib/address.ts";
import type { DnsAnswerRecord } from "../../spin/observation.ts";

export interface DnsMessage {
  readonly id: number;
  readonly response: boolean;
  /** Of the header; 0 in a query. */
  readonly rcode: number;
  /** The sender set TC, or the bytes ended before the records did: `addresses` may lack some. */
  readonly truncated: boolean;
  /** The name asked for: lower-case, no final dot (the root is `.`), bytes other than `a-z 0-9 - _` as `\DDD`. */
  readonly name: string;
  /** `A`, `AAAA`, `HTTPS` …, or `TYPE65280` for one without a name here. */
  readonly type: string;
  /** `name`, then the CNAME (or AliasMode) targets in order. */
  readonly names: readonly string[];
  /** A and AAAA of the chain's end, and the address hints of HTTPS and SVCB, each with its record's TTL in seconds. */
  readonly addresses: readonly DnsAnswerRecord[];
}

const HEADER_BYTES = 12;
const NAME_BYTES = 255;
/** Records looked at in one message: a real answer holds a few dozen. */
const RECORD_LIMIT = 512;
const ADDRESS_LIMIT = 256;
/** Resolvers give up earlier (BIND 16, Unbound 11). */
const CHAIN_LIMIT = 16;
/** RFC 2181 §8: a TTL with the top bit set counts as zero. */
const TTL_LIMIT = 0x7fffffff;

const Type = { A: 1, CNAME: 5, AAAA: 28, SVCB: 64, HTTPS: 65 } as const;
const CLASS_IN = 1;

const TYPE_NAMES = new Map<number, string>([
  [1, "A"],
  [2, "NS"],
  [5, "CNAME"],
  [6, "SOA"],
  [10, "NULL"],
  [12, "PTR"],
  [13, "HINFO"],
  [15, "MX"],
  [16, "TXT"],
  [28, "AAAA"],
  [33, "SRV"],
  [35, "NAPTR"],
  [39, "DNAME"],
  [43, "DS"],
  [46, "RRSIG"],
  [48, "DNSKEY"],
  [52, "TLSA"],
  [64, "SVCB"],
  [65, "HTTPS"],
  [252, "AXFR"],
  [255, "ANY"],
  [257, "CAA"],
]);

/**
 * Decodes a message with opcode QUERY and exactly one question; `undefined` for anything else and for malformed
 * names or lengths. Bytes cut off by a snap length are not malformed: what was whole is returned, `truncated`.
 */
export function decodeDns(bytes: Uint8Array): DnsMessage | undefined {
  if (bytes.length < HEADER_BYTES) return undefined;
  const flags = u16(bytes, 2);
  if ((flags & 0x7800) !== 0 || u16(bytes, 4) !== 1) return undefined;
  const nameEnd = skipName(bytes, HEADER_BYTES);
  if (nameEnd < 0 || nameEnd + 4 > bytes.length) return undefined;
  const name = readName(bytes, HEADER_BYTES);
  if (name === undefined) return undefined;
  const response = (flags & 0x8000) !== 0;
  const type = u16(bytes, nameEnd);
  const names = [name];
  const addresses: DnsAnswerRecord[] = [];
  let truncated = (flags & 0x0200) !== 0;
  if (response) {
    const records = readRecords(bytes, nameEnd + 4, u16(bytes, 6), name);
    if (!records) return undefined;
    truncated ||= records.cut;
    follow(bytes, records.list, names, addresses);
  }
  return {
    id: u16(bytes, 0),
    response,
    rcode: response ? flags & 15 : 0,
    truncated,
    name,
    type: TYPE_NAMES.get(type) ?? `TYPE${type}`,
    names,
    addresses,
  };
}

interface DnsRecord {
  readonly owner: string;
  readonly type: number;
  readonly ttl: number;
  readonly data: number;
  readonly length: number;
}

/** The answer section's records of the types we use; `undefined` if malformed, `cut` if the bytes ended early. */
function readRecords(
  bytes: Uint8Array,
  start: number,
  count: number,
  question: string,
): { list: DnsRecord[]; cut: boolean } | undefined {
  const list: DnsRecord[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    if (i === RECORD_LIMIT) return { list, cut: true };
    const end = skipName(bytes, at);
    if (end === CUT_OFF || (end >= 0 && end + 10 > bytes.length)) return { list, cut: true };
    if (end < 0) return undefined;
    const type = u16(bytes, end);
    const length = u16(bytes, end + 8);
    const data = end + 10;
    if (data + length > bytes.length) return { list, cut: true };
    if (u16(bytes, end + 2) === CLASS_IN && wanted(type)) {
      // Nearly every record points at the question.
      const owner = u16(bytes, at) === 0xc000 + HEADER_BYTES ? question : readName(bytes, at);
      if (owner === undefined) return undefined;
      const ttl = u32(bytes, end + 4);
      list.push({ owner, type, ttl: ttl > TTL_LIMIT ? 0 : ttl, data, length });
    }
    at = data + length;
  }
  return { list, cut: false };
}

function wanted(type: number): boolean {
  return type === Type.A || type === Type.AAAA || type === Type.CNAME || type === Type.HTTPS || type === Type.SVCB;
}

/** Walks the chain from `names[0]`, appending its targets and the addresses at its end. */
function follow(bytes: Uint8Array, records: readonly DnsRecord[], names: string[], addresses: DnsAnswerRecord[]): void {
  for (let owner: string | undefined = names[0]; owner !== undefined;) {
    let next: string | undefined;
    for (const record of records) {
      if (record.owner !== owner) continue;
      if (record.type === Type.CNAME) next ??= targetName(bytes, record.data, record.data + record.length);
      else if (record.type === Type.A) addAddress(bytes, record.data, record.length, 4, record.ttl, addresses);
      else if (record.type === Type.AAAA) addAddress(bytes, record.data, record.length, 6, record.ttl, addresses);
      else next ??= readService(bytes, record, addresses);
    }
    if (next === undefined || names.length === CHAIN_LIMIT || names.includes(next)) return;
    names.push(next);
    owner = next;
  }
}

/** Address hints of a ServiceMode record (RFC 9460 §7.3); the target of an AliasMode one is returned. */
function readService(bytes: Uint8Array, record: DnsRecord, addresses: DnsAnswerRecord[]): string | undefined {
  const end = record.data + record.length;
  if (record.length < 3) return undefined;
  const target = skipName(bytes, record.data + 2);
  if (target < 0 || target > end) return undefined;
  if (u16(bytes, record.data) === 0) return targetName(bytes, record.data + 2, end);
  for (let at = target; at + 4 <= end;) {
    const key = u16(bytes, at);
    const length = u16(bytes, at + 2);
    at += 4;
    if (at + length > end) return undefined;
    const width = key === 4 ? 4 : key === 6 ? 16 : 0;
    for (let i = 0; width > 0 && i + width <= length; i += width)
      addAddress(bytes, at + i, width, width === 4 ? 4 : 6, record.ttl, addresses);
    at += length;
  }
  return undefined;
}

function addAddress(
  bytes: Uint8Array,
  at: number,
  length: number,
  family: 4 | 6,
  ttl: number,
  addresses: DnsAnswerRecord[],
): void {
  if (length !== (family === 4 ? 4 : 16) || addresses.length === ADDRESS_LIMIT) return;
  addresses.push({ address: printAddress(wordsFromBytes(bytes, at, family)), ttl });
}

/** The name that fills a record's data up to `end`, and no further. */
function targetName(bytes: Uint8Array, at: number, end: number): string | undefined {
  const after = skipName(bytes, at);
  return after < 0 || after > end ? undefined : readName(bytes, at);
}

const MALFORMED = -1;
const CUT_OFF = -2;

/** Where the name at `at` ends in place (a pointer ends it), or MALFORMED, or CUT_OFF. */
export function skipName(bytes: Uint8Array, at: number): number {
  for (const limit = at + NAME_BYTES; at < limit;) {
    if (at >= bytes.length) return CUT_OFF;
    const length = bytes[at] as number;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= bytes.length ? at + 2 : CUT_OFF;
    if (length >= 0x40) return MALFORMED;
    at += 1 + length;
  }
  return MALFORMED;
}

/** Every byte of a name may become `\DDD`. */
const text = Buffer.alloc(NAME_BYTES * 4);

/** The name at `at` in canonical text; `undefined` if malformed. Pointers must point before what they continue (RFC 1035 §4.1.4). */
export function readName(bytes: Uint8Array, at: number): string | undefined {
  let length = 0;
  let wire = 1;
  let before = at;
  for (;;) {
    if (at >= bytes.length) return undefined;
    const label = bytes[at] as number;
    if (label === 0) return length === 0 ? "." : text.toString("latin1", 0, length - 1);
    if (label >= 0xc0) {
      if (at + 2 > bytes.length) return undefined;
      const target = u16(bytes, at) & 0x3fff;
      if (target >= before || target < HEADER_BYTES) return undefined;
      before = at = target;
      continue;
    }
    wire += label + 1;
    if (label >= 0x40 || wire > NAME_BYTES || at + 1 + label > bytes.length) return undefined;
    for (let i = at + 1; i <= at + label; i++) length = putByte(bytes[i] as number, length);
    text[length++] = 0x2e;
    at += 1 + label;
  }
}

function putByte(byte: number, length: number): number {
  const isPlain = (byte >= 0x61 && byte <= 0x7a) || (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x5f;
  if (isPlain) text[length++] = byte;
  else if (byte >= 0x41 && byte <= 0x5a) text[length++] = byte + 0x20;
  else {
    text[length++] = 0x5c;
    text[length++] = 0x30 + Math.floor(byte / 100);
    text[length++] = 0x30 + (Math.floor(byte / 10) % 10);
    text[length++] = 0x30 + (byte % 10);
  }
  return length;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function u32(bytes: Uint8Array, at: number): number {
  return ((u16(bytes, at) << 16) | u16(bytes, at + 2)) >>> 0;
}
