/** `Device.X_SPIN.Rule.{i}.`: rows that controllers own; what they come to is the RuleBook's. */
import { ROOT, SpinRule } from "../../datamodel/spin.ts";
import type { Values } from "../../datamodel/schema.ts";
import { NEVER, UNKNOWN_TIME } from "../../datamodel/values.ts";
import type { Log } from "../lib/log.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Caller, Implementation, ModelTree } from "../model/implementation.ts";
import { table, type StoredRow } from "../model/table.ts";
import type { Tree } from "../model/tree.ts";
import { parseDestinationList, parseMacList, parsePortList, type Parsed } from "../spin/rule-values.ts";
import { functionalKey } from "../spin/rules.ts";
import type { Rule, RuleBook, RuleOrigin } from "../spin/rules.ts";
import type { SpinParts } from "./home.ts";
import { ROLE_AGENT, ROLE_RESIDENT } from "./privacy.ts";
import { SCHEDULE_TABLE } from "./spin-schedule.ts";

const RULE_TABLE = `${ROOT}Rule.`;

type RuleRow = StoredRow<Values<(typeof SpinRule)["params"]>>;

export function spinRule({ home, persistence, undo }: SpinParts): Implementation {
  const { rules } = home;
  return table(SpinRule, {
    persistence,
    initial: (caller) => ({
      Creator: caller.endpointId,
      CreationDate: home.now(),
      Origin: originOf(caller),
    }),
    computed: {
      Status: ({ instance }) => stateOf(rules, instance).status,
      StatusReason: ({ instance }) => stateOf(rules, instance).reason.slice(0, 1024),
      HitPackets: ({ instance }) => hitsOf(rules, instance).packets,
      HitBytes: ({ instance }) => hitsOf(rules, instance).bytes,
      LastHit: ({ instance }) => hitsOf(rules, instance).lastHit || UNKNOWN_TIME,
    },
    validate: (row, { caller, tree }) => {
      const { Origin } = row.values;
      // Whose a rule is, is said once: others may change what the agent or the resident made, where they may at all.
      const isNew = rules.get(row.instance) === undefined;
      if (isNew && Origin === "User" && !caller.roles.has(ROLE_RESIDENT) && !caller.roles.has(ROLE_AGENT))
        throw new UspError(UspErrorCode.PermissionDenied, "Origin User is the resident's alone", "Origin");
      if (isNew && Origin === "System" && !caller.roles.has(ROLE_AGENT))
        throw new UspError(UspErrorCode.PermissionDenied, "Origin System is the agent's alone", "Origin");
      const rule = toRule(row);
      if (Origin === "User") checkSchedules(row, tree);
      const before = rules.get(row.instance);
      // What says the same as before was compared with all others then; others that change are compared with it.
      if (before && functionalKey(before) === functionalKey(rule)) return;
      const other = sameRule(tree, row);
      if (other !== undefined)
        throw new UspError(UspErrorCode.DuplicateUniqueKey, `${ROOT}Rule.${other}. says the same already`, "Action");
    },
    committed: (change) => {
      const { kind, row } = change;
      undo.record(RULE_TABLE, change);
      if (kind === "removed") rules.remove(row.instance);
      else rules.put(toRule(row));
    },
  });
}

/** Whoever could change its schedule could lift a rule of the resident's. @throws UspError 7012 */
function checkSchedules({ values }: RuleRow, tree: ModelTree): void {
  for (const path of values.Schedule) {
    const schedule = tree.at(`${path}.`);
    if (
      schedule &&
      schedule.object.path === `${SCHEDULE_TABLE}{i}.` &&
      tree.text(schedule, "Creator") !== values.Creator
    )
      throw new UspError(
        UspErrorCode.InvalidValue,
        `${path} is another's: a rule of the resident's goes by schedules of the resident's`,
        "Schedule",
      );
  }
}

