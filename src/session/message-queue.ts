/** Messages that wait for a session, in order and bounded in bytes. */
export interface Waiting {
  readonly message: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

export class MessageQueue {
  readonly #limit: number;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;

  /** @param limit Bytes; one Message of any length finds room where there is no other. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  push(waiting: Waiting): void {
    const { length } = waiting.message;
    if (this.#bytes + length > this.#limit && !this.isEmpty)
      return waiting.reject(new Error("too much waits for a session"));
    this.#bytes += length;
    this.#waiting.push(waiting);
  }

  shift(): Waiting | undefined {
    const next = this.#waiting.shift();
    this.#bytes -= next?.message.length ?? 0;
    return next;
  }

  /** Before all others; nobody waits for these any more. */
  again(messages: readonly Uint8Array[]): void {
    this.#waiting.unshift(...messages.map((message) => ({ message, resolve: ignore, reject: ignore })));
    for (const { length } of messages) this.#bytes += length;
  }

  reject(reason: string): void {
    this.#bytes = 0;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
  }
}

const ignore = () => undefined;
