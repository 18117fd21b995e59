/**
 * The agent on a gateway: the kernel below, the MTPs above. The one place that names concrete backends, and the order
 * in which things start and stop.
 */
import { mkdirSync } from "node:fs";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { BlockedSource } from "../capture/blocked.ts";
import { ConntrackSource } from "../capture/conntrack.ts";
import { DnsSource } from "../capture/dns.ts";
import { FirstPacketsSource } from "../capture/first-packets.ts";
import { HostsSource } from "../capture/hosts.ts";
import { Lan } from "../capture/lan.ts";
import { FramesSource } from "../capture/lan-frames.ts";
import { LeasesSource } from "../capture/leases.ts";
import { NeighboursSource } from "../capture/neighbours.ts";
import { NetworkSource } from "../capture/network.ts";
import { prepareConntrack } from "../capture/prepare-conntrack.ts";
import type { Config } from "../config.ts";
import { stompPort } from "../config/stomp.ts";
import { webSocketTarget } from "../config/websocket.ts";
import { systemClock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { openStore, type Store } from "../lib/store.ts";
import { vendorsIn } from "../lib/vendors.ts";
import { observeDials } from "../mtp/socket.ts";
import { NetfilterHelper } from "../netlink/helper.ts";
import type { RestartReason } from "../objects/device-root.ts";
import type { Tree } from "../model/tree.ts";
import { Spin } from "../spin/spin.ts";
import { VERSION } from "../version.ts";
import { Connections } from "./connections.ts";
import { captureControl } from "./capture-control.ts";
import { lazyCaptures } from "./captures.ts";
import { runDiscovery } from "./discovery.ts";
import { makeEnforcer } from "./enforcer.ts";
import { findPart } from "./files.ts";
import { flowLogOf } from "./flow-log.ts";
import { forgetState } from "./forget.ts";
import { homeZone } from "./home-zone.ts";
import { identityOf } from "./identity.ts";
import { startLists } from "./lists.ts";
import { northbound } from "./northbound.ts";
import { runNotices } from "./notices.ts";
import { powerOf, takeRestart } from "./power.ts";
import { runSpin1 } from "./spin1.ts";
import { lockState } from "./state-lock.ts";
import { writeStatus } from "./status.ts";

export interface GatewayOptions {
  readonly log: Log;
  /** Rows of Device.X_BENCH.; absent: without it. */
  readonly benchRows?: number;
}

/** Rules are in force before anything is announced; a kernel that hangs holds that up no longer than this. */
const RULES_PATIENCE_MS = 3000;

export class Gateway {
  readonly #config: Config;
  readonly #options: GatewayOptions;

  constructor(config: Config, options: GatewayOptions) {
    this.#config = config;
    this.#options = options;
  }

  /**
   * Until the signal.
   * @throws ConfigError, StateLockedError, or the system's error where the state directory can't be used
   */
  async run(signal: AbortSignal): Promise<void> {
    const { log } = this.#options;
    const { state_dir: directory } = this.#config.agent;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const release = lockState(directory);
    try {
      const store = openStore(directory, log.child("store"));
      const restart = takeRestart(store);
      if (restart?.forget) forgetState(directory, "home");
      await this.#runWith(store, restart, signal);
      await store.flush();
    } finally {
      release();
    }
  }

  async #runWith(store: Store, restart: RestartReason | undefined, signal: AbortSignal): Promise<void> {
    const { log, benchRows } = this.#options;
    const config = this.#config;
    const identity = identityOf(config, VERSION, store);
    log.info(`version ${VERSION}, endpoint ${identity.endpointId}`);
    // What serves others stops after those it serves.
    const below = new AbortController();
    const helper = helperOf(config, log);
    const helperRuns = helper?.run(below.signal);
    const prepared = this.#prepare(helper);
    const { sources, control, lan } = this.#sources(helper);
    const liveCapture = lazyCaptures({
      helper,
      interfaces: () => lan.interfaces,
      folder: config.capture.folder,
      caFile: config.bulkData.ca_file,
      log: log.child("capture"),
    });
    const kernel = { helper, store, log: log.child("enforce"), clock: systemClock };
    const { enforcer, enforces } = await makeEnforcer(config, kernel);
    const flowLog = await flowLogOf(config, log);
    const zone = homeZone(config.agent.timezone, log);
    const home = new Spin({
      clock: systemClock,
      log,
      store,
      sources,
      authority: config.agent.authority,
      zone,
      management: await management(config, log),
      enforcer,
      ...(flowLog && { flowLog }),
      vendorOf: vendorsIn(findPart("vendors.bin"), log),
    });
    observeDials(new Connections((endpoints) => home.setConnections(endpoints)));
    const capture = control((running) => home.setEnabled(running));
    const { agent, bulkData, tree, mtpStates, mqttStates, stompStates, close } = northbound({
      home,
      capture,
      liveCapture,
      config,
      identity,
      store,
      power: powerOf(config.agent, store, log),
      restart,
      version: VERSION,
      clock: systemClock,
      log,
      ...(benchRows === undefined ? {} : { benchRows }),
    });
    await prepared;
    // What was kept is read before rules are applied: those on lists have held since the last life.
    const stopLists = await startLists({ home, config, store, clock: systemClock, log });
    const homeControl = new AbortController();
    const homeRuns = home.run(homeControl.signal);
    const status = writeStatus({
      directory: config.agent.state_dir,
      tree,
      identity,
      mtpStates,
      mqttStates,
      stompStates,
      home,
      sources,
      clock: systemClock,
    });
    const reporting = bulkData.run(below.signal);
    const advertising = this.#advertise(tree, identity.endpointId, below.signal);
    const telling = runNotices({ config, tree, zone, log }, below.signal);
    const spin1Runs = runSpin1(config, log, AbortSignal.any([signal, homeControl.signal]));
    const discovering = runDiscovery({ tree, file: config.agent.discovery_file, log }, below.signal);
    try {
      if (enforces) await within(RULES_PATIENCE_MS, home.settled(), signal);
      await agent.run(signal);
    } finally {
      status.stop();
      observeDials(undefined);
      homeControl.abort();
      await spin1Runs;
      await homeRuns;
      await liveCapture.close();
      await stopLists();
      below.abort();
      await reporting;
      await discovering;
      await telling;
      await advertising;
      await helperRuns;
      await close();
    }
    log.info("stopped");
  }

  async #advertise(tree: Tree, endpointId: string, signal: AbortSignal): Promise<void> {
    const { mdns_interface: interfaces } = this.#config.agent;
    if (interfaces.length === 0) return;
    const { runMdns } = await import("./mdns.ts");
    await runMdns({ tree, endpointId, interfaces, log: this.#options.log }, signal);
  }

  async #prepare(helper: NetfilterHelper | undefined): Promise<void> {
    const { log } = this.#options;
    const unusable = await helper?.usable();
    if (unusable !== undefined) log.warn(`the helper can't be used: ${unusable}`);
    const { problems } = await prepareConntrack(helper);
    for (const problem of problems) log.warn(problem);
  }

  #sources(helper: NetfilterHelper | undefined) {
    const { log } = this.#options;
    const { interface: interfaces, counter_interval, leases, frames, hosts } = this.#config.capture;
    const lan = new Lan(interfaces);
    const common = { helper, clock: systemClock, log: log.child("capture") };
    const network = new NetworkSource({ ...common, lan, interfaces });
    const conntrack = new ConntrackSource({ ...common, counterIntervalMs: counter_interval * 1000 });
    const sources = [
      network,
      conntrack,
      new DnsSource(common),
      new FirstPacketsSource(common),
      new BlockedSource(common),
      new NeighboursSource({ ...common, lan }),
      new LeasesSource({ clock: systemClock, log: common.log, ...(leases.length > 0 ? { files: leases } : {}) }),
      ...(frames ? [new FramesSource({ ...common, lan })] : []),
      ...(hosts
        ? [new HostsSource({ clock: systemClock, log: common.log, ...(leases.length > 0 ? { leases } : {}) })]
        : []),
    ];
    const control = (setRunning: (running: boolean) => void) =>
      captureControl({
        sources,
        setRunning,
        setInterfaces: (names) => (network.added = names),
        setCounterInterval: (seconds) => (conntrack.counterIntervalMs = seconds * 1000),
      });
    return { sources, control, lan };
  }
}

