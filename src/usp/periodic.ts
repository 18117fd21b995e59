/** `Device.LocalAgent.Periodic!`: to each controller in its own interval and phase. */
import type { Clock } from "../lib/clock.ts";
import type { Controller, Controllers } from "./controllers.ts";

interface Beat {
  readonly intervalMs: number;
  readonly phase: number | undefined;
  /** By the monotonic clock: where the phase is free it is that of the moment the interval was set. */
  readonly startedAt: number;
  timer: NodeJS.Timeout | undefined;
}

/** Timers of Node end at 24.8 days; a longer wait is taken in parts. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Periodic {
  readonly #controllers: Controllers;
  readonly #clock: Clock;
  readonly #emit: (controller: Controller) => void;
  readonly #beats = new Map<string, Beat>();

  constructor(controllers: Controllers, clock: Clock, emit: (controller: Controller) => void) {
    this.#controllers = controllers;
    this.#clock = clock;
    this.#emit = emit;
  }

  /** At the start, and when controllers' rows changed. */
  update(): void {
    const now = this.#clock.monotonic();
    for (const controller of this.#controllers.all()) {
      const { path, enabled, periodicIntervalMs: intervalMs, periodicPhase: phase } = controller;
      const beat = this.#beats.get(path);
      if (enabled && beat && beat.intervalMs === intervalMs && beat.phase === phase) continue;
      this.#end(path);
      if (!enabled || intervalMs <= 0) continue;
      const fresh = { intervalMs, phase, startedAt: now, timer: undefined };
      this.#beats.set(path, fresh);
      this.#arm(path, fresh);
    }
    for (const path of [...this.#beats.keys()]) if (!this.#controllers.at(path)) this.#end(path);
  }

  stop(): void {
    for (const path of [...this.#beats.keys()]) this.#end(path);
  }

  #arm(path: string, beat: Beat): void {
    const { intervalMs, phase, startedAt } = beat;
    const since = phase === undefined ? this.#clock.monotonic() - startedAt : this.#clock.now() - phase;
    let wait = intervalMs - (((since % intervalMs) + intervalMs) % intervalMs);
    // A timer may ring a little early; the beat it rang for is not due again.
    if (wait < 5) wait += intervalMs;
    beat.timer = setTimeout(() => this.#beat(path, beat, wait), Math.min(wait, MAX_TIMER_MS));
    beat.timer.unref();
  }

  #beat(path: string, beat: Beat, wait: number): void {
    const controller = this.#controllers.at(path);
    if (wait <= MAX_TIMER_MS && controller?.enabled) this.#emit(controller);
    this.#arm(path, beat);
  }

  #end(path: string): void {
    clearTimeout(this.#beats.get(path)?.timer);
    this.#beats.delete(path);
  }
}
