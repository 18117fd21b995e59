/**
 * What the rest of the program reads of the home: devices, their counters, flows, destinations, and the notices that
 * say what changed. Everything here is a view: reading costs nothing until a property is read, and the value read is
 * the current one. Times are milliseconds since 1970; 0 is "never". Bytes are those of IP packets, header included.
 *
 * Counters are doubles: exact up to 2^53 bytes (9 petabytes), which is above what a home moves in its life.
 */
import type { LoggedRow } from "./flow-recorder.ts";
import type { IncidentNotice } from "./detect/incidents.ts";
import type { Reported } from "./ignoring.ts";
import type { Observation } from "./observation.ts";
import type { NameSourceText } from "./names.ts";
import type { RuleHits } from "./rules.ts";

/** One row of `Device.{i}.`: a MAC address on the LAN side. The object lives as long as the row. */
export interface HomeDevice {
  /** Instance number: never reused, survives restarts. */
  readonly number: number;
  readonly mac: number;
  /** Canonical text of `mac`. */
  readonly physAddress: string;
  /** `cpe-<number>`. */
  readonly alias: string;
  /** Given by the resident or the operator; empty if none. */
  readonly name: string;
  /** As the best source has it (identity.ts); empty if none. */
  readonly hostName: string;
  /** A guess, and why, in words; both empty where nothing speaks for any. */
  readonly type: string;
  readonly typeReason: string;
  /** RFC 8520, as the device sent it; empty if it did not. */
  readonly mudUrl: string;
  readonly vendor: string;
  /** Locally administered address, as privacy features choose them. */
  readonly randomized: boolean;
  /** LAN interface it was last seen on; empty if the source does not say. */
  readonly interface: string;
  /** Canonical text, the most recently confirmed first. */
  readonly ipv4Addresses: readonly string[];
  readonly ipv6Addresses: readonly string[];
  readonly firstSeen: number;
  readonly lastSeen: number;
  /** Sent something by itself within `Limits.activeMs`; retries against a block do not count. */
  readonly active: boolean;
  /** When `active` last changed; 0: not since it is known. */
  readonly activeChanged: number;
  /** A rule in force blocks all of its traffic. */
  readonly blocked: boolean;
  /** A rule in force hides all of its traffic from reports. */
  readonly ignored: boolean;
  /** Number of the row that the resident merged it into; 0: none. */
  readonly mergedInto: number;
  /** All hardware addresses that are the same physical device by the resident's word, its own among them. */
  readonly unitedMacs: readonly number[];
  readonly stats: DeviceStats;
}

/** `Device.{i}.Stats.`: getters on the live columns. Monotone while the row lives. */
export interface DeviceStats {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly localBytesSent: number;
  readonly localBytesReceived: number;
  readonly flowsOpened: number;
  readonly activeFlowCount: number;
  readonly dnsQueryCount: number;
  readonly blockedPackets: number;
  readonly blockedBytes: number;
  /** Bits per second over the last 10 s. */
  readonly bytesSentRate: number;
  readonly bytesReceivedRate: number;
}

/** `Summary.`: of the home. The counters are sums since the first start and do not fall when a row is forgotten. */
export interface HomeSummary {
  readonly deviceCount: number;
  readonly activeDeviceCount: number;
  readonly blockedDeviceCount: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
  readonly activeFlowCount: number;
  readonly dnsQueryCount: number;
  readonly blockedPackets: number;
  readonly blockedBytes: number;
  /** How often rules that somebody else removed from the kernel were put back, since the agent started. */
  readonly rulesRestored: number;
}

/** `Exact`; `Estimated` for an hour after something was lost and recovered; `Partial` while flow offload hides counters. */
export type CounterAccuracy = "Exact" | "Estimated" | "Partial";

