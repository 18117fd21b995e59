/**
 * A whole gateway in this process, seen as controllers see it: the objects over a real Spin with the replay's judge, and
 * encoded Records over links of the two doors, the broker's and the local one. Only capture is left out: tests say what
 * was observed.
 */
import { captureControl } from "../../src/gateway/capture-control.ts";
import { identityOf } from "../../src/gateway/identity.ts";
import { northbound, type Northbound } from "../../src/gateway/northbound.ts";
import { parseConfig } from "../../src/config.ts";
import { Judge, peerWords } from "../../src/enforce/judge.ts";
import { parseMac } from "../../src/lib/address.ts";
import type { ManualClock } from "../../src/lib/clock.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryStore, type Store } from "../../src/lib/store.ts";
import type { LiveCapture } from "../../src/spin/live-capture.ts";
import type { FlowRecorder } from "../../src/spin/flow-recorder.ts";
import type { Source } from "../../src/spin/observation.ts";
import type { Spin } from "../../src/spin/spin.ts";
import { TestHome, mac, type FlowText } from "../spin/home.ts";
import {
  AGENT_ID,
  addOne,
  addRow,
  deletion,
  get,
  Network,
  operation,
  Peer,
  setOne,
  setParams,
  until,
} from "../usp/support.ts";

export const ROOT = "Device.X_SPIN.";
export const PHONE = "02:00:00:00:00:01";
export const CAMERA = "02:00:00:00:00:02";
export const NEVER = "9999-12-31T23:59:59Z";

export type Role = "Monitor" | "Operator" | "Support" | "Admin" | "Resident" | "Untrusted";
export type Level = "Summary" | "Devices" | "Destinations";

export interface GatewayOptions {
  readonly store?: Store;
  readonly level?: Level;
  readonly ceiling?: Level;
  readonly authority?: "Resident" | "Operator";
  /** Whose role is in SecuredRoles, besides the resident's. */
  readonly secured?: readonly Role[];
  readonly sources?: readonly Source[];
  readonly benchRows?: number;
  readonly clock?: ManualClock;
  /** Of the same clock. Default: none. */
  readonly flowLog?: FlowRecorder;
  /** Who reads packets. */
  readonly liveCapture?: LiveCapture;
  /** Path of the resident's door in the model; nobody listens there. Default: none. */
  readonly residentSocket?: string;
  /** Leaves the home without a network: rules are kept and obeyed by nobody. */
  readonly withoutNetwork?: boolean;
  /** After the model stands, before the agent runs. */
  readonly before?: (northbound: Northbound) => void;
}

const ROLES: readonly Role[] = ["Monitor", "Operator", "Support", "Admin", "Resident", "Untrusted"];
/** Endpoint id of the controller with that role; the second Operator is `self::operator2`. */
export const idOf = (role: Role) => `self::${role.toLowerCase()}`;

export class Gateway {
  readonly home: TestHome;
  readonly judge: Judge;
  readonly store: Store;
  readonly spin: Spin;
  readonly tree: Northbound["tree"];
  readonly broker = new Network();
  /** The local door: a Unix socket. */
  readonly local = new Network();
  readonly interfaces: string[][] = [];
  readonly intervals: number[] = [];
  readonly #northbound: Northbound;
  readonly #stopping = new AbortController();
  readonly #running: Promise<unknown>[] = [];
  readonly #peers = new Map<string, Peer>();

