import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(__dirname, "../..");
const hasProtoc = spawnSync("protoc", ["--version"]).status === 0;
const withProtoc = hasProtoc ? test : test.skip;
const why = hasProtoc ? "" : " (SKIPPED: protoc is not installed; apt-get install protobuf-compiler)";

describe("proto/generated", () => {
  withProtoc(`is what protoc and ts-proto make of the schemas${why}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "spin-usp-proto-"));
    try {
      execFileSync("node", [join(root, "scripts/generate-proto.mjs"), folder], { stdio: "pipe" });
      for (const name of ["usp-record.ts", "usp-msg.ts", "wire-tables.ts"]) {
        const fresh = readFileSync(join(folder, name), "utf8");
        expect(`${name}\n${readFileSync(join(root, "proto/generated", name), "utf8")}`).toBe(`${name}\n${fresh}`);
      }
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("holds the wire tables of the schemas (needs no protoc)", () => {
    const program = `import { readFileSync } from "node:fs"; import { wireTables } from ${JSON.stringify(join(root, "scripts/wire-tables.mjs"))};
      process.stdout.write(wireTables(["usp-record", "usp-msg"].map((name) => readFileSync(\`proto/\${name}.proto\`, "utf8"))));`;
    const fresh = execFileSync("node", ["--input-type=module", "-e", program], { cwd: root, encoding: "utf8" });
    expect(readFileSync(join(root, "proto/generated/wire-tables.ts"), "utf8")).toBe(fresh);
  });
});
