/** From SPIN's notices to changes of the model: what controllers are told. */
import { ROOT, SpinDevice } from "../../datamodel/spin.ts";
import { keysOf, type Tree } from "../model/tree.ts";
import type { RuleBook } from "../spin/rules.ts";
import type { Home, HomeDevice, Notice } from "../spin/types.ts";

const DEVICE_TABLE = `${ROOT}Device.`;
const RULE_TABLE = `${ROOT}Rule.`;
/** What is computed from much: read again whenever something happened that may bear on it, told where it differs. */
const COMPUTED: readonly (readonly [path: string, ...names: string[]])[] = [
  [ROOT, "Status", "StatusReason", "CounterAccuracy", "DeviceNumberOfEntries", "IncidentNumberOfEntries"],
  [`${ROOT}Summary.`, "DeviceCount", "BlockedDeviceCount", "OpenIncidentCount", "RuleHash"],
  [`${ROOT}Capture.`, "Status"],
];
/** What a source says of itself. */
const OF_SOURCE = ["Status", "Backend", "LastError"];
/** Settings that the computed values follow. */
const SWITCHES: ReadonlySet<string> = new Set([`${ROOT}Enable`, `${ROOT}Capture.Enable`]);

/** Returns what ends it. */
export function tellModel(home: Home & { readonly rules: RuleBook }, tree: Tree): () => void {
  const watch = new Watch(tree);
  const ends = [
    home.subscribe((notice) => {
      tell(tree, notice);
      watch.soon();
    }),
    // A rule that is gone or expired has no state to tell, but RuleHash.
    home.rules.onChange(() => watch.soon()),
    tree.changes.listen((change) => {
      if (change.kind === "value" && SWITCHES.has(`${change.path}${change.param}`)) watch.soon();
    }),
  ];
  return () => {
    watch.stop();
    for (const end of ends) end();
  };
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
      return;
    }
    case "device-removed":
      // A row that a controller deleted is told by the transaction.
      if (notice.reason !== "forgotten")
        changes.emit({ kind: "deleted", path: rowPath(notice.device), supportedPath: SpinDevice.path });
      return;
    case "device-changed":
      // A name is told by the transaction that gave it, once it stands.
      if (notice.field !== "Name") changes.value(rowPath(notice.device), notice.field);
      return;
    case "rule-changed":
      changes.value(`${RULE_TABLE}${notice.rule}.`, ...notice.fields);
      return;
    case "status-changed":
    case "part-changed":
    case "address-conflict":
    case "incident":
    case "blocked":
      return;
  }
}

/** Reads values again after the turn of the event loop in which something happened, and tells those that changed. */
class Watch {
  readonly #tree: Tree;
  readonly #told = new Map<string, string | undefined>();
  #due: NodeJS.Immediate | undefined;

  constructor(tree: Tree) {
    this.#tree = tree;
    this.#check(() => undefined);
  }

  soon(): void {
    this.#due ??= setImmediate(() => {
      this.#due = undefined;
      this.#check((path, name) => this.#tree.changes.value(path, name));
    });
  }

  stop(): void {
    clearImmediate(this.#due);
  }

  #check(changed: (path: string, name: string) => void): void {
    const differing: (readonly [string, string])[] = [];
    for (const [path, ...names] of [...COMPUTED, ...this.#sources()]) {
      const node = this.#tree.at(path);
      if (!node) continue;
      for (const name of names) {
        const text = this.#tree.text(node, name);
        if (this.#told.get(`${path}${name}`) === text) continue;
        this.#told.set(`${path}${name}`, text);
        differing.push([path, name]);
      }
    }
    for (const [path, name] of differing) changed(path, name);
  }

  #sources(): (readonly [string, ...string[]])[] {
    const table = this.#tree.object(`${ROOT}Capture.Source.`);
    return table ? [...this.#tree.all(table)].map(({ path }) => [path, ...OF_SOURCE]) : [];
  }
}

const rowPath = ({ number }: HomeDevice) => `${DEVICE_TABLE}${number}.`;
