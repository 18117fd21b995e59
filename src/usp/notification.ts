/**
 * What a change says to one recipient: its permissions, secured values and the policy are asked at the moment of sending.
 * `undefined` where it may not be told, or there is nothing left to tell.
 */
import type { ModelChange } from "../model/changes.ts";
import type { InstanceNode, SupportedObject } from "../model/tree.ts";
import { NOTIFY, READ } from "./rights.ts";
import type { Notification } from "./outbox.ts";
import type { View } from "./view.ts";

type ChangeOf<Kind extends ModelChange["kind"]> = Extract<ModelChange, { kind: Kind }>;

export function valueChange(view: View, path: string, name: string): Notification | undefined {
  const node = view.tree.at(path);
  const param = node?.object.params.get(name);
  if (!node || !param || (view.access.at(node).param(name) & NOTIFY) === 0 || !seesRows(view, node.object))
    return undefined;
  // To one who may not see the value nothing has changed.
  if (!view.shows(node, param)) return undefined;
  return { $case: "valueChange", value: { paramPath: `${path}${name}`, paramValue: view.text(node, param) } };
}

export function objectCreation(
  view: View,
  { path, supportedPath, keys }: ChangeOf<"created">,
): Notification | undefined {
  const object = view.tree.object(supportedPath);
  if (!object || !seesRows(view, object)) return undefined;
  const node = view.tree.at(path);
  const access = node ? view.access.at(node) : view.access.atPath(object, path);
  if ((access.object & NOTIFY) === 0) return undefined;
  const known = [...keys].filter(([name]) => (access.param(name) & READ) !== 0 && isPlain(object, name));
  const uniqueKeys = node ? view.keys(node, access) : new Map(known);
  return { $case: "objCreation", value: { objPath: path, uniqueKeys } };
}

export function objectDeletion(view: View, { path, supportedPath }: ChangeOf<"deleted">): Notification | undefined {
  const object = view.tree.object(supportedPath);
  if (!object || !seesRows(view, object)) return undefined;
  if ((view.access.atPath(object, path).instance & NOTIFY) === 0) return undefined;
  return { $case: "objDeletion", value: { objPath: path } };
}

export function event(
  view: View,
  { path, name }: ChangeOf<"event">,
  args: Readonly<Record<string, string>>,
): Notification | undefined {
  const node = mayBeTold(view, path, name);
  const declared = node?.object.events.get(name)?.args;
  if (!node || !declared) return undefined;
  const showSecured = view.policy.securedVisible(node, undefined, view.caller);
  const params = new Map<string, string>();
  for (const [arg, text] of Object.entries(args)) params.set(arg, declared[arg]?.secured && !showSecured ? "" : text);
  return { $case: "event", value: { objPath: path, eventName: name, params } };
}

export function operationComplete(view: View, change: ChangeOf<"operationComplete">): Notification | undefined {
  const { path, command, commandKey, outputs, failure } = change;
  const node = mayBeTold(view, path, command);
  if (!node) return undefined;
  const operationResp = failure
    ? ({ $case: "cmdFailure", value: { errCode: failure.code, errMsg: failure.message } } as const)
    : ({ $case: "reqOutputArgs", value: { outputArgs: shownOutputs(view, node, command, outputs ?? {}) } } as const);
  return { $case: "operComplete", value: { objPath: path, commandName: command, commandKey, operationResp } };
}

function shownOutputs(
  view: View,
  node: InstanceNode,
  command: string,
  outputs: Readonly<Record<string, string>>,
): Map<string, string> {
  const schema = node.object.commands.get(command)?.schema;
  const showSecured = view.policy.securedVisible(node, undefined, view.caller);
  const shown = new Map<string, string>();
  for (const [name, text] of Object.entries(outputs)) {
    const [table, , column] = name.split(".");
    const argument = column === undefined ? schema?.output[name] : schema?.rows[table as string]?.[column];
    shown.set(name, argument?.secured !== false && !showSecured ? "" : text);
  }
  return shown;
}

/** The object of an event or command, if the viewer may be told of it. */
function mayBeTold(view: View, path: string, element: string): InstanceNode | undefined {
  const node = view.tree.at(path);
  if (!node || (view.access.at(node).element(element) & NOTIFY) === 0 || !seesRows(view, node.object)) return undefined;
  return view.policy.mayBeTold?.(node, element, view.caller) === false ? undefined : node;
}

function seesRows(view: View, object: SupportedObject): boolean {
  for (let at: SupportedObject | undefined = object; at; at = at.parent)
    if (at.schema.isTable && !view.canSeeRows(at)) return false;
  return true;
}

function isPlain(object: SupportedObject, name: string): boolean {
  const schema = object.params.get(name)?.schema;
  return schema !== undefined && !schema.secured && !schema.hidden;
}

/** Boot!'s ParameterMap: JSON of what the recipient's enabled BootParameter rows name, as far as it may read it. */
export function parameterMap(
  view: View,
  controller: string,
  read: (path: string) => ReadonlyMap<string, string>,
): string {
  const node = view.tree.at(controller);
  const table = node?.object.children.get("BootParameter");
  const values: Record<string, string> = {};
  if (node && table) {
    for (const row of view.tree.rows(node, table)) {
      const value = (name: string): unknown => row.object.params.get(name)?.read(row.row);
      if (value("Enable") !== true) continue;
      for (const [path, text] of read(value("ParameterName") as string)) values[path] = text;
    }
  }
  return JSON.stringify(values);
}
