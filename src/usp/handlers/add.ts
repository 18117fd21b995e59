/** Add (TR-369 §"The Add Message"). */
import type {
  Add,
  Add_CreateObject,
  AddResp_CreatedObjectResult,
  AddResp_CreatedObjectResult_OperationStatus_OperationSuccess as Created,
} from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { Transaction } from "../../model/transaction.ts";
import type { InstanceNode, SupportedObject } from "../../model/tree.ts";
import type { ResponseType } from "../codec.ts";
import { WRITE } from "../rights.ts";
import { change, mayLeaveRow, mayWriteParam, mayWriteRow, type Outcome, type Trial } from "./change.ts";
import { absent, asUspError, invalidPath, resolveFor, type HandlerContext } from "./handler.ts";

/** Rows to make: a path may name several parents (since 1.3), each with a row of its own. */
interface Creation {
  readonly create: Add_CreateObject;
  /** Absent: not there before the Message, perhaps made by another of its objects. */
  readonly target?: Target;
}

interface Target {
  readonly parent: InstanceNode;
  readonly table: SupportedObject;
}

export function add({ allowPartial, createObjs }: Add, context: HandlerContext): ResponseType {
  const inOrder = createObjs.flatMap((create) => creationsOf(create, context));
  // What waits for a parent comes last: a search that finds nothing is no failure.
  const creations = [...inOrder.filter(({ target }) => target), ...inOrder.filter(({ target }) => !target)];
  const pathOf = ({ create }: Creation) => create.objPath;
  const outcomes = change(context, creations, allowPartial, pathOf, (transaction, creation, trial) =>
    targetsNow(creation, context).map((target) => applyCreation(transaction, creation.create, target, trial, context)),
  );
  for (const outcome of outcomes)
    if ("done" in outcome)
      for (const { instantiatedPath } of outcome.done)
        context.view.policy.done?.("added", instantiatedPath, context.view.caller);
  const results = new Map(
    creations.map((creation, i) => [creation, resultsOf(creation, outcomes[i] as Outcome<Created[]>)]),
  );
  return { $case: "addResp", value: { createdObjResults: inOrder.flatMap((creation) => results.get(creation) ?? []) } };
}

function resultsOf({ create }: Creation, outcome: Outcome<Created[]>): AddResp_CreatedObjectResult[] {
  const requestedPath = create.objPath;
  if ("done" in outcome)
    return outcome.done.map((value) => ({
      requestedPath,
      operStatus: { operStatus: { $case: "operSuccess", value } },
    }));
  const { code, message } = outcome.error;
  const value = { errCode: code, errMsg: message };
  return [{ requestedPath, operStatus: { operStatus: { $case: "operFailure", value } } }];
}

function creationsOf(create: Add_CreateObject, context: HandlerContext): Creation[] {
  try {
    const targets = targetsOf(create, context);
    return targets.length === 0 ? [{ create }] : targets.map((target) => ({ create, target }));
  } catch (error) {
    asUspError(error);
    return [{ create }];
  }
}

const targetsNow = ({ create, target }: Creation, context: HandlerContext) =>
  target ? [target] : targetsOf(create, context);

/** @throws UspError 7008, 7016, 7018, 7026 */
function targetsOf({ objPath }: Add_CreateObject, context: HandlerContext): Target[] {
  const path = context.paths.parse(objPath);
  if (path.leafKind !== "object") throw invalidPath(objPath);
  const { object: table, nodes, isTable, isSearch } = resolveFor(context, path);
  if (!isTable) throw new UspError(UspErrorCode.NotATable, `${objPath.slice(0, 128)} is not a table`, objPath);
  if (nodes.length === 0 && !isSearch) throw absent(objPath);
  return nodes.map((parent) => ({ parent, table }));
}

function applyCreation(
  transaction: Transaction,
  { objPath, paramSettings }: Add_CreateObject,
  { parent, table }: Target,
  trial: Trial,
  { view }: HandlerContext,
): Created {
  const { node, failures } = transaction.add(parent, table, paramSettings, (row, param) => {
    trial.mayWrite(parent.path, param);
    mayWriteParam(transaction, view, row, param);
  });
  const isKey = (param: string) => table.schema.keys.some((key) => key.params.includes(param));
  const optional = paramSettings.filter(({ param, required }) => !required && !isKey(param));
  trial.wrote(node, parent.path, new Set(optional.map(({ param }) => param)));
  // Judged with the row at hand, because permissions may depend on where it is.
  if ((view.access.at(node).object & WRITE) === 0)
    throw new UspError(
      UspErrorCode.PermissionDenied,
      `${view.caller.endpointId} may not add to ${parent.path}${table.name}.`,
      objPath,
    );
  mayWriteRow(view, node, paramSettings);
  mayLeaveRow(view, node, paramSettings);
  return {
    instantiatedPath: node.path,
    paramErrs: failures.map(({ param, error }) => ({ param, errCode: error.code, errMsg: error.message })),
    uniqueKeys: view.keys(node),
  };
}
