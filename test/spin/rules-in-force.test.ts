import { ManualClock } from "../../src/lib/clock.ts";
import { parsePrefix } from "../../src/lib/address.ts";
import type { Prefix } from "../../src/lib/address.ts";
import { newRule } from "../../src/spin/rules.ts";
import type { Rule } from "../../src/spin/rules.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, START, TestHome } from "./home.ts";

const onPrefix = (text: string) => ({ prefixes: [parsePrefix(text) as Prefix], domains: [], lists: [] });
const onDomain = (...domains: string[]) => ({ prefixes: [], domains, lists: [] });
const block = (fields: Partial<Rule> & { id: number }) =>
  newRule({ enable: true, action: "Block", macs: "*", ...fields });

async function started() {
  const enforcer = new WritingEnforcer();
  const test = new TestHome({ enforcer, management: [{ address: "198.51.100.200", port: 8883 }] }).network();
  test.neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.20");
  await test.spin.settled();
  enforcer.take();
  return { enforcer, test };
}

/** What a change of rules says of their states is told in the next turn of the event loop. */
const turn = () => new Promise<void>((done) => setImmediate(done));

describe("the enforcer", () => {
  it("is started once the home is known, told every address, then the policy", async () => {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer });
    test.spin.rules.put(block({ id: 4, macs: [mac(1)], destinations: "*" }));
    test.neighbour(1, "192.0.2.10");
    let isSettled = false;
    const settled = test.spin.settled().then(() => (isSettled = true));
    await new Promise((resolve) => setImmediate(resolve));
    expect([enforcer.take(), isSettled]).toEqual([[], false]);
    test.network();
    await settled;
    expect(enforcer.take()).toEqual(["start 192.0.2.0/24 2001:db8:1::/64", "+ 01 192.0.2.10", "apply 4", "cut 01 *"]);
    expect([test.spin.rules.state(4).status, test.device(1).blocked, test.spin.summary.blockedDeviceCount]).toEqual([
      "Enabled",
      true,
      1,
    ]);
  });

  it("is told the agent's own connections as they come and go, but none into the home", async () => {
    const { enforcer, test } = await started();
    const outside = { address: "198.51.100.7", port: 8883 };
    const inside = ["192.0.2.10", "192.0.2.77", "192.0.2.1", "2001:db8:1::5", "no address"];
    test.spin.setConnections([outside, ...inside.map((address) => ({ address, port: 443 }))]);
    await test.spin.settled();
    expect(enforcer.network?.connections).toEqual([outside]);
    expect(enforcer.network?.management).toEqual([{ address: "198.51.100.200", port: 8883 }]);
    test.spin.setConnections([]);
    await test.spin.settled();
    expect(enforcer.network?.connections).toEqual([]);
  });

  it("gets no policy while rules of an earlier life can't be read, and nobody waits for it", async () => {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer });
    test.spin.holdRules("the saved rules can't be read");
    test.network();
    await test.spin.settled();
    test.neighbour(1, "192.0.2.10");
    enforcer.lose();
    await turn();
    expect(enforcer.take().filter((call) => call.startsWith("apply"))).toEqual([]);
    test.spin.setEnabled(true);
    expect([test.spin.status, test.spin.statusReason]).toEqual(["Error", "the saved rules can't be read"]);
    test.spin.rules.put(block({ id: 4, macs: [mac(1)], destinations: "*" }));
    test.spin.holdRules("");
    await test.spin.settled();
    expect(enforcer.take()).toContain("apply 4");
    expect(test.spin.status).toBe("Running");
  });

  it("is told of addresses at once, and of moves as both halves", async () => {
    const { enforcer, test } = await started();
    test.neighbour(1, "2001:db8:1::10");
    expect(enforcer.take()).toEqual(["+ 01 2001:db8:1::10"]);
    test.lease(2, "192.0.2.10");
    expect(enforcer.take()).toEqual(["- 01 192.0.2.10", "+ 02 192.0.2.10"]);
  });

  it("is told of an address that only dropped packets show, unless another device has it", async () => {
    const { enforcer, test } = await started();
    // The second device's other address is one that the kernel merely remembers: the weakest of claims.
    test.neighbour(2, "2001:db8:1::20", "stale");
    enforcer.take();
    const hits = { rules: new Map(), devices: new Map() };
    const sources = (...addresses: string[]) => addresses.map((address) => ({ mac: mac(1), address }));
    enforcer.answer = {
      ...hits,
      sources: [
        ...sources("2001:db8:1::11", "192.0.2.20", "2001:db8:1::20", "192.0.2.1", "198.51.100.9"),
        { mac: mac(77), address: "2001:db8:1::77" },
      ],
    };
    await test.spin.harvest();
    expect(enforcer.take()).toEqual(["+ 01 2001:db8:1::11"]);
    expect(test.spin.deviceByMac(mac(77))).toBeUndefined();
  });

  it("gets a burst of changes as one policy, and what came meanwhile as the next", async () => {
    const { enforcer, test } = await started();
    const release = enforcer.hold();
    for (let id = 1; id <= 50; id++) test.spin.rules.put(block({ id, destinations: onPrefix(`198.51.100.${id}`) }));
    await Promise.resolve();
    expect(enforcer.take()).toHaveLength(1);
    for (let id = 51; id <= 60; id++) test.spin.rules.put(block({ id, destinations: onPrefix(`198.51.100.${id}`) }));
    expect(test.spin.rules.state(1).status).toBe("Pending");
    release();
    await test.spin.settled();
    expect(enforcer.take().filter((call) => call.startsWith("apply"))).toHaveLength(1);
    expect(test.spin.rules.state(60).status).toBe("Enabled");
  });

  it("is asked again when it failed, and the rule is not lost", async () => {
    const { enforcer, test } = await started();
    enforcer.failures = 1;
    test.spin.rules.put(block({ id: 1, destinations: onPrefix("198.51.100.0/24") }));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(test.spin.rules.state(1).status).toBe("Pending");
    test.spin.tick();
    expect([test.spin.status, test.spin.statusReason]).toEqual([
      "Degraded",
      "rules are not in force: the kernel is busy",
    ]);
    await test.spin.settled();
    expect(test.spin.rules.state(1).status).toBe("Enabled");
    test.after(1000).spin.tick();
    expect(test.spin.status).toBe("Running");
  });

  it("gets everything again when somebody took the rules away, and is let go of at the end", async () => {
    const { enforcer, test } = await started();
    const control = new AbortController();
    const running = test.spin.run(control.signal);
    await new Promise((resolve) => setImmediate(resolve));
    enforcer.lose();
    await new Promise((resolve) => setImmediate(resolve));
    await test.spin.settled();
    expect(enforcer.take()).toEqual([
      "start 192.0.2.0/24 2001:db8:1::/64",
      "+ 01 192.0.2.10",
      "+ 02 192.0.2.20",
      "apply",
    ]);
    control.abort();
    await running;
    expect(enforcer.take()).toEqual(["close"]);
  });

  it("gets the policy without a rule that expired", async () => {
    const { enforcer, test } = await started();
    const told: number[] = [];
    test.spin.subscribe((notice) => notice.kind === "rule-changed" && told.push(notice.rule));
    test.spin.rules.put(block({ id: 1, macs: [mac(1)], destinations: "*", expiry: START + 5000 }));
    await test.spin.settled();
    expect([enforcer.take(), test.device(1).blocked]).toEqual([["apply 1", "cut 01 *"], true]);
    await turn();
    test.after(6000).spin.tick();
    await test.spin.settled();
    expect([enforcer.take(), test.device(1).blocked]).toEqual([["apply"], false]);
    expect(test.spin.rules.state(1).status).toBe("Expired");
    await turn();
    expect(told.at(-1)).toBe(1);
  });

  it("ends flows only for what is newly blocked", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(
      newRule({ id: 1, enable: true, action: "Allow", macs: [mac(1)], destinations: onPrefix("198.51.100.7") }),
    );
    test.spin.rules.put(block({ id: 2, destinations: onPrefix("198.51.100.0/24") }));
    await test.spin.settled();
    expect(enforcer.take()).toEqual(["apply 1 2", "cut * 198.51.100.0/24"]);
    test.spin.rules.put(block({ id: 3, action: "Count", destinations: "*" }));
    await test.spin.settled();
    expect(enforcer.take()).toEqual(["apply 1 2 3"]);
    // The exception falls: what it spared is blocked from now on.
    test.spin.rules.remove(1);
    await test.spin.settled();
    expect(enforcer.take()).toEqual(["apply 2 3", "cut * 198.51.100.0/24"]);
  });

  it("says what it refused of a rule, and such a rule blocks nobody", async () => {
    const { enforcer, test } = await started();
    enforcer.refused.set(1, "no room");
    test.spin.rules.put(block({ id: 1, macs: [mac(1)], destinations: "*" }));
    await test.spin.settled();
    expect([test.spin.rules.state(1), test.device(1).blocked]).toEqual([
      { status: "Error", reason: "no room", overruledBy: [] },
      false,
    ]);
  });
});

