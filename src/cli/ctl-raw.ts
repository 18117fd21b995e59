/** The words that are USP's own: get, set, add, delete, operate, instances, supported, subscribe. */
import type { Notification, NotificationKind, Settings } from "../controller/controller.ts";
import type { ParamFault } from "../controller/outcome.ts";
import { UspError } from "../lib/usp-error.ts";
import { errorJson, errorText, Exit, say, sayJson, tell, type Word } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { nest, type Json } from "./json.ts";
import { escapeText } from "./text.ts";
import { typedValues } from "./value-types.ts";

export const get: Word = async (context) => {
  const { controller, args, options } = context;
  needPaths(args);
  const outcomes = await controller.get(args, { maxDepth: whole("max-depth", options["max-depth"], 0) });
  const found = outcomes.filter(({ error }) => error === undefined);
  if (options.json === true) {
    if (found.length > 0) sayJson(context, nest(await typedValues(controller, found)));
  } else {
    for (const { objects } of found) {
      for (const { path, params } of objects)
        for (const [name, value] of params) say(context, escapeText(`${path}${name} = ${value}`));
    }
  }
  return tell(context, errorsOf(outcomes), found.length);
};

export const set: Word = async (context) => {
  const { controller, args, options } = context;
  const objects: { path: string; values: Record<string, string>; required: boolean }[] = [];
  for (const [target, value] of assignments(args, "set PATH=VALUE …")) {
    const at = target.lastIndexOf(".") + 1;
    const path = target.slice(0, at);
    const name = target.slice(at);
    if (path === "" || name === "") throw new UsageError(`${target}: is no path of a parameter`);
    const last = objects.at(-1);
    if (last?.path === path) last.values[name] = value;
    else objects.push({ path, values: { [name]: value }, required: options.partial !== true });
  }
  const outcomes = await controller.set(objects, { allowPartial: options.partial === true });
  const updated = outcomes.flatMap((outcome) => outcome.objects);
  const values = updated.flatMap(({ path, params }) =>
    [...params].map(([name, value]): [string, string] => [path + name, value]),
  );
  if (options.json === true) sayJson(context, nest(values));
  else for (const [path, value] of values) say(context, escapeText(`${path} = ${value}`));
  const faults = updated.flatMap(({ path, faults }) => faults.map((fault) => faultError(fault, path)));
  return tell(context, [...errorsOf(outcomes), ...faults], values.length);
};

export const add: Word = async (context) => {
  const { controller, args, options } = context;
  const [path, ...rest] = args;
  if (path === undefined) throw new UsageError("add PATH [NAME=VALUE …]");
  const settings: Settings = {
    path,
    values: Object.fromEntries(assignments(rest, "")),
    required: options.partial !== true,
  };
  const outcomes = await controller.add([settings], { allowPartial: options.partial === true });
  const made = outcomes.filter((outcome) => outcome.path !== undefined);
  if (options.json === true) {
    sayJson(context, {
      Added: made.map((each) => ({ Path: each.path ?? "", UniqueKeys: Object.fromEntries(each.uniqueKeys) })),
    });
  } else for (const each of made) say(context, each.path ?? "");
  const faults = made.flatMap((each) => each.faults.map((fault) => faultError(fault, each.path ?? "")));
  return tell(context, [...errorsOf(outcomes), ...faults], made.length);
};

export const remove: Word = async (context) => {
  const { controller, args, options } = context;
  needPaths(args);
  const outcomes = await controller.delete(args, { allowPartial: options.partial === true });
  const deleted = outcomes.flatMap((outcome) => outcome.deleted);
  if (options.json === true) sayJson(context, { Deleted: deleted });
  else for (const path of deleted) say(context, path);
  const kept = outcomes.flatMap(({ undeleted }) => undeleted.map((fault) => faultError(fault, "")));
  const errors = [...errorsOf(outcomes), ...kept];
  if (options.json !== true && deleted.length === 0 && errors.length === 0) say(context, "there was nothing to delete");
  return tell(context, errors, deleted.length);
};

export const operate: Word = async (context) => {
  const { controller, args, options } = context;
  const [command, ...rest] = args;
  if (command === undefined || !command.endsWith("()")) throw new UsageError("operate COMMAND() [NAME=VALUE …]");
  const input = Object.fromEntries(assignments(rest, ""));
  const outcomes = await controller.operate(command, input, { wait: options["no-wait"] !== true });
  if (options.json === true) {
    sayJson(context, {
      Command: outcomes.map(({ command, request, output, error }) => ({
        Path: command,
        ...(request === undefined ? {} : { Request: request }),
        ...(error === undefined ? { Output: nest(output) } : { Error: errorJson(error) }),
      })),
    });
  } else {
    for (const { command, request, output, error } of outcomes) {
      if (error !== undefined) continue;
      say(context, request === undefined ? command : `${command} (${request})`);
      for (const [name, value] of output) say(context, escapeText(`  ${name} = ${value}`));
    }
  }
  const errors = errorsOf(outcomes);
  return tell(context, errors, outcomes.length - errors.length);
};

export const instances: Word = async (context) => {
  const { controller, args, options } = context;
  needPaths(args);
  const outcomes = await controller.instances(args, { firstLevelOnly: options["first-level"] === true });
  const rows = outcomes.flatMap((outcome) => outcome.instances);
  if (options.json === true) {
    sayJson(context, {
      Instance: rows.map(({ path, uniqueKeys }) => ({ Path: path, UniqueKeys: Object.fromEntries(uniqueKeys) })),
    });
  } else {
    for (const { path, uniqueKeys } of rows) {
      const keys = [...uniqueKeys].map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(" ");
      say(context, escapeText(`${path} ${keys}`.trimEnd()));
    }
  }
  const errors = errorsOf(outcomes);
  return tell(context, errors, outcomes.length - errors.length);
};

