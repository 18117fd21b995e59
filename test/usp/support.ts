/** An agent with a small model, and controllers that talk to it over links in this process: real Records, no network. */
import { argument, command, counter, event, object, readOnly, readWrite, writeOnce } from "../../datamodel/schema.ts";
import * as localAgent from "../../datamodel/local-agent.ts";
import * as mqtt from "../../datamodel/mqtt.ts";
import { alias, boolean, list, reference, statsCounter64, string, unsignedInt } from "../../datamodel/values.ts";
import type { Notify } from "../../proto/generated/usp-msg.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryStore, type Store } from "../../src/lib/store.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { bind } from "../../src/model/binding.ts";
import type { Implementation } from "../../src/model/implementation.ts";
import { Persistence } from "../../src/model/persistence.ts";
import { table } from "../../src/model/table.ts";
import { Transaction, type ParamSetting } from "../../src/model/transaction.ts";
import { Tree, type InstanceNode } from "../../src/model/tree.ts";
import { add, addMine, certificateObjects } from "../../src/objects/certificates.ts";
import { controllerTrustObjects } from "../../src/objects/controller-trust.ts";
import { deviceRoot } from "../../src/objects/device-root.ts";
import { Agent } from "../../src/usp/agent.ts";
import {
  decodeMsg,
  decodeRecord,
  encodeMsgRecord,
  encodeRecord,
  recordOf,
  requestMsg,
  responseMsg,
  type CompleteRecord,
  type MsgContent,
  type RecordType,
  type RequestType,
  type ResponseType,
} from "../../src/usp/codec.ts";
import type { Link, ReceivedRecord, SendOptions } from "../../src/usp/link.ts";
import { MtpStates, type Connected, type MtpFactory } from "../../src/usp/mtp.ts";
import type { AgentOptions } from "../../src/usp/options.ts";
import { Requests } from "../../src/usp/requests.ts";
import { subscriptionRows } from "../../src/usp/subscription-rows.ts";
import { thresholdRows } from "../../src/usp/threshold-rows.ts";
import { CertificateBook } from "../../src/usp/trust/certificate-book.ts";
import { Challenges } from "../../src/usp/trust/challenges.ts";
import type { Trust } from "../../src/usp/trust/trust.ts";

export const AGENT_ID = "os::0005CA-agent";

export const House = object("Device.House.", {
  description: "A house.",
  params: {
    Size: readOnly(unsignedInt(), "Size."),
    Name: readWrite(string({ maxLength: 16 }), "Name."),
    Pin: readWrite(string(), "Secured.", { secured: true, default: "1234" }),
    Key: readWrite(string(), "Hidden.", { hidden: true, default: "abcd" }),
    Meter: counter(statsCounter64, "A counter."),
  },
  commands: {
    "Ping()": command("sync", "Answers."),
    "Slow()": command("sync", "Takes its time.", { input: { Ms: argument(unsignedInt(), "How long.") } }),
    "Echo()": command("sync", "Repeats.", {
      input: {
        Text: argument(string(), "What.", { mandatory: true }),
        Times: argument(unsignedInt(), "How often.", { default: 1 }),
      },
      output: { Text: argument(string(), "It."), Secret: argument(string(), "Secured.", { secured: true }) },
      rows: { Row: { N: argument(unsignedInt(), "Number.") } },
    }),
    "Wait()": command("async", "Waits.", {
      input: { Ms: argument(unsignedInt(), "How long."), Fail: argument(boolean, "Whether it fails.") },
      output: { Waited: argument(unsignedInt(), "How long it did.") },
    }),
    "Break()": command("sync", "Has a bug."),
  },
  events: {
    "Rang!": event("The bell.", {
      Who: argument(string(), "Who."),
      Why: argument(string(), "Why.", { secured: true }),
    }),
  },
});
export const Garden = object("Device.House.Garden.", {
  description: "Its garden.",
  params: { Trees: readWrite(unsignedInt({ max: 9 }), "Trees.") },
});
export const Room = object("Device.House.Room.{i}.", {
  description: "A room.",
  rows: "add-delete",
  keys: [["Alias"]],
  functionalKeys: [["Name"]],
  maxRows: 1000,
  params: {
    Alias: writeOnce(alias, "Alias."),
    Name: readWrite(string({ maxLength: 8 }), "Name."),
    Warm: readWrite(boolean, "Whether it is warm."),
    Floor: readWrite(unsignedInt({ max: 9 }), "Floor."),
    Secret: readWrite(string(), "Secured.", { secured: true }),
    Fixed: writeOnce(string(), "Said once."),
    Opened: counter(statsCounter64, "A counter."),
    Beside: readWrite(reference("Device.House.Room.{i}."), "Next to it."),
  },
  commands: { "Open()": command("sync", "Opens it.") },
  events: { "Opened!": event("It opened.") },
});
export const Lamp = object("Device.House.Room.{i}.Lamp.", {
  description: "Its lamp.",
  params: { Colour: readWrite(string(), "Colour.", { default: "white" }) },
});
export const Chair = object("Device.House.Room.{i}.Chair.{i}.", {
  description: "A chair.",
  rows: "add-delete",
  params: {
    Legs: readWrite(unsignedInt(), "Legs.", { default: 4 }),
    Rooms: readWrite(list(reference(Room.path)), "R."),
  },
});
/** Rows that come by themselves. */
export const Cat = object("Device.House.Cat.{i}.", {
  description: "A cat.",
  rows: "delete",
  params: { Mood: readOnly(string(), "Mood.") },
});

