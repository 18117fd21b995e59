/**
 * A USP Controller for one agent: its requests as methods, its notifications as async iterables. Independent of the
 * agent's code except for the schemas; what ctl, the demo, the web page and the tests share.
 */
import type { RequestType, ResponseType, WireLimits } from "../../proto/codec.ts";
import { UspError } from "../lib/usp-error.ts";
import { CommandTypes } from "./command-types.ts";
import { ControllerError } from "./error.ts";
import { Exchange, type Endpoints, type Link, type OpenSession, type Waiting } from "./exchange.ts";
import { Feed } from "./feed.ts";
import type { Notification, NotificationKind } from "./notification.ts";
import * as outcome from "./outcome.ts";

export type { Notification, NotificationKind, Waiting, Endpoints };

export interface ControllerOptions extends Endpoints {
  /** Messages in a session: `inSession` of session.ts. Default: each in a Record of its own. */
  readonly openSession?: OpenSession;
  /** Of a request, until its answer. Default 10,000. */
  readonly timeoutMs?: number;
  /** Of what is read; the default takes answers of 32 MiB. */
  readonly limits?: WireLimits;
}

/** Parameters of one object: a path, or a search path for several. A name may descend: `Stats.Enable`. */
export interface Settings {
  readonly path: string;
  readonly values: Readonly<Record<string, string>>;
  /** Whether a value that is not taken fails the object. Default true. */
  readonly required?: boolean;
}

export interface PartialOptions extends Waiting {
  /** Each object on its own instead of all or nothing. Default false. */
  readonly allowPartial?: boolean;
}

export interface SubscriptionOptions extends Waiting {
  readonly kind: Exclude<NotificationKind, "OnBoardRequest">;
  readonly references: readonly string[];
  /** Survives the agent's restart. Default false. */
  readonly persistent?: boolean;
  /** Repeated until answered. Default false. */
  readonly retry?: boolean;
}

export interface Subscription extends AsyncIterable<Notification> {
  readonly id: string;
  /** Path of its row at the agent. */
  readonly path: string;
  readonly missed: number;
  /** Deletes the row and ends the iteration. */
  close(): Promise<void>;
}

const LIMITS: WireLimits = { bytes: 32 << 20, elements: 2_000_000 };
const QUEUE = 10_000;
const SUBSCRIPTIONS = "Device.LocalAgent.Subscription.";

export class Controller {
  readonly #exchange: Exchange;
  readonly #feeds = new Map<string, Feed<Notification>>();
  readonly #listeners = new Set<Feed<Notification>>();
  readonly #commandTypes: CommandTypes;

