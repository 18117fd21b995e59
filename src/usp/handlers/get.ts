/** Get (TR-369 §"The Get Message"): one result a requested path, in order; errors are per path. */
import type { Get, GetResp_RequestedPathResult, GetResp_ResolvedPathResult } from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import type { ResponseType } from "../codec.ts";
import type { InstanceNode, SupportedObject } from "../../model/tree.ts";
import type { ObjectAccess } from "../permissions.ts";
import { READ } from "../rights.ts";
import { asUspError, Budget, invalidPath, resolveFor, type HandlerContext } from "./handler.ts";

export function get({ paramPaths, maxDepth }: Get, context: HandlerContext): ResponseType {
  const budget = new Budget(context.responseBytes);
  const reqPathResults = paramPaths.map((path) => getOne(path, maxDepth, context, budget));
  return { $case: "getResp", value: { reqPathResults } };
}

/** What a result costs on the wire besides its texts: tags and lengths. */
const RESULT_OVERHEAD = 12;
const PARAM_OVERHEAD = 8;

function getOne(
  requestedPath: string,
  maxDepth: number,
  context: HandlerContext,
  budget: Budget,
): GetResp_RequestedPathResult {
  const before = budget.left;
  try {
    budget.take(RESULT_OVERHEAD + Buffer.byteLength(requestedPath), requestedPath);
    const resolvedPathResults = resolveOne(requestedPath, maxDepth, context, budget);
    return { requestedPath, errCode: 0, errMsg: "", resolvedPathResults };
  } catch (error) {
    const failure = asUspError(error);
    budget.failed(before, requestedPath, failure);
    return { requestedPath, errCode: failure.code, errMsg: failure.message, resolvedPathResults: [] };
  }
}

function resolveOne(
  text: string,
  maxDepth: number,
  context: HandlerContext,
  budget: Budget,
): GetResp_ResolvedPathResult[] {
  const path = context.paths.parse(text);
  const { object, nodes, isTable, isSearch } = resolveFor(context, path);
  const reader = new Reader(context, budget);
  if (path.leafKind === "object") {
    // GET.0: a plain path must be instantiated; GET.1b: a table without rows is.
    if (nodes.length === 0 && !isSearch) throw noSuchRow(text);
    for (const node of nodes) {
      if (isTable) reader.rows(node, object, maxDepth);
      else reader.object(node, maxDepth);
    }
    return reader.results;
  }
  if (path.leafKind !== "parameter" || isTable) throw invalidPath(text);
  const param = object.params.get(path.leaf as string);
  // GET.0: no such parameter, or no such row.
  if (!param) throw invalidPath(text);
  if (nodes.length === 0 && !isSearch) throw noSuchRow(text);
  for (const node of nodes) {
    if ((context.view.access.at(node).param(param.name) & READ) === 0) continue;
    const value = context.view.text(node, param);
    budget.take(RESULT_OVERHEAD + PARAM_OVERHEAD + node.path.length + param.name.length + value.length, text);
    reader.results.push({ resolvedPath: node.path, resultParams: new Map([[param.name, value]]) });
  }
  // GET.1: what may not be read is as if it were not there.
  if (reader.results.length === 0 && nodes.length > 0) throw invalidPath(text);
  return reader.results;
}

/** R-GET.0: 7026 for what does not exist now, too. */
function noSuchRow(text: string): UspError {
  return new UspError(UspErrorCode.InvalidPath, `${text.slice(0, 128)}: the instance does not exist now`, text);
}

/** Collects objects with all below them. */
class Reader {
  readonly results: GetResp_ResolvedPathResult[] = [];
  readonly #context: HandlerContext;
  readonly #budget: Budget;

  constructor(context: HandlerContext, budget: Budget) {
    this.#context = context;
    this.#budget = budget;
  }

  /** `depth` 1 is the object alone, 0 without limit. */
  object(node: InstanceNode, depth: number): void {
    const { view, tree } = this.#context;
    this.#params(node, view.access.at(node));
    if (depth === 1) return;
    const below = depth === 0 ? 0 : depth - 1;
    for (const child of node.object.children.values()) {
      if (child.schema.isTable) this.rows(node, child, below);
      else {
        const single = view.access.visible(child) ? tree.single(node, child) : undefined;
        if (single) this.object(single, below);
      }
    }
  }

  /** A table and its rows are one level. */
  rows(parent: InstanceNode, table: SupportedObject, depth: number): void {
    const { view, tree } = this.#context;
    if (!view.access.visible(table) || !view.canSeeRows(table)) return;
    for (const row of tree.rows(parent, table)) this.object(row, depth);
  }

  #params(node: InstanceNode, { readable }: ObjectAccess): void {
    if (readable.length === 0) return;
    const { view } = this.#context;
    const resultParams = new Map<string, string>();
    let bytes = RESULT_OVERHEAD + node.path.length;
    for (const param of readable) {
      const value = view.text(node, param);
      bytes += PARAM_OVERHEAD + param.name.length + value.length;
      resultParams.set(param.name, value);
    }
    this.#budget.take(bytes, node.path);
    this.results.push({ resolvedPath: node.path, resultParams });
  }
}
