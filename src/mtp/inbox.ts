/**
 * What came in and was not taken yet: bounded, whatever the sender does.
 *
 * An item that has to be acknowledged is acknowledged at once while there is room, and else when it is taken: the peer
 * sends only so many without (MQTT 5: Receive Maximum). For one without acknowledgement, the reader of the connection
 * is held until there is room, except while one of our own sends waits for its acknowledgement, which comes the same
 * way. What comes past the last bound all the same is dropped and counted.
 */
export interface InboxLimits {
  readonly records: number;
  readonly bytes: number;
}

/** Bytes that are kept of a Record that is too long: ids, signature and certificate come before the payload. */
export const BEGINNING = 16_384;

/** Times the limit: what is read of a peer that should wait for acknowledgements, before reading is held. */
const PATIENCE = 2;
/** Times the limit: what is kept while reading can't be held. */
const LAST_BOUND = 4;
/** The same for the number of items: small ones may be many, as in a burst of requests at QoS 0. */
const LAST_BOUND_RECORDS = 32;

interface Entry<Item> {
  readonly item: Item;
  readonly size: number;
  readonly acknowledge: (() => void) | undefined;
}

interface Taker<Item> {
  resolve(result: IteratorResult<Item, undefined>): void;
  reject(error: Error): void;
}

export class Inbox<Item> implements AsyncIterable<Item> {
  readonly #limits: InboxLimits;
  readonly #mustRead: () => boolean;
  #items: Entry<Item>[] = [];
  #bytes = 0;
  #unacknowledged = 0;
  #dropped = 0;
  #held: (() => void) | undefined;
  readonly #takers: Taker<Item>[] = [];
  #end: { error?: Error } | undefined;

  /** @param mustRead Whether something else waits for what comes on this connection. */
  constructor(limits: InboxLimits, mustRead: () => boolean) {
    this.#limits = limits;
    this.#mustRead = mustRead;
  }

  /** How many were dropped because nobody took them. */
  get dropped(): number {
    return this.#dropped;
  }

  /**
   * Takes an item in, and calls `proceed` when the next may be read.
   * @param acknowledge Called once, in the order of arrival, where the item's sender waits for that.
   */
  push(item: Item, size: number, proceed: () => void, acknowledge?: () => void): void {
    const taker = this.#takers.shift();
    if (taker !== undefined) {
      acknowledge?.();
      taker.resolve({ value: item, done: false });
      proceed();
      return;
    }
    if (this.#fills(LAST_BOUND, LAST_BOUND_RECORDS)) {
      this.#dropped++;
      proceed();
      return;
    }
    // An acknowledgement must not overtake one that waits.
    const isLate = acknowledge !== undefined && (this.#fills(1) || this.#unacknowledged > 0);
    if (isLate) this.#unacknowledged++;
    else acknowledge?.();
    this.#items.push({ item, size, acknowledge: isLate ? acknowledge : undefined });
    this.#bytes += size;
    // Some brokers (aedes) send on without acknowledgements.
    const bound = acknowledge === undefined ? 1 : PATIENCE;
    if (!this.#fills(bound) || this.#mustRead()) proceed();
    else this.#held = proceed;
  }

  /** Lets the reader go on, full or not. */
  release(): void {
    const held = this.#held;
    this.#held = undefined;
    held?.();
  }

  /** Nothing more will come. What is here can still be taken; then iteration ends, or throws `error`. */
  end(error?: Error): void {
    this.#end ??= error === undefined ? {} : { error };
    for (const taker of this.#takers.splice(0)) this.#finish(taker);
    this.release();
  }

  /** Written out, because an async generator costs several promises for each Record. */
  [Symbol.asyncIterator](): AsyncIterator<Item, undefined> {
    return {
      next: () => {
        const entry = this.#take();
        if (entry !== undefined) return Promise.resolve({ value: entry.item, done: false });
        return new Promise((resolve, reject) => {
          if (this.#end === undefined) this.#takers.push({ resolve, reject });
          else this.#finish({ resolve, reject });
        });
      },
      return: () => Promise.resolve({ value: undefined, done: true }),
    };
  }

  #finish({ resolve, reject }: Taker<Item>): void {
    if (this.#end?.error === undefined) resolve({ value: undefined, done: true });
    else reject(this.#end.error);
  }

  #take(): Entry<Item> | undefined {
    const first = this.#items.shift();
    if (first === undefined) return undefined;
    this.#bytes -= first.size;
    if (first.acknowledge !== undefined) {
      this.#unacknowledged--;
      first.acknowledge();
    }
    if (this.#held !== undefined && !this.#fills(1)) this.release();
    return first;
  }

  #fills(times: number, timesRecords = times): boolean {
    return this.#items.length >= timesRecords * this.#limits.records || this.#bytes >= times * this.#limits.bytes;
  }
}
