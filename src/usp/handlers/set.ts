/** Set (TR-369 §"The Set Message"). */
import type {
  Set as SetRequest,
  Set_UpdateObject,
  SetResp_ParameterError,
  SetResp_UpdatedInstanceFailure,
  SetResp_UpdatedInstanceResult,
  SetResp_UpdatedObjectResult,
} from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import { RowError, type Transaction } from "../../model/transaction.ts";
import type { InstanceNode } from "../../model/tree.ts";
import type { ResponseType } from "../codec.ts";
import { READ } from "../rights.ts";
import { change, mayLeaveRow, mayWriteParam, mayWriteRow, PartError, type Trial } from "./change.ts";
import { absent, asUspError, invalidPath, resolveFor, wireBytes, type HandlerContext } from "./handler.ts";

export function set({ allowPartial, updateObjs }: SetRequest, context: HandlerContext): ResponseType {
  const pathOf = ({ objPath }: Set_UpdateObject) => objPath;
  const outcomes = change(context, updateObjs, allowPartial, pathOf, (transaction, update, trial) =>
    applyUpdate(transaction, update, trial, context),
  );
  for (const outcome of outcomes)
    if ("done" in outcome)
      for (const { affectedPath, updatedParams } of outcome.done)
        for (const name of updatedParams.keys())
          context.view.policy.done?.("set", `${affectedPath}${name}`, context.view.caller);
  const updatedObjResults = outcomes.map((outcome, i): SetResp_UpdatedObjectResult => {
    const requestedPath = (updateObjs[i] as Set_UpdateObject).objPath;
    if ("done" in outcome) {
      const value = { updatedInstResults: outcome.done };
      return { requestedPath, operStatus: { operStatus: { $case: "operSuccess", value } } };
    }
    const { error } = outcome;
    const value = { errCode: error.code, errMsg: error.message, updatedInstFailures: instanceFailures(error) };
    return { requestedPath, operStatus: { operStatus: { $case: "operFailure", value } } };
  });
  return { $case: "setResp", value: { updatedObjResults } };
}

/** A required parameter failed in one or more of the rows that the path names. */
class UpdateError extends PartError {
  constructor(readonly failures: readonly SetResp_UpdatedInstanceFailure[]) {
    const first = failures[0] as SetResp_UpdatedInstanceFailure;
    const at = first.paramErrs[0] as SetResp_ParameterError;
    super(
      UspErrorCode.RequiredParameterFailed,
      `${first.affectedPath}${at.param}: ${at.errMsg}`,
      failures.flatMap(({ affectedPath, paramErrs }) =>
        paramErrs.map(({ param, ...rest }) => ({ paramPath: `${affectedPath}${param}`, ...rest })),
      ),
    );
  }
}

function instanceFailures(error: UspError): SetResp_UpdatedInstanceFailure[] {
  if (error instanceof UpdateError) return [...error.failures];
  if (!(error instanceof RowError)) return [];
  const { param, code, message, rowPath } = error;
  const paramErrs = param === undefined ? [] : [{ param, errCode: code, errMsg: message }];
  return [{ affectedPath: rowPath, paramErrs }];
}

/** Of all rows that the path names, or of none (R-SET.2a). */
function applyUpdate(
  transaction: Transaction,
  { objPath, paramSettings }: Set_UpdateObject,
  trial: Trial,
  context: HandlerContext,
): SetResp_UpdatedInstanceResult[] {
  const path = context.paths.parse(objPath);
  if (path.leafKind !== "object") throw invalidPath(objPath);
  const { nodes, isTable, isSearch } = resolveFor(context, path);
  if (isTable)
    throw new UspError(
      UspErrorCode.ObjectDoesNotExist,
      `${objPath} is a table; name a row or search for rows`,
      objPath,
    );
  if (nodes.length === 0 && !isSearch) throw absent(objPath);
  const failures: SetResp_UpdatedInstanceFailure[] = [];
  const optional = new Set(paramSettings.filter(({ required }) => !required).map(({ param }) => param));
  let left = context.responseBytes;
  const results = nodes.map((node) => {
    mayWriteRow(context.view, node, paramSettings);
    trial.wrote(node, node.path, optional);
    const paramErrs: SetResp_ParameterError[] = [];
    let required = false;
    for (const { param, value, required: isRequired } of paramSettings) {
      const before = transaction.savepoint();
      try {
        trial.mayWrite(node.path, param);
        mayWriteParam(transaction, context.view, node, param);
        transaction.set(node, param, value);
      } catch (error) {
        const { code, message } = asUspError(error);
        transaction.rollback(before);
        paramErrs.push({ param, errCode: code, errMsg: message });
        // Of many rows each would say the same.
        if ((left -= wireBytes(param) + wireBytes(message)) < 0) throw tooMuch(objPath, context.responseBytes);
        required ||= isRequired;
      }
    }
    mayLeaveRow(context.view, node, paramSettings);
    if (required) failures.push({ affectedPath: node.path, paramErrs });
    const failed = new Set(paramErrs.map(({ param }) => param));
    const written = paramSettings.map(({ param }) => param).filter((param) => !failed.has(param));
    return { affectedPath: node.path, paramErrs, updatedParams: readBack(transaction, context, node, written) };
  });
  if (failures.length > 0) throw new UpdateError(failures);
  return results;
}

/** Values as a Get would answer them now; what may not be read is left out (R-SET.3). */
function readBack(
  transaction: Transaction,
  { view }: HandlerContext,
  node: InstanceNode,
  written: readonly string[],
): Map<string, string> {
  const values = new Map<string, string>();
  for (const path of written) {
    const [target, param] = transaction.locate(node, path);
    if ((view.access.at(target).param(param.name) & READ) !== 0) values.set(path, view.text(target, param));
  }
  return values;
}

function tooMuch(path: string, bytes: number): UspError {
  return new UspError(
    UspErrorCode.ResourcesExceeded,
    `what is wrong with ${path.slice(0, 128)} would take more than ${bytes} bytes to say`,
    path,
  );
}
