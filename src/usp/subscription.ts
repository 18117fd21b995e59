/** A row of the Subscription table as the notifier uses it: read once, its references compiled. */
import { UspError } from "../lib/usp-error.ts";
import { compileMatcher, type Matcher } from "../model/matcher.ts";
import { parsePath } from "../model/path.ts";
import type { Viewer } from "../model/resolve.ts";
import type { InstanceNode, SupportedObject, Tree } from "../model/tree.ts";
import type { NotifyType } from "./subscription-rows.ts";

export const SUBSCRIPTION_TABLE = "Device.LocalAgent.Subscription.";

export interface Subscription {
  /** Instance path, with final dot. */
  readonly path: string;
  readonly id: string;
  /** Instance path of the recipient's Controller row, without final dot. */
  readonly recipient: string;
  readonly type: NotifyType;
  readonly references: readonly Matcher[];
  readonly retry: boolean;
  /** Milliseconds after which an unanswered notification is given up; Infinity: never. */
  readonly expirationMs: number;
  /** Milliseconds since 1970 when the row itself ends; Infinity: never. */
  readonly endsAt: number;
  /** Whether it sets, and whether it tells. */
  readonly action: "Notify" | "Config" | "NotifyAndConfig";
  /** What it sets: members of TriggerConfigSettings. */
  readonly settings: readonly string[];
  /** For deletions that a search expression selects: rows it named when they were last looked at. */
  readonly members: Set<string>;
}

/** `undefined` while the row is not enabled. */
export function readSubscription(tree: Tree, node: InstanceNode, viewer: Viewer): Subscription | undefined {
  const value = (name: string): unknown => node.object.params.get(name)?.read(node.row);
  if (value("Enable") !== true) return undefined;
  const expirationS = value("NotifExpiration") as number;
  return {
    path: node.path,
    id: value("ID") as string,
    recipient: value("Recipient") as string,
    type: value("NotifType") as NotifyType,
    references: (value("ReferenceList") as readonly string[]).flatMap((text) => compile(tree, text, viewer)),
    retry: value("NotifRetry") === true,
    expirationMs: expirationS === 0 ? Infinity : expirationS * 1000,
    endsAt: endOf(node),
    action: value("TriggerAction") as Subscription["action"],
    settings: value("TriggerConfigSettings") as readonly string[],
    members: new Set(),
  };
}

/** TimeToLive counts from CreationDate. */
export function endOf(node: InstanceNode): number {
  const ttlS = (node.object.params.get("TimeToLive")?.read(node.row) as number | undefined) ?? 0;
  if (ttlS === 0) return Infinity;
  return (node.object.params.get("CreationDate")?.read(node.row) as number) + ttlS * 1000;
}

/** What is not in this device's model never happens. */
function compile(tree: Tree, text: string, viewer: Viewer): Matcher[] {
  try {
    return [compileMatcher(tree, parsePath(text), viewer)];
  } catch (error) {
    if (error instanceof UspError) return [];
    throw error;
  }
}

/** Whether the reference takes in the object: itself, or for `subtree` anything below it. */
export function reaches({ object, leaf }: Matcher, at: SupportedObject, subtree: boolean): boolean {
  if (object === at) return true;
  if (!subtree || leaf !== undefined) return false;
  for (let above = at.parent; above; above = above.parent) if (above === object) return true;
  return false;
}
