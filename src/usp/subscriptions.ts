/**
 * From changes of the model to notifications: pushed as they happen, never polled. Listens to the change feed, finds whom
 * a change concerns, and puts it into the outboxes of the recipients.
 */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { ModelChange } from "../model/changes.ts";
import type { Viewer } from "../model/resolve.ts";
import { Transaction } from "../model/transaction.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { Controller, Controllers } from "./controllers.ts";
import * as notification from "./notification.ts";
import { heldBytes, NotificationRoom } from "./notification-room.ts";
import { Outbox, type Entry, type Notification, type OutboxCounters, type Postman } from "./outbox.ts";
import { readSubscription, endOf, SUBSCRIPTION_TABLE, type Subscription } from "./subscription.ts";
import { SubscriptionIndex } from "./subscription-index.ts";
import { Triggers } from "./trigger.ts";
import type { View } from "./view.ts";

export interface SubscriptionParts {
  readonly tree: Tree;
  readonly controllers: Controllers;
  readonly postman: Postman;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Of notifications that wait for one controller, and what they may hold, in bytes; and for all controllers. */
  readonly capacity: number;
  readonly capacityBytes: number;
  readonly totalBytes: number;
}

/** How long after a change the rows that a deletion may select by value are looked up anew. */
const MEMBERS_DELAY_MS = 20;
const MAX_TIMER_MS = 2 ** 31 - 1;

export class Subscriptions {
  readonly counters: OutboxCounters = { sent: 0, coalesced: 0, dropped: 0, expired: 0 };
  readonly #parts: SubscriptionParts;
  readonly #index: SubscriptionIndex;
  readonly #triggers: Triggers;
  readonly #room: NotificationRoom;
  readonly #outboxes = new Map<string, Outbox>();
  #serial = 0;
  #endTimer: NodeJS.Timeout | undefined;
  #membersTimer: NodeJS.Timeout | undefined;

  constructor(parts: SubscriptionParts) {
    this.#parts = parts;
    this.#index = new SubscriptionIndex(parts.tree);
    this.#room = new NotificationRoom(parts.totalBytes);
    this.#triggers = new Triggers({ ...parts, view: ({ recipient }) => this.viewOf(recipient) });
  }

