/** What an agent answered, without the wire's nesting. One outcome a requested path, in the order of the request. */
import type * as wire from "../../proto/generated/usp-msg.ts";
import { UspError } from "../lib/usp-error.ts";

export type Values = ReadonlyMap<string, string>;

/** What an agent says of one parameter that it did not take. */
export interface ParamFault {
  /** Name, or path where a Message failed as a whole. */
  readonly param: string;
  readonly code: number;
  readonly message: string;
}

export interface GetOutcome {
  readonly requested: string;
  readonly error?: UspError;
  /** Each object with its own parameters by name. */
  readonly objects: readonly { readonly path: string; readonly params: Values }[];
}

export interface SetOutcome {
  readonly requested: string;
  readonly error?: UspError;
  readonly objects: readonly {
    readonly path: string;
    readonly params: Values;
    readonly faults: readonly ParamFault[];
  }[];
}

export interface AddOutcome {
  readonly requested: string;
  readonly error?: UspError;
  /** Of the new row; absent where there is none. */
  readonly path?: string;
  readonly uniqueKeys: Values;
  readonly faults: readonly ParamFault[];
}

export interface DeleteOutcome {
  readonly requested: string;
  readonly error?: UspError;
  readonly deleted: readonly string[];
  readonly undeleted: readonly ParamFault[];
}

export interface InstancesOutcome {
  readonly requested: string;
  readonly error?: UspError;
  readonly instances: readonly { readonly path: string; readonly uniqueKeys: Values }[];
}

export interface SupportedOutcome {
  readonly requested: string;
  readonly error?: UspError;
  readonly dataModel: string;
  readonly objects: readonly SupportedObject[];
}

/** An object of the supported model. Words for the wire's enumerations. */
export interface SupportedObject {
  readonly path: string;
  readonly access: "readOnly" | "addDelete" | "addOnly" | "deleteOnly";
  readonly params: readonly SupportedParam[];
  readonly commands: readonly {
    readonly name: string;
    readonly type: "unknown" | "sync" | "async";
    readonly input: readonly string[];
    readonly output: readonly string[];
  }[];
  readonly events: readonly { readonly name: string; readonly args: readonly string[] }[];
  readonly uniqueKeys: readonly (readonly string[])[];
}

export interface SupportedParam {
  readonly name: string;
  readonly access: "readOnly" | "readWrite" | "writeOnly";
  readonly type: SupportedType;
  /** Whether changes notify; `unknown` of agents before 1.2. */
  readonly valueChange: "unknown" | "allowed" | "willIgnore";
}

export type SupportedType =
  | "unknown"
  | "base64"
  | "boolean"
  | "dateTime"
  | "decimal"
  | "hexBinary"
  | "int"
  | "long"
  | "string"
  | "unsignedInt"
  | "unsignedLong";

export interface CommandOutcome {
  /** The command that ran, with instance numbers. */
  readonly command: string;
  readonly error?: UspError;
  readonly output: Values;
  /** Path of the Request row of an asynchronous command. */
  readonly request?: string;
}

export function errorOf(error: wire.Error): UspError {
  const first = error.paramErrs[0];
  if (first === undefined) return new UspError(error.errCode, error.errMsg);
  const details = error.paramErrs.map(({ paramPath, errCode, errMsg }) => `${paramPath}: ${errMsg} (${errCode})`);
  return new UspError(
    error.errCode,
    [error.errMsg, ...details].filter((text) => text !== "").join("; "),
    first.paramPath,
  );
}

export function getOutcome(result: wire.GetResp_RequestedPathResult): GetOutcome {
  const objects = result.resolvedPathResults.map((each) => ({ path: each.resolvedPath, params: each.resultParams }));
  return { requested: result.requestedPath, ...errorIf(result, result.requestedPath), objects };
}

export function setOutcome({ requestedPath: requested, operStatus }: wire.SetResp_UpdatedObjectResult): SetOutcome {
  const status = operStatus?.operStatus;
  if (status?.$case !== "operSuccess") {
    const faults = status?.value.updatedInstFailures.flatMap(({ paramErrs }) => paramErrs.map(faultOf)) ?? [];
    return { requested, error: failed(status?.value, requested, faults), objects: [] };
  }
  const objects = status.value.updatedInstResults.map(({ affectedPath, updatedParams, paramErrs }) => ({
    path: affectedPath,
    params: updatedParams,
    faults: paramErrs.map(faultOf),
  }));
  return { requested, objects };
}

