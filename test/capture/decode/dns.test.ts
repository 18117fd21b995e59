import dnsPacket from "dns-packet";
import fc from "fast-check";
import { decodeDns } from "../../../src/capture/decode/dns.ts";

const encode = (packet: dnsPacket.Packet): Uint8Array => new Uint8Array(dnsPacket.encode(packet));

const answer = (answers: dnsPacket.Answer[], question = { type: "A" as const, name: "Cam.Example.COM" }): Uint8Array =>
  encode({ type: "response", id: 7, flags: 0x180, questions: [question], answers });

/** A message from its parts: header counts, then raw bytes. */
const raw = (flags: number, counts: number[], ...parts: (number[] | string)[]): Uint8Array => {
  const header = [0, 1, flags >> 8, flags & 255, ...counts.flatMap((count) => [count >> 8, count & 255])];
  const bytes = parts.flatMap((part) => (typeof part === "string" ? [...Buffer.from(part, "latin1")] : part));
  return Uint8Array.from([...header, ...bytes]);
};
const A_IN = [0, 1, 0, 1];

describe("a DNS message", () => {
  test("that asks gives its name in lower case and its type", () => {
    const bytes = encode({ type: "query", id: 9, questions: [{ type: "AAAA", name: "Time.Example.NET" }] });
    expect(decodeDns(bytes)).toEqual({
      id: 9,
      response: false,
      rcode: 0,
      truncated: false,
      name: "time.example.net",
      type: "AAAA",
      names: ["time.example.net"],
      addresses: [],
    });
  });

  test("that answers gives the CNAME chain in order, whatever the order of its records, and each TTL", () => {
    const message = decodeDns(
      answer([
        { type: "A", name: "edge.example.org", ttl: 30, data: "198.51.100.7" },
        { type: "CNAME", name: "cdn.example.net", ttl: 60, data: "EDGE.example.org" },
        { type: "A", name: "edge.example.org", ttl: 31, data: "198.51.100.8" },
        { type: "CNAME", name: "cam.example.com", ttl: 3600, data: "cdn.example.net" },
      ]),
    );
    expect(message?.names).toEqual(["cam.example.com", "cdn.example.net", "edge.example.org"]);
    expect(message?.addresses).toEqual([
      { address: "198.51.100.7", ttl: 30 },
      { address: "198.51.100.8", ttl: 31 },
    ]);
  });

  test("gives IPv6 addresses in canonical text", () => {
    const message = decodeDns(answer([{ type: "AAAA", name: "cam.example.com", ttl: 5, data: "2001:0db8:0:0::1" }]));
    expect(message?.addresses).toEqual([{ address: "2001:db8::1", ttl: 5 }]);
  });

  test("does not let an answer speak for names that nobody asked for", () => {
    const message = decodeDns(
      answer([
        { type: "A", name: "bank.example", ttl: 5, data: "203.0.113.1" },
        { type: "A", name: "cam.example.com", ttl: 5, data: "198.51.100.1" },
      ]),
    );
    expect(message?.addresses.map((record) => record.address)).toEqual(["198.51.100.1"]);
  });

  test("with a CNAME loop ends", () => {
    const message = decodeDns(
      answer([
        { type: "CNAME", name: "cam.example.com", ttl: 5, data: "b.example" },
        { type: "CNAME", name: "b.example", ttl: 5, data: "cam.example.com" },
      ]),
    );
    expect(message?.names).toEqual(["cam.example.com", "b.example"]);
  });

  test("gives the address hints of an HTTPS record and follows its alias", () => {
    const owner = [1, 0x61, 0];
    const service = [
      0,
      1,
      0,
      0,
      4,
      0,
      4,
      198,
      51,
      100,
      9,
      0,
      6,
      0,
      16,
      0x20,
      1,
      0xd,
      0xb8,
      ...Array<number>(11).fill(0),
      1,
    ];
    const hints = decodeDns(
      raw(0x8180, [1, 1, 0, 0], owner, [0, 65, 0, 1], [0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, service.length], service),
    );
    expect(hints?.addresses).toEqual([
      { address: "198.51.100.9", ttl: 60 },
      { address: "2001:db8::1", ttl: 60 },
    ]);
    const alias = [0, 0, 1, 0x62, 0];
    const aliased = decodeDns(
      raw(0x8180, [1, 1, 0, 0], owner, [0, 65, 0, 1], [0xc0, 12, 0, 65, 0, 1, 0, 0, 0, 60, 0, alias.length], alias),
    );
    expect(aliased?.names).toEqual(["a", "b"]);
  });

  test("keeps the rcode", () => {
    const bytes = encode({ type: "response", id: 1, flags: 3, questions: [{ type: "A", name: "gone.example" }] });
    expect(decodeDns(bytes)).toMatchObject({ rcode: 3, addresses: [] });
  });

  test("cannot put control characters, dots, quotes or UTF-8 of its own into a name", () => {
    const label = Buffer.from('a.b\n"\u00e9', "utf8");
    expect(decodeDns(raw(0x0100, [1, 0, 0, 0], [label.length], label.toString("latin1"), [0], A_IN))?.name).toBe(
      "a\\046b\\010\\034\\195\\169",
    );
  });

  test("for the root is shown as a dot", () => {
    expect(decodeDns(raw(0x0100, [1, 0, 0, 0], [0], A_IN))?.name).toBe(".");
  });

  test("cut off by the snap length gives the records that were whole", () => {
    const whole = answer([
      { type: "A", name: "cam.example.com", ttl: 5, data: "198.51.100.1" },
      { type: "A", name: "cam.example.com", ttl: 5, data: "198.51.100.2" },
    ]);
    const message = decodeDns(whole.subarray(0, whole.length - 3));
    expect(message).toMatchObject({ truncated: true, addresses: [{ address: "198.51.100.1", ttl: 5 }] });
  });

  test("with a TTL above 2^31 counts as not to be kept", () => {
    const message = decodeDns(answer([{ type: "A", name: "cam.example.com", ttl: 0x80000000, data: "198.51.100.1" }]));
    expect(message?.addresses).toEqual([{ address: "198.51.100.1", ttl: 0 }]);
  });

  test.each<[string, Uint8Array]>([
    ["nothing", new Uint8Array(0)],
    ["half a header", new Uint8Array(11)],
    ["no question", raw(0x0100, [0, 0, 0, 0])],
    ["two questions", raw(0x0100, [2, 0, 0, 0], [0], A_IN, [0], A_IN)],
    ["an update", raw(0x2800, [1, 0, 0, 0], [0], A_IN)],
    ["a pointer to itself", raw(0x0100, [1, 0, 0, 0], [0xc0, 12], A_IN)],
    ["a pointer forward", raw(0x0100, [1, 0, 0, 0], [0xc0, 20], A_IN, [1, 0x61, 0])],
    ["a pointer into the header", raw(0x0100, [1, 0, 0, 0], [0xc0, 0], A_IN)],
    ["a reserved label type", raw(0x0100, [1, 0, 0, 0], [0x41, 0, 0], A_IN)],
    [
      "a name over 255 bytes",
      raw(0x0100, [1, 0, 0, 0], ...Array<number[]>(5).fill([63, ...Array<number>(63).fill(0x61)]), [0], A_IN),
    ],
    ["a question cut off", raw(0x0100, [1, 0, 0, 0], [1, 0x61, 0, 0])],
    [
      "a reserved label in an answer",
      raw(0x8180, [1, 1, 0, 0], [0], A_IN, [0x80, 0], [0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4]),
    ],
  ])("made of %s is refused", (_what, bytes) => {
    expect(decodeDns(bytes)).toBeUndefined();
  });

  test("with sixty thousand announced records takes no time", () => {
    const bytes = raw(0x8180, [1, 0xffff, 0xffff, 0xffff], [0], A_IN);
    expect(decodeDns(bytes)).toMatchObject({ truncated: true, addresses: [] });
  });

  test("of any bytes never throws, and names stay printable and bounded", () => {
    const seed = answer([
      { type: "CNAME", name: "cam.example.com", ttl: 5, data: "b.example" },
      { type: "AAAA", name: "b.example", ttl: 5, data: "2001:db8::1" },
      { type: "TXT", name: "b.example", ttl: 5, data: "x" },
    ]);
    const mutated = fc.array(fc.tuple(fc.nat(seed.length - 1), fc.nat(255)), { maxLength: 6 }).map((edits) => {
      const bytes = Uint8Array.from(seed);
      for (const [at, value] of edits) bytes[at] = value;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), mutated), (bytes) => {
        for (const name of decodeDns(bytes)?.names ?? [])
          expect(name).toMatch(/^(\.|(?:[a-z0-9_.-]|\\\d{3}){1,1020})$/);
      }),
      { numRuns: 3000, seed: 1 },
    );
  });
});
