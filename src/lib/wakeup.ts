/** A wait that somebody can cut short. One waiter at a time; a wake-up before the wait is not lost. */
export class Wakeup {
  #woken = false;
  #settle: (() => void) | undefined;

  wake(): void {
    this.#woken = true;
    this.#settle?.();
  }

  /** Resolves after `ms`, at `wake`, or at the signal, whichever is first. Never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", settle);
        this.#settle = undefined;
        this.#woken = false;
        resolve();
      };
      const timer = setTimeout(settle, ms);
      this.#settle = settle;
      signal.addEventListener("abort", settle, { once: true });
      if (this.#woken || signal.aborted) settle();
    });
  }
}
