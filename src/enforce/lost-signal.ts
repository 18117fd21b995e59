/** Tells one listener, each time or once for several, that something was lost; what came before it listened waits. */
export class LostSignal implements AsyncIterable<void> {
  #raised = false;
  #ended = false;
  #wake: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<void, void, void> {
    for (;;) {
      while (!this.#raised && !this.#ended) await new Promise<void>((resolve) => (this.#wake = resolve));
      if (this.#ended) return;
      this.#raised = false;
      yield;
    }
  }
}
