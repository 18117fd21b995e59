/** The rules that block all of one device's traffic: made, renewed and taken away for Block(), Unblock() and quarantine. */
import { ROOT } from "../../datamodel/spin.ts";
import { printMac } from "../lib/address.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Caller, InstanceNode, ModelTree } from "../model/implementation.ts";
import { Transaction } from "../model/transaction.ts";
import type { Rule } from "../spin/rules.ts";
import type { HomeDevice } from "../spin/types.ts";
import { mayLiftSystem } from "./privacy.ts";

const RULE_TABLE = `${ROOT}Rule.`;

/** What the tree is changed by, and in whose name. */
interface Doing {
  readonly tree: ModelTree;
  readonly caller: Caller;
}

/**
 * Makes the caller's block rule, or renews the one that it has.
 * @returns its path, without final dot
 * @throws UspError 7022
 */
export function block(
  { tree, caller }: Doing,
  device: HomeDevice,
  { expiry, reason }: { readonly expiry: number; readonly reason: string },
): string {
  const transaction = new Transaction(tree, caller);
  try {
    const existing = ownBlock(tree, caller, device);
    const node = existing ?? transaction.add(parentOfRules(tree), ruleTable(tree), []).node;
    const values = {
      Enable: true,
      Action: "Block",
      MACAddressList: [device.physAddress],
      DestinationList: ["*"],
      ExpiryDate: expiry,
      Reason: reason,
    };
    for (const [name, value] of Object.entries(values)) transaction.write(node, name, value);
    transaction.check();
    transaction.commit();
    return node.path.slice(0, -1);
  } catch (error) {
    transaction.rollback();
    throw error instanceof UspError ? new UspError(UspErrorCode.CommandFailed, error.message) : error;
  }
}

/**
 * Removes the rules that block all of the device's traffic and are the caller's to lift: its own, and the agent's where
 * its role allows that. Rules with schedules are plans, and stay. From a rule for several devices it takes this one out.
 */
export function unblock({ tree, caller }: Doing, device: HomeDevice, rules: readonly Rule[]): void {
  const transaction = new Transaction(tree, caller);
  try {
    for (const rule of rules) {
      const isOwn = rule.origin === "System" ? mayLiftSystem(caller) : rule.creator === caller.endpointId;
      if (!isOwn || !blocksAllOf(rule, device) || rule.schedules.length > 0) continue;
      const node = tree.at(`${RULE_TABLE}${rule.id}.`);
      if (node) takeOut(transaction, node, device);
    }
    transaction.check();
    transaction.commit();
  } catch (error) {
    transaction.rollback();
    throw error;
  }
}

/** Of a rule for one device alone nothing is left, and of one that would say what another says already. */
function takeOut(transaction: Transaction, node: InstanceNode, device: HomeDevice): void {
  const macs = node.object.params.get("MACAddressList")?.read(node.row) as readonly string[];
  const own = new Set(device.unitedMacs.map(printMac));
  const others = macs.filter((mac) => !own.has(mac));
  if (others.length === 0) return transaction.remove(node);
  const before = transaction.savepoint();
  transaction.write(node, "MACAddressList", others);
  try {
    node.object.implementation.validate?.(node.row, transaction);
  } catch (error) {
    if (!(error instanceof UspError) || error.code !== UspErrorCode.DuplicateUniqueKey) throw error;
    transaction.rollback(before);
    transaction.remove(node);
  }
}

/** Whether the rule, were it alone, would block all of the device's traffic: on its own address, or one merged with it. */
export function blocksAllOf(rule: Rule, device: HomeDevice): boolean {
  return (
    (rule.action === "Block" || rule.action === "Reject") &&
    rule.destinations === "*" &&
    rule.protocol === -1 &&
    rule.ports.length === 0 &&
    rule.initiator === "Any" &&
    rule.macs !== "*" &&
    rule.macs.some((mac) => device.unitedMacs.includes(mac))
  );
}

function ownBlock(tree: ModelTree, caller: Caller, device: HomeDevice): InstanceNode | undefined {
  for (const node of tree.rows(parentOfRules(tree), ruleTable(tree))) {
    const text = (name: string) => tree.text(node, name);
    if (
      text("Creator") === caller.endpointId &&
      text("Action") === "Block" &&
      text("MACAddressList") === device.physAddress &&
      text("DestinationList") === "*" &&
      text("Protocol") === "-1" &&
      text("PortList") === "" &&
      text("Initiator") === "Any" &&
      text("Schedule") === ""
    )
      return node;
  }
  return undefined;
}

const ruleTable = (tree: ModelTree) => tree.object(RULE_TABLE) as NonNullable<ReturnType<ModelTree["object"]>>;
const parentOfRules = (tree: ModelTree) => tree.at(ROOT) as NonNullable<ReturnType<ModelTree["at"]>>;
