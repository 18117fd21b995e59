/**
 * Undo: each controller's last changes of rules, schedules and lists, taken back as a whole, newest first, as far as its
 * rights reach when it asks. Kept in memory alone, so not over a restart; what somebody else has changed since is left as
 * it is, and nothing of that change is taken back.
 */
import { ROOT } from "../../datamodel/spin-root.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { AGENT } from "../model/implementation.ts";
import type {
  Caller,
  CommandCall,
  CommittedChange,
  InstanceNode,
  MayChange,
  ModelTree,
  SupportedObject,
} from "../model/implementation.ts";
import { Transaction } from "../model/transaction.ts";

/** Changes that a controller can take back, and controllers that are remembered. */
const STEPS = 20;
const CALLERS = 32;
/** Characters of all that is remembered: some thousands of rules, as people write them. */
const CHARACTERS = 2 << 20;
/** What an entry takes besides its texts. */
const ENTRY_CHARACTERS = 200;
/** What the agent writes into a row at its making, besides what controllers write. */
const KEPT = new Set(["Creator", "CreationDate", "Origin"]);
/** Its rows name others' rows. */
const RULES = `${ROOT}Rule.`;

type Texts = ReadonlyMap<string, string>;

interface Entry {
  readonly kind: CommittedChange["kind"];
  readonly table: string;
  /** Moves with the row when that comes back under another number, as do the texts that name it. */
  instance: number;
  /** Of a removed row all that makes it up; of a changed one what changed: before, and after; of a new one, after. */
  before: Texts;
  after: Texts;
}

interface Step {
  readonly caller: string;
  readonly entries: Entry[];
  characters: number;
  /** Too much was changed at once to remember. */
  isLost: boolean;
}

/** A row that came back: its old path and its new one, without final dot. */
interface Move {
  readonly table: string;
  readonly from: number;
  readonly to: number;
}

export interface Undone {
  readonly what: string;
  /** Paths of the rows it touched, without final dot; those that came back have new numbers. */
  readonly rows: readonly string[];
}

