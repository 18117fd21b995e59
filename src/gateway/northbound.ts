/** The agent over a home: the tree of all objects, the rows seeded at the first start, and the MTPs. */
import type { Config } from "../config.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { Store } from "../lib/store.ts";
import type { Implementation } from "../model/implementation.ts";
import { Persistence } from "../model/persistence.ts";
import { Tree } from "../model/tree.ts";
import { AccessLog, spinAccessLog } from "../objects/access-log.ts";
import { benchObjects } from "../objects/bench.ts";
import { controllerTrustObjects } from "../objects/controller-trust.ts";
import { deviceInfo, deviceStatus } from "../objects/device-info.ts";
import { deviceRoot, type Power, type RestartReason } from "../objects/device-root.ts";
import type { CaptureControl, SpinParts } from "../objects/home.ts";
import { e2eSessionObjects } from "../objects/e2e-session.ts";
import { localAgentObjects } from "../objects/local-agent.ts";
import { mqttObjects } from "../objects/mqtt.ts";
import { MqttStates } from "../objects/mqtt-states.ts";
import { stompObjects } from "../objects/stomp.ts";
import { StompStates } from "../objects/stomp-states.ts";
import { WebSocketSessions } from "../mtp/websocket-sessions.ts";
import { webSocketObjects, WebSocketStates } from "../objects/websocket.ts";
import { socketObjects } from "../objects/sockets.ts";
import { hostObjects, tellHosts } from "../objects/hosts.ts";
import { tellModel } from "../objects/notices.ts";
import { isAtHome, spinPolicy } from "../objects/privacy.ts";
import { quarantineNewDevices } from "../objects/quarantine.ts";
import { spinCapture, spinCaptureSource } from "../objects/spin-capture.ts";
import { applyDetectionSettings, spinDetectionObjects } from "../objects/spin-detection.ts";
import { spinDevice, spinDeviceStats } from "../objects/spin-device.ts";
import { spinHistoryObjects } from "../objects/spin-history.ts";
import { spinIncident, tellIncidents } from "../objects/spin-incident.ts";
import { spinRoot } from "../objects/spin-root.ts";
import { restoreLists, spinList, tellLists } from "../objects/spin-list.ts";
import { restoreSchedules, spinSchedule, tellSchedules } from "../objects/spin-schedule.ts";
import { restoreRules, spinRule } from "../objects/spin-rule.ts";
import { spinSummary } from "../objects/spin-summary.ts";
import { SupportSession } from "../objects/support-session.ts";
import { UndoLog } from "../objects/undo.ts";
import type { LiveCapture } from "../spin/live-capture.ts";
import { Agent } from "../usp/agent.ts";
import type { BulkData } from "../usp/bulk-data/bulk-data.ts";
import { MtpStates } from "../usp/mtp.ts";
import { Requests } from "../usp/requests.ts";
import type { GatewayIdentity } from "./identity.ts";
import { connectors, PROTOCOLS } from "./connectors.ts";
import { Reports } from "./reports.ts";
import { seed } from "./seed.ts";
import { seedLists } from "./lists.ts";
import { sessionOptions } from "./session-options.ts";
import { seedSockets } from "./seed-sockets.ts";
import type { SeededPart } from "./seed-rows.ts";
import { makeTrust } from "./trust.ts";

export interface NorthboundOptions {
  readonly home: SpinParts["home"];
  readonly capture: CaptureControl;
  /** Absent: nothing can read packets. */
  readonly liveCapture?: LiveCapture;
  readonly config: Config;
  readonly identity: GatewayIdentity;
  readonly store: Store;
  readonly version: string;
  readonly clock: Clock;
  readonly log: Log;
  /** How the host restarts, where it lets us. */
  readonly power?: Power;
  /** Why this start came, where a command was the reason. */
  readonly restart?: RestartReason | undefined;
  /** Rows of the synthetic model; absent: without it. */
  readonly benchRows?: number;
}

export interface Northbound {
  readonly tree: Tree;
  readonly agent: Agent;
  readonly bulkData: BulkData;
  readonly mtpStates: MtpStates;
  readonly mqttStates: MqttStates;
  readonly stompStates: StompStates;
  /** Writes what is written now and then; the last thing. Never rejects. */
  close(): Promise<void>;
}

/** The version that ran last, and whether the model was seeded. */
const SEEDED = "seeded";
/** Asynchronous commands that go on after a restart. */
const REQUESTS = "model-requests";
/** Kept while rules are lost and the kernel still obeys them; `spin-usp reset` forgets it, as all that begins so. */
const RULES_HELD = "model-rules-held";
/** Of the documents that the first start makes: what is lost with each. */
const SEEDED_GROUPS: readonly { readonly part: SeededPart; readonly group: string; readonly what: string }[] = [
  { part: "brokers", group: "Device.MQTT.Client.{i}.", what: "the brokers" },
  { part: "stomp", group: "Device.STOMP.Connection.{i}.", what: "the STOMP brokers" },
  { part: "agent", group: "Device.LocalAgent.", what: "the controllers with their roles, topics and subscriptions" },
  { part: "spin", group: "Device.X_SPIN.", what: "the rules and SPIN's settings" },
  { part: "reports", group: "Device.BulkData.", what: "the profiles of reports" },
];