  /** Reads the rows that are there. Rows whose time ended while the agent was off go now. */
  start(): void {
    const table = this.#parts.tree.object(`${SUBSCRIPTION_TABLE}{i}.`);
    if (!table) return;
    for (const node of [...this.#parts.tree.all(table)]) this.#load(node);
    this.#endRows();
  }

  stop(): void {
    clearTimeout(this.#endTimer);
    clearTimeout(this.#membersTimer);
    this.#triggers.stop();
    for (const outbox of this.#outboxes.values()) outbox.close();
    this.#outboxes.clear();
  }

  /** Called by the change feed: at once, in order. */
  handle(change: ModelChange): void {
    switch (change.kind) {
      case "value":
        for (const subscription of this.#index.ofValue(change.path, change.param))
          this.#valueChanged(subscription, change.path, change.param);
        break;
      case "created":
        this.#concerning("ObjectCreation", change, change.supportedPath, { subtree: false }, (view) =>
          notification.objectCreation(view, change),
        );
        break;
      case "deleted":
        this.#concerning("ObjectDeletion", change, change.supportedPath, { subtree: false }, (view) =>
          notification.objectDeletion(view, change),
        );
        break;
      case "event":
        this.#event(change, () => change.args);
        break;
      case "operationComplete":
        this.#concerning("OperationComplete", change, undefined, { leaf: change.command, subtree: true }, (view) =>
          notification.operationComplete(view, change),
        );
        break;
    }
    if (change.path.startsWith(SUBSCRIPTION_TABLE)) this.#rowChanged(change);
    if (change.kind !== "event") this.#membersMayChange();
  }

  /** An event whose arguments depend on who is told (Boot!) or that is for one controller alone (Periodic!). */
  tell(change: Extract<ModelChange, { kind: "event" }>, args: (view: View) => Readonly<Record<string, string>>): void {
    this.#event(change, args);
  }

  /** R-NOT.6a: repeated until it is answered, without end. */
  onBoard(
    controller: Controller,
    value: Extract<Notification, { $case: "onBoardReq" }>["value"],
    answered: () => void,
  ): void {
    this.#outbox(controller).push({
      key: "onBoard",
      subscription: "",
      subscriptionId: "",
      retry: true,
      isState: false,
      bytes: 0, // small, and one for each controller
      expiresAt: Infinity,
      build: () => ({ $case: "onBoardReq", value }),
      answered,
    });
  }

  /** Nobody waits for an OnBoardRequest to be answered any more. */
  endOnBoard(controller: Controller): void {
    this.#outboxes.get(controller.path)?.drop("");
  }

  answered(controller: Controller, msgId: string): void {
    this.#outboxes.get(controller.path)?.answered(msgId);
  }

  /** A link to the controller came up. */
  resume(controller: Controller): void {
    this.#outboxes.get(controller.path)?.resume();
  }

  /** Sends at once what waits for the controller: before its row is disabled or gone. */
  flush(path: string): void {
    this.#outboxes.get(path)?.flush();
  }

  /** Controllers' rows were read again: those gone or disabled are told nothing more. */
  controllersChanged(): void {
    for (const [path, outbox] of this.#outboxes) {
      const controller = this.#parts.controllers.at(path);
      if (controller?.enabled) outbox.update(controller);
      else {
        outbox.close();
        this.#outboxes.delete(path);
      }
    }
  }

  get waiting(): number {
    let sum = 0;
    for (const outbox of this.#outboxes.values()) sum += outbox.waiting;
    return sum;
  }

  get heldBytes(): number {
    return this.#room.bytes;
  }

  #valueChanged(subscription: Subscription, path: string, param: string): void {
    const key = `${subscription.path} ${path}${param}`;
    const build = (view: View) => notification.valueChange(view, path, param);
    this.#push(subscription, { key, isState: true, bytes: 0 }, build);
  }

  #event(
    change: Extract<ModelChange, { kind: "event" }>,
    args: (view: View) => Readonly<Record<string, string>>,
  ): void {
    const options = { leaf: change.name, subtree: true };
    this.#concerning("Event", change, undefined, options, (view) => notification.event(view, change, args(view)));
  }

