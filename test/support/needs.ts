/**
 * What a test needs of the machine. A test that cannot run here is skipped with the reason in its name, so that the
 * last lines of `npm test` can say what was not seen.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

/** A program on the path, or one of the states that tools alone do not give. */
export type Need = "root" | "netns" | (string & {});

/** Why this machine can't do it, in words; `undefined` if it can. */
export function missing(...needs: readonly Need[]): string | undefined {
  for (const need of needs) {
    if (need === "root") {
      if (process.getuid?.() !== 0) return "needs root";
    } else if (need === "netns") {
      const reason = netnsReason();
      if (reason) return reason;
    } else if (!programPath(need)) return `needs the program ${need}`;
  }
  return undefined;
}

/** Where a program lies, looking also where Debian puts administrators' tools. */
export function programPath(name: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** `describe`, or with a reason a skipped one that says it. */
export function describeUnless(reason: string | undefined, name: string, body: () => void): void {
  if (reason === undefined) describe(name, body);
  else describe.skip(`${name} [skipped: ${reason}]`, body);
}

let netns: string | undefined | false = false;

function netnsReason(): string | undefined {
  if (netns !== false) return netns;
  netns = missing("root", "ip");
  if (netns === undefined && spawnSync("unshare", ["-n", "true"]).status !== 0) netns = "needs network namespaces";
  return netns;
}
