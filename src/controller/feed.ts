/** Things that come when they come, for one reader: bounded, the oldest go first. */
export class Feed<Item> implements AsyncIterable<Item> {
  readonly #limit: number;
  readonly #onClose: () => Promise<void>;
  #items: Item[] = [];
  #missed = 0;
  #wake: (() => void) | undefined;
  #closing: Promise<void> = Promise.resolve();
  #ended: { error?: Error } | undefined;

  /** @param onClose What has to be done elsewhere once nobody reads any more. */
  constructor(limit: number, onClose: () => Promise<void> = () => Promise.resolve()) {
    this.#limit = limit;
    this.#onClose = onClose;
  }

  /** How many were let go because the reader was too slow. */
  get missed(): number {
    return this.#missed;
  }

  push(item: Item): void {
    if (this.#ended !== undefined) return;
    this.#items.push(item);
    if (this.#items.length > this.#limit) {
      this.#items.shift();
      this.#missed++;
    }
    this.#wake?.();
  }

  /** Ends the iteration after what is here, with the error if there is one. */
  end(error?: Error): void {
    this.#ended ??= error === undefined ? {} : { error };
    this.#wake?.();
  }

  /** Ends the iteration and tidies up. */
  close(): Promise<void> {
    // What has ended by itself has nothing to tidy up.
    if (this.#ended === undefined) this.#closing = this.#onClose();
    this.end();
    return this.#closing;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item, void, undefined> {
    for (;;) {
      for (let next = this.#items.shift(); next !== undefined; next = this.#items.shift()) yield next;
      if (this.#ended !== undefined) {
        if (this.#ended.error !== undefined) throw this.#ended.error;
        return;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = undefined;
    }
  }
}
