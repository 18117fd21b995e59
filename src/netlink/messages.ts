/**
 * Netlink messages (RFC 3549, linux/netlink.h): a header of 16 bytes, then attributes of type, length and value, each
 * padded to 4. Header fields are in the machine's order, which is little-endian wherever Node runs on a gateway (the
 * helper's greeting checks it); netfilter's attribute values are big-endian, rtnetlink's in the machine's order.
 */
export const HEADER_BYTES = 16;

/** linux/netlink.h */
export const MessageFlag = {
  Request: 0x1,
  Multi: 0x2,
  Ack: 0x4,
  Echo: 0x8,
  Dump: 0x300,
  Exclusive: 0x200,
  Create: 0x400,
} as const;

/** linux/nfnetlink.h: subsystem in the high byte of the message type. */
export const Subsystem = { Conntrack: 1, PacketLog: 4, Nftables: 10 } as const;

/** Address families as nfgenmsg and rtnetlink spell them. */
export const Family = { Unspecified: 0, Inet: 1, IPv4: 2, Bridge: 7, IPv6: 10 } as const;

const NESTED = 0x8000;
export const ATTRIBUTE_TYPE_MASK = 0x3fff;

/** Grows as it is written to; `message()` gives a copy. */
export class MessageWriter {
  #bytes: Uint8Array = new Uint8Array(1024);
  #length = HEADER_BYTES;

  /** Starts over: a message with the netfilter header (nfgenmsg: family, version 0, `resource`). */
  begin(type: number, flags: number, family: number, resource = 0): this {
    this.#length = HEADER_BYTES;
    this.#reserve(4);
    this.#bytes.fill(0, 0, HEADER_BYTES + 4);
    putU16(this.#bytes, 4, type);
    putU16(this.#bytes, 6, flags);
    this.#bytes[16] = family;
    this.#bytes[18] = resource >>> 8;
    this.#bytes[19] = resource & 255;
    this.#length += 4;
    return this;
  }

  get length(): number {
    return this.#length;
  }

  bytes(type: number, value: Uint8Array): this {
    const at = this.#attribute(type, value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** NUL-terminated ASCII. */
  text(type: number, value: string): this {
    return this.bytes(type, Buffer.from(`${value}\0`, "latin1"));
  }

  u32(type: number, value: number): this {
    const at = this.#attribute(type, 4);
    for (let i = 0; i < 4; i++) this.#bytes[at + i] = (value >>> (24 - 8 * i)) & 255;
    return this;
  }

  u64(type: number, value: number): this {
    const at = this.#attribute(type, 8);
    let rest = value;
    for (let i = 7; i >= 0; i--, rest = Math.floor(rest / 256)) this.#bytes[at + i] = rest % 256;
    return this;
  }

  /** Attributes that `write` adds become the value. */
  nest(type: number, write: () => void): this {
    const start = this.#length;
    this.#attribute(type | NESTED, 0);
    write();
    putU16(this.#bytes, start, this.#length - start);
    return this;
  }

  message(): Uint8Array {
    const copy = this.#bytes.slice(0, this.#length);
    new DataView(copy.buffer).setUint32(0, this.#length, true);
    return copy;
  }

  #attribute(type: number, length: number): number {
    const padded = (length + 3) & ~3;
    this.#reserve(4 + padded);
    const at = this.#length;
    putU16(this.#bytes, at, 4 + length);
    putU16(this.#bytes, at + 2, type);
    this.#bytes.fill(0, at + 4 + length, at + 4 + padded);
    this.#length += 4 + padded;
    return at + 4;
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * (this.#length + more));
    grown.set(this.#bytes);
    this.#bytes = grown;
  }
}

/**
 * Calls `visit` for each whole message in [start, end) with the bounds of what follows its header; stops at the first
 * one whose length is wrong.
 */
export function eachMessage(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (type: number, flags: number, bodyStart: number, bodyEnd: number) => void,
): void {
  for (let at = start; at + HEADER_BYTES <= end;) {
    const length = u32le(bytes, at);
    if (length < HEADER_BYTES || at + length > end) return;
    visit(u16le(bytes, at + 4), u16le(bytes, at + 6), at + HEADER_BYTES, at + length);
    at += (length + 3) & ~3;
  }
}

/** Where the first attribute of `type` in [start, end) has its value, or -1; `attributeEnd` gives its end. */
export function findAttribute(bytes: Uint8Array, start: number, end: number, type: number): number {
  for (let at = start; at + 4 <= end;) {
    const length = u16le(bytes, at);
    if (length < 4 || at + length > end) return -1;
    if ((u16le(bytes, at + 2) & ATTRIBUTE_TYPE_MASK) === type) return at + 4;
    at += (length + 3) & ~3;
  }
  return -1;
}

/** End of the attribute whose value starts at `value`. */
export function attributeEnd(bytes: Uint8Array, value: number): number {
  return value - 4 + u16le(bytes, value - 4);
}

/** Calls `visit` for each attribute in [start, end) with the bounds of its value; stops at the first malformed one. */
export function eachAttribute(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (type: number, valueStart: number, valueEnd: number) => void,
): void {
  for (let at = start; at + 4 <= end;) {
    const length = u16le(bytes, at);
    if (length < 4 || at + length > end) return;
    visit(u16le(bytes, at + 2) & ATTRIBUTE_TYPE_MASK, at + 4, at + length);
    at += (length + 3) & ~3;
  }
}

export function u16le(bytes: Uint8Array, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8);
}

export function u32le(bytes: Uint8Array, at: number): number {
  return (u16le(bytes, at) | (u16le(bytes, at + 2) << 16)) >>> 0;
}

export function u16be(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function u32be(bytes: Uint8Array, at: number): number {
  return ((u16be(bytes, at) << 16) | u16be(bytes, at + 2)) >>> 0;
}

/** Exact below 2^53: enough for eight petabytes. */
export function u64be(bytes: Uint8Array, at: number): number {
  return u32be(bytes, at) * 0x100000000 + u32be(bytes, at + 4);
}

/** Text up to the first NUL. */
export function textAt(bytes: Uint8Array, start: number, end: number): string {
  let stop = start;
  while (stop < end && bytes[stop] !== 0) stop++;
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, stop - start).toString("latin1");
}

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 255;
  bytes[at + 1] = (value >>> 8) & 255;
}
