/**
 * The shapes of the live model: supported objects, the instances that exist, and what stands behind a declared object.
 * Two kinds of implementation exist: `bind()` for what SPIN or the system knows (binding.ts), and
 * `table()` for rows and settings that controllers own (table.ts). Here only their common, untyped shape.
 */
import type { Command, Event, ObjectSchema, Param } from "../../datamodel/schema.ts";
import type { ChangeFeed } from "./changes.ts";

/** Whatever the implementation keeps of a row; opaque to all others. Never `undefined` for a row that exists. */
export type Row = unknown;

export interface SupportedParam {
  readonly name: string;
  readonly schema: Param;
  readonly object: SupportedObject;
  /** The typed value. Text is `schema.type.print` of it. */
  readonly read: (row: Row) => unknown;
}

export interface SupportedCommand {
  readonly name: string;
  readonly schema: Command;
  readonly run: CommandHandler;
}

export interface SupportedObject {
  /** Supported path, `Device.X_SPIN.Rule.{i}.`. */
  readonly path: string;
  /** Last name of the path: `Rule`. */
  readonly name: string;
  readonly schema: ObjectSchema;
  readonly parent: SupportedObject | undefined;
  readonly children: ReadonlyMap<string, SupportedObject>;
  readonly params: ReadonlyMap<string, SupportedParam>;
  readonly paramList: readonly SupportedParam[];
  readonly commands: ReadonlyMap<string, SupportedCommand>;
  readonly events: ReadonlyMap<string, Event>;
  readonly implementation: Implementation;
}

/** An object that exists: a row of a table or a single object. Made anew at each look-up; keep `path`, not the node. */
export interface InstanceNode {
  readonly object: SupportedObject;
  /** Instance path, `Device.X_SPIN.Rule.3.`. */
  readonly path: string;
  readonly parent: InstanceNode | undefined;
  readonly row: Row;
  /** Instance number; 0 for a single object. */
  readonly instance: number;
}

/** What the live tree (tree.ts) offers: look-ups that make nodes anew each time. */
export interface ModelTree {
  readonly root: SupportedObject;
  readonly changes: ChangeFeed;
  /** Parameters of reference type, for the clean-up after a deletion. */
  readonly referrers: readonly SupportedParam[];
  /** By supported path; a table's with or without its final `{i}.`. */
  object(path: string): SupportedObject | undefined;
  objects(): IterableIterator<SupportedObject>;
  rootNode(): InstanceNode;
  /** The single-instance child; `undefined` if it is not there now. */
  single(parent: InstanceNode, object: SupportedObject): InstanceNode | undefined;
  row(parent: InstanceNode, object: SupportedObject, instance: number): InstanceNode | undefined;
  rows(parent: InstanceNode, object: SupportedObject): IterableIterator<InstanceNode>;
  /** All instances of an object anywhere. */
  all(object: SupportedObject): IterableIterator<InstanceNode>;
  /** The node of a plain instance path (`Device.X_SPIN.Rule.3.`, final dot optional); `undefined` if it is not there. */
  at(path: string): InstanceNode | undefined;
  /** Text of a parameter for the agent itself: no access control, secured values in clear. */
  text(node: InstanceNode, name: string): string | undefined;
}

/** What an implementation sees of the transaction that changes it. */
export interface Change {
  readonly tree: ModelTree;
  readonly caller: Caller;
  /** How to take back what was just written. */
  undo(action: () => void): void;
  /** Text that a parameter of a row had before, where the transaction wrote it; absent, too, of a row that it made. */
  before(row: Row, param: string): string | undefined;
}

/** On whose behalf something happens. */
export interface Caller {
  /** Endpoint id; empty for the agent itself. */
  readonly endpointId: string;
  /** Instance path of its `Device.LocalAgent.Controller.{i}`, without final dot; empty if it has none. */
  readonly controller: string;
  /** Names of its roles, e.g. `Operator`. The agent itself has `Agent`. */
  readonly roles: ReadonlySet<string>;
  /** Whether secured values may be shown to it. */
  readonly mayReadSecured: boolean;
}

/** The agent itself: every right. */
export const AGENT: Caller = { endpointId: "", controller: "", roles: new Set(["Agent"]), mayReadSecured: true };

/** What a command is told besides its arguments. */
export interface CommandCall {
  readonly tree: ModelTree;
  readonly caller: Caller;
  /** Instance path of the object it runs on. */
  readonly objectPath: string;
  readonly commandKey: string;
  /** Milliseconds since 1970: when it was asked for, perhaps before a restart. */
  readonly startedAt: number;
  /** Aborted by Request.Cancel() and when the agent stops; only asynchronous commands need look. */
  readonly signal: AbortSignal;
  /** For commands that change rows as Add, Set and Delete would. @throws UspError 7006 where the caller may not by those */
  readonly mayChange: MayChange;
}

/** `settings`: what is written; none where the row is deleted. A row that was added is judged when it stands. */
export type MayChange = (
  kind: "added" | "changed" | "removed",
  node: InstanceNode,
  settings?: readonly { readonly param: string; readonly value: string }[],
) => void;

/** Typed arguments by name; an output table as `{ Row: [{…}, …] }`. Throws UspError to fail. */
export type CommandHandler = (
  row: Row,
  args: Readonly<Record<string, unknown>>,
  call: CommandCall,
) => CommandOutputs | Promise<CommandOutputs>;

export type CommandOutputs = Readonly<Record<string, unknown>>;

export interface Implementation {
  readonly schema: ObjectSchema;
  /** Whether a single object may be absent (its `row` is then `undefined`). */
  readonly optional?: boolean;
  /** Called once, when the tree is whole. */
  attach?(tree: ModelTree, object: SupportedObject): void;
  /** Instance numbers below the parent's row, ascending. Tables only. */
  instances(parent: Row): Iterable<number>;
  /** The row with that instance number; of a single object (instance 0) its own row, or the parent's. */
  row(parent: Row, instance: number): Row | undefined;
  /** Instance number of the row with that unique key value, where there is a faster way than trying all. */
  find?(parent: Row, param: string, value: unknown): number | undefined;
  reader(param: string): (row: Row) => unknown;
  /** Throws UspError where the parameter of a row that exists may not become `value` by a Set. */
  guard?(row: Row, param: string, value: unknown, transaction: Change): void;
  /** Writes a validated value and registers its undo with the transaction. */
  write(row: Row, param: string, value: unknown, transaction: Change): void;
  /** Makes a row with default values and registers its undo. Tables that can be added to. */
  add?(parent: Row, transaction: Change): { readonly instance: number; readonly row: Row };
  /** Whether the row, as it stands, makes sense: throws UspError (7007, 7012, 7014) if not. At the end of a transaction. */
  validate?(row: Row, transaction: Change): void;
  /** Removes the row and registers its undo. */
  remove?(parent: Row, instance: number, transaction: Change): void;
  /** After the commit of a transaction that touched the object: persist, tell the core. */
  committed?(change: CommittedChange): void;
  command(name: string): CommandHandler;
}

export interface CommittedChange {
  readonly kind: "added" | "changed" | "removed";
  readonly row: Row;
  readonly instance: number;
  /** Names of the parameters whose text changed; empty for added and removed. */
  readonly params: ReadonlySet<string>;
  /** Texts that parameters had before, of those that the transaction wrote. */
  readonly before: ReadonlyMap<string, string>;
  readonly caller: Caller;
}
