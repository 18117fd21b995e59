/** The manual's table of Messages and transports names what the tests try, and nothing in it failed. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { MESSAGES } from "./contracts/messages.ts";

const lines = readFileSync("docs/messages.md", "utf8")
  .split("\n")
  .filter((line) => line.startsWith("| "));
const cells = lines.map((line) =>
  line
    .slice(1, -1)
    .split("|")
    .map((cell) => cell.trim()),
);

test("each Message of the contract is a row, and passed over each transport", () => {
  const rows = cells.slice(2);
  expect(rows.map(([message]) => message)).toEqual(Object.keys(MESSAGES));
  for (const [message, ...marks] of rows)
    expect([message, marks.filter((mark) => mark !== "✓")]).toEqual([message, []]);
});

test("each transport that the contract runs over is a column", () => {
  const folders = ["test/e2e", "test/gateway"];
  const sources = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.startsWith("messages-"))
      .map((name) => readFileSync(join(folder, name), "utf8")),
  );
  const named = sources.flatMap((source) =>
    [...source.matchAll(/messageContract\((?:"([^"]+)"|`([^`]+)`)/g)].map((match) => match[1] ?? match[2]),
  );
  const patterns = named.map((name) => new RegExp(`^${(name as string).replace(/\$\{\w+\}/g, "[\\w.]+")}$`));
  const columns = (cells[0] as string[]).slice(1);
  for (const pattern of patterns) expect(columns.some((column) => pattern.test(column))).toBe(true);
  for (const column of columns) expect(patterns.some((pattern) => pattern.test(column))).toBe(true);
});
