/**
 * A change of the model: all or nothing, in steps that can be taken back one by one. Values are written at once, so that
 * later parts of the same Message see them; uniqueness and row-wide rules are judged at `check()`, when the Message is
 * whole, so that two rows may swap their keys. Runs to its end without yielding.
 */
import { ValueError, type ValueType } from "../../datamodel/values.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import {
  AGENT,
  type Caller,
  type Change,
  type InstanceNode,
  type ModelTree,
  type Row,
  type SupportedObject,
  type SupportedParam,
} from "./implementation.ts";
import { checkKeys, missingKeys } from "./keys.ts";
import { canonicalReference, referencedRows } from "./reference.ts";
import { SEES_ALL, type Viewer } from "./resolve.ts";
import { keysOf } from "./tree.ts";

export interface ParamSetting {
  /** A name, or names that descend single-instance children: `MQTT.Topic`. */
  readonly param: string;
  readonly value: string;
  readonly required: boolean;
}

export interface ParamFailure {
  readonly param: string;
  readonly error: UspError;
}

/** Thrown by `add` when a required parameter failed: 7021 and the parameters at fault. */
export class RequiredParamError extends UspError {
  constructor(
    path: string,
    readonly failures: readonly ParamFailure[],
  ) {
    const first = failures[0] as ParamFailure;
    super(UspErrorCode.RequiredParameterFailed, `${path}${first.param}: ${first.error.message}`, path);
  }
}

/** Thrown by `check`: a row makes no sense as it stands, or has another's unique key. */
export class RowError extends UspError {
  constructor(
    /** Instance path. */
    readonly rowPath: string,
    /** Name of the parameter at fault, where one is. */
    readonly param: string | undefined,
    { code, message }: UspError,
  ) {
    super(code, message, rowPath);
  }
}

interface Touched {
  readonly node: InstanceNode;
  readonly before: Map<string, string>;
}

export class Transaction implements Change {
  readonly tree: ModelTree;
  readonly caller: Caller;
  readonly #viewer: Viewer;
  readonly #undo: (() => void)[] = [];
  #touched = new Map<string, Touched>();
  #added = new Map<string, InstanceNode>();
  #removed: InstanceNode[] = [];
  #open = true;

  /** `viewer`: how the caller sees what it names by its keys. */
  constructor(tree: ModelTree, caller: Caller = AGENT, viewer: Viewer = SEES_ALL) {
    this.tree = tree;
    this.caller = caller;
    this.#viewer = viewer;
  }

  /** For implementations: how to take back what was just written. */
  undo(action: () => void): void {
    this.#undo.push(action);
  }

