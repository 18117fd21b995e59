/**
 * For each slot, the distinct things seen lately: hashes with the time of their last sighting, in a fixed number of
 * places. When all are taken the oldest gives way, so a count is exact up to the number of places and says "at least"
 * from there. A time of 0 is "never", so that nobody's places cost no memory.
 */
export class DistinctSet {
  readonly places: number;
  readonly #hashes: Uint32Array;
  readonly #times: Float64Array;

  constructor(slots: number, places: number) {
    this.places = places;
    this.#hashes = new Uint32Array(slots * places);
    this.#times = new Float64Array(slots * places);
  }

  /** @returns whether it was not there, or only from before `since` */
  add(slot: number, hash: number, time: number, since: number): boolean {
    const from = slot * this.places;
    let oldest = from;
    for (let at = from; at < from + this.places; at++) {
      if (this.#hashes[at] === hash && (this.#times[at] as number) > 0) {
        const isNew = (this.#times[at] as number) < since;
        this.#times[at] = time;
        return isNew;
      }
      if ((this.#times[at] as number) < (this.#times[oldest] as number)) oldest = at;
    }
    this.#hashes[oldest] = hash;
    this.#times[oldest] = time;
    return true;
  }

  /** How many were seen since then. */
  count(slot: number, since: number): number {
    const from = slot * this.places;
    let count = 0;
    for (let at = from; at < from + this.places; at++) if (this.#isSince(at, since)) count++;
    return count;
  }

  clear(slot: number): void {
    this.#times.fill(0, slot * this.places, (slot + 1) * this.places);
  }

  #isSince(at: number, since: number): boolean {
    const time = this.#times[at] as number;
    return time > 0 && time >= since;
  }
}
