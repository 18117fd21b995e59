/**
 * Reads pcap and pcapng from consecutive windows of bytes: both byte orders, microseconds, nanoseconds and any
 * `if_tsresol`, several sections and interfaces. It holds the current packet in fields and allocates nothing per packet;
 * whoever feeds it keeps the bytes that a window left over (`position` to its end) and puts them before the next.
 */
import { CaptureError, MAX_BLOCK, MAX_PACKET, isDecoded } from "./pcap-format.ts";

const Format = { Unknown: 0, Pcap: 1, PcapNg: 2 } as const;

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const OBSOLETE_PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;
const OPTION_TSRESOL = 9;
const OPTION_TSOFFSET = 14;
/** More interfaces in a section than this are a corrupt file, not a network. */
const MAX_INTERFACES = 4096;

export class CaptureReader {
  /** The window; the current packet's bytes lie in it until the next `feed`. */
  buffer: Uint8Array = new Uint8Array(0);
  position = 0;
  /** Current packet: offset in `buffer`, bytes captured, bytes on the wire. */
  offset = 0;
  captured = 0;
  wire = 0;
  linkType = 0;
  interfaceId = 0;
  /** Milliseconds since 1970 of the current packet, in an array so that no number is boxed. */
  readonly time = new Float64Array(1);
  /** Set when the file stopped making sense; `next` then gives nothing more. */
  error: CaptureError | undefined;
  /** Packets of link types that are not decoded, left out; and the last such type. */
  undecoded = 0;
  undecodedLinkType = -1;

  #end = 0;
  /** Offset in the capture of `buffer[0]`. */
  #base = 0;
  #format: number = Format.Unknown;
  #bigEndian = false;
  #recordHeader = 16;
  #fractionMs = 1e-3;
  #fileLinkType = 0;
  /** Bytes of a block of no interest that are still to come. */
  #skip = 0;
  #interfaces: { linkType: number; snapLength: number; unitMs: number; offsetMs: number }[] = [];

  /** Takes a window. Its first bytes are those that the last one left over. */
  feed(buffer: Uint8Array, start: number, end: number): void {
    this.#base += this.position - start;
    this.buffer = buffer;
    this.position = start;
    this.#end = end;
  }

