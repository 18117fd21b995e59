/** A straight line through samples, and how sure its slope is. */

export interface Line {
  /** Of y for one unit of x. */
  readonly slope: number;
  /** Standard error of the slope. */
  readonly error: number;
}

/** Least squares. Fewer than three samples have no error: Infinity. */
export function regression(samples: readonly (readonly [x: number, y: number])[]): Line {
  const count = samples.length;
  const mean = (at: 0 | 1) => samples.reduce((sum, sample) => sum + sample[at], 0) / count;
  const [meanX, meanY] = [mean(0), mean(1)];
  let xx = 0;
  let xy = 0;
  for (const [x, y] of samples) {
    xx += (x - meanX) ** 2;
    xy += (x - meanX) * (y - meanY);
  }
  if (count < 3 || xx === 0) return { slope: 0, error: Infinity };
  const slope = xy / xx;
  const residual = samples.reduce((sum, [x, y]) => sum + (y - meanY - slope * (x - meanX)) ** 2, 0);
  return { slope, error: Math.sqrt(residual / (count - 2) / xx) };
}
