/**
 * How a data model is declared: once. From a declaration follow the TypeScript types of its implementation, parsing and
 * validation, GetSupportedDM, `…NumberOfEntries`, unique keys, the TR-106 XML and the manual.
 */
import { unsignedInt, type ValueType } from "./values.ts";

export type ParamAccess = "readOnly" | "readWrite" | "writeOnce";

export interface Param<T = unknown, A extends ParamAccess = ParamAccess> {
  readonly type: ValueType<T>;
  readonly access: A;
  readonly description: string;
  /** Value on creation, and of a stored single object never written. */
  readonly default: T;
  /** Whether the declaration gave a default of its own (the XML prints only those). */
  readonly hasDefault: boolean;
  /** Read as empty without a role in SecuredRoles (TR-369 §"Secured parameters"). */
  readonly secured: boolean;
  /** A credential: nobody reads it back, whatever the role (TR-106 `hidden`). */
  readonly hidden: boolean;
  /** Counters and rates do not notify: VALUE_CHANGE_WILL_IGNORE. */
  readonly valueChange: boolean;
}

export interface ParamOptions<T> {
  readonly default?: T;
  readonly secured?: boolean;
  readonly hidden?: boolean;
  readonly valueChange?: boolean;
}

export interface Argument<T = unknown> {
  readonly type: ValueType<T>;
  readonly description: string;
  readonly mandatory: boolean;
  readonly secured: boolean;
  readonly default?: T;
}

export type Arguments = Readonly<Record<string, Argument>>;

export interface Command<I extends Arguments = Arguments, O extends Arguments = Arguments, R extends Rows = Rows> {
  readonly mode: "sync" | "async";
  /** Whether one that is asynchronous goes on after a restart. */
  readonly survives: boolean;
  readonly description: string;
  readonly input: I;
  readonly output: O;
  /** Output tables: `{ Row: { Start: … } }` is sent as `Row.1.Start`, `Row.2.Start`, … */
  readonly rows: R;
}

export type Rows = Readonly<Record<string, Arguments>>;

export interface Event<A extends Arguments = Arguments> {
  readonly description: string;
  readonly args: A;
}

export type Params = Readonly<Record<string, Param>>;
export type Commands = Readonly<Record<string, Command>>;
export type Events = Readonly<Record<string, Event>>;

/** A unique key: parameter names. A functional key may change by a Set; the others (Alias …) never do. */
export interface UniqueKey {
  readonly params: readonly string[];
  readonly functional: boolean;
}

export interface ObjectSchema<P extends Params = Params, C extends Commands = Commands, E extends Events = Events> {
  /** Supported path: `Device.X_SPIN.Rule.{i}.`. */
  readonly path: string;
  readonly description: string;
  readonly isTable: boolean;
  readonly canAdd: boolean;
  readonly canDelete: boolean;
  readonly keys: readonly UniqueKey[];
  readonly params: P;
  readonly commands: C;
  readonly events: E;
  /** Most rows; an Add past it gets 7005. */
  readonly maxRows: number;
}

export interface ObjectOptions<P extends Params, C extends Commands, E extends Events> {
  readonly description: string;
  /** Each a list of parameter names. `functionalKeys` are those that a Set may change. */
  readonly keys?: readonly (readonly (keyof P & string)[])[];
  readonly functionalKeys?: readonly (readonly (keyof P & string)[])[];
  /** What a controller may do to the table's rows. Default: nothing. */
  readonly rows?: "add-delete" | "delete" | "add";
  readonly maxRows?: number;
  readonly params?: P;
  readonly commands?: C;
  readonly events?: E;
}

const COMPONENT = /^(?:[A-Za-z_][A-Za-z0-9_]*|\{i\})$/;

/** Declares an object. @throws Error at load if the path breaks USP's grammar (TR-369 §"Path Names": no hyphen). */
export function object<
  const P extends Params = Record<never, never>,
  const C extends Commands = Record<never, never>,
  const E extends Events = Record<never, never>,
>(path: string, options: ObjectOptions<P, C, E>): ObjectSchema<P, C, E> {
  const parts = path.split(".");
  if (parts.pop() !== "" || parts[0] !== "Device" || !parts.every((part) => COMPONENT.test(part)))
    throw new Error(`${path} is not the path of an object`);
  const params = options.params ?? ({} as P);
  for (const name of Object.keys(options.commands ?? {})) mustMatch(path, name, /^[A-Za-z_][A-Za-z0-9_]*\(\)$/);
  for (const name of Object.keys(options.events ?? {})) mustMatch(path, name, /^[A-Za-z_][A-Za-z0-9_]*!$/);
  for (const name of Object.keys(params)) mustMatch(path, name, /^[A-Za-z_][A-Za-z0-9_]*$/);
  const key = (functional: boolean) => (names: readonly string[]) => ({ params: names, functional });
  return {
    path,
    description: options.description,
    isTable: parts.at(-1) === "{i}",
    canAdd: options.rows === "add-delete" || options.rows === "add",
    canDelete: options.rows === "add-delete" || options.rows === "delete",
    keys: [...(options.functionalKeys ?? []).map(key(true)), ...(options.keys ?? []).map(key(false))],
    params,
    commands: options.commands ?? ({} as C),
    events: options.events ?? ({} as E),
    maxRows: options.maxRows ?? 255,
  };
}

