/** Capture files byte by byte, in every shape that the reader takes, for tests. Written apart from the product's writer. */

export interface Seen {
  readonly timeMs: number;
  readonly bytes: Uint8Array;
  readonly wire?: number;
  readonly interfaceId?: number;
}

class Bytes {
  readonly #bigEndian: boolean;
  readonly parts: Buffer[] = [];
  constructor(bigEndian: boolean) {
    this.#bigEndian = bigEndian;
  }
  u16(...values: number[]): this {
    for (const value of values) {
      const part = Buffer.alloc(2);
      if (this.#bigEndian) part.writeUInt16BE(value);
      else part.writeUInt16LE(value);
      this.parts.push(part);
    }
    return this;
  }
  u32(...values: number[]): this {
    for (const value of values) {
      const part = Buffer.alloc(4);
      if (this.#bigEndian) part.writeUInt32BE(value >>> 0);
      else part.writeUInt32LE(value >>> 0);
      this.parts.push(part);
    }
    return this;
  }
  bytes(value: Uint8Array): this {
    this.parts.push(Buffer.from(value));
    return this;
  }
  padded(value: Uint8Array): this {
    return this.bytes(value).bytes(Buffer.alloc((4 - (value.length % 4)) % 4));
  }
  done(): Buffer {
    return Buffer.concat(this.parts);
  }
}

export interface PcapShape {
  readonly bigEndian?: boolean;
  readonly nanoseconds?: boolean;
  readonly linkType?: number;
}

export function pcapFile(packets: readonly Seen[], shape: PcapShape = {}): Buffer {
  const { bigEndian = false, nanoseconds = false, linkType = 1 } = shape;
  const out = new Bytes(bigEndian)
    .u32(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4)
    .u16(2, 4)
    .u32(0, 0, 262_144, linkType);
  for (const { timeMs, bytes, wire = bytes.length } of packets) {
    const seconds = Math.floor(timeMs / 1000);
    const fraction = Math.round((timeMs - seconds * 1000) * (nanoseconds ? 1e6 : 1e3));
    out.u32(seconds, fraction, bytes.length, wire).bytes(bytes);
  }
  return out.done();
}

export interface PcapNgInterface {
  readonly linkType: number;
  /** Negative: powers of two. Absent: microseconds, unsaid. */
  readonly resolution?: number;
  readonly offsetSeconds?: number;
  readonly snapLength?: number;
}

export interface PcapNgShape {
  readonly bigEndian?: boolean;
  readonly interfaces?: readonly PcapNgInterface[];
  readonly blocks?: "enhanced" | "simple" | "obsolete";
  /** Blocks of no interest are strewn in. */
  readonly strew?: boolean;
}

/** One section. Several can be put one after the other. */
export function pcapNgSection(packets: readonly Seen[], shape: PcapNgShape = {}): Buffer {
  const { bigEndian = false, interfaces = [{ linkType: 1 }], blocks = "enhanced", strew = false } = shape;
  const out: Buffer[] = [];
  const block = (type: number, body: Buffer) => {
    const length = 12 + body.length;
    out.push(new Bytes(bigEndian).u32(type, length).bytes(body).u32(length).done());
  };
  block(0x0a0d0d0a, new Bytes(bigEndian).u32(0x1a2b3c4d).u16(1, 0).u32(0xffffffff, 0xffffffff).done());
  for (const { linkType, resolution, offsetSeconds, snapLength = 0 } of interfaces) {
    const body = new Bytes(bigEndian).u16(linkType, 0).u32(snapLength);
    if (resolution !== undefined) body.u16(9, 1).padded(Buffer.of(resolution < 0 ? 0x80 | -resolution : resolution));
    if (offsetSeconds !== undefined) {
      const words: [number, number] = [Math.floor(offsetSeconds / 2 ** 32), offsetSeconds >>> 0];
      body.u16(14, 8).u32(...(bigEndian ? words : ([words[1], words[0]] as const)));
    }
    block(1, body.u16(0, 0).done());
  }
  for (const { timeMs, bytes, wire = bytes.length, interfaceId = 0 } of packets) {
    if (strew) block(5, Buffer.alloc(64));
    if (strew) block(0x0bad, Buffer.alloc(40_000));
    const { resolution = 6, offsetSeconds = 0 } = interfaces[interfaceId] as PcapNgInterface;
    const perSecond = resolution < 0 ? 2n ** BigInt(-resolution) : 10n ** BigInt(resolution);
    const units = (BigInt(Math.round((timeMs - offsetSeconds * 1000) * 1000)) * perSecond) / 1_000_000n;
    const [high, low] = [Number(units >> 32n), Number(units & 0xffffffffn)];
    if (blocks === "enhanced")
      block(6, new Bytes(bigEndian).u32(interfaceId, high, low, bytes.length, wire).padded(bytes).done());
    else if (blocks === "simple") block(3, new Bytes(bigEndian).u32(wire).padded(bytes).done());
    else
      block(2, new Bytes(bigEndian).u16(interfaceId, 0xffff).u32(high, low, bytes.length, wire).padded(bytes).done());
  }
  return Buffer.concat(out);
}

/** Linux cooked header, version 1. `type`: 0 to this host, 4 sent by it. */
export function cooked(packet: Uint8Array, type: number, mac: Uint8Array): Buffer {
  const isIPv4 = (packet[0] as number) >>> 4 === 4;
  return new Bytes(true)
    .u16(type, 1, mac.length)
    .bytes(Buffer.concat([mac, Buffer.alloc(8 - mac.length)]))
    .u16(isIPv4 ? 0x0800 : 0x86dd)
    .bytes(packet)
    .done();
}

/** Linux cooked header, version 2. */
export function cooked2(packet: Uint8Array, type: number, mac: Uint8Array, interfaceIndex: number): Buffer {
  const isIPv4 = (packet[0] as number) >>> 4 === 4;
  return new Bytes(true)
    .u16(isIPv4 ? 0x0800 : 0x86dd, 0)
    .u32(interfaceIndex)
    .u16(1)
    .bytes(Buffer.of(type, mac.length))
    .bytes(Buffer.concat([mac, Buffer.alloc(8 - mac.length)]))
    .bytes(packet)
    .done();
}
