/** What the log keeps, for how long, and of whom. */
import { parsePrefix, printAddress } from "../../../src/lib/address.ts";
import { Bed, mac, START, WAN, WallClock } from "./bed.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

describe("a flow that ended", () => {
  test("is found at once, after a minute on disk, after a restart, and after an hour, with what the Internet saw", async () => {
    const first = new Bed().flow(1, { to: "198.51.100.7", sourcePort: 50_001 }, "www.example.com", 120);
    const expected = {
      kind: 0,
      mac: mac(1),
      start: START,
      end: START,
      byPeer: false,
      address: "198.51.100.7",
      name: "www.example.com",
      protocol: 6,
      port: 443,
      outside: WAN,
      lowPort: 50_001,
      highPort: 50_001,
      totals: [120, 120, 1, 1],
      count: 1,
    };
    expect(await first.all()).toEqual([expect.objectContaining(expected)]);
    await first.pass(2 * MINUTE);
    expect(first.log.figures).toMatchObject({ waiting: 0, blockCount: 1 });
    const second = await first.crash();
    expect(await second.all()).toEqual([expect.objectContaining(expected)]);
    await second.pass(2 * HOUR);
    expect(second.log.figures.journalBytes).toBe(0);
    expect(await second.all()).toEqual([expect.objectContaining(expected)]);
    const third = await second.restart();
    expect(await third.all()).toEqual([expect.objectContaining(expected)]);
  });

  test("becomes, after an hour, one row a minute with others to the same peer and port, that names the ports", async () => {
    const bed = new Bed();
    for (const sourcePort of [50_003, 50_001, 50_002]) bed.flow(1, { to: "198.51.100.7", sourcePort });
    bed.flow(1, { to: "198.51.100.7", port: 80, sourcePort: 50_009 });
    await bed.pass(MINUTE);
    bed.flow(1, { to: "198.51.100.7", sourcePort: 50_004 });
    expect(await bed.all()).toHaveLength(5);
    await bed.pass(2 * HOUR);
    const rows = await bed.all();
    expect(
      rows.map(({ port, count, totals, lowPort, highPort }) => [port, count, totals[0], lowPort, highPort]),
    ).toEqual([
      [443, 1, 100, 50_004, 50_004],
      [80, 1, 100, 50_009, 50_009],
      [443, 3, 300, 50_001, 50_003],
    ]);
    expect([...(await bed.trace(WAN, 50_002, { time: START }))]).toEqual([
      [mac(1), expect.objectContaining({ exactly: 1, perhaps: 0 })],
    ]);
    expect([...(await bed.trace(WAN, 50_008, { time: START }))]).toEqual([]);
  });

  test("is found by device, time, address, prefix and domain with its subdomains", async () => {
    const bed = new Bed().flow(1, { to: "198.51.100.7" }, "a.b.example.com");
    bed.clock.advance(1000);
    bed.flow(2, { to: "2001:db8:ffff::7", from: "2001:db8:1::2" }, "example.org");
    const look = async () => {
      const addresses = async (search: Parameters<Bed["all"]>[0]) =>
        (await bed.all(search)).map(({ address }) => address);
      expect(await addresses({})).toEqual(["2001:db8:ffff::7", "198.51.100.7"]);
      expect(await addresses({ mac: mac(1) })).toEqual(["198.51.100.7"]);
      expect(await addresses({ mac: mac(3) })).toEqual([]);
      expect(await addresses({ since: START + 1 })).toEqual(["2001:db8:ffff::7"]);
      expect(await addresses({ until: START })).toEqual(["198.51.100.7"]);
      expect(await addresses({ prefix: parsePrefix("198.51.100.0/24") })).toEqual(["198.51.100.7"]);
      expect(await addresses({ prefix: parsePrefix("198.51.100.8") })).toEqual([]);
      expect(await addresses({ prefix: parsePrefix("::/0") })).toEqual(["2001:db8:ffff::7"]);
      for (const domain of ["com", "example.com", "b.example.com", "a.b.example.com"])
        expect(await addresses({ domain })).toEqual(["198.51.100.7"]);
      expect(await addresses({ domain: "xample.com" })).toEqual([]);
    };
    await look();
    await bed.pass(2 * MINUTE);
    await look();
    await bed.pass(2 * HOUR);
    await look();
  });

  test("is forgotten after its days, and not before", async () => {
    const bed = new Bed({ days: 2 }).flow(1, { to: "198.51.100.7" });
    await bed.pass(2 * DAY - 2 * HOUR, 10 * MINUTE);
    expect(await bed.all()).toHaveLength(1);
    await bed.pass(3 * HOUR, 10 * MINUTE);
    expect(await bed.all()).toEqual([]);
    expect(bed.log.figures).toMatchObject({ bytes: 0, blockCount: 0, retiredBytes: 0 });
    expect(bed.files.list()).toEqual([]);
  });
});

