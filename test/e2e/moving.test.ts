/** A device keeps its row and its rules when its addresses change; a claim by ARP cuts nobody else off. */
import { eventually } from "../support/eventually.ts";
import { describeUnless } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

describeUnless(sceneMissing(), "a device that moves", () => {
  let s: Scene;
  let row: string;
  let rule: string;
  beforeAll(async () => {
    s = await scene({ devices: 3 });
    for (const device of s.home.devices) {
      await device.udp("198.51.100.10");
      await device.udp("2001:db8:100::10");
    }
    row = await s.operator.device(s.home.device(1).mac);
    rule = await s.operator.addRule({ macs: [s.home.device(1).mac] });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  async function expectBlocked(): Promise<void> {
    const device = s.home.device(1);
    for (const address of ["198.51.100.80", "2001:db8:100::80"]) {
      expect((await device.udp(address, { count: 20, everyUs: 5000 })).received).toBe(0);
      expect(await s.home.arrived(address)).toEqual({ packets: 0, bytes: 0 });
    }
    expect((await s.operator.rule(rule)).status).toBe("Enabled");
    expect(await s.operator.deviceRow(device.mac)).toBe(row);
  }

  /** Traffic that the Internet pushes to an address, which only a rule on the address stops. */
  async function expectAddressListed(name: "IPv4Address" | "IPv6Address", address: string): Promise<void> {
    const read = async () => (await s.operator.get(`${row}${name}`)).get(`${row}${name}`) ?? "";
    await eventually(read, (list) => list.split(",").includes(address), { what: `${name} with ${address}` });
  }

  test("it takes another IPv4 address: same row, still blocked", async () => {
    await s.home.device(1).changeIPv4("192.168.77.111");
    await expectBlocked();
    await expectAddressListed("IPv4Address", "192.168.77.111");
  });

  test("it takes a new IPv6 privacy address: same row, still blocked", async () => {
    const address = await s.home.device(1).addPrivacyAddress();
    await expectBlocked();
    await expectAddressListed("IPv6Address", address);
  });

  test("it reconnects: same row, still blocked", async () => {
    await s.home.device(1).replug();
    await expectBlocked();
  });

  test("a push to the address that it took while blocked does not reach it", async () => {
    const device = s.home.device(1);
    await s.operator.removeRule(rule);
    const address = await device.addPrivacyAddress();
    const streams = ["198.51.100.81", "2001:db8:100::81"].map((address) =>
      device.stream("push", address, { everyMs: 5 }),
    );
    await Promise.all(streams.map((stream) => stream.flowing()));
    await expectAddressListed("IPv6Address", address);
    rule = await s.operator.addRule({ macs: [device.mac] });
    expect(await Promise.all(streams.map((stream) => stream.during(400)))).toEqual([0, 0]);
    await Promise.all(streams.map((stream) => stream.stop()));
  });

  test("a blocked device that claims another's address by ARP cuts nobody else off", async () => {
    const [first, second, third] = [s.home.device(1), s.home.device(2), s.home.device(3)];
    const leases = s.home.devices.map((device) => ({ device, name: `host${device.namespace.at(-1)}` }));
    await s.home.writeLeases(leases);
    await first.claim(second.ipv4, 5);
    // The kernel believes the last one that spoke; the owner speaks up, as any host does.
    await second.claim(second.ipv4, 1);
    expect((await second.udp("198.51.100.82", { count: 20, everyUs: 5000 })).received).toBe(20);
    expect((await third.udp("198.51.100.82", { count: 5 })).received).toBe(5);
    await first.claim(third.ipv4, 2);
    // Even while the gateway sends the answers elsewhere, what the owner sends is not taken for the claimant's.
    const before = (await s.home.arrived("198.51.100.83")).packets;
    await third.udp("198.51.100.83", { count: 10, port: 11, waitMs: 1 });
    expect((await s.home.arrived("198.51.100.83")).packets - before).toBe(10);
    expect((await s.operator.deviceParameters(second.mac)).get("Blocked")).toBe("false");
    await expectBlocked();
  });

  test("a flood of forged MAC addresses leaves the real devices their rows", async () => {
    await s.home.device(3).forgeMacs(2000, 4000);
    for (const device of s.home.devices) expect(await s.operator.deviceRow(device.mac)).toBeDefined();
    const count = Number(await s.operator.value("Device.X_SPIN.DeviceNumberOfEntries"));
    expect(count).toBeLessThanOrEqual(255);
    await expectBlocked();
  });
});
