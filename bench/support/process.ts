/** What a process costs, from /proc. */
import { readFileSync, readdirSync, writeFileSync } from "node:fs";

/** Nanoseconds on a core so far, all threads, of the process and its children that live. */
export function cpuNs(pid: number): number {
  return [pid, ...descendants(pid)].reduce((sum, each) => sum + ownCpuNs(each), 0);
}

function ownCpuNs(pid: number): number {
  let sum = 0;
  try {
    for (const task of readdirSync(`/proc/${pid}/task`))
      sum += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "utf8").split(" ")[0]);
  } catch {
    // It ended.
  }
  return sum;
}

export function descendants(pid: number): number[] {
  let direct: number[] = [];
  try {
    for (const task of readdirSync(`/proc/${pid}/task`))
      direct.push(
        ...readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number),
      );
  } catch {
    direct = [];
  }
  return direct.flatMap((child) => [child, ...descendants(child)]);
}

export interface Memory {
  /** MB resident, of which anonymous, and the most that was ever resident. */
  readonly rss: number;
  readonly anonymous: number;
  readonly peak: number;
}

/** Of the process and its children together. */
export function memory(pid: number): Memory {
  const total = { rss: 0, anonymous: 0, peak: 0 };
  for (const each of [pid, ...descendants(pid)]) {
    const status = readFileSync(`/proc/${each}/status`, "utf8");
    const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) / 1024;
    total.rss += of("VmRSS");
    total.anonymous += of("RssAnon");
    total.peak += of("VmHWM");
  }
  return total;
}

/** Sets the peak back to what is resident now. */
export function resetPeak(pid: number): void {
  for (const each of [pid, ...descendants(pid)]) writeClear(each);
}

function writeClear(pid: number): void {
  // proc(5): 5 resets the peak.
  writeFileSync(`/proc/${pid}/clear_refs`, "5");
}
