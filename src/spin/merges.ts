/**
 * Which hardware addresses are one physical device, by the resident's word and never by guess: a phone that changes its
 * address, a laptop with two adapters. Kept by address, not by row, so that forgetting a row lifts no rule.
 *
 * It is flat: an address stands for itself or for one that stands for itself.
 */

/** A physical device has so many hardware addresses at most; a home so many that are merged. */
const MAX_OF_DEVICE = 16;
const MAX_MERGES = 512;

/** Why two can't be merged, in words for the resident. */
export class MergeError extends Error {
  override readonly name = "MergeError";
}

export class Merges {
  readonly #changed: () => void;
  readonly #into = new Map<number, number>();
  /** By the address that stands for all: all of them, itself first. */
  readonly #groups = new Map<number, readonly number[]>();

  /** @param changed Whatever follows from the merges is to be worked out again */
  constructor(changed: () => void) {
    this.#changed = changed;
  }

  get size(): number {
    return this.#into.size;
  }

  /** The address that this one is merged into. */
  into(mac: number): number | undefined {
    return this.#into.get(mac);
  }

  /** All addresses of the same physical device, this one among them. */
  united(mac: number): readonly number[] {
    return this.#groups.get(this.#into.get(mac) ?? mac) ?? [mac];
  }

  /** What these addresses mean: each with all that is united with it. The very same list where nothing is. */
  expand(macs: readonly number[]): readonly number[] {
    if (this.#into.size === 0 || !macs.some((mac) => this.united(mac).length > 1)) return macs;
    return [...new Set(macs.flatMap((mac) => this.united(mac)))];
  }

  /**
   * From now on `mac`, and what was merged into it, stands for the device of `target`.
   * @returns the addresses whose `into` changed
   * @throws MergeError
   */
  merge(mac: number, target: number): number[] {
    const root = this.#into.get(target) ?? target;
    if (root === mac)
      throw new MergeError(
        target === mac ? "A device can't be merged into itself." : "They are one already, the other way round.",
      );
    if (this.#into.get(mac) === root) return [];
    const moving = this.#into.has(mac) ? [mac] : this.united(mac);
    if (this.united(root).length + moving.length > MAX_OF_DEVICE)
      throw new MergeError(`A device may have ${MAX_OF_DEVICE} hardware addresses at most.`);
    if (this.#into.size + moving.length > MAX_MERGES)
      throw new MergeError(`There may be ${MAX_MERGES} merged hardware addresses at most.`);
    for (const each of moving) this.#into.set(each, root);
    this.#regroup();
    return [...moving];
  }

  /** `mac` stands for itself again; whether it did not. */
  undo(mac: number): boolean {
    const was = this.#into.delete(mac);
    if (was) this.#regroup();
    return was;
  }

  /** Nothing is known of `mac` any more; returns whom that leaves standing for themselves. */
  forget(mac: number): number[] {
    if (this.undo(mac)) return [];
    const others = this.united(mac).filter((each) => each !== mac);
    for (const each of others) this.#into.delete(each);
    this.#regroup();
    return others;
  }

  save(): unknown {
    return [...this.#into];
  }

  /** Leaves out what is no merge, or would make a chain. */
  load(saved: unknown): void {
    const isMac = (value: unknown): value is number =>
      Number.isSafeInteger(value) && (value as number) > 0 && (value as number) < 2 ** 48;
    for (const pair of (Array.isArray(saved) ? (saved as unknown[]) : []).slice(0, MAX_MERGES)) {
      const [mac, target] = Array.isArray(pair) ? (pair as unknown[]) : [];
      if (!isMac(mac) || !isMac(target)) continue;
      try {
        this.merge(mac, target);
      } catch (error) {
        if (!(error instanceof MergeError)) throw error;
      }
    }
  }

  #regroup(): void {
    this.#groups.clear();
    for (const [mac, root] of this.#into) this.#groups.set(root, [...(this.#groups.get(root) ?? [root]), mac]);
    this.#changed();
  }
}
