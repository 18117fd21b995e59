/** Delete (TR-369 §"The Delete Message"). */
import type {
  Delete,
  DeleteResp_DeletedObjectResult,
  DeleteResp_DeletedObjectResult_OperationStatus_OperationSuccess as Deleted,
} from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { Transaction } from "../../model/transaction.ts";
import type { InstanceNode } from "../../model/tree.ts";
import type { ResponseType } from "../codec.ts";
import { READ, WRITE } from "../rights.ts";
import type { View } from "../view.ts";
import { change, mayWriteRow } from "./change.ts";
import { absent, asUspError, invalidPath, resolveFor, type HandlerContext } from "./handler.ts";

export function remove({ allowPartial, objPaths }: Delete, context: HandlerContext): ResponseType {
  const outcomes = change(
    context,
    objPaths,
    allowPartial,
    (path) => path,
    (transaction, path) => applyDeletion(transaction, path, allowPartial, context),
  );
  for (const outcome of outcomes)
    if ("done" in outcome)
      for (const path of outcome.done.affectedPaths) context.view.policy.done?.("deleted", path, context.view.caller);
  const deletedObjResults = outcomes.map((outcome, i): DeleteResp_DeletedObjectResult => {
    const requestedPath = objPaths[i] as string;
    if ("done" in outcome)
      return { requestedPath, operStatus: { operStatus: { $case: "operSuccess", value: outcome.done } } };
    const { code, message } = outcome.error;
    const value = { errCode: code, errMsg: message };
    return { requestedPath, operStatus: { operStatus: { $case: "operFailure", value } } };
  });
  return { $case: "deleteResp", value: { deletedObjResults } };
}

function applyDeletion(
  transaction: Transaction,
  objPath: string,
  allowPartial: boolean,
  context: HandlerContext,
): Deleted {
  const path = context.paths.parse(objPath);
  if (path.leafKind !== "object") throw invalidPath(objPath);
  const { object, nodes, isTable, isSearch } = resolveFor(context, path);
  if (!object.schema.isTable)
    throw new UspError(UspErrorCode.NotATable, `${objPath.slice(0, 128)} is not a row of a table`, objPath);
  if (isTable)
    throw new UspError(
      UspErrorCode.ObjectDoesNotExist,
      `${objPath} is a table; name a row or search for rows`,
      objPath,
    );
  // R-DEL.2a: what is not there is deleted already; 1.4.1 would have it an error without allow_partial.
  if (nodes.length === 0 && !isSearch && !allowPartial && context.absentDeleteFails) throw absent(objPath);
  const result: Deleted = { affectedPaths: [], unaffectedPathErrs: [] };
  for (const node of nodes) {
    if ((context.view.access.at(node).instance & READ) === 0) continue;
    try {
      mayDelete(context.view, node);
      // It may have gone with a row before it.
      if (context.tree.at(node.path)) transaction.remove(node);
      result.affectedPaths.push(node.path);
    } catch (error) {
      const { code, message } = asUspError(error);
      if (!allowPartial || !isSearch) throw new UspError(code, message, node.path);
      result.unaffectedPathErrs.push({ unaffectedPath: node.path, errCode: code, errMsg: message });
    }
  }
  return result;
}

/** @throws UspError 7006, 7024 */
function mayDelete(view: View, node: InstanceNode): void {
  if (!node.object.schema.canDelete)
    throw new UspError(UspErrorCode.DeleteFailed, `rows of ${node.object.path} can't be deleted`, node.path);
  if ((view.access.at(node).instance & WRITE) === 0)
    throw new UspError(
      UspErrorCode.PermissionDenied,
      `${view.caller.endpointId} may not delete ${node.path}`,
      node.path,
    );
  mayWriteRow(view, node);
}