export const supported: Word = async (context) => {
  const { controller, args, options } = context;
  const outcomes = await controller.supported(args.length === 0 ? ["Device."] : args, {
    firstLevelOnly: options["first-level"] === true,
  });
  const errors = errorsOf(outcomes);
  const objects = outcomes.flatMap((outcome) => outcome.objects);
  if (options.json === true) {
    sayJson(context, {
      Object: objects.map(({ path, access, params, commands, events, uniqueKeys }) => ({
        Path: path,
        Access: access,
        Parameter: params.map(({ name, access, type }) => ({ Name: name, Access: access, Type: type })),
        Command: commands.map(({ name, type, input, output }) => ({
          Name: name,
          Type: type,
          Input: input,
          Output: output,
        })),
        Event: events.map(({ name, args }) => ({ Name: name, Argument: args })),
        UniqueKey: uniqueKeys,
      })),
    });
    return tell(context, errors, outcomes.length - errors.length);
  }
  for (const { path, access, params, commands, events } of objects) {
    say(context, `${path} (${access})`);
    for (const { name, access, type } of params) say(context, `  ${name} (${access}, ${type})`);
    for (const { name, type, input, output } of commands) {
      const result = output.length === 0 ? "" : ` → ${output.join(", ")}`;
      say(context, `  ${name.replace(/\(\)$/, "")}(${input.join(", ")})${result} (${type})`);
    }
    for (const { name, args } of events) say(context, `  ${name} ${args.join(", ")}`.trimEnd());
  }
  return tell(context, errors, outcomes.length - errors.length);
};

const KINDS = [
  "ValueChange",
  "ObjectCreation",
  "ObjectDeletion",
  "OperationComplete",
  "Event",
] as const satisfies readonly NotificationKind[];

export const subscribe: Word = async (context) => {
  const { controller, args, options, io } = context;
  const [wanted, ...references] = args;
  const kind = KINDS.find((each) => each === wanted);
  if (kind === undefined || references.length === 0)
    throw new UsageError(`subscribe KIND PATH …, where KIND is one of ${KINDS.join(", ")}`);
  const count = whole("count", options.count, Infinity);
  const subscription = await controller.subscribe({ kind, references });
  const stop = () => void subscription.close().catch(() => undefined);
  io.signal.addEventListener("abort", stop, { once: true });
  if (io.signal.aborted) stop();
  if (options.json !== true) io.err(`subscribed by ${subscription.path}; Ctrl-C ends\n`);
  try {
    let seen = 0;
    for await (const notification of subscription) {
      if (options.json === true) sayJson(context, notificationJson(notification), true);
      else say(context, notificationText(notification));
      if (++seen >= count) break;
    }
  } finally {
    io.signal.removeEventListener("abort", stop);
    await subscription.close();
  }
  return Exit.Ok;
};

function notificationText(notification: Notification): string {
  const list = (values: ReadonlyMap<string, string>) =>
    [...values].map(([name, value]) => ` ${name}=${JSON.stringify(value)}`).join("");
  const { kind, path } = notification;
  switch (kind) {
    case "ValueChange":
      return escapeText(`${kind} ${path} = ${notification.value}`);
    case "ObjectCreation":
      return escapeText(`${kind} ${path}${list(notification.uniqueKeys)}`);
    case "Event":
      return escapeText(`${kind} ${path}${list(notification.params)}`);
    case "OperationComplete":
      return notification.error === undefined
        ? escapeText(`${kind} ${path}${list(notification.output)}`)
        : `${kind} ${path} failed: ${errorText(notification.error)}`;
    default:
      return escapeText(`${kind} ${path}`.trimEnd());
  }
}

function notificationJson(notification: Notification): Json {
  const common = { Kind: notification.kind, Path: notification.path };
  switch (notification.kind) {
    case "ValueChange":
      return { ...common, Value: notification.value };
    case "ObjectCreation":
      return { ...common, UniqueKeys: Object.fromEntries(notification.uniqueKeys) };
    case "Event":
      return { ...common, Argument: Object.fromEntries(notification.params) };
    case "OperationComplete": {
      const { error, output, commandKey } = notification;
      return {
        ...common,
        CommandKey: commandKey,
        ...(error === undefined ? { Output: nest(output) } : { Error: errorJson(error) }),
      };
    }
    default:
      return common;
  }
}

/** `NAME=VALUE` each; the first equals sign outside of brackets parts them, so that search paths can be targets. */
function assignments(args: readonly string[], usage: string): [name: string, value: string][] {
  if (args.length === 0 && usage !== "") throw new UsageError(usage);
  return args.map((arg) => {
    let depth = 0;
    for (let at = 0; at < arg.length; at++) {
      if (arg[at] === "[") depth++;
      else if (arg[at] === "]") depth--;
      else if (arg[at] === "=" && depth === 0 && at > 0) return [arg.slice(0, at), arg.slice(at + 1)];
    }
    throw new UsageError(`${arg}: is no NAME=VALUE`);
  });
}

export function whole(name: string, text: string | undefined, absent: number): number {
  if (text === undefined) return absent;
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} ${text}: is no number`);
  return Number(text);
}

function needPaths(args: readonly string[]): void {
  if (args.length === 0) throw new UsageError("a path is missing, as Device.DeviceInfo. is one");
}

function errorsOf(outcomes: readonly { readonly error?: UspError }[]): UspError[] {
  return outcomes.flatMap(({ error }) => error ?? []);
}

function faultError({ param, code, message }: ParamFault, path: string): UspError {
  return new UspError(code, message, path + param);
}
