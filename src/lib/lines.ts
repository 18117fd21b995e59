/** A child process as lines of text: for the tools that stand in where there is no better way. */
import { spawn } from "node:child_process";

export interface LinesEnd {
  /** 0: it ended well, or because of the signal. */
  readonly code: number;
  /** Why it ended, in words for an operator: `conntrack exited with 1: Operation not permitted`; empty if well. */
  readonly reason: string;
  /** The program is not there or may not be executed. */
  readonly missing: boolean;
}

/** A longer line is dropped: no tool of ours writes one. */
const LINE_LIMIT = 64 * 1024;
const COMPLAINT_LIMIT = 500;
const GRACE_MS = 1000;

/** Runs a program until it ends or the signal comes, handing on each line of its output. Never rejects for what the program does. */
export function runLines(
  command: readonly string[],
  signal: AbortSignal,
  onLine: (line: string) => void,
  onComplaint?: (text: string) => void,
): Promise<LinesEnd> {
  const [program = "", ...args] = command;
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"] });
    let rest = "";
    let complaint = "";
    let fault: unknown;
    let killer: NodeJS.Timeout | undefined;
    const stop = () => {
      child.kill("SIGTERM");
      killer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
    };
    const settle = (end: LinesEnd) => {
      clearTimeout(killer);
      signal.removeEventListener("abort", stop);
      if (fault !== undefined) reject(fault);
      else resolve(end);
    };
    child.stdout.setEncoding("latin1");
    child.stdout.on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() as string;
      if (rest.length > LINE_LIMIT) rest = "";
      try {
        for (const line of lines) onLine(line);
      } catch (error) {
        fault ??= error;
        child.kill("SIGKILL");
      }
    });
    child.stderr.on("data", (chunk: Buffer) => {
      const text = chunk.toString("latin1");
      complaint = (complaint + text).slice(-COMPLAINT_LIMIT);
      onComplaint?.(text);
    });
    child.once("error", (error: NodeJS.ErrnoException) => {
      const missing = error.code === "ENOENT" || error.code === "EACCES";
      settle({ code: 127, reason: `${program}: ${error.code ?? error.message}`, missing });
    });
    child.once("close", (code, how) => {
      const words = how ? `ended by ${how}` : `exited with ${code}`;
      const ok = code === 0 || signal.aborted;
      const detail = complaint.trim();
      const reason = ok ? "" : `${program} ${words}${detail && `: ${detail}`}`;
      settle({ code: ok ? 0 : (code ?? 128), reason, missing: code === 127 });
    });
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
  });
}
