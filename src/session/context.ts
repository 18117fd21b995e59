/**
 * One Session Context (TR-369 "USP Record Exchange"): numbers what leaves, puts in order what comes, keeps what was sent
 * until it is acknowledged. Knows no clock and no wire; when a new session is to begin is decided above it.
 */
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import type { Budget } from "./budget.ts";
import type { Cargo } from "./segmentation.ts";

/** R-E2E.8, R-E2E.9: from here on the numbers are about to run out. */
export const LAST_NUMBERS = 2n ** 64n - 1n - 10_000n;
/** Records that came before their turn. A reordering MTP shuffles a few; more than this is no reordering. */
const EARLY_RECORDS = 512;
/** Unanswered Records, or bytes, of the peer after which an acknowledgement leaves by itself: its buffer is finite too. */
const OWED_RECORDS = 16;
const OWED_BYTES = 256 * 1024;

export interface ContextLimits {
  /** Of Records that came before their turn. */
  readonly earlyBytes: number;
  /** Of Records that were sent and are not acknowledged; the oldest are forgotten first. */
  readonly sentBytes: number;
}

export interface Received {
  /** What is to be read now, in order. */
  readonly cargos: readonly Cargo[];
  /** What the peer wants once more. */
  readonly again?: SessionContextRecord;
  /** Why this session is over (R-E2E.21). */
  readonly fault?: string;
}

interface Sent {
  readonly record: SessionContextRecord;
  readonly bytes: number;
  repeats: number;
}

interface Early {
  readonly record: SessionContextRecord;
  readonly bytes: number;
}

export class SessionContext {
  readonly id: bigint;
  /** Records dropped because they had come before (R-E2E.25). */
  duplicates = 0;
  readonly #limits: ContextLimits;
  readonly #budget: Budget;
  readonly #sent = new Map<bigint, Sent>();
  readonly #early = new Map<bigint, Early>();
  #sentBytes = 0;
  #earlyBytes = 0;
  #next: bigint;
  #expected = 1n;
  #owedRecords = 0;
  #owedBytes = 0;

  /** @param first Number of the first Record; other than 1 for tests of the last ones alone (R-E2E.14). */
  constructor(id: bigint, limits: ContextLimits, budget: Budget, first = 1n) {
    this.id = id;
    this.#limits = limits;
    this.#budget = budget;
    this.#next = first;
  }

