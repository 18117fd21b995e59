/** Runs the sources while capture is enabled, each on its own: one that fails is logged and stays off. */
import type { Log } from "../lib/log.ts";
import type { Observation, Source } from "./observation.ts";

export class Sources {
  readonly #sources: readonly Source[];
  readonly #log: Log;
  readonly #observe: (observation: Observation, index: number) => void;
  #control: AbortController | undefined;
  #enabled = true;

  constructor(sources: readonly Source[], log: Log, observe: (observation: Observation, index: number) => void) {
    this.#sources = sources;
    this.#log = log;
    this.#observe = observe;
  }

  get enabled(): boolean {
    return this.#enabled;
  }

  /** Ends the sources that run; `run` starts them again when there is cause to. */
  setEnabled(enabled: boolean): void {
    if (enabled === this.#enabled) return;
    this.#enabled = enabled;
    this.#control?.abort();
  }

  /** Returns at the signal, or when all sources have come to their end by themselves, as a replay's do. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const control = (this.#control = new AbortController());
      const stop = () => control.abort();
      signal.addEventListener("abort", stop, { once: true });
      const runs = this.#enabled && this.#sources.length > 0;
      if (runs) await Promise.all(this.#sources.map((source, index) => this.#runOne(source, index, control.signal)));
      else await aborted(control.signal);
      signal.removeEventListener("abort", stop);
      if (!control.signal.aborted) return;
    }
  }

  async #runOne(source: Source, index: number, signal: AbortSignal): Promise<void> {
    try {
      await source.run(signal, (observation) => {
        if (!signal.aborted) this.#observe(observation, index);
      });
    } catch (error) {
      this.#log.error(`source ${source.name} failed and stays off`, error);
    }
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
