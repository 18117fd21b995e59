/** Parameters whose value is the path of a row (TR-369 R-ARC.11, R-ARC.12). */
import { ValueError, type ValueType } from "../../datamodel/values.ts";
import { UspError } from "../lib/usp-error.ts";
import { parsePath } from "./path.ts";
import { resolve, type Viewer } from "./resolve.ts";
import type { InstanceNode, SupportedParam, ModelTree } from "./implementation.ts";

/**
 * The value of a reference parameter as it is kept: instance paths without final dot. It may be written with keys
 * (`Device.MQTT.Client.[Alias=="cpe-1"]`) and is always read with instance numbers. The keys are searched as the viewer
 * sees them, so that nobody learns by writing what it may not read.
 * @throws ValueError where a strong reference points nowhere, or to another table
 */
export function canonicalReference(
  tree: ModelTree,
  type: ValueType<string | readonly string[]>,
  text: string,
  viewer: Viewer,
): string | readonly string[] {
  const value = type.parse(text);
  return typeof value === "string"
    ? canonicalOne(tree, type, value, viewer)
    : value.map((member) => canonicalOne(tree, type, member, viewer));
}

function canonicalOne(tree: ModelTree, type: ValueType<unknown>, text: string, viewer: Viewer): string {
  if (text === "") return "";
  const { target, strong } = type.facets.reference as NonNullable<ValueType<unknown>["facets"]["reference"]>;
  let nodes: readonly InstanceNode[] = [];
  try {
    nodes = resolve(tree, parsePath(text.endsWith(".") ? text : `${text}.`), viewer).nodes;
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    if (strong) throw new ValueError("range", error.message);
  }
  const [node] = nodes;
  if (node && nodes.length === 1 && node.object.path === target) return node.path.slice(0, -1);
  if (!strong) return text.endsWith(".") ? text.slice(0, -1) : text;
  throw new ValueError("range", `${text} is not a row of ${target}`);
}

/** Who refers strongly to the row at `path` (no final dot), and what would remain of the value without it. */
export function* referencedRows(
  tree: ModelTree,
  path: string,
): IterableIterator<{ param: SupportedParam; node: InstanceNode; remaining: string | readonly string[] }> {
  for (const param of tree.referrers) {
    const { strong, target } = param.schema.type.facets.reference as NonNullable<
      ValueType<unknown>["facets"]["reference"]
    >;
    if (!strong || !couldBe(path, target)) continue;
    for (const node of [...tree.all(param.object)]) {
      const value = param.read(node.row) as string | readonly string[];
      if (typeof value === "string") {
        if (value === path) yield { param, node, remaining: "" };
      } else if (value.includes(path)) yield { param, node, remaining: value.filter((member) => member !== path) };
    }
  }
}

/** Whether an instance path is one of the table's. */
function couldBe(path: string, target: string): boolean {
  return `${path}.`.replace(/\.\d+(?=\.)/g, ".{i}") === target;
}
