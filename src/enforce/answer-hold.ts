/**
 * While rules on domains are in force, a device gets a DNS answer only once what follows from it is in the kernel; so no
 * packet to a fresh name is ahead of its rule. Answers pass in the order in which they came. The helper lets them go by
 * itself when we are late (src/netlink/helper/hold.c), so a busy agent delays names, and a dead one does not even that.
 *
 * That an answer was heard before we are told that it waits is the helper's promise: what was logged until then comes
 * first. So at that time its addresses are among those on their way, or nothing follows from it.
 */
import type { Clock } from "../lib/clock.ts";
import type { Transport } from "./transport.ts";

/** So long after answers went on too early, rules on domains say so. */
const LATE_MS = 10 * 60_000;

export interface AnswerHoldOptions {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Settles when the kernel has all addresses told until now; `undefined`: it has them. */
  readonly arriving: () => Promise<unknown> | undefined;
}

export class AnswerHold {
  readonly #options: AnswerHoldOptions;
  #interfaces: readonly string[] = [];
  #stop: (() => void) | undefined;
  #settled: Promise<void> = Promise.resolve();
  #why = "";
  #lateAt = -Infinity;
  #lately = 0;
  /** Answers that went on before what follows from them was in the kernel, or might have. */
  late = 0;

  constructor(options: AnswerHoldOptions) {
    this.#options = options;
  }

  /** What rules on domains can't promise, in words; empty if they keep what they say. */
  get note(): string {
    if (this.#interfaces.length === 0) return "";
    if (this.#why !== "") return `Best effort: the first packets to a fresh name may get ahead; ${this.#why}.`;
    if (this.#options.clock.monotonic() - this.#lateAt > LATE_MS) return "";
    return `Best effort: of late, DNS answers went on before the rule covered them (${this.#lately}).`;
  }

  /** Holds answers on these interfaces from now on; none: holds none. Resolves once they wait, or `note` says why not. */
  async hold(interfaces: readonly string[]): Promise<void> {
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
        onLate: (count) => this.#wereLate(count),
        onReady: () => settle(""),
        onDown: settle,
      });
    });
  }
  #wereLate(count: number): void {
    const now = this.#options.clock.monotonic();
    if (now - this.#lateAt > LATE_MS) this.#lately = 0;
    this.#lateAt = now;
    this.#lately += count;
    this.late += count;
  }
}
