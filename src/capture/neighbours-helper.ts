/** Neighbours through the helper: rtnetlink's changes, and its tables at the start, after a loss, and once a minute. */
import { RequestKind, words } from "../netlink/frames.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { Family } from "../netlink/messages.ts";
import { decodeRoutes, type Link, type Neighbour, NeighbourState, RouteType } from "../netlink/route-messages.ts";
import type { NeighbourBackend, NeighbourChange, NeighbourFeed } from "./neighbours-feed.ts";
import { whyUnusable } from "./why-unusable.ts";

const RECHECK_MS = 60_000;
const RETRY_MS = 500;
const KNOWN = NeighbourState.Stale | NeighbourState.Delay | NeighbourState.Probe;

export function helperBackend(helper: NetfilterHelper | undefined): NeighbourBackend {
  return {
    name: "helper",
    cost: "",
    run: async (signal, feed) => {
      const unusable = await whyUnusable(helper, signal);
      if (signal.aborted) return "";
      if (!helper || unusable !== undefined) return unusable ?? "";
      return await follow(helper, signal, feed);
    },
  };
}

async function follow(helper: NetfilterHelper, signal: AbortSignal, feed: NeighbourFeed): Promise<string> {
  const { health, wakeup } = feed;
  const links = new Map<number, Link>();
  let refused = "";
  const visitor = {
    link: (link: Link, deleted: boolean) => void (deleted ? links.delete(link.index) : links.set(link.index, link)),
    neighbour: (neighbour: Neighbour) => {
      // An interface that came after the last dump: the next one tells of its neighbours.
      if (!links.has(neighbour.index)) wakeup.wake();
      else tell(neighbour, links, feed);
    },
  };
  const read = (bytes: Uint8Array, start: number, end: number) => decodeRoutes(bytes, start, end, visitor);
  const forget = helper.subscribe({
    kind: RequestKind.Route,
    payload: words(1),
    onMessages: read,
    onLoss: (count) => {
      health.lost += count;
      health.resyncs++;
      wakeup.wake();
    },
    onError: (error) => {
      refused = error.message;
      wakeup.wake();
    },
    onDown: (reason) => health.running("helper", reason),
    onReady: () => health.status === "Degraded" && health.running("helper"),
  });
  while (!signal.aborted && refused === "") {
    let pause = RECHECK_MS;
    try {
      await helper.dumpRoute(RouteType.GetLink, Family.Unspecified, read);
      await helper.dumpRoute(RouteType.GetNeighbour, Family.Unspecified, read);
      await helper.dumpRoute(RouteType.GetNeighbour, Family.Bridge, read);
      health.running("helper");
    } catch (error) {
      pause = RETRY_MS;
      health.running("helper", (error as Error).message);
    }
    await wakeup.wait(pause, signal);
  }
  forget();
  return refused;
}

function tell(neighbour: Neighbour, links: ReadonlyMap<number, Link>, feed: NeighbourFeed): void {
  const { index, master, mac, address, isBridgeEntry, deleted, state } = neighbour;
  if (isBridgeEntry) {
    // Permanent ones are the bridge's own ports. That one aged out says nothing: devices sleep.
    const bridge = links.get(master ?? links.get(index)?.master ?? -1) ?? links.get(index);
    if (bridge && !deleted && !(state & NeighbourState.Permanent)) feed.tell(bridge.name, "frame", mac, undefined);
    return;
  }
  const link = links.get(index);
  const change = changeOf(state, deleted);
  if (link && change) feed.tell(link.name, change, mac, address);
}

function changeOf(state: number, deleted: boolean): NeighbourChange | undefined {
  if (deleted || state & NeighbourState.Failed) return "gone";
  if (state & (NeighbourState.Reachable | NeighbourState.Permanent)) return "reachable";
  return state & KNOWN ? "stale" : undefined;
}
