/**
 * What the controller reads equals what the device itself counted: packets, IP bytes and flows, exactly, under NAT and
 * routed, whatever the protocol; and a restart of the agent counts nothing twice.
 */
import { GATEWAY, type HomeDevice, type Totals } from "../support/home-device.ts";
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { type DeviceStats } from "../support/operator.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

const STAMP = 12; // TCP timestamps, on every segment after the SYN

interface Counted {
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly packetsSent: number;
  readonly packetsReceived: number;
}

function ofDevice({ sent, got }: Totals): Counted {
  return { bytesSent: sent.bytes, bytesReceived: got.bytes, packetsSent: sent.packets, packetsReceived: got.packets };
}

function ofAgent(stats: DeviceStats): Counted {
  return {
    bytesSent: stats.BytesSent,
    bytesReceived: stats.BytesReceived,
    packetsSent: stats.PacketsSent,
    packetsReceived: stats.PacketsReceived,
  };
}

describeUnless(sceneMissing(), "counting", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 4, agent: { capture: { counter_interval: "1" } } });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  /** The agent's counters once they have caught up with the device's own, or as they stand after a while. */
  async function caughtUp(device: HomeDevice): Promise<{ agent: Counted; device: Counted; stats: DeviceStats }> {
    const own = ofDevice(await device.total());
    const same = (stats: DeviceStats) => JSON.stringify(ofAgent(stats)) === JSON.stringify(own);
    const read = () => s.operator.stats(device.mac);
    const stats = await eventually(read, same, { timeoutMs: 8000, everyMs: 200 }).catch(read);
    return { agent: ofAgent(stats), device: own, stats };
  }

  const kinds: [string, (device: HomeDevice, n: number) => Promise<unknown>, number][] = [
    ["a TCP upload over IPv4", (d) => d.tcp("198.51.100.10", { up: 2_000_000 }), 1],
    ["a TCP download over IPv4", (d) => d.tcp("198.51.100.11", { down: 3_000_000 }), 1],
    ["a TCP upload over IPv6", (d) => d.tcp("2001:db8:100::10", { up: 2_000_000 }), 1],
    ["a TCP download over IPv6", (d) => d.tcp("2001:db8:100::11", { down: 3_000_000 }), 1],
    ["UDP over IPv4", (d) => d.udp("198.51.100.12", { count: 300, size: 700 }), 1],
    ["UDP over IPv6", (d) => d.udp("2001:db8:100::12", { count: 300, size: 700 }), 1],
    ["UDP that nobody answers", (d) => d.udp("198.51.100.13", { count: 50, port: 11, waitMs: 1 }), 1],
    ["ICMP", (d) => d.ping("198.51.100.14", { count: 20, size: 400 }), 1],
    ["ICMPv6", (d) => d.ping("2001:db8:100::14", { count: 20, size: 400 }), 1],
    ["a connection that is refused", (d) => d.tcp("198.51.100.15", { port: 4444, timeoutMs: 500 }), 1],
    ["200 short flows", (d) => d.flows("198.18.0.0", { count: 200, rate: 2000 }), 200],
  ];

  test.each(kinds)("%s: bytes, packets and flows are exactly those that the device sent", async (_name, run, flows) => {
    const device = s.home.device(1);
    const flowsBefore = (await s.operator.stats(device.mac)).FlowsOpened ?? 0;
    await run(device, 1);
    const { agent, device: own, stats } = await caughtUp(device);
    expect(agent).toEqual(own);
    expect(stats.FlowsOpened - flowsBefore).toBe(flows);
    expect(stats.BlockedPackets).toBe(0);
  });

  test("two devices behind one address are told apart, also when they use one destination at once", async () => {
    const [second, third] = [s.home.device(2), s.home.device(3)];
    await Promise.all([
      second.tcp("198.51.100.20", { up: 400_000, down: 100_000 }),
      third.tcp("198.51.100.20", { up: 50_000, down: 900_000 }),
      second.udp("198.51.100.20", { count: 100 }),
      third.udp("198.51.100.20", { count: 70 }),
    ]);
    for (const device of [second, third]) {
      const { agent, device: own } = await caughtUp(device);
      expect(agent).toEqual(own);
    }
  });

  test("what a device says to the gateway is local and not in its Internet counters", async () => {
    const device = s.home.device(4);
    await device.askNames("h%d.load.example", 20, 200);
    const own = await device.total("home", "udp");
    const read = () => s.operator.stats(device.mac);
    const stats = await eventually(read, (now) => now.LocalBytesSent === own.sent.bytes).catch(read);
    expect(stats).toMatchObject({ LocalBytesSent: own.sent.bytes, LocalBytesReceived: own.got.bytes, BytesSent: 0 });
    expect(stats.DNSQueryCount).toBe(20);
    expect(GATEWAY[4]).toBe("192.168.77.1");
  });

  test("Query(Flows) and the Summary add up to the same", async () => {
    const device = s.home.device(2);
    const { agent } = await caughtUp(device);
    const rows = await s.operator.query("Flows", { PhysAddress: device.mac });
    const sum = (column: string) => rows.reduce((total, row) => total + Number(row[column]), 0);
    expect({
      bytesSent: sum("BytesSent"),
      bytesReceived: sum("BytesReceived"),
      packetsSent: sum("PacketsSent"),
      packetsReceived: sum("PacketsReceived"),
    }).toEqual(agent);
    const all = await Promise.all(s.home.devices.map((d) => s.operator.stats(d.mac)));
    const summary = await s.operator.get("Device.X_SPIN.Summary.");
    expect(Number(summary.get("Device.X_SPIN.Summary.BytesSent"))).toBe(
      all.reduce((n, stats) => n + stats.BytesSent, 0),
    );
  });

  test("traffic to one destination is in that destination's row", async () => {
    const device = s.home.device(3);
    const result = await device.tcp("198.51.100.21", { up: 100_000 });
    const own = (await device.counted()).find((row) => row.address === "198.51.100.21");
    await caughtUp(device);
    const rows = await s.operator.query("Destinations", { PhysAddress: device.mac });
    const row = rows.find((row) => row["Address"] === "198.51.100.21");
    expect(result.ok).toBe(true);
    expect(row).toMatchObject({ BytesSent: String(own?.sent.bytes), BytesReceived: String(own?.got.bytes) });
    expect(own!.sent.bytes).toBeGreaterThan(100_000 + STAMP);
  });

  describe("over a restart", () => {
    test.each([
      ["is stopped in order", () => s.agent.stop()],
      ["is killed", () => s.agent.kill()],
    ])(
      "an agent that %s counts a flow that lives on once",
      async (_name, end) => {
        const device = s.home.device(1);
        const stream = s.home.device(1).stream("udp", "198.51.100.30", { everyMs: 5 });
        await stream.flowing();
        const finished = device.tcp("2001:db8:100::30", { up: 300_000 });
        await finished;
        await caughtUp(device);
        await end();
        const whileDown = await stream.during(500);
        s.agent.restart();
        await s.operator.ready();
        await s.operator.running();
        expect(whileDown).toBeGreaterThan(20);
        await stream.during(300);
        await stream.stop();
        const { agent, device: own } = await caughtUp(device);
        expect(agent.bytesSent).toBeLessThanOrEqual(own.bytesSent);
        expect(agent.bytesReceived).toBeLessThanOrEqual(own.bytesReceived);
        // The flow outlived the agent, so conntrack kept what passed meanwhile: nothing is lost either.
        expect(agent).toEqual(own);
      },
      60_000,
    );
  });
});
