import fc from "fast-check";
import { ManualClock } from "../../src/lib/clock.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { newRule } from "../../src/spin/rules.ts";
import type { Notice } from "../../src/spin/types.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, START, TestHome } from "./home.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe("a device row", () => {
  it("is made for whoever shows a MAC address on the LAN, with what is known of it", () => {
    const test = new TestHome().network().lease(1, "192.0.2.10", "camera").neighbour(1, "2001:db8:1::10");
    const device = test.device(1);
    expect(device).toMatchObject({
      number: 1,
      physAddress: "02:00:00:00:00:01",
      alias: "cpe-1",
      hostName: "camera",
      randomized: true,
      firstSeen: START,
      ipv4Addresses: ["192.0.2.10"],
      ipv6Addresses: ["2001:db8:1::10"],
      interface: "br-lan",
    });
  });

  it("is never the gateway, a group, the WAN side, or known before the home is", () => {
    const test = new TestHome().neighbour(1, "192.0.2.10");
    expect([...test.spin.devices()]).toHaveLength(0);
    test.network().neighbour(0xffff, "192.0.2.1");
    test.tell({ kind: "neighbour", time: START, mac: 0x01005e000001, interface: "br-lan", state: "reachable" });
    test.tell({
      kind: "neighbour",
      time: START,
      mac: mac(5),
      address: "203.0.113.1",
      interface: "wan",
      state: "reachable",
    });
    expect([...test.spin.devices()].map(({ physAddress }) => physAddress)).toEqual(["02:00:00:00:00:01"]);
  });

  it("goes when the device turns out to be the gateway", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    test.tell({
      kind: "network",
      time: START,
      lanInterfaces: ["br-lan"],
      lanPrefixes: ["192.0.2.0/24"],
      gatewayAddresses: ["192.0.2.10"],
      gatewayMacs: [mac(1)],
    });
    expect([...test.spin.devices()]).toHaveLength(0);
  });

  it("keeps its number, name, addresses and counters over a restart, and numbers are never given again", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const first = new TestHome({ store, clock }).network().lease(1, "192.0.2.10", "camera").neighbour(2, "192.0.2.20");
    first.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 2, 200] });
    await first.spin.setName(1, "Front door");
    await first.spin.forget(2);
    const second = new TestHome({ store, clock });
    expect(second.device(1)).toMatchObject({
      number: 1,
      name: "Front door",
      hostName: "camera",
      ipv4Addresses: ["192.0.2.10"],
    });
    expect(second.traffic(1)).toEqual([100, 200, 1, 2]);
    second.network().neighbour(2, "192.0.2.20");
    expect(second.device(2).number).toBeGreaterThan(2);
  });

  it("can be forgotten: the home's sums stay, and a new row counts only what comes from then on", async () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    const held = test.device(1);
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 2, 200] });
    await test.spin.forget(1);
    expect(test.spin.summary).toMatchObject({
      deviceCount: 0,
      activeDeviceCount: 0,
      bytesSent: 100,
      activeFlowCount: 0,
    });
    expect([held.stats.bytesSent, held.ipv4Addresses]).toEqual([100, ["192.0.2.10"]]);
    test
      .after(1000)
      .neighbour(1, "192.0.2.10")
      .flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [2, 150, 3, 300] });
    expect(test.device(1).number).toBe(2);
    expect(test.traffic(1)).toEqual([50, 100, 1, 1]);
    expect(test.spin.summary.bytesSent).toBe(150);
  });

  it("tells what changed, after it has", async () => {
    const test = new TestHome();
    const told: string[] = [];
    test.spin.subscribe((notice: Notice) => {
      if (notice.kind === "device-changed") told.push(`${notice.device.number} ${notice.field}`);
      else if (notice.kind === "device-added" || notice.kind === "device-removed")
        told.push(`${notice.device.number} ${notice.kind}`);
    });
    test.network().neighbour(1, "192.0.2.10").lease(1, "192.0.2.10", "camera").neighbour(1, "2001:db8:1::10");
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 0, 0] });
    await test.spin.setName(1, "Door");
    await test.spin.setName(1, "Door");
    test.after(6 * MINUTE).spin.tick();
    await test.spin.forget(1);
    expect(told).toEqual([
      "1 device-added",
      "1 IPv4Address",
      "1 HostName",
      "1 Type",
      "1 TypeReason",
      "1 IPv6Address",
      "1 Active",
      "1 Name",
      "1 Active",
      "1 device-removed",
    ]);
  });

  it("is Active while it sends by itself, not while it only answers the neighbourhood", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    expect(test.device(1).active).toBe(false);
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 0, 0] });
    expect([test.device(1).active, test.spin.summary.activeDeviceCount]).toEqual([true, 1]);
    for (let minute = 0; minute < 6; minute++) test.after(MINUTE).neighbour(1, "192.0.2.10");
    expect([test.device(1).active, test.spin.summary.activeDeviceCount]).toEqual([false, 0]);
    expect(test.device(1).lastSeen).toBe(START + 6 * MINUTE);
    // What a peer pushes is not the device's own.
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 5, 500] });
    expect(test.device(1).active).toBe(false);
  });

  it("is Active when it asks for names, but not when a rule blocks it whole and it asks in vain", async () => {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer }).network().neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.20");
    test.spin.rules.put(newRule({ id: 1, enable: true, macs: [mac(1)], destinations: "*" }));
    await test.spin.settled();
    for (const client of ["192.0.2.10", "192.0.2.20"])
      test.tell({ kind: "query", time: test.clock.now(), client, name: "www.example", type: "A" });
    expect([test.device(1).active, test.device(2).active]).toEqual([false, true]);
    expect([test.device(1).stats.dnsQueryCount, test.spin.summary.dnsQueryCount]).toEqual([1, 2]);
    test.neighbour(1, "192.0.2.10", "frame");
    expect(test.device(1).active).toBe(false);
  });

  it("is made for who asks for a name before its neighbour entry is known", () => {
    const test = new TestHome().network();
    test.tell({ kind: "query", time: START, client: "192.0.2.10", mac: mac(1), name: "www.example", type: "A" });
    expect([test.device(1).ipv4Addresses, test.device(1).stats.dnsQueryCount]).toEqual([["192.0.2.10"], 1]);
  });

  it("gives its rates in bits per second over the last ten seconds", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    test.spin.tick();
    let bytes = 0;
    for (let second = 1; second <= 20; second++) {
      bytes += 1000;
      test.after(500).flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [second, bytes, second, bytes * 2] });
      test.after(500).spin.tick();
    }
    expect([test.device(1).stats.bytesSentRate, test.device(1).stats.bytesReceivedRate]).toEqual([8000, 16_000]);
    for (let second = 1; second <= 11; second++) test.after(1000).spin.tick();
    expect(test.device(1).stats.bytesSentRate).toBe(0);
  });
});

