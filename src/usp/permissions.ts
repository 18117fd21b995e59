/**
 * What a set of roles may do (TR-369 §"Role Based Access Control"): the rows of `ControllerTrust.Role.{i}.Permission.{i}.`
 * compiled, once per set of roles and object, and forgotten when a row changes. Within a role the matching Permission with
 * the largest Order decides alone; what several roles allow adds up.
 */
import { UspError } from "../lib/usp-error.ts";
import type { Log } from "../lib/log.ts";
import { compileMatcher, type Matcher } from "../model/matcher.ts";
import type { InstanceNode, SupportedObject, SupportedParam, Tree } from "../model/tree.ts";
import { checkTarget, parseTarget } from "./permission-targets.ts";
import { parseRights, READ } from "./rights.ts";

/** What one may do to an object: bits of rights.ts. */
export interface ObjectAccess {
  /** Obj: r use in paths and GetSupportedDM, w Add, n ObjectCreation. */
  readonly object: number;
  /** InstantiatedObj: r GetInstances, w Delete, n ObjectDeletion. */
  readonly instance: number;
  /** Param r, in the order declared. */
  readonly readable: readonly SupportedParam[];
  /** Param: r Get, w Set and Add, n ValueChange. */
  param(name: string): number;
  /** CommandEvent: r GetSupportedDM, x Operate, n Event and OperationComplete. */
  element(name: string): number;
}

/** What a set of roles may do, by object and by row. */
export interface Access {
  /** Of the object wherever it is; of permissions for some rows only it is what all rows have in common. */
  of(object: SupportedObject): ObjectAccess;
  at(node: InstanceNode): ObjectAccess;
  /** Of a row that is gone; where the permission depends on values it had, the least that it could be. */
  atPath(object: SupportedObject, path: string): ObjectAccess;
  /** Whether the object or anything below it may be read, of some row at least. */
  visible(object: SupportedObject): boolean;
}

interface Rule {
  /** Index of the role. */
  readonly role: number;
  readonly order: number;
  readonly matcher: Matcher;
  readonly param: number;
  readonly object: number;
  readonly instance: number;
  readonly element: number;
}

export class Permissions {
  readonly #tree: Tree;
  readonly #log: Log;
  readonly #compiled = new Map<string, Access>();

  constructor(tree: Tree, log: Log) {
    this.#tree = tree;
    this.#log = log;
  }

