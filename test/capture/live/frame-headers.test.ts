/** What headers-only captures keep: every header up to that of TCP, UDP or ICMP, and never a byte of a payload. */
import { concerns, maskPeers, readHeaders, type FrameHeaders } from "../../../src/capture/live/frame-headers.ts";
import { parseAddress } from "../../../src/lib/address.ts";

/** Every byte of a payload is this one, which stands in no header below. */
const SECRET = 0x5a;
const secret = (bytes: number) => new Array<number>(bytes).fill(SECRET);
const hex = (text: string) => [...Buffer.from(text.replaceAll(/\s/g, ""), "hex")];

const MACS = hex("020000000001 020000000002");
const DEVICE4 = hex("c0a80a0b");
const PEER4 = hex("c6336407");
const DEVICE6 = hex("20010db8001000000000000000000011");
const PEER6 = hex("20010db8010000000000000000000030");
const LINK6 = hex("fe800000000000000000000000000011");

const ethernet = (type: number, ...rest: number[]) => [...MACS, type >> 8, type & 255, ...rest];
const ipv4 = (protocol: number, rest: number[], { options = [] as number[], fragment = 0, total = -1 } = {}) => {
  const words = 5 + options.length / 4;
  const length = total < 0 ? words * 4 + rest.length : total;
  return [
    ...[0x40 | words, 0, length >> 8, length & 255, 0, 1, fragment >> 8, fragment & 255, 64, protocol, 0x12, 0x34],
    ...[...DEVICE4, ...PEER4, ...options, ...rest],
  ];
};
const ipv6 = (next: number, rest: number[], { length = rest.length, from = DEVICE6, to = PEER6 } = {}) => [
  ...[0x60, 0, 0, 0, length >> 8, length & 255, next, 64],
  ...[...from, ...to, ...rest],
];
const tcp = (words = 5) => [
  ...hex("9c40 01bb 00000001 00000002"),
  words << 4,
  0x18,
  ...hex("ffff abcd 0000"),
  ...new Array<number>((words - 5) * 4).fill(1),
];
const udp = hex("9c40 0035 0010 abcd");
const echo = hex("0800 abcd 0001 0001");
const arp = hex("0001 0800 06 04 0001 020000000002 c0a80a0b 000000000000 c0a80a01");
const extension = (next: number, units: number) => [next, units, ...new Array<number>(units * 8 + 6).fill(0)];
const fragment6 = (next: number, offset: number) => [next, 0, (offset << 3) >> 8, (offset << 3) & 255, 0, 0, 0, 7];
const authentication = (next: number) => [next, 4, ...new Array<number>(22).fill(2)];

const headers = (): FrameHeaders => ({ length: 0, network: 0, family: 0, isArp: false, transport: 0, protocol: 0 });

/** Read in the midst of other bytes, as frames come. */
function read(frame: readonly number[]): FrameHeaders {
  const found = headers();
  readHeaders(Buffer.from([...secret(7), ...frame, ...secret(9)]), 7, 7 + frame.length, found);
  return found;
}

