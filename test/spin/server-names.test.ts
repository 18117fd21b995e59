/** Names that devices say themselves, in TLS and QUIC: beside those that they were told, and under rules. */
import { parseAddress } from "../../src/lib/address.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { NameSource, Names } from "../../src/spin/names.ts";
import { newRule } from "../../src/spin/rules.ts";
import type { Spin } from "../../src/spin/spin.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, TestHome } from "./home.ts";

const DEVICE = "192.0.2.10";
const PEER = "198.51.100.7";
const words = (text: string) => parseAddress(text) as Uint32Array;

class NamedHome extends TestHome {
  said(name: string, { address = PEER, protocol = 6, ech = false, client = DEVICE } = {}): this {
    const time = this.clock.now();
    this.tell({ kind: "server-name", time, client, address, port: 443, protocol: protocol as 6 | 17, name, ech });
    return this;
  }
  /** Domain and DomainSource of the newest flow and of its destination. */
  shown(): string[] {
    const [flow] = this.spin.queryFlows({}).rows;
    const [destination] = this.spin.queryDestinations({ destination: flow?.Address ?? PEER }).rows;
    return [flow?.Domain, flow?.DomainSource, destination?.Domain, destination?.DomainSource].map(String);
  }
}
const home = () => new NamedHome().network().neighbour(1, DEVICE);
const flow = { from: DEVICE, to: PEER };

describe("a name that a device says itself", () => {
  it.each([
    ["TLS", 6],
    ["QUIC", 17],
  ])("in %s stands on its flow and its destination, marked so", (source, protocol) => {
    const test = home().flows({ ...flow, event: "New" });
    test.said("cam.example", { protocol }).flows({ ...flow, counters: [3, 400, 2, 300] });
    expect(test.shown()).toEqual(["cam.example", source, "cam.example", source]);
    expect(test.spin.nameOf(mac(1), PEER)).toBe("cam.example");
    test.flows({ ...flow, event: "End", counters: [4, 500, 2, 300] }).after(60_000);
    for (let i = 0; i < 40; i++) test.spin.tick();
    expect(test.shown()).toEqual(["cam.example", source, "cam.example", source]);
  });

  it("adds to what it was told, and does not overrule it", () => {
    const test = home().answer(DEVICE, ["told.example"], [PEER]);
    test.said("said.example").flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    expect(test.shown()).toEqual(["told.example", "DNS", "told.example", "DNS"]);
    expect(test.spin.namesOf(mac(1), PEER).sort()).toEqual(["said.example", "told.example"]);
  });

  it("tells which of two names that it was told it means", () => {
    const test = home().answer(DEVICE, ["one.example"], [PEER]).after(1000);
    test.answer(DEVICE, ["two.example"], [PEER]).after(1000);
    test.said("one.example").flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    expect(test.shown()).toEqual(["one.example", "DNS", "one.example", "DNS"]);
  });

  it("counts once what it was told has long run out", () => {
    const test = home().answer(DEVICE, ["old.example"], [PEER], 60).after(3600_000);
    test.said("new.example").flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    expect(test.shown()).toEqual(["new.example", "TLS", "new.example", "TLS"]);
    test.answer(DEVICE, ["again.example"], [PEER]);
    expect(test.spin.nameOf(mac(1), PEER)).toBe("again.example");
  });

  it("with Encrypted Client Hello is marked, and any other name of the peer is better", () => {
    const test = home().said("front.example", { ech: true });
    test.flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    expect(test.shown()).toEqual(["front.example", "ECH", "front.example", "ECH"]);
    test.after(1000);
    test.said("true.example").after(1000);
    test.said("front.example", { ech: true });
    expect(test.spin.nameOf(mac(1), PEER)).toBe("true.example");
    test.flows({ ...flow, id: 2, sourcePort: 5, event: "New", counters: [1, 60, 0, 0] });
    expect(test.shown()).toEqual(["true.example", "TLS", "true.example", "TLS"]);
    const late = home().answer(DEVICE, ["told.example"], [PEER], 60).after(3600_000);
    late.said("front.example", { ech: true });
    expect(late.spin.nameOf(mac(1), PEER)).toBe("told.example");
  });

  it("that is empty, or another device's, changes nothing", () => {
    const test = home().neighbour(2, "192.0.2.20");
    test
      .said("", { ech: true })
      .said("his.example", { client: "192.0.2.20" })
      .said("who.example", { client: "192.0.2.77" });
    test.flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    expect(test.shown()).toEqual(["", "", "", ""]);
  });

  it("by the thousand pushes out none that it was told, and takes no room from the rules on a name", () => {
    const names = new Names(2, 100, 8);
    for (let i = 0; i < 50; i++) names.learn(0, words(`203.0.113.${i}`), 0, [`told${i}.example`], 300, i);
    for (let i = 0; i < 2000; i++)
      names.learn(0, words(`198.51.${i >> 8}.${i & 255}`), 0, [`said${i}.example`], 300, 100, NameSource.Tls);
    expect(names.count(0)).toBe(75);
    expect(names.best(0, words("203.0.113.0"), 0)).toBe("told0.example");
    for (let i = 0; i < 40; i++) names.learn(0, words(`192.0.2.${i}`), 0, ["x.example"], 300, 200, NameSource.Quic);
    // Eight addresses that it said, and eight that it was told.
    for (let i = 100; i < 108; i++)
      expect(names.learn(0, words(`192.0.2.${i}`), 0, ["x.example"], 300, 200)).toBeGreaterThan(0);
    expect(names.learn(0, words("192.0.2.200"), 0, ["x.example"], 300, 200)).toBe(0);
    names.removeAll(0);
    expect(names.count(0)).toBe(0);
    for (let i = 0; i < 30; i++) names.learn(1, words(`192.0.2.${i}`), 0, [`y${i}.example`], 300, 200, NameSource.Ech);
    expect(names.count(1)).toBe(25);
  });
});

