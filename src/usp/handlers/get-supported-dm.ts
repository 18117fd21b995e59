/** GetSupportedDM (TR-369 §"The GetSupportedDM Message"): what the caller's roles let it see of the declared model. */
import {
  GetSupportedDMResp_CmdType as CmdType,
  GetSupportedDMResp_ObjAccessType as ObjAccess,
  GetSupportedDMResp_ParamAccessType as ParamAccess,
  GetSupportedDMResp_ParamValueType as ParamValue,
  GetSupportedDMResp_ValueChangeType as ValueChange,
  type GetSupportedDM,
  type GetSupportedDMResp_RequestedObjectResult,
  type GetSupportedDMResp_SupportedCommandResult,
  type GetSupportedDMResp_SupportedEventResult,
  type GetSupportedDMResp_SupportedObjectResult,
  type GetSupportedDMResp_SupportedParamResult,
} from "../../../proto/generated/usp-msg.ts";
import { outputNames } from "../../model/command.ts";
import type { SupportedObject, SupportedParam, Tree } from "../../model/tree.ts";
import type { ResponseType } from "../codec.ts";
import type { Access, ObjectAccess } from "../permissions.ts";
import { READ } from "../rights.ts";
import { asUspError, Budget, invalidPath, wireBytes, type HandlerContext } from "./handler.ts";

export interface DataModelUri {
  readonly dataModelUri: (path: string) => string;
}

/**
 * Answers by what the roles make visible, for as long as the permissions stay: the model itself never changes while the
 * agent runs.
 */
const answers = new WeakMap<Access, Map<string, ResponseType>>();
/** Different requests that are kept for one set of roles. */
const MAX_ANSWERS = 16;

export function getSupportedDm(request: GetSupportedDM, context: HandlerContext & DataModelUri): ResponseType {
  const { access } = context.view;
  let kept = answers.get(access);
  if (!kept) answers.set(access, (kept = new Map()));
  const key = JSON.stringify(request);
  let answer = kept.get(key);
  if (!answer) {
    answer = describe(request, context);
    if (kept.size >= MAX_ANSWERS) kept.clear();
    if (key.length <= MAX_KEY) kept.set(key, answer);
  }
  return answer;
}

const MAX_KEY = 512;

function describe(request: GetSupportedDM, context: HandlerContext & DataModelUri): ResponseType {
  const { tree, view } = context;
  const budget = new Budget(context.responseBytes);
  const reqObjResults = request.objPaths.map((path): GetSupportedDMResp_RequestedObjectResult => {
    const result = { reqObjPath: path, errCode: 0, errMsg: "", dataModelInstUri: "", supportedObjs: [] };
    const before = budget.left;
    try {
      const { object, element } = locate(tree, path, context);
      const describer = new Describer(view.access, request);
      const supportedObjs = element === undefined ? describer.object(object) : describer.element(object, element, path);
      const found = { ...result, dataModelInstUri: context.dataModelUri(object.path), supportedObjs };
      budget.take(wireBytes(found), path);
      return found;
    } catch (error) {
      const failure = asUspError(error);
      budget.failed(before, path, failure);
      return { ...result, errCode: failure.code, errMsg: failure.message };
    }
  });
  return { $case: "getSupportedDmResp", value: { reqObjResults } };
}

/** Of a supported or an instance path: `Device.X.{i}.`, `Device.X.`, `Device.X.1.`, `Device.X.{i}.P`. */
function locate(
  tree: Tree,
  text: string,
  { view, paths }: HandlerContext,
): { object: SupportedObject; element?: string } {
  const path = paths.parse(text.replaceAll("{i}", "*"));
  const parts = path.segments.map((segment) => {
    if (segment.kind === "name") return segment.name;
    if (segment.kind === "follow") throw invalidPath(text);
    return "{i}";
  });
  const object = tree.object(`${parts.join(".")}.`);
  if (!object || !view.access.visible(object)) throw invalidPath(text);
  if (path.leaf === undefined) return { object };
  if (object.schema.isTable && parts.at(-1) !== "{i}") throw invalidPath(text);
  return { object, element: path.leaf };
}

class Describer {
  readonly #access: Access;
  readonly #request: GetSupportedDM;

  constructor(access: Access, request: GetSupportedDM) {
    this.#access = access;
    this.#request = request;
  }

  /** The object with all below it, or with its children's bare names (first_level_only). */
  object(object: SupportedObject): GetSupportedDMResp_SupportedObjectResult[] {
    const results: GetSupportedDMResp_SupportedObjectResult[] = [];
    this.#describe(object, results);
    if (this.#request.firstLevelOnly) {
      for (const child of object.children.values()) if (this.#mayRead(child)) results.push(bare(child));
    } else this.#below(object, results);
    return results;
  }

