/** SPIN's defects that have to do with names (its review, §18), and how ours does right. */
import fc from "fast-check";
import { decodeDns } from "../../src/capture/decode/dns.ts";
import { newRule } from "../../src/spin/rules.ts";
import type { Notice } from "../../src/spin/types.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, TestHome } from "./home.ts";

/** A DNS message with one question whose name consists of the labels as they are. */
function question(labels: readonly Uint8Array[]): Uint8Array {
  const name = Buffer.concat([...labels.flatMap((label) => [Buffer.from([label.length]), label]), Buffer.from([0])]);
  return Buffer.concat([Buffer.from("000701000001000000000000", "hex"), name, Buffer.from("00010001", "hex")]);
}

describe("of SPIN's defects", () => {
  it("B5: a DNS name of 190 bytes that nobody can print, which made SPIN overrun its buffer, is a name like others", () => {
    const label = Buffer.alloc(63, 0x07);
    const message = decodeDns(question([label, label, label.subarray(0, 61)]));
    expect(message?.name).toBe([63, 63, 61].map((length) => "\\007".repeat(length)).join("."));
    // It labels a peer as any other, and is no domain that a rule could name.
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    test.answer("192.0.2.10", [message?.name ?? ""], ["198.51.100.7"]);
    expect(test.spin.namesOf(mac(1), "198.51.100.7").length).toBeLessThanOrEqual(1);
  });

  it("B5: a name that is longer than DNS allows, or that points at itself, is refused, and no name makes it throw", () => {
    const label = Buffer.alloc(63, 97);
    expect(decodeDns(question([label, label, label, label]))).toBeUndefined();
    const loop = Buffer.concat([Buffer.from("000781800001000000000000", "hex"), Buffer.from("c00c00010001", "hex")]);
    expect(decodeDns(loop)).toBeUndefined();
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 6 }), (labels) => {
        const decoded = decodeDns(question(labels));
        expect(decoded === undefined || decoded.name.length <= 4 * 255).toBe(true);
      }),
    );
  });

  it("B13: two names at one address unite nothing: each device keeps what it asked for, and peers stay addresses", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.20");
    test.answer("192.0.2.10", ["shop.example"], ["198.51.100.7", "198.51.100.8"]);
    test.answer("192.0.2.20", ["news.example"], ["198.51.100.7"]);
    test.tell({
      kind: "server-name",
      time: 0,
      client: "192.0.2.20",
      address: "198.51.100.8",
      port: 443,
      protocol: 6,
      name: "cdn.example",
      ech: false,
    });
    expect(test.spin.namesOf(mac(1), "198.51.100.7")).toEqual(["shop.example"]);
    expect(test.spin.namesOf(mac(2), "198.51.100.7")).toEqual(["news.example"]);
    expect(test.spin.namesOf(mac(1), "198.51.100.8")).toEqual(["shop.example"]);
    expect(test.spin.namesOf(mac(2), "198.51.100.8")).toEqual(["cdn.example"]);
  });

  it("B16: what was blocked with a peer that nobody named before is told with all that is known: address, protocol, port", () => {
    const test = new TestHome().network().neighbour(1, "192.0.2.10");
    const told: Notice[] = [];
    test.spin.subscribe((notice) => void (notice.kind === "blocked" && told.push(notice)));
    const seen = { kind: "blocked", time: 5, outbound: true, address: "198.51.100.99", protocol: 17, port: 9 } as const;
    test.tell({ ...seen, mac: mac(1), packets: 20_000, bytes: 560_000 });
    // Downwards a frame shows no device: its address does.
    test.tell({ ...seen, mac: 0, client: "192.0.2.10", outbound: false, packets: 3, bytes: 90 });
    // A device without a row is the home's all the same; one that nobody knows can't be told of.
    test.tell({ ...seen, mac: mac(77), packets: 1, bytes: 28 });
    test.tell({ ...seen, mac: 0, client: "192.0.2.99", packets: 1, bytes: 28 });
    expect(told.map((notice) => notice.kind === "blocked" && notice.blocked)).toEqual([
      { ...seen, mac: mac(1), packets: 20_000, bytes: 560_000 },
      { ...seen, mac: mac(1), client: "192.0.2.10", outbound: false, packets: 3, bytes: 90 },
      { ...seen, mac: mac(77), packets: 1, bytes: 28 },
    ]);
  });

  it("B16: what was blocked is told with the rule that stopped it, by device, address or name", async () => {
    const test = new TestHome({ enforcer: new WritingEnforcer() }).network().neighbour(1, "192.0.2.10");
    test.neighbour(2, "192.0.2.20").answer("192.0.2.20", ["www.bad.example"], ["198.51.100.9"]);
    const on = (domains: string[]) => ({ prefixes: [], domains, lists: [] });
    const rule = { enable: true, action: "Block" } as const;
    test.spin.rules.put(newRule({ ...rule, id: 4, macs: [mac(1)], destinations: "*" }));
    test.spin.rules.put(newRule({ ...rule, id: 5, macs: "*", destinations: on(["bad.example"]) }));
    test.spin.rules.put(newRule({ ...rule, id: 6, action: "Allow", macs: "*", destinations: on(["good.example"]) }));
    await test.spin.settled();
    const rules: (number | undefined)[] = [];
    test.spin.subscribe((notice) => void (notice.kind === "blocked" && rules.push(notice.blocked.rule)));
    const seen = { kind: "blocked", time: 5, outbound: true, protocol: 6, port: 443, packets: 1, bytes: 60 } as const;
    test.tell({ ...seen, mac: mac(1), address: "198.51.100.7" });
    test.tell({ ...seen, mac: mac(2), address: "198.51.100.9" });
    // Lifted since.
    test.tell({ ...seen, mac: mac(2), address: "198.51.100.7" });
    expect(rules).toEqual([4, 5, undefined]);
  });
});
