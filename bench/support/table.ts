/** One line a figure: what was measured, its target, and the peer or floor that ran beside it. */

export interface Figure {
  readonly figure: string;
  readonly measured: string;
  readonly target: string;
  /** Whether the target is met; absent where there is none to meet. */
  readonly met?: boolean;
  /** The peer or the floor in the same run. */
  readonly beside: string;
  /** What limits it, where it misses. */
  readonly note?: string;
}

export function print({ figure, measured, target, met, beside, note }: Figure): void {
  const verdict = met === undefined ? "" : met ? "met" : "MISSED";
  const columns = [figure, measured, target, verdict, beside, runtime(), ...(note ? [note] : [])];
  console.log(`| ${columns.join(" | ")} |`);
}

/** Node's version and the flags that this process was started with. */
function runtime(): string {
  const flags = process.execArgv.filter(
    (flag, at, all) => flag.startsWith("-") && !/^--require$|^-e$/.test(all[at] as string),
  );
  return [`node ${process.version}`, ...flags].join(" ");
}

/** The value below which the fraction `q` of the samples lies. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? NaN;
}

export function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 1)} ms`;
}

/** `p50 1.2 ms, p99 3.4 ms (n=200)`. */
export function spread(samples: readonly number[]): string {
  return `p50 ${ms(quantile(samples, 0.5))}, p99 ${ms(quantile(samples, 0.99))} (n=${samples.length})`;
}

/** Milliseconds since 1970 with a fraction, on the clock that the traffic tool stamps with. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}
