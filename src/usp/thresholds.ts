/**
 * `Device.LocalAgent.Threshold.{i}.`: numbers that a controller has watched, and `Triggered!` when one passes its value
 * (TR-181). What notifies is judged when it changes; counters, which do not, are looked at every few seconds while
 * somebody wants it. A number that is seen for the first time has passed nothing.
 */
import { UspError } from "../lib/usp-error.ts";
import type { ModelChange } from "../model/changes.ts";
import { compileMatcher, type Matcher } from "../model/matcher.ts";
import { parsePath } from "../model/path.ts";
import type { Viewer } from "../model/resolve.ts";
import { Transaction } from "../model/transaction.ts";
import type { InstanceNode, SupportedParam, Tree } from "../model/tree.ts";
import type { View } from "./view.ts";

export interface ThresholdParts {
  readonly tree: Tree;
  /** How the controller at that path sees the model now. */
  readonly view: (controller: string) => View | undefined;
  /** Tells an event, whose arguments depend on who is told. */
  readonly tell: (
    change: Extract<ModelChange, { kind: "event" }>,
    args: (view: View) => Readonly<Record<string, string>>,
  ) => void;
}

const TABLE = "Device.LocalAgent.Threshold.";
const SAMPLE_MS = 5_000;
/** Rows that one threshold watches; of more, those that come later are not. */
const MAX_WATCHED = 4096;

type Operator = "Rise" | "Fall" | "Cross" | "Eq" | "NotEq";

interface Threshold {
  /** Instance path, with final dot. */
  readonly path: string;
  /** Instance path without final dot. */
  readonly controller: string;
  readonly matcher: Matcher;
  readonly param: SupportedParam;
  readonly operator: Operator;
  readonly value: number;
  readonly isSingle: boolean;
  /** Last value seen, by the object's path. */
  readonly last: Map<string, number>;
}

const PASSES: Readonly<Record<Operator, (before: number, now: number, value: number) => boolean>> = {
  Rise: (before, now, value) => before < value && now >= value,
  Fall: (before, now, value) => before > value && now <= value,
  Cross: (before, now, value) => (before < value && now >= value) || (before > value && now <= value),
  Eq: (before, now, value) => before !== value && now === value,
  NotEq: (before, now, value) => before === value && now !== value,
};

export class Thresholds {
  readonly #parts: ThresholdParts;
  readonly #rows = new Map<string, Threshold>();
  #sampling: NodeJS.Timeout | undefined;

  constructor(parts: ThresholdParts) {
    this.#parts = parts;
  }

