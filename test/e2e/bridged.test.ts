/**
 * Devices on the gateway's bridge talk to each other without passing what routes: rules hold there too, in a table of the
 * bridge family, which comes with the first rule that concerns such traffic.
 */
import type { ChildProcess } from "node:child_process";
import { resolve } from "node:path";
import { GATEWAY, type HomeDevice } from "../support/home-device.ts";
import { eventually } from "../support/eventually.ts";
import { ended } from "../support/namespace.ts";
import { describeUnless, missing } from "../support/needs.ts";
import type { RuleWish } from "../support/operator.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";
import { trafficTool } from "../support/traffic.ts";

const BOOT = resolve("src/enforce/boot.sh");

/** Which of UDP, TCP and ICMP get through, in each family: "u4 t4 i4 u6 t6 i6", a dash for what does not. */
const ALL = "u4 t4 i4 u6 t6 i6";
const NONE = "-- -- -- -- -- --";
const WAIT_MS = 250;

describe.each(["auto", "nft"] as const)("through %s", (backend) => {
  describeUnless(sceneMissing() ?? missing("socat"), "rules between devices on a bridge", () => {
    let s: Scene;
    let one: HomeDevice;
    let two: HomeDevice;
    let three: HomeDevice;
    const servers: ChildProcess[] = [];
    const rules: string[] = [];

    beforeAll(async () => {
      s = await scene({ devices: 3, agent: { enforce: backend, capture: { counter_interval: "1" } } });
      [one, two, three] = s.home.devices as [HomeDevice, HomeDevice, HomeDevice];
      for (const device of [two, three]) servers.push(s.home.spawn(device.namespace, trafficTool(), ["serve"]));
      await eventually(
        () => reach(one, two),
        (text) => text === ALL,
        { what: "the home without rules" },
      );
      await eventually(
        () => reach(one, three),
        (text) => text === ALL,
        { what: "the home without rules" },
      );
    }, 60_000);
    afterEach(async () => {
      for (const rule of rules.splice(0)) await s.operator.removeRule(rule);
    });
    afterAll(async () => {
      for (const server of servers) server.kill("SIGKILL");
      await Promise.all(servers.map(ended));
      await s?.end();
    });

    async function add(wish: RuleWish): Promise<string> {
      const path = await s.operator.addRule(wish);
      rules.push(path);
      return path;
    }

    async function reach(from: HomeDevice, to: HomeDevice): Promise<string> {
      const each = async (family: "4" | "6") => {
        const address = family === "4" ? to.ipv4 : to.ipv6;
        const [udp, tcp, ping] = await Promise.all([
          from.udp(address, { waitMs: WAIT_MS }),
          from.tcp(address, { down: 20, timeoutMs: WAIT_MS }),
          from.exec("ping", "-c", "1", "-W", String(WAIT_MS / 1000), "-q", address),
        ]);
        const mark = (came: boolean, letter: string) => (came ? `${letter}${family}` : "--");
        return [mark(udp.received > 0, "u"), mark(tcp.ok, "t"), mark(ping.stdout.includes(" 1 received"), "i")];
      };
      return [...(await each("4")), ...(await each("6"))].join(" ");
    }

    const tables = async () => (await s.home.exec(s.home.gateway, "nft", ["list", "tables"])).stdout;

    test("cost nothing before there is one: the table is not there", async () => {
      await add({ destinations: ["198.51.100.77"] });
      expect(await tables()).not.toContain("table bridge");
      expect(s.agent.log.includes("rules go through spawned nft")).toBe(false);
    });

    test("count exactly, what is blocked and what is only counted, once", async () => {
      // A device that never spoke to the gateway has no row.
      await one.ping(GATEWAY[4], { count: 1 });
      await s.operator.device(one.mac);
      const before = (await s.operator.stats(one.mac)).BlockedPackets;
      const blocking = await add({ macs: [one.mac], destinations: [two.ipv4] });
      const counting = await add({ action: "Count", macs: [one.mac], destinations: [three.ipv4] });
      await one.udp(two.ipv4, { count: 30, size: 100, waitMs: 10 });
      await one.udp(three.ipv4, { count: 20, size: 100 });
      const read = async () => [await s.operator.rule(blocking), await s.operator.rule(counting)];
      expect(await tables()).toContain("table bridge spin_usp");
      const hits = await eventually(read, ([a, b]) => (a?.hitPackets ?? 0) >= 30 && (b?.hitPackets ?? 0) >= 40, {
        what: "hits",
      });
      expect(hits[0]).toMatchObject({ hitPackets: 30, hitBytes: 30 * 128 });
      expect(hits[1]).toMatchObject({ hitPackets: 40, hitBytes: 40 * 128 });
      expect((await s.operator.stats(one.mac)).BlockedPackets - before).toBe(30);
    });

    // Both ways to the kernel lead to the same table: what is only about that is tried through one.
    if (backend === "nft") return;

    test("stay while the agent is dead and over its restart, and are back when somebody flushes the firewall", async () => {
      const rule = await add({ macs: [one.mac], destinations: [two.ipv4, two.ipv6] });
      await s.agent.kill();
      expect(await reach(one, two)).toBe(NONE);
      s.agent.restart();
      await s.operator.ready();
      await s.operator.running();
      await s.operator.inForce(rule);
      expect(await reach(one, two)).toBe(NONE);
      const restored = () => s.operator.value("Device.X_SPIN.Summary.RulesRestored");
      expect(await restored()).toBe("0");
      await s.home.nft("flush ruleset");
      await s.home.reloadFirewall();
      await eventually(restored, (count) => count === "1", { timeoutMs: 2000, everyMs: 50, what: "RulesRestored" });
      expect(await reach(one, two)).toBe(NONE);
      await s.home.nft("delete table bridge spin_usp");
      await eventually(restored, (count) => count === "2", { timeoutMs: 2000, everyMs: 50, what: "RulesRestored" });
      expect(await reach(one, two)).toBe(NONE);
      expect(await reach(one, three)).toBe(ALL);
    }, 60_000);

    test("block a device whole, from others and to them, but for ARP and neighbour discovery", async () => {
      const stream = one.stream("udp", two.ipv4);
      await stream.flowing();
      const back = two.stream("udp", one.ipv6);
      await add({ macs: [one.mac] });
      expect(await tables()).toContain("table bridge spin_usp");
      expect(await reach(one, two)).toBe(NONE);
      expect(await reach(two, three)).toBe(ALL);
      expect(await stream.during(300)).toBe(0);
      expect(await back.during(300)).toBe(0);
      await Promise.all([stream.stop(), back.stop()]);
      await one.exec("ip", "neigh", "flush", "dev", "lan");
      await reach(one, two);
      const { stdout } = await one.exec("ip", "neigh", "show", "dev", "lan");
      for (const address of [two.ipv4, two.ipv6]) expect(stdout).toMatch(new RegExp(`^${address} lladdr 02:aa`, "m"));
      await s.operator.removeRule(rules.pop() as string);
      await eventually(
        () => reach(one, two),
        (text) => text === ALL,
        { what: "the way back" },
      );
    });

    test("leave a blocked device DHCP, whoever serves it", async () => {
      const server = s.home.spawn(two.namespace, "socat", ["UDP4-LISTEN:67,reuseaddr,fork", "PIPE"]);
      await add({ macs: [one.mac] });
      const ask = (sport: string) =>
        one.exec("sh", "-c", `echo hello | socat -t 0.2 - UDP4:${two.ipv4}:67,sourceport=${sport}`);
      await eventually(
        async () => (await ask("68")).stdout,
        (text) => text.includes("hello"),
        { what: "DHCP" },
      );
      expect((await ask("6800")).stdout).toBe("");
      server.kill("SIGKILL");
      await ended(server);
    });

    test("stop frames that are no IP", async () => {
      // Of an EtherType for experiments (IEEE 802).
      const watch = () =>
        two.exec("timeout", "0.7", "tcpdump", "-i", "lan", "-c", "1", "-nn", "--immediate-mode", "ether proto 0x88b5");
      const bytes = [two.mac, one.mac, "88:B5", "00:".repeat(49) + "00"].join(":").split(":");
      const frame = bytes.map((byte) => `\\${Number.parseInt(byte, 16).toString(8).padStart(3, "0")}`).join("");
      const send = () => one.exec("sh", "-c", `printf '${frame}' | socat -u - INTERFACE:lan`);
      const arrives = async () => {
        const watching = watch();
        for (let i = 0; i < 5; i++) {
          await new Promise((done) => setTimeout(done, 100));
          await send();
        }
        return (await watching).stdout.includes("0x88b5");
      };
      expect(await arrives()).toBe(true);
      await add({ macs: [one.mac] });
      expect(await arrives()).toBe(false);
    });

    test.each<[string, () => RuleWish[], string, string]>([
      ["a pair", () => [{ macs: [one.mac], destinations: [two.ipv4, two.ipv6] }], NONE, ALL],
      [
        "a pair named from the other end",
        () => [{ macs: [two.mac], destinations: [one.ipv4] }],
        "-- -- -- u6 t6 i6",
        ALL,
      ],
      ["an address, for every device", () => [{ destinations: [two.ipv4] }], "-- -- -- u6 t6 i6", ALL],
      [
        "a prefix that holds the home",
        () => [{ macs: [one.mac], destinations: ["0.0.0.0/0"] }],
        "-- -- -- u6 t6 i6",
        "-- -- -- u6 t6 i6",
      ],
      ["a protocol", () => [{ macs: [one.mac], protocol: 6 }], "u4 -- i4 u6 -- i6", "u4 -- i4 u6 -- i6"],
      ["ICMPv6 alone", () => [{ macs: [one.mac], protocol: 58 }], "u4 t4 i4 u6 t6 --", "u4 t4 i4 u6 t6 --"],
      [
        "ports",
        () => [{ macs: [one.mac], destinations: [two.ipv4], protocol: 17, ports: "5-9" }],
        "-- t4 i4 u6 t6 i6",
        ALL,
      ],
      [
        "a device, but for one it may reach",
        () => [{ macs: [one.mac] }, { action: "Allow", macs: [one.mac], destinations: [three.ipv4] }],
        NONE,
        "u4 t4 i4 -- -- --",
      ],
      [
        "with Reject, silently",
        () => [{ action: "Reject", macs: [one.mac], destinations: [two.ipv4] }],
        "-- -- -- u6 t6 i6",
        ALL,
      ],
      ["nothing with Count", () => [{ action: "Count", macs: [one.mac] }], ALL, ALL],
    ])("stop %s", async (_name, wishes, toTwo, toThree) => {
      for (const wish of wishes().reverse()) await add(wish);
      expect([await reach(one, two), await reach(one, three)]).toEqual([toTwo, toThree]);
    });

    test("are in force at boot without the agent, go when nothing wants them, and boot.sh takes them out", async () => {
      await add({ macs: [one.mac], destinations: [two.ipv4, two.ipv6] });
      await s.agent.stop();
      await s.home.nft("delete table inet spin_usp; delete table bridge spin_usp");
      expect(await reach(one, two)).toBe(ALL);
      const boot = (...args: string[]) => s.home.exec(s.home.gateway, "sh", [BOOT, ...args], { mayFail: true });
      const files = [resolve("src/enforce/spin.nft"), `${s.home.folder}/state/rules.nft`];
      expect(await boot(...files)).toMatchObject({ code: 0, stderr: "" });
      expect(await reach(one, two)).toBe(NONE);
      expect(await boot("--remove")).toMatchObject({ code: 0, stderr: "" });
      expect(await tables()).not.toContain("spin_usp");
      expect(await boot("--remove")).toMatchObject({ code: 0, stderr: "" });
      await boot(...files);
      s.agent.restart();
      await s.operator.ready();
      await s.operator.running();
      for (const rule of rules.splice(0)) await s.operator.removeRule(rule);
      await eventually(
        () => reach(one, two),
        (text) => text === ALL,
        { what: "the way back" },
      );
    }, 60_000);
  });
});
