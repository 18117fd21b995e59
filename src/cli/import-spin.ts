/** `spin-usp import-spin`: what a SPIN 1.0 kept in /etc/spin becomes rules and names of the running agent. */
import { parseArgs } from "node:util";
import { readSpinFiles } from "../gateway/spin1/files.ts";
import { Spin1Home } from "../gateway/spin1/home.ts";
import { plan } from "../gateway/spin1/migration.ts";
import { RESIDENT_SOCKET } from "../lib/resident-socket.ts";
import type { Io } from "./io.ts";
import { escapeLines } from "./text.ts";

const USAGE = `Usage: spin-usp import-spin [FOLDER] [--apply] [--socket PATH]

Reads block.list, ignore.list, allow.list, names.conf, nodepair.list and nodestore of SPIN 1.0, and says which rules and
names the agent would get. A second run changes nothing.

  FOLDER          default /etc/spin
  --apply         make them, through the resident's socket of the running agent
  --socket PATH   that socket; default ${RESIDENT_SOCKET}
  --help          this text

Exit codes: 0 done, or nothing to do; 1 the agent can't be reached or the folder can't be read; 2 wrong use;
5 some of it could not be done or mapped.
`;

export async function importSpin(args: string[], { stdout, stderr, signal }: Io): Promise<number> {
  const say = (text: string) => void stdout.write(`${escapeLines(text)}\n`);
  const warn = (text: string) => void stderr.write(`spin-usp import-spin: ${escapeLines(text)}\n`);
  let parsed;
  try {
    parsed = parseArgs({
      args,
      allowPositionals: true,
      options: { apply: { type: "boolean" }, socket: { type: "string" }, help: { type: "boolean", short: "h" } },
    });
  } catch (error) {
    stderr.write(`spin-usp import-spin: ${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  const { values, positionals } = parsed;
  if (values.help) {
    stdout.write(USAGE);
    return 0;
  }
  if (positionals.length > 1) {
    stderr.write(`spin-usp import-spin: one folder, not ${positionals.length}\n\n${USAGE}`);
    return 2;
  }
  const home = new Spin1Home(values.socket ?? RESIDENT_SOCKET, signal);
  try {
    const files = readSpinFiles(positionals[0] ?? "/etc/spin");
    const { steps, done, unmapped } = await plan(home, files);
    const left = [...files.faults, ...unmapped];
    let made = 0;
    for (const { what, run } of steps) {
      try {
        if (values.apply) await run();
        made++;
        say(values.apply ? `done: ${what}` : `would: ${what}`);
      } catch (error) {
        left.push(`${what}: ${(error as Error).message}`);
      }
    }
    for (const text of left) warn(text);
    say(`${made} ${values.apply ? "done" : "to do (--apply does it)"}, ${done} there already, ${left.length} left out`);
    return left.length > 0 ? 5 : 0;
  } catch (error) {
    warn((error as Error).message);
    return 1;
  } finally {
    await home.close();
  }
}
