/**
 * What goes through a Unix domain socket (TR-369 "UNIX Domain Socket Binding"): frames of a sync word, the length of the
 * rest and TLVs, big-endian. Bytes ⇄ TLVs, with nothing known of sockets.
 */

/** Of what a TLV holds; others are to be ignored (R-UDS.15). */
export const TlvType = { handshake: 1, error: 2, record: 3 } as const;

export interface Tlv {
  readonly type: number;
  readonly value: Uint8Array;
}

/** The bytes are no frame, or one beyond the bounds: the connection can't go on. */
export class FrameError extends Error {
  override readonly name = "FrameError";
}

/** `_USP` */
const SYNC = 0x5f555350;
const HEADER_BYTES = 8;
const TLV_HEADER_BYTES = 5;
/** In one frame. A peer needs one or two; each costs five bytes on the wire and ten times that here. */
const MAX_TLVS = 256;

/** One frame that holds one TLV. */
export function encodeFrame(type: number, value: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + TLV_HEADER_BYTES + value.length);
  frame.writeUInt32BE(SYNC, 0);
  frame.writeUInt32BE(TLV_HEADER_BYTES + value.length, 4);
  frame[8] = type;
  frame.writeUInt32BE(value.length, 9);
  frame.set(value, 13);
  return frame;
}

/** Frames from a stream that was cut anywhere. Holds at most twice what has come of one frame, and the last chunk. */
export class FrameReader {
  readonly #maxBytes: number;
  /** What is unread stands from `#from` to `#to`; before that are frames that were given out, which stay as they are. */
  #buffer: Buffer = Buffer.alloc(0);
  #from = 0;
  #to = 0;
  #isOurs = false;

  /** @param maxBytes Of a frame, without its first eight bytes. */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The chunk is the reader's from now on. */
  push(chunk: Uint8Array): void {
    const unread = this.#to - this.#from;
    if (unread === 0) {
      this.#buffer = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      [this.#from, this.#to, this.#isOurs] = [0, chunk.length, false];
      return;
    }
    if (!this.#isOurs || this.#to + chunk.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(unread + chunk.length, 2 * unread));
      this.#buffer.copy(larger, 0, this.#from, this.#to);
      [this.#buffer, this.#from, this.#to, this.#isOurs] = [larger, 0, unread, true];
    }
    this.#buffer.set(chunk, this.#to);
    this.#to += chunk.length;
  }

  /**
   * The next whole frame's TLVs, or `undefined` until more is pushed. The values are views of what was pushed.
   * @throws FrameError; then nothing that follows can be read either
   */
  next(): Tlv[] | undefined {
    const unread = this.#buffer.subarray(this.#from, this.#to);
    // A wrong sync word is known by its first wrong byte, however slowly the rest comes.
    for (let at = 0; at < Math.min(4, unread.length); at++)
      if (unread[at] !== ((SYNC >>> (24 - 8 * at)) & 0xff))
        throw new FrameError(`a frame begins with 5f555350, not ${unread.subarray(0, 4).toString("hex")}`);
    if (unread.length < HEADER_BYTES) return undefined;
    const length = unread.readUInt32BE(4);
    if (length > this.#maxBytes)
      throw new FrameError(`a frame of ${length} bytes is more than is taken (${this.#maxBytes})`);
    if (unread.length < HEADER_BYTES + length) return undefined;
    this.#from += HEADER_BYTES + length;
    return parseTlvs(unread.subarray(HEADER_BYTES, HEADER_BYTES + length));
  }
}

function parseTlvs(body: Buffer): Tlv[] {
  const tlvs: Tlv[] = [];
  for (let at = 0; at < body.length;) {
    if (tlvs.length === MAX_TLVS) throw new FrameError(`a frame of more than ${MAX_TLVS} TLVs`);
    if (body.length - at < TLV_HEADER_BYTES) throw new FrameError("a TLV's head goes beyond its frame");
    const length = body.readUInt32BE(at + 1);
    const from = at + TLV_HEADER_BYTES;
    if (length > body.length - from) throw new FrameError(`a TLV of ${length} bytes goes beyond its frame`);
    tlvs.push({ type: body[at] as number, value: body.subarray(from, from + length) });
    at = from + length;
  }
  return tlvs;
}
