/** Lists as they are published, and as nobody should write them. */
import { parseAddress, parsePrefix, type Prefix } from "../../../src/lib/address.ts";
import { holdsAddress, type ListContent } from "../../../src/spin/lists/content.ts";
import { parseList, type ListFormat } from "../../../src/spin/lists/parse.ts";
import { normalized, without } from "../../../src/spin/lists/ranges.ts";
import { SPECIAL_PREFIXES } from "../../../src/spin/policy.ts";

const EXCLUDED = [...SPECIAL_PREFIXES, parsePrefix("2001:db8:1::/64") as Prefix, parsePrefix("203.0.113.2") as Prefix];

const read = (format: ListFormat, text: string, limit?: number) =>
  parseList([Buffer.from(text)], { format, excluded: EXCLUDED, ...(limit === undefined ? {} : { limit }) });

const holds = (content: ListContent, address: string) => holdsAddress(content, parseAddress(address) as Uint32Array, 0);

const counts = ({ entries, unreadable, passedOver, beyond }: ListContent) => [entries, unreadable, passedOver, beyond];

describe("a list", () => {
  test("in plain text: addresses, prefixes, ranges, names, comments", async () => {
    const content = await read(
      "Plain",
      "# bad\n198.51.100.7\r\n198.51.100.64/26 ; net\n2001:db8:9::/48\n198.51.101.1-198.51.101.4\nAds.Example.\n*.trk.example\n\n.dot.example\nno dot here\n300.1.1.1\n",
    );
    expect(counts(content)).toEqual([9, 2, 0, 0]);
    for (const [address, isIn] of [
      ["198.51.100.7", true],
      ["198.51.100.8", false],
      ["198.51.100.63", false],
      ["198.51.100.64", true],
      ["198.51.100.127", true],
      ["198.51.100.128", false],
      ["198.51.101.0", false],
      ["198.51.101.4", true],
      ["198.51.101.5", false],
      ["2001:db8:9:ffff::1", true],
      ["2001:db8:a::1", false],
    ] as const)
      expect([address, holds(content, address)]).toEqual([address, isIn]);
    const { names } = content;
    expect(["ads.example", "x.y.ads.example", "bads.example", "example"].map((name) => names.match(name))).toEqual([
      "ads.example",
      "ads.example",
      "",
      "",
    ]);
  });

  test("of hosts", async () => {
    const content = await read(
      "Hosts",
      "127.0.0.1 localhost\n::1 ip6-localhost ip6-loopback\nfe80::1%lo0 localhost\n0.0.0.0 ads.example track.example # two\n0.0.0.0\nads.example\n0.0.0.0 bad_name!\n",
    );
    expect(counts(content)).toEqual([2, 3, 0, 0]);
    expect(content.names.match("track.example")).toBe("track.example");
  });

  test("of CSV: the first column that is an entry", async () => {
    const content = await read(
      "CSV",
      '# c\nfirst_seen,ip,port\n"2026-01-02 10:00","198.51.100.7","443"\n2026-01-02;evil.example;x\n1,"a, b",198.51.100.9\n',
    );
    expect(counts(content)).toEqual([3, 1, 0, 0]);
    expect(holds(content, "198.51.100.9")).toBe(true);
  });

  test("of a response policy zone", async () => {
    const content = await read(
      "RPZ",
      `$TTL 300
$ORIGIN rpz.example.
@ 3600 IN SOA localhost. root.localhost. (
    1 ; serial
    2 3 4 5 )
  IN NS localhost.
bad.example CNAME .
*.bad.example CNAME .
worse.example.rpz.example. 60 IN CNAME *.
good.example CNAME rpz-passthru.
sink.example IN A 192.0.2.1
32.7.100.51.198.rpz-ip CNAME .
24.0.101.51.198.rpz-ip.rpz.example. CNAME .
48.zz.9.db8.2001.rpz-ip CNAME .
32.1.0.0.10.rpz-ip CNAME .
24.0.0.0.10.rpz-client-ip CNAME .
99.1.1.1.1.rpz-ip CNAME .
odd.example MX 10 mail.example.
`,
    );
    expect(counts(content)).toEqual([7, 2, 3, 0]);
    expect(["198.51.100.7", "198.51.101.200", "2001:db8:9::5", "10.0.0.1"].map((each) => holds(content, each))).toEqual(
      [true, true, true, false],
    );
    expect(
      ["a.bad.example", "worse.example", "good.example", "sink.example"].map((each) => content.names.match(each)),
    ).toEqual(["bad.example", "worse.example", "", "sink.example"]);
  });

  test("never holds what is private, the home's, the gateway's, or a whole top level", async () => {
    const content = await read(
      "Plain",
      "10.1.2.3\n0.0.0.0/0\n192.168.0.0/16\n127.0.0.1\n224.0.0.1\n::/0\nfe80::1\n2001:db8:1::5\n2001:db8::/32\n203.0.113.2\n203.0.113.0/24\ncom\n203.0.113.3\n",
    );
    expect(counts(content)).toEqual([1, 1, 11, 0]);
  });

  test("has bounds: of entries, of a line", async () => {
    const content = await read(
      "Plain",
      `198.51.100.1\n198.51.100.2\n198.51.100.3\n${"x".repeat(100_000)}\nads.example\n`,
      2,
    );
    expect(counts(content)).toEqual([2, 1, 0, 2]);
  });

  test("is the same in whatever pieces it comes", async () => {
    const text = Buffer.from("0.0.0.0 a.example\n0.0.0.0 b.example\r\n0.0.0.0 c.example");
    for (let size = 1; size < text.length; size++) {
      const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, i) =>
        text.subarray(i * size, (i + 1) * size),
      );
      const { names, unreadable } = await parseList(pieces, { format: "Hosts", excluded: [] });
      expect([size, names.size, unreadable]).toEqual([size, 3, 0]);
    }
  });

  test("of any bytes does no harm", async () => {
    let seed = 7;
    const random = (below: number) => (seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) % below;
    const words = [
      "198.51.100.",
      "/",
      "-",
      ".rpz-ip",
      "zz",
      " ",
      "\n",
      "(",
      ")",
      "$ORIGIN ",
      "@",
      "::",
      ",",
      '"',
      "CNAME .",
      "a.example",
      "\0",
      "ü",
      "*.",
    ];
    for (let round = 0; round < 200; round++) {
      const text = Array.from({ length: 60 }, () => words[random(words.length)] ?? String(random(300))).join("");
      for (const format of ["Plain", "Hosts", "CSV", "RPZ"] as const) {
        const content = await read(format, text, 50);
        expect(content.entries).toBeLessThanOrEqual(50);
      }
    }
  });
});

