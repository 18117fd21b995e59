/**
 * A rule that is in force stops what it names, in both directions and both families, for established traffic too, and
 * nothing else. Each case runs streams that should stop beside streams that should go on.
 */
import { GATEWAY, type HomeDevice } from "../support/home-device.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import type { RuleState, RuleWish } from "../support/operator.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";
import type { Stream, StreamKind } from "../support/traffic.ts";

const KINDS: readonly StreamKind[] = ["tcp", "udp", "push", "icmp"];
/** Long enough for a TCP retransmission and dozens of datagrams. */
const WATCH_MS = 400;

interface Case {
  readonly name: string;
  /** Device and address of streams that the rule stops, of every kind. */
  readonly stops: readonly (readonly [device: number, address: string])[];
  readonly passes: readonly (readonly [device: number, address: string])[];
  readonly rules: (scene: Scene) => readonly RuleWish[];
  /** Names that a device resolves before its streams begin. */
  readonly resolves?: readonly (readonly [device: number, name: string])[];
}

const mac = (s: Scene, number: number) => s.home.device(number).mac;

const CASES: readonly Case[] = [
  {
    name: "by device",
    rules: (s) => [{ macs: [mac(s, 1)] }],
    stops: [
      [1, "198.51.100.40"],
      [1, "2001:db8:100::40"],
    ],
    passes: [
      [2, "198.51.100.40"],
      [2, "2001:db8:100::40"],
    ],
  },
  {
    name: "by destination address, for every device",
    rules: () => [{ destinations: ["198.51.100.41", "2001:db8:100::41"] }],
    stops: [
      [1, "198.51.100.41"],
      [2, "2001:db8:100::41"],
    ],
    passes: [
      [1, "198.51.100.42"],
      [2, "2001:db8:100::42"],
    ],
  },
  {
    name: "by destination prefix, for every device",
    rules: () => [{ destinations: ["198.18.4.0/22", "2001:db8:100:4::/64"] }],
    stops: [
      [1, "198.18.7.255"],
      [2, "2001:db8:100:4:ffff::1"],
    ],
    passes: [
      [1, "198.18.8.0"],
      [2, "2001:db8:100:5::1"],
    ],
  },
  {
    name: "a pair of device and destination",
    rules: (s) => [{ macs: [mac(s, 1)], destinations: ["198.51.100.43", "2001:db8:100:6::/64"] }],
    stops: [
      [1, "198.51.100.43"],
      [1, "2001:db8:100:6::1"],
    ],
    passes: [
      [2, "198.51.100.43"],
      [2, "2001:db8:100:6::1"],
      [1, "198.51.100.44"],
    ],
  },
  {
    name: "by domain with its subdomains, for every device",
    rules: () => [{ destinations: ["wild.example"] }],
    resolves: [
      [1, "a.wild.example"],
      [2, "b.wild.example"],
    ],
    stops: [
      [1, "198.51.100.20"],
      [2, "2001:db8:100::20"],
    ],
    passes: [
      [1, "198.51.100.10"],
      [2, "2001:db8:100::10"],
    ],
  },
  {
    name: "by domain, for one device",
    rules: (s) => [{ macs: [mac(s, 2)], destinations: ["cdn.example"] }],
    resolves: [
      [1, "edge.cdn.example"],
      [2, "edge.cdn.example"],
    ],
    stops: [[2, "198.51.100.11"]],
    passes: [[1, "198.51.100.11"]],
  },
  {
    name: "with an Allow inside a blocked prefix",
    rules: () => [
      { destinations: ["198.51.100.128/25", "2001:db8:100:7::/64"] },
      { action: "Allow", destinations: ["198.51.100.200", "2001:db8:100:7::200"] },
    ],
    stops: [
      [1, "198.51.100.201"],
      [2, "2001:db8:100:7::201"],
    ],
    passes: [
      [1, "198.51.100.200"],
      [2, "2001:db8:100:7::200"],
    ],
  },
  {
    name: "with an Allow of one destination for a blocked device",
    rules: (s) => [{ macs: [mac(s, 1)] }, { action: "Allow", macs: [mac(s, 1)], destinations: ["198.51.100.45"] }],
    stops: [[1, "198.51.100.46"]],
    passes: [[1, "198.51.100.45"]],
  },
];

const BACKENDS = ["auto", "nft"] as const;

