/**
 * Computed objects: what SPIN or the system knows, read through. A missing or extra parameter, command or event in a
 * binding does not compile.
 */
import type {
  Commands,
  InputOf,
  ObjectSchema,
  OutputsOf,
  Params,
  ValueOf,
  WritableNames,
} from "../../datamodel/schema.ts";
import type { Change, CommandCall, CommandHandler, CommittedChange, Implementation, Row } from "./implementation.ts";

type Setters<P extends Params, R> = {
  /** Writes the value and returns how to take it back. Must not fail: the value has passed its type. */
  readonly [K in WritableNames<P>]: (row: R, value: ValueOf<P[K]>) => () => void;
};

type Handlers<C extends Commands, R> = {
  readonly [K in keyof C]: (
    row: R,
    args: InputOf<C[K]["input"]>,
    call: CommandCall,
  ) => OutputsOf<C[K]> | Promise<OutputsOf<C[K]>>;
};

interface BindingBase<P extends Params, R, Parent> {
  readonly get: { readonly [K in keyof P]: (row: R) => ValueOf<P[K]> };
  /** Once a transaction that wrote the object is final. */
  readonly committed?: (change: CommittedChange & { readonly row: R }) => void;
  readonly validate?: (row: R, transaction: Change) => void;
  readonly rows?: RowsOf<R, Parent>;
}

export interface RowsOf<R, Parent> {
  /** Instance numbers, ascending. */
  instances(parent: Parent): Iterable<number>;
  row(parent: Parent, instance: number): R | undefined;
  /** Instance number by a unique key of one parameter. */
  find?(parent: Parent, param: string, value: unknown): number | undefined;
  /** Removes the row for good and returns how to take that back. */
  remove?(parent: Parent, instance: number): () => void;
}

/** `set` and `commands` are asked for exactly when the schema has something to set or run. */
export type Binding<P extends Params, C extends Commands, R, Parent> = BindingBase<P, R, Parent> &
  ([WritableNames<P>] extends [never] ? { readonly set?: undefined } : { readonly set: Setters<P, R> }) &
  ([keyof C] extends [never] ? { readonly commands?: undefined } : { readonly commands: Handlers<C, R> });

/** Joins a single object to what it reads from; `of` maps the parent's row to this object's (default: the same). */
export function bind<P extends Params, C extends Commands, R = undefined, Parent = R>(
  schema: ObjectSchema<P, C>,
  binding: Binding<P, C, R, Parent> & { readonly of?: (parent: Parent) => R },
): Implementation {
  const get = binding.get as Readonly<Record<string, (row: Row) => unknown>>;
  const set = (binding.set ?? {}) as Readonly<Record<string, (row: Row, value: unknown) => () => void>>;
  const commands = (binding.commands ?? {}) as Readonly<Record<string, CommandHandler>>;
  const rows = binding.rows as RowsOf<Row, Row> | undefined;
  if (schema.isTable && !rows) throw new Error(`${schema.path} is a table: its binding needs rows`);
  const of = binding.of as ((parent: Row) => Row) | undefined;
  return {
    schema: schema,
    instances: (parent) => rows?.instances(parent) ?? [],
    row: (parent, instance) => (rows ? rows.row(parent, instance) : of ? of(parent) : parent),
    ...(rows?.find ? { find: rows.find.bind(rows) } : {}),
    reader: (param) => get[param] as (row: Row) => unknown,
    write: (row, param, value, transaction) => {
      const write = set[param];
      if (!write) throw new TypeError(`${schema.path}${param} is not writable`);
      transaction.undo(write(row, value));
    },
    ...(rows?.remove
      ? {
          remove: (parent: Row, instance: number, transaction: Change) =>
            transaction.undo((rows.remove as NonNullable<typeof rows.remove>)(parent, instance)),
        }
      : {}),
    ...(binding.committed ? { committed: binding.committed } : {}),
    ...(binding.validate ? { validate: binding.validate } : {}),
    command: (name) => commands[name] as CommandHandler,
  };
}
