/**
 * One agent a state directory: a symbolic link whose target names its owner, which a crash leaves behind harmlessly. A
 * link is made with its content in one step, and on a full disk too.
 */
import { readFileSync, readlinkSync, renameSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";

export class StateLockedError extends Error {
  override readonly name = "StateLockedError";
}

const ATTEMPTS = 3;

/** @returns how to let go. @throws StateLockedError if another agent that lives has it; the system's error */
export function lockState(directory: string): () => void {
  const path = join(directory, "lock");
  const own = `${process.pid} ${startTime(process.pid)}`;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    try {
      symlinkSync(own, path);
      return () => {
        if (ownerOf(path) === own) unlinkSync(path);
      };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = ownerOf(path);
    if (owner !== undefined && lives(owner)) throw lockedBy(directory, owner);
    takeAway(path, owner);
  }
  throw lockedBy(directory, ownerOf(path));
}

/** Pid of the agent that has the directory now; `undefined` if none has. */
export function lockOwner(directory: string): number | undefined {
  const owner = ownerOf(join(directory, "lock"));
  return owner !== undefined && lives(owner) ? Number(owner.split(" ")[0]) : undefined;
}

/** Removes a dead owner's lock, but not that of somebody who was quicker to do so. */
function takeAway(path: string, owner: string | undefined): void {
  const aside = `${path}.${process.pid}`;
  try {
    renameSync(path, aside);
    const taken = ownerOf(aside);
    if (taken !== owner && taken !== undefined && lives(taken)) renameSync(aside, path);
    else unlinkSync(aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

function lockedBy(directory: string, owner: string | undefined): StateLockedError {
  return new StateLockedError(
    `${directory} is in use by process ${owner?.split(" ")[0] ?? "?"}; a state directory is for one agent`,
  );
}

/** `PID STARTTIME`; `undefined` if there is no such link. */
function ownerOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function lives(owner: string): boolean {
  const [pid = "", started = ""] = owner.split(" ");
  return started !== "" && startTime(Number(pid)) === started;
}

/** Field 22 of /proc/PID/stat tells a process from a later one with its number; empty if there is none that runs. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    const [state = "", ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return state === "Z" || state === "X" ? "" : (fields[18] ?? "");
  } catch {
    return "";
  }
}
