import fc from "fast-check";
import { ManualClock } from "../../src/lib/clock.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { MergeError, Merges } from "../../src/spin/merges.ts";
import { newRule } from "../../src/spin/rules.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, START, TestHome } from "./home.ts";

const merges = () => new Merges(() => undefined);

describe("merged hardware addresses", () => {
  it("are flat: what is merged into one that is merged stands for what that stands for", () => {
    const all = merges();
    all.merge(1, 2);
    all.merge(3, 1);
    expect([all.into(1), all.into(3), all.united(3)]).toEqual([2, 2, [2, 1, 3]]);
    // What was merged into one comes along with it.
    expect(all.merge(2, 9).sort()).toEqual([1, 2, 3]);
    expect([all.into(1), all.into(2), all.into(3), all.into(9)]).toEqual([9, 9, 9, undefined]);
    all.undo(2);
    expect([all.united(2), [...all.united(9)].sort()]).toEqual([[2], [1, 3, 9]]);
  });

  it("make no circle", () => {
    const all = merges();
    expect(() => all.merge(1, 1)).toThrow(MergeError);
    all.merge(1, 2);
    expect(() => all.merge(2, 1)).toThrow("the other way round");
    all.merge(3, 1);
    expect(() => all.merge(2, 3)).toThrow(MergeError);
    expect(all.merge(1, 2)).toEqual([]);
  });

  it("are bounded, of one device and of the home", () => {
    const all = merges();
    for (let each = 1; each < 16; each++) all.merge(1000 + each, 1000);
    expect(() => all.merge(2000, 1000)).toThrow("16");
    const many = merges();
    let made = 0;
    expect(() => {
      for (let each = 0; each < 2000; each++, made++) many.merge(2 * each + 2, 2 * each + 1);
    }).toThrow("512");
    expect(made).toBe(512);
  });

  it("come from a state file as they went, and nothing else does", () => {
    const all = merges();
    all.merge(1, 2);
    all.merge(3, 2);
    const again = merges();
    again.load(JSON.parse(JSON.stringify(all.save())));
    expect(again.united(1)).toEqual([2, 1, 3]);
    const broken = merges();
    for (const saved of [undefined, 7, "x", [1], [[1]], [["1", 2]], [[5, 5]], [[0, 1]], [[1e99, 2]], [[-1, 2]], [null]])
      broken.load(saved);
    expect(broken.size).toBe(0);
  });

  it("are classes of equals after whatever was done", () => {
    const step = fc.record({
      what: fc.constantFrom("merge", "merge", "undo", "forget"),
      mac: fc.integer({ min: 1, max: 8 }),
      into: fc.integer({ min: 1, max: 8 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const all = merges();
        for (const { what, mac: one, into } of steps)
          try {
            if (what === "merge") all.merge(one, into);
            else if (what === "undo") all.undo(one);
            else all.forget(one);
          } catch (error) {
            if (!(error instanceof MergeError)) throw error;
          }
        for (let one = 1; one <= 8; one++) {
          const root = all.into(one);
          if (root !== undefined) expect(all.into(root)).toBeUndefined();
          expect(all.united(one)).toContain(one);
          for (const other of all.united(one)) expect(all.united(other)).toEqual(all.united(one));
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("two rows that the resident merged", () => {
  const blockOn = (id: number, index: number) => newRule({ id, enable: true, macs: [mac(index)], destinations: "*" });
  async function home() {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer }).network();
    for (let index = 1; index <= 3; index++) test.neighbour(index, `192.0.2.${10 + index}`);
    await test.spin.settled();
    return test;
  }
  const blocked = (test: TestHome) => [1, 2, 3].map((index) => test.device(index).blocked);

  it("are both under a rule that names either, while each counts for itself", async () => {
    const test = await home();
    test.spin.rules.put(blockOn(1, 1));
    await test.spin.settled();
    expect(blocked(test)).toEqual([true, false, false]);
    await test.spin.merge(2, 1);
    await test.spin.settled();
    expect([blocked(test), test.device(2).mergedInto]).toEqual([[true, true, false], 1]);
    test.spin.rules.remove(1);
    test.spin.rules.put(blockOn(2, 2));
    await test.spin.settled();
    expect(blocked(test)).toEqual([true, true, false]);
    expect(test.spin.rules.get(2)?.macs).toEqual([mac(2)]);
    test.flows({ id: 1, from: "192.0.2.12", to: "198.51.100.7", counters: [1, 100, 1, 100] });
    expect([test.traffic(1)[0], test.traffic(2)[0]]).toEqual([0, 100]);
    await test.spin.merge(2, undefined);
    await test.spin.settled();
    expect([blocked(test), test.device(2).mergedInto]).toEqual([[false, true, false], 0]);
  });

  it("stay so over a restart and are told", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const test = new TestHome({ store, clock }).network().neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12");
    const told: string[] = [];
    test.spin.subscribe((notice) => {
      if (notice.kind === "device-changed" && notice.field === "MergedInto")
        told.push(`${notice.device.number} into ${notice.device.mergedInto}`);
    });
    await test.spin.merge(2, 1);
    await test.spin.merge(2, 1);
    const again = new TestHome({ store, clock });
    expect([again.device(2).mergedInto, again.device(1).unitedMacs]).toEqual([1, [mac(1), mac(2)]]);
    await test.spin.forget(1);
    expect([told, test.device(2).mergedInto]).toEqual([["2 into 1", "2 into 0"], 0]);
    expect(() => test.spin.merge(2, 77)).toThrow(RangeError);
  });

  it("stay one under a rule though the row of one is deleted, and part when no rule names either", async () => {
    const test = await home();
    test.spin.rules.put(blockOn(1, 1));
    await test.spin.merge(2, 1);
    await test.spin.settled();
    await test.spin.forget(1);
    await test.spin.forget(2);
    test.neighbour(2, "192.0.2.12");
    await test.spin.settled();
    expect(test.device(2).blocked).toBe(true);
    test.neighbour(1, "192.0.2.11");
    expect([test.device(1).blocked, test.device(2).mergedInto]).toEqual([true, test.device(1).number]);
    test.spin.rules.remove(1);
    await test.spin.settled();
    await test.spin.forget(test.device(1).number);
    test.neighbour(1, "192.0.2.11");
    expect([test.device(2).mergedInto, test.device(1).unitedMacs]).toEqual([0, [mac(1)]]);
  });

  it("are forgotten no sooner than the one that has a name", async () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12");
    await test.spin.setName(1, "Laptop");
    await test.spin.merge(2, 1);
    for (let day = 0; day < 40; day++) test.after(24 * 60 * 60_000).spin.tick();
    expect([...test.spin.devices()].map(({ number, mergedInto }) => [number, mergedInto])).toEqual([
      [1, 0],
      [2, 1],
    ]);
    await test.spin.setName(1, "");
    test.after(1000).spin.tick();
    expect([...test.spin.devices()]).toEqual([]);
  });

  it("give way to nobody while a rule names one of them", async () => {
    const test = new TestHome({ limits: { devices: 3 } }).network();
    test.neighbour(1, "192.0.2.11").neighbour(2, "192.0.2.12").neighbour(3, "192.0.2.13");
    test.spin.rules.put(newRule({ id: 1, macs: [mac(1)], destinations: "*" }));
    await test.spin.merge(2, 1);
    test.after(1000).neighbour(4, "192.0.2.14").neighbour(5, "192.0.2.15");
    expect([...test.spin.devices()].map(({ number }) => number)).toEqual([1, 2, 5]);
    for (let day = 0; day < 40; day++) test.after(24 * 60 * 60_000).spin.tick();
    expect([...test.spin.devices()].map(({ number }) => number)).toEqual([1, 2]);
  });
});

describe("a device is Ignored", () => {
  const ignoring = (id: number, macs: readonly number[] | "*", more = {}) =>
    newRule({ id, enable: true, action: "Ignore", macs, destinations: "*", ...more });
  const soon = () => new Promise((resolve) => setImmediate(resolve));

  it("while a rule in force hides all that it does, by itself or with what it is merged with", async () => {
    const test = new TestHome().network();
    for (let index = 1; index <= 3; index++) test.neighbour(index, `192.0.2.${10 + index}`);
    const ignored = async () => {
      await soon();
      return [1, 2, 3].map((index) => test.device(index).ignored);
    };
    test.spin.rules.put(ignoring(1, [mac(1)], { expiry: START + 60_000 }));
    test.spin.rules.put(ignoring(2, [mac(3)], { protocol: 17 }));
    expect(await ignored()).toEqual([true, false, false]);
    await test.spin.merge(2, 1);
    expect(await ignored()).toEqual([true, true, false]);
    test.after(61_000).spin.tick();
    expect(await ignored()).toEqual([false, false, false]);
    test.spin.rules.put(ignoring(3, "*"));
    expect(await ignored()).toEqual([true, true, true]);
    test.neighbour(4, "192.0.2.14");
    expect(test.device(4).ignored).toBe(true);
  });
});
