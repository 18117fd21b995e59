/**
 * `npm test`: sets up, checks, builds and tests everything; `npm test -- PATTERN` runs the tests whose path matches.
 * The last line is `N passed, N failed, N skipped`; before it stand the reasons of what was skipped and what failed.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { root, setup } from "./setup.mjs";

const MINUTES = 60_000;
const report = join(root, "build/test/jest.json");
const patterns = process.argv.slice(2);
const passed = [];
const failed = [];
const skipped = [];

if (!setup()) failed.push("setup");
else {
  // The traffic generator, mosquitto and the rest may lie where only root's path looks.
  process.env.PATH = `${process.env.PATH}:/usr/sbin:/sbin`;
  check("the capture helper builds", ["scripts/helper.mjs"]);
  check("the bundle builds", ["scripts/build.mjs"]);
  check("the bundle starts and says its version", ["bin/spin-usp", "--version"], versionOf(root));
  if (patterns.length === 0) {
    check("types", ["node_modules/typescript/bin/tsc", "--noEmit"]);
    check("lint", ["node_modules/eslint/bin/eslint.js", "."]);
    check("format", ["node_modules/prettier/bin/prettier.cjs", "--check", "--log-level", "warn", "."]);
  }
  jest();
}

for (const [title, list] of [
  ["Skipped", skipped],
  ["Failed", failed],
])
  // prettier-ignore
  if (list.length > 0) console.log(`\n${title}:\n${list.map((line) => `  ${line}`).join("\n")}`);
process.exitCode = failed.length > 0 ? 1 : 0;
console.log(`\n${passed.length} passed, ${failed.length} failed, ${skipped.length} skipped`);

/** One step that is a program of ours: passes if it exits with 0 and its output holds `expected`. */
function check(name, args, expected = "") {
  const began = Date.now();
  const child = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8", timeout: 5 * MINUTES });
  const output = `${child.stdout}${child.stderr}`;
  const ok = child.status === 0 && output.includes(expected);
  console.log(`${ok ? "ok  " : "FAIL"} ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  if (!ok) console.log(output.trim().split("\n").slice(-60).join("\n"));
  (ok ? passed : failed).push(name);
}

function jest() {
  mkdirSync(join(root, "build/test"), { recursive: true });
  rmSync(report, { force: true });
  const args = ["node_modules/jest/bin/jest.js", "--json", `--outputFile=${report}`, "--maxWorkers=2", ...patterns];
  const child = spawnSync(process.execPath, args, {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    timeout: 14 * MINUTES,
  });
  let results;
  try {
    results = JSON.parse(readFileSync(report, "utf8"));
  } catch {
    failed.push(
      child.error ? `jest did not end in time: ${child.error.message}` : `jest gave no report (exit ${child.status})`,
    );
    return;
  }
  for (const suite of results.testResults) {
    const file = suite.name.slice(root.length + 1);
    if (suite.status === "failed" && suite.assertionResults.every((result) => result.status !== "failed"))
      failed.push(`${file}: ${firstLine(suite.message)}`);
    for (const { status, fullName } of suite.assertionResults) {
      if (status === "passed") passed.push(fullName);
      else if (status === "failed") failed.push(`${file}: ${fullName}`);
      else skipped.push(`${file}: ${fullName}${/skipped: |needs /i.test(fullName) ? "" : " (gives no reason)"}`);
    }
  }
  if (passed.length + failed.length + skipped.length === 0) failed.push("no test matches");
}

function firstLine(text) {
  const plain = text.replace(/\u001b\[[0-9;]*m/g, "");
  return (
    plain
      .split("\n")
      .find((line) => line.trim() && !line.includes("failed to run"))
      ?.trim() ?? "failed to run"
  );
}

function versionOf(folder) {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")).version;
}
