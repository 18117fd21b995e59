/**
 * SPIN: the home as one object. Observations go in; devices, counters, flows, names and rules in force come out. It knows
 * neither where observations come from nor who enforces, and nothing of USP.
 *
 * Everything happens in the turn of the event loop that brought it; only the enforcer and the disk are waited for.
 */
import { randomBytes } from "node:crypto";
import { isIPv4, parseAddress, parsePrefix, printAddress, type Prefix } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import { systemZone, type Zone } from "../lib/local-time.ts";
import type { Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import { Answers } from "./answers.ts";
import { Baselines } from "./baselines.ts";
import { Condition } from "./condition.ts";
import { Counters } from "./counters.ts";
import { Destinations } from "./destinations.ts";
import { Detection } from "./detection.ts";
import { DeviceTable } from "./devices.ts";
import type { DeviceRow } from "./devices.ts";
import { deviceBegan, HomeMap, isLocal, peerOffset } from "./direction.ts";
import { EndedFlows } from "./ended-flows.ts";
import { erase, type Erased } from "./erasure.ts";
import type { FlowRecorder } from "./flow-recorder.ts";
import { FlowTable } from "./flows.ts";
import { History } from "./history.ts";
import { Identities } from "./identities.ts";
import { Ignoring, type Reported } from "./ignoring.ts";
import { HISTORY_DOCUMENT, Keeper } from "./keeper.ts";
import { Merges } from "./merges.ts";
import { Names } from "./names.ts";
import { Neighbourhood } from "./neighbourhood.ts";
import type { Health, Observation, Source } from "./observation.ts";
import { Owners } from "./owners.ts";
import { ListBook } from "./lists/book.ts";
import { Contacts } from "./lists/contacts.ts";
import { ListDesk } from "./lists/desk.ts";
import { Placing } from "./lists/placing.ts";
import { StoppedFlows } from "./lists/stopped-flows.ts";
import { Past } from "./past.ts";
import { SPECIAL_PREFIXES, type Authority } from "./policy.ts";
import { Queries } from "./query.ts";
import { Reconciler } from "./reconciler.ts";
import { Recording } from "./recording.ts";
import { RuleBook } from "./rules.ts";
import type { RuleHits } from "./rules.ts";
import { RulesInForce } from "./rules-in-force.ts";
import type { DeviceAddress, Endpoint, Enforcer, Hits, HomeNetwork } from "./ruleset.ts";
import { ScheduleBook } from "./schedules.ts";
import { Sources } from "./sources.ts";
import { loadState, saveState, STATE_DOCUMENT } from "./state.ts";
import type { StateParts } from "./state.ts";
import { defaultLimits } from "./types.ts";
import type {
  CaptureFigures,
  CounterAccuracy,
  DestinationRow,
  FlowRow,
  Home,
  HomeDevice,
  HomeSummary,
  Limits,
  Listener,
  Notice,
  QueryFilter,
  QueryPage,
  SpinStatus,
} from "./types.ts";
import { captureOf, summaryOf } from "./views.ts";
import type { EventCounts } from "./views.ts";

const TICK_MS = 1000;
const DAY_MS = 24 * 60 * 60_000;
const SWEEP_TICKS = 30;
/** Flows that began so shortly before their address changed hands are the new owner's. */
const HANDOVER_MS = 2000;
const STOP_PATIENCE_MS = 3000;
/** The source that all flows come from, where there is one. */
const FLOW_SOURCE = "conntrack";

export interface SpinOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Without one, nothing outlives the process. */
  readonly store?: Store;
  readonly limits?: Partial<Limits>;
  /** Who keeps what has been. Without one, Query() has the flows of the table and the devices' rings alone. */
  readonly flowLog?: FlowRecorder;
  /** Without one, rules are kept and resolved, and obeyed by nobody: they stay Pending. */
  readonly enforcer?: Enforcer;
  readonly sources?: readonly Source[];
  /** Who wins when the resident and the operator both made a rule. */
  readonly authority?: Authority;
  /** What the home's wall clock shows, for schedules. */
  readonly zone?: Zone;
  /** What no rule may cut: the agent's own connections. */
  readonly management?: HomeNetwork["management"];
  /** Manufacturer of a universally administered address; empty if unknown. */
  readonly vendorOf?: (mac: number) => string;
}