export interface BuiltModel {
  readonly tree: Tree;
  readonly requests: Requests;
  readonly mtpStates: MtpStates;
  readonly persistence: Persistence;
  readonly trust: Trust;
  readonly house: { size: number };
  readonly cats: Map<number, { mood: string }>;
}

export function buildModel(store: Store = memoryStore(), extra: readonly Implementation[] = []): BuiltModel {
  const persistence = new Persistence(store);
  const requests = new Requests({
    load: () => store.load("requests"),
    save: (kept) => void store.save("requests", kept),
  });
  const mtpStates = new MtpStates();
  const trust: Trust = {
    certificates: new CertificateBook({ persistence, clock: systemClock, log: silentLog }),
    challenges: new Challenges({
      clock: systemClock,
      load: () => store.load("attempts"),
      save: (attempts) => persistence.include(store.save("attempts", attempts)),
    }),
    inherited: new Map(),
  };
  const house = { size: 42 };
  const cats = new Map<number, { mood: string }>();
  const opened = new Map<number, number>();
  const tree = new Tree([
    deviceRoot({ clock: systemClock, power: {} }),
    table(localAgent.LocalAgent, {
      computed: {
        EndpointID: () => AGENT_ID,
        SoftwareVersion: () => "1",
        UpTime: () => 0,
        SupportedProtocols: () => ["MQTT" as const],
      },
      commands: { "AddCertificate()": (_, args, call) => (add(trust.certificates, args, call), {}) },
    }),
    table(localAgent.Mtp, {
      persistence,
      computed: { Status: ({ instance }) => mtpStates.of(`Device.LocalAgent.MTP.${instance}`).status },
    }),
    table(mqtt.MtpMqtt, { persistence }),
    table(localAgent.Controller, {
      persistence,
      computed: {
        InheritedRole: ({ instance }) => trust.inherited.get(`Device.LocalAgent.Controller.${instance}`) ?? [],
      },
      commands: {
        "SendOnBoardRequest()": () => ({}),
        "AddMyCertificate()": ({ values }, args, call) => (
          addMine(trust.certificates, values.EndpointID, args, call),
          {}
        ),
      },
    }),
    ...certificateObjects(trust.certificates),
    table(localAgent.ControllerMtp, { persistence }),
    table(mqtt.ControllerMtpMqtt, { persistence }),
    table(localAgent.BootParameter, { persistence }),
    table(localAgent.Subscription, { persistence, ...subscriptionRows(systemClock) }),
    table(localAgent.Threshold, { persistence, ...thresholdRows }),
    bind(localAgent.Request, requests.binding()),
    ...controllerTrustObjects(persistence, trust.challenges),
    bind(mqtt.Mqtt, { get: {} }),
    table(mqtt.MqttClient, { persistence, commands: { "ForceReconnect()": () => ({}) } }),
    table(House, {
      persistence,
      computed: { Size: () => house.size, Meter: () => 7 },
      commands: {
        "Ping()": () => ({}),
        "Slow()": async (_, { Ms }) => {
          await new Promise((resolve) => setTimeout(resolve, Ms ?? 0));
          return {};
        },
        "Echo()": (_, { Text, Times }) => ({
          Text: (Text ?? "").repeat(Times ?? 0),
          Secret: "secret",
          Row: Array.from({ length: Times ?? 0 }, (_unused, N) => ({ N })),
        }),
        "Wait()": async (_, { Ms, Fail }, { signal }) => {
          await new Promise<void>((resolve, reject) => {
            const timer = setTimeout(resolve, Ms ?? 0);
            signal.addEventListener("abort", () => (clearTimeout(timer), reject(new Error("aborted"))));
          });
          if (Fail) throw new UspError(7801, "it failed");
          return { Waited: Ms ?? 0 };
        },
        "Break()": () => {
          throw new TypeError("a bug");
        },
      },
    }),
    table(Garden, { persistence }),
    table(Room, {
      persistence,
      computed: { Opened: ({ instance }) => opened.get(instance) ?? 0 },
      validate: ({ values }) => {
        if (values.Name === "hell") throw new UspError(7014, "no room is called so", "Name");
      },
      commands: { "Open()": (row) => (opened.set(row.instance, (opened.get(row.instance) ?? 0) + 1), {}) },
    }),
    table(Lamp, { persistence }),
    table(Chair, { persistence }),
    bind<(typeof Cat)["params"], (typeof Cat)["commands"], { mood: string }, unknown>(Cat, {
      get: { Mood: (row) => row.mood },
      rows: {
        instances: () => [...cats.keys()],
        row: (_parent, instance) => cats.get(instance),
        remove: (_parent, instance) => {
          const cat = cats.get(instance);
          cats.delete(instance);
          return () => void (cat && cats.set(instance, cat));
        },
      },
    }),
    ...extra,
  ]);
  return { tree, requests, mtpStates, persistence, trust, house, cats };
}

