/**
 * Network namespaces for tests: unique names, programs inside them, and an end that leaves nothing, also after a crash.
 *
 * A name says who made it (`su-PID-STARTTIME-RANDOM-ROLE`), so that whoever comes next can tell those of a dead process
 * and remove them. Programs are found by the namespace that they are in, and ended by pid.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";

export interface ExecOptions {
  readonly input?: string;
  /** Default 20 s. */
  readonly timeoutMs?: number;
  /** Return instead of throwing when the program fails. */
  readonly mayFail?: boolean;
}

export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const PREFIX = "su";
const NAMESPACES = "/run/netns";

/** A name nobody else has, for a group of namespaces; add a role to it. */
export function uniqueGroup(): string {
  return `${PREFIX}-${process.pid}-${startTime(process.pid) ?? 0}-${randomBytes(3).toString("hex")}`;
}

/** Runs a program to its end, in a namespace if one is named. */
export function exec(
  namespace: string | undefined,
  command: string,
  args: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> {
  const [program, ...rest] = enter(namespace, command, args);
  return new Promise((resolve, reject) => {
    const limits = { timeout: options.timeoutMs ?? 20_000, killSignal: "SIGKILL" as const, maxBuffer: 64 << 20 };
    const child = execFile(program, rest, limits, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === "number" ? error.code : 255) : 0;
      if (code === 0 || options.mayFail) return resolve({ code, stdout, stderr });
      const why = error?.killed ? "did not end in time" : `exited with ${code}`;
      reject(new Error(`${command} ${args.join(" ")} ${why}: ${stderr.trim() || stdout.trim()}`));
    });
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
  });
}

/** Starts a program that runs beside the test; it dies with this process. */
export function start(
  namespace: string | undefined,
  command: string,
  args: readonly string[],
  options: { readonly env?: NodeJS.ProcessEnv; readonly cwd?: string } = {},
): ChildProcess {
  const [program, ...rest] = enter(namespace, "setpriv", ["--pdeathsig", "KILL", command, ...args]);
  return spawn(program, rest, { stdio: ["pipe", "pipe", "pipe"], ...options });
}

/** Resolves with the exit code (or 128 + signal) once the program has ended. */
export function ended(child: ChildProcess): Promise<number> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve(child.exitCode ?? 128);
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 128)));
}

/** Ends a program: the signal, then SIGKILL after `graceMs`. */
export async function stop(child: ChildProcess, signal: NodeJS.Signals = "SIGTERM", graceMs = 5000): Promise<number> {
  const done = ended(child);
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
  const code = await done;
  clearTimeout(timer);
  return code;
}

/** Removes every namespace of the group and ends what runs in them. Synchronous, so that it can run at exit. */
export function removeGroup(group: string): void {
  for (const name of list().filter((name) => name.startsWith(`${group}-`))) {
    const pids = spawnSync("ip", ["netns", "pids", name], { encoding: "utf8" }).stdout;
    for (const pid of pids.split("\n").filter(Boolean)) kill(Number(pid));
    spawnSync("ip", ["netns", "del", name]);
  }
}

/** Removes what processes left that no longer live. */
export function sweep(): void {
  const groups = new Set<string>();
  for (const name of list()) {
    const match = /^su-(\d+)-(\d+)-[0-9a-f]{6}(?=-)/.exec(name);
    if (match && startTime(Number(match[1])) !== match[2]) groups.add(match[0]);
  }
  for (const group of groups) removeGroup(group);
}

/** Names of all network namespaces. */
export function list(): string[] {
  try {
    return readdirSync(NAMESPACES);
  } catch {
    return [];
  }
}

function enter(namespace: string | undefined, command: string, args: readonly string[]): [string, ...string[]] {
  return namespace === undefined ? [command, ...args] : ["ip", "netns", "exec", namespace, command, ...args];
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}

/** Clock ticks after boot at which a process began: with the pid it names one process for good. */
function startTime(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
  } catch {
    return undefined;
  }
}
