/** Messages that wait for a session, in order and bounded in bytes; and those that may have left in vain. */
export interface Waiting {
  readonly message: Uint8Array;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Messages kept for the case that the peer ignored the session that they went in. */
const UNCONFIRMED = 16;

export class MessageQueue {
  readonly #limit: number;
  readonly #waiting: Waiting[] = [];
  #bytes = 0;
  /** Sent in a session that we opened and the peer has not answered in: they go again in the next one. */
  #unconfirmed: Uint8Array[] = [];

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

  /** It left, and the peer has not answered yet. */
  keep(message: Uint8Array): void {
    this.#unconfirmed = [...this.#unconfirmed, message].slice(-UNCONFIRMED);
  }

  /** What was kept has come, or is not wanted any more. */
  forget(): void {
    this.#unconfirmed = [];
  }

  /** What was kept waits again, before all others; nobody waits for these any more. */
  again(): void {
    this.#waiting.unshift(...this.#unconfirmed.map((message) => ({ message, resolve: ignore, reject: ignore })));
    for (const { length } of this.#unconfirmed) this.#bytes += length;
    this.forget();
  }

  reject(reason: string): void {
    this.#bytes = 0;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error(reason));
  }
}

const ignore = () => undefined;
