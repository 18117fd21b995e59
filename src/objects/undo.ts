/**
 * Undo: each controller's last changes of rules, schedules and lists, taken back as a whole, newest first. Kept in memory
 * alone, so not over a restart; what somebody else has changed since is left as it is, and nothing of that change is taken
 * back.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { AGENT } from "../model/implementation.ts";
import type { Caller, CommittedChange, InstanceNode, ModelTree, SupportedObject } from "../model/implementation.ts";
import { Transaction } from "../model/transaction.ts";

/** Changes that a controller can take back, controllers that are remembered, and rows of one change. */
const STEPS = 20;
const CALLERS = 32;
const ROWS = 1000;
/** What the agent writes into a row at its making, besides what controllers write. */
const KEPT = new Set(["Creator", "CreationDate", "Origin"]);

type Texts = ReadonlyMap<string, string>;

interface Entry {
  readonly kind: CommittedChange["kind"];
  readonly table: string;
  /** Moves with the row when that comes back under another number. */
  instance: number;
  /** Of a removed row all that makes it up; of a changed one, what changed: before, and after. */
  readonly before: Texts;
  readonly after: Texts;
}

type Step = Entry[];

export interface Undone {
  readonly what: string;
  /** Paths of the rows it touched, without final dot; those that came back have new numbers. */
  readonly rows: readonly string[];
}

export class UndoLog {
  #tree: ModelTree | undefined;
  readonly #steps = new Map<string, Step[]>();
  /** The step that changes of this turn of the event loop belong to. */
  #open: { readonly caller: string; readonly step: Step } | undefined;
  #isUndoing = false;

  attach(tree: ModelTree): void {
    this.#tree = tree;
  }

  /** From `committed` of a table: `table` is its path without `{i}.`. */
  record(table: string, change: CommittedChange): void {
    if (this.#isUndoing || change.caller === AGENT) return;
    const object = this.#tree?.object(table);
    if (!object) return;
    const step = this.#stepOf(change.caller.endpointId);
    if (step.length >= ROWS) return;
    const { kind, instance, row, before } = change;
    const now = (names: Iterable<string>) => textsOf(object, row, names);
    if (kind === "changed") {
      const names = [...change.params];
      // A row that was made in the same change is taken back by removing it.
      if (step.some((entry) => entry.kind === "added" && entry.table === table && entry.instance === instance)) return;
      const texts = new Map([...before].filter(([name]) => change.params.has(name)));
      step.push({ kind, table, instance, before: texts, after: now(names) });
    } else if (kind === "added") step.push({ kind, table, instance, before: new Map(), after: new Map() });
    else {
      const whole = new Map([...now(namesOf(object)), ...[...before].filter(([name]) => object.params.has(name))]);
      step.push({ kind, table, instance, before: whole, after: new Map() });
    }
  }

  /**
   * Takes back the caller's last change that is not taken back yet.
   * @throws UspError 7022: there is none, or somebody else changed what it changed
   */
  undo(tree: ModelTree, caller: Caller): Undone {
    const steps = this.#steps.get(caller.endpointId);
    const step = steps?.at(-1);
    if (!steps || !step)
      throw new UspError(
        UspErrorCode.CommandFailed,
        "there is no change of yours to take back since the agent started",
      );
    const transaction = new Transaction(tree, caller);
    const rows: string[] = [];
    const moved: { readonly table: string; readonly from: number; readonly to: number }[] = [];
    this.#isUndoing = true;
    try {
      for (const entry of [...step].reverse()) {
        const { table, instance } = entry;
        const to = takeBack(transaction, entry);
        rows.push(`${table}${to}`);
        if (to !== instance) moved.push({ table, from: instance, to });
      }
      transaction.check();
      transaction.commit();
    } catch (error) {
      transaction.rollback();
      throw error instanceof UspError ? new UspError(UspErrorCode.CommandFailed, error.message) : error;
    } finally {
      this.#isUndoing = false;
    }
    steps.pop();
    for (const { table, from, to } of moved)
      for (const entry of [...this.#steps.values()].flat(2))
        if (entry.table === table && entry.instance === from) entry.instance = to;
    return { what: describeStep(step), rows };
  }

  #stepOf(caller: string): Step {
    if (this.#open?.caller === caller) return this.#open.step;
    const steps = this.#steps.get(caller) ?? [];
    this.#steps.delete(caller);
    this.#steps.set(caller, steps);
    // Whoever changed nothing for longest is forgotten first.
    if (this.#steps.size > CALLERS) this.#steps.delete(this.#steps.keys().next().value as string);
    const step: Step = [];
    steps.push(step);
    if (steps.length > STEPS) steps.shift();
    this.#open = { caller, step };
    // A Message is carried out in one turn of the event loop.
    queueMicrotask(() => (this.#open = undefined));
    return step;
  }
}

/** @returns the row's number */
function takeBack(transaction: Transaction, { kind, table, instance, before, after }: Entry): number {
  const { tree } = transaction;
  const path = `${table}${instance}`;
  const node = tree.at(`${path}.`);
  if (kind === "removed") return addAgain(transaction, table, before).instance;
  if (!node) throw new UspError(UspErrorCode.CommandFailed, `${path} is not there any more`);
  if (kind === "added") transaction.remove(node);
  else
    for (const [name, text] of before) {
      if (tree.text(node, name) !== after.get(name))
        throw new UspError(UspErrorCode.CommandFailed, `${path}.${name} has been changed since`);
      write(transaction, node, name, text);
    }
  return instance;
}

function addAgain(transaction: Transaction, table: string, texts: Texts): InstanceNode {
  const { tree } = transaction;
  const object = tree.object(table) as SupportedObject;
  const parent = tree.at(table.slice(0, table.lastIndexOf(".", table.length - 2) + 1)) as InstanceNode;
  const { node } = transaction.add(parent, object, []);
  for (const [name, text] of texts) write(transaction, node, name, text);
  return node;
}

function write(transaction: Transaction, node: InstanceNode, name: string, text: string): void {
  const param = node.object.params.get(name);
  if (param) transaction.write(node, name, param.schema.type.parse(text));
}

/** What makes a row up: what controllers write, and what the agent wrote at its making. */
function* namesOf(object: SupportedObject): Iterable<string> {
  for (const { name, schema } of object.paramList) if (schema.access !== "readOnly" || KEPT.has(name)) yield name;
}

function textsOf(object: SupportedObject, row: unknown, names: Iterable<string>): Map<string, string> {
  const texts = new Map<string, string>();
  for (const name of names) {
    const param = object.params.get(name);
    if (param) texts.set(name, param.schema.type.print(param.read(row)));
  }
  return texts;
}

function describeStep(step: Step): string {
  const verbs = { added: "made", changed: "changed", removed: "deleted" } as const;
  const said = step.slice(0, 10).map(({ kind, table, instance }) => `${verbs[kind]} ${table}${instance}.`);
  if (step.length > said.length) said.push(`and ${step.length - said.length} more`);
  return said.join(", ");
}
