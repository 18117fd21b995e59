/**
 * Simulations in a process of their own: within jest each access to a global costs eight times as much (its sandbox is
 * asked), and a week takes a minute.
 */
import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import type { Attack, Outcome } from "./attacks.ts";

export interface MonthResult {
  readonly alarms: readonly string[];
  readonly counts: { readonly flows: number; readonly questions: number; readonly seconds: number };
  /** Incidents by type, Info included. */
  readonly types: Readonly<Record<string, number>>;
  readonly cpuSeconds: number;
}

export type RecallResult = readonly (Pick<Attack, "name" | "found"> & { readonly outcomes: readonly Outcome[] })[];

export const simulatedDays = (days: number, seed: number): Promise<MonthResult> =>
  inProcess("days", String(days), String(seed)) as Promise<MonthResult>;

/** All attacks in a quiet home, and on so many busy evenings. */
export const simulatedAttacks = (evenings: number): Promise<RecallResult> =>
  inProcess("attacks", String(evenings)) as Promise<RecallResult>;

async function inProcess(...args: string[]): Promise<unknown> {
  const file = JSON.stringify(resolve("test/support/simulated/main.ts"));
  const node = ["--require", resolve("test/support/register.cjs"), "-e", `require(${file})`, "--", ...args];
  const { stdout } = await promisify(execFile)(process.execPath, node, { timeout: 900_000, maxBuffer: 1 << 24 });
  return JSON.parse(stdout);
}