const CAPTURE_OFF = "Capture.Enable is false, and without what it observes no rule is brought into force";

export class Spin implements Home {
  readonly rules: RuleBook;
  readonly schedules: ScheduleBook;
  readonly lists = new ListBook();
  readonly listDesk = new ListDesk();
  readonly summary: HomeSummary;
  readonly capture: CaptureFigures;
  readonly detection: Detection;
  readonly history: History;
  readonly past: Past;

  readonly #options: SpinOptions;
  readonly #limits: Limits;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #listeners = new Set<Listener>();
  readonly #counters: Counters;
  readonly #owners: Owners;
  readonly #devices: DeviceTable;
  readonly #identities = new Identities();
  readonly #merges = new Merges(() => this.rules.referencesChanged());
  readonly #home: HomeMap;
  readonly #names: Names;
  readonly #destinations: Destinations;
  readonly #ended: EndedFlows;
  readonly #recording: Recording | undefined;
  #connections: readonly Endpoint[] = [];
  readonly #baselines = new Baselines();
  readonly #flows: FlowTable;
  readonly #neighbourhood: Neighbourhood;
  readonly #answers: Answers;
  readonly #queries: Queries;
  readonly #ignoring: Ignoring;
  readonly #reconciler: Reconciler | undefined;
  readonly #placing: Placing | undefined;
  readonly #contacts = new Contacts({
    lists: this.lists,
    rules: () => this.rules,
    detector: () => this.detection.detectors.listedPeer,
  });
  readonly #stoppedFlows = new StoppedFlows({
    eachFlow: (visit) =>
      this.#flows.eachOutside((row, slot, words, offset) => {
        const device = this.#devices.bySlot(slot);
        if (device) visit(row, device.mac, words, offset);
      }),
    isStopped: (row) => this.#isStopped(row),
    cut: (devices, destinations) => this.#reconciler?.cut(devices, destinations),
  });
  readonly #savedHits: Map<number, RuleHits>;

  readonly #inForce: RulesInForce;
  readonly #sources: Sources;
  readonly #condition: Condition;
  readonly #keeper: Keeper | undefined;
  #harvesting: Promise<void> | undefined;
  readonly #events: EventCounts = { received: 0, lost: 0, dnsAnswers: 0 };
  #network: Extract<Observation, { kind: "network" }> | undefined;

  /** The enforcer's, as they were saved before this start. */
  readonly #savedReadings: unknown;
  #tickedAt = -Infinity;
  #ticks = 0;
  /** Why rules of an earlier life are left as the kernel has them; empty if they are not. */
  #rulesHeld = "";

  constructor(options: SpinOptions) {
    this.#options = options;
    const limits = (this.#limits = { ...defaultLimits, ...options.limits });
    const { clock } = options;
    this.#clock = clock;
    this.#log = options.log.child("spin");
    this.schedules = new ScheduleBook(clock, options.zone ?? systemZone);
    this.rules = new RuleBook({
      clock,
      authority: options.authority ?? "Resident",
      lists: (reference) => this.lists.resolve(reference),
      united: (macs) => this.#merges.expand(macs),
      schedules: (id) => this.schedules.state(id),
      // The home's cut comes from the sources: without it there is nothing to enforce on.
      heldBy: () => (this.#sources.enabled || this.#reconciler?.canSettle === true ? "" : CAPTURE_OFF),
    });
    const slots = limits.devices;
    this.#counters = new Counters(slots);
    this.#owners = new Owners(slots, limits.addressesPerDevice, {
      gained: (slot, words, offset, moved) => this.#addressGained(slot, words, offset, moved),
      lost: (slot, words, offset) => this.#addressLost(slot, words, offset),
    });
    this.#devices = new DeviceTable({
      limits,
      counters: this.#counters,
      owners: this.#owners,
      merges: this.#merges,
      now: () => clock.now(),
      monotonic: () => clock.monotonic(),
      vendorOf: options.vendorOf ?? (() => ""),
      isRuled: (mac) => this.#inForce.names(mac),
      notify: (notice) => this.#notify(notice),
      recall: (row) => this.#identities.recall(row),
      releasing: (slot) => this.#releaseSlot(slot),
    });
    this.#home = new HomeMap((words, offset) => this.#owners.find(words, offset) >= 0);
    this.#names = new Names(slots, limits.namesPerDevice, limits.addressesPerName);
    this.#destinations = new Destinations(slots, limits.destinationsPerDevice);
    this.#ended = new EndedFlows(slots, limits.endedFlowsPerDevice);
    const { flowLog: log } = options;
    this.#recording = log && new Recording({ log, devices: this.#devices, owners: this.#owners, names: this.#names });
    this.#flows = new FlowTable({
      limit: limits.flows,
      slots,
      home: this.#home,
      owners: this.#owners,
      counters: this.#counters,
      destinations: this.#destinations,
      names: this.#names,
      ended: this.#recording ?? this.#ended,
      baselines: this.#baselines,
      sent: (slot, time) => this.#devices.sent(slot, time, clock.monotonic()),
      watch: {
        began: (row) => {
          this.detection.detectors.began(row, clock.monotonic());
          this.#contactBegan(row);
        },
        moved: (row, sent, received) => this.detection.detectors.moved(row, sent, received),
      },
    });
    this.detection = new Detection({
      clock,
      slots,
      rows: this.#flows.rows,
      counters: this.#counters,
      devices: this.#devices,
      isStopped: (row) => this.#isStopped(row),
      notify: (notice) => {
        if (notice.kind === "opened") this.#devices.dirty = true;
        this.#notify({ kind: "incident", notice });
      },
    });
    this.history = new History({ clock, slots, counters: this.#counters, devices: this.#devices });
    this.#neighbourhood = new Neighbourhood({
      clock,
      home: this.#home,
      owners: this.#owners,
      devices: this.#devices,
      claimed: (address, owner, claimant) => this.detection.addressConflict(claimant, address, owner),
      conflict: (address, owner, claimant) => this.#notify({ kind: "address-conflict", address, owner, claimant }),
    });
    this.#sources = new Sources(options.sources ?? [], this.#log, (observation, index) => {
      this.#observe(observation, index);
    });
    this.#inForce = new RulesInForce({
      rules: this.rules,
      lists: this.lists,
      devices: this.#devices,
      merges: this.#merges,
      counters: this.#counters,
      changed: (rule, fields) => this.#notify({ kind: "rule-changed", rule, fields }),
    });
    this.#placing = options.enforcer && this.#placingOf(options.enforcer);
    this.#reconciler = options.enforcer && this.#reconcilerOf(options.enforcer);
    this.#answers = new Answers({
      clock,
      home: this.#home,
      owners: this.#owners,
      devices: this.#devices,
      names: this.#names,
      flows: this.#flows,
      management: new Set(options.management?.map(({ address }) => address)),
      ...(this.#reconciler && { reconciler: this.#reconciler }),
      lists: this.lists,
    });
    this.#ignoring = new Ignoring(this.rules, this.lists);
    this.#queries = new Queries({
      devices: this.#devices,
      rows: this.#flows.rows,
      ended: this.#ended,
      destinations: this.#destinations,
      names: this.#names,
      verdicts: () => this.#inForce.verdicts,
      hides: (row) => this.#ignoring.hides(row),
      epoch: randomBytes(4).readUInt32BE().toString(36),
    });
    log?.begin(() => this.#flows.rows.nextSerial++);
    this.past = new Past({
      clock,
      queries: this.#queries,
      rows: this.#flows.rows,
      devices: this.#devices,
      history: this.history,
      log,
      blocks: (mac, peer, protocol, port) => this.#blocksNow(mac, peer, protocol, port),
    });
    this.summary = summaryOf(this.#counters, this.#devices, () => this.#reconciler?.restored ?? 0);
    this.capture = captureOf({
      sources: options.sources ?? [],
      devices: this.#devices,
      flows: this.#flows,
      neighbourhood: this.#neighbourhood,
      events: this.#events,
    });

    this.#condition = new Condition({
      clock,
      isEnabled: () => this.#sources.enabled,
      parts: () => this.#parts(),
      rulesError: () => this.#reconciler?.trouble ?? "",
      isEnforcing: () => this.#reconciler?.enforces ?? false,
      rulesHeld: () => this.#rulesHeld,
      saveError: () => options.store?.refusal || (log?.refusal ? `flow log: ${log.refusal}` : ""),
      isOffloaded: () => this.#flows.offloaded > 0,
      changed: () => this.#notify({ kind: "status-changed" }),
      partChanged: () => this.#notify({ kind: "part-changed" }),
    });

    const state = loadState(options.store?.load(STATE_DOCUMENT), this.#stateParts());
    this.history.load(options.store?.load(HISTORY_DOCUMENT));
    this.#savedHits = state.hits;
    this.#savedReadings = state.readings;
    if (state.readings !== undefined) options.enforcer?.resume?.(state.readings);
    this.#devices.startNumbersAt(state.reservedNumbers);
    this.#devices.dirty = false;
    this.#keeper = options.store && this.#keeperOf(options.store, state.reservedNumbers);
    this.schedules.onChange(() => this.rules.referencesChanged());
    this.lists.onChange((number) => this.rules.listChanged(number));
    this.rules.onChange(() => {
      this.#placing?.changed();
      this.#reconciler?.policyChanged();
      this.#inForce.checkSoon();
    });
  }

  // ---- running -----------------------------------------------------------------------------------------------------

  async run(signal: AbortSignal): Promise<void> {
    await this.#keeper?.open();
    const work = new AbortController();
    const stop = () => work.abort();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    const guard = this.#reconciler?.run(work.signal);
    const timer = setInterval(() => this.#tickIfDue(), TICK_MS);
    try {
      this.#condition.update();
      await this.#sources.run(work.signal);
    } finally {
      clearInterval(timer);
      signal.removeEventListener("abort", stop);
      stop();
      await guard;
      await this.#finish();
    }
  }

  now(): number {
    return this.#clock.now();
  }

  get enabled(): boolean {
    return this.#sources.enabled;
  }

  setEnabled(enabled: boolean): void {
    this.#sources.setEnabled(enabled);
    this.#condition.update();
    this.#inForce.checkSoon();
  }

  observe(observation: Observation): void {
    this.#observe(observation, 0);
  }

  #observe(observation: Observation, source: number): void {
    // A replay's clock moves with its observations: what was due before this one happens before it.
    this.#tickIfDue();
    // What was stopped is kept once it is known whose it was, and why.
    if (observation.kind !== "blocked") this.#recording?.observed(observation);
    switch (observation.kind) {
      case "flows":
        this.#events.received += observation.columns.length;
        this.#flows.apply(observation.columns, source);
        break;
      case "dumped":
        this.#flows.dumped(observation.startedAt, source);
        this.detection.read(observation.startedAt);
        break;
      case "query":
        this.#asked(observation);
        break;
      case "answer":
        this.#events.dnsAnswers++;
        this.#answers.answered(observation);
        break;
      case "server-name":
        this.#answers.serverNamed(observation);
        break;
      case "blocked":
        this.#stoppedPackets(observation);
        break;
      case "who-has": {
        const target = parseAddress(observation.target);
        const device = this.#devices.byMac(observation.mac);
        if (target && device && this.#owners.find(target, 0) < 0)
          this.detection.detectors.arpScan.asked(device.slot, target[3] as number, observation.time);
        break;
      }
      case "neighbour":
        this.#neighbourhood.neighbour(observation);
        break;
      case "lease":
        this.#neighbourhood.lease(observation);
        break;
      case "identity":
        this.#identities.heard(observation, this.#devices);
        break;
      case "network":
        this.#networkSeen(observation);
        break;
      case "loss":
        this.#events.lost += observation.lost;
        this.#condition.lost();
        break;
    }
  }

  #asked(query: Extract<Observation, { kind: "query" }>): void {
    // A new device may ask before its neighbour entry is known; the question shows both of its addresses.
    if (query.mac !== undefined && !this.#devices.byMac(query.mac))
      this.#neighbourhood.asked(query.mac, query.client, query.time);
    const slot = this.#answers.asked(query, this.#counters);
    if (slot < 0) return;
    this.detection.detectors.dnsTunnel.asked(slot, query.name, query.type, query.time);
    this.#contacts.asked(slot, query.name, query.time);
  }

  #contactBegan(row: number): void {
    const { rows } = this.#flows;
    const direction = rows.direction[row] as number;
    if (isLocal(direction) || !deviceBegan(direction)) return;
    const port = rows.ports[row * 4 + 1] as number;
    const offset = row * 16 + peerOffset(direction);
    this.#contacts.began(rows.device[row] as number, rows.addresses, offset, port, this.#clock.now());
  }

  /** The last work: what has ended goes to the past, hits are fetched, everything is saved. */
  async #finish(): Promise<void> {
    this.tick();
    if (this.#reconciler?.canSettle === true) await within(STOP_PATIENCE_MS, this.settled());
    await this.#harvesting;
    await within(STOP_PATIENCE_MS, this.harvest(true));
    await this.#keeper?.close();
    await this.#recording?.close(this.#flows.rows);
    await this.#placing?.close();
    await this.#reconciler?.close().catch((error: unknown) => this.#log.warn("the enforcer did not close", error));
  }

  // ---- time --------------------------------------------------------------------------------------------------------

  #tickIfDue(): void {
    if (this.#clock.monotonic() - this.#tickedAt >= TICK_MS * 0.9) this.tick();
  }

  tick(): void {
    const now = (this.#tickedAt = this.#clock.monotonic());
    this.#devices.tick(this.#isWatched());
    this.#counters.sample(now);
    this.history.tick(this.#isWatched());
    this.#destinations.tick(now);
    this.#flows.tick();
    this.#recording?.tick(this.#flows.rows);
    this.#answers.tick();
    this.detection.tick();
    if (++this.#ticks % SWEEP_TICKS === 0) this.#owners.sweep(now);
    this.schedules.tick();
    this.rules.expire();
    this.#reconciler?.tick();
    this.#condition.update();
    if (this.rules.size > 0) void this.harvest();
    this.#keeper?.tick();
  }

  /** What the devices move is being counted: capture is on, and its source of flows works. */
  #isWatched(): boolean {
    const conntrack = this.#options.sources?.find(({ name }) => name === FLOW_SOURCE)?.health.status ?? "Running";
    return this.#sources.enabled && (conntrack === "Running" || conntrack === "Degraded");
  }

  harvest(all = false): Promise<void> {
    if (!this.#reconciler) return Promise.resolve();
    const reconciler = this.#reconciler;
    this.#harvesting ??= reconciler
      .hits(all)
      .then((hits) => hits && this.#harvested(hits))
      .finally(() => (this.#harvesting = undefined));
    return this.#harvesting;
  }

  #harvested(hits: Hits): void {
    this.#inForce.count(hits);
    const time = this.#clock.now();
    for (const { mac, address } of hits.sources ?? [])
      this.#neighbourhood.neighbour({ kind: "neighbour", time, mac, address, interface: "", state: "dropped" });
  }

  // ---- the home ----------------------------------------------------------------------------------------------------

  #networkSeen(network: Extract<Observation, { kind: "network" }>): void {
    const before = this.#network;
    this.#network = network;
    this.#home.set(network.lanPrefixes, network.gatewayAddresses);
    this.#neighbourhood.networkSeen(network);
    this.#flows.bindWaiting();
    if (before && sameNetwork(before, network)) return;
    this.#tellNetwork(network);
  }

  #tellNetwork({ lanInterfaces, lanPrefixes, gatewayAddresses }: Extract<Observation, { kind: "network" }>): void {
    const connections = this.#outside(this.#connections);
    this.#reconciler?.networkChanged({
      lanInterfaces,
      lanPrefixes: lanPrefixes.map(parsePrefix).filter((prefix) => prefix !== undefined),
      gatewayAddresses,
      management: this.#options.management ?? [],
      connections,
    });
  }

  /** The agent's own connections, as they are now. What lies in the home stays under the home's rules. */
  setConnections(connections: readonly Endpoint[]): void {
    const [before, now] = [this.#connections, connections].map((all) => JSON.stringify(this.#outside(all)));
    this.#connections = connections;
    if (this.#network && before !== now) this.#tellNetwork(this.#network);
  }

  #outside(connections: readonly Endpoint[]): Endpoint[] {
    return connections.filter(({ address }) => {
      const words = parseAddress(address);
      const isHere = /^(127\.|::1$)/.test(address);
      return words !== undefined && !isHere && !this.#home.isLan(words, 0) && !this.#home.isGateway(words, 0);
    });
  }

  #addressGained(slot: number, words: Uint32Array, offset: number, moved: boolean): void {
    const row = this.#devices.bySlot(slot);
    if (!row) return;
    this.#reconciler?.addresses([deviceAddress(row, words, offset)], []);
    this.#devices.addressesChanged(slot, isIPv4(words, offset) ? 4 : 6);
    if (moved) this.#flows.ownerChanged(words, offset, slot, this.#clock.now() - HANDOVER_MS);
    this.#flows.bindWaiting();
    this.#answers.clientFound(words, offset);
  }

  #addressLost(slot: number, words: Uint32Array, offset: number): void {
    const row = this.#devices.bySlot(slot);
    if (!row) return;
    this.#reconciler?.addresses([], [deviceAddress(row, words, offset)]);
    this.#devices.addressesChanged(slot, isIPv4(words, offset) ? 4 : 6);
  }

  #releaseSlot(slot: number): void {
    this.#flows.forgetDevice(slot);
    this.#owners.removeAll(slot);
    this.#names.removeAll(slot);
    this.#destinations.removeAll(slot);
    this.#ended.removeAll(slot);
    this.detection.clear(slot);
    this.history.clear(slot);
  }

  #blocksNow(mac: number, peer: Uint32Array | undefined, protocol: number, port: number): boolean {
    const device = this.#devices.byMac(mac);
    if (device?.blocked === true || !device || !peer) return device?.blocked ?? false;
    const names = this.#names.all(device.slot, peer, 0);
    return this.#inForce.verdicts.blocks({ mac, words: peer, offset: 0, names, protocol, port });
  }

  /** Who it was and which rule it was is found here; the sum is told on. */
  #stoppedPackets(seen: Extract<Observation, { kind: "blocked" }>): void {
    const client = seen.mac === 0 && seen.client !== undefined ? parseAddress(seen.client) : undefined;
    const slot = client ? this.#owners.find(client, 0) : (this.#devices.byMac(seen.mac)?.slot ?? -1);
    const mac = this.#devices.bySlot(slot)?.mac ?? seen.mac;
    const words = parseAddress(seen.address);
    if (!words || mac === 0) return;
    const { protocol, port } = seen;
    const names = slot < 0 ? [] : this.#names.all(slot, words, 0);
    const rule = this.#inForce.verdicts.deciding({ mac, words, offset: 0, names, protocol, port });
    // Lifted since, or one of who began: then it is not known.
    const known = rule && rule.action !== "Allow" ? { rule: rule.id } : {};
    if (seen.outbound && slot >= 0)
      this.detection.detectors.ruleViolation.stopped(
        slot,
        seen.packets,
        seen.time,
        `${seen.address} port ${port}`,
        this.#inForce.verdicts.blocksAllOf(mac),
      );
    const blocked = { ...seen, mac, ...known };
    this.#recording?.observed(blocked);
    this.#notify({ kind: "blocked", blocked });
  }

  /** A rule of ours stops the flow. */
  #isStopped(row: number): boolean {
    const { rows } = this.#flows;
    const device = this.#devices.bySlot(rows.device[row] as number);
    if (!device) return false;
    const offset = row * 16 + peerOffset(rows.direction[row] as number);
    return this.#inForce.verdicts.blocks({
      mac: device.mac,
      words: rows.addresses,
      offset,
      names: this.#names.all(device.slot, rows.addresses, offset),
      protocol: rows.protocol[row] as number,
      port: rows.ports[row * 4 + 1] as number,
    });
  }

  // ---- rules -------------------------------------------------------------------------------------------------------

  #reconcilerOf(enforcer: Enforcer): Reconciler {
    return new Reconciler({
      clock: this.#clock,
      log: this.#log,
      rules: this.rules,
      enforcer,
      deviceAddresses: () => this.#deviceAddresses(),
      nameAddresses: (domains) => this.#answers.underDomains(domains),
      applied: (policy, report) => {
        this.#inForce.applied(policy, report);
        this.#stoppedFlows.applied(policy, this.lists.revision);
      },
      started: () => this.#placing?.start() ?? Promise.resolve(),
      troubleChanged: () => {
        this.#condition.update();
        this.#inForce.checkSoon();
      },
    });
  }

  /** What no list may hold: what is nobody's on the Internet, the home's, the gateway's own, the agent's connections. */
  excludedFromLists(): Prefix[] {
    const { lanPrefixes = [], gatewayAddresses = [] } = this.#network ?? {};
    const addresses = [...(this.#options.management ?? []), ...this.#connections].map(({ address }) => address);
    const own = [...lanPrefixes, ...gatewayAddresses, ...addresses].flatMap((text) => parsePrefix(text) ?? []);
    return [...SPECIAL_PREFIXES, ...own];
  }

  #placingOf(enforcer: Enforcer): Placing {
    return new Placing({
      book: this.lists,
      enforcer,
      rules: () => this.rules.list(),
      settled: () => this.settled(),
      log: this.#log,
    });
  }

  #deviceAddresses(): DeviceAddress[] {
    const list: DeviceAddress[] = [];
    for (const row of this.#devices.values())
      this.#owners.each(row.slot, (words, offset) => list.push(deviceAddress(row, words, offset)));
    return list;
  }

  settled(): Promise<void> {
    return this.#reconciler?.settled() ?? Promise.resolve();
  }

  holdRules(why: string): void {
    this.#rulesHeld = why;
    this.#reconciler?.hold(why !== "");
    this.#condition.update();
  }

  savedHits(rule: number): RuleHits | undefined {
    return this.#savedHits.get(rule);
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  get status(): SpinStatus {
    return this.#condition.status;
  }
  get statusReason(): string {
    return this.#condition.reason;
  }
  get accuracy(): CounterAccuracy {
    return this.#condition.accuracy;
  }

  devices(): IterableIterator<HomeDevice> {
    return this.#devices.values();
  }
  device(number: number): HomeDevice | undefined {
    return this.#devices.byNumber(number);
  }
  deviceByMac(mac: number): HomeDevice | undefined {
    return this.#devices.byMac(mac);
  }

  setName(number: number, name: string): Promise<void> {
    this.#devices.setName(this.#row(number), name);
    return this.#keeper?.save() ?? Promise.resolve();
  }

  merge(number: number, into: number | undefined): Promise<void> {
    this.#devices.merge(this.#row(number), into === undefined ? undefined : this.#row(into));
    return this.save();
  }

  setForgetAfter(days: number): void {
    this.#devices.setForgetAfter(days === 0 ? Infinity : days * DAY_MS);
  }

  forget(number: number): Promise<void> {
    const row = this.#row(number);
    this.#devices.remove(row, "forgotten");
    return Promise.all([this.save(), this.#options.flowLog?.erase(row.mac)]).then(() => undefined);
  }

  /** Resolves when what the device did (all of them, without one) is nowhere any more; throws where it can't be written. */
  async eraseHistory(mac?: number): Promise<Erased> {
    const one = mac === undefined ? undefined : this.#devices.byMac(mac);
    const rows = mac === undefined ? [...this.#devices.values()] : one ? [one] : [];
    const erased = erase(
      {
        answers: this.#answers,
        destinations: this.#destinations,
        detection: this.detection,
        ended: this.#ended,
        flows: this.#flows,
        history: this.history,
        names: this.#names,
      },
      rows,
    );
    if (mac === undefined) this.history.erase();
    const { flowLog, store } = this.#options;
    for (const document of [STATE_DOCUMENT, HISTORY_DOCUMENT]) store?.dropAside?.(document);
    await Promise.all([this.save(), mac === undefined ? flowLog?.eraseAll() : flowLog?.erase(mac)]);
    return erased;
  }

  queryFlows(filter: QueryFilter): QueryPage<FlowRow> {
    return this.#queries.flows(filter);
  }
  queryDestinations(filter: QueryFilter): QueryPage<DestinationRow> {
    return this.#queries.destinations(filter);
  }
  /** A rule of Action Ignore leaves it out of reports. */
  hides(row: Reported): boolean {
    return this.#ignoring.hides(row);
  }
  topDestinations(number: number, count: number): readonly { readonly name: string; readonly bytes: number }[] {
    const row = this.#devices.byNumber(number);
    return row ? this.#queries.top(row.slot, count) : [];
  }

  nameOf(mac: number, address: string): string {
    const row = this.#devices.byMac(mac);
    const words = parseAddress(address);
    return row && words ? this.#names.best(row.slot, words, 0) : "";
  }
  /** All names under which the device knows the address, CNAMEs included. */
  namesOf(mac: number, address: string): string[] {
    const row = this.#devices.byMac(mac);
    const words = parseAddress(address);
    return row && words ? this.#names.all(row.slot, words, 0) : [];
  }

  subscribe(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  #row(number: number): DeviceRow {
    const row = this.#devices.byNumber(number);
    if (!row) throw new RangeError(`no device ${number}`);
    return row;
  }

  #notify(notice: Notice): void {
    if (notice.kind === "device-added") {
      this.#devices.setBlocked(notice.device as DeviceRow, this.#inForce.verdicts.blocksAllOf(notice.device.mac));
      this.#devices.setIgnored(notice.device as DeviceRow, this.#inForce.ignores(notice.device.mac));
    }
    for (const listener of this.#listeners) {
      try {
        listener(notice);
      } catch (error) {
        this.#log.error(`a listener failed at ${notice.kind}`, error);
      }
    }
  }

  // ---- state -------------------------------------------------------------------------------------------------------

  async save(): Promise<void> {
    await Promise.all([this.#keeper?.save(), this.#keeper?.saveHistory()]);
  }

  #keeperOf(store: Store, reserved: number): Keeper {
    const document = (numbers: number) => {
      const readings = this.#countedReadings();
      const underRules = (names: readonly string[]) => this.#answers.isUnderRules(names);
      return saveState(this.#stateParts(), numbers, this.#ruleHits(), underRules, readings);
    };
    return new Keeper(
      {
        clock: this.#clock,
        log: this.#log,
        store,
        devices: this.#devices,
        intervalMs: this.#limits.saveIntervalMs,
        document,
        history: () => this.history.save(),
      },
      reserved,
    );
  }

  /** Takes in all that the enforcer has read, so that what is counted and its readings are of one moment. */
  #countedReadings(): unknown {
    const counted = this.#options.enforcer?.counted?.();
    if (!counted) return this.#savedReadings;
    this.#inForce.count(counted.hits);
    return counted.readings;
  }

  *#ruleHits(): Iterable<readonly [number, RuleHits]> {
    for (const { id } of this.rules.list()) yield [id, this.rules.hits(id)];
  }

  #stateParts(): StateParts {
    return {
      devices: this.#devices,
      owners: this.#owners,
      merges: this.#merges,
      counters: this.#counters,
      rows: this.#flows.rows,
      baselines: this.#baselines,
      names: this.#names,
      detection: this.detection,
      now: this.#clock.now(),
      monotonic: this.#clock.monotonic(),
    };
  }

  #parts(): { name: string; health: Health }[] {
    const parts = (this.#options.sources ?? []).map(({ name, health }) => ({ name, health }));
    if (this.#options.enforcer) parts.push({ name: "enforcer", health: this.#options.enforcer.health });
    return parts;
  }
}

function deviceAddress(row: DeviceRow, words: Uint32Array, offset: number): DeviceAddress {
  return { kind: "device", mac: row.mac, address: printAddress(words, offset) };
}

function sameNetwork(
  a: Extract<Observation, { kind: "network" }>,
  b: Extract<Observation, { kind: "network" }>,
): boolean {
  return (
    String(a.lanInterfaces) === String(b.lanInterfaces) &&
    String(a.lanPrefixes) === String(b.lanPrefixes) &&
    String(a.gatewayAddresses) === String(b.gatewayAddresses)
  );
}

/** Waits for a promise, but not longer; it goes on by itself. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([promise, patience]);
  clearTimeout(timer);
}
