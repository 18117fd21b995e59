/**
 * Defects of SPIN 1.0 around the identity of devices, by the numbers of its inventory, and that none is ours. B14 is also
 * seen in the kernel: test/e2e/moving.test.ts, "a device that moves".
 */
import { newRule } from "../../src/spin/rules.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, TestHome } from "./home.ts";

const DAY = 24 * 60 * 60_000;
const rows = (test: TestHome) => [...test.spin.devices()].map(({ number }) => number);

describe("B12: rows that never go, counters that wrap, numbers that dangle", () => {
  it("B12: the list of devices shrinks by itself, and names and flows of a device go with it", () => {
    const test = new TestHome().network();
    for (let index = 1; index <= 20; index++) {
      const address = `192.0.2.${10 + index}`;
      test.neighbour(index, address).answer(address, ["www.example"], ["198.51.100.7"]);
      test.flows({ id: index, event: "New", from: address, to: "198.51.100.7", sourcePort: 40_000 + index });
    }
    expect([test.spin.summary.deviceCount, test.spin.summary.activeFlowCount]).toEqual([20, 20]);
    expect(test.spin.nameOf(mac(1), "198.51.100.7")).toBe("www.example");
    for (let day = 0; day < 36; day++) test.after(DAY).neighbour(20, "192.0.2.30").spin.tick();
    expect([rows(test), test.spin.summary.activeFlowCount]).toEqual([[20], 1]);
    expect(test.spin.queryFlows({}).rows.map(({ PhysAddress }) => PhysAddress)).not.toContain("02:00:00:00:00:01");
    expect(test.spin.nameOf(mac(1), "198.51.100.7")).toBe("");
  });

  it("B12: counters go on past 2 and 4 gigabytes, of packets too, exactly", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.11");
    const steps = [2 ** 31 - 1, 2 ** 31 + 1, 2 ** 32 + 1, 3 * 2 ** 40 + 7];
    for (const bytes of steps) {
      test
        .after(1000)
        .flows({ from: "192.0.2.11", to: "198.51.100.7", counters: [bytes - 3, bytes, bytes - 1, bytes + 5] });
      expect(test.traffic(1)).toEqual([bytes, bytes + 5, bytes - 3, bytes - 1]);
    }
    expect(test.spin.summary.bytesReceived).toBe(3 * 2 ** 40 + 12);
  });

  it("B12: nothing needs to be renumbered: a merge leaves both rows, their numbers and what they counted", async () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12");
    test.flows(
      { id: 1, from: "192.0.2.11", to: "198.51.100.7", counters: [1, 100, 0, 0] },
      { id: 2, from: "192.0.2.12", to: "198.51.100.7", counters: [2, 200, 0, 0] },
    );
    await test.spin.merge(2, 1);
    expect([rows(test), test.traffic(1)[0], test.traffic(2)[0]]).toEqual([[1, 2], 100, 200]);
    for (const [index, bytes] of [
      [1, 100],
      [2, 200],
    ] as const) {
      const { rows: found } = test.spin.queryDestinations({ physAddress: test.device(index).physAddress });
      expect(found.map(({ BytesSent }) => BytesSent)).toEqual([bytes]);
    }
    await test.spin.forget(1);
    expect(test.spin.queryDestinations({}).rows.map(({ PhysAddress }) => PhysAddress)).toEqual([
      test.device(2).physAddress,
    ]);
  });
});

describe("B13: what shares an address or a name is taken for one", () => {
  it("B13: two devices that had the same address, one after the other, stay two", () => {
    const test = new TestHome().network().lease(1, "192.0.2.11", "phone");
    test.flows({ id: 1, from: "192.0.2.11", to: "198.51.100.7", counters: [1, 100, 0, 0] });
    test.lease(1, "192.0.2.11", undefined, undefined, true).after(1000).lease(2, "192.0.2.11", "phone");
    test.flows({ id: 2, from: "192.0.2.11", to: "198.51.100.7", sourcePort: 41_000, counters: [1, 50, 0, 0] });
    expect([rows(test), test.traffic(1)[0], test.traffic(2)[0]]).toEqual([[1, 2], 100, 50]);
    expect([test.device(1).mergedInto, test.device(2).mergedInto]).toEqual([0, 0]);
    expect([test.device(1).ipv4Addresses, test.device(2).ipv4Addresses]).toEqual([[], ["192.0.2.11"]]);
  });

  it("B13: devices of one name, maker and type stay as many as they have hardware addresses", () => {
    const test = new TestHome({ vendorOf: () => "Example" }).network();
    for (let index = 1; index <= 5; index++) {
      test.lease(index, `192.0.2.${10 + index}`, "camera");
      test.tell({
        kind: "identity",
        time: test.clock.now(),
        mac: mac(index),
        source: "dhcp",
        vendorClass: "ipcam",
        mudUrl: "https://mud.example/camera.json",
      });
    }
    expect(rows(test)).toEqual([1, 2, 3, 4, 5]);
    expect([...test.spin.devices()].every(({ unitedMacs }) => unitedMacs.length === 1)).toBe(true);
  });

  it("B13: two names at one address of a CDN stay two, for each device its own, and a rule on one blocks one device", async () => {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer }).network().neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12");
    test
      .answer("192.0.2.11", ["tracker.example", "edge.cdn.example"], ["198.51.100.7"])
      .answer("192.0.2.12", ["news.example", "edge.cdn.example"], ["198.51.100.7"]);
    const domain = { prefixes: [], domains: ["tracker.example"], lists: [] };
    test.spin.rules.put(newRule({ id: 1, enable: true, macs: "*", destinations: domain }));
    await test.spin.settled();
    expect([test.spin.nameOf(mac(1), "198.51.100.7"), test.spin.nameOf(mac(2), "198.51.100.7")]).toEqual([
      "tracker.example",
      "news.example",
    ]);
    for (const [index, blocked] of [
      [1, true],
      [2, false],
    ] as const) {
      const from = `192.0.2.${10 + index}`;
      test.flows({ id: index, from, to: "198.51.100.7", counters: [1, 100, 0, 0] });
      const { rows: found } = test.spin.queryDestinations({ physAddress: test.device(index).physAddress });
      expect(found.map(({ Blocked }) => Blocked)).toEqual([blocked]);
    }
  });
});

describe("B14: a block that is on addresses is evaded by another address", () => {
  it("B14: a blocked device that takes other addresses of both families, or a lease, stays blocked under the same row", async () => {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer }).network().neighbour(1, "192.0.2.11");
    test.spin.rules.put(newRule({ id: 1, enable: true, macs: [mac(1)], destinations: "*" }));
    await test.spin.settled();
    test.after(1000).neighbour(1, "192.0.2.50").neighbour(1, "2001:db8:1::50").lease(1, "192.0.2.51");
    await test.spin.settled();
    const held = test.device(1);
    expect([held.number, held.blocked, rows(test)]).toEqual([1, true, [1]]);
    for (const [id, from, to] of [
      [1, "192.0.2.50", "198.51.100.7"],
      [2, "2001:db8:1::50", "2001:db8:ffff::1"],
      [3, "192.0.2.51", "198.51.100.7"],
    ] as const)
      test.flows({ id, from, to, counters: [1, 100, 0, 0] });
    const found = test.spin.queryDestinations({ physAddress: held.physAddress }).rows;
    expect(found.length).toBeGreaterThan(1);
    expect(found.every(({ Blocked }) => Blocked)).toBe(true);
  });
});
