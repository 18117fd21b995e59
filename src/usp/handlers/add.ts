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
import { change, mayWriteParam, mayWriteRow } from "./change.ts";
import { absent, invalidPath, resolveFor, type HandlerContext } from "./handler.ts";

/** One row to make: a path may name several parents (since 1.3). */
interface Creation {
  readonly create: Add_CreateObject;
  readonly target: { readonly parent: InstanceNode; readonly table: SupportedObject } | UspError;
}

export function add({ allowPartial, createObjs }: Add, context: HandlerContext): ResponseType {
  const creations = createObjs.flatMap((create) => creationsOf(create, context));
  const pathOf = ({ create }: Creation) => create.objPath;
  const outcomes = change(context, creations, allowPartial, pathOf, (transaction, creation) =>
    applyCreation(transaction, creation, context),
  );
  const createdObjResults = outcomes.map((outcome, i): AddResp_CreatedObjectResult => {
    const requestedPath = (creations[i] as Creation).create.objPath;
    if ("done" in outcome)
      return { requestedPath, operStatus: { operStatus: { $case: "operSuccess", value: outcome.done } } };
    const { code, message } = outcome.error;
    const value = { errCode: code, errMsg: message };
    return { requestedPath, operStatus: { operStatus: { $case: "operFailure", value } } };
  });
  return { $case: "addResp", value: { createdObjResults } };
}

function creationsOf(create: Add_CreateObject, context: HandlerContext): Creation[] {
  try {
    const path = context.paths.parse(create.objPath);
    if (path.leafKind !== "object") throw invalidPath(create.objPath);
    const { object: table, nodes, isTable, isSearch } = resolveFor(context, path);
    if (!isTable)
      throw new UspError(UspErrorCode.NotATable, `${create.objPath.slice(0, 128)} is not a table`, create.objPath);
    if (nodes.length === 0 && !isSearch) throw absent(create.objPath);
    return nodes.map((parent) => ({ create, target: { parent, table } }));
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    return [{ create, target: error }];
  }
}

function applyCreation(transaction: Transaction, { create, target }: Creation, { view }: HandlerContext): Created {
  if (target instanceof UspError) throw target;
  const { parent, table } = target;
  const { node, failures } = transaction.add(parent, table, create.paramSettings, (row, param) =>
    mayWriteParam(transaction, view, row, param),
  );
  // Judged with the row at hand, because permissions may depend on where it is.
  if ((view.access.at(node).object & WRITE) === 0)
    throw new UspError(
      UspErrorCode.PermissionDenied,
      `${view.caller.endpointId} may not add to ${parent.path}${table.name}.`,
      create.objPath,
    );
  mayWriteRow(view, node);
  return {
    instantiatedPath: node.path,
    paramErrs: failures.map(({ param, error }) => ({ param, errCode: error.code, errMsg: error.message })),
    uniqueKeys: view.keys(node),
  };
}
