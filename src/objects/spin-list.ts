/** `Device.X_SPIN.List.{i}.`: rows that controllers own; who loads them (src/gateway/list-loader.ts) tells what came of it. */
import { ROOT } from "../../datamodel/spin-root.ts";
import type { Values } from "../../datamodel/schema.ts";
import { SpinList } from "../../datamodel/spin-list.ts";
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Implementation } from "../model/implementation.ts";
import { table, type StoredRow } from "../model/table.ts";
import type { Tree } from "../model/tree.ts";
import type { ListSource } from "../spin/lists/desk.ts";
import type { SpinParts } from "./home.ts";
import { ROLE_AGENT } from "./privacy.ts";
import { originOf } from "./spin-rule.ts";

export const LIST_TABLE = `${ROOT}List.`;

type ListRow = StoredRow<Values<(typeof SpinList)["params"]>>;

export function spinList({ home, persistence, undo }: SpinParts): Implementation {
  const { listDesk: desk, lists } = home;
  const of = ({ instance }: ListRow) => desk.state(instance);
  return table(SpinList, {
    persistence,
    initial: (caller) => ({
      Creator: caller.endpointId,
      Origin: originOf(caller),
    }),
    computed: {
      Status: (row) => (row.values.Enable ? of(row).status : "Disabled"),
      StatusReason: (row) => of(row).reason.slice(0, 512),
      LoadedChecksum: (row) => of(row).checksum,
      Entries: (row) => of(row).entries,
      Unreadable: (row) => of(row).unreadable,
      PassedOver: (row) => of(row).passedOver,
      LastUpdate: (row) => of(row).lastUpdate || UNKNOWN_TIME,
    },
    guard: ({ values }, param, _value, { caller }) => {
      // Where the configuration's come from is the configuration's to say: a file: above all.
      if (values.Origin === "System" && param !== "Enable" && !caller.roles.has(ROLE_AGENT))
        throw new UspError(UspErrorCode.PermissionDenied, "of this list only Enable may be changed", param);
    },
    validate: ({ values }) => {
      if (values.URL.startsWith("file:") && values.Origin !== "System")
        throw new UspError(UspErrorCode.InvalidValue, "file: is for the firmware's configuration alone", "URL");
      if (values.URL !== "" && values.Content !== "")
        throw new UspError(UspErrorCode.InvalidValue, "URL and Content are both set", "Content");
    },
    committed: (change) => {
      const { kind, row } = change;
      undo.record(LIST_TABLE, change);
      if (kind === "removed") {
        desk.remove(row.instance);
        lists.remove(row.instance);
      } else put(home, row);
    },
    commands: {
      "Refresh()": ({ instance, values }) => {
        if (!values.Enable) throw new UspError(UspErrorCode.CommandFailed, "the list is disabled");
        desk.refresh(instance);
        return {};
      },
    },
  });
}

/** Rows that were kept over a restart; before the rules that name them. */
export function restoreLists(tree: Tree, home: SpinParts["home"]): void {
  const object = tree.object(LIST_TABLE);
  for (const { row } of object ? tree.all(object) : []) put(home, row as ListRow);
}

/** Pushes what came of loading. */
export function tellLists(tree: Tree, { listDesk }: SpinParts["home"]): void {
  listDesk.onState((number) =>
    tree.changes.value(`${LIST_TABLE}${number}.`, "Status", "StatusReason", "LoadedChecksum"),
  );
}

function put({ listDesk, lists }: SpinParts["home"], row: ListRow): void {
  lists.put({ number: row.instance, enable: row.values.Enable });
  listDesk.put(toSource(row));
}

function toSource({ instance, values }: ListRow): ListSource {
  const { Enable, URL, Content, Format, Checksum, RefreshInterval, Origin } = values;
  return {
    number: instance,
    enable: Enable,
    url: URL,
    content: Content,
    format: Format,
    checksum: Checksum.toLowerCase(),
    refreshMs: RefreshInterval * 1000,
    mayBeLocal: Origin !== "Controller",
    mayBeFile: Origin === "System",
  };
}