/** What stands before the payload, and the payload or what else is to go. */
const TABLE: readonly (readonly [name: string, kept: number[], rest: number[]])[] = [
  ["TCP over IPv4", ethernet(0x0800, ...ipv4(6, [...tcp(), ...secret(100)]).slice(0, 40)), secret(100)],
  ["TCP with options", ethernet(0x0800, ...ipv4(6, [...tcp(10), ...secret(100)]).slice(0, 60)), secret(100)],
  [
    "TCP over IPv4 with options",
    ethernet(0x0800, ...ipv4(6, [...tcp(), ...secret(9)], { options: hex("94040000") }).slice(0, 44)),
    secret(9),
  ],
  ["UDP over IPv4", ethernet(0x0800, ...ipv4(17, [...udp, ...secret(50)]).slice(0, 28)), secret(50)],
  ["ICMP", ethernet(0x0800, ...ipv4(1, [...echo, ...secret(56)]).slice(0, 28)), secret(56)],
  ["IPv4 of an unknown protocol", ethernet(0x0800, ...ipv4(47, secret(60)).slice(0, 20)), secret(60)],
  ["IPv4 in IPv4", ethernet(0x0800, ...ipv4(4, secret(60)).slice(0, 20)), secret(60)],
  ["ESP", ethernet(0x0800, ...ipv4(50, secret(60)).slice(0, 20)), secret(60)],
  ["SCTP", ethernet(0x0800, ...ipv4(132, secret(60)).slice(0, 20)), secret(60)],
  ["a later fragment", ethernet(0x0800, ...ipv4(17, secret(60), { fragment: 0x2010 }).slice(0, 20)), secret(60)],
  [
    "a first fragment",
    ethernet(0x0800, ...ipv4(17, [...udp, ...secret(60)], { fragment: 0x2000 }).slice(0, 28)),
    secret(60),
  ],
  ["padding behind a short packet", ethernet(0x0800, ...ipv4(6, tcp().slice(0, 12), { total: 32 })), secret(20)],
  ["a length that segmentation left out", ethernet(0x0800, ...ipv4(6, tcp(), { total: 0 })), secret(2000)],
  ["a length shorter than its header", ethernet(0x0800, ...ipv4(6, [], { total: 3 })), secret(40)],
  ["IPv4 that says it is 6", ethernet(0x0800), [0x65, ...secret(60)]],
  ["IPv4 with too short a header", ethernet(0x0800), [0x44, ...secret(60)]],
  ["TCP over IPv6", ethernet(0x86dd, ...ipv6(6, [...tcp(), ...secret(90)]).slice(0, 60)), secret(90)],
  ["UDP over IPv6", ethernet(0x86dd, ...ipv6(17, [...udp, ...secret(90)]).slice(0, 48)), secret(90)],
  ["ICMPv6", ethernet(0x86dd, ...ipv6(58, [...hex("8700abcd00000000"), ...secret(24)]).slice(0, 48)), secret(24)],
  ["ICMP of the other family", ethernet(0x86dd, ...ipv6(1, secret(30)).slice(0, 40)), secret(30)],
  [
    "IPv6 with all extensions",
    ethernet(
      0x86dd,
      ...ipv6(0, [
        ...extension(60, 1),
        ...extension(43, 0),
        ...extension(44, 2),
        ...fragment6(51, 0),
        ...authentication(17),
        ...udp,
        ...secret(40),
      ]).slice(0, 40 + 16 + 8 + 24 + 8 + 24 + 8),
    ),
    secret(40),
  ],
  [
    "a later fragment of IPv6",
    ethernet(0x86dd, ...ipv6(44, [...fragment6(17, 100), ...secret(40)]).slice(0, 48)),
    secret(40),
  ],
  ["an extension longer than the packet", ethernet(0x86dd, ...ipv6(0, extension(17, 0), { length: 8 })), secret(30)],
  ["no next header", ethernet(0x86dd, ...ipv6(59, secret(30)).slice(0, 40)), secret(30)],
  ["a mobility header", ethernet(0x86dd, ...ipv6(135, secret(30)).slice(0, 40)), secret(30)],
  ["ESP over IPv6", ethernet(0x86dd, ...ipv6(50, secret(30)).slice(0, 40)), secret(30)],
  ["IPv6 in IPv6", ethernet(0x86dd, ...ipv6(41, secret(60)).slice(0, 40)), secret(60)],
  ["ARP", ethernet(0x0806, ...arp), secret(18)],
  ["ARP of something else", ethernet(0x0806, ...hex("0001 0800 06 20 0001")), secret(40)],
  ["a VLAN", [...MACS, ...hex("8100 0005 0800"), ...ipv4(17, [...udp, ...secret(9)]).slice(0, 28)], secret(9)],
  [
    "VLANs in a VLAN",
    [...MACS, ...hex("88a8 0005 8100 0006 86dd"), ...ipv6(6, [...tcp(), ...secret(9)]).slice(0, 60)],
    secret(9),
  ],
  ["more VLANs than there are", [...MACS, ...hex("8100 0005 8100 0006 8100 0006 8100 0006 8100")], secret(40)],
  ["LLDP", ethernet(0x88cc), secret(60)],
  ["EAPOL", ethernet(0x888e), secret(60)],
  ["PPPoE", ethernet(0x8864), secret(60)],
  ["802.3 with LLC", ethernet(60), secret(60)],
];

