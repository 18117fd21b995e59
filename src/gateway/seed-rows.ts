/** Adding rows while the first start makes the model, and what each transport adds to it. */
import type { Config } from "../config.ts";
import type { ControllerConfig } from "../config/controller.ts";
import type { InstanceNode } from "../model/tree.ts";
import type { ParamSetting, Transaction } from "../model/transaction.ts";
import type { Protocol } from "../usp/policy.ts";

/** What is kept in a document of its own: brokers, the agent with its controllers and roles, SPIN's settings, reports. */
export type SeededPart = "brokers" | "stomp" | "agent" | "spin" | "reports";

/** Instance paths without final dot, by the name of the section that asked for the row. */
export type RowsByName = ReadonlyMap<string, string>;

/** A transport's part of the first start. */
export interface TransportSeed {
  readonly protocol: Protocol;
  /** Rows of connections to brokers, where the protocol has such a table: found where they stand already, else made. */
  readonly connections?: { readonly part: SeededPart; seed(transaction: Transaction, config: Config): RowsByName };
  /** The agent's MTP rows. */
  mtps(transaction: Transaction, config: Config, connections: RowsByName, endpointId: string): RowsByName;
  /** How the agent reaches a controller by this transport, below its MTP row; `undefined` where it does not. */
  route(
    controller: ControllerConfig,
    mtps: RowsByName,
    agent: { readonly config: Config; readonly endpointId: string },
  ): { readonly object: string; readonly values: Readonly<Record<string, string>> } | undefined;
}

export function addRow(
  transaction: Transaction,
  parent: string,
  table: string,
  values: Readonly<Record<string, string>>,
): InstanceNode {
  const { tree } = transaction;
  return transaction.add(mustBe(tree.at(parent)), mustBe(tree.object(table)), settings(values)).node;
}

export function setAll(transaction: Transaction, path: string, values: Readonly<Record<string, string>>): void {
  const node = mustBe(transaction.tree.at(path));
  for (const [param, value] of Object.entries(values)) transaction.set(node, param, value);
}

export const pathOf = (node: InstanceNode): string => node.path.slice(0, -1);

/** The row of a table (instance path with final dot) whose parameter has that value; without final dot. */
export function rowWith({ tree }: Transaction, table: string, param: string, value: string): string | undefined {
  for (const node of tree.all(mustBe(tree.object(table)))) if (tree.text(node, param) === value) return pathOf(node);
  return undefined;
}

const settings = (values: Readonly<Record<string, string>>): ParamSetting[] =>
  Object.entries(values).map(([param, value]) => ({ param, value, required: true }));

export function mustBe<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the model lacks a part that every agent has");
  return value;
}
