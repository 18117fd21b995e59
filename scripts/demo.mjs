// `npm run demo`: brings a fresh clone to where it can run, then runs the demo. The demo and its broker are no part of
// the gateway's bundle.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { npmPackages, root } from "./setup.mjs";
import { writeVendors } from "./vendors.mjs";

if (!npmPackages()) process.exit(1);
const { build } = await import("esbuild");
const outfile = join(root, "build/demo/main.mjs");
await build({
  entryPoints: [join(root, "demo/main.ts")],
  outfile,
  bundle: true,
  splitting: false,
  packages: "external",
  platform: "node",
  format: "esm",
  target: "node20",
  logLevel: "warning",
});
// Beside the demo, where it looks for it.
writeVendors(join(root, "build/demo/vendors.bin"));
const child = spawn(process.execPath, [outfile, ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
// Ctrl-C reaches the child by itself; here it only must not end us before it.
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => child.kill("SIGTERM"));
child.once("exit", (code, signal) => {
  process.exitCode = code ?? (signal === null ? 1 : 130);
});
