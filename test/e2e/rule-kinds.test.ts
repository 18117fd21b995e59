/** Each thing that a rule can say, once, in both families, as an operator says it: what passes, what is told, what stays. */
import type { ChildProcess } from "node:child_process";
import { eventually } from "../support/eventually.ts";
import { GATEWAY, type HomeDevice } from "../support/home-device.ts";
import { BROKER4 } from "../support/home-network.ts";
import { ended } from "../support/namespace.ts";
import { describeUnless, missing } from "../support/needs.ts";
import type { RuleWish } from "../support/operator.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";
import { traffic, trafficTool, type TcpResult } from "../support/traffic.ts";

const PEER = { 4: "198.51.100.44", 6: "2001:db8:100::44" } as const;
const BOTH = [PEER[4], PEER[6]];
const ALL = "u4 t4 i4 u6 t6 i6";
const NONE = "-- -- -- -- -- --";
const WAIT_MS = 250;

describeUnless(sceneMissing() ?? missing("socat", "nc"), "what a rule can say", () => {
  let s: Scene;
  let device: HomeDevice;
  const servers: ChildProcess[] = [];
  const rules: string[] = [];

  beforeAll(async () => {
    s = await scene({ devices: 3, agent: { capture: { counter_interval: "1" } } });
    device = s.home.device(1);
    await s.home.nft('insert rule inet fw4 forward iifname "wan" accept');
    servers.push(s.home.spawn(device.namespace, trafficTool(), ["serve"]));
    servers.push(s.home.spawn(s.home.gateway, "socat", ["UDP4-LISTEN:67,fork", "PIPE"]));
    servers.push(s.home.spawn(s.home.gateway, "socat", ["TCP6-LISTEN:443,fork,reuseaddr", "PIPE"]));
    servers.push(s.home.spawn(s.home.gateway, "socat", ["TCP6-LISTEN:4443,fork,reuseaddr", "PIPE"]));
    for (const one of [1, 2]) await s.home.device(one).udp(PEER[4]);
    await s.operator.device(device.mac);
    await eventually(came, (text) => text === ALL, { what: "a peer that reaches the device" });
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

  const mark = (got: boolean, letter: string, family: 4 | 6) => (got ? `${letter}${family}` : "--");

  /** What the device gets from the peer when it asks. */
  async function reach(): Promise<string> {
    const each = async (family: 4 | 6) => {
      const [udp, tcp, ping] = await Promise.all([
        device.udp(PEER[family], { waitMs: WAIT_MS }),
        device.tcp(PEER[family], { down: 20, timeoutMs: WAIT_MS }),
        device.exec("ping", "-c", "1", "-W", String(WAIT_MS / 1000), "-q", PEER[family]),
      ]);
      return [
        mark(udp.received > 0, "u", family),
        mark(tcp.ok, "t", family),
        mark(ping.stdout.includes(" 1 received"), "i", family),
      ];
    };
    return [...(await each(4)), ...(await each(6))].join(" ");
  }

  /** What the peer gets from the device when it asks: IPv6 alone, since IPv4 is masqueraded. */
  async function came(): Promise<string> {
    const [tcp, ping] = await Promise.all([
      traffic<TcpResult>(s.home.internet, ["tcp", device.ipv6, 0, 20, WAIT_MS, 8]),
      s.home.exec(s.home.internet, "ping", ["-c", "1", "-W", String(WAIT_MS / 1000), "-q", device.ipv6], {
        mayFail: true,
      }),
    ]);
    const both = tcp.ok && ping.stdout.includes(" 1 received");
    return both ? ALL : tcp.ok || ping.stdout.includes(" 1 received") ? "part" : NONE;
  }

  test.each<[string, () => RuleWish[], string]>([
    ["a device and everything", () => [{ macs: [device.mac] }], NONE],
    ["every device and addresses", () => [{ destinations: BOTH }], NONE],
    ["protocol -1", () => [{ destinations: BOTH, protocol: -1 }], NONE],
    ["TCP", () => [{ destinations: BOTH, protocol: 6 }], "u4 -- i4 u6 -- i6"],
    ["UDP and a port", () => [{ destinations: BOTH, protocol: 17, ports: "7" }], "-- t4 i4 -- t6 i6"],
    ["UDP and another port", () => [{ destinations: BOTH, protocol: 17, ports: "8-9" }], ALL],
    ["ports of any protocol", () => [{ destinations: BOTH, ports: "1-8" }], "-- -- i4 -- -- i6"],
    ["ICMP", () => [{ destinations: BOTH, protocol: 1 }], "u4 t4 -- u6 t6 i6"],
    ["ICMPv6", () => [{ destinations: BOTH, protocol: 58 }], "u4 t4 i4 u6 t6 --"],
    ["who asks: the device", () => [{ macs: [device.mac], destinations: BOTH, initiator: "Device" }], NONE],
    ["who asks: the peer", () => [{ macs: [device.mac], destinations: BOTH, initiator: "Peer" }], ALL],
    ["Count", () => [{ action: "Count", macs: [device.mac] }], ALL],
    ["Ignore", () => [{ action: "Ignore", macs: [device.mac] }], ALL],
    [
      "Allow over Block",
      () => [{ macs: [device.mac] }, { action: "Allow", destinations: [PEER[6]] }],
      "-- -- -- u6 t6 i6",
    ],
  ])("%s", async (_name, wishes, wanted) => {
    for (const wish of wishes().reverse()) await add(wish);
    expect(await reach()).toBe(wanted);
  });

  test("who asks is told apart for flows that come from outside", async () => {
    const wish = { macs: [device.mac], destinations: ["2001:db8::/32"] };
    await add({ ...wish, initiator: "Device" });
    expect(await came()).toBe(ALL);
    await s.operator.removeRule(rules.pop() as string);
    await add({ ...wish, initiator: "Peer" });
    expect(await came()).toBe(NONE);
    expect(await reach()).toBe(ALL);
  });

  test("Reject tells the device: a reset to TCP, else that it is prohibited, in both families", async () => {
    await add({ action: "Reject", destinations: BOTH });
    for (const family of [4, 6] as const) {
      const before = await s.home.arrived(PEER[family]);
      expect(await device.tcp(PEER[family], { timeoutMs: 2000 })).toMatchObject({ error: "refused" });
      // RFC 1812 §5.2.7.1 code 13; RFC 4443 §3.1 code 1.
      const { stdout } = await device.exec("ping", "-c", "1", "-W", "1", PEER[family]);
      expect(stdout).toMatch(family === 4 ? /filtered/i : /administratively prohibited/i);
      expect(await s.home.arrived(PEER[family])).toEqual(before);
    }
  });

  test("what no rule can do: cut DHCP, the way to the gateway's page, or the agent from its broker", async () => {
    await add({ macs: [device.mac] });
    await add({ destinations: [GATEWAY[4], GATEWAY[6], "198.51.100.0/24", "192.168.0.0/16"] });
    expect((await device.udp(GATEWAY[4], { port: 67, waitMs: 300 })).received).toBe(1);
    const opens = async (address: string, port: string) =>
      (await device.exec("nc", "-z", "-w", "1", address, port)).code === 0;
    for (const address of [GATEWAY[4], GATEWAY[6]]) {
      expect([address, await opens(address, "443")]).toEqual([address, true]);
      expect([address, await opens(address, "4443")]).toEqual([address, false]);
    }
    expect(await s.operator.value("Device.X_SPIN.Status")).toBe("Running");
  });

  test("a blocked device that takes the address and port of the agent's broker gets nothing to the gateway's services", async () => {
    await s.home.nft(`
table inet heard {
  chain input { type filter hook input priority filter + 20; policy accept;
    iifname "br-lan" ip saddr ${BROKER4} udp dport 53 counter comment "questions"
  }
}
`);
    const ask = async () => {
      await device.exec("sh", "-c", `echo question | socat -u - UDP4:${GATEWAY[4]}:53,bind=${BROKER4}:1883`);
      const { stdout } = await s.home.exec(s.home.gateway, "nft", ["list", "table", "inet", "heard"]);
      return Number(/packets (\d+)/.exec(stdout)?.[1]);
    };
    await device.exec("ip", "address", "add", `${BROKER4}/32`, "dev", "lan");
    try {
      // It can do so at all.
      expect(await ask()).toBe(1);
      await add({ macs: [device.mac] });
      expect(await ask()).toBe(1);
    } finally {
      await device.exec("ip", "address", "delete", `${BROKER4}/32`, "dev", "lan");
      await s.home.nft("delete table inet heard");
    }
  });

  test("NewDevicePolicy Quarantine: a device that was never seen is blocked from its first packets on, known ones are not", async () => {
    await s.operator.connection.set("Device.X_SPIN.", { NewDevicePolicy: "Quarantine" });
    // A hardware address that nobody has shown yet.
    const fresh = s.home.device(3);
    const mac = "02:AA:00:00:00:99";
    await fresh.exec("ip", "link", "set", "lan", "address", mac);
    await fresh.ping(GATEWAY[4], { count: 1 });
    const row = await s.operator.device(mac);
    await eventually(
      () => s.operator.value(`${row}Blocked`),
      (text) => text === "true",
      { what: "Blocked" },
    );
    for (const address of BOTH) expect((await fresh.udp(address, { count: 3, waitMs: 100 })).received).toBe(0);
    expect(await reach()).toBe(ALL);
    const found = await s.operator.get('Device.X_SPIN.Rule.[Origin=="System"].MACAddressList');
    expect([...found.values()]).toEqual([mac]);
    for (const path of found.keys()) await s.operator.removeRule(path.replace(/MACAddressList$/, ""));
    await eventually(
      async () => (await fresh.udp(PEER[4])).received,
      (count) => count > 0,
      { what: "its traffic" },
    );
    await s.operator.connection.set("Device.X_SPIN.", { NewDevicePolicy: "Allow" });
  });
});
