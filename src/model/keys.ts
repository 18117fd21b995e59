/** Unique keys of rows: those that are taken, and those that nobody gave. */
import { ValueError } from "../../datamodel/values.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { InstanceNode, ModelTree, SupportedParam } from "./implementation.ts";

/**
 * `touched`: the parameters that were written; absent: all, since the row is new.
 * @throws UspError 7025 where another row of the table has one of the node's unique keys
 */
export function checkKeys(node: InstanceNode, touched?: { has(param: string): boolean }): void {
  const { schema, params, name } = node.object;
  if (!schema.isTable) return;
  for (const key of schema.keys) {
    if (touched && !key.params.some((param) => touched.has(param))) continue;
    const other = sameKey(node, key.params);
    if (other === undefined) continue;
    const what = key.params.map((param) => {
      const { schema: its, read } = params.get(param) as SupportedParam;
      // What a controller may not read it shall not guess by trying (secured values).
      return its.secured || its.hidden ? param : `${param} ${JSON.stringify(its.type.print(read(node.row)))}`;
    });
    throw new UspError(
      UspErrorCode.DuplicateUniqueKey,
      `${(node.parent as InstanceNode).path}${name}.${other}. has ${what.join(", ")} already`,
      key.params[0],
    );
  }
}

/**
 * Values for unique keys that nobody gave (R-ADD.5): of each key its one writable parameter, where it is empty or taken. A
 * key of several writable parameters is left as its defaults make it; one whose type takes no made-up value stays empty.
 */
export function missingKeys(tree: ModelTree, node: InstanceNode, given: ReadonlySet<string>): Map<string, unknown> {
  const made = new Map<string, unknown>();
  for (const key of node.object.schema.keys) {
    const writable = key.params.filter((name) => node.object.params.get(name)?.schema.access !== "readOnly");
    const [name] = writable;
    if (writable.length !== 1 || name === undefined || given.has(name)) continue;
    const { schema, read } = node.object.params.get(name) as SupportedParam;
    const isNumber = /^(?:int|long|unsignedInt|unsignedLong)$/.test(schema.type.base) && !schema.type.item;
    const isEmpty = !isNumber && schema.type.print(read(node.row)) === "";
    if (!isEmpty && sameKey(node, key.params) === undefined) continue;
    try {
      made.set(name, schema.type.parse(isNumber ? `${greatest(tree, node, name) + 1}` : `cpe-${node.instance}`));
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
    }
  }
  return made;
}

/** Another row of the table whose parameters of these names have the same values. */
function sameKey(node: InstanceNode, names: readonly string[]): number | undefined {
  const { params, implementation } = node.object;
  const parent = node.parent as InstanceNode;
  const supported = names.map((name) => params.get(name) as SupportedParam);
  const mine = supported.map((param) => param.read(node.row));
  const texts = supported.map((param, i) => param.schema.type.print(mine[i]));
  for (const instance of implementation.instances(parent.row)) {
    if (instance === node.instance) continue;
    const row = implementation.row(parent.row, instance);
    if (row !== undefined && supported.every((param, i) => isSame(param, param.read(row), mine[i], texts[i])))
      return instance;
  }
  return undefined;
}

/** Printing costs the most, so it is left to what looks alike: a thousand rows are compared at each change. */
function isSame({ schema }: SupportedParam, value: unknown, mine: unknown, text: string | undefined): boolean {
  if (value === mine) return true;
  if (typeof value === "string" && typeof mine === "string" && value.length !== mine.length) return false;
  if (Array.isArray(value) && Array.isArray(mine) && value.length !== mine.length) return false;
  return schema.type.print(value) === text;
}

function greatest(tree: ModelTree, node: InstanceNode, name: string): number {
  const { read } = node.object.params.get(name) as SupportedParam;
  let found = 0;
  for (const row of tree.rows(node.parent as InstanceNode, node.object))
    if (row.instance !== node.instance) found = Math.max(found, read(row.row) as number);
  return found;
}
