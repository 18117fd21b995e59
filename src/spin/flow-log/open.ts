/** Opens the flow log: a directory's, or one in memory where there is none or it can't be made. */
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { directoryFiles, memoryFiles, type LogFiles } from "./files.ts";
import { FlowLog } from "./flow-log.ts";

/** Of a log in memory: a gateway of 256 MB has better use for more. */
const MEMORY_BYTES = 512 * 1024;

export interface OpenOptions {
  /** `undefined`: in memory. */
  readonly directory: string | undefined;
  readonly bytes: number;
  readonly days: number;
  readonly clock: Clock;
  readonly log: Log;
}

export function openFlowLog({ directory, bytes, days, clock, log }: OpenOptions): FlowLog {
  const files = filesIn(directory, log);
  return new FlowLog({
    files: files ?? memoryFiles(),
    bytes: files ? bytes : Math.min(bytes, MEMORY_BYTES),
    days,
    clock,
    log,
  });
}

function filesIn(directory: string | undefined, log: Log): LogFiles | undefined {
  if (directory === undefined) return undefined;
  try {
    return directoryFiles(directory);
  } catch (error) {
    log.error(`flow log: ${directory} can't be used, what has been is kept in memory alone`, error);
    return undefined;
  }
}