describe("questions and blocked packets", () => {
  const asked = (bed: Bed, name: string, device = 1) =>
    bed.log.question(mac(device), { kind: "query", time: bed.clock.now(), client: "192.0.2.1", name, type: "A" });

  test("of a minute are counted in one row, with the newest answer, and in an hour's later", async () => {
    const bed = new Bed();
    asked(bed, "www.example.com");
    const answer = { kind: "answer", time: START, client: "192.0.2.1", names: ["www.example.com"], type: "A" } as const;
    bed.log.answer(mac(1), { ...answer, rcode: 0, addresses: [{ address: "198.51.100.7", ttl: 300 }] });
    asked(bed, "www.example.com");
    asked(bed, "nowhere.example.com");
    bed.log.answer(mac(1), { ...answer, names: ["nowhere.example.com"], rcode: 3, addresses: [] });
    const rows = async () =>
      (await bed.all({ kind: 1 })).map(({ name, text, port, totals, count }) => [name, text, port, totals[0], count]);
    const expected = [
      ["nowhere.example.com", "A", 4, 0, 1],
      ["www.example.com", "A 198.51.100.7", 1, 300, 2],
    ];
    expect(await rows()).toEqual(expected);
    await bed.pass(5 * MINUTE);
    asked(bed, "www.example.com");
    await bed.pass(3 * HOUR);
    expect((await rows()).sort()).toEqual([expected[0], ["www.example.com", "A 198.51.100.7", 1, 300, 3]]);
    expect(await bed.all({ kind: 0 })).toEqual([]);
  });

  test("of a tunnel's thousand names are summed up under its domain", async () => {
    const bed = new Bed();
    for (let k = 0; k < 5000; k++) asked(bed, `x${k}.tunnel.example`);
    asked(bed, "www.example.com", 2);
    const rows = await bed.all({ kind: 1 });
    expect(rows.length).toBeLessThan(400);
    expect(rows.reduce((sum, { count }) => sum + count, 0)).toBe(5001);
    expect(rows.find(({ name }) => name === "*.tunnel.example")?.count).toBeGreaterThan(4000);
    expect(rows.filter(({ mac: each }) => each === mac(2))).toHaveLength(1);
  });

  test("name their rule, and which way they went", async () => {
    const bed = new Bed();
    const seen = {
      kind: "blocked",
      time: START,
      mac: mac(1),
      address: "198.51.100.7",
      protocol: 6,
      port: 443,
    } as const;
    bed.log.blocked({ ...seen, outbound: true, packets: 3, bytes: 180, rule: 4 }, "bad.example");
    bed.log.blocked({ ...seen, outbound: true, packets: 1, bytes: 60, rule: 4 }, "bad.example");
    bed.log.blocked({ ...seen, outbound: false, packets: 2, bytes: 120 }, "bad.example");
    const rows = await bed.all({ kind: 2 });
    expect(rows.map(({ byPeer, extra, totals }) => [byPeer, extra, totals])).toEqual([
      [true, 0, [0, 120, 0, 2]],
      [false, 4, [240, 0, 4, 0]],
    ]);
  });
});

describe("a device that opens 1,000,000 flows", () => {
  test("pushes out nothing of the others, and costs no more than the log may have", async () => {
    const bytes = 400_000;
    const bed = new Bed({ bytes });
    const minutes = 100;
    const each = 10_000;
    let quiet = 0;
    const port = (k: number) => 1024 + (k % 60_000);
    for (let minute = 0; minute < minutes; minute++) {
      for (let k = 0; k < 2; k++)
        bed.flow(2, { to: `203.0.113.${quiet % 250}`, sourcePort: port(quiet++) }, "cloud.example");
      bed.scan(1, 0x64000000 + minute * each, each, (k) => port(minute * each + k));
      await bed.pass(MINUTE);
    }
    const { bytes: used, retiredBytes, waiting } = bed.log.figures;
    expect(used).toBeLessThanOrEqual(bytes);
    expect(retiredBytes).toBeLessThanOrEqual(bytes / 2);
    expect(waiting).toBeLessThan(4096);
    const others = await bed.all({ mac: mac(2) });
    expect(others.reduce((sum, { count }) => sum + count, 0)).toBe(quiet);
    // What the scanner did is there in sum, as far back as its share goes.
    const its = await bed.all({ mac: mac(1) });
    expect(its.length).toBeGreaterThan(1000);
    // A report of one of its probes still leads to it.
    const time = bed.clock.now() - MINUTE;
    const probe = (minutes - 1) * each + 3000;
    const report = { time, to: printAddress([0, 0, 0xffff, 0x64000000 + probe]), peerPort: 23 };
    expect([...(await bed.trace(WAN, port(probe), report)).keys()]).toEqual([mac(1)]);
  });
});