describe("a rule on a name", () => {
  it("covers the addresses of an answer in the same turn, for the device that asked, by each of the chain's names", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(block({ id: 1, destinations: onDomain("tracker.example", "cdn.example") }));
    await test.spin.settled();
    enforcer.take();
    test.answer("192.0.2.10", ["www.tracker.example", "edge.cdn.example"], ["198.51.100.7", "2001:db8:ffff::7"]);
    expect(enforcer.take()).toEqual([
      "+ 01 tracker.example 198.51.100.7",
      "+ 01 cdn.example 198.51.100.7",
      "+ 01 tracker.example 2001:db8:ffff::7",
      "+ 01 cdn.example 2001:db8:ffff::7",
    ]);
    test
      .answer("192.0.2.10", ["nottracker.example"], ["198.51.100.8"])
      .answer("192.0.2.10", ["example"], ["198.51.100.9"]);
    expect(enforcer.take()).toEqual([]);
  });

  it("covers what was answered before the rule, and what a living flow still uses, and ends such flows", async () => {
    const { enforcer, test } = await started();
    test
      .answer("192.0.2.10", ["ads.example"], ["198.51.100.7"], 3600)
      .answer("192.0.2.20", ["ads.example"], ["198.51.100.8"], 1);
    test.flows({ from: "192.0.2.20", to: "198.51.100.8", counters: [1, 100, 0, 0] });
    test.answer("192.0.2.20", ["ads.example"], ["198.51.100.9"], 1);
    test.after(5 * 60_000).flows({ from: "192.0.2.20", to: "198.51.100.8", counters: [2, 200, 0, 0] });
    test.spin.rules.put(block({ id: 1, destinations: onDomain("example") }));
    await test.spin.settled();
    expect(enforcer.take()).toEqual([
      "apply 1",
      "+ 01 example 198.51.100.7",
      "+ 02 example 198.51.100.8",
      "cut * 198.51.100.7 198.51.100.8",
    ]);
  });

  it("never covers the home, private addresses or the agent's own way out", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(block({ id: 1, destinations: onDomain("evil.example") }));
    await test.spin.settled();
    enforcer.take();
    const addresses = [
      "192.0.2.1",
      "192.0.2.20",
      "203.0.113.2",
      "127.0.0.1",
      "10.0.0.1",
      "172.16.3.4",
      "192.168.1.1",
      "100.64.0.1",
      "169.254.1.1",
      "224.0.0.1",
      "0.0.0.0",
      "::1",
      "::",
      "fd00::1",
      "fe80::1",
      "ff02::1",
      "2001:db8:1::20",
      "198.51.100.200",
      "not an address",
    ];
    test.answer("192.0.2.10", ["evil.example"], addresses);
    expect(enforcer.take()).toEqual([]);
  });

  it("covers so many addresses of a name and no more", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(block({ id: 1, destinations: onDomain("many.example") }));
    await test.spin.settled();
    enforcer.take();
    for (let host = 0; host < 200; host++) test.answer("192.0.2.10", ["many.example"], [`198.51.101.${host}`]);
    expect(enforcer.take()).toHaveLength(64);
    for (let host = 0; host < 200; host++) test.answer("192.0.2.10", [`h${host}.many.example`], [`198.51.101.${host}`]);
    expect(enforcer.take()).toHaveLength(200);
  });

  it("hears an answer whose client becomes known only afterwards", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(block({ id: 1, destinations: onDomain("ads.example") }));
    await test.spin.settled();
    enforcer.take();
    test.answer("192.0.2.30", ["ads.example"], ["198.51.100.7"]).neighbour(3, "192.0.2.30");
    expect(enforcer.take()).toEqual(["+ 03 192.0.2.30", "+ 03 ads.example 198.51.100.7"]);
  });

  it("ends a living flow to an address that it comes to cover", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(block({ id: 1, destinations: onDomain("ads.example") }));
    test.flows({ from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 0, 0] });
    await test.spin.settled();
    enforcer.take();
    test.answer("192.0.2.10", ["ads.example"], ["198.51.100.7"]);
    expect(enforcer.take()).toEqual(["+ 01 ads.example 198.51.100.7", "cut 01 198.51.100.7"]);
  });
});

