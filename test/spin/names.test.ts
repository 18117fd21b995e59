import { parseAddress } from "../../src/lib/address.ts";
import { Names } from "../../src/spin/names.ts";
import { mac, TestHome } from "./home.ts";

const words = (text: string) => parseAddress(text) as Uint32Array;

describe("names", () => {
  it("are each device's own, several for one address, the last asked for first", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.20");
    test.answer("192.0.2.10", ["a.example", "edge.example"], ["198.51.100.7"], 3600).after(1000);
    test.answer("192.0.2.10", ["b.example"], ["198.51.100.7"], 10);
    test.answer("192.0.2.20", ["c.example"], ["198.51.100.7"]);
    expect(test.spin.nameOf(mac(1), "198.51.100.7")).toBe("b.example");
    expect(test.spin.namesOf(mac(1), "198.51.100.7").sort()).toEqual(["a.example", "b.example", "edge.example"]);
    expect(test.spin.nameOf(mac(2), "198.51.100.7")).toBe("c.example");
    expect(test.spin.nameOf(mac(1), "198.51.100.8")).toBe("");
    expect(test.spin.nameOf(mac(3), "198.51.100.7")).toBe("");
  });

  it("come from answers with addresses alone", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    const answer = { kind: "answer", time: 0, client: "192.0.2.10", type: "A" } as const;
    test.tell({ ...answer, names: ["no.example"], rcode: 3, addresses: [{ address: "198.51.100.7", ttl: 1 }] });
    test.tell({ ...answer, names: [], rcode: 0, addresses: [{ address: "198.51.100.7", ttl: 1 }] });
    test.tell({ ...answer, names: ["x".repeat(300)], rcode: 0, addresses: [{ address: "198.51.100.7", ttl: 1 }] });
    test.tell({ ...answer, names: ["x.example"], rcode: 0, addresses: [{ address: "198.51.100", ttl: 1 }] });
    expect(test.spin.nameOf(mac(1), "198.51.100.7")).toBe("");
    expect(test.spin.capture.dnsAnswers).toBe(4);
  });

  it("count for rules as long as the answer's TTL, at least a minute, and a grace", () => {
    expect([0, 59, 300, 10 ** 9].map((ttl) => Names.lifetimeMs(ttl))).toEqual([90_000, 90_000, 330_000, 604_830_000]);
    const names = new Names(1, 8, 8);
    names.learn(0, words("198.51.100.7"), 0, ["a.example"], 300, 1000);
    // A later answer with a shorter TTL takes nothing back: the device may still use the earlier one.
    names.learn(0, words("198.51.100.7"), 0, ["a.example"], 1, 2000);
    const alive = (now: number) => {
      const found: number[] = [];
      names.eachAlive(now, (_slot, _words, _offset, _chain, expires) => found.push(expires));
      return found;
    };
    expect([alive(330_999), alive(331_000)]).toEqual([[331_000], []]);
    expect(names.best(0, words("198.51.100.7"), 0)).toBe("a.example");
  });

  it("are bounded: a device at its quota lets go of its oldest, and of nobody else's", () => {
    const names = new Names(2, 100, 8);
    names.learn(0, words("198.51.100.7"), 0, ["mine.example"], 300, 0);
    for (let i = 0; i < 1000; i++) names.learn(1, words(`198.51.101.${i & 255}`), 0, [`n${i}.example`], 300, i);
    expect([names.count(0), names.count(1)]).toEqual([1, 100]);
    expect(names.best(0, words("198.51.100.7"), 0)).toBe("mine.example");
    expect(names.best(1, words(`198.51.101.${999 & 255}`), 0)).toBe("n999.example");
    const many = new Names(40, 1024, 8);
    many.learn(0, words("198.51.100.7"), 0, ["mine.example"], 300, 0);
    for (let slot = 1; slot < 40; slot++)
      for (let i = 0; i < 1000; i++) many.learn(slot, words(`198.51.101.${i & 255}`), 0, [`n${i}.example`], 300, i);
    let total = 0;
    for (let slot = 0; slot < 40; slot++) total += many.count(slot);
    expect([total, many.count(0)]).toEqual([16_384, 1]);
  });

  it("go with their device", async () => {
    const test = new TestHome()
      .network()
      .neighbour(1, "192.0.2.10")
      .answer("192.0.2.10", ["a.example"], ["198.51.100.7"]);
    await test.spin.forget(1);
    test.neighbour(2, "192.0.2.20").neighbour(1, "192.0.2.10");
    expect([test.spin.nameOf(mac(1), "198.51.100.7"), test.spin.nameOf(mac(2), "198.51.100.7")]).toEqual(["", ""]);
  });
});
