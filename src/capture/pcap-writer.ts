/** Writes pcap files (pcap-savefile(5)), little-endian, with microseconds or nanoseconds. */
import { LinkType, MAX_PACKET } from "./pcap-format.ts";

export interface PcapWriterOptions {
  readonly linkType?: number;
  readonly nanoseconds?: boolean;
  readonly snapLength?: number;
}

const CHUNK = 1 << 20;

/** Gathers a capture in chunks of about 1 MiB, which `take` hands over. */
export class PcapWriter {
  readonly #snapLength: number;
  readonly #fractionPerMs: number;
  #chunk = Buffer.allocUnsafe(CHUNK);
  #length = 0;
  #full: Uint8Array[] = [];
  packets = 0;

  constructor(options: PcapWriterOptions = {}) {
    const { linkType = LinkType.Ethernet, nanoseconds = false, snapLength = MAX_PACKET } = options;
    this.#snapLength = snapLength;
    this.#fractionPerMs = nanoseconds ? 1e6 : 1e3;
    this.#chunk.writeUInt32LE(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4, 0);
    this.#chunk.writeUInt16LE(2, 4);
    this.#chunk.writeUInt16LE(4, 6);
    this.#chunk.fill(0, 8, 16);
    this.#chunk.writeUInt32LE(snapLength, 16);
    this.#chunk.writeUInt32LE(linkType, 20);
    this.#length = 24;
  }

  /** Adds a packet seen at `timeMs` (milliseconds since 1970); bytes past the snap length are cut off. */
  write(timeMs: number, packet: Uint8Array, wireLength: number = packet.length): void {
    const captured = Math.min(packet.length, this.#snapLength);
    if (this.#length + 16 + captured > this.#chunk.length) this.#next(16 + captured);
    const chunk = this.#chunk;
    const at = this.#length;
    const seconds = Math.floor(timeMs / 1000);
    chunk.writeUInt32LE(seconds, at);
    chunk.writeUInt32LE(Math.floor((timeMs - seconds * 1000) * this.#fractionPerMs), at + 4);
    chunk.writeUInt32LE(captured, at + 8);
    chunk.writeUInt32LE(wireLength, at + 12);
    chunk.set(captured === packet.length ? packet : packet.subarray(0, captured), at + 16);
    this.#length = at + 16 + captured;
    this.packets++;
  }

  /** What was written since the last call. */
  take(): Uint8Array[] {
    const chunks = this.#full;
    if (this.#length > 0) chunks.push(this.#chunk.subarray(0, this.#length));
    this.#full = [];
    this.#chunk = Buffer.allocUnsafe(CHUNK);
    this.#length = 0;
    return chunks;
  }

  #next(atLeast: number): void {
    this.#full.push(this.#chunk.subarray(0, this.#length));
    this.#chunk = Buffer.allocUnsafe(Math.max(CHUNK, atLeast));
    this.#length = 0;
  }
}
