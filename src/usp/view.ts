/**
 * The model as one controller sees it: roles and permissions, secured and hidden values, and the policy of the objects
 * layer, in one place that every handler and every notification asks.
 */
import type { Caller } from "../model/implementation.ts";
import type { Viewer } from "../model/resolve.ts";
import type { InstanceNode, SupportedObject, SupportedParam, Tree } from "../model/tree.ts";
import type { Access, ObjectAccess } from "./permissions.ts";
import type { ModelPolicy } from "./policy.ts";
import { READ } from "./rights.ts";

export class View implements Viewer {
  readonly tree: Tree;
  readonly caller: Caller;
  readonly policy: ModelPolicy;
  readonly access: Access;

  constructor(tree: Tree, caller: Caller, access: Access, policy: ModelPolicy) {
    this.tree = tree;
    this.caller = caller;
    this.access = access;
    this.policy = policy;
  }

  canSeeRows(table: SupportedObject): boolean {
    return this.policy.rowsVisible(table, this.caller);
  }

  canSearch(node: InstanceNode, param: SupportedParam): boolean {
    if ((this.access.at(node).param(param.name) & READ) === 0 || !this.shows(node, param)) return false;
    this.#given(node, param);
    return true;
  }

  /** Whether the value itself is shown, given that the parameter may be read. */
  shows(node: InstanceNode, param: SupportedParam): boolean {
    const { secured, hidden } = param.schema;
    if (hidden || (secured && !this.policy.securedVisible(node, param, this.caller))) return false;
    const counted = param.name.endsWith(COUNT)
      ? node.object.children.get(param.name.slice(0, -COUNT.length))
      : undefined;
    return !counted?.schema.isTable || this.canSeeRows(counted);
  }

  /** What a Get of a readable parameter answers: the value's text, or the null value of its type. */
  text(node: InstanceNode, param: SupportedParam): string {
    if (!this.shows(node, param)) return nullText(param);
    this.#given(node, param);
    return param.schema.type.print(param.read(node.row));
  }

  #given(node: InstanceNode, param: SupportedParam): void {
    if (param.schema.secured) this.policy.securedShown?.(node, param, this.caller);
  }

  /** Readable unique keys, as AddResp, GetInstancesResp and ObjectCreation tell them. */
  keys(node: InstanceNode, access: ObjectAccess = this.access.at(node)): Map<string, string> {
    const keys = new Map<string, string>();
    for (const key of node.object.schema.keys) {
      for (const name of key.params) {
        const param = node.object.params.get(name);
        if (param && (access.param(name) & READ) !== 0 && this.shows(node, param))
          keys.set(name, this.text(node, param));
      }
    }
    return keys;
  }

  /** The object itself may be named in a path, or something below it may. */
  mayName(node: InstanceNode): boolean {
    return (this.access.at(node).object & READ) !== 0 || this.access.visible(node.object);
  }
}

/** A table whose rows the caller may not see has none. */
const COUNT = "NumberOfEntries";

/** TR-106: what is hidden or secured reads as the empty, zero or false value. */
function nullText({ schema: { type } }: SupportedParam): string {
  if (type.item || type.base === "string" || type.base === "base64" || type.base === "hexBinary") return "";
  if (type.base === "boolean") return "false";
  return type.base === "dateTime" ? "0001-01-01T00:00:00Z" : "0";
}
