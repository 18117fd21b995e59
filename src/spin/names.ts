/**
 * Which names each device asked for, and which addresses it was told: taught by DNS answers, kept per device and address,
 * because the same address has other names for other devices. An entry labels flows for as long as there is room; it
 * counts for rules only until the answer's TTL (with a floor, and a grace for clients that are slow to let go) is over.
 *
 * What a device says itself, in TLS and QUIC, adds names to those that it was told. It may say what it likes: so such
 * names have a share of the room, never push out an answer's, and where both name an address the answer's is the name,
 * unless it had run out when the other was heard.
 *
 * Entries stand in columns; those of one device in a list from the least to the most recently answered, so that the
 * least recent goes when the device is at its quota, and no device pushes out another's.
 */
import { grown, hashWords, WordIndex } from "./word-index.ts";
import { sameWords } from "./direction.ts";

/** Resolvers answer with a TTL of 0 and clients connect all the same. */
const TTL_FLOOR_MS = 60_000;
/** Stub resolvers and browsers use an answer a little longer than its TTL. */
const TTL_GRACE_MS = 30_000;
/** RFC 2181 §8 allows 68 years; nobody means more than a week. */
const TTL_CEILING_MS = 7 * 24 * 60 * 60_000;
/** Of all devices together: past it, the device that has most lets go of its oldest. */
const MAX_ENTRIES = 16_384;
/** One in so many entries of a device may be heard from itself. */
const HEARD_SHARE = 4;
const MAX_NAME = 253;
const MAX_CHAIN = 16;

/** How a name came to be known: from an answer, or from the device's own words. */
export const NameSource = {
  None: 0,
  Dns: 1,
  Tls: 2,
  Quic: 3,
  /** Of TLS or QUIC with Encrypted Client Hello: it may be a front's. */
  Ech: 4,
} as const;

export const NAME_SOURCES = ["", "DNS", "TLS", "QUIC", "ECH"] as const;
export type NameSourceText = (typeof NAME_SOURCES)[number];

/** An entry as a visitor sees it. `names` is the name asked for, then its CNAME chain. */
export type NameVisitor = (
  slot: number,
  words: Uint32Array,
  offset: number,
  names: readonly string[],
  expires: number,
  source: number,
) => void;

export class Names {
  readonly #perDevice: number;
  readonly #perName: number;
  readonly #index = new WordIndex(256);
  readonly #head: Int32Array;
  readonly #tail: Int32Array;
  readonly #count: Int32Array;
  /** Of these, those heard from the device itself. */
  readonly #heard: Int32Array;
  #source = new Uint8Array(0);
  #words = new Uint32Array(0);
  #slot = new Int16Array(0);
  #expires = new Float64Array(0);
  #answered = new Float64Array(0);
  #previous = new Int32Array(0);
  #next = new Int32Array(0);
  #chains: (readonly string[])[] = [];
  #capacity = 0;
  #used = 0;
  #free = -1;

  constructor(slots: number, perDevice: number, perName: number) {
    this.#perDevice = perDevice;
    this.#perName = perName;
    this.#head = new Int32Array(slots).fill(-1);
    this.#tail = new Int32Array(slots).fill(-1);
    this.#count = new Int32Array(slots);
    this.#heard = new Int32Array(slots);
  }

  /** How long an answer's address counts for rules. */
  static lifetimeMs(ttlSeconds: number): number {
    return Math.min(Math.max(ttlSeconds * 1000, TTL_FLOOR_MS), TTL_CEILING_MS) + TTL_GRACE_MS;
  }

