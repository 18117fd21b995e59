/** The flow log as the configuration wants it; its code is read only where there is one. */
import { join } from "node:path";
import type { Config } from "../config.ts";
import { systemClock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { FlowRecorder } from "../spin/flow-recorder.ts";

/** Its folder in the state directory. */
export const FLOW_LOG = "flow-log";

/** @returns `undefined` where none is wanted */
export async function flowLogOf({ flowLog, agent }: Config, log: Log): Promise<FlowRecorder | undefined> {
  if (flowLog.size === 0) return undefined;
  const { openFlowLog } = await import("../spin/flow-log/open.ts");
  return openFlowLog({
    directory: flowLog.directory || join(agent.state_dir, FLOW_LOG),
    bytes: flowLog.size * 1024,
    days: flowLog.days,
    clock: systemClock,
    log: log.child("flow-log"),
  });
}