  /** Moves to the next packet; `false` when the window holds no whole one. */
  next(): boolean {
    if (this.error !== undefined) return false;
    if (this.#skip > 0 && !this.#skipRest()) return false;
    if (this.#format === Format.Unknown && !this.#begin()) return false;
    return this.#format === Format.Pcap ? this.#nextRecord() : this.#nextBlock();
  }

  /** Tells that no more bytes come: what is left over is a truncated record. */
  finish(): void {
    if (this.error !== undefined) return;
    const left = this.#end - this.position;
    if (this.#skip > 0) this.#fail(`the file ends ${this.#skip} bytes before the end of a block`);
    else if (this.#format === Format.Unknown) {
      this.#fail(this.#base + this.#end === 0 ? "the file is empty" : `too short for a capture: ${left} bytes`);
    } else if (left > 0) this.#fail(`truncated: the file ends ${left} bytes into a ${this.#partial(left)}`);
    else if (this.undecoded > 0 && this.offset === 0)
      this.#fail(`link type ${this.undecodedLinkType} is not decoded; ${this.undecoded} packets left out`);
  }

  #nextRecord(): boolean {
    for (;;) {
      const at = this.position;
      if (this.#end - at < this.#recordHeader) return false;
      const captured = this.#word(at + 8);
      const wire = this.#word(at + 12);
      if (captured > MAX_PACKET) {
        this.#fail(`a record claims ${captured} captured bytes; more than ${MAX_PACKET} are not believed`);
        return false;
      }
      const data = at + this.#recordHeader;
      if (this.#end - data < captured) return false;
      this.position = data + captured;
      if (!isDecodedFast(this.#fileLinkType)) {
        this.#leaveOut(this.#fileLinkType);
        continue;
      }
      this.time[0] = this.#word(at) * 1000 + this.#word(at + 4) * this.#fractionMs;
      this.offset = data;
      this.captured = captured;
      this.wire = wire < captured || wire > 0x7fffffff ? captured : wire;
      this.linkType = this.#fileLinkType;
      return true;
    }
  }

  #nextBlock(): boolean {
    for (;;) {
      const at = this.position;
      if (this.#end - at < 12) return false;
      const type = this.#word(at);
      if (type === SECTION_HEADER && !this.#sectionOrder(at)) return false;
      const length = this.#word(at + 4);
      if (length < 12 || length % 4 !== 0) {
        this.#fail(`a block claims a length of ${length} bytes`);
        return false;
      }
      if (!isOfInterest(type)) {
        this.#skip = length;
        if (!this.#skipRest()) return false;
        continue;
      }
      if (length > MAX_BLOCK) {
        this.#fail(`a block of type ${type} claims ${length} bytes; more than ${MAX_BLOCK} are not believed`);
        return false;
      }
      if (this.#end - at < length) return false;
      if (this.#word(at + length - 4) !== length) {
        this.#fail(`a block of ${length} bytes ends with the length ${this.#word(at + length - 4)}`);
        return false;
      }
      const isPacket = this.#block(type, at, length);
      if (this.error !== undefined) return false;
      this.position = at + length;
      if (isPacket) return true;
    }
  }

  /** Handles a whole block; `true` if it was a packet to decode. */
  #block(type: number, at: number, length: number): boolean {
    if (type === SECTION_HEADER) {
      this.#interfaces = [];
      return false;
    }
    if (type === INTERFACE_DESCRIPTION) {
      this.#addInterface(at, length);
      return false;
    }
    if (type === ENHANCED_PACKET) {
      if (length < 32) return this.#fail(`an enhanced packet block of ${length} bytes`);
      return this.#packet(this.#word(at + 8), at + 12, at + 28, length - 32, this.#word(at + 20), this.#word(at + 24));
    }
    if (type === OBSOLETE_PACKET) {
      if (length < 32) return this.#fail(`a packet block of ${length} bytes`);
      return this.#packet(this.#half(at + 8), at + 12, at + 28, length - 32, this.#word(at + 20), this.#word(at + 24));
    }
    if (length < 16) return this.#fail(`a simple packet block of ${length} bytes`);
    const wire = this.#word(at + 8);
    const snapLength = this.#interfaces[0]?.snapLength || MAX_PACKET;
    return this.#packet(0, -1, at + 12, length - 16, Math.min(wire, snapLength, length - 16), wire);
  }

  #packet(interfaceId: number, timeAt: number, data: number, room: number, captured: number, wire: number): boolean {
    const source = this.#interfaces[interfaceId];
    if (source === undefined) return this.#fail(`a packet of interface ${interfaceId}, which is not described`);
    if (captured > room)
      return this.#fail(`a packet claims ${captured} captured bytes in a block with room for ${room}`);
    if (!isDecodedFast(source.linkType)) return this.#leaveOut(source.linkType);
    // A simple packet block has no time: the last known one stands.
    if (timeAt >= 0)
      this.time[0] = (this.#word(timeAt) * 0x100000000 + this.#word(timeAt + 4)) * source.unitMs + source.offsetMs;
    this.offset = data;
    this.captured = captured;
    this.wire = wire < captured || wire > 0x7fffffff ? captured : wire;
    this.linkType = source.linkType;
    this.interfaceId = interfaceId;
    return true;
  }

  #addInterface(at: number, length: number): void {
    if (length < 20) return void this.#fail(`an interface description of ${length} bytes`);
    if (this.#interfaces.length >= MAX_INTERFACES) return void this.#fail(`more than ${MAX_INTERFACES} interfaces`);
    let unitMs = 1e-3;
    let offsetMs = 0;
    const end = at + length - 4;
    for (let option = at + 16; option + 4 <= end;) {
      const code = this.#half(option);
      const size = this.#half(option + 2);
      if (code === 0 || option + 4 + size > end) break;
      if (code === OPTION_TSRESOL && size >= 1) {
        const resolution = this.buffer[option + 4] as number;
        unitMs = 1000 * (resolution & 0x80 ? 2 ** -(resolution & 0x7f) : 10 ** -resolution);
      } else if (code === OPTION_TSOFFSET && size >= 8) {
        const high = this.#word(option + (this.#bigEndian ? 4 : 8)) | 0;
        offsetMs = 1000 * (high * 0x100000000 + this.#word(option + (this.#bigEndian ? 8 : 4)));
      }
      option += 4 + ((size + 3) & ~3);
    }
    this.#interfaces.push({ linkType: this.#half(at + 8), snapLength: this.#word(at + 12), unitMs, offsetMs });
  }

  /** Reads the first bytes of the file; `false` when there are too few or they are of no capture. */
  #begin(): boolean {
    const at = this.position;
    if (this.#end - at < 12) return false;
    const magic = bigEndianWord(this.buffer, at);
    if (magic === SECTION_HEADER) {
      this.#format = Format.PcapNg;
      return true;
    }
    const variant = PCAP_MAGIC.get(magic);
    if (variant === undefined) {
      const bytes = [...this.buffer.subarray(at, at + 4)].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
      return this.#fail(`not a capture: it begins with ${bytes}`);
    }
    if (this.#end - at < 24) return false;
    this.#bigEndian = variant.bigEndian;
    this.#fractionMs = variant.nanoseconds ? 1e-6 : 1e-3;
    this.#recordHeader = variant.recordHeader;
    // The upper bits tell the length of a frame check sequence.
    this.#fileLinkType = this.#word(at + 20) & 0xffff;
    this.position = at + 24;
    this.#format = Format.Pcap;
    return true;
  }

  #sectionOrder(at: number): boolean {
    const magic = bigEndianWord(this.buffer, at + 8);
    if (magic !== 0x1a2b3c4d && magic !== 0x4d3c2b1a) return this.#fail("a section header without byte-order magic");
    this.#bigEndian = magic === 0x1a2b3c4d;
    return true;
  }

  #skipRest(): boolean {
    const step = Math.min(this.#skip, this.#end - this.position);
    this.position += step;
    this.#skip -= step;
    return this.#skip === 0;
  }

  #leaveOut(linkType: number): false {
    this.undecoded++;
    this.undecodedLinkType = linkType;
    return false;
  }

  #fail(reason: string): false {
    this.error = new CaptureError(this.#base + this.position, reason);
    return false;
  }

  #partial(left: number): string {
    if (this.#format === Format.PcapNg)
      return left < 8 ? "block header" : `block of ${this.#word(this.position + 4)} bytes`;
    return left < this.#recordHeader
      ? "record header"
      : `record of ${this.#recordHeader + this.#word(this.position + 8)} bytes`;
  }

  #word(at: number): number {
    const b = this.buffer;
    return this.#bigEndian
      ? bigEndianWord(b, at)
      : ((b[at] as number) |
          ((b[at + 1] as number) << 8) |
          ((b[at + 2] as number) << 16) |
          ((b[at + 3] as number) << 24)) >>>
          0;
  }

  #half(at: number): number {
    const first = this.buffer[at] as number;
    const second = this.buffer[at + 1] as number;
    return this.#bigEndian ? (first << 8) | second : first | (second << 8);
  }
}

/** Magic numbers as the first four bytes read big-endian. The 24-byte records are those of Kuznetsov's old patch. */
const PCAP_MAGIC = new Map([
  [0xa1b2c3d4, { bigEndian: true, nanoseconds: false, recordHeader: 16 }],
  [0xd4c3b2a1, { bigEndian: false, nanoseconds: false, recordHeader: 16 }],
  [0xa1b23c4d, { bigEndian: true, nanoseconds: true, recordHeader: 16 }],
  [0x4d3cb2a1, { bigEndian: false, nanoseconds: true, recordHeader: 16 }],
  [0xa1b2cd34, { bigEndian: true, nanoseconds: false, recordHeader: 24 }],
  [0x34cdb2a1, { bigEndian: false, nanoseconds: false, recordHeader: 24 }],
]);

function isOfInterest(type: number): boolean {
  return (
    type === ENHANCED_PACKET ||
    type === SIMPLE_PACKET ||
    type === INTERFACE_DESCRIPTION ||
    type === SECTION_HEADER ||
    type === OBSOLETE_PACKET
  );
}

function isDecodedFast(linkType: number): boolean {
  return linkType === 1 || isDecoded(linkType);
}

function bigEndianWord(b: Uint8Array, at: number): number {
  return (
    (((b[at] as number) << 24) |
      ((b[at + 1] as number) << 16) |
      ((b[at + 2] as number) << 8) |
      (b[at + 3] as number)) >>>
    0
  );
}
