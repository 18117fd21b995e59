/**
 * The controllers that the agent knows: `Device.LocalAgent.Controller.{i}.` with what hangs on it, read once and again
 * whenever a row there or in ControllerTrust changes.
 */
import type { Caller } from "../model/implementation.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { Permissions } from "./permissions.ts";
import type { Door, ModelPolicy, Protocol } from "./policy.ts";
import type { RetryPolicy } from "./retry.ts";
import { View } from "./view.ts";

export const CONTROLLER_TABLE = "Device.LocalAgent.Controller.";
export const TRUST = "Device.LocalAgent.ControllerTrust.";
export const MTP_TABLE = "Device.LocalAgent.MTP.";

export interface Controller {
  /** Instance path of its row, without final dot: what references to it hold. */
  readonly path: string;
  readonly endpointId: string;
  readonly enabled: boolean;
  /** Instance paths of the roles assigned to it. What a certificate brings comes with the door. */
  readonly roles: readonly string[];
  /** Instance paths of certificates: one of them it shows. Empty: any that an authority vouches for. */
  readonly credentials: readonly string[];
  /** In the order in which they are tried. */
  readonly routes: readonly Route[];
  readonly notifyRetry: RetryPolicy;
  readonly periodicIntervalMs: number;
  /** Milliseconds since 1970 of one Periodic! event; any phase if unknown. */
  readonly periodicPhase: number | undefined;
  /** Whether it knows the agent: OnBoardRequests are sent to it until then. */
  readonly isOnBoarded: boolean;
  /** Milliseconds from an answered OnBoardRequest to the next; 0: none. */
  readonly onBoardingRestartMs: number;
  /** Records without a Message that it chokes on. */
  readonly withheld: ReadonlySet<WithheldRecord>;
}

export type WithheldRecord = "Connect" | "Disconnect";

/** How a controller is reached: a row of its MTP table. */
export interface Route {
  /** Instance path of the row itself, without final dot. */
  readonly row: string;
  readonly protocol: Protocol;
  /** Instance path of the agent's MTP row, or of a STOMP connection, without final dot; empty: any of that protocol. */
  readonly agentMtp: string;
  /** MQTT topic or STOMP destination; empty where the connection is the address. */
  readonly to: string;
  readonly retainResponse: boolean;
  readonly retainNotify: boolean;
  /** What its reply topics begin with; empty: any. */
  readonly replyPrefixes: readonly string[];
}

export class Controllers {
  readonly #tree: Tree;
  readonly #permissions: Permissions;
  readonly #policy: ModelPolicy;
  #byEndpoint = new Map<string, Controller>();
  #byPath = new Map<string, Controller>();
  #views = new WeakMap<Controller, WeakMap<Door, View>>();

  constructor(tree: Tree, permissions: Permissions, policy: ModelPolicy) {
    this.#tree = tree;
    this.#permissions = permissions;
    this.#policy = policy;
    this.reload();
  }

  /** The enabled controller with that endpoint id. */
  known(endpointId: string): Controller | undefined {
    const controller = this.#byEndpoint.get(endpointId);
    return controller?.enabled ? controller : undefined;
  }

  /** The same, disabled or not. */
  withId(endpointId: string): Controller | undefined {
    return this.#byEndpoint.get(endpointId);
  }

  /** By instance path without final dot; the row may have just been deleted, or be disabled. */
  at(path: string): Controller | undefined {
    return this.#byPath.get(path);
  }

  all(): Iterable<Controller> {
    return this.#byPath.values();
  }