export function addOutcome({ requestedPath: requested, operStatus }: wire.AddResp_CreatedObjectResult): AddOutcome {
  const status = operStatus?.operStatus;
  if (status?.$case !== "operSuccess") {
    return { requested, error: failed(status?.value, requested), uniqueKeys: new Map(), faults: [] };
  }
  const { instantiatedPath, uniqueKeys, paramErrs } = status.value;
  return { requested, path: instantiatedPath, uniqueKeys, faults: paramErrs.map(faultOf) };
}

export function deleteOutcome({
  requestedPath: requested,
  operStatus,
}: wire.DeleteResp_DeletedObjectResult): DeleteOutcome {
  const status = operStatus?.operStatus;
  if (status?.$case !== "operSuccess")
    return { requested, error: failed(status?.value, requested), deleted: [], undeleted: [] };
  const undeleted = status.value.unaffectedPathErrs.map(({ unaffectedPath, errCode, errMsg }) => ({
    param: unaffectedPath,
    code: errCode,
    message: errMsg,
  }));
  return { requested, deleted: status.value.affectedPaths, undeleted };
}

export function instancesOutcome(result: wire.GetInstancesResp_RequestedPathResult): InstancesOutcome {
  const instances = result.currInsts.map((each) => ({ path: each.instantiatedObjPath, uniqueKeys: each.uniqueKeys }));
  return { requested: result.requestedPath, ...errorIf(result, result.requestedPath), instances };
}

export function supportedOutcome(result: wire.GetSupportedDMResp_RequestedObjectResult): SupportedOutcome {
  const { reqObjPath, dataModelInstUri, supportedObjs } = result;
  return {
    requested: reqObjPath,
    ...errorIf(result, reqObjPath),
    dataModel: dataModelInstUri,
    objects: supportedObjs.map(supportedObject),
  };
}

const OBJECT_ACCESS = ["readOnly", "addDelete", "addOnly", "deleteOnly"] as const;
const PARAM_ACCESS = ["readOnly", "readWrite", "writeOnly"] as const;
const VALUE_CHANGE = ["unknown", "allowed", "willIgnore"] as const;
const COMMAND_TYPE = ["unknown", "sync", "async"] as const;
const TYPE = [
  "unknown",
  "base64",
  "boolean",
  "dateTime",
  "decimal",
  "hexBinary",
  "int",
  "long",
  "string",
  "unsignedInt",
  "unsignedLong",
] as const;

function supportedObject(object: wire.GetSupportedDMResp_SupportedObjectResult): SupportedObject {
  return {
    path: object.supportedObjPath,
    access: OBJECT_ACCESS[object.access],
    params: object.supportedParams.map(({ paramName, access, valueType, valueChange }) => ({
      name: paramName,
      access: PARAM_ACCESS[access],
      type: TYPE[valueType],
      valueChange: VALUE_CHANGE[valueChange],
    })),
    commands: object.supportedCommands.map(({ commandName, commandType, inputArgNames, outputArgNames }) => ({
      name: commandName,
      type: COMMAND_TYPE[commandType],
      input: inputArgNames,
      output: outputArgNames,
    })),
    events: object.supportedEvents.map(({ eventName, argNames }) => ({ name: eventName, args: argNames })),
    uniqueKeys: object.uniqueKeySets.map(({ keyNames }) => keyNames),
  };
}

export function commandOutcome({
  executedCommand: command,
  operationResp,
}: wire.OperateResp_OperationResult): CommandOutcome {
  const output: Values = new Map();
  switch (operationResp?.$case) {
    case "reqOutputArgs":
      return { command, output: operationResp.value.outputArgs };
    case "reqObjPath":
      return { command, output, request: operationResp.value };
    default:
      return { command, output, error: failed(operationResp?.value, command) };
  }
}

function errorIf({ errCode, errMsg }: { errCode: number; errMsg: string }, path: string): { error?: UspError } {
  return errCode === 0 ? {} : { error: new UspError(errCode, errMsg, path) };
}

function failed(
  failure: { errCode: number; errMsg: string } | undefined,
  path: string,
  faults: ParamFault[] = [],
): UspError {
  const details = faults.map(({ param, code, message }) => `${param}: ${message} (${code})`);
  return new UspError(failure?.errCode ?? 7003, [failure?.errMsg ?? "no status", ...details].join("; "), path);
}

function faultOf({ param, errCode, errMsg }: { param: string; errCode: number; errMsg: string }): ParamFault {
  return { param, code: errCode, message: errMsg };
}
