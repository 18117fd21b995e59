/** `npm run bench [-- NAME …]`: each benchmark in a process of its own, one after another; one table line a figure. */
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { BUNDLED } from "./bundled.mjs";
import { root, setup } from "./setup.mjs";

if (!setup()) process.exit(1);
const { build } = await import("esbuild");
process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
const wanted = process.argv.slice(2);
const all = readdirSync(join(root, "bench"))
  .filter((name) => name.endsWith(".ts"))
  .sort();
const names = wanted.length === 0 ? all : all.filter((name) => wanted.some((part) => name.includes(part)));
if (names.length === 0) {
  console.error(
    `bench: none of ${all.map((name) => name.replace(/\.ts$/, "")).join(", ")} matches ${wanted.join(" ")}`,
  );
  process.exit(2);
}

for (const script of ["scripts/helper.mjs", "scripts/build.mjs"]) {
  const { status } = spawnSync(process.execPath, [script], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) console.error(`bench: ${script} failed; what needs it will say so.`);
}
// The floor is bundled as the agent is, or it would carry what our bundle leaves out (mqtt.js's debug: 5 µs a request).
await build({
  ...BUNDLED,
  entryPoints: [join(root, "bench/support/echo-endpoint.ts")],
  outfile: join(root, "build/bench/echo-endpoint.cjs"),
});
console.log(`${cpus().length} × ${cpus()[0]?.model ?? "?"}, ${process.platform} ${process.arch}, ${process.version}\n`);
console.log("| figure | measured | target | | beside it | runtime | what limits it |\n|---|---|---|---|---|---|---|");
for (const name of names) {
  const file = JSON.stringify(join(root, "bench", name));
  const args = ["--require", join(root, "test/support/register.cjs"), "-e", `require(${file})`];
  const { status, error } = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 600_000,
  });
  if (status !== 0) {
    console.log(
      `| ${name} | did not run (${error?.message ?? `exit ${status}`}) | | MISSED | | node ${process.version} | |`,
    );
    process.exitCode = 1;
  }
}