  /** One parameter, command or event; the request's flags do not count. */
  element(object: SupportedObject, name: string, text: string): GetSupportedDMResp_SupportedObjectResult[] {
    const access = this.#access.of(object);
    const mayRead = ((object.params.has(name) ? access.param(name) : access.element(name)) & READ) !== 0;
    const param = object.params.get(name);
    const command = object.commands.get(name);
    const event = object.events.get(name);
    if (!mayRead || !(param || command || event)) throw invalidPath(text);
    const result = bare(object);
    if (param) result.supportedParams.push(describeParam(param));
    if (command) result.supportedCommands.push(...describeCommands(object, (other) => other === name));
    if (event) result.supportedEvents.push(...describeEvents(object, (other) => other === name));
    return [result];
  }

  #below(object: SupportedObject, results: GetSupportedDMResp_SupportedObjectResult[]): void {
    for (const child of object.children.values()) {
      if (!this.#access.visible(child)) continue;
      this.#describe(child, results);
      this.#below(child, results);
    }
  }

  #describe(object: SupportedObject, results: GetSupportedDMResp_SupportedObjectResult[]): void {
    if (!this.#mayRead(object)) return;
    const access = this.#access.of(object);
    const mayReadElement = (name: string) => (access.element(name) & READ) !== 0;
    const { returnParams, returnCommands, returnEvents, returnUniqueKeySets } = this.#request;
    const result = bare(object);
    if (returnParams) result.supportedParams = access.readable.map(describeParam);
    if (returnCommands) result.supportedCommands = describeCommands(object, mayReadElement);
    if (returnEvents) result.supportedEvents = describeEvents(object, mayReadElement);
    if (returnUniqueKeySets) result.uniqueKeySets = describeKeys(object, access);
    results.push(result);
  }

  /** Of some row at least, where permissions differ from row to row. */
  #mayRead(object: SupportedObject): boolean {
    const { object: bits, readable } = this.#access.of(object);
    return (bits & READ) !== 0 || readable.length > 0;
  }
}

function bare(object: SupportedObject): GetSupportedDMResp_SupportedObjectResult {
  const { canAdd, canDelete, isTable } = object.schema;
  return {
    supportedObjPath: object.path,
    access: canAdd
      ? canDelete
        ? ObjAccess.OBJ_ADD_DELETE
        : ObjAccess.OBJ_ADD_ONLY
      : canDelete
        ? ObjAccess.OBJ_DELETE_ONLY
        : ObjAccess.OBJ_READ_ONLY,
    isMultiInstance: isTable,
    supportedCommands: [],
    supportedEvents: [],
    supportedParams: [],
    divergentPaths: [],
    uniqueKeySets: [],
  };
}

const VALUE_TYPE = {
  base64: ParamValue.PARAM_BASE_64,
  boolean: ParamValue.PARAM_BOOLEAN,
  dateTime: ParamValue.PARAM_DATE_TIME,
  decimal: ParamValue.PARAM_DECIMAL,
  hexBinary: ParamValue.PARAM_HEX_BINARY,
  int: ParamValue.PARAM_INT,
  long: ParamValue.PARAM_LONG,
  string: ParamValue.PARAM_STRING,
  unsignedInt: ParamValue.PARAM_UNSIGNED_INT,
  unsignedLong: ParamValue.PARAM_UNSIGNED_LONG,
} as const;

function describeParam({ name, schema }: SupportedParam): GetSupportedDMResp_SupportedParamResult {
  return {
    paramName: name,
    access: schema.access === "readOnly" ? ParamAccess.PARAM_READ_ONLY : ParamAccess.PARAM_READ_WRITE,
    // On the wire a list is text, whatever its members are.
    valueType: schema.type.item ? ParamValue.PARAM_STRING : VALUE_TYPE[schema.type.base],
    valueChange: schema.valueChange ? ValueChange.VALUE_CHANGE_ALLOWED : ValueChange.VALUE_CHANGE_WILL_IGNORE,
  };
}

function describeCommands(
  { commands }: SupportedObject,
  wanted: (name: string) => boolean,
): GetSupportedDMResp_SupportedCommandResult[] {
  return [...commands.values()]
    .filter(({ name }) => wanted(name))
    .map(({ name, schema }) => ({
      commandName: name,
      inputArgNames: Object.keys(schema.input),
      outputArgNames: outputNames(schema),
      commandType: schema.mode === "async" ? CmdType.CMD_ASYNC : CmdType.CMD_SYNC,
    }));
}

function describeEvents(
  { events }: SupportedObject,
  wanted: (name: string) => boolean,
): GetSupportedDMResp_SupportedEventResult[] {
  return [...events]
    .filter(([name]) => wanted(name))
    .map(([eventName, { args }]) => ({ eventName, argNames: Object.keys(args) }));
}

function describeKeys({ schema }: SupportedObject, access: ObjectAccess) {
  return schema.keys
    .filter((key) => key.params.every((name) => (access.param(name) & READ) !== 0))
    .map((key) => ({ keyNames: [...key.params] }));
}