  constructor(link: Link, options: ControllerOptions) {
    this.#exchange = new Exchange(link, {
      timeoutMs: 10_000,
      limits: LIMITS,
      ...options,
      onNotification: (notification) => this.#deliver(notification),
      onEnd: (error) => {
        for (const feed of [...this.#feeds.values(), ...this.#listeners]) feed.end(error);
      },
    });
    this.#commandTypes = new CommandTypes((paths) =>
      this.supported(paths, { firstLevelOnly: true, commands: true, events: false, params: false, uniqueKeys: false }),
    );
  }

  /** Whether notifications that ask for it are answered; false to see an agent repeat them. */
  set answersNotifications(answers: boolean) {
    this.#exchange.answers = answers;
  }

  async get(paths: readonly string[], options: Waiting & { maxDepth?: number } = {}): Promise<outcome.GetOutcome[]> {
    const value = { paramPaths: [...paths], maxDepth: options.maxDepth ?? 0 };
    return (await this.#ask("getResp", { $case: "get", value }, options)).reqPathResults.map(outcome.getOutcome);
  }

  async set(objects: readonly Settings[], options: PartialOptions = {}): Promise<outcome.SetOutcome[]> {
    const updateObjs = objects.map((each) => ({ objPath: each.path, paramSettings: settingsOf(each) }));
    const value = { allowPartial: options.allowPartial ?? false, updateObjs };
    return (await this.#ask("setResp", { $case: "set", value }, options)).updatedObjResults.map(outcome.setOutcome);
  }

  async add(objects: readonly Settings[], options: PartialOptions = {}): Promise<outcome.AddOutcome[]> {
    const createObjs = objects.map((each) => ({ objPath: each.path, paramSettings: settingsOf(each) }));
    const value = { allowPartial: options.allowPartial ?? false, createObjs };
    return (await this.#ask("addResp", { $case: "add", value }, options)).createdObjResults.map(outcome.addOutcome);
  }

  async delete(paths: readonly string[], options: PartialOptions = {}): Promise<outcome.DeleteOutcome[]> {
    const value = { allowPartial: options.allowPartial ?? false, objPaths: [...paths] };
    return (await this.#ask("deleteResp", { $case: "delete", value }, options)).deletedObjResults.map(
      outcome.deleteOutcome,
    );
  }

  async instances(
    paths: readonly string[],
    options: Waiting & { firstLevelOnly?: boolean } = {},
  ): Promise<outcome.InstancesOutcome[]> {
    const value = { objPaths: [...paths], firstLevelOnly: options.firstLevelOnly ?? false };
    return (await this.#ask("getInstancesResp", { $case: "getInstances", value }, options)).reqPathResults.map(
      outcome.instancesOutcome,
    );
  }

  async supported(paths: readonly string[], options: SupportedOptions = {}): Promise<outcome.SupportedOutcome[]> {
    const { firstLevelOnly = false, commands = true, events = true, params = true, uniqueKeys = true } = options;
    const value = {
      objPaths: [...paths],
      firstLevelOnly,
      returnCommands: commands,
      returnEvents: events,
      returnParams: params,
      returnUniqueKeySets: uniqueKeys,
    };
    const response = await this.#ask("getSupportedDmResp", { $case: "getSupportedDm", value }, options);
    return response.reqObjResults.map(outcome.supportedOutcome);
  }

  /** Versions of USP that the agent speaks: `["1.0", …]`. */
  async protocols(versions = "1.4", options: Waiting = {}): Promise<string[]> {
    const value = { controllerSupportedProtocolVersions: versions };
    const request = { $case: "getSupportedProtocol", value } as const;
    const response = await this.#ask("getSupportedProtocolResp", request, options);
    return response.agentSupportedProtocolVersions.split(",").map((version) => version.trim());
  }

  /**
   * Runs a command on each object that its path matches. Waits for the end of an asynchronous one too, unless `wait` is
   * false; that end is awaited for as long as `completeMs`, default 60,000.
   */
  async operate(
    command: string,
    input: Readonly<Record<string, string>> = {},
    options: OperateOptions = {},
  ): Promise<outcome.CommandOutcome[]> {
    const commandKey = options.commandKey ?? this.#exchange.unique();
    const operate = async () => {
      const inputArgs = new Map(Object.entries(input));
      const request = { $case: "operate", value: { command, commandKey, sendResp: true, inputArgs } } as const;
      return (await this.#ask("operateResp", request, options)).operationResults.map(outcome.commandOutcome);
    };
    if (options.wait === false || !(await this.#commandTypes.isAsync(command))) return operate();
    // Subscribed before it runs: it may be done before its answer is here.
    const completions = await this.subscribe({ ...options, kind: "OperationComplete", references: [command] });
    try {
      return await this.#complete(await operate(), commandKey, completions, options.completeMs ?? 60_000);
    } finally {
      await completions.close().catch(() => undefined);
    }
  }

  /** Makes a Subscription row, and ends with it. Notifications that come before the first reading are kept. */
  async subscribe(options: SubscriptionOptions): Promise<Subscription> {
    const id = `ctl-${this.#exchange.unique()}`;
    let path = "";
    const feed = new Feed<Notification>(QUEUE, async () => {
      this.#feeds.delete(id);
      await this.remove(path, options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs });
    });
    this.#feeds.set(id, feed);
    try {
      const values = {
        Enable: "true",
        ID: id,
        NotifType: options.kind,
        ReferenceList: options.references.join(","),
        Persistent: String(options.persistent ?? false),
        NotifRetry: String(options.retry ?? false),
      };
      path = await this.create(SUBSCRIPTIONS, values, options);
    } catch (error) {
      this.#feeds.delete(id);
      throw error;
    }
    return {
      id,
      path,
      get missed() {
        return feed.missed;
      },
      close: () => feed.close(),
      [Symbol.asyncIterator]: () => feed[Symbol.asyncIterator](),
    };
  }

  /** Every notification from now on, whoever subscribed. */
  notifications(): Feed<Notification> {
    const feed = new Feed<Notification>(QUEUE, () => Promise.resolve(void this.#listeners.delete(feed)));
    this.#listeners.add(feed);
    return feed;
  }

  // The short forms: one thing, its value, or an error.

  /** Parameters by full path. @throws UspError of the first path that failed */
  async read(paths: readonly string[], options: Waiting & { maxDepth?: number } = {}): Promise<Map<string, string>> {
    const values = new Map<string, string>();
    for (const { error, objects } of await this.get(paths, options)) {
      if (error !== undefined) throw error;
      for (const { path, params } of objects) for (const [name, value] of params) values.set(path + name, value);
    }
    return values;
  }

  async write(path: string, values: Readonly<Record<string, string>>, options: Waiting = {}): Promise<void> {
    for (const { error } of await this.set([{ path, values }], options)) if (error !== undefined) throw error;
  }

  /** The new row's path. */
  async create(path: string, values: Readonly<Record<string, string>>, options: Waiting = {}): Promise<string> {
    const [made] = await this.add([{ path, values }], options);
    if (made?.error !== undefined) throw made.error;
    if (made?.path === undefined)
      throw new ControllerError("protocol", `the agent does not say what it added to ${path}`);
    return made.path;
  }

  /** The paths that went. */
  async remove(path: string, options: Waiting = {}): Promise<readonly string[]> {
    const [gone] = await this.delete([path], options);
    if (gone?.error !== undefined) throw gone.error;
    const kept = gone?.undeleted[0];
    if (kept !== undefined) throw new UspError(kept.code, kept.message, kept.param);
    return gone?.deleted ?? [];
  }

  /** Runs a command on the one object that its path matches; its output. */
  async run(
    command: string,
    input: Readonly<Record<string, string>> = {},
    options: OperateOptions = {},
  ): Promise<outcome.Values> {
    const outcomes = await this.operate(command, input, options);
    const first = outcomes[0];
    if (first === undefined) throw new UspError(7016, "nothing matches", command);
    if (first.error !== undefined) throw first.error;
    return first.output;
  }

  /** A request as the wire has it. */
  request(request: RequestType, options: Waiting = {}): Promise<ResponseType> {
    return this.#exchange.request(request, options);
  }

  close(): Promise<void> {
    return this.#exchange.close();
  }

  async #ask<Case extends ResponseType["$case"]>($case: Case, request: RequestType, options: Waiting) {
    const response = await this.#exchange.request(request, options);
    if (response.$case === $case) return response.value as Extract<ResponseType, { $case: Case }>["value"];
    throw new ControllerError("protocol", `the agent answers ${request.$case} with ${response.$case}`);
  }

  async #complete(
    started: outcome.CommandOutcome[],
    commandKey: string,
    completions: Subscription,
    completeMs: number,
  ) {
    const open = new Set(started.filter(({ request }) => request !== undefined).map(({ command }) => command));
    const done = new Map<string, Notification & { kind: "OperationComplete" }>();
    const timer = setTimeout(() => void completions.close().catch(() => undefined), completeMs);
    try {
      if (open.size > 0) {
        for await (const notification of completions) {
          if (notification.kind !== "OperationComplete" || notification.commandKey !== commandKey) continue;
          done.set(notification.path, notification);
          if (open.delete(notification.path) && open.size === 0) break;
        }
      }
    } finally {
      clearTimeout(timer);
    }
    return started.map((each) => {
      if (each.request === undefined) return each;
      const end = done.get(each.command);
      if (end === undefined)
        throw new ControllerError("timeout", `${each.command} is not complete after ${completeMs} ms`);
      return { ...each, output: end.output, ...(end.error === undefined ? {} : { error: end.error }) };
    });
  }

  #deliver(notification: Notification): void {
    this.#feeds.get(notification.subscriptionId)?.push(notification);
    for (const listener of this.#listeners) listener.push(notification);
  }
}

export interface SupportedOptions extends Waiting {
  readonly firstLevelOnly?: boolean;
  readonly commands?: boolean;
  readonly events?: boolean;
  readonly params?: boolean;
  readonly uniqueKeys?: boolean;
}

export interface OperateOptions extends Waiting {
  readonly commandKey?: string;
  /** False: do not wait for the end of an asynchronous command. */
  readonly wait?: boolean;
  readonly completeMs?: number;
}

function settingsOf({ values, required = true }: Settings) {
  return Object.entries(values).map(([param, value]) => ({ param, value, required }));
}
