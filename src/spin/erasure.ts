/** Erases what a device did, in memory; who it is, its counters and what rules hold to stay. */
import type { Answers } from "./answers.ts";
import type { Destinations } from "./destinations.ts";
import type { Detection } from "./detection.ts";
import type { DeviceRow } from "./devices.ts";
import type { EndedFlows } from "./ended-flows.ts";
import type { FlowTable } from "./flows.ts";
import type { History } from "./history.ts";
import type { Names } from "./names.ts";

export interface ErasureParts {
  readonly answers: Answers;
  readonly destinations: Destinations;
  readonly detection: Detection;
  readonly ended: EndedFlows;
  readonly flows: FlowTable;
  readonly history: History;
  readonly names: Names;
}

export interface Erased {
  devices: number;
  destinations: number;
  names: number;
  incidents: number;
}

export function erase(parts: ErasureParts, devices: readonly DeviceRow[]): Erased {
  const { answers, destinations, detection, ended, flows, history, names } = parts;
  const erased: Erased = { devices: devices.length, destinations: 0, names: 0, incidents: 0 };
  for (const { slot, mac } of devices) {
    erased.destinations += destinations.count(slot);
    destinations.removeAll(slot);
    const before = names.count(slot);
    // A rule on a domain goes on to hold for what the device was told of it.
    names.removeBut(slot, (chain) => answers.isUnderRules(chain));
    erased.names += before - names.count(slot);
    ended.removeAll(slot);
    flows.forgetEnded(slot);
    history.erase(slot);
    detection.erase(slot);
    erased.incidents += detection.incidents.forget(mac);
  }
  return erased;
}