  before(row: Row, param: string): string | undefined {
    for (const { node, before } of this.#touched.values())
      if (node.row === row) return this.#isFresh(node) ? undefined : before.get(param);
    return undefined;
  }

  /** A point to go back to. */
  savepoint(): number {
    return this.#undo.length;
  }

  rollback(savepoint = 0): void {
    while (this.#undo.length > savepoint) (this.#undo.pop() as () => void)();
  }

  /**
   * Writes a parameter from text. `param` may descend single-instance children.
   * @throws UspError 7010, 7011, 7012, 7013
   */
  set(node: InstanceNode, param: string, text: string): void {
    const [target, supported] = this.locate(node, param);
    const { access } = supported.schema;
    const fresh = this.#isFresh(target);
    if (access === "readOnly" || (access === "writeOnce" && !fresh))
      throw new UspError(
        UspErrorCode.NotWritable,
        `${param} is ${access === "readOnly" ? "read-only" : "fixed once the row exists"}`,
        param,
      );
    const isKey = target.object.schema.keys.some((key) => !key.functional && key.params.includes(supported.name));
    const value = this.#parse(supported, text);
    if (isKey && !fresh && supported.schema.type.print(value) !== this.tree.text(target, supported.name))
      throw new UspError(
        UspErrorCode.NotWritable,
        `${param} is part of a unique key, which never changes (R-KEY.1)`,
        param,
      );
    if (!fresh) target.object.implementation.guard?.(target.row, supported.name, value, this);
    this.write(target, supported.name, value);
  }

  /** Writes a typed value, whatever the parameter's access: for the agent's own changes. */
  write(node: InstanceNode, name: string, value: unknown): void {
    this.#mustBeOpen();
    const supported = node.object.params.get(name);
    if (!supported)
      throw new UspError(UspErrorCode.UnsupportedParameter, `${name} is not a parameter of ${node.object.path}`, name);
    this.#remember(node, supported);
    node.object.implementation.write(node.row, name, value, this);
  }

  /**
   * Adds a row. A failing parameter that is not required is returned, a required one throws. `mayWrite` throws where the
   * caller may not give a parameter.
   * @throws RequiredParamError; UspError 7018, 7019, 7005 and what validation says at `check()`
   */
  add(
    parent: InstanceNode,
    table: SupportedObject,
    settings: readonly ParamSetting[],
    mayWrite?: (node: InstanceNode, param: string) => void,
  ): { readonly node: InstanceNode; readonly failures: readonly ParamFailure[] } {
    this.#mustBeOpen();
    const start = this.savepoint();
    const node = this.#addEmpty(parent, table);
    const failures: ParamFailure[] = [];
    for (const setting of settings) {
      const before = this.savepoint();
      try {
        mayWrite?.(node, setting.param);
        this.set(node, setting.param, setting.value);
      } catch (error) {
        if (!(error instanceof UspError)) throw error;
        this.rollback(before);
        failures.push({ param: setting.param, error });
        const isKey = table.schema.keys.some((key) => key.params.includes(setting.param));
        if (setting.required || isKey) {
          this.rollback(start);
          throw new RequiredParamError(node.path, failures);
        }
      }
    }
    const given = new Set(settings.map(({ param }) => param));
    for (const [name, value] of missingKeys(this.tree, node, given)) this.write(node, name, value);
    return { node, failures };
  }

  /**
   * Removes a row with all below it; strong references to it are cleared, rows that live by it go too.
   * @throws UspError 7024 if the table does not allow it
   */
  remove(node: InstanceNode): void {
    this.#mustBeOpen();
    if (!node.object.schema.isTable || !node.object.implementation.remove)
      throw new UspError(UspErrorCode.DeleteFailed, `${node.path} can't be deleted`, node.path);
    this.#removeTree(node);
  }

  /** Judges what was touched since the beginning: unique keys, and each row as a whole. @throws RowError */
  check(): void {
    const nodes = new Map<string, InstanceNode>(this.#added);
    for (const [path, { node }] of this.#touched) nodes.set(path, node);
    for (const node of nodes.values()) {
      // Rolled back or removed meanwhile.
      if (this.#isRemoved(node.path) || this.tree.at(node.path) === undefined) continue;
      try {
        checkKeys(node, this.#isFresh(node) ? undefined : { has: (param) => this.#isChanged(node, param) });
        node.object.implementation.validate?.(node.row, this);
      } catch (error) {
        if (!(error instanceof UspError)) throw error;
        const param = error.path !== undefined && node.object.params.has(error.path) ? error.path : undefined;
        throw new RowError(node.path, param, error);
      }
    }
  }

  /** Makes it final: tells the implementations, then the change feed. `check()` comes first, by the caller. */
  commit(): void {
    this.#mustBeOpen();
    this.#open = false;
    this.#undo.length = 0;
    const { changes } = this.tree;
    const removedPaths = new Set(this.#removed.map(({ path }) => path));
    const notify: (() => void)[] = [];
    for (const node of this.#removed) {
      if (this.#added.has(node.path)) continue;
      node.object.implementation.committed?.(this.#change("removed", node));
      if (node.object.schema.isTable)
        notify.push(() => changes.emit({ kind: "deleted", path: node.path, supportedPath: node.object.path }));
      if (node.object.schema.isTable) this.#notifyCount(node, notify);
    }
    for (const node of this.#added.values()) {
      if (removedPaths.has(node.path)) continue;
      node.object.implementation.committed?.(this.#change("added", node));
      notify.push(() =>
        changes.emit({ kind: "created", path: node.path, supportedPath: node.object.path, keys: keysOf(node) }),
      );
      this.#notifyCount(node, notify);
    }
    for (const { node, before } of this.#touched.values()) {
      if (removedPaths.has(node.path)) continue;
      const changed = new Set<string>();
      for (const [name, text] of before) if (this.tree.text(node, name) !== text) changed.add(name);
      if (changed.size === 0) continue;
      node.object.implementation.committed?.(this.#change("changed", node, changed));
      if (this.#isFresh(node)) continue;
      const by = this.caller === AGENT ? {} : { isSet: true as const };
      for (const param of changed) notify.push(() => changes.emit({ kind: "value", path: node.path, param, ...by }));
    }
    for (const tell of notify) tell();
  }

  #notifyCount(node: InstanceNode, notify: (() => void)[]): void {
    const parent = node.parent as InstanceNode;
    notify.push(() => this.tree.changes.value(parent.path, `${node.object.name}NumberOfEntries`));
  }

  #change(kind: "added" | "changed" | "removed", node: InstanceNode, params: ReadonlySet<string> = new Set()) {
    const before = this.#touched.get(node.path)?.before ?? new Map<string, string>();
    return { kind, row: node.row, instance: node.instance, params, before, caller: this.caller };
  }

  #addEmpty(parent: InstanceNode, table: SupportedObject): InstanceNode {
    const { schema, implementation } = table;
    if (!schema.isTable) throw new UspError(UspErrorCode.NotATable, `${table.path} is not a table`, table.path);
    if (!implementation.add || (!schema.canAdd && this.caller !== AGENT))
      throw new UspError(UspErrorCode.NotCreatable, `rows of ${table.path} can't be added`, table.path);
    if ([...implementation.instances(parent.row)].length >= schema.maxRows)
      throw new UspError(
        UspErrorCode.ResourcesExceeded,
        `${table.path} holds its ${schema.maxRows} rows already`,
        table.path,
      );
    const { instance, row } = implementation.add(parent.row, this);
    const node: InstanceNode = {
      object: table,
      path: `${parent.path}${table.name}.${instance}.`,
      parent,
      row,
      instance,
    };
    this.#added.set(node.path, node);
    this.#undo.push(() => this.#added.delete(node.path));
    return node;
  }

  #removeTree(node: InstanceNode): void {
    for (const child of node.object.children.values()) {
      if (child.schema.isTable) for (const row of [...this.tree.rows(node, child)]) this.#removeTree(row);
    }
    if (!node.object.schema.isTable) return;
    (node.object.implementation.remove as NonNullable<InstanceNode["object"]["implementation"]["remove"]>)(
      (node.parent as InstanceNode).row,
      node.instance,
      this,
    );
    this.#removed.push(node);
    this.#undo.push(() => this.#removed.pop());
    this.#clearReferences(node.path.slice(0, -1));
  }

  /** TR-369 R-ARC.12. */
  #clearReferences(path: string): void {
    for (const { param, node, remaining } of referencedRows(this.tree, path)) {
      if (param.schema.type.facets.reference?.deletesRow) {
        if (this.tree.at(node.path)) this.#removeTree(node);
      } else this.write(node, param.name, remaining);
    }
  }

  /** Where a relative parameter path leads from the node. @throws UspError 7010 */
  locate(node: InstanceNode, param: string): readonly [InstanceNode, SupportedParam] {
    const names = param.split(".");
    const last = names.pop() as string;
    let target: InstanceNode | undefined = node;
    for (const name of names) {
      const child: SupportedObject | undefined = target?.object.children.get(name);
      target = target && child && !child.schema.isTable ? this.tree.single(target, child) : undefined;
    }
    const supported = target?.object.params.get(last);
    if (!target || !supported)
      throw new UspError(
        UspErrorCode.UnsupportedParameter,
        `${param} is not a parameter of ${node.object.path}`,
        param,
      );
    return [target, supported];
  }

  #parse({ schema, name }: SupportedParam, text: string): unknown {
    try {
      if (schema.type.facets.reference)
        return canonicalReference(this.tree, schema.type as ValueType<string | readonly string[]>, text, this.#viewer);
      return schema.type.parse(text);
    } catch (error) {
      if (error instanceof ValueError)
        throw new UspError(
          error.kind === "syntax" ? UspErrorCode.InvalidType : UspErrorCode.InvalidValue,
          `${name}: ${error.message}`,
          name,
        );
      throw error;
    }
  }

  #remember(node: InstanceNode, { name, schema, read }: SupportedParam): void {
    let touched = this.#touched.get(node.path);
    if (!touched) {
      touched = { node, before: new Map() };
      this.#touched.set(node.path, touched);
    }
    if (!touched.before.has(name)) touched.before.set(name, schema.type.print(read(node.row)));
  }

  /** Of two rows with one key, the one that came to have it is at fault. */
  #isChanged(node: InstanceNode, param: string): boolean {
    const before = this.#touched.get(node.path)?.before.get(param);
    return before !== undefined && before !== this.tree.text(node, param);
  }

  /** Whether the row, or the row it belongs to, was made by this transaction. */
  #isFresh(node: InstanceNode): boolean {
    for (let at: InstanceNode | undefined = node; at; at = at.parent) if (this.#added.has(at.path)) return true;
    return false;
  }

  #isRemoved(path: string): boolean {
    return this.#removed.some((node) => path.startsWith(node.path));
  }

  #mustBeOpen(): void {
    if (!this.#open) throw new TypeError("the transaction is closed");
  }
}
