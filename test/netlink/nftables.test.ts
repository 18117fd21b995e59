import { parseAddress } from "../../src/lib/address.ts";
import { NetlinkError } from "../../src/netlink/netlink-error.ts";
import {
  addElements,
  addressField,
  concatenateKey,
  deleteElements,
  eachDeleted,
  flushSet,
  interval,
  macField,
  markField,
  portField,
  protocolField,
  type SetElement,
  type SetReference,
} from "../../src/netlink/nftables-messages.ts";
import { describeUnless } from "../support/needs.ts";
import { exec } from "../support/namespace.ts";
import { Bench, helperMissing, until } from "./helper-fixture.ts";

const RULESET = `
table inet spin_usp {
  chain spare {
  }
  set macs { type ether_addr; flags timeout; counter; }
  set addresses { type ipv4_addr; }
  set prefixes { type ipv4_addr; flags interval; }
  set tuples { type ether_addr . ipv4_addr . inet_proto . inet_service; flags interval, timeout; counter; }
  set six { type ipv6_addr; flags interval; }
  map marks { type ether_addr : mark; }
  map verdicts { type ether_addr . ipv4_addr : verdict; flags interval; }
  chain out {
    type filter hook output priority 0
    ip daddr @counted counter
  }
  set counted { type ipv4_addr; flags timeout; counter; }
}
table bridge spin_usp {
  set macs { type ether_addr; }
}
`;

const set = (name: string, family: "inet" | "bridge" = "inet"): SetReference => ({
  family,
  table: "spin_usp",
  set: name,
});
const four = (text: string) => addressField(parseAddress(text) as Uint32Array, 4);
const six = (text: string) => addressField(parseAddress(text) as Uint32Array, 6);
const MAC = 0x020000000001;

