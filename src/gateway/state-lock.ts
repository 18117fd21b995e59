/** One agent a state directory: a lock file with the pid of its owner, which a crash leaves behind harmlessly. */
import { closeSync, openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";

export class StateLockedError extends Error {
  override readonly name = "StateLockedError";
}

/** @returns how to let go. @throws StateLockedError if another agent that lives has it */
export function lockState(directory: string): () => void {
  const path = join(directory, "lock");
  for (let attempt = 0; ; attempt++) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, `${process.pid} ${startTime(process.pid)}`);
      closeSync(file);
      return () => {
        if (ownerOf(path)?.pid === process.pid) unlinkSync(path);
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const owner = ownerOf(path);
      const lives = owner !== undefined && owner.pid !== process.pid && startTime(owner.pid) === owner.started;
      if (lives || attempt > 2) throw new StateLockedError(`${directory} is in use by process ${owner?.pid ?? "?"}`);
      unlinkSync(path);
    }
  }
}

function ownerOf(path: string): { pid: number; started: string } | undefined {
  try {
    const [pid, started] = readFileSync(path, "utf8").split(" ");
    return started === undefined ? undefined : { pid: Number(pid), started };
  } catch {
    return undefined;
  }
}

/** Field 22 of /proc/PID/stat tells a process from a later one with its number; empty if there is none. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
  } catch {
    return "";
  }
}