/** Commands are named `X()`, events `X!`, as in paths. */
function mustMatch(path: string, name: string, pattern: RegExp): void {
  if (!pattern.test(name)) throw new Error(`${path}${name} is not named as USP names it`);
}

function param<T, A extends ParamAccess>(
  access: A,
  type: ValueType<T>,
  description: string,
  options: ParamOptions<NoInfer<T>>,
): Param<T, A> {
  return {
    type,
    access,
    description,
    default: options.default ?? type.empty,
    hasDefault: options.default !== undefined,
    secured: options.secured ?? false,
    hidden: options.hidden ?? false,
    valueChange: options.valueChange ?? true,
  };
}

export const readOnly = <T>(type: ValueType<T>, description: string, options: ParamOptions<NoInfer<T>> = {}) =>
  param("readOnly", type, description, options);
export const readWrite = <T>(type: ValueType<T>, description: string, options: ParamOptions<NoInfer<T>> = {}) =>
  param("readWrite", type, description, options);
/** Writable once, at Add. GetSupportedDM reports it as READ_WRITE. */
export const writeOnce = <T>(type: ValueType<T>, description: string, options: ParamOptions<NoInfer<T>> = {}) =>
  param("writeOnce", type, description, options);

/** A counter or a rate: read-only, and never notified. */
export const counter = <T>(type: ValueType<T>, description: string) =>
  readOnly(type, description, { valueChange: false });

export function argument<T>(
  type: ValueType<T>,
  description: string,
  options: { mandatory?: boolean; secured?: boolean; default?: NoInfer<T> } = {},
): Argument<T> {
  return {
    type,
    description,
    mandatory: options.mandatory ?? false,
    secured: options.secured ?? false,
    ...(options.default === undefined ? {} : { default: options.default }),
  };
}

export function command<
  const I extends Arguments = Record<never, never>,
  const O extends Arguments = Record<never, never>,
  const R extends Rows = Record<never, never>,
>(
  mode: "sync" | "async",
  description: string,
  args: { input?: I; output?: O; rows?: R; survives?: boolean } = {},
): Command<NoInfer<I>, NoInfer<O>, NoInfer<R>> {
  return {
    mode,
    survives: args.survives ?? false,
    description,
    input: args.input ?? ({} as I),
    output: args.output ?? ({} as O),
    rows: args.rows ?? ({} as R),
  };
}

export function event<const A extends Arguments = Record<never, never>>(
  description: string,
  args: A = {} as A,
): Event<A> {
  return { description, args };
}

// Types that follow from a declaration.

export type ValueOf<X> = X extends { readonly type: ValueType<infer T> } ? T : never;
export type Values<P extends Params> = { readonly [K in keyof P]: ValueOf<P[K]> };
/** Arguments as a command gets them: those with a default or mandatory are always there. */
export type InputOf<A extends Arguments> = { readonly [K in keyof A]: ValueOf<A[K]> | undefined };
export type OutputOf<A extends Arguments> = { readonly [K in keyof A]: ValueOf<A[K]> };
export type OutputsOf<C extends Command> = OutputOf<C["output"]> & {
  readonly [K in keyof C["rows"]]: readonly OutputOf<C["rows"][K]>[];
};
/** What a Set may change of a row that exists. */
export type WritableNames<P extends Params> = {
  [K in keyof P]: P[K] extends { readonly access: "readWrite" } ? K : never;
}[keyof P];

/** The declared objects, sorted by path, each table's count added to the object above it. @throws Error on a gap. */
export function model(objects: readonly ObjectSchema[]): readonly ObjectSchema[] {
  const sorted = [...objects].sort((a, b) => (a.path < b.path ? -1 : 1));
  const counts = new Map<string, Record<string, Param>>();
  for (const { path, isTable } of sorted) {
    if (!isTable) continue;
    const parts = path.split(".");
    const name = parts[parts.length - 3] as string;
    const parent = `${parts.slice(0, -3).join(".")}.`;
    counts.set(parent, { ...counts.get(parent), [`${name}NumberOfEntries`]: countOf(name) });
  }
  const complete = sorted.map((schema) => {
    const added = counts.get(schema.path) ?? {};
    counts.delete(schema.path);
    return { ...schema, params: { ...schema.params, ...added } };
  });
  for (const [parent] of counts) throw new Error(`${parent} holds a table but is not declared`);
  return complete;
}

function countOf(table: string): Param {
  return readOnly(unsignedInt(), `Number of rows of the ${table} table.`);
}
