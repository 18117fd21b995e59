import fc from "fast-check";
import { newRule } from "../../src/spin/rules.ts";
import { QueryError } from "../../src/spin/types.ts";
import { WritingEnforcer } from "./fake-enforcer.ts";
import { mac, START, TestHome } from "./home.ts";

const home = () =>
  new TestHome().network().neighbour(1, "192.0.2.10").neighbour(2, "192.0.2.20").neighbour(1, "2001:db8:1::10");

function visited() {
  const test = home().answer("192.0.2.10", ["www.example", "edge.example.net"], ["198.51.100.7"]);
  test.flows({ id: 1, event: "New", from: "192.0.2.10", to: "198.51.100.7" });
  test.after(1000).flows({ id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [1, 100, 2, 2000] });
  test.flows({
    id: 2,
    protocol: 17,
    from: "192.0.2.20",
    to: "198.51.100.9",
    port: 123,
    event: "End",
    counters: [1, 76, 1, 76],
  });
  test
    .after(1000)
    .flows({ id: 3, from: "2001:db8:ffff::7", to: "2001:db8:1::10", port: 8443, counters: [3, 300, 4, 4000] });
  test.flows({ id: 4, protocol: 17, from: "192.0.2.10", to: "192.0.2.1", port: 53, counters: [1, 70, 1, 150] });
  return test.flows({
    id: 5,
    protocol: 1,
    from: "192.0.2.20",
    to: "198.51.100.7",
    sourcePort: 2048,
    port: 7,
    counters: [1, 84, 1, 84],
  });
}