  private constructor(options: GatewayOptions) {
    const { secured = [] } = options;
    const controller = (name: string, role: Role) => `
config controller '${name}'
	option endpoint_id 'self::${name}'
	option role '${role}'
	option secured '${secured.includes(role) ? 1 : 0}'
`;
    const config = parseConfig(`
config agent
	option endpoint_id '${AGENT_ID}'
	option oui '0005CA'
	option serial_number '1'
	option authority '${options.authority ?? "Resident"}'
	option privacy_level '${options.level ?? "Destinations"}'
	option privacy_ceiling '${options.ceiling ?? "Destinations"}'
config socket 'resident'
	option enable '${options.residentSocket === undefined ? 0 : 1}'
	option role 'Resident'
	option path '${options.residentSocket ?? ""}'
${ROLES.map((role) => controller(role.toLowerCase(), role)).join("")}${controller("operator2", "Operator")}`);
    const store = (this.store = options.store ?? memoryStore());
    const clock = options.clock;
    let judge: Judge | undefined;
    this.home = new TestHome({
      ...(clock && { clock }),
      store,
      authority: config.agent.authority,
      sources: options.sources ?? [],
      ...(options.flowLog && { flowLog: options.flowLog }),
      enforcer: (judge = new Judge({ clock: { now: () => this.home.clock.now(), monotonic: () => 0 } })),
    });
    this.judge = judge;
    this.spin = this.home.spin;
    const capture = captureControl({
      sources: options.sources ?? [],
      setRunning: (running) => this.spin.setEnabled(running),
      setInterfaces: (names) => void this.interfaces.push([...names]),
      setCounterInterval: (seconds) => void this.intervals.push(seconds),
    });
    this.#northbound = northbound({
      home: this.spin,
      capture,
      config,
      identity: identityOf(config, "1.2.3", store),
      store,
      version: "1.2.3",
      clock: systemClock,
      log: silentLog,
      ...(options.liveCapture ? { liveCapture: options.liveCapture } : {}),
      ...(options.benchRows === undefined ? {} : { benchRows: options.benchRows }),
    });
    this.tree = this.#northbound.tree;
    if (!this.tree.at("Device.LocalAgent.MTP.1.")) this.#seedRoutes();
    options.before?.(this.#northbound);
  }

  /** A gateway that serves, its home known. */
  static async start(options: GatewayOptions = {}): Promise<Gateway> {
    const gateway = new Gateway(options);
    await gateway.#serve();
    if (!options.withoutNetwork) gateway.home.network();
    await gateway.settled();
    return gateway;
  }

  /** The controller with that role, through the broker. */
  as(role: Role): Peer {
    return this.peer(idOf(role));
  }

  /** The resident, through the local door. */
  get resident(): Peer {
    return this.atHome("self::resident");
  }

  peer(endpointId: string): Peer {
    return this.#peer(this.broker, endpointId);
  }

  /** Any controller through the local door. */
  atHome(endpointId: string): Peer {
    return this.#peer(this.local, endpointId);
  }

  /** A controller with the roles of these names and no others. */
  add(endpointId: string, roles: readonly string[], values: Readonly<Record<string, string>> = {}): Peer {
    this.#addController(endpointId, roles.map((role) => this.roleRow(role)).join(","), values);
    return this.peer(endpointId);
  }

  /** Path of the role's row, without final dot. */
  roleRow(name: string): string {
    const table = this.tree.object("Device.LocalAgent.ControllerTrust.Role.");
    for (const node of this.tree.all(table!)) if (this.tree.text(node, "Name") === name) return node.path.slice(0, -1);
    throw new Error(`no role ${name}`);
  }

  controllerRow(endpointId: string): string {
    const table = this.tree.object("Device.LocalAgent.Controller.");
    for (const node of this.tree.all(table!))
      if (this.tree.text(node, "EndpointID") === endpointId) return node.path.slice(0, -1);
    throw new Error(`no controller ${endpointId}`);
  }

  /** The phone (02:…:01, 192.0.2.11) and the camera (02:…:02, 192.0.2.12). */
  withDevices(): this {
    this.home.neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12");
    return this;
  }

  /** What the phone talked to, by name and by address alone. */
  withTraffic(): this {
    this.withDevices();
    this.home
      .answer("192.0.2.11", ["secret.example"], ["198.51.100.7"])
      .flows(
        { id: 1, event: "New", from: "192.0.2.11", to: "198.51.100.7", sourcePort: 40001 },
        { id: 2, event: "New", from: "192.0.2.11", to: "198.51.100.8", sourcePort: 40002 },
      )
      .flows(
        { id: 1, from: "192.0.2.11", to: "198.51.100.7", sourcePort: 40001, counters: [10, 1000, 20, 3000] },
        { id: 2, from: "192.0.2.11", to: "198.51.100.8", sourcePort: 40002, counters: [1, 100, 2, 300] },
      );
    return this;
  }

  flows(...flows: FlowText[]): this {
    this.home.flows(...flows);
    return this;
  }

  /** A packet of a device meets the rules. */
  packet(device: string, peer: string, port = 443, bytes = 100) {
    const from = parseMac(device) as number;
    const decision = this.judge.judge({
      mac: from,
      family: peer.includes(":") ? 6 : 4,
      peer: peerWords(peer),
      protocol: 6,
      port,
      initiator: "Device",
    });
    this.judge.count(decision, from, 1, bytes);
    return decision.verdict;
  }

  /** The home's clock moves, and its second's work is done. */
  async after(ms: number): Promise<void> {
    this.home.after(ms);
    this.spin.tick();
    await this.settled();
  }

  /** What was asked for is in force, and all that follows was told. */
  async settled(): Promise<void> {
    if (this.spin.status !== "Disabled") await Promise.race([this.spin.settled(), quiet(50)]);
    await quiet(1);
  }

  /** The path of the device's row. */
  device(physAddress: string): string {
    const device = this.spin.deviceByMac(parseMac(physAddress) as number);
    if (!device) throw new Error(`no device ${physAddress}`);
    return `${ROOT}Device.${device.number}.`;
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running);
    await this.#northbound.close();
  }

  /** As after a restart: the state is kept, everything else is made anew. */
  async restart(options: GatewayOptions = {}): Promise<Gateway> {
    await this.spin.save();
    await this.stop();
    return Gateway.start({ ...options, store: this.store, clock: this.home.clock });
  }

  /** `kill -9`: nothing is saved that was not. */
  async crash(options: GatewayOptions = {}): Promise<Gateway> {
    const copy = memoryStore();
    for (const name of ["home", "seeded", "identity", ...this.#documents()]) {
      const document = this.store.load(name);
      if (document !== undefined) await copy.save(name, document);
    }
    await this.stop();
    return Gateway.start({ ...options, store: copy, clock: this.home.clock });
  }

  #documents(): string[] {
    return [...this.tree.objects()].map(
      ({ path }) => `model-${path.replaceAll(".{i}", "").slice(0, -1).toLowerCase().replaceAll(".", "-")}`,
    );
  }

  #seedRoutes(): void {
    addRow(this.tree, "Device.LocalAgent.MTP.", { Enable: "false", Protocol: "MQTT" });
    const table = this.tree.object("Device.LocalAgent.Controller.");
    for (const node of [...this.tree.all(table!)]) {
      const endpointId = this.tree.text(node, "EndpointID") as string;
      // The resident is told what happens where it counts: at the local door.
      this.#addRoutes(node.path, endpointId, endpointId === idOf("Resident") ? ["UDS"] : ["MQTT", "UDS"]);
    }
  }

  #addController(endpointId: string, roles: string, values: Readonly<Record<string, string>>): void {
    const node = addRow(this.tree, "Device.LocalAgent.Controller.", {
      EndpointID: endpointId,
      Enable: "true",
      AssignedRole: roles,
      OnBoardingComplete: "true",
      ...values,
    });
    this.#addRoutes(node.path, endpointId, ["MQTT", "UDS"]);
  }

  #addRoutes(row: string, endpointId: string, protocols: readonly ("MQTT" | "UDS")[]): void {
    for (const Protocol of protocols) {
      const mtp = addRow(this.tree, `${row}MTP.`, { Enable: "true", Protocol });
      if (Protocol === "MQTT") setParams(this.tree, `${mtp.path}MQTT.`, { Topic: `to/${endpointId}` });
    }
  }

  #peer(network: Network, endpointId: string): Peer {
    const key = `${network === this.local ? "local" : "broker"} ${endpointId}`;
    let peer = this.#peers.get(key);
    if (!peer) this.#peers.set(key, (peer = new DoorPeer(network, endpointId, network === this.local)));
    return peer;
  }

  async #serve(): Promise<void> {
    const { agent } = this.#northbound;
    const { signal } = this.#stopping;
    // They listen before the agent says its first word.
    for (const role of ROLES) this.as(role);
    this.#running.push(agent.run(signal));
    const mtp = "Device.LocalAgent.MTP.1";
    this.#running.push(agent.serve(mtp, await this.broker.connect(), "MQTT", signal));
    // Whose endpoint id the other end of a socket has is known only when it speaks.
    const door = { protocol: "UDS", local: true, resident: true } as const;
    this.#running.push(agent.serve(mtp, { ...(await this.local.connect()), door }, "UDS", signal));
  }
}

