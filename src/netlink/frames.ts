/**
 * What passes between Node and the helper, both ways: frames of three little-endian words (length of the payload,
 * request number, kind) and the payload, padded to 4 bytes. src/netlink/helper/helper.h holds the same numbers.
 */
import { u32le } from "./messages.ts";

export const FRAME_HEADER_BYTES = 12;
/** The helper reads no longer frame and writes none; one transaction must fit. */
export const FRAME_LIMIT = 4 * 1024 * 1024;

/** From Node. Subscriptions stay until the helper ends; each other request is answered by one Result. */
export const RequestKind = {
  /** u32 coalescing in ms, u32 receive buffer in bytes. Data: conntrack NEW and DESTROY messages; Loss. */
  Conntrack: 1,
  /** u32 messages buffers (of 32 KiB) read in a row, u32 pause between in ms. Data, then Result. */
  DumpConntrack: 2,
  /** u32 group, u32 snap length, u32 kernel queue threshold, u32 coalescing in ms. Data: NFLOG packets; Loss. */
  PacketLog: 3,
  /** u32: 1 for neighbours, 0 for links, addresses and routes. Data: rtnetlink changes; Loss. */
  Route: 4,
  /** u32 rtnetlink message type (RTM_GETLINK …), u32 family. Data, then Result. */
  DumpRoute: 5,
  /** Nothing. Data: what others do to our nftables tables; Loss. */
  Ruleset: 6,
  /** A whole nfnetlink batch. */
  Transact: 7,
  /** One GETSETELEM message. Data, then Result. */
  DumpSet: 8,
  /** CT_DELETE messages. Result: the index says how many were deleted. */
  DeleteConntrack: 9,
  /** u32: 0 for the ruleset file, 1 for that of the family bridge. The helper knows both. */
  LoadRuleset: 10,
  /** Nothing. Result: conntrack's settings after those that we need were switched on, as lines `name value`. */
  Prepare: 11,
  /** u32 request number of a subscription: it ends. */
  Forget: 12,
  /**
   * Names of interfaces, 16 bytes each: DNS answers that leave by them wait for Release, or a moment. Data: u32 the
   * number of the newest packet that waits, after all that was logged until then; Loss: as many went on without Release.
   */
  Hold: 13,
  /** u32 the number of the newest packet that may go on. No Result. */
  Release: 14,
  /** See packet-frames.ts. Data: frames of an interface; Loss; a Result with an error when the interface has gone. */
  Frames: 15,
} as const;

/** From the helper. */
export const FrameKind = {
  /** u32 0x01020304, u32 protocol version, u32 effective capabilities (low word). */
  Hello: 1,
  /** Netlink messages, whole. */
  Data: 2,
  /** i32 errno (0: done), u32 index of the message at fault or a count, u32 flags, then text. */
  Result: 3,
  /**
   * u32 how often the kernel dropped messages since the last one; the socket has been drained since. Of Frames: how many
   * frames it dropped, and u32 how many were passed over.
   */
  Loss: 4,
} as const;

export const ResultFlag = { Interrupted: 1 } as const;
/** Goes up with any change of what the helper takes, gives or lets through. */
export const PROTOCOL_VERSION = 3;
export const NO_INDEX = 0xffffffff;

export type FrameHandler = (kind: number, request: number, bytes: Buffer, start: number, end: number) => void;

/** Cuts a byte stream into frames. The bytes that the handler sees are valid until it returns. */
export class FrameReader {
  #rest: Buffer = Buffer.alloc(0);

  /** Throws if the stream is not made of frames. */
  push(chunk: Buffer, handle: FrameHandler): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (at + FRAME_HEADER_BYTES <= bytes.length) {
      const length = u32le(bytes, at);
      if (length > FRAME_LIMIT) throw new Error(`a frame of ${length} bytes from the helper`);
      const start = at + FRAME_HEADER_BYTES;
      const next = start + ((length + 3) & ~3);
      if (next > bytes.length) break;
      handle(u32le(bytes, at + 8), u32le(bytes, at + 4), bytes, start, start + length);
      at = next;
    }
    this.#rest = at === bytes.length ? EMPTY : bytes.subarray(at);
  }
}

const EMPTY = Buffer.alloc(0);

export function encodeFrame(kind: number, request: number, payload: Uint8Array): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + ((payload.length + 3) & ~3));
  frame.writeUInt32LE(payload.length, 0);
  frame.writeUInt32LE(request, 4);
  frame.writeUInt32LE(kind, 8);
  frame.set(payload, FRAME_HEADER_BYTES);
  return frame;
}

/** A payload of 32-bit words. */
export function words(...values: readonly number[]): Uint8Array {
  const payload = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) payload.writeUInt32LE(value >>> 0, i * 4);
  return payload;
}
