/** `Device.X_SPIN.Incident.{i}.`, its events, and what the agent does about an incident by itself. */
import { ROOT } from "../../datamodel/spin-root.ts";
import { SpinIncident } from "../../datamodel/spin-detection.ts";
import { printMac } from "../lib/address.ts";
import type { Log } from "../lib/log.ts";
import { UspError } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import { AGENT, type Implementation } from "../model/implementation.ts";
import { keysOf, type Tree } from "../model/tree.ts";
import type { Incident, IncidentNotice } from "../spin/detect/incidents.ts";
import { block } from "./device-blocks.ts";
import type { SpinParts } from "./home.ts";

const TABLE = `${ROOT}Incident.`;
const DEVICE_TABLE = `${ROOT}Device.`;
/** Of ActionTaken and of the rule's Reason. */
const MAX_REASON = 256;

export function spinIncident({ home }: SpinParts): Implementation {
  const { incidents } = home.detection;
  return bind(SpinIncident, {
    rows: {
      instances: () => incidents.all().map(({ number }) => number),
      row: (_parent: unknown, instance: number) => incidents.at(instance),
    },
    get: {
      Type: ({ type }) => type,
      Severity: ({ severity }) => severity,
      Device: ({ mac }) => devicePath(home, mac),
      PhysAddress: ({ mac }) => printMac(mac),
      FirstTime: ({ firstTime }) => Math.floor(firstTime),
      LastTime: ({ lastTime }) => Math.floor(lastTime),
      Count: ({ count }) => count,
      Evidence: evidenceOf,
      Summary: ({ summary, mac }) => `${nameOf(home, mac)} ${summary}.`,
      ActionTaken: ({ actionTaken }) => actionTaken,
      Rule: ({ rule }) => (rule === 0 ? "" : `${ROOT}Rule.${rule}`),
      State: ({ state }) => state,
    },
    set: {
      State: ({ number, state: before }, state) => {
        incidents.setState(number, state);
        return () => void incidents.setState(number, before);
      },
    },
  });
}

/** Tells the model of incidents, and blocks where somebody said so. Returns what ends it. */
export function tellIncidents({ home, log }: Pick<SpinParts, "home" | "log">, tree: Tree): () => void {
  return home.subscribe((notice) => {
    if (notice.kind !== "incident") return;
    if (notice.notice.kind === "opened") act(home, tree, log, notice.notice.incident);
    tell(home, tree, notice.notice);
  });
}

function tell(home: SpinParts["home"], tree: Tree, notice: IncidentNotice): void {
  const { changes } = tree;
  const { incident } = notice;
  const path = `${TABLE}${incident.number}.`;
  const event = (name: string, more: Readonly<Record<string, string>>) =>
    changes.emit({
      kind: "event",
      path: ROOT,
      name,
      args: {
        Incident: path.slice(0, -1),
        Type: incident.type,
        Severity: incident.severity,
        Device: devicePath(home, incident.mac),
        Summary: `${nameOf(home, incident.mac)} ${incident.summary}.`,
        ...more,
      },
    });
  switch (notice.kind) {
    case "opened": {
      const node = tree.at(path);
      if (node) changes.emit({ kind: "created", path, supportedPath: SpinIncident.path, keys: keysOf(node) });
      event("IncidentOpened!", { ActionTaken: incident.actionTaken, Suppressed: `${notice.suppressed}` });
      return;
    }
    case "changed":
      changes.value(path, "Severity", "Summary", "ActionTaken", "Rule", "State");
      return;
    case "closed":
      changes.value(path, "State");
      event("IncidentClosed!", { Count: `${incident.count}` });
      return;
    case "removed":
      changes.emit({ kind: "deleted", path, supportedPath: SpinIncident.path });
  }
}

/** AutoBlock: a rule of Origin System, which ends by itself. */
function act(home: SpinParts["home"], tree: Tree, log: Log, incident: Incident): void {
  if (incident.severity !== "Medium" && incident.severity !== "High") return;
  const settings = tree.at(`${ROOT}Detection.${incident.type}.`);
  const value = (name: string) => settings?.object.params.get(name)?.read(settings.row);
  const device = home.deviceByMac(incident.mac);
  if (!device || value("AutoBlock") !== true) return;
  const duration = value("BlockDuration") as number;
  try {
    const reason = `${incident.type}: ${incident.summary}`.slice(0, MAX_REASON);
    const rule = block({ tree, caller: AGENT }, device, { expiry: home.now() + duration * 1000, reason });
    home.detection.incidents.acted(incident, `blocked for ${duration} s`, Number(/\d+$/.exec(rule)?.[0] ?? 0));
    log.warn(`${device.physAddress} ${incident.summary}: blocked for ${duration} s by ${rule}`);
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    log.error(`${device.physAddress} ${incident.summary}, and can't be blocked: ${error.message}`);
  }
}

function evidenceOf({ measured, threshold, windowMs, peers }: Incident): string {
  return JSON.stringify({ Measured: measured, Threshold: threshold, Window: windowMs / 1000, Peers: peers });
}

function devicePath(home: SpinParts["home"], mac: number): string {
  const device = home.deviceByMac(mac);
  return device ? `${DEVICE_TABLE}${device.number}` : "";
}

function nameOf(home: SpinParts["home"], mac: number): string {
  const device = home.deviceByMac(mac);
  return device?.name || device?.hostName || printMac(mac);
}