describe("hits", () => {
  it("come to rules and devices as differences, also when the enforcer starts again", async () => {
    const { enforcer, test } = await started();
    test.spin.rules.put(block({ id: 1, macs: [mac(1)], destinations: "*" }));
    await test.spin.settled();
    const say = async (packets: number, bytes: number) => {
      enforcer.answer = { rules: new Map([[1, { packets, bytes }]]), devices: new Map([[mac(1), { packets, bytes }]]) };
      await test.after(1000).spin.harvest();
    };
    await say(3, 300);
    await say(5, 500);
    await say(2, 200);
    expect(test.spin.rules.hits(1)).toMatchObject({ packets: 7, bytes: 700, lastHit: START + 3000 });
    expect([test.device(1).stats.blockedPackets, test.device(1).stats.blockedBytes]).toEqual([7, 700]);
    expect(test.spin.summary.blockedBytes).toBe(700);
    await test.spin.forget(1);
    await say(4, 400);
    expect(test.spin.summary.blockedBytes).toBe(900);
  });

  it("are there again after a restart", async () => {
    const { memoryStore } = await import("../../src/lib/store.ts");
    const store = memoryStore();
    const clock = new ManualClock(START);
    const enforcer = new WritingEnforcer();
    const first = new TestHome({ enforcer, store, clock }).network().neighbour(1, "192.0.2.10");
    first.spin.rules.put(block({ id: 1, macs: [mac(1)], destinations: onDomain("ads.example") }));
    await first.spin.settled();
    first
      .answer("192.0.2.10", ["ads.example"], ["198.51.100.7"], 3600)
      .answer("192.0.2.10", ["www.example"], ["198.51.100.8"], 3600);
    enforcer.answer = { rules: new Map([[1, { packets: 3, bytes: 300 }]]), devices: new Map() };
    await first.spin.harvest();
    await first.spin.save();
    const again = new WritingEnforcer();
    const second = new TestHome({ enforcer: again, store, clock });
    second.spin.rules.put(
      block({ id: 1, macs: [mac(1)], destinations: onDomain("ads.example") }),
      second.spin.savedHits(1),
    );
    expect(second.spin.rules.hits(1)).toMatchObject({ packets: 3, bytes: 300, lastHit: START });
    second.network();
    await second.spin.settled();
    expect(again.take()).toEqual([
      "start 192.0.2.0/24 2001:db8:1::/64",
      "+ 01 192.0.2.10",
      "apply 1",
      "+ 01 ads.example 198.51.100.7",
      "cut 01 198.51.100.7",
    ]);
  });
});