test("pages go on while what is old is thrown away and small blocks become large ones", async () => {
  const bed = new Bed({ bytes: 40_000 });
  for (let minute = 0; minute < 60 * 60; minute += 2) {
    bed.flow(1, { to: `198.51.${minute % 256}.7`, sourcePort: 1024 + minute });
    await bed.pass(2 * MINUTE);
  }
  await bed.pass(2 * HOUR);
  const { rows, generation } = await bed.found({ limit: 5 });
  const before = rows[4]!.serial;
  const rest = async () => (await bed.found({ before, generation, limit: 20 })).rows.map(({ serial }) => serial);
  const expected = await rest();
  expect(expected).toHaveLength(21);
  for (let minute = 0; minute < 20 * 60; minute++) {
    bed.flow(2, { to: `203.0.${minute % 256}.${minute % 250}`, sourcePort: 1024 + minute });
    await bed.pass(MINUTE);
    if (minute < 10) expect(await rest()).toEqual(expected);
  }
  expect(bed.log.figures.bytes).toBeLessThanOrEqual(40_000);
  // The device that had most gave way, with its oldest, and both keep their newest.
  expect((await bed.all({ mac: mac(1) })).map(({ serial }) => serial).slice(5, 26)).toEqual(expected);
  expect((await bed.all({ mac: mac(2) })).length).toBeGreaterThan(400);
});

describe("a device that is forgotten", () => {
  test("is forgotten in memory, in the journal, in its file and in what has given way", async () => {
    const bed = new Bed().flow(1, { to: "198.51.100.1" }).flow(2, { to: "198.51.100.2" });
    await bed.pass(2 * HOUR);
    bed.flow(1, { to: "198.51.100.3" }).flow(2, { to: "198.51.100.4" });
    await bed.pass(2 * MINUTE);
    bed.flow(1, { to: "198.51.100.5" }).flow(2, { to: "198.51.100.6" });
    const exported = async (device: number) => {
      const addresses: string[] = [];
      for await (const { address } of bed.log.export(mac(device))) addresses.push(address);
      return addresses;
    };
    expect(await exported(1)).toEqual(["198.51.100.1", "198.51.100.3", "198.51.100.5"]);
    await bed.log.erase(mac(1));
    expect(await exported(1)).toEqual([]);
    expect(await bed.all({ mac: mac(1) })).toEqual([]);
    expect(await exported(2)).toEqual(["198.51.100.2", "198.51.100.4", "198.51.100.6"]);
    expect(await (await bed.restart()).all()).toHaveLength(3);
    expect(bed.files.list().filter(({ name }) => name.includes(mac(1).toString(16)))).toEqual([]);
  });
});

describe("a clock that is set", () => {
  test.each([
    ["back by a year", -365 * DAY],
    ["forward by a year", 365 * DAY],
    ["back by an hour", -HOUR],
  ])("%s changes neither the order of rows nor throws any away", async (_, jump) => {
    const clock = new WallClock(START);
    const bed = new Bed({ clock, days: 7 });
    for (let k = 1; k <= 3; k++) {
      bed.flow(1, { to: `198.51.100.${k}` });
      await bed.pass(2 * MINUTE);
    }
    clock.set(jump);
    for (let k = 4; k <= 6; k++) {
      bed.flow(1, { to: `198.51.100.${k}` });
      await bed.pass(2 * MINUTE);
    }
    const order = [6, 5, 4, 3, 2, 1].map((k) => `198.51.100.${k}`);
    const look = async (of: Bed) => expect((await of.all({ limit: 2 })).map(({ address }) => address)).toEqual(order);
    await look(bed);
    await bed.pass(3 * HOUR);
    await look(bed);
    const again = await bed.restart();
    again.flow(1, { to: "198.51.100.7" });
    order.unshift("198.51.100.7");
    await look(again);
    await again.pass(20 * HOUR, 10 * MINUTE);
    await look(again);
  });
});
