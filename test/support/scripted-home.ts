/** A small home as an agent would show it, for the words of ctl: devices, rules and traffic that a test can look into. */
import type { RequestType, ResponseType } from "../../proto/codec.ts";
import {
  GetSupportedDMResp_CmdType as CmdType,
  GetSupportedDMResp_ParamValueType as ValueType,
} from "../../proto/generated/usp-msg.ts";
import { ROOT, spinObjects } from "../../datamodel/spin.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import type { Answer } from "./responder.ts";

type Values = { [name: string]: string };

export class ScriptedHome {
  /** Parameters by full path. */
  readonly values = new Map<string, string>();
  /** Answers of commands, by path. */
  readonly commands = new Map<string, (input: ReadonlyMap<string, string>) => Values>();
  /** Whom the agent takes a controller for, where not for whom it says it is: at a local door, behind a USP Broker. */
  knownAs: string | undefined;
  #nextRule = 1;

  constructor(devices: readonly Values[]) {
    devices.forEach((device, at) => {
      for (const [name, value] of Object.entries(device)) this.values.set(`${ROOT}Device.${at + 1}.${name}`, value);
    });
  }

  addRule(rule: Values): string {
    const path = `${ROOT}Rule.${this.#nextRule}.`;
    const defaults = {
      Alias: `cpe-${this.#nextRule}`,
      Status: "Enabled",
      StatusReason: "",
      Protocol: "-1",
      PortList: "",
      HitPackets: "0",
      HitBytes: "0",
      LastHit: "0001-01-01T00:00:00Z",
      ExpiryDate: "9999-12-31T23:59:59Z",
      Reason: "",
    };
    this.#nextRule++;
    for (const [name, value] of Object.entries({ ...defaults, ...rule })) this.values.set(path + name, value);
    return path;
  }

  readonly answer: Answer = (request, { from }) => {
    switch (request.$case) {
      case "get":
        return this.#get(request.value.paramPaths);
      case "getSupportedDm":
        return supported(request.value.objPaths);
      case "operate":
        return this.#operate(request.value);
      case "add":
        return this.#addAll(request.value.createObjs, this.knownAs ?? from);
      case "set":
        return this.#set(request.value.updateObjs);
      case "delete":
        return this.#delete(request.value.objPaths);
      default:
        throw new UspError(7001, `${request.$case} is not for this home`);
    }
  };

