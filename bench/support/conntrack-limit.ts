/** The kernel's limit of tracked connections is the machine's, not a namespace's: raised for a run, and set back. */
import { readFileSync, writeFileSync } from "node:fs";

const LIMIT = "/proc/sys/net/netfilter/nf_conntrack_max";

export async function withConntrackLimit<T>(connections: number, run: () => Promise<T>): Promise<T> {
  const before = readFileSync(LIMIT, "utf8").trim();
  if (Number(before) >= connections) return run();
  writeFileSync(LIMIT, String(connections));
  try {
    return await run();
  } finally {
    writeFileSync(LIMIT, before);
  }
}
