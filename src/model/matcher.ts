/**
 * The other way round: whether an object or row that is at hand is one that a path names. Subscriptions and permissions
 * ask this, for rows that come and go long after the path was written.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { ParsedPath } from "./path.ts";
import { compileExpression, resolve, SEES_ALL, type Viewer } from "./resolve.ts";
import type { InstanceNode, SupportedObject, ModelTree } from "./implementation.ts";

export interface Matcher {
  /** What the path names; of a path that ends in a table, the table. */
  readonly object: SupportedObject;
  /** Name of the parameter, command or event. */
  readonly leaf: string | undefined;
  readonly leafKind: ParsedPath["leafKind"];
  /** Whether it ends at a table rather than at its rows. */
  readonly isTable: boolean;
  /** Whether it names all instances of the object: then no instance need be looked at. */
  readonly isStatic: boolean;
  /** Whether it depends on values of rows, not only on their numbers. */
  readonly hasExpression: boolean;
  /** Whether the node, which is the object or lies below it, is named. */
  matches(node: InstanceNode): boolean;
  /**
   * The same for an instance path of the object or below it whose row may be gone. `undefined` where that depends on
   * values of a row that is gone.
   */
  matchesPath(path: string): boolean | undefined;
}

type Condition = number | ((node: InstanceNode) => boolean);

/** @throws UspError 7026, 7008 as resolving the path would */
export function compileMatcher(tree: ModelTree, path: ParsedPath, viewer: Viewer = SEES_ALL): Matcher {
  if (path.segments.some(({ kind }) => kind === "follow")) return followingMatcher(tree, path, viewer);
  const conditions = new Map<SupportedObject, Condition>();
  let object = tree.root;
  let table: SupportedObject | undefined;
  if (path.segments[0]?.kind !== "name" || path.segments[0].name !== "Device") throw unsupported(path);
  for (const segment of path.segments.slice(1)) {
    if (segment.kind === "name") {
      const child = table ? undefined : object.children.get(segment.name);
      if (!child) throw unsupported(path);
      if (child.schema.isTable) table = child;
      else object = child;
      continue;
    }
    if (!table) throw unsupported(path);
    object = table;
    table = undefined;
    if (segment.kind === "instance") conditions.set(object, segment.instance);
    else if (segment.kind === "search")
      conditions.set(object, compileExpression(tree, object, segment.expression, path, viewer));
  }
  return {
    object: table ?? object,
    leaf: path.leaf,
    leafKind: path.leafKind,
    isTable: table !== undefined,
    isStatic: conditions.size === 0,
    hasExpression: [...conditions.values()].some((condition) => typeof condition === "function"),
    matches: (node) => holds(conditions, node),
    matchesPath: (instancePath) => holdsAt(tree, conditions, instancePath),
  };
}

function holds(conditions: ReadonlyMap<SupportedObject, Condition>, node: InstanceNode): boolean {
  if (conditions.size === 0) return true;
  for (let at: InstanceNode | undefined = node; at; at = at.parent) {
    const condition = conditions.get(at.object);
    if (condition === undefined) continue;
    if (typeof condition === "number" ? condition !== at.instance : !condition(at)) return false;
  }
  return true;
}

function holdsAt(
  tree: ModelTree,
  conditions: ReadonlyMap<SupportedObject, Condition>,
  instancePath: string,
): boolean | undefined {
  let known: boolean | undefined = true;
  let object = tree.root;
  let prefix = "Device.";
  const parts = instancePath.split(".");
  for (let i = 1; i < parts.length - 1; i++) {
    const child = object.children.get(parts[i] as string);
    if (!child) return false;
    prefix += `${child.name}.`;
    if (child.schema.isTable) prefix += `${parts[++i]}.`;
    object = child;
    const condition = conditions.get(object);
    if (condition === undefined) continue;
    if (typeof condition === "number") {
      if (condition !== Number(parts[i])) return false;
      continue;
    }
    const node = tree.at(prefix);
    if (!node) known = undefined;
    else if (!condition(node)) return false;
  }
  return known;
}

/** Where a path follows references there is no way back: the path is resolved each time. */
function followingMatcher(tree: ModelTree, path: ParsedPath, viewer: Viewer): Matcher {
  const { object, isTable } = resolve(tree, path, viewer);
  const named = () => {
    try {
      return resolve(tree, path, viewer).nodes;
    } catch (error) {
      if (error instanceof UspError) return [];
      throw error;
    }
  };
  const tail = isTable ? `${object.name}.` : "";
  const matchesPath = (instancePath: string) => named().some((node) => instancePath.startsWith(`${node.path}${tail}`));
  return {
    object,
    leaf: path.leaf,
    leafKind: path.leafKind,
    isTable,
    isStatic: false,
    hasExpression: true,
    matches: (node) => matchesPath(node.path),
    matchesPath,
  };
}

function unsupported(path: ParsedPath): UspError {
  return new UspError(UspErrorCode.InvalidPath, `${path.text.slice(0, 128)} is not in the data model`, path.text);
}
