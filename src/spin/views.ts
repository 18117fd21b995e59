/** `Summary.` and `Capture.` as views of the live columns. */
import { Counter } from "./counters.ts";
import type { Counters } from "./counters.ts";
import type { DeviceTable } from "./devices.ts";
import type { FlowTable } from "./flows.ts";
import type { Neighbourhood } from "./neighbourhood.ts";
import type { Source } from "./observation.ts";
import type { CaptureFigures, HomeSummary } from "./types.ts";

/** What came in, whoever brought it. */
export interface EventCounts {
  received: number;
  lost: number;
  dnsAnswers: number;
}

export interface CaptureParts {
  readonly sources: readonly Source[];
  readonly devices: DeviceTable;
  readonly flows: FlowTable;
  readonly neighbourhood: Neighbourhood;
  readonly events: EventCounts;
}

type Reader<T> = { readonly [Key in keyof T]: () => T[Key] };

export function summaryOf(counters: Counters, devices: DeviceTable, rulesRestored: () => number): HomeSummary {
  const { home } = counters;
  return view<HomeSummary>({
    deviceCount: () => devices.size,
    activeDeviceCount: () => devices.activeCount,
    blockedDeviceCount: () => devices.blockedCount,
    bytesSent: () => counters.get(home, Counter.BytesSent),
    bytesReceived: () => counters.get(home, Counter.BytesReceived),
    packetsSent: () => counters.get(home, Counter.PacketsSent),
    packetsReceived: () => counters.get(home, Counter.PacketsReceived),
    activeFlowCount: () => counters.activeFlows(home),
    dnsQueryCount: () => counters.get(home, Counter.DnsQueries),
    blockedPackets: () => counters.get(home, Counter.BlockedPackets),
    blockedBytes: () => counters.get(home, Counter.BlockedBytes),
    rulesRestored,
  });
}

export function captureOf({ sources, devices, flows, neighbourhood, events }: CaptureParts): CaptureFigures {
  const sum = (of: "lost" | "resyncs" | "decodeErrors") => sources.reduce((total, { health }) => total + health[of], 0);
  return view<CaptureFigures>({
    flowCount: () => flows.live,
    eventsReceived: () => events.received,
    // Sources count what they know to be lost; an observation of loss says the same again.
    eventsLost: () => Math.max(events.lost, sum("lost")),
    resyncs: () => sum("resyncs"),
    dnsAnswers: () => events.dnsAnswers,
    decodeErrors: () => sum("decodeErrors"),
    devicesEvicted: () => devices.evicted,
    devicesRefused: () => devices.refused,
    addressConflicts: () => neighbourhood.conflicts,
    flowsUntracked: () => flows.untracked,
    flowsUnattributed: () => flows.unattributed,
  });
}

/** An object whose properties are read when they are asked for. */
function view<T extends object>(readers: Reader<T>): T {
  const properties = Object.entries(readers).map(([key, get]) => [
    key,
    { get: get as () => unknown, enumerable: true },
  ]);
  return Object.defineProperties({}, Object.fromEntries(properties) as PropertyDescriptorMap) as T;
}