/** `Capture.` and what the caps cost. Sources' own figures are in their `health`. */
export interface CaptureFigures {
  readonly flowCount: number;
  readonly eventsReceived: number;
  readonly eventsLost: number;
  readonly resyncs: number;
  readonly dnsAnswers: number;
  readonly decodeErrors: number;
  /** Device rows that gave way to newer ones, and sightings that found no room. */
  readonly devicesEvicted: number;
  readonly devicesRefused: number;
  /** Claims to an address that its owner still holds. */
  readonly addressConflicts: number;
  /** Flows that found no room in the table (their final counters still count), and that no device owned up to. */
  readonly flowsUntracked: number;
  readonly flowsUnattributed: number;
}

export type FlowInitiator = "Device" | "Peer";

/** A row of Query(Flows). `Port` is the one that the initiator addressed: the peer's, or the device's own. */
export interface FlowRow {
  readonly Start: number;
  /** 0 while the flow lives. */
  readonly End: number;
  readonly PhysAddress: string;
  readonly Initiator: FlowInitiator;
  readonly Address: string;
  readonly Port: number;
  readonly Protocol: number;
  /** The name that the device had asked for when the flow began, if any. */
  readonly Domain: string;
  /** How it is known: from an answer, or from the device's own words. Absent: that was not kept. */
  readonly DomainSource?: NameSourceText;
  readonly BytesSent: number;
  readonly BytesReceived: number;
  readonly PacketsSent: number;
  readonly PacketsReceived: number;
  /** More than one where the log has summed up; absent: one. */
  readonly Flows?: number;
}

/** A row of Query(Blocked): what rules stopped within a minute. */
export interface BlockedRow extends FlowRow {
  /** Instance number; 0: not known. */
  readonly Rule: number;
}

/** A row of Query(DNSQueries): the same question of a device within a minute; of what is older, within an hour. */
export interface QuestionRow {
  readonly Time: number;
  readonly PhysAddress: string;
  /** `*.example.com` where names under a domain were too many to keep, `*` for all others. */
  readonly Name: string;
  readonly Type: string;
  /** The first addresses of the newest answer. */
  readonly Answers: readonly string[];
  readonly AnswerCount: number;
  readonly TTL: number;
  /** Of the newest answer; -1: none was seen. */
  readonly ResultCode: number;
  readonly Count: number;
}

/** A row of Query(History): what a device moved in a minute, an hour or a day. */
export interface HistoryRow {
  readonly Start: number;
  readonly End: number;
  readonly PhysAddress: string;
  readonly BytesSent: number;
  readonly BytesReceived: number;
  readonly BlockedPackets: number;
  readonly SuspectData: boolean;
}

/** Who had that address and port of the Internet's at that time? */
export interface ResolveQuestion {
  readonly time: number;
  readonly toleranceMs: number;
  readonly protocol: number;
  /** Canonical. */
  readonly sourceAddress: string;
  /** `undefined` for protocols without ports. */
  readonly sourcePort: number | undefined;
  readonly destinationAddress: string | undefined;
  readonly destinationPort: number | undefined;
}

export interface Resolved {
  /** Exactly one device can have been it. */
  readonly found: boolean;
  /** Instance number; `undefined` also where its row is gone. */
  readonly device: number | undefined;
  readonly physAddress: string;
  readonly flowCount: number;
  /** A rule in force now stops the device, or such traffic of it. */
  readonly blocked: boolean;
}

/** A row of Query(Destinations): all flows of a device with one peer, protocol and port. */
export interface DestinationRow {
  readonly PhysAddress: string;
  readonly Domain: string;
  readonly DomainSource: NameSourceText;
  readonly Address: string;
  readonly Protocol: number;
  readonly Port: number;
  readonly BytesSent: number;
  readonly BytesReceived: number;
  readonly PacketsSent: number;
  readonly PacketsReceived: number;
  readonly Flows: number;
  readonly FirstSeen: number;
  readonly LastSeen: number;
  /** A rule in force blocks this device from this destination. */
  readonly Blocked: boolean;
}