/** Another row that says the same, among those of the transaction too; the order of a list's members says nothing. */
function sameRule(tree: ModelTree, row: RuleRow): number | undefined {
  const table = tree.object(`${ROOT}Rule.`);
  if (!table) return undefined;
  for (const node of tree.all(table))
    if (node.instance !== row.instance && isAlike((node.row as RuleRow).values, row.values)) return node.instance;
  return undefined;
}

function isAlike(a: RuleRow["values"], b: RuleRow["values"]): boolean {
  return (
    a.Creator === b.Creator &&
    a.Action === b.Action &&
    a.Protocol === b.Protocol &&
    a.Initiator === b.Initiator &&
    hasSameMembers(a.MACAddressList, b.MACAddressList) &&
    hasSameMembers(a.DestinationList, b.DestinationList) &&
    hasSameMembers(a.PortList, b.PortList) &&
    hasSameMembers(a.Schedule, b.Schedule)
  );
}

/** Of lists that name nothing twice. */
const hasSameMembers = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((member) => b.includes(member));

/** On whose behalf a caller makes rules and lists. */
export function originOf({ roles }: Caller): RuleOrigin {
  if (roles.has(ROLE_RESIDENT)) return "User";
  return roles.has(ROLE_AGENT) ? "System" : "Controller";
}

/**
 * Rows that were kept over a restart, into the book. Called once, when the tree stands.
 * @returns how many make no rule, which is logged
 */
export function restoreRules(tree: Tree, home: SpinParts["home"], log: Log): number {
  const object = tree.object(`${ROOT}Rule.`);
  let unreadable = 0;
  for (const { row, instance, path } of object ? tree.all(object) : []) {
    try {
      home.rules.put(toRule(row as RuleRow), home.savedHits(instance));
    } catch (error) {
      if (!(error instanceof UspError)) throw error;
      unreadable++;
      log.error(`${path} can't be read: ${error.message}`);
    }
  }
  return unreadable;
}

/** @throws UspError 7012 where a list holds what its members alone do not show, e.g. `*` among others */
function toRule({ instance, values }: RuleRow): Rule {
  return {
    id: instance,
    enable: values.Enable,
    action: values.Action,
    origin: values.Origin,
    creator: values.Creator,
    macs: valueOf(parseMacList(values.MACAddressList.join(",")), "MACAddressList"),
    destinations: valueOf(parseDestinationList(values.DestinationList.join(",")), "DestinationList"),
    protocol: values.Protocol,
    ports: valueOf(parsePortList(values.PortList.join(",")), "PortList"),
    initiator: values.Initiator,
    schedules: values.Schedule.map(scheduleNumber),
    creation: values.CreationDate,
    // The Unknown Time is what a controller without a clock writes for "no expiry".
    expiry: values.ExpiryDate === UNKNOWN_TIME ? NEVER : values.ExpiryDate,
    reason: values.Reason,
  };
}

/** 0 for what is no schedule's path: a reference that leads nowhere is kept as it was written. */
function scheduleNumber(path: string): number {
  return path.startsWith(SCHEDULE_TABLE) && /^[1-9]\d{0,8}$/.test(path.slice(SCHEDULE_TABLE.length))
    ? Number(path.slice(SCHEDULE_TABLE.length))
    : 0;
}

function valueOf<T>(parsed: Parsed<T>, param: string): T {
  if ("error" in parsed) throw new UspError(UspErrorCode.InvalidValue, `${param}: ${parsed.error}`, param);
  return parsed.value;
}

/** A row that was added in a transaction not yet committed is not in the book. */
function stateOf(rules: RuleBook, id: number) {
  if (rules.get(id)) return rules.state(id);
  return { status: "Pending" as const, reason: "Not yet in force." };
}

function hitsOf(rules: RuleBook, id: number) {
  return rules.get(id) ? rules.hits(id) : { packets: 0, bytes: 0, lastHit: 0 };
}
