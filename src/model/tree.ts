/**
 * The live tree: the declared objects, each joined to what implements it. Everything northbound reads and changes the
 * device through it. Not concurrent: reads and transactions run to their end without yielding.
 */
import { model, type ObjectSchema } from "../../datamodel/schema.ts";
import { ChangeFeed } from "./changes.ts";
import type {
  Implementation,
  InstanceNode,
  ModelTree,
  Row,
  SupportedObject,
  SupportedParam,
} from "./implementation.ts";

export type { InstanceNode, SupportedCommand, SupportedObject, SupportedParam } from "./implementation.ts";

export class Tree implements ModelTree {
  readonly root: SupportedObject;
  readonly changes = new ChangeFeed();
  readonly #byPath = new Map<string, SupportedObject>();
  readonly #referrers: SupportedParam[] = [];

  /** @throws Error if an object is declared without its parent, or twice */
  constructor(implementations: readonly Implementation[]) {
    const bySchema = new Map(implementations.map((implementation) => [implementation.schema.path, implementation]));
    if (bySchema.size !== implementations.length) throw new Error("an object is implemented twice");
    for (const schema of model(implementations.map(({ schema }) => schema))) {
      this.#insert(schema, bySchema.get(schema.path) as Implementation);
    }
    const root = this.#byPath.get("Device.");
    if (!root) throw new Error("Device. is not implemented");
    this.root = root;
    for (const object of this.#byPath.values()) object.implementation.attach?.(this, object);
  }

  /** By supported path; a table's with or without its final `{i}.`. */
  object(path: string): SupportedObject | undefined {
    return this.#byPath.get(path) ?? this.#byPath.get(`${path}{i}.`);
  }

  objects(): IterableIterator<SupportedObject> {
    return this.#byPath.values();
  }

  /** Parameters of reference type, for the clean-up after a deletion. */
  get referrers(): readonly SupportedParam[] {
    return this.#referrers;
  }

  rootNode(): InstanceNode {
    return {
      object: this.root,
      path: "Device.",
      parent: undefined,
      row: this.root.implementation.row(undefined, 0),
      instance: 0,
    };
  }

  /** The single-instance child; `undefined` if it is not there now (its `row` says so). */
  single(parent: InstanceNode, object: SupportedObject): InstanceNode | undefined {
    const row = object.implementation.row(parent.row, 0);
    if (row === undefined && object.implementation.optional) return undefined;
    return { object, path: `${parent.path}${object.name}.`, parent, row, instance: 0 };
  }

  row(parent: InstanceNode, object: SupportedObject, instance: number): InstanceNode | undefined {
    const row = object.implementation.row(parent.row, instance);
    if (row === undefined) return undefined;
    return { object, path: `${parent.path}${object.name}.${instance}.`, parent, row, instance };
  }

  *rows(parent: InstanceNode, object: SupportedObject): IterableIterator<InstanceNode> {
    for (const instance of object.implementation.instances(parent.row)) {
      const node = this.row(parent, object, instance);
      if (node) yield node;
    }
  }

  /** All instances of an object anywhere. */
  *all(object: SupportedObject): IterableIterator<InstanceNode> {
    if (!object.parent) {
      yield this.rootNode();
      return;
    }
    for (const parent of this.all(object.parent)) {
      if (object.schema.isTable) yield* this.rows(parent, object);
      else {
        const node = this.single(parent, object);
        if (node) yield node;
      }
    }
  }

  /** The node of a plain instance path (`Device.X_SPIN.Rule.3.`, final dot optional); `undefined` if it is not there. */
  at(path: string): InstanceNode | undefined {
    const parts = (path.endsWith(".") ? path.slice(0, -1) : path).split(".");
    if (parts[0] !== "Device") return undefined;
    let node: InstanceNode | undefined = this.rootNode();
    for (let i = 1; i < parts.length && node; i++) {
      const child: SupportedObject | undefined = node.object.children.get(parts[i] as string);
      if (!child) return undefined;
      if (child.schema.isTable) node = this.row(node, child, Number(parts[++i]));
      else node = this.single(node, child);
    }
    return node;
  }

  /** Text of a parameter for the agent itself: no access control, secured values in clear. */
  text(node: InstanceNode, name: string): string | undefined {
    const param = node.object.params.get(name);
    return param && param.schema.type.print(param.read(node.row));
  }

  #insert(schema: ObjectSchema, implementation: Implementation): void {
    const parts = schema.path.split(".").slice(0, -1);
    const name = (schema.isTable ? parts.at(-2) : parts.at(-1)) as string;
    const parentPath = `${parts.slice(0, schema.isTable ? -2 : -1).join(".")}.`;
    const parent = schema.path === "Device." ? undefined : this.#byPath.get(parentPath);
    if (!parent && schema.path !== "Device.") throw new Error(`${schema.path} is declared without ${parentPath}`);
    const params = new Map<string, SupportedParam>();
    const object: SupportedObject = {
      path: schema.path,
      name,
      schema,
      parent,
      children: new Map(),
      params,
      paramList: [],
      commands: new Map(
        Object.entries(schema.commands).map(([command, its]) => [
          command,
          { name: command, schema: its, run: implementation.command(command) },
        ]),
      ),
      events: new Map(Object.entries(schema.events)),
      implementation,
    };
    for (const [paramName, its] of Object.entries(schema.params)) {
      const count = this.#countReader(object, paramName, implementation.schema);
      const param = { name: paramName, schema: its, object, read: count ?? implementation.reader(paramName) };
      params.set(paramName, param);
      (object.paramList as SupportedParam[]).push(param);
      if (its.type.facets.reference) this.#referrers.push(param);
    }
    this.#byPath.set(schema.path, object);
    if (parent) (parent.children as Map<string, SupportedObject>).set(name, object);
  }

  /** `…NumberOfEntries` counts the rows, whoever implements the table. */
  #countReader(object: SupportedObject, name: string, declared: ObjectSchema): ((row: Row) => number) | undefined {
    if (name in declared.params || !name.endsWith("NumberOfEntries")) return undefined;
    const table = name.slice(0, -"NumberOfEntries".length);
    return (row) => {
      const child = object.children.get(table);
      if (!child) return 0;
      const instances = child.implementation.instances(row);
      if (Array.isArray(instances)) return instances.length;
      let count = 0;
      for (const _ of instances) count++;
      return count;
    };
  }
}

/** Texts of the row's unique keys: `[["PhysAddress", "02:…"], …]` in the order declared. */
export function keysOf(node: InstanceNode): Map<string, string> {
  const keys = new Map<string, string>();
  for (const key of node.object.schema.keys) {
    for (const name of key.params) {
      const param = node.object.params.get(name);
      if (param) keys.set(name, param.schema.type.print(param.read(node.row)));
    }
  }
  return keys;
}
