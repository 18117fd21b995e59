/** Conntrack through `conntrack -E` and `conntrack -L` (conntrack-tools): five times the CPU, and no recovery of its own. */
import { runLines } from "../lib/lines.ts";
import { FlowEvent, flowColumns } from "../spin/observation.ts";
import { dumpPause, type ConntrackBackend, type ConntrackFeed } from "./conntrack-feed.ts";
import { IdSet } from "./conntrack-rows.ts";
import { readConntrackLine } from "./conntrack-text.ts";

const EVENTS = ["conntrack", "-E", "-e", "NEW,DESTROY", "-o", "extended,id,timestamp", "-b", "8388608"];
const LIST = ["conntrack", "-L", "-o", "extended,id"];
/** Of conntrack and Node together. */
const MS_PER_ENTRY = 0.012;
const RESYNC_PAUSE_MS = 1000;
/** `conntrack -E` says nothing when it has subscribed; entries made before are found by this second dump. */
const SETTLE_MS = 300;
const CAPACITY = 1024;

export function toolsBackend(): ConntrackBackend {
  return {
    name: "conntrack-tools",
    cost: "more CPU, and ends of flows may be lost in a burst",
    run: async (signal, feed) => {
      const both = new AbortController();
      const stop = () => both.abort();
      signal.addEventListener("abort", stop, { once: true });
      const state = { resync: false, ended: undefined as IdSet | undefined };
      const events = follow(both.signal, feed, state).finally(stop);
      const dumps = dumpUntil(both.signal, feed, state).finally(stop);
      try {
        const [eventsEnd, dumpsEnd] = await Promise.all([events, dumps]);
        return dumpsEnd || eventsEnd;
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
  };
}

interface State {
  resync: boolean;
  /** Ids of flows that ended while a dump was under way. */
  ended: IdSet | undefined;
}

async function follow(signal: AbortSignal, feed: ConntrackFeed, state: State): Promise<string> {
  const rows = flowColumns(CAPACITY);
  let scheduled = false;
  const flush = () => {
    scheduled = false;
    if (rows.length > 0) feed.flows(rows);
    rows.length = 0;
  };
  const onLine = (line: string) => {
    const event = line.includes("[NEW]") ? FlowEvent.New : line.includes("[DESTROY]") ? FlowEvent.End : 0;
    if (event === 0) return;
    if (!readConntrackLine(line, rows, event, feed.clock.now())) feed.health.decodeErrors++;
    else if (event === FlowEvent.End) state.ended?.add(rows.id[rows.length - 1] as number);
    if (rows.length === CAPACITY) flush();
    else if (!scheduled) {
      scheduled = true;
      setImmediate(flush);
    }
  };
  const onComplaint = (text: string) => {
    if (!text.includes("ENOBUFS")) return;
    feed.lost(1);
    state.resync = true;
    feed.wakeup.wake();
  };
  const end = await runLines([...feed.prefix, ...EVENTS], signal, onLine, onComplaint);
  return signal.aborted ? "" : end.reason || "conntrack -E ended";
}

async function dumpUntil(signal: AbortSignal, feed: ConntrackFeed, state: State): Promise<string> {
  const { health, wakeup, clock } = feed;
  const rows = flowColumns(CAPACITY);
  for (let dumps = 0; !signal.aborted; dumps++) {
    const startedAt = clock.now();
    const recovering = state.resync;
    const ended = new IdSet();
    let entries = 0;
    const flush = () => {
      if (rows.length > 0) feed.flows(rows);
      rows.length = 0;
    };
    state.resync = false;
    state.ended = ended;
    const end = await runLines([...feed.prefix, ...LIST], signal, (line) => {
      if (!readConntrackLine(line, rows, FlowEvent.Counters, clock.now())) {
        health.decodeErrors++;
        return;
      }
      entries++;
      if (ended.has(rows.id[rows.length - 1] as number)) rows.length--;
      else if (rows.length === CAPACITY) flush();
    });
    state.ended = undefined;
    if (signal.aborted) break;
    if (end.reason) return end.reason;
    flush();
    if (recovering) health.resyncs++;
    feed.dumped(startedAt);
    health.running("conntrack-tools", health.lastError || "conntrack-tools");
    const pause =
      dumps === 0
        ? SETTLE_MS
        : state.resync
          ? RESYNC_PAUSE_MS
          : dumpPause(feed.counterIntervalMs, entries, MS_PER_ENTRY);
    await wakeup.wait(Math.max(0, pause - (clock.now() - startedAt)), signal);
  }
  return "";
}