export interface QueryFilter {
  /** Canonical MAC address of one device; absent: all. */
  readonly physAddress?: string;
  /** Rows that were alive at or after / at or before. */
  readonly since?: number;
  readonly until?: number;
  /** An address, a prefix, or a domain with its subdomains. */
  readonly destination?: string;
  /** 1 to 500; default 100. */
  readonly limit?: number;
  /** `nextCursor` of the page before. Rows that come or go between pages neither repeat nor hide others. */
  readonly cursor?: string;
}

export interface QueryPage<Row> {
  readonly rows: readonly Row[];
  /** Empty on the last page. */
  readonly nextCursor: string;
  /** More rows follow. */
  readonly truncated: boolean;
}

/** The caller's mistake in a query; the objects answer it as 7027 InvalidCommandArguments. */
export class QueryError extends Error {
  override readonly name = "QueryError";
}

export type DeviceField =
  | "Name"
  | "HostName"
  | "Type"
  | "TypeReason"
  | "MUDURL"
  | "Interface"
  | "IPv4Address"
  | "IPv6Address"
  | "Active"
  | "Blocked"
  | "Ignored"
  | "MergedInto";

/**
 * Why a row went: somebody forgot it, it gave way to newer ones, it was silent for too long, or it turned out to be the
 * gateway's.
 */
export type DeviceRemoval = "forgotten" | "evicted" | "idle" | "gateway";

export type RuleField = "Status" | "StatusReason";

/** What changed. Sent synchronously, after the change: a listener reads the new value from the object itself. */
export type Notice =
  | { readonly kind: "device-added"; readonly device: HomeDevice }
  | { readonly kind: "device-removed"; readonly device: HomeDevice; readonly reason: DeviceRemoval }
  | { readonly kind: "device-changed"; readonly device: HomeDevice; readonly field: DeviceField }
  /** Status or StatusReason of a rule, or both; its hits are counters and read on demand. */
  | { readonly kind: "rule-changed"; readonly rule: number; readonly fields: readonly RuleField[] }
  /** Root Status, StatusReason or CounterAccuracy. */
  | { readonly kind: "status-changed" }
  /** Status, backend or last error of a source or the enforcer. */
  | { readonly kind: "part-changed" }
  | { readonly kind: "incident"; readonly notice: IncidentNotice }
  /** What rules stopped, summed up over some seconds; `mac` and `rule` as far as they are known. */
  | { readonly kind: "blocked"; readonly blocked: Extract<Observation, { kind: "blocked" }> }
  /** Somebody claims an address that its owner still holds (an incident in the making). */
  | {
      readonly kind: "address-conflict";
      readonly address: string;
      readonly owner: HomeDevice;
      readonly claimant: number;
    };

export type Listener = (notice: Notice) => void;

export interface Limits {
  readonly devices: number;
  readonly addressesPerDevice: number;
  /** Live and just ended; past it, flows count when they end but have no row. */
  readonly flows: number;
  /** Ended flows that Query(Flows) still shows, of each device. */
  readonly endedFlowsPerDevice: number;
  readonly destinationsPerDevice: number;
  /** (address, name) pairs that DNS answers taught, of each device. */
  readonly namesPerDevice: number;
  /** Addresses of one name, for one device, that a rule on the name may cover. */
  readonly addressesPerName: number;
  /** How long a device stays Active after it last sent. */
  readonly activeMs: number;
  /** A device that is silent for so long while the home is watched is forgotten, unless it is named or under a rule. */
  readonly forgetAfterMs: number;
  /** At most this often are counters written to flash. */
  readonly saveIntervalMs: number;
}

export const defaultLimits: Limits = {
  devices: 255,
  addressesPerDevice: 16,
  flows: 131_072,
  endedFlowsPerDevice: 256,
  destinationsPerDevice: 256,
  namesPerDevice: 1024,
  addressesPerName: 64,
  activeMs: 5 * 60_000,
  forgetAfterMs: 35 * 24 * 60 * 60_000,
  saveIntervalMs: 5 * 60_000,
};

export type SpinStatus = "Disabled" | "Starting" | "Running" | "Degraded" | "Error";