describe("under rules on domains, a name that a device says itself", () => {
  const ruled = async (...rules: { action: "Block" | "Allow" | "Count"; domains: string[] }[]) => {
    const enforcer = new WritingEnforcer();
    const test = new NamedHome({ enforcer }).network().neighbour(1, DEVICE).neighbour(2, "192.0.2.20");
    for (const rule of rules) put(test.spin, rule.action, rule.domains);
    await test.spin.settled();
    enforcer.take();
    return { test, enforcer };
  };

  it("has its address blocked for this device alone, and living flows to it ended", async () => {
    const { test, enforcer } = await ruled({ action: "Block", domains: ["bad.example"] });
    test.flows({ ...flow, event: "New", counters: [3, 400, 2, 300] });
    test.said("www.bad.example");
    expect(enforcer.take()).toEqual([`+ 01 bad.example ${PEER}`, `cut 01 ${PEER}`]);
    test.said("good.example", { address: "198.51.100.8" });
    expect(enforcer.take()).toEqual([]);
  });

  it("blocks nothing of the home's own, the gateway's or the management's", async () => {
    const { test, enforcer } = await ruled({ action: "Block", domains: ["bad.example"] });
    for (const address of ["192.0.2.1", "192.0.2.20", "10.0.0.7", "127.0.0.1", "fe80::1", "203.0.113.2"])
      test.said("bad.example", { address });
    expect(enforcer.take()).toEqual([]);
  });

  it("opens no exception: what a device says it may say of any address", async () => {
    const { test, enforcer } = await ruled(
      { action: "Allow", domains: ["good.example"] },
      { action: "Block", domains: ["example"] },
    );
    test.said("good.example").said("www.good.example", { address: "198.51.100.8" });
    expect(enforcer.take()).toEqual([]);
    test.said("other.example", { address: "198.51.100.9" });
    expect(enforcer.take()).toEqual(["+ 01 example 198.51.100.9"]);
    // Nor when the policy is applied again.
    put(test.spin, "Count", ["else.example"]);
    await test.spin.settled();
    expect(enforcer.take().filter((call) => call.startsWith("+"))).toEqual(["+ 01 example 198.51.100.9"]);
  });

  it("is told again when a rule comes, but not by a later life, for which only answers count", async () => {
    const store = memoryStore();
    const enforcer = new WritingEnforcer();
    const test = new NamedHome({ enforcer, store }).network().neighbour(1, DEVICE);
    test.said("bad.example").answer(DEVICE, ["bad.example"], ["198.51.100.8"]);
    put(test.spin, "Block", ["bad.example"]);
    await test.spin.settled();
    expect(enforcer.take().filter((call) => call.includes("bad.example"))).toEqual([
      `+ 01 bad.example ${PEER}`,
      "+ 01 bad.example 198.51.100.8",
    ]);
    await test.spin.save();
    const later = new TestHome({ store, clock: test.clock });
    expect([later.spin.nameOf(mac(1), PEER), later.spin.nameOf(mac(1), "198.51.100.8")]).toEqual(["", "bad.example"]);
  });
});

let numbers = 0;
function put(spin: Spin, action: "Block" | "Allow" | "Count", domains: string[]): void {
  const destinations = { prefixes: [], domains, lists: [] };
  spin.rules.put(newRule({ id: ++numbers, enable: true, action, macs: "*", destinations }));
}
