/** From events of the model to notices for the resident. A bundle of its own, read where the configuration wants notices. */
import { ROOT } from "../../../datamodel/spin-root.ts";
import type { LocalBrokerConfig } from "../../config/local-broker.ts";
import type { NoticeConfig } from "../../config/notice.ts";
import type { Zone } from "../../lib/local-time.ts";
import type { Log } from "../../lib/log.ts";
import type { Tree } from "../../model/tree.ts";
import type { ConnectMqtt } from "../local-broker.ts";
import { Deliverer, type Pace } from "./delivery.ts";
import { httpSender } from "./http.ts";
import { mqttSender } from "./mqtt.ts";
import { aboutPeers, blockedUntil, closed, discovered, opened, type Notice, type Who } from "./sentence.ts";

export interface NotifierOptions {
  readonly tree: Tree;
  readonly notice: NoticeConfig;
  readonly broker: LocalBrokerConfig;
  readonly zone: Zone;
  readonly log: Log;
  readonly connect: ConnectMqtt;
  readonly pace?: Pace;
  readonly timeoutMs?: number;
  /** How long a new device is given to say its name. Default NAMING_MS. */
  readonly namingMs?: number;
}

/** DHCP and mDNS name a device within seconds of its first packet. */
const NAMING_MS = 8_000;
/** New devices that are waited for; a flood of forged addresses is told as far as it goes. */
const MAX_NAMING = 64;
/** The model keeps a hundred incidents. */
const MAX_TOLD = 128;
const INCIDENTS = `${ROOT}Incident.`;
const SEVERITIES = ["Info", "Low", "Medium", "High"];

/** Until the signal. */
export async function runNotifier(options: NotifierOptions, signal: AbortSignal): Promise<void> {
  const { tree, notice, broker, log, connect, pace, timeoutMs } = options;
  const limits = timeoutMs === undefined ? {} : { timeoutMs };
  const senders = [
    ...(notice.url === ""
      ? []
      : [httpSender({ url: notice.url, tokenFile: notice.token_file, caFile: notice.ca_file, ...limits })]),
    ...(notice.topic === ""
      ? []
      : [mqttSender({ broker, topic: notice.topic, format: notice.format, connect, ...limits })]),
  ];
  const places = senders.map((send) => new Deliverer({ send, log, ...(pace && { pace }) }));
  const tell = (each: Notice | undefined) => each && places.forEach((place) => place.add(each));
  const naming = new Set<NodeJS.Timeout>();
  /** Incidents whose beginning was told, and how grave they were then. */
  const told = new Map<string, number>();
  const open = (args: Readonly<Record<string, string>>) => {
    const { Incident = "", Severity = "" } = args;
    const rank = SEVERITIES.indexOf(Severity);
    if (Incident === "" || (told.get(Incident) ?? -1) >= rank) return;
    const each = ofIncident(options, "IncidentOpened", args);
    if (!each) return;
    told.set(Incident, rank);
    for (const oldest of told.keys()) if (told.size > MAX_TOLD) told.delete(oldest);
    tell(each);
  };
  const end = tree.changes.listen((change) => {
    // One that was of no weight when it began may grow. After the turn in which it happens: a block is made in the same one.
    if (change.kind === "value" && change.param === "Severity" && change.path.startsWith(INCIDENTS))
      return void setImmediate(() => open(argumentsOf(tree, change.path)));
    if (change.kind !== "event" || change.path !== ROOT) return;
    if (change.name === "IncidentOpened!") setImmediate(() => open(change.args));
    if (change.name === "IncidentClosed!")
      setImmediate(() => {
        told.delete(change.args["Incident"] ?? "");
        tell(ofIncident(options, "IncidentClosed", change.args));
      });
    if (change.name !== "DeviceDiscovered!" || !notice.new_devices || naming.size >= MAX_NAMING) return;
    const timer = setTimeout(() => {
      naming.delete(timer);
      tell(ofDevice(tree, change.args["Device"] ?? ""));
    }, options.namingMs ?? NAMING_MS);
    naming.add(timer);
  });
  try {
    await Promise.all(places.map((place) => place.run(signal)));
  } finally {
    end();
    for (const timer of naming) clearTimeout(timer);
  }
}

function ofIncident(
  { tree, notice, zone }: NotifierOptions,
  kind: "IncidentOpened" | "IncidentClosed",
  args: Readonly<Record<string, string>>,
): Notice | undefined {
  const { Incident = "", Type = "", Severity = "", Summary = "", Device = "" } = args;
  if (SEVERITIES.indexOf(Severity) < SEVERITIES.indexOf(notice.min_severity)) return undefined;
  const now = Date.now();
  const incident = reader(tree, `${Incident}.`);
  const who = whoAt(tree, Device, incident("PhysAddress"));
  const common = {
    subject: Incident,
    severity: Severity,
    type: Type,
    time: now,
    device: { name: who.name, physAddress: who.physAddress },
  };
  if (kind === "IncidentClosed") {
    const since = Date.parse(incident("FirstTime"));
    const text = closed(who, Type, Number.isFinite(since) ? since : now, now, zone);
    return { ...common, kind, text };
  }
  const rule = incident("Rule");
  const until = rule === "" ? NaN : Date.parse(reader(tree, `${rule}.`)("ExpiryDate"));
  const text = [
    opened(who, Type, Summary),
    Number.isFinite(until) ? blockedUntil(until, now, zone) : "",
    notice.peers ? aboutPeers(incident("Evidence")) : "",
  ];
  return { ...common, kind, text: text.join("") };
}

/** What the event would have said. */
function argumentsOf(tree: Tree, path: string): Record<string, string> {
  const read = reader(tree, path);
  const values = ["Type", "Severity", "Summary", "Device"].map((name) => [name, read(name)]);
  return { ...(Object.fromEntries(values) as Record<string, string>), Incident: path.slice(0, -1) };
}

function ofDevice(tree: Tree, path: string): Notice | undefined {
  // Gone already: an address that was there for a moment.
  if (!tree.at(`${path}.`)) return undefined;
  const who = whoAt(tree, path, "");
  const device = { name: who.name, physAddress: who.physAddress };
  const text = discovered(who);
  return { subject: path, kind: "DeviceDiscovered", severity: "Info", type: "", time: Date.now(), device, text };
}

function whoAt(tree: Tree, path: string, physAddress: string): Who {
  const read = reader(tree, `${path}.`);
  const type = read("Type");
  return {
    name: read("Name") || read("HostName"),
    physAddress: read("PhysAddress") || physAddress,
    type: type === "Unknown" ? "" : type,
    vendor: read("Vendor"),
  };
}

/** Of a row that may be gone: then all is empty. */
function reader(tree: Tree, path: string): (name: string) => string {
  const node = path === "." ? undefined : tree.at(path);
  return (name) => (node && tree.text(node, name)) ?? "";
}