/** Adds a row as the agent itself. Values by name. */
export function addRow(tree: Tree, tablePath: string, values: Readonly<Record<string, string>> = {}): InstanceNode {
  const parts = tablePath.split(".");
  const name = parts.at(-2) as string;
  const parent = tree.at(`${parts.slice(0, -2).join(".")}.`) as InstanceNode;
  const settings: ParamSetting[] = Object.entries(values).map(([param, value]) => ({ param, value, required: true }));
  const transaction = new Transaction(tree);
  const { node } = transaction.add(parent, parent.object.children.get(name)!, settings);
  transaction.check();
  transaction.commit();
  return node;
}

export function setParams(tree: Tree, path: string, values: Readonly<Record<string, string>>): void {
  const transaction = new Transaction(tree);
  for (const [param, value] of Object.entries(values)) transaction.set(tree.at(path) as InstanceNode, param, value);
  transaction.check();
  transaction.commit();
}

export function removeRow(tree: Tree, path: string): void {
  const transaction = new Transaction(tree);
  transaction.remove(tree.at(path) as InstanceNode);
  transaction.check();
  transaction.commit();
}

/** A role with one permission for everything below `Device.`, unless other permissions are given. */
export function addRole(
  tree: Tree,
  name: string,
  permissions: readonly Readonly<Record<string, string>>[] = [
    { Targets: "Device.", Param: "rw-n", Obj: "rw-n", InstantiatedObj: "rw-n", CommandEvent: "r-xn" },
  ],
): string {
  const role = addRow(tree, "Device.LocalAgent.ControllerTrust.Role.", { Enable: "true", Name: name });
  permissions.forEach((permission, i) =>
    addRow(tree, `${role.path}Permission.`, { Enable: "true", Order: `${i + 1}`, ...permission }),
  );
  return role.path.slice(0, -1);
}

