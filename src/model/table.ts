/**
 * Stored objects: rows that controllers own (Subscription, Controller, Rule …) and settings. They need no code a
 * parameter: values are kept, validated by their types and persisted; only what the device computes is given.
 */
import type { Commands, InputOf, ObjectSchema, OutputsOf, Params, ValueOf, Values } from "../../datamodel/schema.ts";
import { ValueError } from "../../datamodel/values.ts";
import { AGENT } from "./implementation.ts";
import type {
  Caller,
  Change,
  CommandCall,
  CommandHandler,
  CommittedChange,
  Implementation,
  ModelTree,
  Row,
  SupportedObject,
} from "./implementation.ts";
import type { Persistence, Section } from "./persistence.ts";

/** A row as it is kept. `values` has every stored parameter, typed. */
export interface StoredRow<V = Readonly<Record<string, unknown>>> {
  readonly instance: number;
  /** Instance numbers joined by dots. */
  readonly key: string;
  readonly parent: StoredRow | undefined;
  readonly values: V;
}

export interface TableOptions<P extends Params, C extends Commands> {
  readonly persistence?: Persistence | undefined;
  /** Whether a row outlives a restart (Subscription.Persistent). Default: all do, given a `persistence`. */
  readonly persists?: (row: StoredRow<Values<P>>) => boolean;
  /** Parameters that are computed; all others are stored. */
  readonly computed?: { readonly [K in keyof P]?: (row: StoredRow<Values<P>>) => ValueOf<P[K]> };
  /** Values that a new row gets from who makes it: Creator, CreationDate … */
  readonly initial?: (
    caller: Caller,
    row: { readonly instance: number; readonly parent: StoredRow | undefined },
  ) => Partial<Values<P>>;
  /** Throws UspError where a parameter of a row that exists may not become `value` by a Set. */
  readonly guard?: (row: StoredRow<Values<P>>, param: string, value: unknown, transaction: Change) => void;
  /** Throws UspError where the row as a whole makes no sense. */
  readonly validate?: (row: StoredRow<Values<P>>, transaction: Change) => void;
  readonly committed?: (change: CommittedChange & { readonly row: StoredRow<Values<P>> }) => void;
  readonly commands?: {
    readonly [K in keyof C]: (
      row: StoredRow<Values<P>>,
      args: InputOf<C[K]["input"]>,
      call: CommandCall,
    ) => OutputsOf<C[K]> | Promise<OutputsOf<C[K]>>;
  };
}

interface MutableRow {
  readonly instance: number;
  readonly key: string;
  readonly parent: MutableRow | undefined;
  readonly values: Record<string, unknown>;
  /** As they are kept on disk, while no value changed since: a change of one row prints that row alone. */
  texts: Readonly<Record<string, string>> | undefined;
}

/** Rows below one parent. */
interface Bucket {
  next: number;
  readonly rows: Map<number, MutableRow>;
  /** Ascending instance numbers; undefined after a change. */
  order: number[] | undefined;
}

/** Implements a table, or a single object of settings, by keeping its rows. */
export function table<P extends Params, C extends Commands>(
  schema: ObjectSchema<P, C>,
  options: TableOptions<P, C> = {},
): Implementation {
  return new StoredObject(schema, options as unknown as TableOptions<Params, Commands>);
}

class StoredObject implements Implementation {
  readonly schema: ObjectSchema;
  readonly #options: TableOptions<Params, Commands>;
  readonly #buckets = new Map<string, Bucket>();
  #group = "";
  #object: SupportedObject | undefined;

  constructor(schema: ObjectSchema, options: TableOptions<Params, Commands>) {
    this.schema = schema;
    this.#options = options;
  }

  attach(_tree: ModelTree, object: SupportedObject): void {
    this.#object = object;
    this.#group = groupOf(object);
    const saved = this.#options.persistence?.join(this.#group, this.schema.path, () => this.#snapshot());
    if (saved) this.#restore(saved, object);
  }

  instances(parent: Row): Iterable<number> {
    const bucket = this.#buckets.get(keyOf(parent));
    if (!bucket) return [];
    bucket.order ??= [...bucket.rows.keys()].sort((a, b) => a - b);
    return bucket.order;
  }

  row(parent: Row, instance: number): Row | undefined {
    const bucket = this.schema.isTable ? this.#buckets.get(keyOf(parent)) : this.#bucket(parent);
    const row = bucket?.rows.get(instance);
    if (row || this.schema.isTable) return row;
    // A single object is there from the start: the agent makes it, at the first look.
    const initial = this.#options.initial?.(AGENT, { instance: 0, parent: asStored(parent) }) ?? {};
    return this.#make(parent, bucket as Bucket, 0, initial);
  }

  reader(param: string): (row: Row) => unknown {
    const computed = this.#options.computed?.[param];
    if (computed) return computed as (row: Row) => unknown;
    return (row) => (row as MutableRow).values[param];
  }

  guard(row: Row, param: string, value: unknown, transaction: Change): void {
    this.#options.guard?.(row as StoredRow, param, value, transaction);
  }

  write(row: Row, param: string, value: unknown, transaction: Change): void {
    const stored = row as MutableRow;
    const before = stored.values[param];
    const put = (next: unknown) => {
      stored.values[param] = next;
      stored.texts = undefined;
    };
    put(value);
    transaction.undo(() => put(before));
  }

  add(parent: Row, transaction: Change): { instance: number; row: Row } {
    const bucket = this.#bucket(parent);
    const instance = ++bucket.next;
    const initial = this.#options.initial?.(transaction.caller, { instance, parent: asStored(parent) }) ?? {};
    const row = this.#make(parent, bucket, instance, initial);
    transaction.undo(() => {
      bucket.rows.delete(instance);
      bucket.order = undefined;
    });
    return { instance, row };
  }

