/**
 * usp-js, iopsys' controller in JavaScript, in a process of its own: it brings a webpack along and is installed apart
 * (`npm install --ignore-scripts usp-js`), in the folder that the environment variable USP_JS names.
 */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";

const folder = process.env["USP_JS"];

export const uspJsMissing =
  folder !== undefined && existsSync(join(folder, "node_modules/usp-js/package.json"))
    ? undefined
    : "needs usp-js: the folder that it is installed in, in USP_JS";

export interface UspJsRun {
  /** What the script said by `say(value)`. */
  readonly said: unknown[];
  /** 0; what it threw stands in `said` as `{ threw: … }`. */
  readonly code: number;
}

/**
 * Runs a script with `device`, a connected usp-js, and `say`. `onSaid` sees each value when it comes.
 * @param script The body of an async function
 */
export async function runUspJs(
  options: Readonly<Record<string, unknown>>,
  script: string,
  onSaid: (value: unknown) => void = () => undefined,
): Promise<UspJsRun> {
  const program = `
    const say = (value) => process.stdout.write(JSON.stringify(value) + "\\n");
    process.on("uncaughtException", (error) => { say({ threw: "uncaught: " + error.message }); process.exit(3); });
    const connect = require("usp-js").default;
    (async () => {
      const device = await connect(${JSON.stringify(options)}, { onError: (error) => say({ error: String(error) }) });
      ${script}
      await device.disconnect();
    })().then(() => process.exit(0), (error) => { say({ threw: error && error.message || JSON.stringify(error) }); process.exit(2); });`;
  const child = spawn(process.execPath, ["-e", program], { cwd: folder, stdio: ["ignore", "pipe", "pipe"] });
  const limit = setTimeout(() => child.kill("SIGKILL"), 40_000);
  const said: unknown[] = [];
  let rest = "";
  let complaint = "";
  child.stderr.on("data", (chunk: Buffer) => (complaint = (complaint + chunk.toString()).slice(-4000)));
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk.toString()).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      let value: unknown;
      try {
        value = JSON.parse(line);
      } catch {
        value = line;
      }
      said.push(value);
      onSaid(value);
    }
  });
  const code = await new Promise<number>((resolve) => child.on("close", (status) => resolve(status ?? -1)));
  clearTimeout(limit);
  if (code !== 0 && complaint !== "") said.push({ complaint });
  return { said, code };
}
