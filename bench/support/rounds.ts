/** Rounds of one load against each side in turn, so that whatever else the machine does hits all alike. */
import type { Ask, Load } from "./load.ts";
import type { Pair } from "./usp-pair.ts";

export interface Rounds {
  readonly agent: readonly Load[];
  readonly floor: readonly Load[];
  /** Empty where there is no peer. */
  readonly peer: readonly Load[];
}

export interface RoundOptions {
  readonly inFlight: number;
  readonly count: number;
  readonly milliseconds: number;
  /** The echo endpoint is left out where it can't answer what is asked. */
  readonly floor?: boolean;
}

/** The first round warms all up and is not among those returned. */
export async function rounds(sides: Pair, what: string | Ask, options: RoundOptions): Promise<Rounds> {
  const { inFlight, count, milliseconds } = options;
  const results = { agent: [] as Load[], floor: [] as Load[], peer: [] as Load[] };
  for (let round = 0; round <= count; round++)
    for (const name of ["agent", "floor", "peer"] as const) {
      const side = sides[name];
      if (!side || (name === "floor" && options.floor === false)) continue;
      const load = await side.load.run(what, inFlight, milliseconds, side.pid);
      if (round > 0) results[name].push(load);
    }
  return results;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? NaN;
}
