/**
 * The two formats of capture files, record by record: classic pcap (pcap-savefile(5)) and pcapng
 * (draft-ietf-opsawg-pcapng), both little-endian, of Ethernet, with microseconds.
 */
import { LinkType } from "../pcap-format.ts";

export interface FileFormat {
  /** What a file begins with. */
  head(snapLength: number): Buffer;
  /** Bytes of a record with that many of a frame. */
  size(captured: number): number;
  /** Writes all of a record but the frame, and returns where the frame goes. */
  begin(into: Buffer, at: number, timeMs: number, captured: number, original: number): number;
}

const PCAP_RECORD = 16;

export const pcap: FileFormat = {
  head(snapLength) {
    const head = Buffer.alloc(24);
    head.writeUInt32LE(0xa1b2c3d4, 0);
    head.writeUInt16LE(2, 4);
    head.writeUInt16LE(4, 6);
    head.writeUInt32LE(snapLength, 16);
    head.writeUInt32LE(LinkType.Ethernet, 20);
    return head;
  },
  size: (captured) => PCAP_RECORD + captured,
  begin(into, at, timeMs, captured, original) {
    const seconds = Math.floor(timeMs / 1000);
    into.writeUInt32LE(seconds, at);
    into.writeUInt32LE(Math.floor((timeMs - seconds * 1000) * 1000), at + 4);
    into.writeUInt32LE(captured, at + 8);
    into.writeUInt32LE(original, at + 12);
    return at + PCAP_RECORD;
  },
};

const SECTION_BYTES = 28;
const INTERFACE_BYTES = 20;
/** Of an Enhanced Packet Block, before and after its data. */
const PACKET_HEAD = 28;
const PACKET_TAIL = 4;

export const pcapng: FileFormat = {
  head(snapLength) {
    const head = Buffer.alloc(SECTION_BYTES + INTERFACE_BYTES);
    head.writeUInt32LE(0x0a0d0d0a, 0);
    head.writeUInt32LE(SECTION_BYTES, 4);
    head.writeUInt32LE(0x1a2b3c4d, 8);
    head.writeUInt16LE(1, 12);
    // How long the section is nobody knows yet.
    head.fill(0xff, 16, 24);
    head.writeUInt32LE(SECTION_BYTES, 24);
    head.writeUInt32LE(1, 28);
    head.writeUInt32LE(INTERFACE_BYTES, 32);
    head.writeUInt16LE(LinkType.Ethernet, 36);
    head.writeUInt32LE(snapLength, 40);
    head.writeUInt32LE(INTERFACE_BYTES, 44);
    return head;
  },
  size: (captured) => PACKET_HEAD + padded(captured) + PACKET_TAIL,
  begin(into, at, timeMs, captured, original) {
    const size = PACKET_HEAD + padded(captured) + PACKET_TAIL;
    const micros = Math.floor(timeMs * 1000);
    const data = at + PACKET_HEAD;
    into.writeUInt32LE(6, at);
    into.writeUInt32LE(size, at + 4);
    into.writeUInt32LE(0, at + 8);
    into.writeUInt32LE(Math.floor(micros / 0x100000000), at + 12);
    into.writeUInt32LE(micros % 0x100000000, at + 16);
    into.writeUInt32LE(captured, at + 20);
    into.writeUInt32LE(original, at + 24);
    into.fill(0, data + captured, data + padded(captured));
    into.writeUInt32LE(size, at + size - PACKET_TAIL);
    return data;
  },
};

const padded = (bytes: number) => (bytes + 3) & ~3;