  /** By instance paths of roles, without final dot. */
  of(roles: readonly string[]): Access {
    const key = [...roles].sort().join(" ");
    let access = this.#compiled.get(key);
    if (!access) {
      access = new CompiledAccess(this.#rules(roles));
      this.#compiled.set(key, access);
    }
    return access;
  }

  /** A role or a permission changed. */
  invalidate(): void {
    this.#compiled.clear();
  }

  #rules(roles: readonly string[]): Rule[] {
    const rules: Rule[] = [];
    roles.forEach((path, role) => {
      const node = this.#tree.at(path);
      const table = node?.object.children.get("Permission");
      if (!node || !table || !isOn(node)) return;
      for (const row of this.#tree.rows(node, table)) if (isOn(row)) this.#addRules(rules, role, row);
    });
    return rules;
  }

  #addRules(rules: Rule[], role: number, row: InstanceNode): void {
    const rights = (name: string) => parseRights(this.#tree.text(row, name) ?? "");
    const value = {
      role,
      order: valueOf(row, "Order") as number,
      param: rights("Param"),
      object: rights("Obj"),
      instance: rights("InstantiatedObj"),
      element: rights("CommandEvent"),
    };
    for (const target of valueOf(row, "Targets") as readonly string[]) {
      try {
        const path = parseTarget(target);
        checkTarget(this.#tree, path); // one kept by an older version
        rules.push({ ...value, matcher: compileMatcher(this.#tree, path) });
      } catch (error) {
        if (!(error instanceof UspError)) throw error;
        // A target that this device does not have gives and takes nothing.
        this.#log.debug(`${row.path}Targets: ${error.message}`);
      }
    }
  }
}

const valueOf = (node: InstanceNode, name: string): unknown => node.object.params.get(name)?.read(node.row);
const isOn = (node: InstanceNode): boolean => valueOf(node, "Enable") === true;

/** The rules that reach one object, and what follows from each set of them that holds for a row. */
interface Reach {
  readonly rules: readonly Rule[];
  /** Those that hold for some rows only. */
  readonly conditional: readonly number[];
  /** What follows where no rule is conditional. */
  fixed: ObjectAccess | undefined;
  /** By bits of `conditional`. */
  readonly outcomes: Map<bigint, ObjectAccess>;
}

class CompiledAccess implements Access {
  readonly #rules: readonly Rule[];
  readonly #reach = new Map<SupportedObject, Reach>();
  readonly #visible = new Map<SupportedObject, boolean>();

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  of(object: SupportedObject): ObjectAccess {
    const reach = this.#reachOf(object);
    if (reach.conditional.length === 0) return (reach.fixed ??= decide(object, reach.rules));
    return this.#least(object, reach, () => undefined);
  }

  at(node: InstanceNode): ObjectAccess {
    const reach = this.#reachOf(node.object);
    if (reach.conditional.length === 0) return (reach.fixed ??= decide(node.object, reach.rules));
    let holding = 0n;
    for (let i = 0; i < reach.conditional.length; i++) {
      const rule = reach.rules[reach.conditional[i] as number] as Rule;
      if (rule.matcher.matches(node)) holding |= 1n << BigInt(i);
    }
    return this.#outcome(node.object, reach, holding);
  }

  atPath(object: SupportedObject, path: string): ObjectAccess {
    return this.#least(object, this.#reachOf(object), (rule) => rule.matcher.matchesPath(path));
  }

  visible(object: SupportedObject): boolean {
    let visible = this.#visible.get(object);
    if (visible === undefined) {
      const reach = this.#reachOf(object);
      visible =
        reach.conditional.length > 0
          ? reach.rules.some((rule) => ((rule.object | rule.param) & READ) !== 0)
          : (this.of(object).object & READ) !== 0 || this.of(object).readable.length > 0;
      if (!visible) for (const child of object.children.values()) visible ||= this.visible(child);
      this.#visible.set(object, visible);
    }
    return visible;
  }

  #reachOf(object: SupportedObject): Reach {
    let reach = this.#reach.get(object);
    if (!reach) {
      const rules = this.#rules.filter(({ matcher }) =>
        matcher.leaf === undefined ? isWithin(object, matcher.object) : matcher.object === object,
      );
      const conditional = rules.flatMap(({ matcher }, i) => (matcher.isStatic ? [] : [i]));
      reach = { rules, conditional, fixed: undefined, outcomes: new Map() };
      this.#reach.set(object, reach);
    }
    return reach;
  }

  #outcome(object: SupportedObject, reach: Reach, holding: bigint): ObjectAccess {
    let outcome = reach.outcomes.get(holding);
    if (!outcome) {
      const rules = reach.rules.filter((_, i) => {
        const at = reach.conditional.indexOf(i);
        return at < 0 || (holding >> BigInt(at)) & 1n;
      });
      outcome = decide(object, rules);
      reach.outcomes.set(holding, outcome);
    }
    return outcome;
  }

  /** What remains when each rule that nobody can decide goes against the caller. */
  #least(object: SupportedObject, reach: Reach, holds: (rule: Rule) => boolean | undefined): ObjectAccess {
    let most = 0n;
    let fewest = 0n;
    reach.conditional.forEach((index, i) => {
      const known = holds(reach.rules[index] as Rule);
      if (known !== false) most |= 1n << BigInt(i);
      if (known === true) fewest |= 1n << BigInt(i);
    });
    const one = this.#outcome(object, reach, fewest);
    return most === fewest ? one : both(one, this.#outcome(object, reach, most));
  }
}

/** Per role the rule of largest Order, over roles the sum. */
function decide(object: SupportedObject, rules: readonly Rule[]): ObjectAccess {
  const pick = (leaf: string | undefined, rights: (rule: Rule) => number): number => {
    const best = new Map<number, Rule>();
    for (const rule of rules) {
      if (rule.matcher.leaf !== undefined && rule.matcher.leaf !== leaf) continue;
      const other = best.get(rule.role);
      if (!other || rule.order > other.order) best.set(rule.role, rule);
    }
    let sum = 0;
    for (const rule of best.values()) sum |= rights(rule);
    return sum;
  };
  const ofObject = pick(undefined, (rule) => rule.object);
  const mayResolve = (ofObject & READ) !== 0;
  // A parameter of an object that may not be named is not readable either, unless a Target names the parameter itself.
  const ofParam = ({ param, matcher }: Rule) => (mayResolve || matcher.leaf !== undefined ? param : param & ~READ);
  const params = new Map<string, number>();
  for (const name of object.params.keys()) params.set(name, pick(name, ofParam));
  const elements = new Map<string, number>();
  for (const name of [...object.commands.keys(), ...object.events.keys()])
    elements.set(
      name,
      pick(name, ({ element }) => element),
    );
  return {
    object: ofObject,
    instance: pick(undefined, (rule) => rule.instance),
    readable: object.paramList.filter(({ name }) => ((params.get(name) as number) & READ) !== 0),
    param: (name) => params.get(name) ?? 0,
    element: (name) => elements.get(name) ?? 0,
  };
}

function both(a: ObjectAccess, b: ObjectAccess): ObjectAccess {
  return {
    object: a.object & b.object,
    instance: a.instance & b.instance,
    readable: a.readable.filter((param) => b.readable.includes(param)),
    param: (name) => a.param(name) & b.param(name),
    element: (name) => a.element(name) & b.element(name),
  };
}

function isWithin(object: SupportedObject, ancestor: SupportedObject): boolean {
  for (let at: SupportedObject | undefined = object; at; at = at.parent) if (at === ancestor) return true;
  return false;
}
