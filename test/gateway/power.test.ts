/** `Reboot()` and `FactoryReset()`: there only where the configuration says how; Boot! tells why, once. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/config.ts";
import { forgetState } from "../../src/gateway/forget.ts";
import { powerOf, takeRestart } from "../../src/gateway/power.ts";
import { silentLog } from "../../src/lib/log.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { memoryStore } from "../../src/lib/store.ts";
import type { CommandCall } from "../../src/model/implementation.ts";
import { Tree } from "../../src/model/tree.ts";
import { deviceRoot, type Power } from "../../src/objects/device-root.ts";
import { eventually } from "../support/eventually.ts";

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "spin-usp-power-"))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const NONE = { reboot_command: [], factory_reset_command: [] };
/** Writes its arguments to a file. */
const writer = (name: string, code = 0) => [
  process.execPath,
  "-e",
  `require("fs").writeFileSync(process.argv[1], process.argv.slice(2).join("|")); process.exit(${code})`,
  join(folder, name),
  "a b",
  "$(id)",
];
const written = (name: string) =>
  eventually(
    () => readdirSync(folder).includes(name) && readFileSync(join(folder, name), "utf8"),
    (text) => text !== "" && text !== false,
    { timeoutMs: 20_000, what: `the file ${name}` },
  );

function commandsOf(power: Power) {
  const { root } = new Tree([deviceRoot({ clock: systemClock, power })]);
  return {
    names: [...root.commands.keys()],
    run: (name: string, args: Record<string, string>, commandKey = "") =>
      root.commands.get(name)!.run(undefined, args, { commandKey } as CommandCall),
  };
}

it("is not in the model of a host that does not say how", () => {
  expect(commandsOf(powerOf(NONE, memoryStore(), silentLog)).names).toEqual(["ScheduleTimer()"]);
});

it("runs what the host says, without a shell, after the answer, and the next start says why, once", async () => {
  const store = memoryStore();
  const { names, run } = commandsOf(powerOf({ ...NONE, reboot_command: writer("reboot") }, store, silentLog));
  expect(names).toEqual(["Reboot()", "ScheduleTimer()"]);
  await run("Reboot()", { Cause: "RemoteReboot", Reason: "new firmware" }, "k1");
  expect(readdirSync(folder)).toEqual([]);
  expect(await written("reboot")).toBe("a b|$(id)");
  const why = { cause: "RemoteReboot", reason: "new firmware", commandKey: "k1", forget: false };
  expect(takeRestart(store)).toEqual(why);
  expect(takeRestart(store)).toBeUndefined();
});

it("says nothing at the next start of a restart that never came", async () => {
  const store = memoryStore();
  for (const reboot_command of [writer("failed", 3), ["/nonexistent/reboot"]]) {
    await commandsOf(powerOf({ ...NONE, reboot_command }, store, silentLog)).run("Reboot()", {});
    expect(store.has("restart")).toBe(true);
    await eventually(
      () => store.has("restart"),
      (isThere) => !isThere,
      { timeoutMs: 20_000, what: "its end" },
    );
  }
});

it("forgets all but the identity and who saw what at the start after a FactoryReset()", async () => {
  const store = memoryStore();
  const power = powerOf({ ...NONE, factory_reset_command: writer("reset") }, store, silentLog);
  await commandsOf(power).run("FactoryReset()", { Cause: "RemoteFactoryReset" });
  await written("reset");
  expect(takeRestart(store)).toMatchObject({ cause: "RemoteFactoryReset", forget: true });
  for (const name of [
    "access-log.json",
    "identity.json",
    "restart.json",
    "model-x.json",
    "seeded.json",
    "devices.json",
    "rules.nft",
    "lock",
  ])
    writeFileSync(join(folder, name), "{}");
  expect(forgetState(folder, "home")).toBe(4);
  expect(readdirSync(folder).sort()).toEqual(["access-log.json", "identity.json", "lock", "reset", "restart.json"]);
});

it.each<unknown>([7, "x", {}, { cause: "Bored" }, { cause: null }, []])("takes %j for no reason", (document) => {
  const store = memoryStore();
  void store.save("restart", document);
  expect(takeRestart(store)).toBeUndefined();
});

it("has to be given by its absolute path", () => {
  const config = (lines: string) => `config agent\n\toption oui '00005E'\n\toption serial_number '1'\n${lines}`;
  const good = parseConfig(config("\tlist reboot_command '/sbin/reboot'\n\tlist reboot_command '-d'\n"));
  expect(good.agent.reboot_command).toEqual(["/sbin/reboot", "-d"]);
  expect(() => parseConfig(config("\tlist reboot_command 'reboot'\n"))).toThrow(/absolute path/);
});