function helperOf({ capture }: Config, log: Log): NetfilterHelper | undefined {
  if (capture.helper === "none") return undefined;
  const program = capture.helper === "" ? findPart("spin-usp-helper") : capture.helper;
  if (program === undefined) {
    log.warn("there is no helper: traffic is watched through the conntrack tool or procfs, without DNS names");
    return undefined;
  }
  const rulesetFile = findPart("spin.nft");
  const bridgeRulesetFile = findPart("spin-bridge.nft");
  return new NetfilterHelper({
    command: [program],
    log: log.child("helper"),
    ...(rulesetFile === undefined ? {} : { rulesetFile }),
    ...(bridgeRulesetFile === undefined ? {} : { bridgeRulesetFile }),
  });
}

/** What no rule may cut, besides whom the agent dials later: what the configuration names, and brokers and dialled controllers where their names resolve in time. */
async function management(
  { mqtt, stomp, controllers, enforce }: Config,
  log: Log,
): Promise<{ address: string; port: number }[]> {
  const given = enforce.management.map((text) => {
    const [address, port] = text.split(" ") as [string, string];
    return { address, port: Number(port) };
  });
  const brokers = [
    ...mqtt.map(({ host, port, tls }) => ({ host, number: port === 0 ? (tls ? 8883 : 1883) : port })),
    ...stomp.map((section) => ({ host: section.host, number: stompPort(section) })),
    ...controllers.flatMap(({ websocket_url: url }) => {
      if (url === "") return [];
      const { host, port: number } = webSocketTarget(url);
      return [{ host, number }];
    }),
  ].map(async ({ host, number }) => {
    if (isIP(host) !== 0) return [{ address: host, port: number }];
    const found = await within(1000, lookup(host, { all: true })).catch((error: unknown) => {
      log.debug(`${host}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    });
    return (found ?? []).map(({ address }) => ({ address, port: number }));
  });
  return [...given, ...(await Promise.all(brokers)).flat()];
}

/** What the promise gives, or `undefined` when it takes too long. */
async function within<T>(ms: number, promise: Promise<T>, signal?: AbortSignal): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
    signal?.addEventListener("abort", () => resolve(undefined), { once: true });
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