describe("headers", () => {
  it.each(TABLE)("of %s", (_name, kept, rest) => {
    const frame = [...kept, ...rest];
    const { length } = read(frame);
    expect(length).toBe(kept.length);
    expect(frame.slice(0, length)).not.toContain(SECRET);
  });

  it.each(TABLE)("of %s, cut off anywhere, are never more than the frame has", (_name, kept, rest) => {
    const frame = [...kept, ...rest];
    for (let length = 0; length <= frame.length; length++) {
      const found = read(frame.slice(0, length));
      expect(found.length).toBeLessThanOrEqual(Math.min(length, Math.max(kept.length, 34)));
      const copy = Buffer.concat([Buffer.from(frame.slice(0, found.length)), Buffer.from([9, 9])]);
      maskPeers(copy, 0, found);
      expect([...copy.subarray(found.length)]).toEqual([9, 9]);
    }
  });

  it("of noise neither throw nor go past its end", () => {
    let state = 1;
    const noise = () => (state = (state * 48271) % 0x7fffffff) & 255;
    for (let round = 0; round < 20_000; round++) {
      const frame = Array.from({ length: round % 130 }, noise);
      if (round % 3 > 0 && frame.length > 15) frame.splice(12, 2, ...(round % 3 === 1 ? [8, 0] : [0x86, 0xdd]));
      if (round % 3 > 0 && frame.length > 15) frame[14] = round % 3 === 1 ? 0x45 : 0x60;
      const found = read(frame);
      expect(found.length).toBeLessThanOrEqual(frame.length);
      const copy = Buffer.from(frame.slice(0, found.length));
      maskPeers(copy, 0, found);
      expect(copy.length).toBe(found.length);
    }
  });
});

describe("without peers", () => {
  const PEERS = [PEER4, PEER6, DEVICE6].map((bytes) => Buffer.from(bytes).toString("hex"));

  it.each(TABLE)("no public address is left of %s", (_name, kept, rest) => {
    const found = read([...kept, ...rest]);
    const copy = Buffer.from(kept);
    maskPeers(copy, 0, found);
    for (const peer of PEERS) expect(copy.toString("hex")).not.toContain(peer);
    if (found.family === 4 && found.length >= found.network + 20)
      expect([...copy.subarray(found.network + 12, found.network + 16)]).toEqual(DEVICE4);
  });

  it("what routes, options and Multipath TCP say goes too, and the rest stays readable", () => {
    const frame = ethernet(
      0x86dd,
      ...ipv6(43, [6, 2, 0, 0, 0, 0, 0, 0, ...PEER6, ...tcp(10).slice(0, 20), 30, 20, ...PEER6, 0, 0], { from: LINK6 }),
    );
    const found = read(frame);
    expect(found.length).toBe(frame.length);
    const copy = Buffer.from(frame);
    maskPeers(copy, 0, found);
    expect(copy.toString("hex")).not.toContain(PEERS[1]);
    expect([...copy.subarray(22, 38)]).toEqual(LINK6);
    expect(read([...copy])).toEqual(found);
    // Ports, sequence numbers and flags.
    expect([...copy.subarray(found.transport, found.transport + 16)]).toEqual(tcp(10).slice(0, 16));
    expect(copy.readUInt16BE(found.transport + 16)).toBe(0);
  });
});

describe("whom a frame concerns", () => {
  const address = (text: string) => parseAddress(text) as Uint32Array;
  const concerned = (frame: number[], text: string) => concerns(Buffer.from(frame), 0, read(frame), address(text));

  it("is its source, its destination, or who is asked for", () => {
    const frame4 = ethernet(0x0800, ...ipv4(17, [...udp]));
    expect(["192.168.10.11", "198.51.100.7", "192.168.10.12"].map((text) => concerned(frame4, text))).toEqual([
      true,
      true,
      false,
    ]);
    const frame6 = ethernet(0x86dd, ...ipv6(17, [...udp]));
    expect(["2001:db8:10::11", "2001:db8:100::30", "::ffff:1"].map((text) => concerned(frame6, text))).toEqual([
      true,
      true,
      false,
    ]);
    const frame = ethernet(0x0806, ...arp);
    expect(["192.168.10.11", "192.168.10.1", "198.51.100.7"].map((text) => concerned(frame, text))).toEqual([
      true,
      true,
      false,
    ]);
  });
});
