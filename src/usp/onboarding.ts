/**
 * OnBoardRequests to controllers that do not know the agent yet (TR-369 R-NOT.6a, TR-181 OnBoardingComplete): one as soon
 * as the controller can be reached, repeated until it is answered; and, where the row says so, another some time after
 * that, until the controller sets OnBoardingComplete.
 */
import type { Controller, Controllers } from "./controllers.ts";

export interface OnBoardingParts {
  readonly controllers: Controllers;
  /** Puts it into the controller's queue. */
  readonly ask: (controller: Controller, answered: () => void) => void;
  /** Nothing more is to be asked. */
  readonly end: (controller: Controller) => void;
}

/** Timers of Node end at 24.8 days. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class OnBoarding {
  readonly #parts: OnBoardingParts;
  /** By path of the controller's row: the timer of the next request, where it waits for that. */
  readonly #asked = new Map<string, NodeJS.Timeout | undefined>();

  constructor(parts: OnBoardingParts) {
    this.#parts = parts;
  }

  /** At the start, and when controllers' rows changed. */
  update(): void {
    const { controllers, end } = this.#parts;
    for (const controller of controllers.all()) {
      const { path, enabled, isOnBoarded } = controller;
      if (enabled && !isOnBoarded) {
        if (!this.#asked.has(path)) this.#ask(controller);
      } else if (this.#forget(path)) end(controller);
    }
    for (const path of [...this.#asked.keys()]) if (!controllers.at(path)) this.#forget(path);
  }

  stop(): void {
    for (const path of [...this.#asked.keys()]) this.#forget(path);
  }

  #ask(controller: Controller): void {
    const { path } = controller;
    this.#asked.set(path, undefined);
    this.#parts.ask(controller, () => {
      const restartMs = this.#parts.controllers.at(path)?.onBoardingRestartMs ?? 0;
      if (!this.#asked.has(path) || restartMs === 0) return;
      const again = () => {
        const now = this.#parts.controllers.at(path);
        if (now?.enabled && !now.isOnBoarded) this.#ask(now);
      };
      this.#asked.set(path, setTimeout(again, Math.min(restartMs, MAX_TIMER_MS)).unref());
    });
  }

  #forget(path: string): boolean {
    clearTimeout(this.#asked.get(path));
    return this.#asked.delete(path);
  }
}