describe("an address", () => {
  const owner = (test: TestHome, address: string) =>
    [...test.spin.devices()]
      .filter((device) => device.ipv4Addresses.includes(address) || device.ipv6Addresses.includes(address))
      .map(({ mac: found }) => found - mac(0));

  it("follows the device: a new lease, a new privacy address", () => {
    const test = new TestHome().network().lease(1, "192.0.2.10").neighbour(1, "2001:db8:1::10");
    test
      .after(HOUR)
      .lease(1, "192.0.2.10", undefined, undefined, true)
      .lease(1, "192.0.2.11")
      .neighbour(1, "2001:db8:1:0:aaaa::1");
    test.flows({ from: "192.0.2.11", to: "198.51.100.7", counters: [1, 100, 0, 0] });
    test.flows({ id: 2, from: "2001:db8:1:0:aaaa::1", to: "2001:db8:ffff::1", counters: [1, 50, 0, 0] });
    expect(test.traffic(1)[0]).toBe(150);
    expect(test.device(1).number).toBe(1);
    for (let tick = 0; tick < 60; tick++) test.after(1000).spin.tick();
    expect(test.device(1).ipv4Addresses).toEqual(["192.0.2.11"]);
    expect(test.device(1).ipv6Addresses).toEqual(["2001:db8:1:0:aaaa::1", "2001:db8:1::10"]);
  });

  it("stays with its lease whatever ARP claims, and the claim is told once a minute", () => {
    const test = new TestHome().network().lease(1, "192.0.2.10");
    const conflicts: string[] = [];
    test.spin.subscribe((notice) => {
      if (notice.kind === "address-conflict")
        conflicts.push(`${notice.address} ${notice.owner.number} ${notice.claimant - mac(0)}`);
    });
    for (let hour = 0; hour < 5; hour++) test.after(HOUR).neighbour(2, "192.0.2.10").neighbour(2, "192.0.2.10");
    expect(owner(test, "192.0.2.10")).toEqual([1]);
    expect(conflicts).toEqual(new Array<string>(5).fill("192.0.2.10 1 2"));
    expect(test.spin.capture.addressConflicts).toBe(10);
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 0, 0] });
    expect([test.traffic(1)[0], test.traffic(2)[0]]).toEqual([100, 0]);
  });

  it("stays with who showed it while that is not long ago, though it has no lease", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10").neighbour(1, "2001:db8:1::10");
    test
      .after(50 * MINUTE)
      .neighbour(2, "192.0.2.10")
      .neighbour(2, "2001:db8:1::10");
    expect([owner(test, "192.0.2.10"), owner(test, "2001:db8:1::10")]).toEqual([[1], [1]]);
    test
      .after(11 * MINUTE)
      .neighbour(2, "192.0.2.10")
      .neighbour(2, "2001:db8:1::10");
    expect([owner(test, "192.0.2.10"), owner(test, "2001:db8:1::10")]).toEqual([[2], [1]]);
  });

  it("passes on at once when its owner has moved to another", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    test
      .after(3 * MINUTE)
      .neighbour(1, "192.0.2.11")
      .neighbour(2, "192.0.2.10");
    expect(owner(test, "192.0.2.10")).toEqual([2]);
    expect(test.device(1).ipv4Addresses).toEqual(["192.0.2.11"]);
  });

  it("passes to whom the home's DHCP server gives it", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10").lease(2, "192.0.2.10");
    expect(owner(test, "192.0.2.10")).toEqual([2]);
    test.lease(3, "192.0.2.10");
    expect(owner(test, "192.0.2.10")).toEqual([3]);
  });

  it("is taken from a device when it turns out to be the gateway's", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10").neighbour(1, "192.0.2.11");
    test.tell({
      kind: "network",
      time: START,
      lanInterfaces: ["br-lan"],
      lanPrefixes: ["192.0.2.0/24"],
      gatewayAddresses: ["192.0.2.1", "192.0.2.11"],
      gatewayMacs: [],
    });
    expect(test.device(1).ipv4Addresses).toEqual(["192.0.2.10"]);
  });

  it("is not the gateway's, a group's, nor one from outside", () => {
    const test = new TestHome().network();
    for (const address of [
      "192.0.2.1",
      "192.0.2.255",
      "0.0.0.0",
      "255.255.255.255",
      "224.0.0.1",
      "198.51.100.7",
      "127.0.0.1",
      "::",
      "ff02::1",
      "2001:db8:2::1",
    ])
      test.neighbour(1, address);
    test.neighbour(1, "169.254.7.7").neighbour(1, "fe80::1");
    expect([...test.device(1).ipv4Addresses, ...test.device(1).ipv6Addresses]).toEqual(["169.254.7.7", "fe80::1"]);
  });

  it("has one owner, and a lease is never lost to a claim, whatever is claimed", () => {
    const step = fc.record({
      device: fc.integer({ min: 1, max: 5 }),
      address: fc.integer({ min: 10, max: 14 }),
      what: fc.constantFrom("lease", "end", "reachable", "stale", "frame", "gone"),
      pause: fc.constantFrom(0, 1000, 5 * MINUTE, 2 * HOUR),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const test = new TestHome({ limits: { addressesPerDevice: 3 } }).network();
        const leased = new Map<string, number>();
        for (const { device, address, what, pause } of steps) {
          const text = `192.0.2.${address}`;
          test.after(pause);
          if (what === "lease") {
            test.lease(device, text);
            leased.set(text, device);
          } else if (what === "end") {
            test.lease(device, text, undefined, undefined, true);
            if (leased.get(text) === device) leased.delete(text);
          } else test.neighbour(device, text, what);
          for (let host = 10; host <= 14; host++) expect(owner(test, `192.0.2.${host}`).length).toBeLessThanOrEqual(1);
          for (const row of test.spin.devices()) expect(row.ipv4Addresses.length).toBeLessThanOrEqual(3);
          for (const [held, by] of leased) {
            const found = owner(test, held);
            // Only the device's own cap may take it: another device never does.
            if (found.length > 0) expect(found).toEqual([by]);
          }
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("a flood of forged MAC addresses", () => {
  it("stays within the table, counts what found no room, and pushes out nobody who lives here", () => {
    const test = new TestHome({ limits: { devices: 20 } }).network();
    for (let index = 1; index <= 5; index++) {
      test.lease(index, `192.0.2.${10 + index}`, `device-${index}`);
      test.flows({ id: index, from: `192.0.2.${10 + index}`, to: "198.51.100.7", counters: [5, 500, 5, 500] });
    }
    for (let forged = 1000; forged < 6000; forged++)
      test
        .after(1)
        .tell({ kind: "neighbour", time: test.clock.now(), mac: mac(forged), interface: "br-lan", state: "frame" });
    expect(test.spin.summary.deviceCount).toBe(20);
    for (let index = 1; index <= 5; index++) expect(test.device(index).number).toBe(index);
    const { devicesEvicted, devicesRefused } = test.spin.capture;
    expect(devicesEvicted + devicesRefused).toBe(5000 - 15);
    expect(devicesEvicted).toBeLessThanOrEqual(60);
    // A device that comes meanwhile gets a row as soon as the second allows one.
    test.after(1000).spin.tick();
    test.lease(7, "192.0.2.77", "phone");
    expect(test.device(7).hostName).toBe("phone");
  });

  it("never takes a row that a rule names, and a named one only when it has been silent for a month", async () => {
    const test = new TestHome({ limits: { devices: 3 } }).network();
    test.neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12").neighbour(3, "192.0.2.13");
    await test.spin.setName(1, "Printer");
    test.flows({ id: 3, from: "192.0.2.13", to: "198.51.100.7", counters: [5, 500, 5, 500] });
    test.after(HOUR).neighbour(4, "192.0.2.14");
    expect([...test.spin.devices()].map(({ number }) => number)).toEqual([1, 3, 4]);
    test.flows({ id: 4, from: "192.0.2.14", to: "198.51.100.7", counters: [5, 500, 5, 500] });
    test.spin.rules.put(newRule({ id: 1, macs: [mac(3)], destinations: "*" }));
    test.after(HOUR).neighbour(5, "192.0.2.15");
    expect([...test.spin.devices()].map(({ number }) => number)).toEqual([1, 3, 5]);
    test
      .after(31 * 24 * HOUR)
      .neighbour(6, "192.0.2.16")
      .neighbour(7, "192.0.2.17")
      .neighbour(8, "192.0.2.18");
    expect([...test.spin.devices()].map(({ number }) => number)).toEqual([1, 3, 8]);
  });
});

describe("a rule on a device", () => {
  it("without an enforcer stays Pending and blocks nobody", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    test.spin.rules.put(newRule({ id: 1, enable: true, macs: [mac(1)], destinations: "*" }));
    expect(test.spin.rules.state(1).status).toBe("Pending");
    expect(test.device(1).blocked).toBe(false);
  });
});