describe.each(BACKENDS)("with the enforcer's backend %s", (backend) => {
  describeUnless(sceneMissing(), "blocking", () => {
    let s: Scene;
    const rules: string[] = [];
    const streams: Stream[] = [];

    beforeAll(async () => {
      s = await scene({ devices: 3, ttl: 3600, agent: { enforce: backend, capture: { counter_interval: "1" } } });
    }, 60_000);
    afterEach(async () => {
      await Promise.all(streams.splice(0).map((stream) => stream.stop()));
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

    function open(device: HomeDevice, address: string, kinds: readonly StreamKind[] = KINDS): Stream[] {
      const opened = kinds.map((kind) => device.stream(kind, address, { everyMs: 5 }));
      streams.push(...opened);
      return opened;
    }

    /** Packets that each stream gets while we watch. */
    async function watch(list: readonly Stream[]): Promise<[string, number][]> {
      const counts = await Promise.all(list.map((stream) => stream.during(WATCH_MS)));
      return list.map((stream, i) => [`${stream.kind} ${stream.address}`, counts[i] as number]);
    }

    async function expectStopped(list: readonly Stream[]): Promise<void> {
      expect(await watch(list)).toEqual(list.map((stream) => [`${stream.kind} ${stream.address}`, 0]));
    }

    async function expectFlowing(list: readonly Stream[]): Promise<void> {
      expect((await watch(list)).filter(([, count]) => count === 0)).toEqual([]);
    }

    /** The rule's hits, which the agent reads from the kernel now and then: once they are there, or as they stand. */
    function hits(rule: string, atLeast: number): Promise<RuleState> {
      const read = () => s.operator.rule(rule);
      return eventually(read, ({ hitPackets }) => hitPackets >= atLeast, { timeoutMs: 5000 }).catch(read);
    }

    test.each(CASES)("$name: it stops these and only these, and ends with the rule", async (c) => {
      for (const [device, name] of c.resolves ?? []) {
        await s.home.device(device).resolve(name);
        await s.home.device(device).resolve(name, "AAAA");
      }
      const of = (list: Case["stops"]) => list.flatMap(([n, address]) => open(s.home.device(n), address));
      const stops = of(c.stops);
      const passes = of(c.passes);
      await Promise.all([...stops, ...passes].map((stream) => stream.flowing()));
      const wishes = c.rules(s);
      // The Allow comes first, so that no packet of what it names is lost between the two.
      for (const wish of [...wishes].reverse()) await add(wish);
      const arrivals = () => Promise.all(c.stops.map(([, address]) => s.home.arrived(address)));
      const solitary = c.stops.every(([, address]) => !c.passes.some(([, other]) => other === address));
      const before = await arrivals();
      await expectStopped(stops);
      if (solitary) expect(await arrivals()).toEqual(before);
      await expectFlowing(passes);
      for (const rule of rules.splice(0)) await s.operator.removeRule(rule);
      for (const [n, address] of c.stops) {
        const received = async () => (await s.home.device(n).udp(address, { count: 5, everyUs: 5000 })).received;
        await eventually(received, (count) => count > 0, { timeoutMs: 5000, what: `answers from ${address}` });
      }
      // A push that nobody asks for again has lost its way through NAT, and TCP backs off: these two may stay away.
      await expectFlowing(stops.filter(({ kind }) => kind === "udp" || kind === "icmp"));
    });

    test("Reject answers at once, where Block lets time out", async () => {
      const device = s.home.device(1);
      await add({ action: "Reject", destinations: ["198.51.100.60", "2001:db8:100::60"] });
      for (const address of ["198.51.100.60", "2001:db8:100::60"]) {
        const result = await device.tcp(address, { timeoutMs: 2000 });
        expect(result).toMatchObject({ ok: false, error: "refused" });
        expect((await device.udp(address, { count: 3 })).received).toBe(0);
      }
      await add({ destinations: ["198.51.100.61"] });
      expect(await device.tcp("198.51.100.61", { timeoutMs: 700 })).toMatchObject({ ok: false, error: "timeout" });
      expect((await s.home.arrived("198.51.100.60")).packets).toBe(0);
    });

    test("Count stops nothing and counts every packet, both ways", async () => {
      const rule = await add({ action: "Count", destinations: ["198.51.100.62"] });
      expect(await s.home.device(1).udp("198.51.100.62", { count: 40, size: 100 })).toMatchObject({ received: 40 });
      expect(await hits(rule, 80)).toMatchObject({ hitPackets: 80, hitBytes: 80 * 128 });
    });

    test("a rule with a protocol and ports stops these alone", async () => {
      await add({ destinations: ["198.51.100.63"], protocol: 6, ports: "8,80-90" });
      const device = s.home.device(1);
      expect(await device.tcp("198.51.100.63", { timeoutMs: 500 })).toMatchObject({ ok: false });
      expect(await device.tcp("198.51.100.63", { port: 80, timeoutMs: 500 })).toMatchObject({ error: "timeout" });
      expect(await device.udp("198.51.100.63", { count: 3 })).toMatchObject({ received: 3 });
      expect((await device.scan("198.51.100.63", 91, 91)).refused).toBe(1);
    });

    test("a blocked device can't resolve through the gateway, and resolves again when the rule is gone", async () => {
      const device = s.home.device(1);
      const rule = await add({ macs: [device.mac] });
      expect((await device.askNames("h%d.load.example", 5, 100)).answered).toBe(0);
      const before = await device.resolve("www.example", "A", GATEWAY[6]);
      expect(before).toBe("");
      expect(await s.home.device(2).resolve("www.example")).toBe("198.51.100.10");
      rules.length = 0;
      await s.operator.removeRule(rule);
      await eventually(() => device.resolve("www.example"), Boolean, { what: "the answer" });
    });

    test("an ExpiryDate lifts the block by itself", async () => {
      const device = s.home.device(1);
      const rule = await add({ destinations: ["198.51.100.64"], forSeconds: 2 });
      expect((await device.udp("198.51.100.64", { count: 5 })).received).toBe(0);
      const stream = device.stream("udp", "198.51.100.64", { everyMs: 20 });
      streams.push(stream);
      await stream.flowing(6000);
      expect((await s.operator.rule(rule)).status).toBe("Expired");
    });

    test("a rule on everything, for every device, is refused", async () => {
      const path = await s.operator.addRuleOnly({});
      rules.push(path);
      expect((await s.operator.rule(path)).status).toBe("Error_Misconfigured");
      expect((await s.home.device(1).udp("198.51.100.65", { count: 3 })).received).toBe(3);
    });

    test("no rule cuts the agent off from its broker", async () => {
      await add({ destinations: ["198.51.100.0/24", "2001:db8:100::/48"] });
      expect((await s.home.device(1).udp("198.51.100.66", { count: 3 })).received).toBe(0);
      expect(await s.operator.value("Device.X_SPIN.Status")).toMatch(/Running|Degraded/);
    });

    test("blocked bytes are counted apart, exactly, and nowhere else", async () => {
      // An address that no rule of the tests before covered: lifting one takes the kernel a moment.
      const device = s.home.device(3);
      await device.udp("198.18.9.67", { count: 20, size: 100 });
      const rule = await add({ destinations: ["198.18.9.67"] });
      await device.udp("198.18.9.67", { count: 30, size: 100, waitMs: 10 });
      await new Promise((done) => setTimeout(done, 2500));
      const stats = await s.operator.stats(device.mac);
      expect(stats).toMatchObject({ BlockedPackets: 30, BlockedBytes: 30 * 128 });
      expect(stats).toMatchObject({ PacketsSent: 20, BytesSent: 20 * 128, BytesReceived: 20 * 128 });
      expect(await hits(rule, 30)).toMatchObject({ hitPackets: 30, hitBytes: 30 * 128 });
    });

    test("a flush of the whole firewall does not lose our rules: they are back within 2 s", async () => {
      const stream = s.home.device(1).stream("udp", "198.51.100.68", { everyMs: 10 });
      streams.push(stream);
      await stream.flowing();
      await add({ destinations: ["198.51.100.68"] });
      const restored = async () => Number(await s.operator.value("Device.X_SPIN.Summary.RulesRestored"));
      const before = await restored();
      await s.home.exec(s.home.gateway, "nft", ["flush", "ruleset"]);
      await s.home.reloadFirewall();
      await new Promise((done) => setTimeout(done, 2000));
      await expectStopped([stream]);
      expect((await restored()) - before).toBe(1);
    });

    test("kill -9 and a restart let no packet through in between, and the rule is still there", async () => {
      const device = s.home.device(1);
      const list = [
        ...open(device, "198.51.100.69", ["udp", "push"]),
        ...open(device, "2001:db8:100::69", ["udp", "push"]),
      ];
      await Promise.all(list.map((stream) => stream.flowing()));
      const rule = await add({ macs: [device.mac] });
      const other = open(s.home.device(2), "198.51.100.70", ["udp"]);
      await new Promise((done) => setTimeout(done, 50));
      const received = list.map((stream) => stream.received);
      const arrived = await s.home.arrived("198.51.100.69");
      await s.agent.kill();
      await expectStopped(list);
      s.agent.restart();
      await s.operator.ready();
      await s.operator.running();
      await s.operator.inForce(rule);
      await expectStopped(list);
      expect(list.map((stream) => stream.received)).toEqual(received);
      expect(await s.home.arrived("198.51.100.69")).toEqual(arrived);
      await expectFlowing(other);
    }, 60_000);
  });
});