  /**
   * A device was told, or says, that the name has the address. Returns when that expires (monotonic), or 0 if it was refused
   * because the name has too many addresses alive for this device.
   */
  learn(
    slot: number,
    words: ArrayLike<number>,
    offset: number,
    names: readonly string[],
    ttl: number,
    now: number,
    source: number = NameSource.Dns,
  ): number {
    const asked = names[0];
    if (asked === undefined || asked.length > MAX_NAME) return 0;
    const expires = now + Names.lifetimeMs(ttl);
    let row = this.#find(slot, words, offset, asked);
    if (row < 0) {
      if (this.#addressesOf(slot, asked, now, source) >= this.#perName) return 0;
      if (source !== NameSource.Dns && (this.#heard[slot] as number) >= this.#perDevice / HEARD_SHARE)
        this.#drop(this.#oldestHeard(slot));
      else if ((this.#count[slot] as number) >= this.#perDevice) this.#drop(this.#head[slot] as number);
      else if (this.#used >= MAX_ENTRIES) this.#drop(this.#head[this.#fullest()] as number);
      row = this.#take(slot, words, offset);
      this.#setSource(row, source);
    } else {
      this.#unlink(row);
      const before = this.#source[row];
      // An answer's name stays one when the device says it as well, while the answer lasts; a name without a veil is better
      // than one with.
      const isOver = before === NameSource.Dns && (this.#expires[row] as number) <= now;
      if (source === NameSource.Dns || before === NameSource.Ech || isOver) this.#setSource(row, source);
      // How long an answer lasts, what the device says does not change: exceptions hold by answers alone.
      if ((before === NameSource.Dns) !== (this.#source[row] === NameSource.Dns)) this.#expires[row] = 0;
    }
    this.#append(slot, row);
    this.#answered[row] = now;
    const isOfAnswer = this.#source[row] === NameSource.Dns;
    const until = Math.max(expires, this.#expires[row] as number);
    if (source === NameSource.Dns || !isOfAnswer) this.#expires[row] = until;
    const chain = this.#chains[row];
    const isOwn = source === this.#source[row] || !chain || chain.length === 0;
    if (isOwn && !(chain && sameChain(chain, names))) this.#chains[row] = names.slice(0, MAX_CHAIN);
    return until;
  }

  /** The name that the device asked for last of those with this address; empty: none. */
  best(slot: number, words: ArrayLike<number>, offset: number): string {
    const row = this.bestRow(slot, words, offset);
    return row < 0 ? "" : this.nameAt(row);
  }

  nameAt(row: number): string {
    return (this.#chains[row] as readonly string[])[0] as string;
  }
  sourceAt(row: number): number {
    return this.#source[row] as number;
  }

  /** The entry of `best`, for `nameAt` and `sourceAt` until the next change; -1: none. */
  bestRow(slot: number, words: ArrayLike<number>, offset: number): number {
    let told = -1;
    let heard = -1;
    const index = this.#index;
    const hash = hashWords(words, offset, slot);
    for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) {
      const row = index.rowAt(at);
      if (this.#slot[row] !== slot || !sameWords(this.#words, row * 4, words, offset)) continue;
      if (this.#source[row] === NameSource.Dns) {
        if (told < 0 || (this.#answered[row] as number) >= (this.#answered[told] as number)) told = row;
      } else if (heard < 0 || this.#isClearer(row, heard)) heard = row;
    }
    if (told < 0 || heard < 0) return Math.max(told, heard);
    // The device no longer goes by an answer that had run out.
    const isOver = (this.#expires[told] as number) < (this.#answered[heard] as number);
    return isOver && this.#source[heard] !== NameSource.Ech ? heard : told;
  }

  /** Of two names that the device said: one without a veil, else the later. */
  #isClearer(row: number, than: number): boolean {
    const [isVeiled, wasVeiled] = [this.#source[row] === NameSource.Ech, this.#source[than] === NameSource.Ech];
    if (isVeiled !== wasVeiled) return wasVeiled;
    return (this.#answered[row] as number) >= (this.#answered[than] as number);
  }

  /** All names under which the device knows the address, the chains included. */
  all(slot: number, words: ArrayLike<number>, offset: number): string[] {
    const found = new Set<string>();
    const index = this.#index;
    const hash = hashWords(words, offset, slot);
    for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) {
      const row = index.rowAt(at);
      if (this.#slot[row] === slot && sameWords(this.#words, row * 4, words, offset))
        for (const name of this.#chains[row] as readonly string[]) found.add(name);
    }
    return [...found];
  }

  /** Visits the entries that count for rules. */
  eachAlive(now: number, visit: NameVisitor): void {
    for (let slot = 0; slot < this.#head.length; slot++)
      for (let row = this.#head[slot] as number; row >= 0; row = this.#next[row] as number)
        if ((this.#expires[row] as number) > now)
          visit(
            slot,
            this.#words,
            row * 4,
            this.#chains[row] as readonly string[],
            this.#expires[row] as number,
            this.#source[row] as number,
          );
  }

  removeAll(slot: number): void {
    while ((this.#head[slot] as number) >= 0) this.#drop(this.#head[slot] as number);
  }

  /** All but those whose chain is wanted. */
  removeBut(slot: number, isWanted: (chain: readonly string[]) => boolean): void {
    for (let row = this.#head[slot] as number; row >= 0;) {
      const next = this.#next[row] as number;
      if (!isWanted(this.#chains[row] as readonly string[])) this.#drop(row);
      row = next;
    }
  }

  count(slot: number): number {
    return this.#count[slot] as number;
  }

  /**
   * Addresses alive of one name for one device, counted from the most recent back. What the device says counts apart: so
   * it leaves room for what it is told.
   */
  #addressesOf(slot: number, asked: string, now: number, source: number): number {
    const isTold = source === NameSource.Dns;
    let count = 0;
    for (let row = this.#tail[slot] as number; row >= 0; row = this.#previous[row] as number)
      if (
        (this.#expires[row] as number) > now &&
        (this.#source[row] === NameSource.Dns) === isTold &&
        (this.#chains[row] as readonly string[])[0] === asked
      )
        count++;
    return count;
  }

  #oldestHeard(slot: number): number {
    let row = this.#head[slot] as number;
    while (this.#source[row] === NameSource.Dns) row = this.#next[row] as number;
    return row;
  }

  #setSource(row: number, source: number): void {
    const slot = this.#slot[row] as number;
    const isHeard = (one: number) => (one === NameSource.None || one === NameSource.Dns ? 0 : 1);
    this.#heard[slot] = (this.#heard[slot] as number) + isHeard(source) - isHeard(this.#source[row] as number);
    this.#source[row] = source;
  }

  #fullest(): number {
    let fullest = 0;
    for (let slot = 1; slot < this.#count.length; slot++)
      if ((this.#count[slot] as number) > (this.#count[fullest] as number)) fullest = slot;
    return fullest;
  }

  #find(slot: number, words: ArrayLike<number>, offset: number, asked: string): number {
    const index = this.#index;
    const hash = hashWords(words, offset, slot);
    for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) {
      const row = index.rowAt(at);
      if (
        this.#slot[row] === slot &&
        sameWords(this.#words, row * 4, words, offset) &&
        (this.#chains[row] as readonly string[])[0] === asked
      )
        return row;
    }
    return -1;
  }

  #take(slot: number, words: ArrayLike<number>, offset: number): number {
    if (this.#free < 0) this.#grow();
    const row = this.#free;
    this.#free = this.#next[row] as number;
    for (let i = 0; i < 4; i++) this.#words[row * 4 + i] = words[offset + i] as number;
    this.#used++;
    this.#slot[row] = slot;
    this.#expires[row] = 0;
    this.#index.insert(hashWords(words, offset, slot), row);
    return row;
  }

  #drop(row: number): void {
    const slot = this.#slot[row] as number;
    this.#unlink(row);
    this.#setSource(row, NameSource.None);
    this.#index.remove(hashWords(this.#words, row * 4, slot), row);
    this.#used--;
    this.#chains[row] = [];
    this.#slot[row] = -1;
    this.#next[row] = this.#free;
    this.#free = row;
  }

  #append(slot: number, row: number): void {
    const last = this.#tail[slot] as number;
    this.#previous[row] = last;
    this.#next[row] = -1;
    if (last < 0) this.#head[slot] = row;
    else this.#next[last] = row;
    this.#tail[slot] = row;
    this.#count[slot] = (this.#count[slot] as number) + 1;
  }

  #unlink(row: number): void {
    const slot = this.#slot[row] as number;
    const before = this.#previous[row] as number;
    const after = this.#next[row] as number;
    if (before < 0) this.#head[slot] = after;
    else this.#next[before] = after;
    if (after < 0) this.#tail[slot] = before;
    else this.#previous[after] = before;
    this.#count[slot] = (this.#count[slot] as number) - 1;
  }

  #grow(): void {
    const from = this.#capacity;
    const to = Math.max(256, from * 2);
    this.#words = grown(this.#words, new Uint32Array(to * 4));
    this.#slot = grown(this.#slot, new Int16Array(to));
    this.#source = grown(this.#source, new Uint8Array(to));
    this.#expires = grown(this.#expires, new Float64Array(to));
    this.#answered = grown(this.#answered, new Float64Array(to));
    this.#previous = grown(this.#previous, new Int32Array(to));
    this.#next = grown(this.#next, new Int32Array(to));
    for (let row = from; row < to; row++) {
      this.#next[row] = row + 1 < to ? row + 1 : -1;
      this.#chains.push([]);
    }
    this.#free = from;
    this.#capacity = to;
  }
}

function sameChain(a: readonly string[], b: readonly string[]): boolean {
  return a.length === Math.min(b.length, MAX_CHAIN) && a.every((name, index) => name === b[index]);
}
