/**
 * How Set, Add and Delete change the model: all of a Message in one transaction, so that its parts may depend on each other
 * in any order; where allow_partial lets parts fail alone and the whole does not hold together, each part in its own.
 */
import type { Error_ParamError } from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import { RequiredParamError, RowError, Transaction } from "../../model/transaction.ts";
import type { InstanceNode } from "../../model/tree.ts";
import { WRITE } from "../rights.ts";
import type { View } from "../view.ts";
import { asUspError, Budget, MessageError, wireBytes, type HandlerContext } from "./handler.ts";

export type Outcome<Done> = { readonly done: Done } | { readonly error: UspError };

/**
 * Applies each part. With `allowPartial` a part that fails is its outcome; without, nothing is changed.
 * @param pathOf The requested path that the part's result repeats.
 * @throws MessageError when not partial; UspError 7005, with nothing changed, where the answer could not be sent
 */
export function change<Part, Done>(
  { tree, view, responseBytes }: HandlerContext,
  parts: readonly Part[],
  allowPartial: boolean,
  pathOf: (part: Part) => string,
  apply: (transaction: Transaction, part: Part) => Done,
): readonly Outcome<Done>[] {
  const transaction = new Transaction(tree, view.caller);
  const budget = new Budget(responseBytes);
  try {
    const outcomes = parts.map((part) => attempt(transaction, () => apply(transaction, part)));
    const errors = outcomes.flatMap((outcome) => ("error" in outcome ? [outcome.error] : []));
    if (errors.length > 0 && !allowPartial) throw messageError(errors, responseBytes);
    outcomes.forEach((outcome, i) => {
      const path = pathOf(parts[i] as Part);
      budget.take(RESULT_OVERHEAD + wireBytes(path) + wireBytes(outcome), path);
      if ("error" in outcome) budget.take(wireBytes(outcome.error.message), path);
    });
    transaction.check();
    transaction.commit();
    return outcomes;
  } catch (error) {
    transaction.rollback();
    if (!(error instanceof RowError)) throw error;
    if (!allowPartial) throw messageError([error], responseBytes);
    // Each may fail yet, and is in force before the next is tried.
    budget.take(parts.length * FAILURE_BYTES, pathOf(parts[0] as Part));
    return parts.map((part) => alone(tree, view, part, apply));
  }
}

/** Of a result, besides what it holds. */
const RESULT_OVERHEAD = 24;
/** What a part's failure takes at most besides its path: texts of ours are short. */
const FAILURE_BYTES = 512;

function attempt<Done>(transaction: Transaction, apply: () => Done): Outcome<Done> {
  const before = transaction.savepoint();
  try {
    return { done: apply() };
  } catch (error) {
    transaction.rollback(before);
    return { error: asUspError(error) };
  }
}

function alone<Part, Done>(
  tree: HandlerContext["tree"],
  view: View,
  part: Part,
  apply: (transaction: Transaction, part: Part) => Done,
): Outcome<Done> {
  const transaction = new Transaction(tree, view.caller);
  try {
    const done = apply(transaction, part);
    transaction.check();
    transaction.commit();
    return { done };
  } catch (error) {
    transaction.rollback();
    return { error: asUspError(error) };
  }
}

/** What the Error Message says: the first failure, and every parameter or object at fault by its full path, as far as they fit. */
function messageError(errors: readonly UspError[], responseBytes: number): MessageError {
  const first = errors[0] as UspError;
  let left = responseBytes - wireBytes(first.message);
  const atFault = errors.flatMap(paramErrors).filter((one) => (left -= wireBytes(one)) >= 0);
  return new MessageError(first.code, first.message, atFault);
}

/** The parameters at fault by full path. */
export function paramErrors(error: UspError): readonly Error_ParamError[] {
  if (error instanceof PartError) return error.paramErrs;
  if (error instanceof RequiredParamError) {
    return error.failures.map(({ param, error: { code, message } }) => ({
      paramPath: `${error.path ?? ""}${param}`,
      errCode: code,
      errMsg: message,
    }));
  }
  const path = error instanceof RowError ? `${error.rowPath}${error.param ?? ""}` : error.path;
  return path === undefined ? [] : [{ paramPath: path, errCode: error.code, errMsg: error.message }];
}

/** A part that failed for several reasons at once. */
export class PartError extends UspError {
  constructor(
    code: number,
    message: string,
    readonly paramErrs: readonly Error_ParamError[],
  ) {
    super(code, message);
  }
}

/** @throws UspError 7010; 7006 where the caller's permissions do not cover the parameter */
export function mayWriteParam(transaction: Transaction, view: View, node: InstanceNode, param: string): void {
  const [target, { name }] = transaction.locate(node, param);
  if ((view.access.at(target).param(name) & WRITE) !== 0) return;
  throw new UspError(UspErrorCode.PermissionDenied, `${view.caller.endpointId} may not write ${param}`, param);
}

/** @throws UspError 7006 */
export function mayWriteRow(view: View, node: InstanceNode): void {
  const refused = view.policy.mayWriteRow(node, view.caller);
  if (refused) throw refused;
}