  #get(paths: readonly string[]): ResponseType {
    const reqPathResults = paths.map((requestedPath) => {
      const objects = new Map<string, Map<string, string>>();
      for (const [path, value] of this.values) {
        if (path !== requestedPath && !(requestedPath.endsWith(".") && path.startsWith(requestedPath))) continue;
        const at = path.lastIndexOf(".") + 1;
        const object = objects.get(path.slice(0, at)) ?? new Map<string, string>();
        objects.set(path.slice(0, at), object.set(path.slice(at), value));
      }
      const isTable = ["Device.", "Rule.", "Incident."].some((name) => requestedPath === `${ROOT}${name}`);
      const errCode = objects.size === 0 && !isTable ? 7026 : 0;
      const resolvedPathResults = [...objects].map(([resolvedPath, resultParams]) => ({ resolvedPath, resultParams }));
      return { requestedPath, errCode, errMsg: errCode === 0 ? "" : "no such path", resolvedPathResults };
    });
    return { $case: "getResp", value: { reqPathResults } };
  }

  #operate({ command, inputArgs }: Extract<RequestType, { $case: "operate" }>["value"]): ResponseType {
    const run = this.commands.get(command);
    if (run === undefined) throw new UspError(7026, "no such command", command);
    const value = { outputArgs: new Map(Object.entries(run(inputArgs))) };
    return {
      $case: "operateResp",
      value: { operationResults: [{ executedCommand: command, operationResp: { $case: "reqOutputArgs", value } }] },
    };
  }

  /** All or nothing. */
  #addAll(objects: Extract<RequestType, { $case: "add" }>["value"]["createObjs"], creator: string): ResponseType {
    const before = [...this.values];
    try {
      return this.#add(objects, creator);
    } catch (error) {
      this.values.clear();
      for (const [path, value] of before) this.values.set(path, value);
      throw error;
    }
  }

  #add(objects: Extract<RequestType, { $case: "add" }>["value"]["createObjs"], creator: string): ResponseType {
    const createdObjResults = objects.map(({ objPath, paramSettings }) => {
      const settings = Object.fromEntries(paramSettings.map(({ param, value }) => [param, value]));
      const same = [...this.values].find(
        ([path, value]) =>
          path.endsWith(".DestinationList") &&
          value === settings["DestinationList"] &&
          this.values.get(path.replace(/DestinationList$/, "MACAddressList")) === settings["MACAddressList"] &&
          this.values.get(path.replace(/DestinationList$/, "Creator")) === creator,
      );
      if (same !== undefined) throw new UspError(7025, `${same[0]} says the same already`, objPath);
      const value = {
        instantiatedPath: this.addRule({ ...settings, Creator: creator }),
        paramErrs: [],
        uniqueKeys: new Map(),
      };
      return { requestedPath: objPath, operStatus: { operStatus: { $case: "operSuccess" as const, value } } };
    });
    return { $case: "addResp", value: { createdObjResults } };
  }

  #set(objects: Extract<RequestType, { $case: "set" }>["value"]["updateObjs"]): ResponseType {
    const updatedObjResults = objects.map(({ objPath, paramSettings }) => {
      const paramErrs = paramSettings
        .filter(({ param }) => !this.values.has(objPath + param))
        .map(({ param }) => ({ param, errCode: 7010, errMsg: "no such parameter" }));
      const required = paramSettings.some(
        ({ param, required }) => required && paramErrs.some((each) => each.param === param),
      );
      if (required) throw new UspError(7010, "no such parameter", objPath + (paramErrs[0]?.param ?? ""));
      const taken = paramSettings.filter(({ param }) => this.values.has(objPath + param));
      for (const { param, value } of taken) this.values.set(objPath + param, value);
      const updatedParams = new Map(taken.map(({ param, value }) => [param, value]));
      const value = { updatedInstResults: [{ affectedPath: objPath, paramErrs, updatedParams }] };
      return { requestedPath: objPath, operStatus: { operStatus: { $case: "operSuccess" as const, value } } };
    });
    return { $case: "setResp", value: { updatedObjResults } };
  }

  #delete(paths: readonly string[]): ResponseType {
    const deletedObjResults = paths.map((requestedPath) => {
      for (const path of [...this.values.keys()]) if (path.startsWith(requestedPath)) this.values.delete(path);
      const value = { affectedPaths: [requestedPath], unaffectedPathErrs: [] };
      return { requestedPath, operStatus: { operStatus: { $case: "operSuccess" as const, value } } };
    });
    return { $case: "deleteResp", value: { deletedObjResults } };
  }
}

const TYPES: { readonly [base: string]: ValueType } = {
  boolean: ValueType.PARAM_BOOLEAN,
  dateTime: ValueType.PARAM_DATE_TIME,
  int: ValueType.PARAM_INT,
  unsignedInt: ValueType.PARAM_UNSIGNED_INT,
  unsignedLong: ValueType.PARAM_UNSIGNED_LONG,
};

/** What the declared model says of the objects; its commands are all synchronous. */
function supported(paths: readonly string[]): ResponseType {
  const reqObjResults = paths.map((reqObjPath) => {
    const object = spinObjects.find(({ path }) => path === reqObjPath);
    const params = Object.entries<{ type: { base: string } }>(object?.params ?? {});
    const supportedParams = params.map(([paramName, { type }]) => ({
      paramName,
      access: 0 as const,
      valueType: TYPES[type.base] ?? ValueType.PARAM_STRING,
      valueChange: 1 as const,
    }));
    const commands = object !== undefined && "commands" in object ? Object.keys(object.commands) : [];
    const supportedCommands = commands.map((commandName) => ({
      commandName,
      inputArgNames: [],
      outputArgNames: [],
      commandType: CmdType.CMD_SYNC,
    }));
    const supportedObj = {
      supportedObjPath: reqObjPath,
      access: 0 as const,
      isMultiInstance: reqObjPath.endsWith("{i}."),
      supportedCommands,
      supportedEvents: [],
      supportedParams,
      divergentPaths: [],
      uniqueKeySets: [],
    };
    const errCode = object === undefined ? 7026 : 0;
    return {
      reqObjPath,
      errCode,
      errMsg: "",
      dataModelInstUri: "",
      supportedObjs: object === undefined ? [] : [supportedObj],
    };
  });
  return { $case: "getSupportedDmResp", value: { reqObjResults } };
}
