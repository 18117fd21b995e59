/**
 * From a parsed path to what it names: the supported object, and the instances that exist now. What a missing instance
 * means (an error, or nothing) differs by Message and is the handlers' to say.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { compileComparison, type Comparison, type Expression } from "./expression.ts";
import type { ParsedPath, Segment } from "./path.ts";
import type { InstanceNode, SupportedObject, SupportedParam, ModelTree } from "./implementation.ts";

/** What the one who asks may see while a path is resolved. */
export interface Viewer {
  /** Whether a parameter takes part in search expressions and reference following for this viewer. */
  canSearch(node: InstanceNode, param: SupportedParam): boolean;
  /** Whether the rows of a table exist for this viewer. */
  canSeeRows(table: SupportedObject): boolean;
}

export const SEES_ALL: Viewer = { canSearch: () => true, canSeeRows: () => true };

export interface Resolved {
  /** What the path names in the Supported Data Model. */
  readonly object: SupportedObject;
  /**
   * The instances that exist, in order, without repeats. Of a path that ends in a table (`Device.X.`): the parents, one
   * per existing parent, and `isTable` is true.
   */
  readonly nodes: readonly InstanceNode[];
  readonly isTable: boolean;
  readonly isSearch: boolean;
}

/** Most nodes that one path may resolve to on the way. */
export const MAX_NODES = 250_000;

/**
 * @throws UspError 7026 where the Supported Data Model has no such object, parameter named in an expression or reference;
 * 7008 where an expression does not fit its parameter's type; 7005 where it would be too much
 */
export function resolve(tree: ModelTree, path: ParsedPath, viewer: Viewer = SEES_ALL): Resolved {
  const [first, ...rest] = path.segments;
  if (first?.kind !== "name" || first.name !== "Device") throw unsupported(path, "it does not start with Device.");
  if (!path.isSearch) return walk(tree, path, viewer);
  let state: State = { object: tree.root, nodes: [tree.rootNode()], atTable: undefined };
  for (const segment of rest) {
    switch (segment.kind) {
      case "name":
        state = descend(tree, state, segment.name, path);
        break;
      case "instance":
        state = pickRows(state, path, (table, parent) => {
          const node = viewer.canSeeRows(table) ? tree.row(parent, table, segment.instance) : undefined;
          return node ? [node] : [];
        });
        break;
      case "wildcard":
        state = pickRows(state, path, (table, parent) => (viewer.canSeeRows(table) ? tree.rows(parent, table) : []));
        break;
      case "search":
        state = search(tree, state, segment.expression, path, viewer);
        break;
      case "follow":
        state = follow(tree, state, segment.name, segment.item, path, viewer);
        break;
    }
    if (state.nodes.length > MAX_NODES)
      throw new UspError(
        UspErrorCode.ResourcesExceeded,
        `${path.text.slice(0, 128)} names more than ${MAX_NODES} rows`,
        path.text,
      );
  }
  const object = state.atTable ?? state.object;
  return { object, nodes: state.nodes, isTable: state.atTable !== undefined, isSearch: path.isSearch };
}

/** Of a path of names and numbers alone: one node or none, without lists on the way. */
function walk(tree: ModelTree, path: ParsedPath, viewer: Viewer): Resolved {
  let object = tree.root;
  let node: InstanceNode | undefined = tree.rootNode();
  let table: SupportedObject | undefined;
  const { segments } = path;
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] as Segment;
    if (segment.kind === "instance") {
      if (!table) throw unsupported(path, `${object.path} is not a table`);
      node = node && viewer.canSeeRows(table) ? tree.row(node, table, segment.instance) : undefined;
      object = table;
      table = undefined;
    } else if (segment.kind === "name") {
      const child = childOf(table, object, segment.name, path);
      if (child.schema.isTable) table = child;
      else {
        object = child;
        node = node && tree.single(node, child);
      }
    }
  }
  return { object: table ?? object, nodes: node ? [node] : [], isTable: table !== undefined, isSearch: false };
}

function childOf(
  atTable: SupportedObject | undefined,
  object: SupportedObject,
  name: string,
  path: ParsedPath,
): SupportedObject {
  if (atTable) throw unsupported(path, `${atTable.path} needs an instance before ${name}`);
  const child = object.children.get(name);
  if (!child) throw unsupported(path, `${object.path} has no object ${name}`);
  return child;
}

interface State {
  readonly object: SupportedObject;
  readonly nodes: readonly InstanceNode[];
  /** Set after a table's name: `nodes` are then the parents that hold it. */
  readonly atTable: SupportedObject | undefined;
}

function descend(tree: ModelTree, state: State, name: string, path: ParsedPath): State {
  const child = childOf(state.atTable, state.object, name, path);
  if (child.schema.isTable) return { object: state.object, nodes: state.nodes, atTable: child };
  return { object: child, nodes: state.nodes.flatMap((node) => tree.single(node, child) ?? []), atTable: undefined };
}

function pickRows(
  state: State,
  path: ParsedPath,
  pick: (table: SupportedObject, parent: InstanceNode) => Iterable<InstanceNode>,
): State {
  const table = state.atTable;
  if (!table) throw unsupported(path, `${state.object.path} is not a table`);
  const nodes: InstanceNode[] = [];
  for (const parent of state.nodes) for (const node of pick(table, parent)) nodes.push(node);
  return { object: table, nodes, atTable: undefined };
}

