import { ManualClock } from "../../src/lib/clock.ts";
import { memoryStore } from "../../src/lib/store.ts";
import type { DeviceRow } from "../../src/spin/device-row.ts";
import { newRule } from "../../src/spin/rules.ts";
import { mac, START, TestHome } from "./home.ts";

const HOUR = 60 * 60_000;
const DAY = 24 * HOUR;
const numbers = (test: TestHome) => [...test.spin.devices()].map(({ number }) => number);

/** Ticks by the hour, as a replay of little traffic does. */
function pass(test: TestHome, days: number): void {
  for (let hour = 0; hour < days * 24; hour++) test.after(HOUR).spin.tick();
}

/** The device gets an answer from the Internet: it lives here. */
function talks(test: TestHome, index: number, address: string): void {
  test.flows({ id: index, from: address, to: "198.51.100.7", counters: [5, 500, 5, 500] });
}

describe("a device that is silent", () => {
  it("is forgotten after 35 days, unless it has a name or a rule, and that is told", async () => {
    const test = new TestHome().network();
    for (let index = 1; index <= 4; index++) test.neighbour(index, `192.0.2.${10 + index}`);
    await test.spin.setName(1, "Sewing machine");
    test.spin.rules.put(newRule({ id: 1, macs: [mac(2)], destinations: "*" }));
    const told: string[] = [];
    test.spin.subscribe((notice) => {
      if (notice.kind === "device-removed") told.push(`${notice.device.number} ${notice.reason}`);
    });
    pass(test, 34);
    test.neighbour(4, "192.0.2.14");
    expect(numbers(test)).toEqual([1, 2, 3, 4]);
    pass(test, 2);
    expect([numbers(test), told]).toEqual([[1, 2, 4], ["3 idle"]]);
    test.spin.rules.remove(1);
    await test.spin.setName(1, "");
    pass(test, 1);
    expect(numbers(test)).toEqual([4]);
    pass(test, 40);
    expect([numbers(test), test.spin.summary.deviceCount]).toEqual([[], 0]);
    // It is a new device when it comes again.
    test.neighbour(3, "192.0.2.13");
    expect(numbers(test)).toEqual([5]);
  });

  it("is forgotten after as long as somebody says, or never", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.11");
    test.spin.setForgetAfter(0);
    pass(test, 400);
    expect(numbers(test)).toEqual([1]);
    test.spin.setForgetAfter(500);
    test.spin.tick();
    expect(numbers(test)).toEqual([1]);
    test.spin.setForgetAfter(1);
    test.after(1000).spin.tick();
    expect(numbers(test)).toEqual([]);
  });

  it("is not forgotten because nobody looked: capture off, or the gateway off", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const first = new TestHome({ store, clock }).network().neighbour(1, "192.0.2.11");
    pass(first, 20);
    first.spin.setEnabled(false);
    pass(first, 60);
    first.spin.setEnabled(true);
    first.after(1000).spin.tick();
    expect(numbers(first)).toEqual([1]);
    await first.spin.save();
    clock.advance(100 * DAY);
    const second = new TestHome({ store, clock }).network();
    second.after(1000).spin.tick();
    expect(numbers(second)).toEqual([1]);
    // The days before the restart count.
    pass(second, 14);
    expect(numbers(second)).toEqual([1]);
    pass(second, 2);
    expect(numbers(second)).toEqual([]);
  });

  it("is not forgotten because the clock was set, forth or back", async () => {
    const store = memoryStore();
    const first = new TestHome({ store, clock: new ManualClock(0) }).network().neighbour(1, "192.0.2.11");
    pass(first, 1);
    await first.spin.save();
    // A gateway without a battery starts in 1970 and is set by NTP.
    const second = new TestHome({ store, clock: new ManualClock(START) }).network();
    second.after(1000).spin.tick();
    expect(numbers(second)).toEqual([1]);
    await second.spin.save();
    const third = new TestHome({ store, clock: new ManualClock(0) }).network();
    third.after(1000).spin.tick();
    expect(numbers(third)).toEqual([1]);
    pass(third, 35);
    expect(numbers(third)).toEqual([]);
  });
});

