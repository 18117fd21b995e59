/**
 * NewDevicePolicy Quarantine: a device that was never seen before is blocked, by a rule of the agent's own, until somebody
 * lifts it. A device is known by its row, so what was seen before stays as it is.
 *
 * The rule comes with the device's first sign of life, not before: what it sent up to then has passed.
 */
import { ROOT } from "../../datamodel/spin.ts";
import { NEVER } from "../../datamodel/values.ts";
import type { Log } from "../lib/log.ts";
import { UspError } from "../lib/usp-error.ts";
import { AGENT } from "../model/implementation.ts";
import { Transaction } from "../model/transaction.ts";
import type { Tree } from "../model/tree.ts";
import type { Rule, RuleBook } from "../spin/rules.ts";
import type { Home, HomeDevice } from "../spin/types.ts";
import { block, blocksAllOf } from "./device-blocks.ts";

const REASON = "new device: quarantined";

/** Returns what ends it. */
export function quarantineNewDevices(home: Home & { readonly rules: RuleBook }, tree: Tree, log: Log): () => void {
  return home.subscribe((notice) => {
    if (notice.kind === "device-added" && policyOf(tree) === "Quarantine") quarantine(tree, log, notice.device);
    // A row that gave way to newer ones, or was silent for too long: were its rule to stay, a flood of forged addresses would fill the table of rules.
    if (notice.kind === "device-removed" && (notice.reason === "evicted" || notice.reason === "idle"))
      release(
        tree,
        home.rules.list().filter((rule) => isQuarantine(rule, notice.device)),
      );
  });
}

function policyOf(tree: Tree): string | undefined {
  const root = tree.at(ROOT);
  return root && tree.text(root, "NewDevicePolicy");
}

function quarantine(tree: Tree, log: Log, device: HomeDevice): void {
  try {
    const path = block({ tree, caller: AGENT }, device, { expiry: NEVER, reason: REASON });
    log.info(`${device.physAddress} is new: quarantined by ${path}`);
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    log.error(`${device.physAddress} is new and can't be quarantined: ${error.message}`);
  }
}

function isQuarantine(rule: Rule, device: HomeDevice): boolean {
  const isOwn = rule.macs !== "*" && rule.macs.length === 1 && rule.macs[0] === device.mac;
  return rule.origin === "System" && isOwn && blocksAllOf(rule, device);
}

function release(tree: Tree, rules: readonly Rule[]): void {
  if (rules.length === 0) return;
  const transaction = new Transaction(tree);
  for (const { id } of rules) {
    const node = tree.at(`${ROOT}Rule.${id}.`);
    if (node) transaction.remove(node);
  }
  transaction.check();
  transaction.commit();
}