describeUnless(helperMissing(), "nftables through the helper", () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await Bench.up({ ruleset: RULESET });
    await bench.helper.loadRuleset();
  });
  afterAll(() => bench.down());

  test("elements of each key type arrive as nft itself would write them", async () => {
    await bench.helper.transact([
      ...addElements(set("macs"), [{ key: macField(MAC), timeout: 3_600_000 }]),
      ...addElements(set("addresses"), [{ key: four("192.0.2.7") }]),
      ...addElements(set("prefixes"), interval(four("198.51.100.0"), four("198.51.100.255"))),
      ...addElements(set("prefixes"), interval(four("255.255.255.0"), four("255.255.255.255"))),
      ...addElements(set("six"), interval(six("2001:db8::"), six("2001:db8::ffff"))),
      ...addElements(set("tuples"), [
        {
          key: concatenateKey(macField(MAC), four("203.0.113.0"), protocolField(6), portField(8000)),
          keyEnd: concatenateKey(macField(MAC), four("203.0.113.255"), protocolField(6), portField(8010)),
        },
      ]),
      ...addElements(set("marks"), [{ key: macField(MAC), data: markField(0x1234) }]),
      ...addElements(set("verdicts"), [
        {
          key: concatenateKey(macField(MAC), four("192.0.2.0")),
          keyEnd: concatenateKey(macField(MAC), four("192.0.2.255")),
          verdict: "drop",
        },
        {
          key: concatenateKey(macField(MAC), four("198.51.100.9")),
          keyEnd: concatenateKey(macField(MAC), four("198.51.100.9")),
          verdict: { goto: "spare" },
        },
      ]),
      ...addElements(set("macs", "bridge"), [{ key: macField(MAC) }]),
    ]);
    const table = (await bench.list("table", "inet", "spin_usp")).replace(/\s+/g, " ");
    expect(table).toMatch(/02:00:00:00:00:01 counter packets 0 bytes 0 timeout 1h expires/);
    expect(table).toContain("elements = { 192.0.2.7 }");
    expect(table).toContain("elements = { 198.51.100.0/24, 255.255.255.0/24 }");
    expect(table).toContain("elements = { 2001:db8::/112 }");
    expect(table).toContain("02:00:00:00:00:01 . 203.0.113.0/24 . tcp . 8000-8010 counter packets 0 bytes 0");
    expect(table).toContain("02:00:00:00:00:01 : 0x00001234");
    expect(table).toContain("02:00:00:00:00:01 . 192.0.2.0/24 : drop");
    expect(await bench.list("set", "bridge", "spin_usp", "macs")).toContain("02:00:00:00:00:01");
  });

  test("what was written is read back", async () => {
    expect(await bench.helper.dumpSet(set("tuples"))).toEqual([
      {
        key: concatenateKey(macField(MAC), four("203.0.113.0"), protocolField(6), portField(8000)),
        keyEnd: concatenateKey(macField(MAC), four("203.0.113.255"), protocolField(6), portField(8010)),
        packets: 0,
        bytes: 0,
      },
    ]);
    const verdicts = (await bench.helper.dumpSet(set("verdicts"))).map((element) => element.verdict);
    expect(verdicts).toEqual(expect.arrayContaining(["drop", { goto: "spare" }]));
    expect((await bench.helper.dumpSet(set("marks")))[0]).toMatchObject({ data: markField(0x1234) });
    const [timed] = await bench.helper.dumpSet(set("macs"));
    expect(timed).toMatchObject({ timeout: 3_600_000, packets: 0, bytes: 0 });
    expect(timed?.expires).toBeGreaterThan(3_500_000);
  });

  test("counters say what passed", async () => {
    await bench.helper.transact(addElements(set("counted"), [{ key: four("127.0.0.1") }]));
    await exec(bench.namespace, "ping", ["-c", "3", "-i", "0.01", "-s", "56", "127.0.0.1"]);
    // Requests and answers both leave by the output hook.
    expect(await bench.helper.dumpSet(set("counted"))).toEqual([{ key: four("127.0.0.1"), packets: 6, bytes: 6 * 84 }]);
  });

  test("a deletion tells what the element had counted, to the last packet, when it is asked to", async () => {
    const key = four("127.0.0.3");
    await bench.helper.transact(addElements(set("counted"), [{ key }]));
    await exec(bench.namespace, "ping", ["-c", "2", "-i", "0.01", "-q", "127.0.0.3"]);
    const told: [string, SetElement][] = [];
    await bench.helper.transact(deleteElements(set("counted"), [{ key }], true), (bytes, start, end) =>
      eachDeleted(bytes, start, end, (name, element) => told.push([name, element])),
    );
    expect(told).toEqual([["counted", expect.objectContaining({ packets: 2, bytes: 2 * 84 }) as SetElement]]);
    expect(Buffer.from(told[0]?.[1].key ?? [])).toEqual(Buffer.from(key));
  });

  test("a transaction is all or nothing, and the error names the message", async () => {
    const failing = bench.helper.transact([
      ...addElements(set("addresses"), [{ key: four("192.0.2.100") }]),
      ...deleteElements(set("addresses"), [{ key: four("192.0.2.200") }]),
    ]);
    await expect(failing).rejects.toThrow(NetlinkError);
    await expect(failing).rejects.toMatchObject({ code: "ENOENT", index: 1 });
    expect((await bench.helper.dumpSet(set("addresses"))).map((element) => element.key)).toEqual([four("192.0.2.7")]);
  });

  test("a set that is not there is an error, not an empty set", async () => {
    await expect(bench.helper.dumpSet(set("nowhere"))).rejects.toMatchObject({ code: "ENOENT" });
    await expect(
      bench.helper.transact(addElements(set("nowhere"), [{ key: four("192.0.2.1") }])),
    ).rejects.toMatchObject({
      code: "ENOENT",
      index: 0,
    });
  });

  test("an element of the wrong length is refused by the kernel", async () => {
    await expect(bench.helper.transact(addElements(set("addresses"), [{ key: macField(MAC) }]))).rejects.toMatchObject({
      code: "EINVAL",
    });
  });

  test("ten thousand elements come and go in one transaction each", async () => {
    const elements = Array.from({ length: 10_000 }, (_, i) => ({
      key: Uint8Array.of(10, 1 + (i >> 16), i >> 8, i & 255),
    }));
    await bench.helper.transact(addElements(set("addresses"), elements));
    expect(await bench.helper.dumpSet(set("addresses"))).toHaveLength(10_001);
    await bench.helper.transact(deleteElements(set("addresses"), elements));
    expect(await bench.helper.dumpSet(set("addresses"))).toHaveLength(1);
    await bench.helper.transact(flushSet(set("addresses")));
    expect(await bench.helper.dumpSet(set("addresses"))).toEqual([]);
  });

  test("requests made at once are each answered", async () => {
    const keys = Array.from({ length: 50 }, (_, i) => Uint8Array.of(10, 9, 9, i));
    await Promise.all(keys.map((key) => bench.helper.transact(addElements(set("addresses"), [{ key }]))));
    expect(await bench.helper.dumpSet(set("addresses"))).toHaveLength(50);
    await bench.helper.transact(flushSet(set("addresses")));
  });

  test("a change that somebody else makes to our table is told, our own are not", async () => {
    let changes = 0;
    const forget = bench.helper.watchRuleset(() => changes++);
    await bench.helper.transact(addElements(set("addresses"), [{ key: four("192.0.2.1") }]));
    await bench.nft("add table inet other; add set inet other s { type ipv4_addr; }");
    await bench.helper.transact(flushSet(set("addresses")));
    // The kernel keeps the order, so that what comes before the flush below has been weighed when it shows.
    await bench.nft("flush set inet spin_usp addresses; add element inet spin_usp addresses { 192.0.2.9 }");
    await until("the change is told", () => changes > 0);
    const before = changes;
    await bench.nft("flush ruleset");
    await until("the flush is told", () => changes > before);
    const flushed = changes;
    await bench.helper.loadRuleset();
    await bench.helper.transact(addElements(set("addresses"), [{ key: four("192.0.2.1") }]));
    expect(changes).toBe(flushed);
    forget();
  });

  test("a ruleset that nft refuses is an error in nft's words", async () => {
    const broken = await Bench.up({ ruleset: "table inet spin_usp { nonsense }" });
    await expect(broken.helper.loadRuleset()).rejects.toThrow(/nft exited with 1: .*syntax error/s);
    await broken.down();
  });
});

describe("an interval", () => {
  test("of the last addresses of all has no end", () => {
    expect(interval(four("255.0.0.0"), four("255.255.255.255"))).toEqual([{ key: four("255.0.0.0") }]);
  });
  test("carries over bytes into its end", () => {
    expect(interval(four("192.0.2.0"), four("192.0.255.255"))[1]).toEqual({
      key: four("192.1.0.0"),
      intervalEnd: true,
    });
  });
});