export function addController(
  tree: Tree,
  endpointId: string,
  role: string,
  values: Readonly<Record<string, string>> = {},
): string {
  const row = addRow(tree, "Device.LocalAgent.Controller.", {
    EndpointID: endpointId,
    Enable: "true",
    AssignedRole: role,
    OnBoardingComplete: "true",
    ...values,
  });
  const mtp = addRow(tree, `${row.path}MTP.`, { Enable: "true", Protocol: "MQTT" });
  setParams(tree, `${mtp.path}MQTT.`, { Topic: `to/${endpointId}` });
  return row.path.slice(0, -1);
}

/** The far end of every link: a broker of a kind, that hands out what is published by topic. */
export class Network {
  readonly published: { readonly record: Uint8Array; readonly options: SendOptions }[] = [];
  readonly listeners = new Set<(record: Uint8Array, options: SendOptions) => void>();
  connects = 0;
  /** Set to have links refused. */
  isDown = false;
  /** Set to have sends fail while the link looks up, as when it is just breaking. */
  refuses = false;
  /** Set to have sends wait. */
  gate: Promise<void> | undefined;
  maxRecordBytes: number | undefined;
  #current: { push: (record: ReceivedRecord) => void; end: (error?: Error) => void } | undefined;

  connect(): Promise<Connected> {
    this.connects++;
    if (this.isDown) return Promise.reject(new Error("unreachable"));
    const pending: ReceivedRecord[] = [];
    let wake: () => void = () => undefined;
    let ended: { error?: Error } | undefined;
    const end = (error?: Error) => {
      ended ??= error ? { error } : {};
      wake();
    };
    this.#current = { push: (record) => (pending.push(record), wake()), end };
    const link: Link = {
      received: (async function* () {
        while (true) {
          while (pending.length > 0) yield pending.shift() as ReceivedRecord;
          if (ended?.error) throw ended.error;
          if (ended) return;
          await new Promise<void>((resolve) => (wake = resolve));
        }
      })(),
      send: async (record, options = {}) => {
        if (ended || this.refuses) throw new Error("closed");
        if (this.gate) await this.gate;
        if (ended) throw new Error("closed");
        const copy = record.slice();
        this.published.push({ record: copy, options });
        for (const listener of this.listeners) listener(copy, options);
      },
      close: () => Promise.resolve(end()),
    };
    return Promise.resolve({
      link,
      connectRecord: { $case: "mqttConnect", value: { version: 1, subscribedTopic: "agent" } },
      ...(this.maxRecordBytes === undefined ? {} : { maxRecordBytes: this.maxRecordBytes }),
    });
  }

  /** Cuts the link. */
  cut(): void {
    this.#current?.end(new Error("cut"));
  }

  deliver(bytes: Uint8Array, replyTo?: string): void {
    this.#current?.push({ bytes, ...(replyTo === undefined ? {} : { replyTo }) });
  }
}

export class Peer {
  readonly endpointId: string;
  readonly topic: string;
  readonly records: CompleteRecord[] = [];
  readonly notifies: Notify[] = [];
  readonly notifyIds: string[] = [];
  /** Answers as they came. */
  readonly contents: { readonly msgId: string; readonly content: MsgContent }[] = [];
  /** Whether Notifies that want an answer get one. */
  answers = true;
  version = "1.4";
  readonly #network: Network;
  readonly #waiting = new Map<string, (content: MsgContent) => void>();
  #lastId = 0;

  constructor(network: Network, endpointId: string) {
    this.#network = network;
    this.endpointId = endpointId;
    this.topic = `to/${endpointId}`;
    network.listeners.add((bytes, { to }) => {
      if (to === this.topic) this.take(bytes);
    });
  }

