/**
 * Segmentation and reassembly (TR-369 "Segmented Message Exchange"): a payload that is more than a Record may hold is cut
 * into several, and put together again from Records that come in order.
 */
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import type { Budget } from "./budget.ts";

/** What a Record of a session carries, besides its numbers. */
export type Cargo = Pick<SessionContextRecord, "payloadSarState" | "payloadrecSarState" | "payload">;

type State = Cargo["payloadSarState"];
const NONE: State = 0;
const BEGIN: State = 1;
const INPROCESS: State = 2;
const COMPLETE: State = 3;

/** A Record that says nothing but its numbers: it opens a session, or acknowledges. */
export const EMPTY_CARGO: Cargo = { payloadSarState: NONE, payloadrecSarState: NONE, payload: [] };

/** Tag and length of one payload field: a segment is below 2^28 bytes. */
const FIELD_BYTES = 5;
/** Less room than this for payload makes no sense: the limit is below what a Record's own fields need. */
export const MIN_ROOM = 64;

/**
 * @param units One Message in plain text, or the TLS records that it became.
 * @param room Bytes that a Record has for payload fields, at least MIN_ROOM.
 */
export function segment(units: readonly Uint8Array[], room: number): Cargo[] {
  const whole = units.reduce((bytes, { length }) => bytes + length + FIELD_BYTES, 0);
  if (whole <= room) return [{ payloadSarState: NONE, payloadrecSarState: NONE, payload: [...units] }];
  const parts = units.flatMap((unit) => cut(unit, room - FIELD_BYTES));
  return parts.map(({ bytes, state }, index) => ({
    payloadSarState: place(index, parts.length),
    payloadrecSarState: state,
    payload: [bytes],
  }));
}

export interface Assembled {
  /** All of a payload, once its last part came. */
  readonly whole?: Uint8Array;
  /** Why the parts make no whole. */
  readonly fault?: string;
}

export class Reassembler {
  readonly #limit: number;
  readonly #budget: Budget;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #isOpen = false;
  #isInUnit = false;

  /** @param limit Bytes of one payload. */
  constructor(limit: number, budget: Budget) {
    this.#limit = limit;
    this.#budget = budget;
  }

  /** Whether a payload was begun and not ended. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  get bytes(): number {
    return this.#bytes;
  }

  add({ payloadSarState, payloadrecSarState, payload }: Cargo): Assembled {
    const fault = this.#fault(payloadSarState, payloadrecSarState);
    if (fault !== undefined) return this.#fail(fault);
    const added = payload.reduce((bytes, { length }) => bytes + length, 0);
    if (this.#bytes + added > this.#limit) return this.#fail(`a payload is more than ${this.#limit} bytes`);
    if (payloadSarState === NONE) return { whole: join(payload, added) };
    if (!this.#budget.take(added)) return this.#fail("too many unfinished payloads of all peers together");
    this.#isOpen = payloadSarState !== COMPLETE;
    this.#isInUnit = payloadrecSarState === BEGIN || payloadrecSarState === INPROCESS;
    this.#parts.push(...payload);
    this.#bytes += added;
    if (this.#isOpen) return {};
    const whole = join(this.#parts, this.#bytes);
    this.clear();
    return { whole };
  }

  clear(): void {
    this.#budget.give(this.#bytes);
    this.#parts = [];
    this.#bytes = 0;
    this.#isOpen = this.#isInUnit = false;
  }

  #fault(state: State, unit: State): string | undefined {
    const isFirst = state === NONE || state === BEGIN;
    if (isFirst && this.#isOpen) return "a payload begins within another";
    if (!isFirst && !this.#isOpen) return "a payload goes on that did not begin";
    if (state === NONE && unit !== NONE) return "a part of a payload that has no parts";
    const isUnitFirst = unit === NONE || unit === BEGIN;
    if (isUnitFirst && this.#isInUnit) return "a part begins within another";
    if (!isUnitFirst && !this.#isInUnit) return "a part goes on that did not begin";
    if (state === COMPLETE && (unit === BEGIN || unit === INPROCESS)) return "a payload ends within a part";
    return undefined;
  }

  #fail(fault: string): Assembled {
    this.clear();
    return { fault };
  }
}

function cut(unit: Uint8Array, room: number): { bytes: Uint8Array; state: State }[] {
  const count = Math.ceil(unit.length / room);
  return Array.from({ length: count }, (_, index) => ({
    bytes: unit.subarray(index * room, (index + 1) * room),
    state: place(index, count),
  }));
}

function place(index: number, count: number): State {
  if (count === 1) return NONE;
  return index === 0 ? BEGIN : index === count - 1 ? COMPLETE : INPROCESS;
}

function join(parts: readonly Uint8Array[], bytes: number): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, bytes);
}