export class UndoLog {
  #tree: ModelTree | undefined;
  /** By controller, whoever changed something last at the end. */
  readonly #steps = new Map<string, Step[]>();
  #characters = 0;
  /** The step that changes of this turn of the event loop belong to. */
  #open: Step | undefined;
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
    const { kind, instance, row, before } = change;
    const now = (names: Iterable<string>) => textsOf(object, row, names);
    if (kind === "changed") {
      // A row that was made in the same change is taken back by removing it.
      const isNew = (entry: Entry) => entry.kind === "added" && entry.table === table && entry.instance === instance;
      if (step.entries.some(isNew)) return;
      const texts = new Map([...before].filter(([name]) => change.params.has(name)));
      this.#keep(step, { kind, table, instance, before: texts, after: now(change.params) });
    } else if (kind === "added")
      this.#keep(step, { kind, table, instance, before: new Map(), after: now(namesOf(object)) });
    else {
      const whole = new Map([...now(namesOf(object)), ...[...before].filter(([name]) => object.params.has(name))]);
      this.#keep(step, { kind, table, instance, before: whole, after: new Map() });
    }
  }

  /**
   * Takes back the caller's last change that is not taken back yet. One that can't be taken back any more is passed over.
   * @throws UspError 7022: there is none, or somebody else changed what it changed; 7006: it is not the caller's to write now
   */
  undo({ tree, caller, mayChange }: Pick<CommandCall, "tree" | "caller" | "mayChange">): Undone {
    const steps = this.#steps.get(caller.endpointId);
    const step = steps?.at(-1);
    if (!steps || !step)
      throw new UspError(
        UspErrorCode.CommandFailed,
        "there is no change of yours to take back since the agent started",
      );
    this.#isUndoing = true;
    this.#open = undefined;
    try {
      const { rows, moves } = takeBackAll(tree, caller, mayChange, step);
      this.#drop(steps, steps.length - 1);
      const others = [...this.#steps.values()].flat().flatMap(({ entries }) => entries);
      for (const entry of others) for (const move of moves) follow(entry, move);
      return { what: describeStep(step), rows };
    } catch (error) {
      if (!(error instanceof PassedOver)) throw error;
      this.#drop(steps, steps.length - 1);
      throw new UspError(UspErrorCode.CommandFailed, `${error.message}; it is passed over now`);
    } finally {
      this.#isUndoing = false;
    }
  }

  #stepOf(caller: string): Step {
    if (this.#open?.caller === caller) return this.#open;
    const steps = this.#steps.get(caller) ?? [];
    this.#steps.delete(caller);
    this.#steps.set(caller, steps);
    const step: Step = { caller, entries: [], characters: 0, isLost: false };
    steps.push(step);
    if (steps.length > STEPS) this.#drop(steps, 0);
    if (this.#steps.size > CALLERS) this.#forgetOldest(STEPS, step);
    this.#open = step;
    // A Message is carried out in one turn of the event loop.
    queueMicrotask(() => (this.#open = undefined));
    return step;
  }

  #keep(step: Step, entry: Entry): void {
    if (step.isLost) return;
    let characters = ENTRY_CHARACTERS;
    for (const texts of [entry.before, entry.after])
      for (const [name, text] of texts) characters += name.length + text.length;
    step.entries.push(entry);
    step.characters += characters;
    this.#characters += characters;
    // Whoever changed nothing for longest is forgotten first.
    while (this.#characters > CHARACTERS && this.#characters > step.characters) this.#forgetOldest(1, step);
    if (step.characters <= CHARACTERS) return;
    this.#characters -= step.characters;
    step.characters = 0;
    step.entries.length = 0;
    step.isLost = true;
  }

  /** So many steps of whoever changed nothing for longest, but not the one given. */
  #forgetOldest(count: number, but?: Step): void {
    for (const [caller, steps] of this.#steps) {
      if (steps[0] === but) continue;
      for (let i = 0; i < count && steps.length > 0; i++) this.#drop(steps, 0);
      if (steps.length === 0) this.#steps.delete(caller);
      return;
    }
  }

  #drop(steps: Step[], index: number): void {
    const [dropped] = steps.splice(index, 1);
    this.#characters -= dropped?.characters ?? 0;
  }
}

/** Why a step can't be taken back, and never will be. */
class PassedOver extends Error {}

/** @throws PassedOver; UspError */
function takeBackAll(tree: ModelTree, caller: Caller, mayChange: MayChange, { entries, isLost }: Step) {
  if (isLost) throw new PassedOver("your last change was of more rows than are remembered");
  // What a row was, it becomes again, the agent's too: whether the caller may is asked of `mayChange`.
  const transaction = new Transaction(tree, { ...caller, roles: new Set([...caller.roles, ...AGENT.roles]) });
  const rows: string[] = [];
  const moves: Move[] = [];
  try {
    for (const entry of [...entries].reverse()) {
      const { table, instance } = entry;
      const to = takeBack(transaction, mayChange, entry);
      rows.push(`${table}${to}`);
      if (to !== instance) moves.push({ table, from: instance, to });
    }
    for (const move of moves) followInRules(transaction, move);
    transaction.check();
    transaction.commit();
  } catch (error) {
    transaction.rollback();
    if (!(error instanceof UspError) || error.code === UspErrorCode.PermissionDenied) throw error;
    throw new UspError(UspErrorCode.CommandFailed, error.message);
  }
  return { rows, moves };
}

/** @returns the row's number */
function takeBack(
  transaction: Transaction,
  mayChange: MayChange,
  { kind, table, instance, before, after }: Entry,
): number {
  const { tree } = transaction;
  const path = `${table}${instance}`;
  const node = tree.at(`${path}.`);
  if (kind === "removed") return addAgain(transaction, mayChange, table, before).instance;
  if (!node) throw new PassedOver(`${path} is not there any more`);
  for (const [name, text] of after)
    if (tree.text(node, name) !== text) throw new PassedOver(`${path}.${name} has been changed since`);
  if (kind === "added") {
    mayChange("removed", node);
    transaction.remove(node);
  } else {
    mayChange("changed", node, settingsOf(node, before));
    for (const [name, text] of before) write(transaction, node, name, text);
  }
  return instance;
}

function addAgain(transaction: Transaction, mayChange: MayChange, table: string, texts: Texts): InstanceNode {
  const { tree } = transaction;
  const object = tree.object(table) as SupportedObject;
  const parent = tree.at(table.slice(0, table.lastIndexOf(".", table.length - 2) + 1)) as InstanceNode;
  const { node } = transaction.add(parent, object, []);
  const settings = settingsOf(node, texts);
  for (const [name, text] of texts) write(transaction, node, name, text);
  mayChange("added", node, settings);
  return node;
}

/** What would have to be written to make the row so, but for what only the agent writes. */
function settingsOf({ object, row }: InstanceNode, texts: Texts) {
  const now = textsOf(object, row, texts.keys());
  return [...texts].flatMap(([param, value]) =>
    object.params.get(param)?.schema.access === "readOnly" || now.get(param) === value ? [] : [{ param, value }],
  );
}

function write(transaction: Transaction, node: InstanceNode, name: string, text: string): void {
  const param = node.object.params.get(name);
  if (param) transaction.write(node, name, param.schema.type.parse(text));
}

/** Rules that name the row hold as they did: by its new number. */
function followInRules(transaction: Transaction, { table, from, to }: Move): void {
  const rules = transaction.tree.object(RULES);
  if (!rules) return;
  for (const node of transaction.tree.all(rules))
    for (const { name, read, schema } of rules.paramList) {
      const value = schema.access === "readOnly" ? undefined : read(node.row);
      if (!Array.isArray(value) || !value.includes(`${table}${from}`)) continue;
      const moved = (value as unknown[]).map((member) => (member === `${table}${from}` ? `${table}${to}` : member));
      transaction.write(node, name, moved);
    }
}

/** The same in what is remembered. */
function follow(entry: Entry, { table, from, to }: Move): void {
  if (entry.table === table && entry.instance === from) entry.instance = to;
  const moved = (texts: Texts): Texts => {
    const changed = [...texts].filter(([, text]) => text.includes(`${table}${from}`));
    if (changed.length === 0) return texts;
    const members = (text: string) => text.split(",").map((one) => (one === `${table}${from}` ? `${table}${to}` : one));
    return new Map([...texts, ...changed.map(([name, text]) => [name, members(text).join(",")] as const)]);
  };
  entry.before = moved(entry.before);
  entry.after = moved(entry.after);
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

function describeStep({ entries }: Step): string {
  const verbs = { added: "made", changed: "changed", removed: "deleted" } as const;
  const said = entries.slice(0, 10).map(({ kind, table, instance }) => `${verbs[kind]} ${table}${instance}.`);
  if (entries.length > said.length) said.push(`and ${entries.length - said.length} more`);
  return said.join(", ");
}