/** Paths of the resident's sockets. */
const doorsOf = ({ sockets }: Config) => sockets.filter(({ role }) => role === "Resident").map(({ path }) => path);

/** Builds it; connects nothing yet. Rules that were kept are in the book when this returns. */
export function northbound(options: NorthboundOptions): Northbound {
  const { home, capture, config, identity, store, version, clock, log } = options;
  const persistence = new Persistence(store);
  const mtpStates = new MtpStates();
  const mqttStates = new MqttStates();
  const stompStates = new StompStates();
  const webSocketStates = new WebSocketStates();
  const requests = new Requests({
    load: () => store.load(REQUESTS),
    save: (document) => persistence.include(store.save(REQUESTS, document)),
  });
  const sessions = sessionOptions(config.agent, log.child("usp"));
  const accesses = new AccessLog({ store, clock, log: log.child("privacy") });
  const support = new SupportSession({
    store,
    clock,
    log: log.child("privacy"),
    changed: () => tree.changes.value("Device.X_SPIN.", "SupportUntil"),
  });
  const privacy = { level: config.agent.privacy_level, ceiling: config.agent.privacy_ceiling };
  const spin: SpinParts = {
    home,
    capture,
    persistence,
    authority: config.agent.authority,
    version,
    log: log.child("spin"),
    undo: new UndoLog(),
    privacy,
    support,
    supportGranted: () => support.granted,
    // The resident's own is the resident's own business.
    accessed: (caller, what, showsPeers) => {
      if (!isAtHome(caller)) accesses.add(caller.endpointId, what, showsPeers);
    },
    ...(options.liveCapture ? { liveCapture: options.liveCapture } : {}),
    forgetAfter: config.capture.forget_devices_after,
  };
  const hasHosts = !config.service.enable;
  const trust = makeTrust({ config, store, persistence, clock, log: log.child("trust") });
  const reports = new Reports(config, persistence);
  const implementations: Implementation[] = [
    deviceRoot({ clock, power: options.power ?? {}, spin }),
    ...deviceStatus(),
    deviceInfo(identity, persistence),
    ...localAgentObjects({
      endpointId: identity.endpointId,
      version,
      persistence,
      protocols: PROTOCOLS,
      mtpStates,
      requests,
      trust,
      clock,
      sendOnBoardRequest: (controller) => agent.sendOnBoardRequest(controller),
    }),
    ...e2eSessionObjects({ persistence, states: sessions.states }),
    ...controllerTrustObjects(persistence, trust.challenges),
    ...mqttObjects({ persistence, states: mqttStates, reconnect: (client) => reconnect(client) }),
    ...stompObjects({ persistence, states: stompStates }),
    ...webSocketObjects({ persistence, states: webSocketStates, reconnect: (mtp) => agent.reconnect(mtp) }),
    ...socketObjects(persistence),
    spinRoot(spin),
    spinSummary(spin),
    spinCapture(spin),
    spinCaptureSource(spin),
    spinDevice(spin, hasHosts),
    spinDeviceStats(),
    ...(hasHosts ? hostObjects(home) : []),
    spinRule(spin),
    spinSchedule(spin),
    spinList(spin),
    spinIncident(spin),
    spinAccessLog(accesses),
    ...spinDetectionObjects(spin),
    ...spinHistoryObjects(spin),
    ...reports.objects,
    ...(options.benchRows === undefined ? [] : benchObjects(options.benchRows, persistence)),
  ];
  const tree = new Tree(implementations);
  const before = store.load(SEEDED) as { version?: string; sockets?: readonly string[] } | undefined;
  const lost = new Set(
    SEEDED_GROUPS.filter(({ group }) => persistence.found(group) !== "kept").map(({ part }) => part),
  );
  if (lost.size > 0) seed(tree, config, identity.endpointId, lost);
  const furnished = (!lost.has("agent") && before?.sockets) || [];
  const sockets = seedSockets(tree, config, furnished);
  // Also where the configuration asks for no row: the next start must not take them for lost.
  for (const { part, group } of SEEDED_GROUPS) if (lost.has(part)) persistence.changed(group);
  if (before !== undefined)
    for (const { part, group, what } of SEEDED_GROUPS)
      if (lost.has(part))
        log.error(
          `${what} (${group}) are lost, the file is ${persistence.found(group)}; as in the configuration again`,
        );
  if (before?.version !== version || lost.size > 0 || `${before.sockets}` !== `${sockets}`)
    recordStart(options, persistence, sockets);
  spin.undo.attach(tree);
  accesses.attach(tree);
  restoreSchedules(tree, home);
  restoreLists(tree, home);
  seedLists(tree, config);
  const unreadable = restoreRules(tree, home, log);
  holdLostRules(options, tree, (before !== undefined && lost.has("spin")) || unreadable > 0);
  applyCaptureSettings(tree, capture);
  tellModel(home, tree);
  if (hasHosts) tellHosts(home, tree);
  const root = mustBe(tree.at("Device.X_SPIN."));
  home.setForgetAfter(root.object.params.get("ForgetDevicesAfter")?.read(root.row) as number);
  tellSchedules(tree, home);
  tellLists(tree, home);
  quarantineNewDevices(home, tree, spin.log);
  applyDetectionSettings(tree, spin);
  tellIncidents(spin, tree);

  const reconnect = (client: string) => {
    for (const node of tree.all(mustBe(tree.object("Device.LocalAgent.MTP."))))
      if (tree.text(mustBe(tree.at(`${node.path}MQTT.`)), "Reference") === client)
        agent.reconnect(node.path.slice(0, -1));
  };
  const agent: Agent = new Agent({
    endpointId: identity.endpointId,
    tree,
    requests,
    mtpStates,
    ...connectors({
      tree,
      endpointId: identity.endpointId,
      config,
      mqttStates,
      stompStates,
      webSocketStates,
      webSocketSessions: new WebSocketSessions(),
      maxRecordBytes: 1 << 20,
      log: log.child("mtp"),
    }),
    boot: {
      // Before the first start there was nothing, as after a reset.
      ...(options.restart ?? { cause: before === undefined ? "LocalFactoryReset" : "LocalReboot" }),
      firmwareUpdated: before !== undefined && before.version !== version,
    },
    sessions,
    policy: spinPolicy(() => tree, {
      doors: doorsOf(config),
      supportGranted: spin.supportGranted,
      accessed: spin.accessed,
    }),
    trust,
    saved: () => persistence.saved(),
    device: () => identity,
    dataModelUri: (path) =>
      path.startsWith("Device.X_") ? "urn:spin-usp:x-spin-1-0" : "urn:broadband-forum-org:tr-181-2-19-usp",
    limits: { responseBytes: config.agent.max_message_size },
    log: log.child("usp"),
    clock,
  });
  const bulkData = reports.over({ tree, agent, identity, mqttStates, clock, log: log.child("reports") });
  const close = () => Promise.all([accesses.close(), support.close()]).then(() => undefined);
  return { tree, agent, bulkData, mtpStates, mqttStates, stompStates, close };
}

