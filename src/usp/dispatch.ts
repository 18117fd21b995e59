/** From a request to its answer. Every failure becomes an Error Message; a bug of ours is logged and answered 7003. */
import type { Msg } from "../../proto/generated/usp-msg.ts";
import { describe, type Log } from "../lib/log.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { errorMsg, responseMsg, type RequestType, type ResponseType } from "./codec.ts";
import { add } from "./handlers/add.ts";
import { remove } from "./handlers/delete.ts";
import { getInstances } from "./handlers/get-instances.ts";
import { getSupportedDm } from "./handlers/get-supported-dm.ts";
import { getSupportedProtocol } from "./handlers/get-supported-protocol.ts";
import { get } from "./handlers/get.ts";
import { MessageError } from "./handlers/handler.ts";
import { operate, type OperateContext } from "./handlers/operate.ts";
import { set } from "./handlers/set.ts";

export interface DispatchContext extends OperateContext {
  readonly dataModelUri: (path: string) => string;
  /** See AgentOptions.saved. */
  readonly saved: () => Promise<void>;
}

export interface Answer {
  /** Absent where none is wanted (send_resp false). */
  readonly msg?: Msg;
  /** What happens once the answer is on its way; its promises never reject. */
  readonly afterwards?: () => Promise<void>[];
}

/** At once where nothing has to be waited for. Never throws or rejects. */
export function dispatch(msgId: string, request: RequestType, context: DispatchContext): Answer | Promise<Answer> {
  try {
    switch (request.$case) {
      case "get":
        return answer(msgId, get(request.value, context));
      case "getInstances":
        return answer(msgId, getInstances(request.value, context));
      case "getSupportedDm":
        return answer(msgId, getSupportedDm(request.value, context));
      case "getSupportedProtocol":
        return answer(msgId, getSupportedProtocol());
      case "set":
        return afterSaving(msgId, context, () => set(request.value, context));
      case "add":
        return afterSaving(msgId, context, () => add(request.value, context));
      case "delete":
        return afterSaving(msgId, context, () => remove(request.value, context));
      case "operate":
        return operateAnswer(msgId, request.value, context);
      // These are asked of a controller or a broker, and we are neither (R-MSG.1).
      case "notify":
      case "register":
      case "deregister":
        throw new UspError(UspErrorCode.MessageNotSupported, `this agent takes no ${request.$case} request`);
    }
  } catch (error) {
    return failure(msgId, error, context.log);
  }
}

const answer = (msgId: string, response: ResponseType): Answer => ({ msg: responseMsg(msgId, response) });

function failure(msgId: string, error: unknown, log: Log): Answer {
  if (error instanceof MessageError) return { msg: errorMsg(msgId, error.code, error.message, [...error.paramErrs]) };
  if (error instanceof UspError) return { msg: errorMsg(msgId, error.code, error.message) };
  log.error("a request failed by our own fault", error);
  return { msg: errorMsg(msgId, UspErrorCode.Internal, "internal error") };
}

/** The answer to a change that is kept waits until it is on disk. */
function afterSaving(
  msgId: string,
  { saved, log }: DispatchContext,
  change: () => ResponseType,
): Answer | Promise<Answer> {
  const before = saved();
  const response = change();
  const after = saved();
  if (after === before) return answer(msgId, response);
  return after.then(
    () => answer(msgId, response),
    (error: unknown) => ({ msg: unsaved(msgId, error, log) }),
  );
}

/** A full disk is nobody's bug: the change stays in force, and the store tries again to save it. */
function unsaved(msgId: string, error: unknown, log: Log): Msg {
  const why = `in force now, but could not be saved: ${describe(error)}`;
  log.warn(`a change is ${why}`);
  return errorMsg(msgId, UspErrorCode.ResourcesExceeded, why);
}

async function operateAnswer(
  msgId: string,
  request: Extract<RequestType, { $case: "operate" }>["value"],
  context: DispatchContext,
): Promise<Answer> {
  let outcome;
  let saving: Promise<void> | undefined;
  try {
    const before = context.saved();
    outcome = await operate(request, context);
    const after = context.saved();
    if (after !== before) saving = after;
  } catch (error) {
    return failure(msgId, error, context.log);
  }
  const { response, start } = outcome;
  try {
    await saving;
  } catch (error) {
    // What it has begun goes on all the same.
    const msg = unsaved(msgId, error, context.log);
    return { ...(request.sendResp ? { msg } : {}), afterwards: start };
  }
  return { ...(request.sendResp ? answer(msgId, response) : {}), afterwards: start };
}