  /** The model as the controller sees it through a door. */
  view(controller: Controller, door: Door): View {
    let views = this.#views.get(controller);
    if (!views) this.#views.set(controller, (views = new WeakMap()));
    let view = views.get(door);
    if (!view) views.set(door, (view = this.#makeView(controller, door)));
    return view;
  }

  /** Rows changed: read again. */
  reload(): void {
    this.#views = new WeakMap();
    this.#byEndpoint = new Map();
    this.#byPath = new Map();
    const table = this.#tree.object(`${CONTROLLER_TABLE}{i}.`);
    if (!table) return;
    for (const node of this.#tree.all(table)) {
      const controller = this.#read(node);
      this.#byPath.set(controller.path, controller);
      if (controller.endpointId !== "") this.#byEndpoint.set(controller.endpointId, controller);
    }
  }

  #makeView(controller: Controller, door: Door): View {
    const named = this.#rolesOf(controller, door).flatMap((path) => {
      const node = this.#tree.at(path);
      return node && value(node, "Enable") === true ? [{ path, name: value(node, "Name") as string }] : [];
    });
    const counting = named.filter(({ name }) => this.#policy.roleCounts?.(name, door) ?? true);
    const secured = (this.#trust("SecuredRoles") ?? []) as readonly string[];
    const caller: Caller = {
      endpointId: controller.endpointId,
      controller: controller.path,
      roles: new Set(counting.map(({ name }) => name)),
      mayReadSecured: counting.some(({ path }) => secured.includes(path)),
    };
    return new View(this.#tree, caller, this.#permissions.of(counting.map(({ path }) => path)), this.#policy);
  }

  /** Assigned and inherited, added up; the banned role alone, where it has that; or those of whom nobody trusts. */
  #rolesOf({ roles }: Controller, { inherited = [] }: Door): readonly string[] {
    const own = [...new Set([...roles, ...inherited])];
    const banned = this.#trust("BannedRole") as string | undefined;
    if (banned !== undefined && banned !== "" && own.includes(banned)) return [banned];
    return own.length > 0 ? own : ((this.#trust("UntrustedRole") ?? []) as readonly string[]);
  }

  #trust(name: string): unknown {
    const node = this.#tree.at(TRUST);
    return node && value(node, name);
  }

  #read(node: InstanceNode): Controller {
    const phase = value(node, "PeriodicNotifTime") as number | undefined;
    return {
      path: node.path.slice(0, -1),
      endpointId: value(node, "EndpointID") as string,
      enabled: value(node, "Enable") === true,
      roles: listOf(node, "AssignedRole"),
      credentials: listOf(node, "Credential"),
      routes: this.#routes(node),
      notifyRetry: {
        minimumMs: 1000 * numberOf(node, "USPNotifRetryMinimumWaitInterval", 5),
        multiplier: numberOf(node, "USPNotifRetryIntervalMultiplier", 2000) / 1000,
        maximumMs: Infinity,
      },
      periodicIntervalMs: 1000 * numberOf(node, "PeriodicNotifInterval", 0),
      periodicPhase: phase !== undefined && phase > 0 ? phase : undefined,
      isOnBoarded: value(node, "OnBoardingComplete") === true,
      onBoardingRestartMs: 1000 * numberOf(node, "OnBoardingRestartTime", 0),
      withheld: new Set(listOf(node, "X_SPIN_WithheldRecords") as readonly WithheldRecord[]),
    };
  }

  #routes(node: InstanceNode): Route[] {
    const table = node.object.children.get("MTP");
    if (!table) return [];
    const rows = [...this.#tree.rows(node, table)].filter((row) => value(row, "Enable") === true);
    rows.sort((a, b) => numberOf(a, "Order", 0) - numberOf(b, "Order", 0));
    return rows.map((row) => {
      const protocol = value(row, "Protocol") as Protocol;
      const child = row.object.children.get(protocol);
      const part = child && this.#tree.single(row, child);
      const text = (name: string) => (part ? ((value(part, name) as string | undefined) ?? "") : "");
      return {
        row: row.path.slice(0, -1),
        protocol,
        agentMtp: text(protocol === "STOMP" ? "Reference" : "AgentMTPReference"),
        to: protocol === "STOMP" ? text("Destination") : text("Topic"),
        retainResponse: part !== undefined && value(part, "PublishRetainResponse") === true,
        retainNotify: part !== undefined && value(part, "PublishRetainNotify") === true,
        replyPrefixes: part ? listOf(part, "X_SPIN_ReplyPrefixes") : [],
      };
    });
  }
}

const value = (node: InstanceNode, name: string): unknown => node.object.params.get(name)?.read(node.row);

const listOf = (node: InstanceNode, name: string) => (value(node, name) ?? []) as readonly string[];

const numberOf = (node: InstanceNode, name: string, otherwise: number) =>
  (value(node, name) as number | undefined) ?? otherwise;
