/**
 * How far the kernel's counters had been counted when the home's counters were saved. They outlive the agent: after a
 * restart an element counts by its difference from here, and an element that is not here counts whole, since it was zero
 * then, or came after. One that is lower than here was begun anew and counts whole.
 *
 * Saved with the counters that hold what was counted, in one document: what was read after the last save is read again
 * after a crash, and nothing twice. A crash loses only what was counted after the save by elements that were removed,
 * expired or loaded anew before the restart; so does a boot after which an element counts past its old reading.
 */
import type { Count } from "./elements.ts";

export type Reading = readonly [id: string, packets: number, bytes: number];

export interface Readings {
  /** Whether it has all elements that had counted; if not, those that are not here have no known reading. */
  readonly all: boolean;
  /** Rules' elements. A reading below zero: more was counted than the element, loaded anew, holds. */
  readonly elements: readonly Reading[];
  /** Elements of the sets dropped_*. */
  readonly dropped: readonly Reading[];
}

/** Some 300 kB of state. */
export const READINGS_LIMIT = 4096;

/** Reads what was saved; `undefined` if it is nothing of ours. */
export function parseReadings(saved: unknown): Readings | undefined {
  if (typeof saved !== "object" || saved === null) return undefined;
  const { all, elements, dropped } = saved as Record<keyof Readings, unknown>;
  if (!Array.isArray(elements) || !Array.isArray(dropped)) return undefined;
  return { all: all === true, elements: elements.filter(isReading), dropped: dropped.filter(isReading) };
}

export function byId(readings: readonly Reading[]): Map<string, Count> {
  return new Map(readings.map(([id, packets, bytes]) => [id, { packets, bytes }]));
}

function isReading(value: unknown): value is Reading {
  if (!Array.isArray(value)) return false;
  const [id, packets, bytes] = value as unknown[];
  return typeof id === "string" && Number.isSafeInteger(packets) && Number.isSafeInteger(bytes);
}
