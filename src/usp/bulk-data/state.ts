/** How the profiles fare: made before the tree, filled by bulk-data.ts, shown as `Device.BulkData.Status`. */
export class BulkDataStates {
  /** Why the last report was not made or delivered, in words, by instance path of the profile. */
  readonly #failures = new Map<string, string>();

  get isFailing(): boolean {
    return this.#failures.size > 0;
  }

  of(profile: string): string | undefined {
    return this.#failures.get(profile);
  }

  /** `undefined`: all is well. */
  set(profile: string, failure: string | undefined): void {
    if (failure === undefined) this.#failures.delete(profile);
    else this.#failures.set(profile, failure);
  }
}