/** What has been (past.ts). Methods reject, or throw, QueryError. */
export interface HomePast {
  flows(filter: QueryFilter): Promise<QueryPage<FlowRow>>;
  questions(filter: QueryFilter): Promise<QueryPage<QuestionRow>>;
  blocked(filter: QueryFilter): Promise<QueryPage<BlockedRow>>;
  history(filter: QueryFilter): QueryPage<HistoryRow>;
  resolve(question: ResolveQuestion): Promise<Resolved>;
  /** Forgets what the log has of a device, on disk too, when it resolves. */
  erase(mac: number): Promise<void>;
  /** All that the log has of a device, oldest first; flows that live are not in it yet. */
  export(mac: number): AsyncIterableIterator<LoggedRow>;
}

/** What `class Spin` (spin.ts) offers to the objects, the demo, replay and run, besides its RuleBook `rules`. */
export interface Home {
  /** Milliseconds since 1970, by the clock that the home reckons with: a replay's is the capture's. */
  now(): number;
  /** Runs sources, the enforcer and the clock's work until the signal; saves, and returns. State is loaded in the constructor. */
  run(signal: AbortSignal): Promise<void>;
  /** Stops or resumes capture and analysis; rules stay as they are. */
  setEnabled(enabled: boolean): void;
  readonly enabled: boolean;
  readonly status: SpinStatus;
  /** In words; empty while Running. */
  readonly statusReason: string;
  readonly accuracy: CounterAccuracy;
  readonly summary: HomeSummary;
  readonly capture: CaptureFigures;

  /** In the order of their instance numbers. */
  devices(): IterableIterator<HomeDevice>;
  device(number: number): HomeDevice | undefined;
  deviceByMac(mac: number): HomeDevice | undefined;
  /** Resolves when it is on disk; throws RangeError for an unknown row. */
  setName(number: number, name: string): Promise<void>;
  /**
   * The resident says that two rows are one physical device: rules that name either hold for both from now on. Without
   * `into`, that `number` is one of its own. Resolves when it is on disk; throws MergeError, RangeError for an unknown row.
   */
  merge(number: number, into: number | undefined): Promise<void>;
  /** Devices that are silent for so many days are forgotten; 0: none is. */
  setForgetAfter(days: number): void;
  /** Forgets the row; if the device shows itself again it gets a new one. */
  forget(number: number): Promise<void>;

  /** Throws QueryError. */
  queryFlows(filter: QueryFilter): QueryPage<FlowRow>;
  /** With the flow log, DNS questions, what was blocked, the histories. Reject with QueryError. */
  readonly past: HomePast;
  queryDestinations(filter: QueryFilter): QueryPage<DestinationRow>;
  /** A rule of Action Ignore leaves such a row out of reports. */
  hides(row: Reported): boolean;
  /** Names (or addresses without one) of the destinations with most bytes in the last 24 h. */
  topDestinations(number: number, count: number): readonly { readonly name: string; readonly bytes: number }[];
  /** The name under which the device knows the address; empty if it asked for none. */
  nameOf(mac: number, address: string): string;

  /** Hits of a rule as they were saved before this start, for `rules.put(rule, hits)`; `undefined` if there were none. */
  savedHits(rule: number): RuleHits | undefined;

  /**
   * The rules of an earlier life can't be read: what the kernel holds of them stays as it is, and `why` is told in
   * statusReason with status Error. Empty: the rules that are known are all there are, and are applied.
   */
  holdRules(why: string): void;

  subscribe(listener: Listener): () => void;
  /** Feeds one observation, as `run` does with those of the sources. */
  observe(observation: Observation): void;
  /** The clock's work (expiry, rates, hits): called each second by `run`, by `observe` when a second has passed, and at the end of a replay. */
  tick(): void;
  /** Asks the enforcer for hits now and resolves when rules and devices show them. */
  harvest(): Promise<void>;
  /** Resolves when the enforcer has the newest policy and addresses; not before the home's network is known. */
  settled(): Promise<void>;
  /** Writes counters and devices now. */
  save(): Promise<void>;
}