test("ranges are disjoint, sorted and merged, whatever they were", async () => {
  let seed = 3;
  const random = (below: number) => (seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) % below;
  for (let round = 0; round < 50; round++) {
    const has = new Uint8Array(256);
    const pairs: number[] = [];
    for (let i = 0; i < 20; i++) {
      const from = random(250);
      const to = from + random(6);
      pairs.push(from, to);
      has.fill(1, from, to + 1);
    }
    const merged = await normalized(Uint32Array.from(pairs), 1);
    const wide = await normalized(Uint32Array.from(pairs.flatMap((word) => [0, 0, 0, word])), 4);
    expect([...wide].filter((_, i) => i % 4 === 3)).toEqual([...merged]);
    const again = new Uint8Array(256);
    for (let i = 0; i < merged.length; i += 2) {
      again.fill(1, merged[i], (merged[i + 1] as number) + 1);
      if (i > 0) expect(merged[i] as number).toBeGreaterThan((merged[i - 1] as number) + 1);
    }
    expect([...again]).toEqual([...has]);
  }
  const top = await normalized(Uint32Array.of(0xfffffff0, 0xffffffff, 0xfffffffe, 0xffffffff), 1);
  expect([...top]).toEqual([0xfffffff0, 0xffffffff]);
  expect([...without(Uint32Array.of(1, 5, 10, 20, 30, 40), Uint32Array.of(20, 25), 1)]).toEqual([1, 5, 30, 40]);
});

test("long lines full of names give others their turn as well", async () => {
  const line = Buffer.from(`0.0.0.0 ${"a.example ".repeat(400)}\n`);
  let turns = 0;
  let isDone = false;
  const turn = () => {
    turns++;
    if (!isDone) setImmediate(turn);
  };
  setImmediate(turn);
  await parseList(
    Array.from({ length: 500 }, () => line),
    { format: "Hosts", excluded: [] },
  );
  isDone = true;
  // 2 MB, 200,000 names.
  expect(turns).toBeGreaterThan(20);
});
