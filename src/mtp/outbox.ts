/**
 * What was given to be sent and is not yet: bounded in number and bytes, at most a window of it under way. Everything
 * that is in it when the connection ends is rejected, so that no sender waits for ever.
 */
import { MtpError } from "./error.ts";

const SENT = Promise.resolve();

export interface OutboxLimits {
  readonly records: number;
  readonly bytes: number;
}

export class Outbox {
  readonly #limits: OutboxLimits;
  readonly #window: number;
  #records = 0;
  #bytes = 0;
  #underWay = 0;
  #waiting: (() => void)[] = [];
  #rejecters = new Set<(error: MtpError) => void>();
  #closed: MtpError | undefined;

  /** @param window How many may be unacknowledged at one time: the broker's Receive Maximum. */
  constructor(limits: OutboxLimits, window: number) {
    this.#limits = limits;
    this.#window = window;
  }

  /** How many wait or are under way. */
  get pending(): number {
    return this.#records;
  }

  /**
   * Runs `start` as soon as the window allows, and resolves when it calls back.
   * @throws MtpError congested, closed, or what `start` reports.
   */
  send(size: number, start: (done: (error?: Error | null) => void) => void): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    if (this.#records >= this.#limits.records || this.#bytes + size > this.#limits.bytes) {
      const text = `${this.#records} records (${this.#bytes} bytes) wait to be sent already`;
      return Promise.reject(new MtpError("congested", text));
    }
    this.#records++;
    this.#bytes += size;
    if (this.#underWay >= this.#window) return this.#later(size, start);
    // Most are written at once, and need nothing to be remembered by.
    let settle: ((error?: Error | null) => void) | undefined;
    let early: { error: Error | null | undefined } | undefined;
    this.#underWay++;
    start((error) => {
      if (settle !== undefined) settle(error);
      else early ??= { error };
    });
    if (early !== undefined) {
      this.#leave(size);
      return early.error ? Promise.reject(early.error) : SENT;
    }
    return new Promise((resolve, reject) => {
      settle = this.#settler(size, resolve, reject);
    });
  }

  #later(size: number, start: (done: (error?: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = this.#settler(size, resolve, reject);
      this.#waiting.push(() => {
        this.#underWay++;
        start(settle);
      });
    });
  }

  /** Settles once: by the answer, or when the connection ends. */
  #settler(size: number, resolve: () => void, reject: (error: Error) => void): (error?: Error | null) => void {
    this.#rejecters.add(reject);
    return (error) => {
      if (!this.#rejecters.delete(reject)) return;
      this.#leave(size);
      if (error) reject(error);
      else resolve();
    };
  }

  #leave(size: number): void {
    this.#records--;
    this.#bytes -= size;
    this.#underWay--;
    this.#waiting.shift()?.();
  }

  /** Rejects everything, now and from now on. */
  close(error: MtpError): void {
    this.#closed ??= error;
    const rejecters = [...this.#rejecters];
    this.#rejecters.clear();
    this.#waiting = [];
    this.#records = 0;
    this.#bytes = 0;
    for (const reject of rejecters) reject(error);
  }
}