/** Over a Unix socket nothing is addressed: every Record comes to all, and only its own matters to each. */
class DoorPeer extends Peer {
  constructor(network: Network, endpointId: string, isLocal: boolean) {
    super(network, endpointId);
    if (!isLocal) return;
    const take = [...network.listeners].at(-1) as (record: Uint8Array, options: object) => void;
    network.listeners.delete(take);
    network.listeners.add((record) => take(record, { to: this.topic }));
  }
}

/** A store whose disk takes its time: what was asked for is there when the promise says so, and not before. */
export function slowStore(ms = 40): Store {
  const disk = memoryStore();
  return {
    ...disk,
    save: async (name, document) => {
      const held: unknown = typeof document === "function" ? (document as () => unknown)() : document;
      const text = JSON.stringify(held) as string | undefined;
      await quiet(ms);
      await disk.save(name, text === undefined ? undefined : JSON.parse(text));
    },
  };
}

const quiet = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Values by name of the one object that the path names. */
export async function read(peer: Peer, path: string): Promise<Record<string, string>> {
  return Object.fromEntries((await resultsOf(peer, path))[0]?.resultParams ?? []);
}

/** With those of all objects below. */
export async function readAll(peer: Peer, path: string): Promise<Record<string, string>> {
  return Object.fromEntries((await resultsOf(peer, path)).flatMap(({ resultParams }) => [...resultParams]));
}