  #concerning(
    type: Subscription["type"],
    change: ModelChange,
    supportedPath: string | undefined,
    options: { leaf?: string; subtree: boolean },
    build: (view: View) => Notification | undefined,
  ): void {
    if (this.#index.ofType(type).size === 0) return;
    const { tree } = this.#parts;
    const object = supportedPath === undefined ? tree.at(change.path)?.object : tree.object(supportedPath);
    if (!object) return;
    const recipient = change.kind === "event" ? change.recipient : undefined;
    let bytes: number | undefined;
    for (const subscription of this.#index.ofObject(type, object, change.path, options)) {
      if (recipient !== undefined && recipient !== subscription.recipient) continue;
      bytes ??= heldBytes(change);
      this.#push(subscription, { key: `${++this.#serial}`, isState: false, bytes }, build);
    }
  }

  #push(
    subscription: Subscription,
    happened: Pick<Entry, "key" | "isState" | "bytes">,
    build: (view: View) => Notification | undefined,
  ): void {
    const { controllers, clock } = this.#parts;
    const controller = controllers.at(subscription.recipient);
    if (!controller?.enabled || subscription.endsAt <= clock.now()) return;
    if (subscription.action !== "Notify") this.#triggers.pull({ subscription, build });
    if (subscription.action === "Config") return;
    this.#outbox(controller).push({
      ...happened,
      subscription: subscription.path,
      subscriptionId: subscription.id,
      retry: subscription.retry,
      expiresAt: subscription.retry ? clock.monotonic() + subscription.expirationMs : Infinity,
      build: (door) => {
        const current = controllers.at(subscription.recipient);
        return current && build(controllers.view(current, door));
      },
    });
  }

  #outbox(controller: Controller): Outbox {
    let outbox = this.#outboxes.get(controller.path);
    if (!outbox) {
      outbox = new Outbox(controller, { ...this.#parts, room: this.#room, counters: this.counters });
      this.#outboxes.set(controller.path, outbox);
    }
    return outbox;
  }

  #rowChanged(change: ModelChange): void {
    if (change.kind === "created" || change.kind === "value") {
      const node = this.#parts.tree.at(change.path);
      if (node?.object.path === `${SUBSCRIPTION_TABLE}{i}.`) this.#load(node);
    } else if (change.kind === "deleted") this.#unload(change.path);
  }

  #load(node: InstanceNode): void {
    const subscription = readSubscription(this.#parts.tree, node, this.#viewerOf(node));
    if (!subscription) return this.#unload(node.path);
    this.#index.put(subscription);
    this.#refreshMembers(subscription);
    this.#armEnd();
  }

  /** What it had to say before it ended is said, but not repeated. */
  #unload(path: string): void {
    const gone = this.#index.remove(path);
    this.#triggers.drop(path);
    const outbox = gone && this.#outboxes.get(gone.recipient);
    outbox?.flush();
    outbox?.drop(path);
  }

  /** Search expressions see what the recipient sees: a secured value never selects (R-SEC, design "Secured"). */
  #viewerOf(node: InstanceNode): Viewer {
    const recipient = node.object.params.get("Recipient")?.read(node.row) as string;
    const view = () => this.viewOf(recipient);
    return {
      canSearch: (at, param) => view()?.canSearch(at, param) ?? false,
      canSeeRows: (table) => view()?.canSeeRows(table) ?? false,
    };
  }

  /** How a controller, by its row's path, sees the model now; `undefined` if it is gone or disabled. */
  viewOf(path: string): View | undefined {
    const { controllers, postman } = this.#parts;
    const controller = controllers.at(path);
    return controller?.enabled ? controllers.view(controller, postman.door(controller) ?? NO_DOOR) : undefined;
  }

  /** A deletion comes when the row's values are gone: which rows an expression names has to be known before. */
  #membersMayChange(): void {
    if (this.#membersTimer || ![...this.#index.ofType("ObjectDeletion")].some(needsMembers)) return;
    this.#membersTimer = setTimeout(() => {
      this.#membersTimer = undefined;
      for (const subscription of this.#index.ofType("ObjectDeletion")) this.#refreshMembers(subscription);
    }, MEMBERS_DELAY_MS);
    this.#membersTimer.unref();
  }

  #refreshMembers(subscription: Subscription): void {
    if (subscription.type !== "ObjectDeletion" || !needsMembers(subscription)) return;
    subscription.members.clear();
    for (const reference of subscription.references) {
      if (!reference.hasExpression) continue;
      for (const node of this.#parts.tree.all(reference.object))
        if (reference.matches(node)) subscription.members.add(node.path);
    }
  }

  /** Rows end when their TimeToLive is over. */
  #armEnd(): void {
    clearTimeout(this.#endTimer);
    let next = Infinity;
    for (const node of this.#rows()) next = Math.min(next, endOf(node));
    if (next === Infinity) return;
    const wait = Math.min(Math.max(next - this.#parts.clock.now(), 0), MAX_TIMER_MS);
    this.#endTimer = setTimeout(() => this.#endRows(), wait);
    this.#endTimer.unref();
  }

  #endRows(): void {
    const { tree, clock, log } = this.#parts;
    const ended = [...this.#rows()].filter((node) => endOf(node) <= clock.now());
    for (const node of ended) {
      log.info(`${node.path} ended: its TimeToLive is over`);
      const transaction = new Transaction(tree);
      transaction.remove(node);
      transaction.check();
      transaction.commit();
    }
    this.#armEnd();
  }

  #rows(): Iterable<InstanceNode> {
    const table = this.#parts.tree.object(`${SUBSCRIPTION_TABLE}{i}.`);
    return table ? this.#parts.tree.all(table) : [];
  }
}

/** For searches, settings and thresholds while no link is up: the least that any door shows. */
const NO_DOOR = { protocol: "MQTT", local: false } as const;

const needsMembers = ({ references }: Subscription) => references.some(({ hasExpression }) => hasExpression);
