/**
 * While rules on domains are in force, a device gets a DNS answer only once what follows from it is in the kernel; so no
 * packet to a fresh name is ahead of its rule. Answers pass in the order in which they came. The helper lets them go by
 * itself when we are late (src/netlink/helper.c), so a busy agent delays names, and a dead one does not even that.
 *
 * That an answer was heard before we are told that it waits is the helper's promise: what was logged until then comes
 * first. So at that time its addresses are among those on their way, or nothing follows from it.
 */
import type { Transport } from "./transport.ts";

export interface AnswerHoldOptions {
  readonly transport: Transport;
  /** Settles when the kernel has all addresses told until now; `undefined`: it has them. */
  readonly arriving: () => Promise<unknown> | undefined;
}

export class AnswerHold {
  readonly #options: AnswerHoldOptions;
  #interfaces: readonly string[] = [];
  #stop: (() => void) | undefined;
  #settled: Promise<void> = Promise.resolve();
  #why = "";
  /** Answers that went on before we were ready. */
  late = 0;

  constructor(options: AnswerHoldOptions) {
    this.#options = options;
  }

  /** Holds answers on these interfaces from now on; none: holds none. Resolves to why that can't be, empty if it is so. */
  async hold(interfaces: readonly string[]): Promise<string> {
    const { transport } = this.#options;
    if (String(interfaces) !== String(this.#interfaces)) {
      this.#interfaces = [...interfaces];
      this.#stop?.();
      this.#stop = undefined;
      this.#why = "";
      if (interfaces.length > 0 && transport.holdAnswers) this.#start(transport.holdAnswers.bind(transport));
      else if (interfaces.length > 0) this.#why = "answers can't be withheld without the helper";
    }
    await this.#settled;
    return this.#why;
  }

  #start(holdAnswers: NonNullable<Transport["holdAnswers"]>): void {
    this.#settled = new Promise((resolve) => {
      const settle = (why: string) => {
        this.#why = why;
        resolve();
      };
      this.#stop = holdAnswers(this.#interfaces, {
        onHeld: (release) => {
          const arriving = this.#options.arriving();
          if (arriving) arriving.then(release, release);
          else release();
        },
        onLate: (count) => (this.late += count),
        onReady: () => settle(""),
        onDown: settle,
      });
    });
  }
}
