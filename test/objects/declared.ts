/** The vendor model's declarations in the words of GetSupportedDM, worked out apart from the agent's own code. */
import { Bench, BenchObj, BenchOwn, BenchRow } from "../../datamodel/bench.ts";
import type { ObjectSchema } from "../../datamodel/schema.ts";
import { spinObjects } from "../../datamodel/spin.ts";
import {
  GetSupportedDMResp_CmdType as CmdType,
  GetSupportedDMResp_ObjAccessType as ObjAccess,
  GetSupportedDMResp_ParamAccessType as ParamAccess,
  GetSupportedDMResp_ParamValueType as ParamValue,
  GetSupportedDMResp_ValueChangeType as ValueChange,
} from "../../proto/generated/usp-msg.ts";

export interface Described {
  readonly path: string;
  readonly access: number;
  readonly isTable: boolean;
  readonly params: readonly { name: string; access: number; type: number; valueChange: number }[];
  readonly commands: readonly { name: string; type: number; input: string[]; output: string[] }[];
  readonly events: readonly { name: string; args: string[] }[];
  readonly keys: readonly string[][];
}

const TYPES: Readonly<Record<string, number>> = {
  boolean: ParamValue.PARAM_BOOLEAN,
  dateTime: ParamValue.PARAM_DATE_TIME,
  int: ParamValue.PARAM_INT,
  string: ParamValue.PARAM_STRING,
  unsignedInt: ParamValue.PARAM_UNSIGNED_INT,
  unsignedLong: ParamValue.PARAM_UNSIGNED_LONG,
};

const ACCESS = {
  none: ObjAccess.OBJ_READ_ONLY,
  add: ObjAccess.OBJ_ADD_ONLY,
  delete: ObjAccess.OBJ_DELETE_ONLY,
  both: ObjAccess.OBJ_ADD_DELETE,
} as const;

function describeAll(objects: readonly ObjectSchema[]): Described[] {
  return objects.map((object) => ({
    path: object.path,
    access: ACCESS[object.canAdd ? (object.canDelete ? "both" : "add") : object.canDelete ? "delete" : "none"],
    isTable: object.path.endsWith("{i}."),
    params: [
      ...Object.entries(object.params).map(([name, { type, access, valueChange }]) => ({
        name,
        access: access === "readOnly" ? ParamAccess.PARAM_READ_ONLY : ParamAccess.PARAM_READ_WRITE,
        type: type.item ? ParamValue.PARAM_STRING : (TYPES[type.base] as number),
        valueChange: valueChange ? ValueChange.VALUE_CHANGE_ALLOWED : ValueChange.VALUE_CHANGE_WILL_IGNORE,
      })),
      ...objects.filter((other) => isTableOf(other.path, object.path)).map((table) => counted(table.path)),
    ],
    commands: Object.entries(object.commands).map(([name, { mode, input, output, rows }]) => ({
      name,
      type: mode === "sync" ? CmdType.CMD_SYNC : CmdType.CMD_ASYNC,
      input: Object.keys(input),
      output: [
        ...Object.keys(output),
        ...Object.entries(rows).flatMap(([row, columns]) =>
          Object.keys(columns).map((column) => `${row}.{i}.${column}`),
        ),
      ],
    })),
    events: Object.entries(object.events).map(([name, { args }]) => ({ name, args: Object.keys(args) })),
    keys: object.keys.map(({ params }) => [...params]),
  }));
}

const isTableOf = (path: string, parent: string) =>
  path.startsWith(parent) && /^[A-Za-z]+\.\{i\}\.$/.test(path.slice(parent.length));

const counted = (path: string) => ({
  name: `${path.split(".").at(-3)}NumberOfEntries`,
  access: ParamAccess.PARAM_READ_ONLY as number,
  type: ParamValue.PARAM_UNSIGNED_INT as number,
  valueChange: ValueChange.VALUE_CHANGE_ALLOWED as number,
});

export const declared = describeAll(spinObjects);
export const benchModel = describeAll([Bench, BenchRow, BenchObj, BenchOwn]);
