/**
 * Who holds an address of the home. One address has one owner:
 *
 *   a valid lease is moved by another lease only;
 *   without one, the owner keeps the address against other claims while it was confirmed within the hold time, so that
 *   neither a forged ARP answer nor one moment of sleep gives it away;
 *   a device that confirmed a newer IPv4 address and not this one since has moved, and holds it no longer.
 *
 * Addresses stand in an open-addressing table (the flow path asks it for every new flow), those of one device in a list.
 * Times are the monotonic clock's.
 */
import { isIPv4, printAddress } from "../lib/address.ts";
import { sameWords } from "./direction.ts";
import { WordIndex, hashWords } from "./word-index.ts";

export const Evidence = {
  /** The kernel remembers it, unconfirmed. */
  Stale: 0,
  /** The device itself showed that it has the address: an answer, or a frame from it. */
  Confirmed: 1,
  /** The home's DHCP server gave it. */
  Lease: 2,
} as const;
export type EvidenceCode = (typeof Evidence)[keyof typeof Evidence];

export const Claim = { Unchanged: 0, Gained: 1, Refused: 2 } as const;
export type ClaimCode = (typeof Claim)[keyof typeof Claim];

/** DHCP without visible leases hands an IPv4 address on after hours; an interface identifier is never handed on. */
const IPV4_HOLD_MS = 60 * 60_000;
const IPV6_HOLD_MS = 24 * 60 * 60_000;
/** Two IPv4 addresses confirmed this far apart: the device moved from one to the other. */
const MOVED_AFTER_MS = 2 * 60_000;
const UNCONFIRMED = -Infinity;

export interface OwnerEvents {
  /** `moved`: another device held it until now. */
  gained(slot: number, words: Uint32Array, offset: number, moved: boolean): void;
  lost(slot: number, words: Uint32Array, offset: number): void;
}

export class Owners {
  readonly #perDevice: number;
  readonly #events: OwnerEvents;
  readonly #index: WordIndex;
  readonly #words: Uint32Array;
  readonly #slot: Int32Array;
  readonly #confirmed: Float64Array;
  /** Until when the lease is valid; 0: none. */
  readonly #leasedUntil: Float64Array;
  readonly #next: Int32Array;
  readonly #head: Int32Array;
  readonly #count: Int32Array;
  #free: number;

  constructor(slots: number, perDevice: number, events: OwnerEvents) {
    const rows = slots * perDevice;
    this.#perDevice = perDevice;
    this.#events = events;
    this.#words = new Uint32Array(rows * 4);
    this.#slot = new Int32Array(rows).fill(-1);
    this.#confirmed = new Float64Array(rows);
    this.#leasedUntil = new Float64Array(rows);
    this.#next = Int32Array.from({ length: rows }, (_, row) => (row + 1 < rows ? row + 1 : -1));
    this.#head = new Int32Array(slots).fill(-1);
    this.#count = new Int32Array(slots);
    this.#free = rows > 0 ? 0 : -1;
    this.#index = new WordIndex(rows);
  }

