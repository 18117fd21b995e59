/**
 * What `spin-usp doctor` reads of an agent that runs: a small file, written when something changed, at most each few
 * seconds, and once a minute when records merely came and went. No secrets, and nothing of the home.
 *
 * It lies where the service manager says that such things lie (RUNTIME_DIRECTORY of systemd.exec(5)), or in /run/spin-usp,
 * in memory, and the state directory has a link to it: flash wears. Where neither can be written, it lies there itself.
 */
import { mkdirSync, readlinkSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../lib/clock.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { MqttStates } from "../objects/mqtt-states.ts";
import type { StompStates } from "../objects/stomp-states.ts";
import type { Source } from "../spin/observation.ts";
import type { Home } from "../spin/types.ts";
import type { MtpStates } from "../usp/mtp.ts";
import type { GatewayIdentity } from "./identity.ts";

export const STATUS_FILE = "status.json";
const RUNTIME_DIRECTORY = "/run/spin-usp";
const INTERVAL_MS = 2000;
const RECORDS_MS = 60_000;

export interface StatusOptions {
  readonly directory: string;
  /** Where what need not outlive a boot lies. Default: the service manager's, else /run/spin-usp. */
  readonly runtimeDirectory?: string;
  readonly tree: Tree;
  readonly identity: GatewayIdentity;
  readonly mtpStates: MtpStates;
  readonly mqttStates: MqttStates;
  readonly stompStates: StompStates;
  readonly home: Home;
  readonly sources: readonly Source[];
  readonly clock: Clock;
}

export interface AgentStatus {
  readonly pid: number;
  readonly endpointId: string;
  readonly spin: { readonly status: string; readonly reason: string; readonly accuracy: string };
  readonly mtps: readonly MtpStatusText[];
  readonly controllers: readonly { readonly endpointId: string; readonly enabled: string; readonly topic: string }[];
  readonly sources: readonly {
    readonly name: string;
    readonly backend: string;
    readonly status: string;
    readonly lastError: string;
  }[];
}

export interface MtpStatusText {
  readonly path: string;
  readonly broker: string;
  readonly topic: string;
  readonly status: string;
  readonly reason: string;
  readonly lastRecordIn: string;
  readonly lastRecordOut: string;
}

export function writeStatus(options: StatusOptions): { stop(): void } {
  const runtime = options.runtimeDirectory ?? process.env["RUNTIME_DIRECTORY"]?.split(":")[0] ?? RUNTIME_DIRECTORY;
  let path = inMemory(options.directory, runtime) ?? join(options.directory, STATUS_FILE);
  let before = "";
  let writtenAt = -Infinity;
  const write = (isLast = false) => {
    const text = JSON.stringify(statusOf(options), undefined, 1);
    const now = options.clock.monotonic();
    const isDue = isLast || now - writtenAt >= RECORDS_MS || withoutTimes(text) !== withoutTimes(before);
    if (text === before || !isDue) return;
    before = text;
    writtenAt = now;
    try {
      replaceFile(path, text);
    } catch {
      path = join(options.directory, STATUS_FILE);
      try {
        replaceFile(path, text);
      } catch {
        // A full disk: doctor then has old news, and the state directory's own errors are logged elsewhere.
      }
    }
  };
  write();
  const timer = setInterval(() => write(), INTERVAL_MS);
  timer.unref();
  return {
    stop: () => {
      clearInterval(timer);
      write(true);
    },
  };
}

/** Makes the state directory's file a link into the runtime directory; `undefined` where that can't be had. */
function inMemory(directory: string, runtime: string): string | undefined {
  // Several agents may share it, each with a state directory of its own.
  const target = join(runtime, `status${directory.replaceAll("/", "-")}.json`);
  const link = join(directory, STATUS_FILE);
  try {
    mkdirSync(runtime, { recursive: true, mode: 0o755 });
    // Only what can be written there is pointed to.
    replaceFile(target, "{}");
    if (linkTarget(link) === target) return target;
    symlinkSync(target, `${link}.link`);
    renameSync(`${link}.link`, link);
    return target;
  } catch {
    return undefined;
  }
}

function linkTarget(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function replaceFile(path: string, text: string): void {
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function statusOf(options: StatusOptions): AgentStatus {
  const { tree, identity, mtpStates, home, sources } = options;
  const rows = (path: string) => {
    const object = tree.object(path);
    return object ? [...tree.all(object)] : [];
  };
  return {
    pid: process.pid,
    endpointId: identity.endpointId,
    spin: { status: home.status, reason: home.statusReason, accuracy: home.accuracy },
    mtps: [...rows("Device.LocalAgent.MTP."), ...dialled(tree, rows("Device.LocalAgent.Controller.{i}.MTP."))].map(
      (row) => {
        const { broker, topic, reason, lastReceived, lastSent } = wayOf(options, row);
        const mtp = mtpStates.of(row.path.slice(0, -1));
        return {
          path: row.path,
          broker,
          topic,
          status: mtp.status,
          // A stopped agent's MTP says that it was closed; what went wrong before says the client.
          reason: [...new Set([mtp.reason, reason])].filter((text) => text !== "").join("; "),
          lastRecordIn: timeText(lastReceived),
          lastRecordOut: timeText(lastSent),
        };
      },
    ),
    controllers: rows("Device.LocalAgent.Controller.").map((row) => ({
      endpointId: tree.text(row, "EndpointID") ?? "",
      enabled: tree.text(row, "Enable") ?? "",
      topic: controllerTopic(tree, row.path),
    })),
    sources: sources.map(({ name, health }) => ({
      name,
      backend: health.backend,
      status: health.status,
      lastError: health.lastError,
    })),
  };
}

interface Way {
  readonly broker: string;
  readonly topic: string;
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly lastReceived: number;
  readonly lastSent: number;
}

/** Rows of controllers that the agent dials. */
const dialled = (tree: Tree, rows: readonly InstanceNode[]) =>
  rows.filter((row) => tree.text(row, "Protocol") === "WebSocket" && webSocketOf(tree, row, "Host") !== "");

const webSocketOf = (tree: Tree, row: InstanceNode, name: string): string => {
  const settings = tree.at(`${row.path}WebSocket.`);
  return (settings && tree.text(settings, name)) ?? "";
};

/** Where a WebSocket row listens, or whom it dials. Its Records are not counted. */
function webSocketWay(tree: Tree, row: InstanceNode): Way {
  const [host, port, path] = ["Host", "Port", "Path"].map((name) => webSocketOf(tree, row, name));
  const common = { reason: "", lastReceived: NOT_KNOWN, lastSent: NOT_KNOWN };
  if (host) return { ...common, broker: `WebSocket with ${host}:${port}${path}`, topic: "that connection" };
  return { ...common, broker: "WebSocket", topic: `port ${port}, path ${path}` };
}

/** The socket of a local door, or of the USP Broker. Its Records are not counted. */
function socketWay(tree: Tree, row: InstanceNode): Way {
  const settings = tree.at(`${row.path}UDS.`);
  const socket = settings && tree.at(`${tree.text(settings, "UnixDomainSocketRef")}.`);
  const path = (socket && tree.text(socket, "Path")) ?? "";
  const isBroker = socket !== undefined && tree.text(socket, "Mode") === "Connect";
  return {
    broker: isBroker ? "USP Broker" : "local door",
    topic: path,
    reason: "",
    lastReceived: NOT_KNOWN,
    lastSent: NOT_KNOWN,
  };
}

/** The broker behind an MTP row, and how its connection fares. */
function wayOf({ tree, mqttStates, stompStates }: StatusOptions, row: InstanceNode): Way {
  const protocol = tree.text(row, "Protocol");
  if (protocol === "WebSocket") return webSocketWay(tree, row);
  if (protocol === "UDS") return socketWay(tree, row);
  const isStomp = protocol === "STOMP";
  const settings = tree.at(`${row.path}${isStomp ? "STOMP" : "MQTT"}.`);
  const configured = (name: string) => (settings && tree.text(settings, name)) ?? "";
  const reference = configured("Reference");
  const client = tree.at(reference);
  const broker = (host: string, port: string) =>
    client ? `${tree.text(client, host)}:${tree.text(client, port)}` : "";
  if (isStomp) {
    const state = stompStates.of(reference);
    return { ...state, broker: broker("Host", "Port"), topic: state.destination || configured("Destination") };
  }
  const state = mqttStates.of(reference);
  const topic = state.subscribed.join(", ") || configured("ResponseTopicConfigured");
  return { ...state, broker: broker("BrokerAddress", "BrokerPort"), topic };
}

/** Where a controller is notified, by its first row that is used; empty: nowhere. */
function controllerTopic(tree: Tree, controller: string): string {
  const table = tree.object("Device.LocalAgent.Controller.{i}.MTP.");
  const parent = tree.at(controller);
  if (!table || !parent) return "";
  for (const row of tree.rows(parent, table)) {
    if (tree.text(row, "Enable") !== "true") continue;
    const protocol = tree.text(row, "Protocol") ?? "";
    const settings = tree.at(`${row.path}${protocol}.`);
    const read = (name: string) => (settings && tree.text(settings, name)) ?? "";
    const addresses: Readonly<Record<string, () => string>> = {
      MQTT: () => read("Topic"),
      STOMP: () => read("Destination"),
      WebSocket: () => (read("Host") === "" ? "its WebSocket, while it is connected" : `ws ${read("Host")}`),
      UDS: () => "its socket, while it is connected",
    };
    const address = addresses[protocol]?.() ?? "";
    if (address !== "") return address;
  }
  return "";
}

/** That the first record came is news; when the last one did is not. */
const withoutTimes = (text: string) => text.replace(/("lastRecord(?:In|Out)": "\d)[^"]*/g, "$1");

const NOT_KNOWN = -1;
const timeText = (time: number) =>
  time > 0 ? new Date(time).toISOString() : time === NOT_KNOWN ? "not counted" : "never";