async function resultsOf(peer: Peer, path: string) {
  const { reqPathResults } = await peer.response(get([path]), "getResp");
  const [first] = reqPathResults;
  if (!first || first.errCode !== 0) throw new Error(`${path}: ${first?.errCode} ${first?.errMsg}`);
  return first.resolvedPathResults;
}

/** The value of one parameter; `undefined` where there is none to be had. */
export async function value(peer: Peer, path: string): Promise<string | undefined> {
  const { reqPathResults } = await peer.response(get([path]), "getResp");
  const [first] = reqPathResults;
  return first?.resolvedPathResults[0]?.resultParams.values().next().value;
}

/** Everything that a Get of the paths answered, as text to search for what must not be in it. */
export async function everything(peer: Peer, ...paths: string[]): Promise<string> {
  return print(await peer.ask(get(paths)));
}

export const print = (content: unknown) =>
  JSON.stringify(content, (_, held: unknown) => (held instanceof Map ? Object.fromEntries(held) : held));

/** What became of a change: the paths concerned, or the code and all that was said. */
export interface Outcome {
  /** 0 where it was done; else the most particular code. */
  readonly code: number;
  readonly text: string;
  readonly path: string;
}

/** Sets and says what became of it: the parameter's own code where one failed. */
export async function trySet(peer: Peer, path: string, params: Record<string, string>): Promise<Outcome> {
  return outcomeOf(await peer.ask(setOne(path, params)));
}

export async function tryAdd(peer: Peer, path: string, params: Record<string, string> = {}): Promise<Outcome> {
  return outcomeOf(await peer.ask(addOne(path, params)));
}

export async function tryDelete(peer: Peer, path: string): Promise<Outcome> {
  return outcomeOf(await peer.ask(deletion([path])));
}

function outcomeOf(content: Awaited<ReturnType<Peer["ask"]>>): Outcome {
  const text = print(content);
  if (content.kind === "error") {
    const [first] = content.error.paramErrs;
    const inner = first && first.errCode !== 7021 ? first.errCode : content.error.errCode;
    return { code: inner, text, path: "" };
  }
  const path = /"(?:instantiatedPath|affectedPath|affectedPaths)":\[?"([^"]*)"/.exec(text)?.[1] ?? "";
  return { code: 0, text, path };
}

/** Outputs of a command that ran; an object's where the path names several. */
export async function run(
  peer: Peer,
  command: string,
  args: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  const { operationResults } = await peer.response(operation(command, args), "operateResp");
  const response = operationResults[0]?.operationResp;
  if (response?.$case !== "reqOutputArgs") throw new Error(`${command}: ${print(response)}`);
  return Object.fromEntries(response.value.outputArgs);
}

/** Why a command did not run. */
export async function refusal(
  peer: Peer,
  command: string,
  args: Readonly<Record<string, string>> = {},
): Promise<{ readonly errCode: number; readonly errMsg: string }> {
  const content = await peer.ask(operation(command, args));
  if (content.kind === "error") return content.error;
  const result =
    content.kind === "response" && content.response.$case === "operateResp"
      ? content.response.value.operationResults[0]?.operationResp
      : undefined;
  if (result?.$case !== "cmdFailure") throw new Error(`${command} ran: ${print(content)}`);
  return result.value;
}

/** Adds a rule; returns its path. */
export async function rule(peer: Peer, params: Record<string, string>): Promise<string> {
  const { code, path, text } = await tryAdd(peer, `${ROOT}Rule.`, { Enable: "true", Action: "Block", ...params });
  if (code !== 0) throw new Error(text);
  return path;
}

/** What the peer was told of a kind since: one text a notification. */
export function told(peer: Peer, since = 0): string[] {
  return peer.notifies.slice(since).map(({ notification }) => {
    switch (notification?.$case) {
      case "valueChange":
        return `${notification.value.paramPath}=${notification.value.paramValue}`;
      case "objCreation":
        return `+${notification.value.objPath}`;
      case "objDeletion":
        return `-${notification.value.objPath}`;
      case "event":
        return `${notification.value.objPath}${notification.value.eventName} ${print(notification.value.params)}`;
      case "operComplete":
        return `${notification.value.objPath}${notification.value.commandName} ${print(notification.value.operationResp)}`;
      default:
        return "";
    }
  });
}

/** Waits until the peer was told something that begins so. */
export async function hears(peer: Peer, start: string, since = 0): Promise<string> {
  const find = () => told(peer, since).find((text) => text.startsWith(start));
  await until(() => find() !== undefined, `${start} (heard ${told(peer, since).join(" | ")})`).catch(
    (error: unknown) => {
      throw new Error(`${(error as Error).message}; heard ${told(peer, since).join(" | ")}`);
    },
  );
  return find() as string;
}

export { mac, until };