  start(): void {
    const table = this.#parts.tree.object(TABLE);
    if (table) for (const node of this.#parts.tree.all(table)) this.#load(node);
  }

  stop(): void {
    clearInterval(this.#sampling);
    this.#sampling = undefined;
    this.#rows.clear();
  }

  /** Called by the change feed. */
  handle(change: ModelChange): void {
    if (change.kind === "event" || change.kind === "operationComplete") return;
    if (change.path.startsWith(TABLE)) this.#rowChanged(change);
    if (this.#rows.size === 0) return;
    if (change.kind === "deleted")
      for (const { last } of this.#rows.values())
        for (const path of last.keys()) if (path.startsWith(change.path)) last.delete(path);
    if (change.kind !== "value") return;
    let node: InstanceNode | undefined;
    for (const threshold of this.#rows.values()) {
      if (threshold.param.name !== change.param) continue;
      node ??= this.#parts.tree.at(change.path);
      if (node && node.object === threshold.param.object && threshold.matcher.matches(node))
        this.#judge(threshold, node);
    }
  }

  #rowChanged(change: ModelChange): void {
    const node = change.kind === "deleted" ? undefined : this.#parts.tree.at(change.path);
    if (node) this.#load(node);
    else this.#rows.delete(change.path);
    this.#arm();
  }

  #load(node: InstanceNode): void {
    const threshold = readThreshold(this.#parts.tree, node, this.#viewerOf(node));
    if (!threshold) this.#rows.delete(node.path);
    else {
      this.#rows.set(node.path, threshold);
      this.#look(threshold);
    }
    this.#arm();
  }

  /** Judges all that it watches; the first time there is nothing to judge yet. */
  #look(threshold: Threshold): void {
    for (const node of this.#parts.tree.all(threshold.param.object))
      if (threshold.matcher.matches(node)) this.#judge(threshold, node);
  }

  #arm(): void {
    const isWanted = [...this.#rows.values()].some(({ param }) => !param.schema.valueChange);
    if (isWanted === (this.#sampling !== undefined)) return;
    clearInterval(this.#sampling);
    this.#sampling = isWanted ? setInterval(() => this.#sample(), SAMPLE_MS).unref() : undefined;
  }

  #sample(): void {
    for (const threshold of [...this.#rows.values()]) if (!threshold.param.schema.valueChange) this.#look(threshold);
  }

  #judge(threshold: Threshold, node: InstanceNode): void {
    const { last, param, operator, value } = threshold;
    const now = Number(param.read(node.row));
    const before = last.get(node.path);
    if (Number.isNaN(now) || (before === undefined && last.size >= MAX_WATCHED)) return;
    last.set(node.path, now);
    if (before === undefined || !PASSES[operator](before, now, value)) return;
    // Who listens to changes makes none.
    queueMicrotask(() => this.#trigger(threshold, node.path, param.schema.type.print(now)));
  }

  #trigger({ path, controller, param, isSingle }: Threshold, objectPath: string, text: string): void {
    const { tree, tell } = this.#parts;
    // Gone, disabled or triggered meanwhile.
    if (!this.#rows.has(path)) return;
    const shown = (view: View | undefined) => {
      const node = tree.at(objectPath);
      return node !== undefined && view !== undefined && view.canSearch(node, param) && view.canSeeRows(node.object);
    };
    if (!shown(this.#parts.view(controller))) return;
    tell({ kind: "event", path, name: "Triggered!", args: {}, recipient: controller }, (view) => ({
      ParamPath: `${objectPath}${param.name}`,
      ParamValue: shown(view) ? text : "",
    }));
    const row = isSingle ? tree.at(path) : undefined;
    if (!row) return;
    this.#rows.delete(path);
    const transaction = new Transaction(tree);
    transaction.write(row, "Enable", false);
    transaction.commit();
  }

  #viewerOf(node: InstanceNode): Viewer {
    const view = () => this.#parts.view(node.object.params.get("Controller")?.read(node.row) as string);
    return {
      canSearch: (at, param) => view()?.canSearch(at, param) ?? false,
      canSeeRows: (table) => view()?.canSeeRows(table) ?? false,
    };
  }
}

/** `undefined` while the row is not enabled, not whole, or names what this device does not have. */
function readThreshold(tree: Tree, node: InstanceNode, viewer: Viewer): Threshold | undefined {
  const value = (name: string): unknown => node.object.params.get(name)?.read(node.row);
  const text = (name: string) => value(name) as string;
  if (value("Enable") !== true || text("ThresholdParam") === "" || text("ThresholdValue") === "") return undefined;
  const dot = text("ReferencePath").endsWith(".") ? "" : ".";
  try {
    const matcher = compileMatcher(tree, parsePath(`${text("ReferencePath")}${dot}${text("ThresholdParam")}`), viewer);
    const param = matcher.object.params.get(matcher.leaf as string);
    if (!param || matcher.isTable || param.schema.type.item) return undefined;
    return {
      path: node.path,
      controller: text("Controller"),
      matcher,
      param,
      operator: text("ThresholdOperator") as Operator,
      value: Number(text("ThresholdValue")),
      isSingle: text("OperatingMode") === "Single",
      last: new Map(),
    };
  } catch (error) {
    if (error instanceof UspError) return undefined;
    throw error;
  }
}
