/**
 * Operate (TR-369 §"The Operate Message"): one result a matched object; a command that fails never makes the Message fail
 * (R-OPR.1). Asynchronous commands start when the answer is on its way, so that it comes before their OperationComplete.
 */
import type { Operate, OperateResp_OperationResult } from "../../../proto/generated/usp-msg.ts";
import type { Clock } from "../../lib/clock.ts";
import { describe, type Log } from "../../lib/log.ts";
import { UspError, UspErrorCode } from "../../lib/usp-error.ts";
import { parseInput, printOutputs } from "../../model/command.ts";
import type { CommandCall, CommandOutputs } from "../../model/implementation.ts";
import type { InstanceNode, SupportedCommand } from "../../model/tree.ts";
import type { ResponseType } from "../codec.ts";
import type { RequestRow, Requests } from "../requests.ts";
import { EXECUTE } from "../rights.ts";
import { mayChange } from "./change.ts";
import { absent, invalidPath, resolveFor, type HandlerContext } from "./handler.ts";

export interface OperateContext extends HandlerContext {
  readonly requests: Requests;
  readonly log: Log;
  readonly clock: Clock;
  /** Aborted when the agent stops. */
  readonly signal: AbortSignal;
}

export interface OperateAnswer {
  readonly response: ResponseType;
  /** Starts the asynchronous commands; each promise ends when its command has, and never rejects. */
  start(): Promise<void>[];
}

/** @throws UspError 7008, 7026, 7016 where the path names no command */
export async function operate(request: Operate, context: OperateContext): Promise<OperateAnswer> {
  const path = context.paths.parse(request.command);
  if (path.leafKind !== "command") throw invalidPath(request.command);
  const { object, nodes, isTable, isSearch } = resolveFor(context, path);
  const command = object.commands.get(path.leaf as string);
  if (!command || isTable) throw invalidPath(request.command);
  if (nodes.length === 0 && !isSearch) throw absent(request.command);
  const starts: (() => Promise<void>)[] = [];
  const results = nodes.map((node) => operateOn(node, command, request, context, starts));
  const operationResults = await Promise.all(results);
  return { response: { $case: "operateResp", value: { operationResults } }, start: () => starts.map((run) => run()) };
}

async function operateOn(
  node: InstanceNode,
  command: SupportedCommand,
  request: Operate,
  context: OperateContext,
  starts: (() => Promise<void>)[],
): Promise<OperateResp_OperationResult> {
  const executedCommand = `${node.path}${command.name}`;
  const { policy, caller } = context.view;
  try {
    mayOperate(node, command, context);
    const args = parseInput(command.schema, request.inputArgs);
    if (command.schema.mode === "async") {
      const { endpointId } = context.view.caller;
      const startedAt = context.clock.now();
      const kept = command.schema.survives ? { kept: Object.fromEntries(request.inputArgs) } : {};
      const row = context.requests.add(endpointId, executedCommand, request.commandKey, { startedAt, ...kept });
      policy.done?.("ran", executedCommand, caller);
      starts.push(() => runToCompletion(node, command, args, row, context));
      const value = `Device.LocalAgent.Request.${row.instance}.`;
      return { executedCommand, operationResp: { $case: "reqObjPath", value } };
    }
    const call = { commandKey: request.commandKey, startedAt: context.clock.now(), signal: context.signal };
    const outputs = await run(node, command, args, call, context);
    policy.done?.("ran", executedCommand, caller);
    const outputArgs = printOutputs(command.schema, outputs, policy.securedVisible(node, undefined, caller));
    return { executedCommand, operationResp: { $case: "reqOutputArgs", value: { outputArgs } } };
  } catch (error) {
    const { code, message } = failureOf(error, executedCommand, context.log);
    return { executedCommand, operationResp: { $case: "cmdFailure", value: { errCode: code, errMsg: message } } };
  }
}

/** @throws UspError 7006 */
function mayOperate(node: InstanceNode, { name }: SupportedCommand, { view }: OperateContext): void {
  if ((view.access.at(node).element(name) & EXECUTE) === 0)
    throw new UspError(UspErrorCode.PermissionDenied, `${view.caller.endpointId} may not run ${node.path}${name}`);
  const refused = view.policy.mayOperate?.(node, name, view.caller);
  if (refused) throw refused;
}

/**
 * Goes on with what was under way before a restart; ends when it has. What can't go on, since its object or its
 * controller is gone, ends without a word.
 */
export async function resume(row: RequestRow, context: OperateContext): Promise<void> {
  try {
    const { leaf = "" } = context.paths.parse(row.Command);
    const node = context.tree.at(row.Command.slice(0, -leaf.length));
    const command = node?.object.commands.get(leaf);
    if (!node || !command?.schema.survives) return context.requests.remove(row);
    const args = parseInput(command.schema, new Map(Object.entries(row.kept ?? {})));
    await runToCompletion(node, command, args, row, context);
  } catch (error) {
    context.log.warn(`${row.Command} can't go on: ${describe(error)}`);
    context.requests.remove(row);
  }
}

/** Requested → Active → OperationComplete → the row goes (R-OPR.0). */
async function runToCompletion(
  node: InstanceNode,
  command: SupportedCommand,
  args: Readonly<Record<string, unknown>>,
  row: RequestRow,
  context: OperateContext,
): Promise<void> {
  const { requests, tree, log } = context;
  const done = {
    kind: "operationComplete",
    path: node.path,
    command: command.name,
    commandKey: row.CommandKey,
  } as const;
  const { signal } = row.abort;
  try {
    signal.throwIfAborted();
    requests.status(row, "Active");
    const call = { commandKey: row.CommandKey, startedAt: row.startedAt, signal };
    const running = run(node, command, args, call, context);
    const outputs = await Promise.race([running, abandoned(signal)]);
    signal.throwIfAborted();
    requests.status(row, "Success");
    const texts = Object.fromEntries(printOutputs(command.schema, outputs, true));
    tree.changes.emit({ ...done, outputs: texts });
  } catch (error) {
    if (requests.suspends(row)) return;
    const reason = signal.aborted ? endedBy(signal.reason, error) : error;
    const { code, message } = failureOf(reason, row.Command, log);
    requests.status(row, code === UspErrorCode.CommandCanceled ? "Canceled" : "Error");
    tree.changes.emit({ ...done, failure: { code, message } });
  }
  requests.remove(row);
}

/** Why it was made to end; in the command's own words where it has some. */
function endedBy(reason: unknown, error: unknown): unknown {
  return reason instanceof UspError && error instanceof UspError && error.code === reason.code ? error : reason;
}

/** How long a command that was cancelled may take to notice. */
const ABANDON_MS = 5_000;

/** Rejects when the command is past waiting for. */
function abandoned(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const wait = () => setTimeout(() => reject(signal.reason as Error), ABANDON_MS).unref();
    signal.addEventListener("abort", wait, { once: true });
  });
}

/** A promise even where the command throws at once. */
async function run(
  node: InstanceNode,
  command: SupportedCommand,
  args: Readonly<Record<string, unknown>>,
  call: Pick<CommandCall, "commandKey" | "startedAt" | "signal">,
  { tree, view }: OperateContext,
): Promise<CommandOutputs> {
  const { caller } = view;
  return command.run(node.row, args, { tree, caller, objectPath: node.path, mayChange: mayChange(view), ...call });
}

function failureOf(error: unknown, command: string, log: Log): { code: number; message: string } {
  if (error instanceof UspError) return error;
  log.error(`${command} failed`, error);
  return { code: UspErrorCode.Internal, message: `the command failed: ${describe(error).slice(0, 200)}` };
}