  remove(parent: Row, instance: number, transaction: Change): void {
    const bucket = this.#bucket(parent);
    const row = bucket.rows.get(instance) as MutableRow;
    bucket.rows.delete(instance);
    bucket.order = undefined;
    transaction.undo(() => {
      bucket.rows.set(instance, row);
      bucket.order = undefined;
    });
  }

  validate(row: Row, transaction: Change): void {
    this.#options.validate?.(row as StoredRow, transaction);
  }

  committed(change: CommittedChange): void {
    if (change.kind === "removed" && this.#object) forget(this.#object, (change.row as MutableRow).key);
    this.#options.persistence?.changed(this.#group);
    this.#options.committed?.(change as CommittedChange & { row: StoredRow });
  }

  command(name: string): CommandHandler {
    return this.#options.commands?.[name] as CommandHandler;
  }

  /** Drops what belonged to the row with that key. */
  drop(key: string): void {
    this.#buckets.delete(key);
  }

  #bucket(parent: Row): Bucket {
    const key = keyOf(parent);
    let bucket = this.#buckets.get(key);
    if (!bucket) {
      bucket = { next: 0, rows: new Map(), order: undefined };
      this.#buckets.set(key, bucket);
    }
    return bucket;
  }

  #make(parent: Row, bucket: Bucket, instance: number, initial: Readonly<Record<string, unknown>>): MutableRow {
    const stored = asStored(parent) as MutableRow | undefined;
    const key = instance === 0 ? keyOf(parent) : joinKey(keyOf(parent), instance);
    const values: Record<string, unknown> = {};
    for (const [name, param] of Object.entries(this.schema.params)) {
      if (this.#options.computed?.[name]) continue;
      values[name] = initial[name] ?? (name === "Alias" && instance > 0 ? `cpe-${instance}` : param.default);
    }
    const row: MutableRow = { instance, key, parent: stored, values, texts: undefined };
    bucket.rows.set(instance, row);
    bucket.order = undefined;
    return row;
  }

  #snapshot(): Section {
    const next: Record<string, number> = {};
    const rows: Record<string, Readonly<Record<string, string>>> = {};
    for (const [key, bucket] of this.#buckets) {
      if (this.schema.isTable) next[key] = bucket.next;
      for (const row of bucket.rows.values()) if (this.#persists(row)) rows[row.key] = row.texts ??= this.#print(row);
    }
    return { next, rows };
  }

  /** A part is kept when the row it belongs to is. */
  #persists(row: MutableRow): boolean {
    return this.#options.persists?.(row) ?? true;
  }

  #print(row: MutableRow): Record<string, string> {
    const texts: Record<string, string> = {};
    for (const [name, value] of Object.entries(row.values)) {
      const param = this.schema.params[name];
      if (param) texts[name] = param.type.print(value);
    }
    return texts;
  }

  #restore(saved: Section, object: SupportedObject): void {
    for (const [key, texts] of Object.entries(saved.rows)) {
      const numbers = key === "" ? [] : key.split(".").map(Number);
      const instance = this.schema.isTable ? (numbers.pop() as number) : 0;
      const parent = parentRow(object, numbers);
      if (parent === undefined && numbers.length > 0) continue; // its parent was not kept
      const row = this.#make(parent, this.#bucket(parent), instance, {});
      for (const [name, text] of Object.entries(texts)) this.#restoreValue(row, name, text);
    }
    for (const [key, next] of Object.entries(saved.next)) {
      const numbers = key === "" ? [] : key.split(".").map(Number);
      const parent = parentRow(object, numbers);
      if (parent === undefined && numbers.length > 0) continue;
      const bucket = this.#bucket(parent);
      // No number is given twice, whatever became of the file.
      bucket.next = Math.max(next, ...bucket.rows.keys());
    }
  }

  /** A value that a newer model no longer takes falls back to its default. */
  #restoreValue(row: MutableRow, name: string, text: string): void {
    const param = this.schema.params[name];
    if (!param || this.#options.computed?.[name]) return;
    try {
      row.values[name] = param.type.parse(text);
    } catch (error) {
      if (!(error instanceof ValueError)) throw error;
    }
  }
}

/** A row is gone, and its number is never used again: so are the parts that were kept for it. */
function forget(object: SupportedObject, key: string): void {
  for (const child of object.children.values()) {
    if (child.implementation instanceof StoredObject) child.implementation.drop(key);
    if (!child.schema.isTable) forget(child, key);
  }
}

/** The stored row with these instance numbers, of the object above. */
function parentRow(object: SupportedObject, numbers: readonly number[]): Row | undefined {
  const chain: SupportedObject[] = [];
  for (let at = object.parent; at; at = at.parent) chain.unshift(at);
  let row: Row | undefined;
  let used = 0;
  for (const { schema, implementation } of chain) {
    const instance = schema.isTable ? numbers[used++] : 0;
    row = implementation.row(row, instance ?? 0);
    if (row === undefined && schema.isTable) return undefined;
  }
  return row;
}

/** The topmost stored object above, or the object itself: they share a document. */
function groupOf(object: SupportedObject): string {
  let group = object.path;
  for (let at = object.parent; at; at = at.parent) if (at.implementation instanceof StoredObject) group = at.path;
  return group;
}

const asStored = (row: Row): StoredRow | undefined =>
  typeof row === "object" && row !== null && "key" in row && "values" in row ? (row as StoredRow) : undefined;

const keyOf = (parent: Row): string => asStored(parent)?.key ?? "";

const joinKey = (parent: string, instance: number): string => (parent === "" ? `${instance}` : `${parent}.${instance}`);