describe("Query(Flows)", () => {
  it("gives the flows with the Internet, newest first, as the device sees them", () => {
    const { rows, truncated, nextCursor } = visited().spin.queryFlows({});
    expect(rows).toEqual([
      {
        Start: START + 2000,
        End: 0,
        PhysAddress: "02:00:00:00:00:02",
        Initiator: "Device",
        Address: "198.51.100.7",
        Port: 0,
        Protocol: 1,
        Domain: "",
        DomainSource: "",
        BytesSent: 84,
        BytesReceived: 84,
        PacketsSent: 1,
        PacketsReceived: 1,
      },
      {
        Start: START + 2000,
        End: 0,
        PhysAddress: "02:00:00:00:00:01",
        Initiator: "Peer",
        Address: "2001:db8:ffff::7",
        Port: 8443,
        Protocol: 6,
        Domain: "",
        DomainSource: "",
        BytesSent: 4000,
        BytesReceived: 300,
        PacketsSent: 4,
        PacketsReceived: 3,
      },
      {
        Start: START + 1000,
        End: START + 1000,
        PhysAddress: "02:00:00:00:00:02",
        Initiator: "Device",
        Address: "198.51.100.9",
        Port: 123,
        Protocol: 17,
        Domain: "",
        DomainSource: "",
        BytesSent: 76,
        BytesReceived: 76,
        PacketsSent: 1,
        PacketsReceived: 1,
      },
      {
        Start: START,
        End: 0,
        PhysAddress: "02:00:00:00:00:01",
        Initiator: "Device",
        Address: "198.51.100.7",
        Port: 443,
        Protocol: 6,
        Domain: "www.example",
        DomainSource: "DNS",
        BytesSent: 100,
        BytesReceived: 2000,
        PacketsSent: 1,
        PacketsReceived: 2,
      },
    ]);
    expect([truncated, nextCursor]).toEqual([false, ""]);
  });

  it("filters by device, time, address, prefix and domain", () => {
    const { spin } = visited();
    const peers = (filter: Parameters<typeof spin.queryFlows>[0]) =>
      spin.queryFlows(filter).rows.map(({ Address, PhysAddress }) => `${PhysAddress.slice(-1)} ${Address}`);
    expect(peers({ physAddress: "02:00:00:00:00:02" })).toEqual(["2 198.51.100.7", "2 198.51.100.9"]);
    expect(peers({ physAddress: "02:00:00:00:00:77" })).toEqual([]);
    expect(peers({ destination: "198.51.100.7" })).toEqual(["2 198.51.100.7", "1 198.51.100.7"]);
    expect(peers({ destination: "198.51.100.8/30" })).toEqual(["2 198.51.100.9"]);
    expect(peers({ destination: "::/0" })).toEqual(["1 2001:db8:ffff::7"]);
    expect(peers({ destination: "Example." })).toEqual(["1 198.51.100.7"]);
    expect(peers({ until: START + 500 })).toEqual(["1 198.51.100.7"]);
    expect(peers({ since: START + 1500 })).toEqual(["2 198.51.100.7", "1 2001:db8:ffff::7"]);
  });

  it("says what is wrong with a question", () => {
    const { spin } = home();
    for (const filter of [
      { limit: 0 },
      { limit: 501 },
      { limit: 1.5 },
      { physAddress: "camera" },
      { destination: "a b" },
      { since: 2, until: 1 },
      { cursor: "x" },
      { cursor: "d.0.1" },
      { cursor: "f.zzzzzzz.1" },
    ])
      expect(() => spin.queryFlows(filter)).toThrow(QueryError);
  });

  it("names a flow whose answer came after its first packet", () => {
    const test = home()
      .flows({ event: "New", from: "192.0.2.10", to: "198.51.100.7" })
      .answer("192.0.2.10", ["late.example"], ["198.51.100.7"]);
    expect(test.spin.queryFlows({}).rows[0]?.Domain).toBe("late.example");
    test.after(100).flows({ event: "End", from: "192.0.2.10", to: "198.51.100.7", counters: [1, 60, 0, 0] });
    for (let second = 0; second < 40; second++) test.after(1000).spin.tick();
    expect(test.spin.queryFlows({ destination: "late.example" }).rows).toHaveLength(1);
    expect(test.spin.queryDestinations({}).rows[0]?.Domain).toBe("late.example");
  });

  it("keeps what has ended, and a device that scans pushes out only its own", () => {
    const test = new TestHome({ limits: { endedFlowsPerDevice: 50 } })
      .network()
      .neighbour(1, "192.0.2.10")
      .neighbour(2, "192.0.2.20");
    for (let id = 0; id < 20; id++)
      test.flows({ id, event: "End", from: "192.0.2.10", to: "198.51.100.7", sourcePort: id, counters: [1, 60, 0, 0] });
    for (let id = 100; id < 20_100; id++)
      test.flows({ id, event: "End", from: "192.0.2.20", to: "198.51.100.7", sourcePort: id, counters: [1, 40, 0, 0] });
    for (let second = 0; second < 40; second++) test.after(1000).spin.tick();
    expect(test.spin.queryFlows({ physAddress: "02:00:00:00:00:01", limit: 500 }).rows).toHaveLength(20);
    expect(test.spin.queryFlows({ physAddress: "02:00:00:00:00:02", limit: 500 }).rows).toHaveLength(50);
    expect(test.traffic(2)[0]).toBe(800_000);
  });

  it("pages over rows that come, change and end in between, and shows each that stays exactly once", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 7 }),
        fc.array(fc.nat(60), { maxLength: 30 }),
        (count, limit, ends) => {
          const test = home();
          const flow = (id: number) => ({ id, from: "192.0.2.10", to: "198.51.100.7", sourcePort: id });
          for (let id = 0; id < count; id++) test.after(1).flows({ ...flow(id), event: "New" });
          const seen: number[] = [];
          let cursor = "";
          let next = count;
          do {
            const page = test.spin.queryFlows({ limit, cursor });
            seen.push(...page.rows.map(({ Start }) => Start - START - 1));
            expect(page.truncated).toBe(page.nextCursor !== "");
            cursor = page.nextCursor;
            const ending = ends[seen.length % Math.max(1, ends.length)];
            test.after(1);
            if (ending !== undefined) test.flows({ ...flow(ending), event: "End", counters: [1, 60, 0, 0] });
            test.flows({ ...flow(1000 + next++), event: "New" });
          } while (cursor !== "");
          expect(seen).toEqual(Array.from({ length: count }, (_, index) => count - 1 - index));
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe("Query(Destinations)", () => {
  it("sums the flows of a device with each peer, protocol and port, for as long as there is room", () => {
    const test = visited();
    test.flows({ id: 9, from: "192.0.2.10", to: "198.51.100.7", sourcePort: 50_000, counters: [1, 50, 1, 70] });
    const row = test.spin.queryDestinations({ destination: "www.example" }).rows;
    expect(row).toEqual([
      {
        PhysAddress: "02:00:00:00:00:01",
        Domain: "www.example",
        DomainSource: "DNS",
        Address: "198.51.100.7",
        Protocol: 6,
        Port: 443,
        BytesSent: 150,
        BytesReceived: 2070,
        PacketsSent: 2,
        PacketsReceived: 3,
        Flows: 2,
        FirstSeen: START,
        LastSeen: START + 2000,
        Blocked: false,
      },
    ]);
    expect(test.spin.topDestinations(1, 5)).toEqual([
      { name: "2001:db8:ffff::7", bytes: 4300 },
      { name: "www.example", bytes: 2220 },
    ]);
  });

  it("keeps the ones that matter when a device scans", () => {
    const test = home().flows({ id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [10, 10_000, 10, 10_000] });
    for (let id = 2; id < 3000; id++)
      test.flows({
        id,
        event: "End",
        from: "192.0.2.10",
        to: `198.51.${100 + (id >> 8)}.${id & 255}`,
        port: 23,
        counters: [1, 40, 1, 40],
      });
    const { rows } = test.spin.queryDestinations({ limit: 500 });
    expect(rows.length).toBeLessThanOrEqual(256);
    expect(rows.at(-1)).toMatchObject({ Address: "198.51.100.7", BytesSent: 10_000 });
    test.after(1000).flows({ id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [11, 11_000, 10, 10_000] });
    expect(test.spin.queryDestinations({ destination: "198.51.100.7" }).rows.at(-1)?.BytesSent).toBe(11_000);
  });

  it("counts on in a new row when the destination had to give way in between", () => {
    const test = new TestHome({ limits: { destinationsPerDevice: 8 } }).network().neighbour(1, "192.0.2.10");
    test.flows({ id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [1, 10, 0, 0] });
    for (let id = 2; id < 30; id++)
      test.flows({ id, from: "192.0.2.10", to: `198.51.101.${id}`, counters: [1, 1000, 0, 0] });
    expect(test.spin.queryDestinations({ destination: "198.51.100.7" }).rows).toEqual([]);
    test.after(1).flows({ id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [5, 5010, 0, 0] });
    expect(test.spin.queryDestinations({ destination: "198.51.100.7" }).rows[0]?.BytesSent).toBe(5000);
  });

  it("forgets in the top list what is more than a day ago", () => {
    const test = home().flows({ id: 1, from: "192.0.2.10", to: "198.51.100.7", counters: [1, 10_000, 0, 0] });
    test.spin.tick();
    for (let hour = 0; hour < 25; hour++) test.after(3_600_000).spin.tick();
    test.flows({ id: 2, from: "192.0.2.10", to: "198.51.100.8", counters: [1, 10, 0, 0] });
    expect(test.spin.topDestinations(1, 5)).toEqual([{ name: "198.51.100.8", bytes: 10 }]);
  });

  it("says which of them a rule in force blocks", async () => {
    const enforcer = new WritingEnforcer();
    const test = new TestHome({ enforcer }).network().neighbour(1, "192.0.2.10");
    test
      .answer("192.0.2.10", ["www.ads.example"], ["198.51.100.7"])
      .answer("192.0.2.10", ["good.example"], ["198.51.100.8"]);
    for (const host of [7, 8, 9])
      test.flows({ id: host, from: "192.0.2.10", to: `198.51.100.${host}`, counters: [1, 10, 0, 0] });
    const domains = (...names: string[]) => ({ prefixes: [], domains: names, lists: [] });
    test.spin.rules.put(
      newRule({
        id: 1,
        enable: true,
        macs: "*",
        destinations: domains("ads.example", "good.example"),
        protocol: 6,
        ports: [{ from: 443, to: 443 }],
      }),
    );
    test.spin.rules.put(
      newRule({ id: 2, enable: true, action: "Allow", macs: [mac(1)], destinations: domains("good.example") }),
    );
    await test.spin.settled();
    expect(test.spin.queryDestinations({}).rows.map(({ Address, Blocked }) => [Address, Blocked])).toEqual([
      ["198.51.100.9", false],
      ["198.51.100.8", false],
      ["198.51.100.7", true],
    ]);
  });
});
