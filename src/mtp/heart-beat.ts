/** Heart-beats of a connection, both ways: says something when we are silent, and notices when the peer is. */

export interface HeartBeatOptions {
  /** Milliseconds within which the peer wants to hear something; 0: it does not care. */
  readonly sendsEveryMs: number;
  /** Milliseconds within which the peer promised to say something; 0: it did not. */
  readonly hearsEveryMs: number;
  readonly beat: () => void;
  /** Nothing came for that long, in milliseconds. */
  readonly silent: (forMs: number) => void;
}

/** Looks so often in each interval: no gap is longer than two thirds of what was promised. */
const LOOKS = 3;
/** Intervals that may pass without a sign: the peer's clock, the line and its queues have their own ideas. */
const PATIENCE = 2;
/** Nobody needs to be told more often, whatever a peer asks for. */
const SHORTEST_MS = 50;

export class HeartBeat {
  readonly #timers: NodeJS.Timeout[] = [];
  #hasSent = false;
  #lastHeard = performance.now();
  #isDeaf = false;

  constructor({ sendsEveryMs, hearsEveryMs, beat, silent }: HeartBeatOptions) {
    if (sendsEveryMs > 0)
      this.#every(sendsEveryMs / LOOKS, () => {
        if (!this.#hasSent) beat();
        this.#hasSent = false;
      });
    if (hearsEveryMs > 0)
      this.#every(hearsEveryMs / LOOKS, () => {
        const silentMs = performance.now() - this.#lastHeard;
        if (!this.#isDeaf && silentMs > PATIENCE * Math.max(hearsEveryMs, SHORTEST_MS)) silent(Math.round(silentMs));
      });
  }

  sent(): void {
    this.#hasSent = true;
  }

  heard(): void {
    this.#lastHeard = performance.now();
  }

  /** While we don't read, silence means nothing. */
  set isDeaf(isDeaf: boolean) {
    this.#isDeaf = isDeaf;
    this.heard();
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  #every(ms: number, look: () => void): void {
    this.#timers.push(setInterval(look, Math.min(Math.max(ms, SHORTEST_MS / LOOKS), LONGEST_MS)).unref());
  }
}

/** Of a timer of Node's. */
const LONGEST_MS = 2 ** 31 - 1;
