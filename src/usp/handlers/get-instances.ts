/** GetInstances (TR-369 §"The GetInstances Message"): the rows that exist, with their unique keys. */
import type {
  GetInstances,
  GetInstancesResp_CurrInstance,
  GetInstancesResp_RequestedPathResult,
} from "../../../proto/generated/usp-msg.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import { resolve } from "../../model/resolve.ts";
import type { InstanceNode, SupportedObject } from "../../model/tree.ts";
import type { ResponseType } from "../codec.ts";
import { READ } from "../rights.ts";
import { absent, asUspError, Budget, invalidPath, type HandlerContext } from "./handler.ts";

export function getInstances({ objPaths, firstLevelOnly }: GetInstances, context: HandlerContext): ResponseType {
  const budget = new Budget(context.responseBytes);
  const reqPathResults = objPaths.map((path) => ofPath(path, firstLevelOnly, context, budget));
  return { $case: "getInstancesResp", value: { reqPathResults } };
}

function ofPath(
  requestedPath: string,
  firstLevelOnly: boolean,
  context: HandlerContext,
  budget: Budget,
): GetInstancesResp_RequestedPathResult {
  const before = budget.left;
  try {
    budget.take(12 + Buffer.byteLength(requestedPath), requestedPath);
    const path = context.paths.parse(requestedPath);
    if (path.leafKind !== "object") throw invalidPath(requestedPath);
    const { object, nodes, isTable, isSearch } = resolve(context.tree, path, context.view);
    // R-GIN.0: of what may not be read there are no rows.
    if (!context.view.access.visible(object)) return { requestedPath, errCode: 0, errMsg: "", currInsts: [] };
    if (nodes.length === 0 && !isSearch) throw absent(requestedPath);
    if (!isTable && !hasTables(object))
      throw new UspError(UspErrorCode.NotATable, `${object.path} is no table and holds none`, requestedPath);
    const lister = new Lister(context, budget, firstLevelOnly);
    for (const node of nodes) {
      if (isTable) lister.rows(node, object);
      else lister.below(node);
    }
    return { requestedPath, errCode: 0, errMsg: "", currInsts: lister.found };
  } catch (error) {
    const failure = asUspError(error);
    budget.failed(before, requestedPath, failure);
    return { requestedPath, errCode: failure.code, errMsg: failure.message, currInsts: [] };
  }
}

class Lister {
  readonly found: GetInstancesResp_CurrInstance[] = [];
  readonly #context: HandlerContext;
  readonly #budget: Budget;
  readonly #firstLevelOnly: boolean;

  constructor(context: HandlerContext, budget: Budget, firstLevelOnly: boolean) {
    this.#context = context;
    this.#budget = budget;
    this.#firstLevelOnly = firstLevelOnly;
  }

  rows(parent: InstanceNode, table: SupportedObject): void {
    const { view, tree } = this.#context;
    if (!view.canSeeRows(table)) return;
    for (const row of tree.rows(parent, table)) {
      const access = view.access.at(row);
      if ((access.instance & READ) !== 0) {
        const uniqueKeys = view.keys(row, access);
        let bytes = 16 + row.path.length;
        for (const [name, value] of uniqueKeys) bytes += 8 + name.length + value.length;
        this.#budget.take(bytes, row.path);
        this.found.push({ instantiatedObjPath: row.path, uniqueKeys });
      }
      if (!this.#firstLevelOnly) this.below(row);
    }
  }

  below(node: InstanceNode): void {
    for (const child of node.object.children.values()) {
      if (child.schema.isTable) this.rows(node, child);
      else {
        const single = hasTables(child) ? this.#context.tree.single(node, child) : undefined;
        if (single) this.below(single);
      }
    }
  }
}

function hasTables({ children }: SupportedObject): boolean {
  for (const child of children.values()) if (child.schema.isTable || hasTables(child)) return true;
  return false;
}
