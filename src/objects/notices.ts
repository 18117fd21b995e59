/** From SPIN's notices to changes of the model: what controllers are told. */
import { ROOT, SpinDevice } from "../../datamodel/spin.ts";
import { keysOf, type Tree } from "../model/tree.ts";
import type { Home, HomeDevice, Notice } from "../spin/types.ts";

const DEVICE_TABLE = `${ROOT}Device.`;
const RULE_TABLE = `${ROOT}Rule.`;

/** Returns what ends it. */
export function tellModel(home: Home, tree: Tree): () => void {
  return home.subscribe((notice) => tell(tree, notice));
}

function tell(tree: Tree, notice: Notice): void {
  const { changes } = tree;
  switch (notice.kind) {
    case "device-added": {
      const path = rowPath(notice.device);
      const node = tree.at(path);
      if (node) changes.emit({ kind: "created", path, supportedPath: SpinDevice.path, keys: keysOf(node) });
      changes.emit({
        kind: "event",
        path: ROOT,
        name: "DeviceDiscovered!",
        args: { Device: path.slice(0, -1), PhysAddress: notice.device.physAddress, HostName: notice.device.hostName },
      });
      deviceCountChanged(tree);
      return;
    }
    case "device-removed":
      // A row that a controller deleted has been told by the transaction already.
      if (notice.reason === "forgotten") changes.value(`${ROOT}Summary.`, "DeviceCount");
      else {
        changes.emit({ kind: "deleted", path: rowPath(notice.device), supportedPath: SpinDevice.path });
        deviceCountChanged(tree);
      }
      return;
    case "device-changed":
      changes.value(rowPath(notice.device), notice.field);
      if (notice.field === "Blocked") changes.value(`${ROOT}Summary.`, "BlockedDeviceCount");
      return;
    case "rule-changed":
      changes.value(`${RULE_TABLE}${notice.rule}.`, "Status", "StatusReason");
      changes.value(`${ROOT}Summary.`, "RuleHash");
      return;
    case "status-changed":
      changes.value(ROOT, "Status", "StatusReason", "CounterAccuracy");
      changes.value(`${ROOT}Capture.`, "Status");
      return;
    case "address-conflict":
      return;
  }
}

function deviceCountChanged({ changes }: Tree): void {
  changes.value(ROOT, "DeviceNumberOfEntries");
  changes.value(`${ROOT}Summary.`, "DeviceCount");
}

const rowPath = ({ number }: HomeDevice) => `${DEVICE_TABLE}${number}.`;
