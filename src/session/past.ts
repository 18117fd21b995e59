/** Sessions that were: what is left of them on the way, and how many a peer opens. */
import { createHash } from "node:crypto";
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";

/** What is left of them on the way is known, for a while. */
const RETIRED = 8;
const RETIRED_MS = 300_000;
/** Sessions that a peer opens in such a time; a handshake costs milliseconds of one core. */
const OPENINGS = 10;
const OPENINGS_MS = 10_000;

export interface PastSession {
  readonly id: bigint;
  /** Of the peer's first Record. */
  readonly digest: string;
  readonly isOurs: boolean;
  /** Number of the Record that would have come next. */
  readonly expected: bigint;
  readonly at: number;
}

export class PastSessions {
  #sessions: PastSession[] = [];
  #openings: number[] = [];

  add(session: PastSession): void {
    this.#sessions = [...this.#sessions, session].slice(-RETIRED);
  }

  clear(): void {
    this.#sessions = [];
  }

  /**
   * Of which session that was a Record is; `undefined` where it begins one: a peer may take a number again, and then its
   * first Record is another.
   */
  of({ sessionId, sequenceId, payload }: SessionContextRecord, now: number): PastSession | undefined {
    this.#sessions = this.#sessions.filter(({ at }) => now - at < RETIRED_MS);
    const past = this.#sessions.find(({ id }) => id === sessionId);
    if (past && sequenceId === 1n && !past.isOurs && digestOf(payload) !== past.digest) return undefined;
    return past;
  }

  /** Whether the peer may open another now, which then counts. */
  mayOpen(now: number): boolean {
    this.#openings = this.#openings.filter((at) => now - at < OPENINGS_MS);
    if (this.#openings.length >= OPENINGS) return false;
    this.#openings.push(now);
    return true;
  }

  /** Greater than 1, and none that was used lately (R-E2E.3). Below 2^53: some peers keep numbers as doubles. */
  newId(random: number): bigint {
    const id = 2n + BigInt(Math.floor(random * (2 ** 53 - 4)));
    return this.#sessions.some((past) => past.id === id) ? id + 1n : id;
  }
}

export function digestOf(payload: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const each of payload) hash.update(each);
  return hash.digest("base64");
}
