/**
 * How Set, Add and Delete change the model: all of a Message in one transaction, so that its parts may depend on each other
 * in any order; where allow_partial lets parts fail alone and the whole does not hold together, each part in its own.
 */
import type { Error_ParamError } from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import { RequiredParamError, RowError, Transaction } from "../../model/transaction.ts";
import type { MayChange } from "../../model/implementation.ts";
import type { InstanceNode } from "../../model/tree.ts";
import type { Setting } from "../policy.ts";
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
  apply: Apply<Part, Done>,
): readonly Outcome<Done>[] {
  const budget = new Budget(responseBytes);
  const take = (of: Budget) => (outcome: Outcome<Done>, i: number) => {
    const path = pathOf(parts[i] as Part);
    of.take(RESULT_OVERHEAD + wireBytes(path) + wireBytes(outcome), path);
    if ("error" in outcome) of.take(wireBytes(outcome.error.message), path);
  };
  const failIfAny = (outcomes: readonly Outcome<Done>[]) => {
    const errors = allowPartial ? [] : outcomes.flatMap((outcome) => ("error" in outcome ? [outcome.error] : []));
    if (errors.length > 0) throw messageError(errors, responseBytes);
  };
  const judge = (outcomes: readonly Outcome<Done>[]) => {
    failIfAny(outcomes);
    outcomes.forEach(take(budget));
  };
  // Of an answer that can't be sent no more is made than that.
  const measured = () => {
    const measure = take(new Budget(responseBytes));
    const known: Outcome<Done>[] = [];
    return (outcome: Outcome<Done>, i: number) => {
      known.push(outcome);
      try {
        measure(outcome, i);
      } catch (error) {
        failIfAny(known);
        throw error;
      }
    };
  };
  try {
    return inOne(tree, view, parts, apply, judge, measured);
  } catch (error) {
    if (!(error instanceof RowError)) throw error;
    if (!allowPartial) throw messageError([error], responseBytes);
    // Each may fail yet, and is in force before the next is tried.
    budget.take(parts.length * FAILURE_BYTES, pathOf(parts[0] as Part));
    return parts.map((part) => alone(tree, view, part, apply));
  }
}

/** What is done for one part of a Message; `trial` is told the rows that it writes. */
export type Apply<Part, Done> = (transaction: Transaction, part: Part, trial: Trial) => Done;

/** Of a result, besides what it holds. */
const RESULT_OVERHEAD = 24;
/** What a part's failure takes at most besides its path: texts of ours are short. */
const FAILURE_BYTES = 512;
/** Rounds of parts that wait for others: references from row to row to row, of one Message. */
const MAX_ROUNDS = 8;
/** Parameters of one Message that it can do without and that make no sense with the rest; each costs another try. */
const MAX_REFUSALS = 16;

/** @throws RowError; what `judge` throws */
function inOne<Part, Done>(
  tree: HandlerContext["tree"],
  view: View,
  parts: readonly Part[],
  apply: Apply<Part, Done>,
  judge: (outcomes: readonly Outcome<Done>[]) => void,
  measured: () => (outcome: Outcome<Done>, i: number) => void = () => () => undefined,
): readonly Outcome<Done>[] {
  const refusals = new Refusals();
  while (true) {
    const transaction = new Transaction(tree, view.caller, view);
    const trials = parts.map((_, i) => new Trial(refusals, i));
    try {
      const applyOne = (part: Part, i: number) => apply(transaction, part, trials[i] as Trial);
      const outcomes = attemptAll(transaction, parts, applyOne, measured());
      judge(outcomes);
      transaction.check();
      transaction.commit();
      return outcomes;
    } catch (error) {
      transaction.rollback();
      const isForgiven = error instanceof RowError && trials.some((trial) => trial.forgives(error));
      if (!isForgiven) throw error;
    }
  }
}

