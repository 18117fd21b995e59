/** `Device.X_SPIN.Detection.`: the switches and thresholds of the detectors. */
import type { ObjectSchema, Params, Values } from "../../datamodel/schema.ts";
import {
  SpinAddressSpoofing,
  SpinArpScan,
  SpinDetection,
  SpinDnsTunnel,
  SpinFlood,
  SpinHostScan,
  SpinListedPeer,
  SpinNewDestination,
  SpinPortScan,
  SpinRuleViolation,
  SpinTrafficPeak,
} from "../../datamodel/spin-detection.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table, type StoredRow } from "../model/table.ts";
import type { Tree } from "../model/tree.ts";
import type { Detection } from "../spin/detection.ts";
import type { SpinParts } from "./home.ts";

/** A detector's object, and how its values reach the detector. */
interface Setting {
  readonly path: string;
  readonly object: Implementation;
  apply(row: StoredRow): void;
}

export function spinDetectionObjects({ home, persistence }: SpinParts): Implementation[] {
  return [bind(SpinDetection, { get: {} }), ...settings(home.detection, persistence).map(({ object }) => object)];
}

/** What controllers set in an earlier life: told to the detectors once, when the tree stands. */
export function applyDetectionSettings(tree: Tree, { home }: Pick<SpinParts, "home">): void {
  // Without persistence: these say how values reach the detectors, and what is kept is the tree's alone.
  for (const { path, apply } of settings(home.detection, undefined)) {
    const node = tree.at(path);
    if (node) apply(node.row as StoredRow);
  }
}

function settings(detection: Detection, persistence: Persistence | undefined): Setting[] {
  const { trafficPeak, fanOut, arpScan, flood, dnsTunnel, newDestination, listedPeer, ruleViolation } =
    detection.detectors;
  const setting = <P extends Params>(schema: ObjectSchema<P>, apply: (values: Values<P>) => void): Setting => ({
    path: schema.path,
    object: table(schema, { persistence, committed: ({ row: { values } }) => apply(values) }),
    apply: (row) => apply(row.values as Values<P>),
  });
  const ms = (seconds: number) => 1000 * seconds;
  return [
    setting(SpinTrafficPeak, ({ Enable, Floor, Factor, Learning }) => {
      const { threshold } = trafficPeak.settings;
      const learningMs = ms(Learning);
      trafficPeak.settings = { enable: Enable, floorBytesPerSecond: Floor, factor: Factor, threshold, learningMs };
    }),
    setting(SpinHostScan, ({ Enable, Threshold, Window }) => {
      fanOut.hostScan = { enable: Enable, threshold: Threshold, windowMs: ms(Window) };
    }),
    setting(SpinPortScan, ({ Enable, Threshold, Window }) => {
      fanOut.portScan = { enable: Enable, threshold: Threshold, windowMs: ms(Window) };
    }),
    setting(SpinArpScan, ({ Enable, Threshold, Window }) => {
      arpScan.settings = { enable: Enable, threshold: Threshold, windowMs: ms(Window) };
    }),
    setting(SpinFlood, ({ Enable, Connections, Packets, Window }) => {
      flood.settings = { enable: Enable, connections: Connections, packets: Packets, windowMs: ms(Window) };
    }),
    setting(SpinDnsTunnel, ({ Enable, Names, Questions, Window }) => {
      dnsTunnel.settings = { enable: Enable, names: Names, questions: Questions, windowMs: ms(Window) };
    }),
    setting(SpinNewDestination, ({ Enable, Learning }) => {
      newDestination.settings = { enable: Enable, learningMs: ms(Learning) };
    }),
    setting(SpinListedPeer, ({ Enable, Severity, Contacts, Window }) => {
      listedPeer.settings = { enable: Enable, severity: Severity, contacts: Contacts, windowMs: ms(Window) };
    }),
    setting(SpinRuleViolation, ({ Enable, Packets, Window }) => {
      ruleViolation.settings = { enable: Enable, packets: Packets, windowMs: ms(Window) };
    }),
    setting(SpinAddressSpoofing, ({ Enable }) => {
      detection.spoofing = { enable: Enable };
    }),
  ];
}
