/**
 * Which subscriptions a change concerns. A change of a value that nobody subscribed to costs one look into a map: the
 * answer for an object's path is kept until a subscription comes or goes.
 */
import type { InstanceNode, SupportedObject, Tree } from "../model/tree.ts";
import type { Matcher } from "../model/matcher.ts";
import { reaches, type Subscription } from "./subscription.ts";
import type { NotifyType } from "./subscription-rows.ts";

/** A reference that takes in parameters of one object. */
interface Watch {
  readonly subscription: Subscription;
  /** The parameter; absent: all that notify. */
  readonly param: string | undefined;
  /** Where it depends on values of the row. */
  readonly test: ((node: InstanceNode) => boolean) | undefined;
}

const NONE: readonly Watch[] = [];
/** Objects whose answer is kept; more, and it begins anew. */
const MAX_KEPT = 8192;

export class SubscriptionIndex {
  readonly #tree: Tree;
  readonly #all = new Map<string, Subscription>();
  readonly #byType = new Map<NotifyType, Set<Subscription>>();
  readonly #watches = new Map<string, readonly Watch[]>();

  constructor(tree: Tree) {
    this.#tree = tree;
  }

  put(subscription: Subscription): void {
    this.remove(subscription.path);
    this.#all.set(subscription.path, subscription);
    let ofType = this.#byType.get(subscription.type);
    if (!ofType) this.#byType.set(subscription.type, (ofType = new Set()));
    ofType.add(subscription);
    if (subscription.type === "ValueChange") this.#watches.clear();
  }

  remove(path: string): Subscription | undefined {
    const subscription = this.#all.get(path);
    if (!subscription) return undefined;
    this.#all.delete(path);
    this.#byType.get(subscription.type)?.delete(subscription);
    if (subscription.type === "ValueChange") this.#watches.clear();
    return subscription;
  }

  all(): Iterable<Subscription> {
    return this.#all.values();
  }

  ofType(type: NotifyType): ReadonlySet<Subscription> {
    return this.#byType.get(type) ?? new Set();
  }

  /** Those that a new value of the parameter concerns. */
  *ofValue(path: string, param: string): IterableIterator<Subscription> {
    const watches = this.#watchesOf(path);
    if (watches.length === 0) return;
    let node: InstanceNode | undefined;
    for (const { subscription, param: wanted, test } of watches) {
      if (wanted !== undefined && wanted !== param) continue;
      node ??= this.#tree.at(path);
      // Counters and rates never notify: VALUE_CHANGE_WILL_IGNORE.
      if (!node?.object.params.get(param)?.schema.valueChange) return;
      if (!test || test(node)) yield subscription;
    }
  }

  /** Those of a type that something about an object, a command or an event concerns; the row may be gone. */
  *ofObject(
    type: NotifyType,
    object: SupportedObject,
    path: string,
    options: { leaf?: string; subtree: boolean },
  ): IterableIterator<Subscription> {
    for (const subscription of this.ofType(type)) {
      const concerned = subscription.references.some((reference) => {
        if (reference.leaf !== undefined && reference.leaf !== options.leaf) return false;
        if (!reaches(reference, object, options.subtree)) return false;
        return reference.matchesPath(path) ?? subscription.members.has(path);
      });
      if (concerned) yield subscription;
    }
  }

  #watchesOf(path: string): readonly Watch[] {
    const kept = this.#watches.get(path);
    if (kept) return kept;
    if (this.ofType("ValueChange").size === 0) return NONE;
    const node = this.#tree.at(path);
    if (!node) return NONE;
    const found: Watch[] = [];
    for (const subscription of this.ofType("ValueChange"))
      for (const reference of subscription.references) {
        const watch = watchOf(subscription, reference, node);
        if (watch) found.push(watch);
      }
    if (this.#watches.size >= MAX_KEPT) this.#watches.clear();
    const watches = found.length === 0 ? NONE : found;
    this.#watches.set(path, watches);
    return watches;
  }
}

function watchOf(subscription: Subscription, reference: Matcher, node: InstanceNode): Watch | undefined {
  if (!reaches(reference, node.object, true)) return undefined;
  const test = reference.hasExpression ? (at: InstanceNode) => reference.matches(at) : undefined;
  // Numbers of rows never change, so that what is said of them is said once.
  if (!test && !reference.matches(node)) return undefined;
  return { subscription, param: reference.leaf, test };
}
