/**
 * DNS over TCP: messages with two bytes of length before each (RFC 1035 §4.2.2), split over segments as the sender likes.
 * Streams, and the bytes kept for them, are bounded; where bytes are missing, the stream is given up.
 */
const STREAM_LIMIT = 64;
const KEPT_LIMIT = 1 << 20;
const MESSAGE_LIMIT = 65_537;
/** Segments that came before their turn. */
const EARLY_LIMIT = 8;
const IDLE_MS = 30_000;

export interface Segment {
  /** One direction of one connection. */
  readonly stream: string;
  readonly sequence: number;
  readonly isFirst: boolean;
  readonly isLast: boolean;
  readonly data: Uint8Array;
  /** The capture holds less than the wire did: what follows `data` in this segment is missing. */
  readonly isCut: boolean;
  readonly time: number;
}

interface Stream {
  next: number;
  pending: Uint8Array;
  early: { sequence: number; data: Uint8Array }[];
  time: number;
}

export class DnsStreams {
  /** In the order of use, oldest first. */
  readonly #streams = new Map<string, Stream>();
  /** Streams given up, because bytes were missing or the bounds were reached. */
  dropped = 0;

  get size(): number {
    return this.#streams.size;
  }

  /** Hands on each message that the segment completes; the bytes are valid until `onMessage` returns. */
  push(segment: Segment, onMessage: (bytes: Uint8Array) => void): void {
    const { stream: key, isFirst, isLast, time } = segment;
    const sequence = isFirst ? (segment.sequence + 1) >>> 0 : segment.sequence;
    let stream = this.#streams.get(key);
    this.#streams.delete(key);
    // One that began before us is taken to begin with a message.
    if (!stream || isFirst || time - stream.time > IDLE_MS)
      stream = { next: sequence, pending: EMPTY, early: [], time };
    stream.time = time;
    const kept = this.#accept(stream, sequence, segment.data, onMessage) && !segment.isCut;
    if (!kept) this.dropped++;
    else if (!isLast || stream.early.length > 0) {
      this.#streams.set(key, stream);
      this.#makeRoom();
    }
  }

  /** False if the stream cannot be followed further. */
  #accept(stream: Stream, sequence: number, data: Uint8Array, onMessage: (bytes: Uint8Array) => void): boolean {
    const behind = (stream.next - sequence) | 0;
    if (behind < 0) {
      if (data.length === 0) return true;
      if (stream.early.length === EARLY_LIMIT || -behind > MESSAGE_LIMIT) return false;
      stream.early.push({ sequence, data: data.slice() });
      return true;
    }
    if (behind >= data.length) return true;
    this.#take(stream, data.subarray(behind), onMessage);
    for (let found = true; found && stream.early.length > 0;) {
      const at = stream.early.findIndex((early) => ((stream.next - early.sequence) | 0) >= 0);
      found = at >= 0;
      if (!found) break;
      const early = stream.early.splice(at, 1)[0] as { sequence: number; data: Uint8Array };
      const passed = (stream.next - early.sequence) | 0;
      if (passed < early.data.length) this.#take(stream, early.data.subarray(passed), onMessage);
    }
    return true;
  }

  #take(stream: Stream, data: Uint8Array, onMessage: (bytes: Uint8Array) => void): void {
    stream.next = (stream.next + data.length) >>> 0;
    let bytes = stream.pending.length === 0 ? data : Buffer.concat([stream.pending, data]);
    while (bytes.length >= 2) {
      const length = ((bytes[0] as number) << 8) | (bytes[1] as number);
      if (bytes.length < 2 + length) break;
      onMessage(bytes.subarray(2, 2 + length));
      bytes = bytes.subarray(2 + length);
    }
    stream.pending = bytes.length === 0 ? EMPTY : bytes.slice();
  }

  #makeRoom(): void {
    let kept = 0;
    for (const { pending, early } of this.#streams.values())
      kept += pending.length + early.reduce((sum, { data }) => sum + data.length, 0);
    for (const [key, { pending, early }] of this.#streams) {
      if (this.#streams.size <= STREAM_LIMIT && kept <= KEPT_LIMIT) break;
      this.#streams.delete(key);
      this.dropped++;
      kept -= pending.length + early.reduce((sum, { data }) => sum + data.length, 0);
    }
  }
}

const EMPTY = new Uint8Array(0);