describe("a flood of 100,000 forged MAC addresses", () => {
  it("leaves who has a name, a rule, or was here today, and costs a bounded number of rows", async () => {
    const test = new TestHome().network();
    for (let index = 1; index <= 60; index++) test.neighbour(index, `192.0.2.${10 + index}`);
    for (let index = 3; index <= 60; index++) talks(test, index, `192.0.2.${10 + index}`);
    await test.spin.setName(1, "Sewing machine");
    test.spin.rules.put(newRule({ id: 1, macs: [mac(2)], destinations: "*" }));
    // 3 to 30 went a week ago; 31 to 60 are here each day, and now asleep.
    for (let day = 0; day < 7; day++) {
      pass(test, 1);
      for (let index = 31; index <= 60; index++) test.neighbour(index, `192.0.2.${10 + index}`);
    }
    test.after(3 * HOUR).spin.tick();
    for (let forged = 0; forged < 100_000; forged++) {
      const time = test.after(1).clock.now();
      const from = mac(0x100000 + forged);
      test.tell({ kind: "neighbour", time, mac: from, interface: "br-lan", state: "frame" });
      // Names can be forged too.
      test.tell({ kind: "identity", time, mac: from, source: "mdns", hostName: `laptop-${forged}` });
    }
    expect(test.spin.summary.deviceCount).toBe(255);
    for (const index of [1, 2]) expect(test.device(index).number).toBe(index);
    for (let index = 31; index <= 60; index++) expect(test.device(index).number).toBe(index);
    const { devicesEvicted, devicesRefused } = test.spin.capture;
    expect(devicesEvicted + devicesRefused).toBe(100_000 - (255 - 60));
    // 100 s, ten with each tick, and never two ticks within 0.9 s.
    expect(devicesEvicted).toBeLessThanOrEqual(1120);
    expect(Math.max(...numbers(test))).toBeLessThanOrEqual(255 + 1120);
    // Who comes meanwhile finds room.
    test.after(1000).lease(70, "192.0.2.200", "phone");
    expect(test.device(70).hostName).toBe("phone");
  });

  it("that even get answers push out each other and who was away for days, not who lives here", () => {
    const test = new TestHome({ limits: { devices: 30 } }).network();
    for (let index = 1; index <= 10; index++) {
      test.neighbour(index, `192.0.2.${10 + index}`);
      talks(test, index, `192.0.2.${10 + index}`);
    }
    for (let day = 0; day < 3; day++) {
      pass(test, 1);
      for (let index = 1; index <= 5; index++) test.neighbour(index, `192.0.2.${10 + index}`);
    }
    for (let forged = 0; forged < 600; forged++) {
      const address = `192.0.2.${100 + (forged % 100)}`;
      test.after(30_000).neighbour(1000 + forged, address);
      talks(test, 1000 + forged, address);
    }
    // Five hours: those that were here today still are; those that were away gave way.
    for (let index = 1; index <= 5; index++) expect(test.device(index).number).toBe(index);
    expect(numbers(test).filter((number) => number > 5 && number <= 10)).toEqual([]);
    expect(test.spin.summary.deviceCount).toBeLessThanOrEqual(30);
  });

  it("in which each is unlike the last leaves no more behind in memory than a table has rows", () => {
    const test = new TestHome({ limits: { devices: 50 } }).network();
    const removed = new Set<number>();
    test.spin.subscribe((notice) => {
      if (notice.kind === "device-removed") removed.add((notice.device as DeviceRow).slot);
    });
    for (let forged = 0; forged < 3000; forged++) test.after(101).neighbour(1000 + forged, "192.0.2.77");
    expect(test.spin.capture.devicesEvicted).toBeGreaterThan(2000);
    expect(removed.size).toBeLessThanOrEqual(50);
    expect(numbers(test)).toHaveLength(50);
  });
});

describe("eviction after a restart", () => {
  it("goes by how long each was silent before it", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const first = new TestHome({ store, clock, limits: { devices: 3 } }).network();
    for (let index = 1; index <= 3; index++) {
      first.neighbour(index, `192.0.2.${10 + index}`);
      talks(first, index, `192.0.2.${10 + index}`);
    }
    for (let day = 0; day < 5; day++) {
      pass(first, 1);
      first.neighbour(1, "192.0.2.11");
      if (day < 3) first.neighbour(2, "192.0.2.12");
    }
    await first.spin.save();
    const second = new TestHome({ store, clock, limits: { devices: 3 } }).network();
    second.after(1000).spin.tick();
    second.neighbour(4, "192.0.2.14");
    expect(numbers(second).filter((number) => number <= 3)).toEqual([1, 2]);
  });
});
