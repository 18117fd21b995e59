/**
 * Builds build/spin-usp-helper from src/netlink/helper/: with musl-gcc as a static file that runs on any Linux of this
 * architecture, else with cc. Without a compiler it says so and succeeds, so that an installation does too: the agent then
 * works through spawned tools, with less (README, "On a gateway"). `node scripts/helper.mjs [OUTPUT] [FLAG …]` is what the
 * tests use.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, renameSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const folder = join(root, "src/netlink/helper");
const sources = readdirSync(folder)
  .filter((name) => name.endsWith(".c"))
  .map((name) => join(folder, name));
const [output = join(root, "build/spin-usp-helper"), ...flags] = process.argv.slice(2);
const common = ["-std=gnu11", "-Os", "-Wall", "-Wextra", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2"];
// musl-gcc looks in musl's own include folder alone; the kernel's headers lie in the distribution's.
const kernelHeaders = [
  "/usr/include",
  `/usr/include/${process.arch === "x64" ? "x86_64" : process.arch === "arm64" ? "aarch64" : process.arch}-linux-gnu`,
];
const compilers =
  flags.length > 0
    ? [["cc", flags]]
    : [
        ["musl-gcc", ["-static", "-s", ...kernelHeaders.flatMap((folder) => ["-idirafter", folder])]],
        ["cc", ["-s"]],
      ];

let complaint = "";
try {
  mkdirSync(dirname(output), { recursive: true });
} catch (error) {
  // The compilers then say so too.
  complaint += `${error.message}\n`;
}
for (const [compiler, extra] of compilers) {
  // Into a file of its own first: a helper may be running from the old one.
  const fresh = `${output}.${process.pid}`;
  const { error, status, stderr } = spawnSync(compiler, [...common, ...extra, "-o", fresh, ...sources], {
    encoding: "utf8",
  });
  if (status === 0) {
    renameSync(fresh, output);
    console.log(`helper: ${output} (${compiler}, ${Math.round(statSync(output).size / 1024)} KiB)`);
    process.exit(0);
  }
  complaint += error ? `${compiler}: ${error.code}\n` : `${compiler}:\n${stderr}\n`;
}
console.error(`
********************************************************************************
helper: NOT BUILT. The agent will watch through the conntrack tool or procfs and
block through spawned nft: more CPU, slower blocks, no DNS names from the wire.
Remedy: install a C compiler and the kernel's headers (Debian: apt-get install
gcc libc6-dev linux-libc-dev), then npm run helper.
********************************************************************************
${complaint}`);
process.exit(0);
