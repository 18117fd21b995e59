/** Where a capture goes while it grows. What is under way is bounded by whoever writes: a sink never refuses a chunk. */

export interface Sink {
  /** The URL, or the path of the file. */
  readonly location: string;
  /** Bytes given to it that the other side has not taken yet. */
  readonly pending: number;
  /** Bytes that it has taken; only whether it grows matters. */
  readonly taken: number;
  /** The chunk is the sink's from then on. */
  write(chunk: Buffer): void;
  /** Ends the file. Resolves when it is where it was to go. @throws Error in words where it is not, or not in time */
  end(limitMs: number): Promise<void>;
  /** Takes what there is away. */
  discard(): void;
}

/** Called at most once, when the sink can take no more: why, in words. */
export type SinkFailed = (why: string) => void;
