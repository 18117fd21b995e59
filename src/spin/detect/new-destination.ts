/**
 * A destination that a device has never had, once it is known for a while: Info, for whoever looks. What was seen stands
 * in a Bloom filter for each device (2,048 bits, 3 hashes: a home device has some hundred destinations, and at 300 one in
 * 23 new ones goes untold), which the state file keeps.
 */
import type { DetectorSettings, Report } from "./finding.ts";

export interface NewDestinationSettings extends DetectorSettings {
  /** How long a device is only watched. */
  readonly learningMs: number;
}

export const defaultNewDestination: NewDestinationSettings = { enable: true, learningMs: 7 * 86_400_000 };

const WORDS = 64;
const BITS = WORDS * 32;

export class NewDestination {
  settings = defaultNewDestination;
  readonly #report: Report;
  readonly #bits: Uint32Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#bits = new Uint32Array(slots * WORDS);
  }

  /**
   * @param hash of the base domain, or of the address's /24 or /48 where there is no name, with protocol and port
   * @param knownMs how long the device has been known
   */
  seen(slot: number, hash: number, peer: () => string, knownMs: number, time: number): void {
    // Learned even where it is not told: whether a peer has answered before says more than that.
    if (!this.#add(slot, hash) || !this.settings.enable || knownMs < this.settings.learningMs) return;
    this.#report({
      type: "NewDestination",
      slot,
      severity: "Info",
      time,
      measured: 1,
      threshold: 1,
      windowMs: 0,
      summary: "talked to a destination that it had never had before",
      peers: [peer()],
    });
  }

  /** Whether the destination has answered the device before, in all likelihood. */
  knows(slot: number, hash: number): boolean {
    for (let k = 0; k < 3; k++) {
      const bit = bitOf(hash, k);
      if (((this.#bits[slot * WORDS + (bit >>> 5)] as number) & (1 << (bit & 31))) === 0) return false;
    }
    return true;
  }

  clear(slot: number): void {
    this.#bits.fill(0, slot * WORDS, (slot + 1) * WORDS);
  }

  /** For the state file, base64; empty where nothing was seen. */
  save(slot: number): string {
    const words = this.#bits.subarray(slot * WORDS, (slot + 1) * WORDS);
    if (words.every((word) => word === 0)) return "";
    const bytes = Buffer.alloc(WORDS * 4);
    words.forEach((word, at) => bytes.writeUInt32LE(word, at * 4));
    return bytes.toString("base64");
  }

  /** Takes what `save` made; anything else is ignored. */
  load(slot: number, text: unknown): void {
    if (typeof text !== "string") return;
    const bytes = Buffer.from(text, "base64");
    if (bytes.length !== WORDS * 4) return;
    for (let at = 0; at < WORDS; at++) this.#bits[slot * WORDS + at] = bytes.readUInt32LE(at * 4);
  }

  /** @returns whether it was certainly not there */
  #add(slot: number, hash: number): boolean {
    let isNew = false;
    for (let k = 0; k < 3; k++) {
      const bit = bitOf(hash, k);
      const at = slot * WORDS + (bit >>> 5);
      const mask = 1 << (bit & 31);
      if (((this.#bits[at] as number) & mask) === 0) isNew = true;
      this.#bits[at] = (this.#bits[at] as number) | mask;
    }
    return isNew;
  }
}

/** Of the filter of a slot. */
function bitOf(hash: number, k: number): number {
  return (((hash >>> 0) + Math.imul(k, (Math.imul(hash, 0x9e3779b1) >>> 0) | 1)) >>> 0) % BITS;
}
