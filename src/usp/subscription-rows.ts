/**
 * The rules of `Device.LocalAgent.Subscription.{i}.` rows (TR-369 R-NOT.0, TR-181), as options of the table that keeps
 * them: `table(Subscription, { persistence, ...subscriptionRows(clock) })`.
 */
import type { Clock } from "../lib/clock.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { Caller, Change } from "../model/implementation.ts";
import { parsePath } from "../model/path.ts";
import type { StoredRow } from "../model/table.ts";

export type NotifyType = "ValueChange" | "ObjectCreation" | "ObjectDeletion" | "OperationComplete" | "Event";

interface SubscriptionValues {
  readonly NotifType: NotifyType;
  readonly ReferenceList: readonly string[];
  readonly Persistent: boolean;
  readonly TriggerConfigSettings: readonly string[];
}

/** What a reference of each kind may end in. */
const LEAF_KINDS: Readonly<Record<NotifyType, readonly string[]>> = {
  ValueChange: ["parameter", "object"],
  ObjectCreation: ["object"],
  ObjectDeletion: ["object"],
  OperationComplete: ["command", "object"],
  Event: ["event", "object"],
};

/** What a subscription is, never changes once it is said. */
const FIXED: ReadonlySet<string> = new Set(["NotifType", "ReferenceList", "ID"]);

export function subscriptionRows(clock: Clock) {
  return {
    persists: (row: StoredRow<SubscriptionValues>): boolean => row.values.Persistent,
    initial: (caller: Caller) => ({ Recipient: caller.controller, CreationDate: clock.now() }),
    guard: (row: StoredRow<SubscriptionValues>, param: string, value: unknown, transaction: Change): void => {
      if (!FIXED.has(param)) return;
      // As it was before the Message, in whose order nothing lies.
      const values = row.values as unknown as Readonly<Record<string, unknown>>;
      const before = (name: string) => transaction.before(row, name) ?? String(values[name]);
      if (before(param) === "" || before(param) === String(value)) return;
      // A row whose ReferenceList is still empty is not yet a subscription.
      if (param === "NotifType" && before("ReferenceList") === "") return;
      throw new UspError(UspErrorCode.NotWritable, `${param} is fixed once it is set`, param);
    },
    validate: ({ values }: StoredRow<SubscriptionValues>): void => {
      const seen = new Set<string>();
      for (const reference of values.ReferenceList) {
        checkReference(reference, values.NotifType);
        if (seen.has(reference)) throw refuse(`${reference} is named twice`);
        seen.add(reference);
      }
      for (const setting of values.TriggerConfigSettings) parseSetting(setting);
    },
  };
}

/** What a path names need not exist, nor ever (TR-369: "non-existing instances are fine"); but it must be a path. */
function checkReference(reference: string, type: NotifyType): void {
  let leafKind: string;
  try {
    ({ leafKind } = parsePath(reference));
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    throw refuse(error.message);
  }
  if (!LEAF_KINDS[type].includes(leafKind))
    throw refuse(`${reference} is a path of a ${leafKind}; ${type} takes a path of ${LEAF_KINDS[type].join(" or ")}`);
}

const refuse = (why: string) => new UspError(UspErrorCode.InvalidValue, `ReferenceList: ${why}`, "ReferenceList");

/** One member of TriggerConfigSettings. @throws UspError 7012 where it is not `PATH=VALUE` with the path of a parameter */
export function parseSetting(text: string): {
  readonly objPath: string;
  readonly param: string;
  readonly value: string;
} {
  const refused = (why: string) =>
    new UspError(UspErrorCode.InvalidValue, `TriggerConfigSettings: ${why}`, "TriggerConfigSettings");
  const at = equalsSign(text);
  if (at < 0) throw refused(`${text.slice(0, 64)} is not PATH=VALUE`);
  const path = text.slice(0, at).trim();
  try {
    const { leaf, leafKind } = parsePath(path);
    if (leafKind === "parameter" && leaf !== undefined)
      return { objPath: path.slice(0, -leaf.length), param: leaf, value: text.slice(at + 1) };
  } catch (error) {
    if (!(error instanceof UspError)) throw error;
    throw refused(error.message);
  }
  throw refused(`${path.slice(0, 64)} is not the path of a parameter`);
}

/** Where the path ends: outside brackets, where search expressions have theirs. */
function equalsSign(text: string): number {
  let bracketed = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === "[") bracketed = true;
    else if (text[i] === "]") bracketed = false;
    else if (text[i] === "=" && !bracketed) return i;
  }
  return -1;
}
