/** Lists live: a controller's over USP, addresses and names, in rules and for the detectors; over a restart. */
import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { residentSocket } from "../support/agent.ts";
import { describeUnless } from "../support/needs.ts";
import { eventually } from "../support/eventually.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const BOOT = resolve("src/enforce/boot.sh");
const RULESET = resolve("src/enforce/spin.nft");
const LISTS = "Device.X_SPIN.List.";

describeUnless(sceneMissing(), "lists", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 2, agent: { capture: { counter_interval: "1" } } });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  const read = async (path: string, ...names: string[]) => {
    const values = await s.operator.connection.get(names.map((name) => `${path}${name}`));
    return names.map((name) => values.get(`${path}${name}`) ?? "");
  };
  const becomes = async (path: string, name: string, wanted: string) =>
    await eventually(
      async () => (await read(path, name))[0],
      (value) => value === wanted,
      { what: `${path}${name} ${wanted}` },
    );

  test("a rule on a list stops its addresses and its names, follows its content, and holds over a restart", async () => {
    const [device, other] = [s.home.device(1), s.home.device(2)];
    const list = await s.operator.connection.add(LISTS, {
      Enable: "true",
      Alias: "bad",
      Content: "198.51.100.13\n10.0.0.1\nwild.example # and below\nnot an entry\n",
    });
    await becomes(list, "Status", "Enabled");
    expect(await read(list, "Entries", "PassedOver", "Unreadable")).toEqual(["2", "1", "1"]);
    const rule = await s.operator.addRule({ macs: [device.mac], destinations: [list.slice(0, -1)] });
    expect((await device.udp("198.51.100.13", { count: 3 })).received).toBe(0);
    expect((await other.udp("198.51.100.13", { count: 3 })).received).toBe(3);
    expect(await device.resolve("a.wild.example")).toBe("198.51.100.20");
    expect((await device.udp("198.51.100.20", { count: 3 })).received).toBe(0);
    expect((await device.udp("198.51.100.10", { count: 3 })).received).toBe(3);
    await eventually(
      () => s.operator.rule(rule),
      ({ hitPackets }) => hitPackets >= 6,
      { what: "hits" },
    );

    // Another content: what left is free, what came is stopped.
    await s.operator.connection.set(list, { Content: "198.51.100.10\n" });
    await eventually(
      async () => (await device.udp("198.51.100.10", { count: 1 })).received,
      (received) => received === 0,
      { what: "the new content in force" },
    );
    expect((await device.udp("198.51.100.13", { count: 3 })).received).toBe(3);
    expect((await device.udp("198.51.100.20", { count: 3 })).received).toBe(3);

    await s.agent.kill();
    expect((await device.udp("198.51.100.10", { count: 3 })).received).toBe(0);
    // As after a power cut: our table is gone, and comes from what was saved.
    await s.home.nft("delete table inet spin_usp");
    expect((await device.udp("198.51.100.10", { count: 3 })).received).toBe(3);
    const saved = join(s.home.folder, "state", "rules.nft");
    await s.home.exec(s.home.gateway, "sh", [BOOT, RULESET, saved]);
    expect((await device.udp("198.51.100.10", { count: 3 })).received).toBe(0);
    s.agent.restart();
    await s.operator.ready();
    await s.operator.inForce(rule);
    expect((await device.udp("198.51.100.10", { count: 3 })).received).toBe(0);

    await s.operator.connection.set(list, { Enable: "false" });
    await becomes(rule, "Status", "Error_Misconfigured");
    await eventually(
      async () => (await device.udp("198.51.100.10", { count: 1 })).received,
      (received) => received === 1,
      { what: "no effect of a disabled list" },
    );
    await s.operator.connection.set(list, { Enable: "true" });
    await s.operator.inForce(rule);
    await s.operator.connection.delete(list);
    await becomes(rule, "Status", "Error_Misconfigured");
    expect((await read(rule, "StatusReason"))[0]).toContain("does not exist");
    await s.operator.removeRule(rule);
  }, 60_000);

  test("a controller's list is fetched neither from the home nor from a file", async () => {
    await expect(s.operator.connection.add(LISTS, { Enable: "true", URL: "file:///etc/passwd" })).rejects.toThrow(
      /file:/,
    );
    for (const url of ["http://192.168.77.1/list", "http://127.0.0.1:80/list", "http://[::ffff:10.0.0.1]/list"]) {
      const list = await s.operator.connection.add(LISTS, { Enable: "true", URL: url });
      await becomes(list, "Status", "Error");
      expect((await read(list, "StatusReason"))[0]).toMatch(/only the resident's lists/);
      await s.operator.connection.delete(list);
    }
  }, 30_000);

  test("ListedPeer and RuleViolation open incidents", async () => {
    const device = s.home.device(2);
    const incident = (type: string) =>
      eventually(
        async () =>
          [...(await s.operator.connection.get([`Device.X_SPIN.Incident.[Type=="${type}"].Summary`])).values()].length,
        (count) => count > 0,
        { what: `an incident ${type}`, timeoutMs: 20_000 },
      );
    const list = await s.operator.connection.add(LISTS, { Enable: "true", Content: "other.example\n" });
    await becomes(list, "Status", "Enabled");
    const begun = performance.now();
    await device.resolve("other.example");
    await incident("ListedPeer");
    console.log(`ListedPeer: ${Math.round(performance.now() - begun)} ms from the question to the incident`);
    const rule = await s.operator.addRule({ macs: [device.mac], destinations: ["198.51.100.14"] });
    const tried = performance.now();
    await device.udp("198.51.100.14", { count: 120, everyUs: 1000, waitMs: 1 });
    await incident("RuleViolation");
    console.log(`RuleViolation: ${Math.round(performance.now() - tried)} ms from the first packet to the incident`);
    await s.operator.removeRule(rule);
    await s.operator.connection.delete(list);
  }, 60_000);

  test("ctl lists adds a file and a URL, shows, disables and removes, and says what it can't", async () => {
    const ctl = (...args: string[]) =>
      s.home.exec(
        s.home.gateway,
        process.execPath,
        [resolve("dist/spin-usp.cjs"), "ctl", "--socket", residentSocket(s.home.folder), "lists", ...args],
        { mayFail: true },
      );
    const file = join(s.home.folder, "own.txt");
    writeFileSync(file, "198.51.100.13\nbad entry\n");
    expect(await ctl("add", file)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/List\.\d+\. Enabled, 1 entries/),
    });
    expect((await ctl()).stdout).toMatch(/Plain +Enabled +1 +1 +0/);
    const [list] = JSON.parse((await ctl("--json")).stdout).List as [{ Alias: string }];
    expect(await ctl("disable", list.Alias)).toMatchObject({ code: 0, stdout: expect.stringContaining("disabled") });
    expect(await ctl("refresh", list.Alias)).toMatchObject({ code: 1, stderr: expect.stringContaining("disabled") });
    expect(await ctl("remove", list.Alias)).toMatchObject({ code: 0 });
    expect((await ctl()).stdout).toBe("no lists\n");
    writeFileSync(file, "198.51.100.13\n".repeat(1000));
    expect(await ctl("add", file)).toMatchObject({ code: 2, stderr: expect.stringContaining("give its URL") });
    expect(await ctl("add", "http://127.0.0.1:9/none", "--format", "hosts")).toMatchObject({ code: 5 });
    for (const bad of [["add"], ["add", "/nowhere"], ["add", file, "--format", "odd"], ["frob"], ["remove", "99"]])
      expect([bad, (await ctl(...bad)).code]).toEqual([bad, 2]);
    await ctl("remove", "1");
  }, 60_000);
});
