/** `npm run demo` as a newcomer sees it, at a higher speed: to its end, and interrupted at any moment. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { eventually, pause } from "./support/eventually.ts";
import { list } from "./support/namespace.ts";
import { describeUnless, missing } from "./support/needs.ts";
import { sceneMissing } from "./support/scene.ts";

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), "spin-usp-demo-test-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** In a process group of its own, as a shell starts it, so that Ctrl-C reaches all of it. */
class Demo {
  out = "";
  readonly child: ChildProcess;
  readonly ended: Promise<unknown>;

  constructor(command: string, args: readonly string[]) {
    const env = { ...process.env, TMPDIR: folder };
    this.child = spawn(command, args, { cwd: resolve("."), env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on("data", (chunk: Buffer) => (this.out += chunk.toString()));
    this.ended = once(this.child, "close");
  }

  static run(...args: string[]): Demo {
    return new Demo(process.execPath, ["scripts/demo.mjs", ...args]);
  }

  interrupt(): void {
    process.kill(-(this.child.pid as number), "SIGINT");
  }

  async says(text: string, timeoutMs = 20_000): Promise<void> {
    await eventually(
      () => this.out,
      (out) => out.includes(text),
      { what: "the output", timeoutMs },
    );
  }
}

const running = (group: number) =>
  readdirSync("/proc").filter((pid) => /^\d+$/.test(pid) && statOf(pid).split(" ")[2] === String(group));

function statOf(pid: string | number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2);
  } catch {
    return "";
  }
}

test("shows the devices, blocks the camera through USP and shows the hits rise", async () => {
  const demo = Demo.run("--speed", "20");
  await demo.ended;
  expect(demo.out).toMatch(/hall-camera opened \d+ flows a second: it scans\. Blocking it through USP/);
  expect(demo.out).toMatch(/Operate Block\(\) answered: Device\.X_SPIN\.Rule\.1\./);
  expect(demo.out).toMatch(/^hall-camera +02:00:00:00:01:14 .* blocked$/m);
  expect(demo.out).toMatch(/^annas-phone .*(?<!blocked)$/m);
  const dropped = Number(/has dropped (\d+) packets/.exec(demo.out)?.[1]);
  expect(dropped).toBeGreaterThan(1000);
  expect(demo.out).toMatch(new RegExp(`rule: Block 02:00:00:00:01:14 → \\*  Enabled  ${dropped} packets`));
  expect(demo.child.exitCode).toBe(0);
  expect(readdirSync(folder)).toEqual([]);
}, 60_000);

test.each([0, 150, 400, 700, 1000, 3000])(
  "Ctrl-C after %d ms ends it cleanly",
  async (ms) => {
    const demo = Demo.run("--speed", "5");
    await pause(ms);
    demo.interrupt();
    const before = Date.now();
    await demo.ended;
    expect(Date.now() - before).toBeLessThan(5000);
    expect(demo.out).not.toMatch(/^ +at |Error|demo:/m);
    await eventually(
      () => running(demo.child.pid as number),
      (left) => left.length === 0,
      { what: "processes left", timeoutMs: 3000 },
    );
    expect(readdirSync(folder)).toEqual([]);
  },
  30_000,
);

test("wrong use is told, and --help too", async () => {
  for (const [args, code, text] of [
    [["--speed", "fast"], 2, '--speed is "fast"; it must be a number above 0'],
    [["--colour"], 2, "--colour"],
    [["--help"], 0, "--live"],
  ] as const) {
    const demo = Demo.run(...args);
    await demo.ended;
    expect(demo.out).toContain(text);
    expect(demo.child.exitCode).toBe(code);
  }
}, 30_000);

describeUnless(missing("script"), "on a terminal of 80 columns", () => {
  test("no line is wider, and what counts is there", async () => {
    const command = `stty cols 80 rows 24; exec ${process.execPath} scripts/demo.mjs --speed 20`;
    const demo = new Demo("script", ["-qfec", command, "/dev/null"]);
    await demo.ended;

    const lines = demo.out.split("\n").map((line) => line.replace(/\u001b\[[0-9;?]*[A-Za-z]|\r/g, ""));
    expect(Math.max(...lines.map((line) => [...line].length))).toBeLessThanOrEqual(80);
    expect(lines.join("\n")).toMatch(/^NAME +MAC +SENT +RECEIVED +RATE +BLOCKED$/m);
    expect(lines.join("\n")).toMatch(/^hall-camera .* blocked$/m);
  }, 60_000);
});

describeUnless(sceneMissing(), "with --live", () => {
  const namespacesOf = (demo: Demo) =>
    list().filter((name) => statOf(name.split("-")[1] ?? "").split(" ")[1] === String(demo.child.pid));

  test.each(["Building a home", "⇄ mosquitto", "laptop"])(
    "Ctrl-C after it said %j leaves no namespace, process or file",
    async (text) => {
      const demo = Demo.run("--live");
      await demo.says(text, 40_000);
      await pause(300);
      const made = namespacesOf(demo);
      demo.interrupt();
      await demo.ended;
      expect(demo.out).not.toMatch(/^ +at |Error|demo:/m);
      if (text !== "Building a home") expect(made.length).toBeGreaterThan(0);
      await eventually(
        () => [...list().filter((name) => made.includes(name)), ...running(demo.child.pid as number)],
        (left) => left.length === 0,
        { what: "what was left", timeoutMs: 5000 },
      );
      expect(readdirSync(folder)).toEqual([]);
      expect([0, 130]).toContain(demo.child.exitCode);
    },
    60_000,
  );
});
