/** Neighbours as text: `ip monitor neigh` with `ip neigh` (iproute2's, not busybox's), and /proc/net/arp. */
import { readFile } from "node:fs/promises";
import { canonicalAddress, parseMac } from "../lib/address.ts";
import { runLines } from "../lib/lines.ts";
import type { NeighbourBackend, NeighbourChange, NeighbourFeed } from "./neighbours-feed.ts";

const RECHECK_MS = 30_000;
const ARP_POLL_MS = 5000;
/** Where `ip monitor` has not yet subscribed when the first table is read, the second finds what came between. */
const SETTLE_MS = 300;
/** ATF_COM of linux/if_arp.h: the entry is complete. */
const ARP_COMPLETE = 2;

const CHANGES: Readonly<Record<string, NeighbourChange>> = {
  REACHABLE: "reachable",
  PERMANENT: "reachable",
  STALE: "stale",
  DELAY: "stale",
  PROBE: "stale",
  FAILED: "gone",
};

export function ipBackend(): NeighbourBackend {
  return {
    name: "ip",
    cost: "a device is seen with its first address, not with its first frame",
    run: async (signal, feed) => {
      const both = new AbortController();
      const stop = () => both.abort();
      signal.addEventListener("abort", stop, { once: true });
      const onLine = (line: string) => readNeighbourLine(line, feed);
      const monitor = runLines([...feed.prefix, "ip", "monitor", "neigh"], both.signal, onLine).finally(stop);
      const tables = readTables(both.signal, feed, onLine).finally(stop);
      try {
        const [end, reason] = await Promise.all([monitor, tables]);
        return signal.aborted ? "" : reason || end.reason || "ip monitor ended";
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
  };
}

async function readTables(signal: AbortSignal, feed: NeighbourFeed, onLine: (line: string) => void): Promise<string> {
  for (let reads = 0; !signal.aborted; reads++) {
    const end = await runLines([...feed.prefix, "ip", "neigh", "show"], signal, onLine);
    if (signal.aborted) break;
    if (end.reason) return end.reason;
    feed.health.running("ip", feed.health.lastError || "ip");
    await feed.wakeup.wait(reads === 0 ? SETTLE_MS : RECHECK_MS, signal);
  }
  return "";
}

/** `[Deleted] ADDRESS dev NAME [lladdr MAC] … STATE`; other lines (the bridge's) have no address and say nothing. */
export function readNeighbourLine(line: string, feed: Pick<NeighbourFeed, "tell">): void {
  const words = line.trim().split(/\s+/);
  const deleted = words[0] === "Deleted";
  if (deleted) words.shift();
  const address = canonicalAddress(words[0] ?? "");
  const device = valueAfter(words, "dev");
  if (address === undefined || device === undefined) return;
  const change = deleted ? "gone" : CHANGES[words.at(-1) ?? ""];
  if (change) feed.tell(device, change, parseMac(valueAfter(words, "lladdr") ?? ""), address);
}

function valueAfter(words: readonly string[], key: string): string | undefined {
  const at = words.indexOf(key);
  return at < 0 ? undefined : words[at + 1];
}

export function arpFileBackend(file: string): NeighbourBackend {
  return {
    name: "procfs",
    cost: "IPv4 addresses only, and seconds late",
    run: async (signal, feed) => {
      while (!signal.aborted) {
        let table: string;
        try {
          table = await readFile(file, "latin1");
        } catch (error) {
          return `${file}: ${(error as NodeJS.ErrnoException).code ?? String(error)}`;
        }
        for (const line of table.split("\n").slice(1)) {
          const [address = "", , flags, mac = "", , device = ""] = line.trim().split(/\s+/);
          const canonical = canonicalAddress(address);
          if (canonical === undefined || !(Number(flags) & ARP_COMPLETE)) continue;
          feed.tell(device, "stale", parseMac(mac), canonical);
        }
        feed.health.running("procfs", feed.health.lastError || "procfs");
        await feed.wakeup.wait(ARP_POLL_MS, signal);
      }
      return "";
    },
  };
}
