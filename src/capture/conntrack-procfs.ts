/** Conntrack by reading /proc/net/nf_conntrack again and again: no events, so short and refused connections go unseen. */
import { createReadStream } from "node:fs";
import { FlowEvent, flowColumns } from "../spin/observation.ts";
import { dumpPause, type ConntrackBackend, type ConntrackFeed } from "./conntrack-feed.ts";
import { readConntrackLine } from "./conntrack-text.ts";

/** Of the kernel and Node together: the text is made anew at each reading. */
const MS_PER_ENTRY = 0.01;
/** Without events, this is also how late a new flow is seen. */
const LONGEST_WANTED_MS = 1000;
const CAPACITY = 1024;

export function procfsBackend(file: string): ConntrackBackend {
  return {
    name: "procfs",
    cost: "connections that end between two readings, or were refused, are not seen",
    run: async (signal, feed) => {
      while (!signal.aborted) {
        const startedAt = feed.clock.now();
        let entries: number;
        try {
          entries = await readTable(file, feed);
        } catch (error) {
          const { code, message } = error as NodeJS.ErrnoException;
          return `${file}: ${code ?? message}`;
        }
        feed.dumped(startedAt);
        feed.health.running("procfs", feed.health.lastError || "procfs");
        const pause = dumpPause(Math.min(feed.counterIntervalMs, LONGEST_WANTED_MS), entries, MS_PER_ENTRY);
        await feed.wakeup.wait(Math.max(0, pause - (feed.clock.now() - startedAt)), signal);
      }
      return "";
    },
  };
}

async function readTable(file: string, feed: ConntrackFeed): Promise<number> {
  const rows = flowColumns(CAPACITY);
  let entries = 0;
  let rest = "";
  const flush = () => {
    if (rows.length > 0) feed.flows(rows);
    rows.length = 0;
  };
  for await (const text of createReadStream(file, {
    encoding: "latin1",
    highWaterMark: 256 * 1024,
  }) as AsyncIterable<string>) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() as string;
    for (const line of lines) {
      entries++;
      if (!readConntrackLine(line, rows, FlowEvent.Counters, feed.clock.now())) feed.health.decodeErrors++;
      if (rows.length === CAPACITY) flush();
    }
  }
  flush();
  return entries;
}
