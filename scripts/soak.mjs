/** `npm run soak [-- MINUTES]`: a home under load for as long, as root; see test/support/soak.ts. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

if (!setup()) process.exit(1);
process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
for (const script of ["scripts/helper.mjs", "scripts/build.mjs"]) {
  const { status } = spawnSync(process.execPath, [script], { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) console.error(`soak: ${script} failed; what needs it will say so.`);
}
const file = JSON.stringify(join(root, "test/support/soak-main.ts"));
const node = ["--require", join(root, "test/support/register.cjs"), "-e", `require(${file})`, "--"];
const { status } = spawnSync(process.execPath, [...node, ...process.argv.slice(2)], { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