function search(tree: ModelTree, state: State, expression: Expression, path: ParsedPath, viewer: Viewer): State {
  const table = state.atTable;
  if (!table) throw unsupported(path, `${state.object.path} is not a table`);
  if (!viewer.canSeeRows(table)) return { object: table, nodes: [], atTable: undefined };
  const test = compileExpression(tree, table, expression, path, viewer);
  const quick = quickFind(table, expression);
  return pickRows(state, path, function* (_, parent) {
    if (quick) {
      const instance = table.implementation.find?.(parent.row, quick.param, quick.value);
      const node = instance === undefined ? undefined : tree.row(parent, table, instance);
      if (node && test(node)) yield node;
      return;
    }
    for (const node of tree.rows(parent, table)) if (test(node)) yield node;
  });
}

/** The test that an expression makes of the table's rows. @throws UspError 7008, 7026 */
export function compileExpression(
  tree: ModelTree,
  table: SupportedObject,
  expression: Expression,
  path: ParsedPath,
  viewer: Viewer = SEES_ALL,
): (node: InstanceNode) => boolean {
  const tests = expression.map((comparison) => compile(tree, table, comparison, path, viewer));
  return (node) => tests.every((test) => test(node));
}

/** `[Key=="value"]` where the implementation finds rows by that key. */
function quickFind(table: SupportedObject, expression: Expression): { param: string; value: unknown } | undefined {
  if (!table.implementation.find) return undefined;
  for (const { path, operator, literal } of expression) {
    const [step] = path;
    if (operator !== "==" || path.length !== 1 || !step) continue;
    if (!table.schema.keys.some((key) => key.params.length === 1 && key.params[0] === step.name)) continue;
    try {
      return { param: step.name, value: table.params.get(step.name)?.schema.type.parse(literal) };
    } catch {
      return undefined; // a literal that is no value matches nothing, found by trying
    }
  }
  return undefined;
}

function compile(
  tree: ModelTree,
  table: SupportedObject,
  comparison: Comparison,
  path: ParsedPath,
  viewer: Viewer,
): (node: InstanceNode) => boolean {
  const steps = comparison.path.slice(0, -1);
  const name = (comparison.path.at(-1) as { name: string }).name;
  let object = table;
  for (const step of steps) {
    const next: SupportedObject | undefined =
      step.follow === undefined ? object.children.get(step.name) : targetOf(tree, object, step.name);
    if (!next || (step.follow === undefined && next.schema.isTable))
      throw unsupported(path, `${object.path} has no single object or reference ${step.name}`);
    object = next;
  }
  const param = object.params.get(name);
  if (!param) throw unsupported(path, `${object.path} has no parameter ${name}`);
  const test = compileComparison(comparison, param.schema.type, path.text);
  const passes = (node: InstanceNode) => viewer.canSearch(node, param) && test(param.read(node.row));
  if (steps.length === 0) return passes;
  return (node) => {
    let nodes: readonly InstanceNode[] = [node];
    for (const step of steps) {
      nodes = nodes.flatMap((at) => {
        if (step.follow !== undefined) return followOne(tree, at, step.name, step.follow, viewer);
        const child = at.object.children.get(step.name);
        return (child && tree.single(at, child)) ?? [];
      });
      // Lists that point to each other name the same rows again and again.
      if (step.follow === "*" && nodes.length > 1) nodes = [...new Map(nodes.map((at) => [at.path, at])).values()];
    }
    return nodes.some(passes);
  };
}

function follow(
  tree: ModelTree,
  state: State,
  name: string,
  item: number | "*",
  path: ParsedPath,
  viewer: Viewer,
): State {
  if (state.atTable) throw unsupported(path, `${state.atTable.path} needs an instance before ${name}`);
  const target = targetOf(tree, state.object, name);
  if (!target) throw unsupported(path, `${state.object.path} has no reference ${name}`);
  const nodes = new Map<string, InstanceNode>();
  for (const node of state.nodes) for (const hit of followOne(tree, node, name, item, viewer)) nodes.set(hit.path, hit);
  return { object: target, nodes: [...nodes.values()], atTable: undefined };
}

function followOne(
  tree: ModelTree,
  node: InstanceNode,
  name: string,
  item: number | "*",
  viewer: Viewer,
): InstanceNode[] {
  const param = node.object.params.get(name);
  if (!param || !viewer.canSearch(node, param)) return [];
  const value = param.read(node.row) as string | readonly string[];
  const members = typeof value === "string" ? (value === "" ? [] : [value]) : value;
  const picked = item === "*" ? members : members.slice(item - 1, item);
  const declared = targetOf(tree, node.object, name);
  return picked.flatMap((member) => {
    const target = tree.at(member);
    // A weak reference may hold anything.
    return target?.object === declared && target && viewer.canSeeRows(target.object) ? [target] : [];
  });
}

function targetOf(tree: ModelTree, object: SupportedObject, name: string): SupportedObject | undefined {
  const target = object.params.get(name)?.schema.type.facets.reference?.target;
  return target === undefined ? undefined : tree.object(target);
}

function unsupported(path: ParsedPath, why: string): UspError {
  return new UspError(UspErrorCode.InvalidPath, `${path.text.slice(0, 128)}: ${why}`, path.text);
}
