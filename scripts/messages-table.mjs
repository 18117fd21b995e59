/**
 * Writes docs/messages.md: which Message has been seen over which transport. Runs the contract of test/contracts/messages.ts
 * over each (it needs what those tests need: root, mosquitto, RabbitMQ) and writes down what passed.
 * usage: node scripts/messages-table.mjs
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./setup.mjs";

const folder = mkdtempSync(join(tmpdir(), "spin-usp-messages-"));
try {
  const report = join(folder, "report.json");
  spawnSync("npx", ["jest", "/messages-", "--json", "--forceExit", `--outputFile=${report}`], {
    cwd: root,
    stdio: ["ignore", "ignore", "inherit"],
  });
  const { testResults } = JSON.parse(readFileSync(report, "utf8"));
  writeFileSync(
    join(root, "docs/messages.md"),
    manual(testResults.flatMap(({ assertionResults }) => assertionResults)),
  );
} finally {
  rmSync(folder, { recursive: true });
}

function manual(results) {
  const transports = new Map();
  const messages = new Set();
  for (const { ancestorTitles, title, status } of results) {
    const transport = / ?(\S.*) carries$/.exec(ancestorTitles.at(-1) ?? "")?.[1];
    if (transport === undefined) continue;
    messages.add(title);
    if (!transports.has(transport)) transports.set(transport, new Map());
    transports.get(transport).set(title, status);
  }
  const columns = [...transports.keys()].sort();
  const mark = (status) => ({ passed: "✓", failed: "✗" })[status] ?? "not run";
  const rows = [...messages].map((message) => [
    message,
    ...columns.map((one) => mark(transports.get(one).get(message))),
  ]);
  const line = (cells) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [
    "# Messages and transports",
    "",
    "Written by `node scripts/messages-table.mjs` from the tests of `test/contracts/messages.ts`, which run over each",
    "transport against mosquitto, RabbitMQ, ActiveMQ, WebSockets and Unix sockets; do not edit. ✓ passed, ✗ failed.",
    "",
    line(["", ...columns]),
    line(["---", ...columns.map(() => "---")]),
    ...rows.map(line),
    "",
  ].join("\n");
}