/** Not before all that was seeded is kept: a power cut in between makes the next start the first again. */
function recordStart(
  { store, version, log }: NorthboundOptions,
  persistence: Persistence,
  sockets: readonly string[],
): void {
  persistence
    .saved()
    .then(() => store.save(SEEDED, { version, sockets }))
    .catch((error: unknown) => log.warn("the first start could not be recorded", error));
}

/**
 * Rules that can't be read are not lifted: the kernel keeps what it holds, over restarts too, until somebody sets a rule
 * (which makes the known rules all there are) or resets.
 */
function holdLostRules({ home, store, log }: NorthboundOptions, tree: Tree, areLost: boolean): void {
  if (!areLost && store.load(RULES_HELD) === undefined) return;
  const why =
    "the saved rules can't be read; blocks that were in force stay in force until a rule is set, or until " +
    "`spin-usp reset` while the agent is stopped";
  log.error(why);
  home.holdRules(why);
  const failed = (error: unknown) => log.warn("that rules are held could not be saved", error);
  store.save(RULES_HELD, { held: true }).catch(failed);
  const end = tree.changes.listen((change) => {
    if (change.kind === "event" || change.kind === "operationComplete") return;
    // Hits and states change by themselves.
    if (!change.path.startsWith("Device.X_SPIN.Rule.") || (change.kind === "value" && !change.isSet)) return;
    end();
    home.holdRules("");
    store.save(RULES_HELD, undefined).catch(failed);
  });
}

/** What controllers set in an earlier life. */
function applyCaptureSettings(tree: Tree, capture: CaptureControl): void {
  const read = (path: string, name: string) => {
    const node = mustBe(tree.at(path));
    return node.object.params.get(name)?.read(node.row);
  };
  const settings = "Device.X_SPIN.Capture.";
  capture.setSpinEnabled(read("Device.X_SPIN.", "Enable") as boolean);
  capture.setEnabled(read(settings, "Enable") as boolean);
  capture.setInterfaces(read(settings, "Interfaces") as readonly string[]);
  capture.setCounterInterval(read(settings, "CounterInterval") as number);
}

function mustBe<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the model lacks a part that every agent has");
  return value;
}