  /** The slot of the device that holds the address; -1: nobody. */
  find(words: ArrayLike<number>, offset: number): number {
    const row = this.#find(words, offset);
    return row < 0 ? -1 : (this.#slot[row] as number);
  }

  /** A device shows that it has an address. `leasedUntil` counts for a lease. */
  claim(
    slot: number,
    words: ArrayLike<number>,
    offset: number,
    evidence: EvidenceCode,
    now: number,
    leasedUntil = 0,
  ): ClaimCode {
    let row = this.#find(words, offset);
    const moved = row >= 0 && this.#slot[row] !== slot;
    if (moved) {
      if (evidence === Evidence.Stale || (evidence !== Evidence.Lease && this.#holds(row, now))) return Claim.Refused;
      this.#drop(row);
      row = -1;
    }
    if (row >= 0) {
      if (evidence !== Evidence.Stale) this.#confirmed[row] = now;
      if (evidence === Evidence.Lease) this.#leasedUntil[row] = leasedUntil;
      return Claim.Unchanged;
    }
    // What the kernel merely remembers does not bring back an address that the device has moved from.
    if (evidence === Evidence.Stale && isIPv4(words, offset) && this.#hasConfirmedIPv4(slot)) return Claim.Unchanged;
    if ((this.#count[slot] as number) >= this.#perDevice) this.#drop(this.#leastOf(slot, now));
    row = this.#take(slot, words, offset);
    this.#confirmed[row] = evidence === Evidence.Stale ? UNCONFIRMED : now;
    this.#leasedUntil[row] = evidence === Evidence.Lease ? leasedUntil : 0;
    this.#events.gained(slot, this.#words, row * 4, moved);
    return Claim.Gained;
  }

  /** The lease was released or ran out. The device keeps the address until somebody else has it. */
  endLease(slot: number, words: ArrayLike<number>, offset: number): void {
    const row = this.#find(words, offset);
    if (row >= 0 && this.#slot[row] === slot) this.#leasedUntil[row] = 0;
  }

  /** Takes an address from whoever holds it: it is no device's. */
  release(words: ArrayLike<number>, offset: number): void {
    const row = this.#find(words, offset);
    if (row >= 0) this.#drop(row);
  }

  /** Lets go of addresses that their owners no longer hold. */
  sweep(now: number): void {
    for (let slot = 0; slot < this.#head.length; slot++)
      for (let row = this.#head[slot] as number; row >= 0;) {
        const next = this.#next[row] as number;
        if (!this.#holds(row, now) && this.#confirmed[row] !== UNCONFIRMED) this.#drop(row);
        row = next;
      }
  }

  /** Takes all addresses from a device. */
  removeAll(slot: number): void {
    while ((this.#head[slot] as number) >= 0) this.#drop(this.#head[slot] as number);
  }

  /** Canonical text of a device's addresses of one family, the most recently confirmed first. */
  list(slot: number, family: 4 | 6): string[] {
    const rows: number[] = [];
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number)
      if (isIPv4(this.#words, row * 4) === (family === 4)) rows.push(row);
    // Two that were never confirmed differ by NaN.
    rows.sort((a, b) => (this.#confirmed[b] as number) - (this.#confirmed[a] as number) || a - b);
    return rows.map((row) => printAddress(this.#words, row * 4));
  }

  leased(slot: number, now: number): boolean {
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number)
      if ((this.#leasedUntil[row] as number) > now) return true;
    return false;
  }

  /** Calls with (words, offset) for each address of the device. */
  each(slot: number, visit: (words: Uint32Array, offset: number, leasedUntil: number) => void): void {
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number)
      visit(this.#words, row * 4, this.#leasedUntil[row] as number);
  }

  #holds(row: number, now: number): boolean {
    if ((this.#leasedUntil[row] as number) > now) return true;
    const fourth = isIPv4(this.#words, row * 4);
    const confirmed = this.#confirmed[row] as number;
    if (now - confirmed >= (fourth ? IPV4_HOLD_MS : IPV6_HOLD_MS)) return false;
    return !(fourth && this.#movedOn(row));
  }

  #movedOn(row: number): boolean {
    const limit = (this.#confirmed[row] as number) + MOVED_AFTER_MS;
    for (let other = this.#head[this.#slot[row] as number] as number; other >= 0; other = this.#next[other] as number)
      if (other !== row && isIPv4(this.#words, other * 4) && (this.#confirmed[other] as number) > limit) return true;
    return false;
  }

  #hasConfirmedIPv4(slot: number): boolean {
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number)
      if (isIPv4(this.#words, row * 4) && this.#confirmed[row] !== UNCONFIRMED) return true;
    return false;
  }

  /** The device's least valuable address: unleased and longest unconfirmed. */
  #leastOf(slot: number, now: number): number {
    let least = -1;
    let leastValue = Infinity;
    for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number) {
      const leased = (this.#leasedUntil[row] as number) > now;
      const value = (this.#confirmed[row] as number) + (leased ? 1e15 : 0);
      if (value < leastValue) {
        leastValue = value;
        least = row;
      }
    }
    return least;
  }

  #find(words: ArrayLike<number>, offset: number): number {
    const index = this.#index;
    const hash = hashWords(words, offset, 0);
    for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) {
      const row = index.rowAt(at);
      if (sameWords(this.#words, row * 4, words, offset)) return row;
    }
    return -1;
  }

  /** There is always a free row: rows are slots × perDevice, and each device is held to perDevice. */
  #take(slot: number, words: ArrayLike<number>, offset: number): number {
    const row = this.#free;
    this.#free = this.#next[row] as number;
    for (let i = 0; i < 4; i++) this.#words[row * 4 + i] = words[offset + i] as number;
    this.#slot[row] = slot;
    this.#next[row] = this.#head[slot] as number;
    this.#head[slot] = row;
    this.#count[slot] = (this.#count[slot] as number) + 1;
    this.#index.insert(hashWords(words, offset, 0), row);
    return row;
  }

  #drop(row: number): void {
    const slot = this.#slot[row] as number;
    let before = -1;
    for (let at = this.#head[slot] as number; at !== row; at = this.#next[at] as number) before = at;
    if (before < 0) this.#head[slot] = this.#next[row] as number;
    else this.#next[before] = this.#next[row] as number;
    this.#count[slot] = (this.#count[slot] as number) - 1;
    this.#index.remove(hashWords(this.#words, row * 4, 0), row);
    this.#slot[row] = -1;
    this.#next[row] = this.#free;
    this.#free = row;
    this.#events.lost(slot, this.#words, row * 4);
  }
}