/** What a part says first may rest on what a later one makes: those that failed have their turn again while that helps. */
function attemptAll<Part, Done>(
  transaction: Transaction,
  parts: readonly Part[],
  apply: (part: Part, index: number) => Done,
  measure: (outcome: Outcome<Done>, index: number) => void,
): Outcome<Done>[] {
  const outcomes = parts.map((part, i) => {
    const outcome = attempt(transaction, () => apply(part, i));
    measure(outcome, i);
    return outcome;
  });
  let failed = outcomes.flatMap((outcome, i) => ("error" in outcome ? [i] : []));
  let before = failed.length < parts.length ? Infinity : failed.length;
  for (let round = 0; round < MAX_ROUNDS && failed.length > 0 && failed.length < before; round++) {
    before = failed.length;
    for (const i of failed) outcomes[i] = attempt(transaction, () => apply(parts[i] as Part, i));
    failed = failed.filter((i) => "error" in (outcomes[i] as Outcome<Done>));
  }
  return outcomes;
}

/** Why parameters that a Message can do without were left out, by part, row and name. */
class Refusals extends Map<string, UspError> {}

/** One try at a part: the rows it wrote, and what an earlier try has taught. */
export class Trial {
  readonly #refusals: Refusals;
  readonly #part: number;
  readonly #rows = new Map<string, { readonly key: string; readonly optional: ReadonlySet<string> }>();

  constructor(refusals: Refusals, part: number) {
    this.#refusals = refusals;
    this.#part = part;
  }

  /** @throws UspError why the parameter of the row that the part calls `key` was refused before */
  mayWrite(key: string, param: string): void {
    const refused = this.#refusals.get(`${this.#part} ${key}${param}`);
    if (refused) throw refused;
  }

  /** `optional`: what the row can do without. */
  wrote(node: InstanceNode, key: string, optional: ReadonlySet<string>): void {
    this.#rows.set(node.path, { key, optional });
  }

  /** Whether the next try may do without the parameter at fault. */
  forgives(error: RowError): boolean {
    if (error.param === undefined || this.#refusals.size >= MAX_REFUSALS) return false;
    for (const [path, { key, optional }] of this.#rows) {
      const param = `${error.rowPath.slice(path.length)}${error.param}`;
      if (!error.rowPath.startsWith(path) || !optional.has(param)) continue;
      this.#refusals.set(`${this.#part} ${key}${param}`, error);
      return true;
    }
    return false;
  }
}

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
  apply: Apply<Part, Done>,
): Outcome<Done> {
  try {
    const [outcome] = inOne(tree, view, [part], apply, ([only]) => {
      if (only && "error" in only) throw only.error;
    });
    return outcome as Outcome<Done>;
  } catch (error) {
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

/** `settings` is absent where the row would be deleted. @throws UspError 7006 */
export function mayWriteRow(view: View, node: InstanceNode, settings?: readonly Setting[]): void {
  const refused = view.policy.mayWriteRow(node, view.caller, settings);
  if (refused) throw refused;
}

/** Once they are written. @throws UspError 7006 */
export function mayLeaveRow(view: View, node: InstanceNode, settings: readonly Setting[]): void {
  const refused = view.policy.mayLeaveRow?.(node, view.caller, settings);
  if (refused) throw refused;
}

/** The same for what a command changes. @throws UspError 7006 */
export const mayChange =
  (view: View): MayChange =>
  (kind, node, settings = []) => {
    const { path, object } = node;
    const access = view.access.at(node);
    const right = kind === "added" ? access.object : kind === "removed" ? access.instance : WRITE;
    if ((right & WRITE) === 0 || !view.canSeeRows(object))
      throw new UspError(UspErrorCode.PermissionDenied, `${view.caller.endpointId} may not change ${path}`, path);
    for (const { param } of settings)
      if ((access.param(param) & WRITE) === 0)
        throw new UspError(UspErrorCode.PermissionDenied, `${view.caller.endpointId} may not write ${param}`, param);
    mayWriteRow(view, node, kind === "removed" ? undefined : settings);
    if (kind !== "removed") mayLeaveRow(view, node, settings);
  };
