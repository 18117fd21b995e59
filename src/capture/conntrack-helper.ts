/**
 * Conntrack through the helper: NEW and DESTROY events, the latter reliable, and paced dumps over netlink. After a loss
 * the helper empties the socket first; only then does it tell us, and only then does a dump miss nothing.
 */
import { RequestKind, words } from "../netlink/frames.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { dumpPause, type ConntrackBackend, type ConntrackFeed } from "./conntrack-feed.ts";
import { ConntrackRows, IdSet } from "./conntrack-rows.ts";
import { whyUnusable } from "./why-unusable.ts";

/** Cost is wake-ups, not parsing: measured, 20 ms cut the CPU to a quarter, 30 ms by some more. An isolated event does not wait. */
const COALESCE_MS = 30;
/** Helper and Node together; measured 0.004 to 0.005. */
const MS_PER_ENTRY = 0.005;
const PACE = { buffers: 16, pauseMs: 10 };
const RESYNC_PACE = { buffers: 64, pauseMs: 2 };
/** Between two dumps for losses: with a tiny buffer losses follow one another. */
const RESYNC_PAUSE_MS = 250;
const RETRY_MS = 500;
/** A dump takes a while to come to a flow, and comes to it sooner or later than the last one did. */
const EARLY = 0.95;

export function helperBackend(helper: NetfilterHelper | undefined, receiveBufferBytes: number): ConntrackBackend {
  return {
    name: "helper",
    cost: "",
    run: async (signal, feed) => {
      const unusable = await whyUnusable(helper, signal);
      if (signal.aborted) return "";
      if (!helper || unusable !== undefined) return unusable ?? "";
      return await follow(helper, receiveBufferBytes, signal, feed);
    },
  };
}

async function follow(
  helper: NetfilterHelper,
  receiveBufferBytes: number,
  signal: AbortSignal,
  feed: ConntrackFeed,
): Promise<string> {
  const { health, clock, wakeup } = feed;
  const rows = new ConntrackRows(feed.flows);
  const ended = new IdSet();
  let entries = 0;
  let resync = true;
  let refused = "";
  const forget = helper.subscribe({
    kind: RequestKind.Conntrack,
    payload: words(COALESCE_MS, receiveBufferBytes),
    onMessages: (bytes, start, end) => rows.read(bytes, start, end, false, clock.now()),
    onLoss: (count) => {
      feed.lost(count);
      resync = true;
      wakeup.wake();
    },
    onError: (error) => {
      refused = error.message;
      wakeup.wake();
    },
    onDown: (reason) => health.running("helper", reason),
    onReady: () => health.status === "Degraded" && health.running("helper"),
  });
  try {
    for (let first = true; !signal.aborted && refused === ""; first = false) {
      const recovering = resync;
      const startedAt = clock.now();
      resync = false;
      ended.clear();
      rows.whileDumping(ended);
      entries = 0;
      let pause: number;
      try {
        await helper.dumpConntrack(
          (bytes, start, end) => {
            const before = health.observations;
            rows.read(bytes, start, end, true, clock.now());
            entries += health.observations - before;
          },
          recovering ? RESYNC_PACE : PACE,
        );
        if (recovering && !first) health.resyncs++;
        feed.dumped(startedAt);
        health.running("helper");
        pause = resync
          ? RESYNC_PAUSE_MS
          : dumpPause(feed.counterIntervalMs * EARLY, entries, MS_PER_ENTRY) - (clock.now() - startedAt);
      } catch (error) {
        resync = true;
        pause = RETRY_MS;
        health.running("helper", (error as Error).message);
      } finally {
        rows.whileDumping(undefined);
        health.decodeErrors += rows.malformed;
        rows.malformed = 0;
      }
      await wakeup.wait(Math.max(0, pause), signal);
      // The wait may have been cut short by a loss: leave room for the next, which then needs no dump of its own.
      if (resync && pause > RESYNC_PAUSE_MS) await wakeup.wait(first ? 0 : RESYNC_PAUSE_MS / 5, signal);
    }
  } finally {
    forget();
  }
  return refused;
}
