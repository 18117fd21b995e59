/**
 * The defects of SPIN 1.0 that show on a wire, each by its number, with a test that ours does right. docs/spin-defects.md
 * lists all of them and where the others are held.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { HomeDevice } from "../support/home-device.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless, missing } from "../support/needs.ts";
import type { RuleWish } from "../support/operator.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const BOOT = resolve("src/enforce/boot.sh");
const RULESET = resolve("src/enforce/spin.nft");
/** What others have in the firewall: sets with elements, and a bridge table. */
const FOREIGN = `
table inet theirs {
  set neighbours { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
  map marks { type ether_addr : mark; elements = { 02:00:00:00:00:09 : 7 }; }
  chain forward { type filter hook forward priority 5; policy accept; ip saddr @neighbours counter drop; }
}
table bridge theirs {
  chain forward { type filter hook forward priority 5; policy accept; }
}
`;
/** linux/in6.h */
const IPPROTO_IPV6 = 41;
const IPV6_HOPOPTS = 54;
const IPV6_DSTOPTS = 59;
/** RFC 8200 §4.2: an options header of eight bytes, with PadN alone. */
const PADDING = "x0000010400000000";

describeUnless(sceneMissing() ?? missing("socat"), "defects of SPIN", () => {
  let s: Scene;
  let device: HomeDevice;
  const rules: string[] = [];

  beforeAll(async () => {
    s = await scene({ devices: 3, agent: { logLevel: "info", capture: { counter_interval: "1" } } });
    device = s.home.device(1);
    await s.home.nft(FOREIGN);
    await Promise.all(s.home.devices.map((one) => one.udp("198.51.100.10")));
    await Promise.all(s.home.devices.map((one) => s.operator.device(one.mac)));
  }, 60_000);
  afterEach(async () => {
    for (const rule of rules.splice(0)) await s.operator.removeRule(rule);
  });
  afterAll(async () => {
    await s?.end();
  });

  async function add(wish: RuleWish): Promise<string> {
    const path = await s.operator.addRule(wish);
    rules.push(path);
    return path;
  }

  async function nft(...args: string[]): Promise<string> {
    return (await s.home.exec(s.home.gateway, "nft", args)).stdout;
  }

  test("B1: a blocked device that floods brings nothing down, and every packet is counted", async () => {
    const rule = await add({ macs: [device.mac] });
    const before = (await s.operator.stats(device.mac)).BlockedPackets;
    const { pid } = s.agent;
    await device.blast("198.51.100.30", 200_000, 64);
    const own = (await device.counted()).find(({ address }) => address === "198.51.100.30")?.sent;
    const sent = own?.packets ?? 0;
    expect(sent).toBeGreaterThanOrEqual(200_000);
    const answered = performance.now();
    expect(await s.operator.value("Device.X_SPIN.Status")).toBe("Running");
    expect(performance.now() - answered).toBeLessThan(2000);
    const hits = await eventually(
      () => s.operator.rule(rule),
      ({ hitPackets }) => hitPackets >= sent,
      { what: "hits" },
    );
    expect(hits).toMatchObject({ hitPackets: sent, hitBytes: sent * 92 });
    expect((await s.operator.stats(device.mac)).BlockedPackets - before).toBe(sent);
    expect([s.agent.running, s.agent.pid]).toEqual([true, pid]);
    expect((await s.home.arrived("198.51.100.30")).packets).toBe(0);
  });

  test("B3: IPv6 flows are counted like others", async () => {
    const peer = "2001:db8:100::b3";
    const before = await s.operator.stats(device.mac);
    expect(await device.udp(peer, { count: 20, size: 100 })).toMatchObject({ received: 20 });
    const read = () => s.operator.stats(device.mac);
    const stats = await eventually(read, ({ PacketsReceived }) => PacketsReceived >= before.PacketsReceived + 20);
    expect(stats.BytesSent - before.BytesSent).toBe(20 * 148);
    expect(stats.BytesReceived - before.BytesReceived).toBe(20 * 148);
    const flows = await s.operator.query("Flows", { PhysAddress: device.mac, Destination: peer });
    expect(flows).toMatchObject([{ Address: peer, PacketsSent: "20", PacketsReceived: "20" }]);
  });

  test("B4: ICMPv6 and IPv6 packets with extension headers of a blocked device are blocked", async () => {
    const peer = "2001:db8:100::b4";
    const option = (name: number) => `,setsockopt=${IPPROTO_IPV6}:${name}:${PADDING}`;
    const ways: [string, string, number][] = [
      ["plain", "", 100],
      ["hop-by-hop options", option(IPV6_HOPOPTS), 100],
      ["destination options", option(IPV6_DSTOPTS), 100],
      ["fragments", "", 4000],
      ["fragments with hop-by-hop options", option(IPV6_HOPOPTS), 4000],
    ];
    const passes = async () => {
      const udp = ways.map(async ([name, options, size]) => {
        const send = `head -c ${size} /dev/zero | socat -b 8192 -t 0.3 - 'UDP6:[${peer}]:7${options}' | wc -c`;
        return [name, Number((await device.exec("sh", "-c", send)).stdout) === size] as const;
      });
      const pings = [56, 4000].map(async (size) => {
        const { stdout } = await device.exec("ping", "-6", "-c", "1", "-W", "0.3", "-s", String(size), "-q", peer);
        return [`ICMPv6 of ${size} bytes`, stdout.includes(" 1 received")] as const;
      });
      return Object.fromEntries(await Promise.all([...udp, ...pings]));
    };
    const all = (is: boolean) =>
      Object.fromEntries([
        ...ways.map(([name]) => [name, is]),
        ["ICMPv6 of 56 bytes", is],
        ["ICMPv6 of 4000 bytes", is],
      ]);
    expect(await passes()).toEqual(all(true));
    const arrived = await s.home.arrived(peer);
    await add({ macs: [device.mac] });
    expect(await passes()).toEqual(all(false));
    expect(await s.home.arrived(peer)).toEqual(arrived);
  });

  test("B6: a rule holds for the first packet after its answer, also between two that never met", async () => {
    for (let i = 1; i <= 5; i++) {
      const [peer, peer6] = [`198.51.100.${60 + i}`, `2001:db8:100::b6:${i}`];
      await s.operator.connection
        .add("Device.X_SPIN.Rule.", {
          Enable: "true",
          Action: "Block",
          MACAddressList: device.mac,
          DestinationList: `${peer},${peer6}`,
        })
        .then((path) => rules.push(path));
      await Promise.all([device.udp(peer, { waitMs: 20 }), device.udp(peer6, { waitMs: 20 })]);
      expect([i, (await s.home.arrived(peer)).packets, (await s.home.arrived(peer6)).packets]).toEqual([i, 0, 0]);
    }
  });

  test("B8: of two pairs each holds for its own two, and over a restart", async () => {
    const other = s.home.device(2);
    await add({ macs: [device.mac], destinations: ["198.51.100.81"] });
    await add({ macs: [other.mac], destinations: ["198.51.100.82"] });
    const reach = async () => {
      const pairs = [device, other].flatMap((from) =>
        ["198.51.100.81", "198.51.100.82"].map((to) => [from, to] as const),
      );
      const results = await Promise.all(pairs.map(([from, to]) => from.udp(to, { waitMs: 150 })));
      return results.map(({ received }) => received);
    };
    expect(await reach()).toEqual([0, 1, 1, 0]);
    await s.agent.kill();
    expect(await reach()).toEqual([0, 1, 1, 0]);
    s.agent.restart();
    await s.operator.ready();
    await s.operator.running();
    expect(await reach()).toEqual([0, 1, 1, 0]);
    const kept = await Promise.all(rules.map((rule) => s.operator.get(rule)));
    const of = (name: string) => kept.map((values) => [...values].find(([path]) => path.endsWith(`.${name}`))?.[1]);
    expect(of("MACAddressList")).toEqual([device.mac, other.mac]);
    expect(of("DestinationList")).toEqual(["198.51.100.81", "198.51.100.82"]);
  }, 30_000);

  test("B9: an answer of forty kilobytes comes whole", async () => {
    const wishes = Array.from({ length: 60 }, (_, i) => ({ destinations: [`203.0.113.${i}`] }));
    rules.push(...(await Promise.all(wishes.map((wish) => s.operator.addRuleOnly(wish)))));
    const values = await s.operator.get("Device.X_SPIN.Rule.");
    const lists = [...values].filter(([path]) => path.endsWith(".DestinationList")).map(([, text]) => text);
    expect(lists.sort()).toEqual(wishes.map(({ destinations: [text] }) => text).sort());
    expect([...values].reduce((sum, [path, value]) => sum + path.length + value.length, 0)).toBeGreaterThan(40_000);
  });

  test("B7: what others have in the firewall stays, restarts leave nothing behind, and uninstalling leaves nothing at all", async () => {
    const theirs = () =>
      Promise.all([nft("list", "table", "inet", "theirs"), nft("list", "table", "bridge", "theirs")]);
    const ours = async () => (await nft("-s", "list", "chains")).replace(/\s+/g, " ");
    const before = await theirs();
    await add({ macs: [device.mac] });
    const standing = await ours();
    for (let i = 0; i < 2; i++) {
      expect(await s.agent.stop()).toBe(0);
      s.agent.restart();
      await s.operator.ready();
      await s.operator.running();
    }
    expect(await ours()).toBe(standing);
    expect(await theirs()).toEqual(before);
    expect(await s.agent.stop()).toBe(0);
    // Stopped, it leaves the rules in force, and holds no answer back.
    expect(await nft("list", "tables")).not.toContain("spin_usp_hold");
    expect((await device.udp("198.51.100.71", { waitMs: 100 })).received).toBe(0);
    await s.home.exec(s.home.gateway, "sh", [BOOT, "--remove"]);
    expect(await nft("list", "tables")).not.toContain("spin");
    expect(await theirs()).toEqual(before);
    expect((await device.udp("198.51.100.71")).received).toBe(1);
    // B2, as a reboot does it: the rules are back without Node.
    await s.home.exec(s.home.gateway, "sh", [BOOT, RULESET, `${s.home.folder}/state/rules.nft`]);
    expect((await device.udp("198.51.100.71", { waitMs: 100 })).received).toBe(0);
    s.agent.restart();
    await s.operator.ready();
    await s.operator.running();
  }, 30_000);

  test("B7: told to enforce nothing, the agent changes nothing in the firewall", async () => {
    await s.agent.stop();
    await s.home.exec(s.home.gateway, "sh", [BOOT, "--remove"]);
    const before = await nft("-s", "list", "ruleset");
    const config = join(s.home.folder, "spin-usp.conf");
    writeFileSync(config, readFileSync(config, "utf8").replace("option backend 'auto'", "option backend 'none'"));
    s.agent.restart();
    await s.operator.ready();
    await s.operator.running();
    await device.udp("198.51.100.72", { count: 5 });
    const seen = () => s.operator.query("Flows", { PhysAddress: device.mac, Destination: "198.51.100.72" });
    await eventually(seen, (flows) => flows.length > 0, { what: "the flow" });
    expect(await nft("-s", "list", "ruleset")).toBe(before);
    expect(await s.agent.stop()).toBe(0);
    expect(await nft("-s", "list", "ruleset")).toBe(before);
  }, 30_000);
});