  /** Sends a request and gives the answer's content. */
  ask(request: RequestType, msgId = `${this.endpointId}-${++this.#lastId}`): Promise<MsgContent> {
    return new Promise((resolve) => {
      this.#waiting.set(msgId, resolve);
      this.send(encodeMsgRecord(this.#envelope(), requestMsg(msgId, request)));
    });
  }

  async response<Case extends ResponseType["$case"]>(
    request: RequestType,
    $case: Case,
  ): Promise<Extract<ResponseType, { $case: Case }>["value"]> {
    const content = await this.ask(request);
    if (content.kind !== "response" || content.response.$case !== $case)
      throw new Error(`expected ${$case}, got ${JSON.stringify(content, replacer)}`);
    return content.response.value as never;
  }

  /** The code of the Error that answers. */
  async error(request: RequestType) {
    const content = await this.ask(request);
    if (content.kind !== "error") throw new Error(`expected an Error, got ${JSON.stringify(content, replacer)}`);
    return content.error;
  }

  /** Texts by full path, of a Get that succeeds. */
  async get(...paths: string[]): Promise<Record<string, string>> {
    const { reqPathResults } = await this.response(get(paths), "getResp");
    const values: Record<string, string> = {};
    for (const { errCode, errMsg, resolvedPathResults } of reqPathResults) {
      if (errCode !== 0) throw new Error(`${errCode} ${errMsg}`);
      for (const { resolvedPath, resultParams } of resolvedPathResults)
        for (const [name, value] of resultParams) values[`${resolvedPath}${name}`] = value;
    }
    return values;
  }

  record(type: RecordType): void {
    this.send(encodeRecord(recordOf(this.#envelope(), type)));
  }

  send(bytes: Uint8Array, replyTo: string | undefined = this.topic): void {
    this.#network.deliver(bytes, replyTo);
  }

  answer(msgId: string, subscriptionId: string): void {
    const msg = responseMsg(msgId, { $case: "notifyResp", value: { subscriptionId } });
    this.send(encodeMsgRecord(this.#envelope(), msg));
  }

  #envelope() {
    return { version: this.version, toId: AGENT_ID, fromId: this.endpointId };
  }

  /** What came for it, where the connection is the address. */
  take(bytes: Uint8Array): void {
    const decoded = decodeRecord(bytes);
    if (!decoded.ok) throw new Error(decoded.reason);
    const { record } = decoded;
    this.records.push(record);
    if (record.toId !== this.endpointId || record.recordType.$case !== "noSessionContext") return;
    const msg = decodeMsg(record.recordType.value.payload, { bytes: 1e8, elements: 1e6 });
    if (!msg.ok) throw new Error(msg.reason);
    const { content, msgId } = msg;
    if (content.kind === "request" && content.request.$case === "notify") {
      this.notifies.push(content.request.value);
      this.notifyIds.push(msgId);
      if (content.request.value.sendResp && this.answers) this.answer(msgId, content.request.value.subscriptionId);
      return;
    }
    this.contents.push({ msgId, content });
    this.#waiting.get(msgId)?.(content);
    this.#waiting.delete(msgId);
  }
}

const replacer = (_: string, value: unknown) => (value instanceof Map ? Object.fromEntries(value) : value);

export interface World extends BuiltModel {
  readonly network: Network;
  readonly agent: Agent;
  readonly admin: Peer;
  /** Path of the admin's Controller row. */
  readonly adminPath: string;
  readonly roleAdmin: string;
  /** Another controller with its own role. */
  peer(endpointId: string, role?: string, values?: Readonly<Record<string, string>>): Peer;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** An agent with one MTP row and a controller of all rights, secured values included. */
export async function buildWorld(
  options: Partial<AgentOptions> & {
    store?: Store;
    before?: (model: BuiltModel) => void;
    isStarted?: boolean;
    extra?: readonly Implementation[];
    minimumMs?: number;
  } = {},
): Promise<World> {
  const model = buildModel(options.store, options.extra);
  const { tree } = model;
  const network = new Network();
  const isFresh = tree.at("Device.LocalAgent.MTP.1.") === undefined;
  if (isFresh) {
    addRow(tree, "Device.LocalAgent.MTP.", { Enable: "true", Protocol: "MQTT" });
    const role = addRole(tree, "Admin");
    setParams(tree, "Device.LocalAgent.ControllerTrust.", { SecuredRoles: role });
    addController(tree, "self::admin", role);
  }
  options.before?.(model);
  const factory: MtpFactory = () => ({
    protocol: "MQTT",
    retry: { minimumMs: options.minimumMs ?? 5, multiplier: 2, maximumMs: 50 },
    watches: [],
    connect: () => network.connect(),
  });
  const agent = new Agent({
    endpointId: AGENT_ID,
    tree,
    requests: model.requests,
    mtpStates: model.mtpStates,
    trust: model.trust,
    mtp: factory,
    boot: { cause: "LocalReboot", firmwareUpdated: false },
    log: silentLog,
    clock: systemClock,
    ...options,
  });
  const stopping = new AbortController();
  let running: Promise<void> | undefined;
  const world: World = {
    ...model,
    network,
    agent,
    admin: new Peer(network, "self::admin"),
    adminPath: "Device.LocalAgent.Controller.1",
    roleAdmin: "Device.LocalAgent.ControllerTrust.Role.1",
    peer(endpointId, role, values) {
      addController(tree, endpointId, role ?? world.roleAdmin, values);
      return new Peer(network, endpointId);
    },
    async start() {
      running = agent.run(stopping.signal);
      await until(() => network.connects > 0);
    },
    async stop() {
      stopping.abort();
      await running;
    },
  };
  if (options.isStarted !== false) await world.start();
  return world;
}

/** Waits until it holds; fails after five seconds. */
export async function until(holds: () => boolean, what = "the condition"): Promise<void> {
  const end = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`${what} never came`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Long enough for anything that was to be sent. */
export const settle = () => new Promise((resolve) => setTimeout(resolve, 80));

export const get = (paramPaths: string[], maxDepth = 0): RequestType => ({
  $case: "get",
  value: { paramPaths, maxDepth },
});

export const setOne = (
  objPath: string,
  params: Readonly<Record<string, string>>,
  options: { allowPartial?: boolean; required?: boolean } = {},
): RequestType => setMany([{ objPath, params }], options);

export const setMany = (
  updates: readonly { objPath: string; params: Readonly<Record<string, string>> }[],
  { allowPartial = false, required = true }: { allowPartial?: boolean; required?: boolean } = {},
): RequestType => ({
  $case: "set",
  value: {
    allowPartial,
    updateObjs: updates.map(({ objPath, params }) => ({
      objPath,
      paramSettings: Object.entries(params).map(([param, value]) => ({ param, value, required })),
    })),
  },
});

export const addOne = (
  objPath: string,
  params: Readonly<Record<string, string>> = {},
  options: { allowPartial?: boolean; required?: boolean } = {},
): RequestType => addMany([{ objPath, params }], options);

export const addMany = (
  creations: readonly { objPath: string; params: Readonly<Record<string, string>> }[],
  { allowPartial = false, required = true }: { allowPartial?: boolean; required?: boolean } = {},
): RequestType => ({
  $case: "add",
  value: {
    allowPartial,
    createObjs: creations.map(({ objPath, params }) => ({
      objPath,
      paramSettings: Object.entries(params).map(([param, value]) => ({ param, value, required })),
    })),
  },
});

export const deletion = (objPaths: string[], allowPartial = false): RequestType => ({
  $case: "delete",
  value: { allowPartial, objPaths },
});

export const operation = (
  path: string,
  args: Readonly<Record<string, string>> = {},
  { commandKey = "", sendResp = true }: { commandKey?: string; sendResp?: boolean } = {},
): RequestType => ({
  $case: "operate",
  value: { command: path, commandKey, sendResp, inputArgs: new Map(Object.entries(args)) },
});

/** Adds a Subscription as the peer. */
export async function subscribe(
  peer: Peer,
  NotifType: string,
  ReferenceList: string,
  values: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { createdObjResults } = await peer.response(
    addOne("Device.LocalAgent.Subscription.", {
      Enable: "true",
      ID: `${NotifType}-${ReferenceList}`.slice(0, 64),
      NotifType,
      ReferenceList,
      ...values,
    }),
    "addResp",
  );
  const status = createdObjResults[0]?.operStatus?.operStatus;
  if (status?.$case !== "operSuccess") throw new Error(JSON.stringify(status));
  return status.value.instantiatedPath;
}
