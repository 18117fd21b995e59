import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLog, silentLog } from "../../src/lib/log.ts";
import { memoryStore, openStore } from "../../src/lib/store.ts";

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "spin-usp-store-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe("the state directory", () => {
  it("gives back what was saved, also to the next process", async () => {
    await openStore(directory, silentLog).save("devices", { next: 7, rows: ["02:00:00:00:00:01"] });
    expect(openStore(directory, silentLog).load("devices")).toEqual({ next: 7, rows: ["02:00:00:00:00:01"] });
  });

  it("knows nothing of a document that was never saved or was deleted", async () => {
    const store = openStore(directory, silentLog);
    expect(store.load("devices")).toBeUndefined();
    await store.save("devices", 1);
    await store.save("devices", undefined);
    expect(store.load("devices")).toBeUndefined();
  });

  it("sets a corrupt document aside with a warning and starts without it", () => {
    writeFileSync(join(directory, "devices.json"), '{"next":');
    const lines: string[] = [];
    const log = createLog("store", { level: "info", terminal: false, write: (line) => lines.push(line) });
    expect(openStore(directory, log).load("devices")).toBeUndefined();
    expect(lines.join("")).toMatch(/devices\.json is corrupt.*set aside as .*devices\.json\.corrupt/);
    expect(readFileSync(join(directory, "devices.json.corrupt"), "utf8")).toBe('{"next":');
  });

  it("removes what a crash left half written and keeps the old document", async () => {
    await openStore(directory, silentLog).save("devices", "old");
    writeFileSync(join(directory, "devices.json.new"), '"ne');
    expect(openStore(directory, silentLog).load("devices")).toBe("old");
    expect(existsSync(join(directory, "devices.json.new"))).toBe(false);
  });

  it("writes a burst of saves once, the newest value, and answers every caller", async () => {
    const store = openStore(directory, silentLog);
    let printed = 0;
    const saves = [];
    for (let i = 0; i < 1000; i++) saves.push(store.save("model", () => (printed++, i)));
    await Promise.all(saves);
    expect(printed).toBe(1);
    expect(store.load("model")).toBe(999);
  });

  it("takes a save that arrives during a round into the next one", async () => {
    const store = openStore(directory, silentLog);
    const first = store.save("model", () => {
      void store.save("model", "second");
      return "first";
    });
    await first;
    await store.flush();
    expect(store.load("model")).toBe("second");
  });

  it("tells the caller what the disk refused, and goes on with the others", async () => {
    const store = openStore(directory, silentLog);
    const circular: { self?: unknown } = {};
    circular.self = circular;
    const results = await Promise.allSettled([store.save("bad", circular), store.save("good", 1)]);
    expect(results.map((result) => result.status)).toEqual(["rejected", "fulfilled"]);
    expect(store.load("good")).toBe(1);
    await store.save("bad", 2);
    expect(store.load("bad")).toBe(2);
  });

  it("tries again what the disk refused with whatever is saved next, and says meanwhile why", async () => {
    const lines: string[] = [];
    const log = createLog("store", { level: "info", terminal: false, write: (line) => lines.push(line) });
    const store = openStore(directory, log);
    mkdirSync(join(directory, "rules.json.new"));
    await expect(store.save("rules", () => "mine")).rejects.toThrow("EISDIR");
    expect(store.refusal).toContain("EISDIR");
    await store.save("other", 1);
    expect(store.refusal).toContain("EISDIR");
    rmSync(join(directory, "rules.json.new"), { recursive: true });
    await store.save("other", 2);
    expect([store.load("rules"), store.refusal]).toEqual(["mine", ""]);
    expect(lines).toEqual([
      expect.stringMatching(/^<3>store: .* can't be written, trying again each 10 s: .*EISDIR/),
      expect.stringMatching(/^<4>store: .* can be written again; all is saved/),
    ]);
  });

  it("sets aside, for its reader, what parses and makes no sense", async () => {
    const lines: string[] = [];
    const log = createLog("store", { level: "info", terminal: false, write: (line) => lines.push(line) });
    const store = openStore(directory, log);
    await store.save("rules", [null]);
    store.setAside("rules", "not an object");
    expect([store.has("rules"), store.load("rules")]).toEqual([false, undefined]);
    expect(readFileSync(join(directory, "rules.json.corrupt"), "utf8")).toBe("[null]");
    expect(lines.join("")).toMatch(/^<3>store: .*rules\.json is corrupt \(not an object\)/);
  });

  it("refuses names that would leave the directory", () => {
    const store = openStore(directory, silentLog);
    expect(() => store.load("../devices")).toThrow(/not a document's name/);
  });

  it("has an acknowledged value and a whole document after kill -9 in the middle of writing", async () => {
    const bundle = join(directory, "writer.cjs");
    await buildWriter(bundle);
    const state = join(directory, "state");
    const child = spawn(process.execPath, [bundle, state], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    await new Promise<void>((resolve) => {
      child.stdout.on("data", (chunk: Buffer) => {
        text += chunk.toString();
        if (text.split("\n").length > 20) child.kill("SIGKILL");
      });
      child.on("close", () => resolve());
    });
    const acknowledged = Number(text.trimEnd().split("\n").at(-1));
    const saved = openStore(state, silentLog).load("count") as { count: number; filler: string };
    expect(saved.count).toBeGreaterThanOrEqual(acknowledged);
    expect(saved.filler).toHaveLength(100_000);
  });
});

describe("the store that forgets", () => {
  it("behaves as the directory does", async () => {
    const store = memoryStore();
    await store.save("devices", () => ({ at: new Date(0) }));
    expect(store.load("devices")).toEqual({ at: "1970-01-01T00:00:00.000Z" });
  });
});

/** A process that saves a counter over and over and prints each value after it was acknowledged. */
async function buildWriter(outfile: string): Promise<void> {
  const { build } = await import("esbuild");
  await build({
    stdin: {
      contents: `
        import { openStore } from ${JSON.stringify(join(process.cwd(), "src/lib/store.ts"))};
        import { silentLog } from ${JSON.stringify(join(process.cwd(), "src/lib/log.ts"))};
        const store = openStore(process.argv[2], silentLog);
        (async () => {
          for (let count = 1; ; count++) {
            await store.save("count", { count, filler: "x".repeat(100000) });
            process.stdout.write(count + "\\n");
          }
        })();
      `,
      resolveDir: process.cwd(),
      loader: "ts",
    },
    bundle: true,
    platform: "node",
    format: "cjs",
    outfile,
  });
}
