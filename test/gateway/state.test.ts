/** The state directory: one agent at a time, nothing acknowledged is lost, and a disk that refuses is not the end. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, readdirSync, readlinkSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Controller } from "../../src/controller/controller.ts";
import { lockState, StateLockedError } from "../../src/gateway/state-lock.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { answers, Bed, exitOf, gatewayMissing } from "./support.ts";

const RULE = { Enable: "true", Action: "Block", MACAddressList: "*" };
const address = (n: number) => `198.18.${n >> 8}.${n & 255}`;

describeUnless(gatewayMissing, "the state directory", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.up();
  }, 30_000);
  afterEach(() => bed.clear(), 30_000);
  afterAll(() => bed?.down());

  describe("is for one agent", () => {
    test("a second is refused and says whose it is; it takes over when the first was killed", async () => {
      const folder = await bed.folder();
      const first = await bed.agent(folder);
      const controller = await bed.controller();
      await answers(controller, first);
      const second = await bed.agent(folder);
      expect(await exitOf(second)).toBe(1);
      expect(second.log).toContain(
        `<3>spin-usp: ${join(folder, "state")} is in use by process ${first.pid}; a state directory is for one agent`,
      );
      await answers(controller, first);
      await first.kill();
      expect(readlinkSync(join(folder, "state/lock"))).toMatch(new RegExp(`^${first.pid} \\d+$`));
      const third = await bed.agent(folder);
      await answers(controller, third);
      expect(await third.stop()).toBe(0);
      expect(existsSync(join(folder, "state/lock"))).toBe(false);
    }, 60_000);

    test("a lock of a process that is gone, or whose number another one has now, does not hold", async () => {
      const folder = await bed.folder();
      const gone = spawn("true");
      await once(gone, "exit");
      for (const owner of [`${gone.pid} 1`, `${process.pid} 1`, "nonsense", "1 "]) {
        symlinkSync(owner, join(folder, "lock"));
        lockState(folder)();
        expect(readdirSync(folder)).toEqual([]);
      }
    });

    test("many that start at the same time over a dead one's lock: one gets it", async () => {
      const folder = await bed.folder();
      symlinkSync("999999 1", join(folder, "lock"));
      const script = `const { lockState } = require("./src/gateway/state-lock.ts");
        try { lockState(${JSON.stringify(folder)}); console.log("got it"); } catch (error) { console.log(error.name); }
        setTimeout(() => undefined, 30000);`;
      const args = ["--require", "./test/support/register.cjs", "-e", script];
      const children = Array.from({ length: 6 }, () =>
        spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] }),
      );
      const said = await Promise.all(
        children.map(async ({ stdout }) => String((await once(stdout, "data"))[0]).trim()),
      );
      for (const child of children) child.kill("SIGKILL");
      expect(said.sort()).toEqual([...Array<string>(5).fill("StateLockedError"), "got it"]);
    }, 30_000);

    test("within a process too", async () => {
      const folder = await bed.folder();
      const release = lockState(folder);
      expect(() => lockState(folder)).toThrow(StateLockedError);
      release();
      lockState(folder)();
    });
  });

  test("kill -9 in a stream of changes: what was acknowledged is there, and every file parses", async () => {
    const folder = await bed.folder();
    const agent = await bed.agent(folder);
    const controller = await bed.controller();
    await answers(controller, agent);
    const counted = await controller.create("Device.X_SPIN.Rule.", { ...RULE, DestinationList: "203.0.113.1" });
    const added = new Map<string, string>([[counted, "203.0.113.1"]]);
    let made = 0;
    let written = 0;
    for (let round = 0; round < 6; round++) {
      let acknowledged = written;
      let streaming = true;
      const set = async () => {
        while (streaming) {
          const value = ++written;
          if (await done(controller.write(counted, { Reason: `${value}` }, { timeoutMs: 700 })))
            acknowledged = Math.max(acknowledged, value);
        }
      };
      const add = async () => {
        while (streaming && made < 900) {
          const DestinationList = address(++made);
          const path = await controller
            .create("Device.X_SPIN.Rule.", { ...RULE, DestinationList }, { timeoutMs: 700 })
            .catch(() => undefined);
          if (path !== undefined) added.set(path, DestinationList);
        }
      };
      const streams = [set(), set(), set(), add(), add()];
      await new Promise((resolve) => setTimeout(resolve, 60 + 97 * round));
      await agent.kill();
      streaming = false;
      await Promise.all(streams);
      for (const file of readdirSync(join(folder, "state")).filter((name) => name.endsWith(".json")))
        JSON.parse(readFileSync(join(folder, "state", file), "utf8"));
      agent.log = "";
      agent.restart();
      await answers(controller, agent);
      const values = await controller.read(["Device.X_SPIN.Rule."]);
      const kept = Number(values.get(`${counted}Reason`));
      expect(kept).toBeGreaterThanOrEqual(acknowledged);
      expect(kept).toBeLessThanOrEqual(written);
      for (const [path, destination] of added) expect(values.get(`${path}DestinationList`)).toBe(destination);
      expect(agent.log).not.toContain("corrupt");
      expect(readdirSync(join(folder, "state")).filter((name) => name.endsWith(".new"))).toEqual([]);
    }
    expect(added.size).toBeGreaterThan(6);
  }, 120_000);

  test.each([
    "",
    "{",
    '{"Device.X_SPIN.Rule.{i}.":{"next":{"":1},"rows":{"1":{"Reason"',
    "\u0000\u0000\u0000",
    "null",
    "[]",
    "{}",
    '[{"a":null}]',
    '{"Device.X_SPIN.Rule.{i}.":{"next":{"":1},"rows":{"1":null}}}',
    '{"Device.X_SPIN.Rule.{i}.":{"next":{"":1},"rows":{"1.2":{}}}}',
    '{"Device.X_SPIN.Rule.{i}.":{"next":{"":"x"},"rows":{}}}',
  ])(
    "a document that holds %j does not keep the agent from starting, is set aside, and the loss is told until a rule is set",
    async (text) => {
      const folder = await bed.folder();
      const agent = await bed.agent(folder);
      const controller = await bed.controller();
      await answers(controller, agent);
      const rule = await controller.create("Device.X_SPIN.Rule.", { ...RULE, DestinationList: "203.0.113.1" });
      await agent.kill();
      const file = documentWith(join(folder, "state"), "203.0.113.1");
      writeFileSync(file, text);
      agent.log = "";
      agent.restart();
      await answers(controller, agent);
      expect([...(await controller.read(["Device.X_SPIN.Rule."])).keys()]).toEqual([]);
      expect(agent.log).toMatch(
        /^<3>store: .*model-device-x_spin.*\.json is corrupt \(.*\); set aside as .*\.corrupt/m,
      );
      expect(agent.log).toMatch(/^<3>.*the rules and SPIN's settings .* are lost/m);
      expect(readFileSync(`${file}.corrupt`, "utf8")).toBe(text);
      expect(existsSync(join(folder, "state/model-rules-held.json"))).toBe(true);
      expect(await controller.create("Device.X_SPIN.Rule.", { ...RULE, DestinationList: "203.0.113.2" })).toMatch(
        rule.replace(/\d+\.$/, ""),
      );
      await eventually(
        () => existsSync(join(folder, "state/model-rules-held.json")),
        (isHeld) => !isHeld,
        { what: "rules held" },
      );
    },
    60_000,
  );

  test.each(["model-device-localagent", "model-device-mqtt-client", "model-device-x_spin"])(
    "%s that is cut short or gone is seeded again, and the agent is as reachable as before",
    async (name) => {
      const folder = await bed.folder();
      const agent = await bed.agent(folder);
      const controller = await bed.controller();
      await answers(controller, agent);
      const file = join(folder, "state", `${name}.json`);
      for (const spoil of [
        () => writeFileSync(file, readFileSync(file, "utf8").slice(0, 40)),
        () => unlinkSync(file),
      ]) {
        await agent.kill();
        spoil();
        agent.log = "";
        agent.restart();
        await answers(controller, agent);
        expect(agent.log).toMatch(/^<3>.* are lost, the file is (?:unreadable|missing)/m);
        expect((await controller.read(["Device.LocalAgent.Controller.1.EndpointID"])).size).toBe(1);
      }
      // What was seeded again is kept.
      await agent.kill();
      agent.log = "";
      agent.restart();
      await answers(controller, agent);
      expect(agent.log).not.toContain("are lost");
    },
    60_000,
  );

  describeUnless(missing("root", "unshare"), "on a disk that refuses", () => {
    /** Starts the agent over a file system of its own; its files are seen through /proc. */
    const over = async (mount: string) => {
      const folder = await bed.folder();
      await mkdir(join(folder, "state"), { recursive: true });
      const script = `mount -t tmpfs ${mount} tmpfs ${join(folder, "state")} && exec "$@"`;
      const agent = await bed.agent(folder, { under: ["unshare", "-m", "sh", "-c", script, "sh"] });
      return { agent, state: () => `/proc/${agent.pid}/root${join(folder, "state")}` };
    };
    const tryRule = (controller: Controller, n: number) =>
      controller.create("Device.X_SPIN.Rule.", { ...RULE, DestinationList: address(n) }).then(
        () => "",
        (error: unknown) => String(error),
      );

    test("that is full, a change is in force, answered 7005, and kept once there is room", async () => {
      const { agent, state } = await over("-o size=128k");
      const controller = await bed.controller();
      await answers(controller, agent);
      expect(await tryRule(controller, 1)).toBe("");
      const room = fill(state());
      const refused = await tryRule(controller, 2);
      expect(refused).toMatch(/in force now, but could not be saved: ENOSPC/);
      const rules = async () =>
        [...(await controller.read(["Device.X_SPIN.Rule."]))].filter(([path]) => path.endsWith("DestinationList"));
      expect((await rules()).map(([, value]) => value)).toEqual([address(1), address(2)]);
      // What was saved before is whole.
      const saved = documentWith(state(), address(1));
      JSON.parse(readFileSync(saved, "utf8"));
      expect(agent.running).toBe(true);
      room();
      expect(await tryRule(controller, 3)).toBe("");
      for (const n of [1, 2, 3]) expect(readFileSync(saved, "utf8")).toContain(address(n));
      expect(await agent.stop()).toBe(0);
    }, 60_000);

    test("that is full from the start, it starts all the same and says so", async () => {
      const folder = await bed.folder();
      await mkdir(join(folder, "state"), { recursive: true });
      const state = join(folder, "state");
      const script = `mount -t tmpfs -o size=64k tmpfs ${state} && { cat /dev/zero > ${state}/filler 2> /dev/null; exec "$@"; }`;
      const agent = await bed.agent(folder, { under: ["unshare", "-m", "sh", "-c", script, "sh"] });
      const controller = await bed.controller();
      await answers(controller, agent);
      expect(agent.log).toMatch(/^<[34]>.*ENOSPC/m);
      expect(await tryRule(controller, 1)).toMatch(/could not be saved: ENOSPC/);
      expect((await controller.read(["Device.X_SPIN.Rule.1.Status"])).size).toBe(1);
      await agent.stop();
    }, 60_000);

    test("that is read-only, it ends with 1 and the reason", async () => {
      const { agent } = await over("-o ro");
      expect(await exitOf(agent)).toBe(1);
      expect(agent.log).toMatch(/^<3>spin-usp: .*EROFS.*state/m);
      expect(agent.log).not.toMatch(/^ +at /m);
    }, 60_000);

    test("to this user, it ends with 1 and the reason", async () => {
      const folder = await bed.folder();
      await mkdir(join(folder, "state"), { mode: 0o755 });
      const agent = await bed.agent(folder, {
        under: ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"],
      });
      expect(await exitOf(agent)).toBe(1);
      expect(agent.log).toMatch(/^<3>spin-usp: .*EACCES.*state/m);
      expect(agent.log).not.toMatch(/^ +at /m);
    }, 60_000);
  });
});

/** Takes all that is left of a disk; gives it back when the returned function is called. */
function fill(directory: string): () => void {
  const path = join(directory, "filler");
  for (let bytes = 65_536; bytes >= 1; bytes >>= 1) {
    try {
      for (;;) writeFileSync(path, Buffer.alloc(bytes), { flag: "a" });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
  }
  return () => writeFileSync(path, "");
}

/** The file that holds the text; throws if there is none. */
function documentWith(directory: string, text: string): string {
  const paths = readdirSync(directory).map((name) => join(directory, name));
  const found = paths.find((path) => path.endsWith(".json") && readFileSync(path, "utf8").includes(text));
  if (found === undefined) throw new Error(`no document of ${directory} holds ${text}`);
  return found;
}

const done = (promise: Promise<unknown>) =>
  promise.then(
    () => true,
    () => false,
  );
