/**
 * Prefixes of one family as disjoint ranges in a typed array, sorted, neighbours merged: 8 bytes an IPv4 range, 32 an IPv6
 * one. A range is its first address and its last, `width` words each.
 */
import { setImmediate as immediate } from "node:timers/promises";

export type Width = 1 | 4;

/** Of both families: IPv4 a word each, IPv6 four. */
export interface ListRanges {
  readonly v4: Uint32Array;
  readonly v6: Uint32Array;
}

/** So many are sorted before others get a turn: some 20 ms. */
const SORT_RUN = 16_384;

/** Whether the address (`width` words at `offset`) lies in one of the ranges. */
export function inRanges(ranges: Uint32Array, width: Width, words: ArrayLike<number>, offset: number): boolean {
  let low = 0;
  let high = ranges.length / (2 * width);
  // The last range that starts at or before the address.
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareWords(ranges, middle * 2 * width, words, offset, width) <= 0) low = middle + 1;
    else high = middle;
  }
  return low > 0 && compareWords(ranges, (low - 1) * 2 * width + width, words, offset, width) >= 0;
}

export function compareWords(
  a: ArrayLike<number>,
  at: number,
  b: ArrayLike<number>,
  offset: number,
  width: Width,
): number {
  for (let i = 0; i < width; i++) {
    const difference = (a[at + i] as number) - (b[offset + i] as number);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Sorts ranges and merges what overlaps or touches; yields between. */
export async function normalized(ranges: Uint32Array, width: Width): Promise<Uint32Array> {
  const step = 2 * width;
  const count = ranges.length / step;
  const merged = new Uint32Array(ranges.length);
  let kept = 0;
  let done = 0;
  for await (const index of sortedIndexes(ranges, width, count)) {
    if (++done % SORT_RUN === 0) await immediate();
    const at = index * step;
    const last = (kept - 1) * step;
    if (kept > 0 && reaches(merged, last + width, ranges, at, width)) {
      if (compareWords(ranges, at + width, merged, last + width, width) > 0)
        for (let i = 0; i < width; i++) merged[last + width + i] = ranges[at + width + i] as number;
      continue;
    }
    for (let i = 0; i < step; i++) merged[kept * step + i] = ranges[at + i] as number;
    kept++;
  }
  return merged.slice(0, kept * step);
}

/** Whether a range that ends at `end` overlaps or touches the one that starts at `start`, which is no earlier. */
function reaches(ends: Uint32Array, end: number, starts: Uint32Array, start: number, width: Width): boolean {
  const after = new Uint32Array(width);
  for (let i = 0; i < width; i++) after[i] = ends[end + i] as number;
  for (let i = width - 1; i >= 0; i--) {
    after[i] = (after[i] as number) + 1;
    if (after[i] !== 0) break;
    // The last address of all: everything that follows touches it.
    if (i === 0) return true;
  }
  return compareWords(after, 0, starts, start, width) >= 0;
}

/** The indexes of the ranges in order: one-word ranges by a sort of doubles, others by runs that are merged. */
async function* sortedIndexes(
  ranges: Uint32Array,
  width: Width,
  count: number,
): AsyncIterable<number> | Iterable<number> {
  if (width === 1) {
    // 32 bits of address and 20 of index are exact in a double; a native sort of them is ten times a comparator's.
    const keys = new Float64Array(count);
    for (let i = 0; i < count; i++) keys[i] = (ranges[2 * i] as number) * 0x100000 + i;
    keys.sort();
    for (const key of keys) yield key % 0x100000;
    return;
  }
  const order = (a: number, b: number) => compareWords(ranges, a * 8, ranges, b * 8, width);
  let runs: Uint32Array[] = [];
  for (let from = 0; from < count; from += SORT_RUN) {
    const run = Uint32Array.from({ length: Math.min(SORT_RUN, count - from) }, (_, i) => from + i);
    runs.push(run.sort(order));
    await immediate();
  }
  while (runs.length > 1) {
    const next: Uint32Array[] = [];
    for (let i = 0; i < runs.length; i += 2) {
      next.push(mergeRuns(runs[i] as Uint32Array, runs[i + 1] ?? new Uint32Array(0), order));
      await immediate();
    }
    runs = next;
  }
  yield* runs[0] ?? [];
}

function mergeRuns(a: Uint32Array, b: Uint32Array, order: (a: number, b: number) => number): Uint32Array {
  const merged = new Uint32Array(a.length + b.length);
  let i = 0;
  let j = 0;
  for (let at = 0; at < merged.length; at++) {
    const takesA = j >= b.length || (i < a.length && order(a[i] as number, b[j] as number) <= 0);
    merged[at] = takesA ? (a[i++] as number) : (b[j++] as number);
  }
  return merged;
}

/** The ranges without those that overlap one of `excluded` (ranges too, few, in any order); the same array if none does. */
export function without(ranges: Uint32Array, excluded: Uint32Array, width: Width): Uint32Array {
  const step = 2 * width;
  const isOut = (at: number) => {
    for (let other = 0; other < excluded.length; other += step)
      if (
        compareWords(ranges, at, excluded, other + width, width) <= 0 &&
        compareWords(excluded, other, ranges, at + width, width) <= 0
      )
        return true;
    return false;
  };
  const out = new Set<number>();
  for (let at = 0; at < ranges.length; at += step) if (isOut(at)) out.add(at);
  if (out.size === 0) return ranges;
  const kept = new Uint32Array(ranges.length - out.size * step);
  let to = 0;
  for (let at = 0; at < ranges.length; at += step) {
    if (out.has(at)) continue;
    kept.set(ranges.subarray(at, at + step), to);
    to += step;
  }
  return kept;
}
