/** DNS names stand on the device that asked and on the destination that the answer named, and nowhere else. */
import { eventually } from "../support/eventually.ts";
import { RESOLVER4 } from "../support/home-network.ts";
import type { HomeDevice } from "../support/home-device.ts";
import { describeUnless } from "../support/needs.ts";
import { type Scene, scene, sceneMissing } from "../support/scene.ts";

describeUnless(sceneMissing(), "names", () => {
  let s: Scene;
  beforeAll(async () => {
    s = await scene({ devices: 3, agent: { capture: { counter_interval: "1" } } });
    await s.operator.connection.set("Device.X_SPIN.", { PrivacyLevel: "Destinations" });
  }, 60_000);
  afterAll(async () => {
    await s?.end();
  });

  /** The domain on a device's row for an address, once that row is there. */
  async function domain(device: HomeDevice, address: string): Promise<string | undefined> {
    const read = async () => {
      const rows = await s.operator.query("Destinations", { PhysAddress: device.mac });
      return rows.find((row) => row["Address"] === address);
    };
    return (await eventually(read, Boolean, { what: `${address} among the destinations of ${device.mac}` }))?.[
      "Domain"
    ];
  }

  test("the name that a device asked for stands on the destination that it then used", async () => {
    const device = s.home.device(1);
    await device.udp(await device.resolve("www.example"), { count: 3 });
    await device.udp(await device.resolve("www.example", "AAAA"), { count: 3 });
    expect(await domain(device, "198.51.100.10")).toBe("www.example");
    expect(await domain(device, "2001:db8:100::10")).toBe("www.example");
  });

  test("another device that uses the same address without asking gets no name", async () => {
    const device = s.home.device(2);
    await device.udp("198.51.100.10", { count: 3 });
    expect(await domain(device, "198.51.100.10")).toBe("");
  });

  test("behind a CNAME stands the name that the device asked for", async () => {
    const device = s.home.device(2);
    await device.udp(await device.resolve("shop.example"), { count: 3 });
    expect(await domain(device, "198.51.100.11")).toBe("shop.example");
  });

  test("two devices that know one address by two names keep each its own", async () => {
    const [first, third] = [s.home.device(1), s.home.device(3)];
    await first.udp(await first.resolve("one.wild.example"), { count: 3 });
    await third.udp(await third.resolve("two.wild.example"), { count: 3 });
    expect(await domain(first, "198.51.100.20")).toBe("one.wild.example");
    expect(await domain(third, "198.51.100.20")).toBe("two.wild.example");
  });

  test("an answer from a resolver in the Internet counts as one from the gateway's", async () => {
    const device = s.home.device(3);
    await device.udp(await device.resolve("other.example", "A", RESOLVER4), { count: 3 });
    expect(await domain(device, "198.51.100.13")).toBe("other.example");
  });
});