  /** The Record that carries it, numbered and kept (R-E2E.15, R-E2E.16). */
  number(cargo: Cargo, retransmitId = 0n): SessionContextRecord {
    const sequenceId = this.#next++;
    const record = { ...cargo, sessionId: this.id, sequenceId, expectedId: this.#expected, retransmitId };
    this.#owedRecords = this.#owedBytes = 0;
    const bytes = weigh(cargo);
    while (this.#sentBytes + bytes > this.#limits.sentBytes && this.#forgetOldest());
    let isKept = this.#budget.take(bytes);
    while (!isKept && this.#forgetOldest()) isKept = this.#budget.take(bytes);
    if (isKept) {
      this.#sent.set(sequenceId, { record, bytes, repeats: 0 });
      this.#sentBytes += bytes;
    }
    return record;
  }

  /** @param maxRepeats How often one Record may be asked for again. */
  take(record: SessionContextRecord, maxRepeats: number): Received {
    const { sequenceId } = record;
    if (sequenceId < this.#expected || this.#early.has(sequenceId)) {
      this.duplicates++;
      return { cargos: [] };
    }
    if (sequenceId >= LAST_NUMBERS) return { cargos: [], fault: "sequence numbers run out (R-E2E.8)" };
    // Also of one that is not in turn yet: where each side lacks a Record of the other, neither's request would ever be.
    const again = this.#repeat(record.retransmitId, maxRepeats);
    if (typeof again === "string") return { cargos: [], fault: again };
    const result = again ? { again } : {};
    if (sequenceId > this.#expected) {
      const bytes = weigh(record);
      const isTooMuch = this.#early.size >= EARLY_RECORDS || this.#earlyBytes + bytes > this.#limits.earlyBytes;
      if (isTooMuch || !this.#budget.take(bytes))
        return { cargos: [], fault: "too much came before what is missing", ...result };
      this.#early.set(sequenceId, { record, bytes });
      this.#earlyBytes += bytes;
      return { cargos: [], ...result };
    }
    return { cargos: this.#inTurn(record), ...result };
  }

  /** Whether something came before its turn. */
  get hasGap(): boolean {
    return this.#early.size > 0;
  }

  /** Number of the Record that comes next, and acknowledges all before it. */
  get expected(): bigint {
    return this.#expected;
  }

  get owesAcknowledgement(): boolean {
    return this.#owedRecords >= OWED_RECORDS || this.#owedBytes >= OWED_BYTES;
  }

  /** R-E2E.9: the next contact is in a new session. */
  get isExhausted(): boolean {
    return this.#next > LAST_NUMBERS;
  }

  /** Sent and not acknowledged, in order. */
  unacknowledged(): SessionContextRecord[] {
    return [...this.#sent.values()].map(({ record }) => record);
  }

  get keptBytes(): number {
    return this.#sentBytes + this.#earlyBytes;
  }

  /** Lets go of everything kept. */
  end(): void {
    this.#budget.give(this.keptBytes);
    this.#sent.clear();
    this.#early.clear();
    this.#sentBytes = this.#earlyBytes = 0;
  }

  /** R-E2E.20: this one, and those after it that came early. */
  #inTurn(first: SessionContextRecord): Cargo[] {
    const cargos: Cargo[] = [];
    for (let record: SessionContextRecord | undefined = first; record;) {
      const { expectedId, retransmitId } = record;
      // Who asks for a Record again may ask once more, whatever else it says that it had.
      this.#acknowledge(retransmitId !== 0n && retransmitId < expectedId ? retransmitId : expectedId);
      if (record.payload.some(({ length }) => length > 0)) {
        cargos.push(record);
        this.#owedRecords++;
        this.#owedBytes += weigh(record);
      }
      this.#expected++;
      const early = this.#early.get(this.#expected);
      record = early?.record;
      if (!early) break;
      this.#early.delete(this.#expected);
      this.#earlyBytes -= early.bytes;
      this.#budget.give(early.bytes);
    }
    return cargos;
  }

  /** What the peer can't have had, because it was never sent, it can't acknowledge: that is no fault of the session. */
  #acknowledge(expectedId: bigint): void {
    for (const [sequenceId, sent] of this.#sent) {
      if (sequenceId >= expectedId) return;
      this.#forget(sequenceId, sent);
    }
  }

  /** With what is expected now; its number and payload are as they were. */
  #repeat(retransmitId: bigint, maxRepeats: number): SessionContextRecord | string | undefined {
    if (retransmitId === 0n) return undefined;
    const sent = this.#sent.get(retransmitId);
    if (!sent) return `the peer asks for Record ${retransmitId}, which is not kept`;
    if (sent.repeats >= maxRepeats) return `Record ${retransmitId} was sent again ${sent.repeats} times`;
    sent.repeats++;
    return { ...sent.record, expectedId: this.#expected };
  }

  #forgetOldest(): boolean {
    for (const [sequenceId, sent] of this.#sent) {
      this.#forget(sequenceId, sent);
      return true;
    }
    return false;
  }

  #forget(sequenceId: bigint, { bytes }: Sent): void {
    this.#sent.delete(sequenceId);
    this.#sentBytes -= bytes;
    this.#budget.give(bytes);
  }
}

/** What a Record costs to keep: its payload, and about as much as its fields take in memory. */
function weigh({ payload }: Cargo): number {
  let bytes = 256;
  for (const each of payload) bytes += each.length + 64;
  return bytes;
}
