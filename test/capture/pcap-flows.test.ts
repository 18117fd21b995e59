import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import {
  Flag,
  Protocol,
  dhcp,
  dnsAnswer,
  dnsQuestion,
  echo,
  ethernet,
  icmp,
  ip,
  neighbour,
  tcp,
  udp,
  udpDatagram,
} from "../../demo/packets.ts";
import { parseMac } from "../../src/lib/address.ts";
import type { Seen } from "../support/capture-formats.ts";
import { cooked, cooked2, pcapFile, pcapNgSection } from "../support/capture-formats.ts";
import { generateBytes } from "../support/generate-capture.ts";
import { observeCapture } from "../support/observe-capture.ts";

const CAMERA = "02:00:00:00:00:01";
const PHONE = "02:00:00:00:00:02";
const GATEWAY = "02:00:00:00:00:FE";
const CAMERA_IP = "192.168.1.7";
const CAMERA_IP6 = "2001:db8:1::7";
const SERVER = "198.51.100.9";
const SERVER6 = "2001:db8:99::9";
const START = Date.UTC(2026, 0, 15, 12, 0, 0);

const up = (packet: Uint8Array) => ethernet(CAMERA, GATEWAY, packet);
const down = (packet: Uint8Array) => ethernet(GATEWAY, CAMERA, packet);
/** Frames a millisecond apart. */
const timed = (frames: readonly Uint8Array[], from = START): Seen[] =>
  frames.map((bytes, i) => ({ timeMs: from + i, bytes }));
const observe = (frames: readonly Uint8Array[]) => observeCapture(pcapFile(timed(frames)));

/** A TCP conversation: handshake, one request, one answer, close. */
function conversation(device: string, server: string, port = 40_000, size = 100): Uint8Array[] {
  const there = (flags: number, payload?: Uint8Array) =>
    up(tcp(device, server, { sourcePort: port, destinationPort: 443, flags, ...(payload ? { payload } : {}) }));
  const back = (flags: number, payload?: Uint8Array) =>
    down(tcp(server, device, { sourcePort: 443, destinationPort: port, flags, ...(payload ? { payload } : {}) }));
  return [
    there(Flag.Syn),
    back(Flag.Syn | Flag.Ack),
    there(Flag.Ack),
    there(Flag.Ack | Flag.Psh, Buffer.alloc(size)),
    back(Flag.Ack | Flag.Psh, Buffer.alloc(1000)),
    there(Flag.Fin | Flag.Ack),
    back(Flag.Fin | Flag.Ack),
    there(Flag.Ack),
  ];
}

/** What is counted by reading IP headers one after the other, as simply as can be. */
function countSimply(file: Buffer): {
  packets: number;
  bytes: number;
  tuples: Map<string, { packets: number; bytes: number }>;
} {
  const tuples = new Map<string, { packets: number; bytes: number }>();
  let packets = 0;
  let bytes = 0;
  for (let at = 24; at < file.length; at += 16 + file.readUInt32LE(at + 8)) {
    const frame = file.subarray(at + 16);
    const type = frame.readUInt16BE(12);
    if (type !== 0x0800 && type !== 0x86dd) continue;
    const isIPv4 = type === 0x0800;
    const packet = frame.subarray(14);
    const length = isIPv4 ? packet.readUInt16BE(2) : 40 + packet.readUInt16BE(4);
    const protocol = packet[isIPv4 ? 9 : 6] as number;
    const header = isIPv4 ? 20 : 40;
    const [source, destination] = isIPv4
      ? [packet.subarray(12, 16).join("."), packet.subarray(16, 20).join(".")]
      : [packet.toString("hex", 8, 24), packet.toString("hex", 24, 40)];
    const type6 = protocol === 58 ? (packet[header] as number) : 0;
    if (type6 >= 130 && type6 <= 137) continue;
    const isEcho = protocol === 1 || protocol === 58;
    const ports = isEcho
      ? [packet.readUInt16BE(header + 4), packet.readUInt16BE(header + 4)]
      : [packet.readUInt16BE(header), packet.readUInt16BE(header + 2)];
    const ends = [`${source} ${ports[0]}`, `${destination} ${ports[1]}`].sort();
    const key = `${protocol} ${ends.join(" ")}`;
    const entry = tuples.get(key) ?? { packets: 0, bytes: 0 };
    tuples.set(key, { packets: entry.packets + 1, bytes: entry.bytes + length });
    packets++;
    bytes += length;
  }
  return { packets, bytes, tuples };
}

describe("a flow", () => {
  test.each([
    ["IPv4", CAMERA_IP, SERVER, 20],
    ["IPv6", CAMERA_IP6, SERVER6, 40],
  ])(
    "over TCP and %s counts both directions with the IP header, as conntrack does",
    async (_name, device, server, header) => {
      const { flows, network } = await observe(conversation(device, server));
      expect(flows).toEqual([
        {
          source: device,
          destination: server,
          protocol: 6,
          ports: "40000>443",
          packets: 5,
          bytes: 5 * (header + 20) + 4 + 100,
          replyPackets: 3,
          replyBytes: 3 * (header + 20) + 4 + 1000,
          answered: true,
          began: START,
          ended: START + 7,
        },
      ]);
      expect(network().gateways).toEqual([GATEWAY]);
    },
  );

  test("closed and opened again with the same ports is two flows", async () => {
    const { flows } = await observe([...conversation(CAMERA_IP, SERVER), ...conversation(CAMERA_IP, SERVER)]);
    expect(flows.map(({ packets, began }) => [packets, began])).toEqual([
      [5, START],
      [5, START + 8],
    ]);
  });

  test("refused is one packet each way, answered, and has ended soon", async () => {
    const packets = [
      up(tcp(CAMERA_IP, SERVER, { sourcePort: 40_000, destinationPort: 23, flags: Flag.Syn })),
      down(tcp(SERVER, CAMERA_IP, { sourcePort: 23, destinationPort: 40_000, flags: Flag.Rst | Flag.Ack })),
    ];
    // A minute later the capture goes on: the refused flow is over by then.
    const later = timed([up(udp(CAMERA_IP, SERVER, 1, 2, Buffer.alloc(1)))], START + 60_000);
    const { flows } = await observeCapture(pcapFile([...timed(packets), ...later]));
    expect(flows[0]).toMatchObject({
      ports: "40000>23",
      packets: 1,
      replyPackets: 1,
      answered: true,
      ended: START + 1,
    });
  });

  test("of UDP ends when it has been idle, and begins anew after", async () => {
    const one = up(udp(CAMERA_IP, SERVER, 5000, 123, Buffer.alloc(48)));
    const file = pcapFile([
      { timeMs: START, bytes: one },
      { timeMs: START + 29_000, bytes: one },
      { timeMs: START + 100_000, bytes: one },
    ]);
    const { flows } = await observeCapture(file);
    expect(flows.map(({ packets, began, ended }) => [packets, began, ended])).toEqual([
      [2, START, START + 29_000],
      [1, START + 100_000, START + 100_000],
    ]);
  });

  test.each([
    ["IPv4", CAMERA_IP, SERVER, 1, "2048>77", 84],
    ["IPv6", CAMERA_IP6, SERVER6, 58, "32768>77", 104],
  ])(
    "of %s echo has type and identifier for ports, and its reply belongs to it",
    async (_name, device, server, protocol, ports, size) => {
      const { flows } = await observe([
        up(echo(device, server, false, 77, 1)),
        down(echo(server, device, true, 77, 1)),
        up(echo(device, server, false, 77, 2)),
      ]);
      expect(flows).toMatchObject([
        { source: device, protocol, ports, packets: 2, bytes: 2 * size, replyPackets: 1, replyBytes: size },
      ]);
    },
  );

  test("seen first from its answer is still the asker's", async () => {
    const { flows } = await observe([
      down(tcp(SERVER, CAMERA_IP, { sourcePort: 443, destinationPort: 50_000, flags: Flag.Syn | Flag.Ack })),
      down(udp(SERVER, CAMERA_IP, 443, 50_001, Buffer.alloc(9))),
      down(echo(SERVER, CAMERA_IP, true, 5, 1)),
    ]);
    expect(flows.map(({ source, ports, replyPackets }) => [source, ports, replyPackets])).toEqual(
      expect.arrayContaining([
        [CAMERA_IP, "50000>443", 1],
        [CAMERA_IP, "50001>443", 1],
        [CAMERA_IP, "2048>5", 1],
      ]),
    );
  });

  test("ICMP errors and neighbour discovery belong to none", async () => {
    const unreachable = Buffer.concat([Buffer.of(3, 1, 0, 0, 0, 0, 0, 0), Buffer.alloc(28)]);
    const { flows, source } = await observe([
      down(icmp(SERVER, CAMERA_IP, unreachable)),
      up(neighbour(135, CAMERA_IP6, "ff02::1:ff00:1", "2001:db8:1::1", CAMERA)),
    ]);
    expect(flows).toEqual([]);
    expect(source.counts?.untracked).toBe(2);
  });

  test("of a protocol without ports is counted by its addresses", async () => {
    const { flows } = await observe([
      up(ip(CAMERA_IP, SERVER, 47, Buffer.alloc(40))),
      up(ip(CAMERA_IP, SERVER, 50, Buffer.alloc(20))),
    ]);
    expect(flows.map(({ protocol, ports, bytes }) => [protocol, ports, bytes])).toEqual([
      [47, "0>0", 60],
      [50, "0>0", 40],
    ]);
  });

  test("is found behind IPv6 extension headers", async () => {
    const options = Buffer.of(0, 0, 1, 4, 0, 0, 0, 0);
    const datagram = udpDatagram(CAMERA_IP6, SERVER6, 5000, 443, Buffer.alloc(10));
    const extensions = [
      { number: 0, bytes: options },
      { number: 43, bytes: Buffer.concat([Buffer.of(0, 1), Buffer.alloc(14)]) },
      { number: 60, bytes: options },
    ];
    const { flows } = await observe([up(ip(CAMERA_IP6, SERVER6, Protocol.Udp, datagram, { extensions }))]);
    expect(flows).toMatchObject([{ protocol: 17, ports: "5000>443", bytes: 40 + 32 + 18 }]);
  });

  test("counts padding, trailers and segmentation offload by what IP says, and offloaded segments by the wire", async () => {
    const packet = udp(CAMERA_IP, SERVER, 5000, 443, Buffer.alloc(1));
    const offloaded = Buffer.from(udp(CAMERA_IP, SERVER, 5000, 443, Buffer.alloc(3000)));
    offloaded.writeUInt16BE(0, 2);
    const { flows } = await observe([Buffer.concat([up(packet), Buffer.alloc(17)]), up(offloaded)]);
    expect(flows[0]?.bytes).toBe(29 + 3028);
  });

  test("of packets cut off by the snap length is still counted whole", async () => {
    const packet = up(udp(CAMERA_IP, SERVER, 5000, 443, Buffer.alloc(1000)));
    const { flows } = await observeCapture(
      pcapFile([{ timeMs: START, bytes: packet.subarray(0, 60), wire: packet.length }]),
    );
    expect(flows).toMatchObject([{ ports: "5000>443", bytes: 1028 }]);
  });
});

describe("fragments", () => {
  /** A datagram in three pieces. */
  function pieces(device: string, server: string): Buffer[] {
    const datagram = udpDatagram(device, server, 6000, 7000, Buffer.alloc(2500));
    return [0, 1, 2].map((i) =>
      ip(device, server, Protocol.Udp, datagram.subarray(i * 1000, (i + 1) * 1000), {
        id: 99,
        fragment: { offset: i * 1000, more: i < 2 },
      }),
    );
  }
  for (const [device, server, header] of [
    [CAMERA_IP, SERVER, 20],
    [CAMERA_IP6, SERVER6, 48],
  ] as const)
    test.each([[[0, 1, 2]], [[2, 1, 0]], [[1, 0, 2]]])(
      `from ${device} in the order %j count to the flow of the first`,
      async (order) => {
        const parts = pieces(device, server);
        const { flows } = await observe(order.map((i) => up(parts[i] as Buffer)));
        expect(flows).toMatchObject([{ ports: "6000>7000", packets: 3, bytes: 2508 + 3 * header }]);
      },
    );

  test("whose first never came are counted without ports", async () => {
    const { flows } = await observe(pieces(CAMERA_IP, SERVER).slice(1).map(up));
    expect(flows).toMatchObject([{ ports: "0>0", protocol: 17, packets: 2, bytes: 1508 + 40 }]);
  });

  test("of a DNS answer are put together", async () => {
    const names = ["big.camera.example", "edge.camera.example"];
    const addresses = Array.from({ length: 90 }, (_, i) => `198.51.100.${i + 1}`);
    const datagram = udpDatagram("192.168.1.1", CAMERA_IP, 53, 5353, dnsAnswer(7, names, "A", addresses));
    const cut = 1000;
    const frames = [
      up(udp(CAMERA_IP, "192.168.1.1", 5353, 53, dnsQuestion(7, names[0] as string, "A"))),
      down(ip("192.168.1.1", CAMERA_IP, 17, datagram.subarray(0, cut), { id: 3, fragment: { offset: 0, more: true } })),
      down(ip("192.168.1.1", CAMERA_IP, 17, datagram.subarray(cut), { id: 3, fragment: { offset: cut, more: false } })),
      ...conversation(CAMERA_IP, SERVER),
    ];
    const { of } = await observe(frames);
    expect(of("answer")[0]?.addresses.map(({ address }) => address)).toEqual(addresses);
  });
});

describe("link layers", () => {
  const packets = [
    udp(CAMERA_IP, SERVER, 5000, 443, Buffer.alloc(10)),
    udp(SERVER, CAMERA_IP, 443, 5000, Buffer.alloc(20)),
    udp(CAMERA_IP6, SERVER6, 5001, 443, Buffer.alloc(30)),
    udp(SERVER6, CAMERA_IP6, 443, 5001, Buffer.alloc(40)),
  ];
  const isUp = (i: number) => i % 2 === 0;
  const mac = (text: string) => Buffer.from(text.replaceAll(":", ""), "hex");
  const expected = [
    { source: CAMERA_IP, ports: "5000>443", bytes: 38, replyBytes: 48 },
    { source: CAMERA_IP6, ports: "5001>443", bytes: 78, replyBytes: 88 },
  ];
  const family = (packet: Uint8Array, big: boolean) => {
    const word = Buffer.alloc(4);
    word[big ? 3 : 0] = (packet[0] as number) >>> 4 === 4 ? 2 : 10;
    return Buffer.concat([word, packet]);
  };

  test.each<[string, number, (packet: Buffer, i: number) => Uint8Array]>([
    ["Ethernet", 1, (p, i) => (isUp(i) ? up(p) : down(p))],
    ["VLAN", 1, (p, i) => (isUp(i) ? ethernet(CAMERA, GATEWAY, p, [20]) : ethernet(GATEWAY, CAMERA, p, [20]))],
    ["QinQ", 1, (p, i) => (isUp(i) ? ethernet(CAMERA, GATEWAY, p, [5, 20]) : ethernet(GATEWAY, CAMERA, p, [5, 20]))],
    ["Linux cooked", 113, (p, i) => cooked(p, 0, mac(isUp(i) ? CAMERA : GATEWAY))],
    ["Linux cooked v2", 276, (p, i) => cooked2(p, 0, mac(isUp(i) ? CAMERA : GATEWAY), 3)],
    ["Linux cooked without addresses", 113, (p, i) => cooked(p, isUp(i) ? 4 : 0, Buffer.alloc(0))],
    ["raw IP", 101, (p) => p],
    ["raw IP, as BSD numbers it", 12, (p) => p],
    ["null", 0, (p) => family(p, false)],
    ["loop", 108, (p) => family(p, true)],
  ])("%s", async (_name, linkType, dress) => {
    const frames = timed(packets.map((packet, i) => dress(Buffer.from(packet), i)));
    for (const file of [pcapFile(frames, { linkType }), pcapNgSection(frames, { interfaces: [{ linkType }] })]) {
      const { flows, network } = await observeCapture(file);
      expect(flows).toMatchObject(expected);
      expect(network().lan.map((prefix) => prefix.replace(/^192.168.1.*/, "home"))).toContain("home");
    }
  });

  test.each([
    [228, 0, 2],
    [229, 2, 4],
  ])("raw IP of one family (%d)", async (linkType, from, to) => {
    const { flows } = await observeCapture(pcapFile(timed(packets.slice(from, to)), { linkType }));
    expect(flows).toMatchObject([expected[from / 2] as object]);
  });

  test("the same packet on two interfaces, VLANs or hops counts once", async () => {
    const there = packets[2] as Buffer;
    const captures = [
      // Routed from one VLAN to another, seen on the trunk.
      pcapFile(timed([up(there), ethernet("02:00:00:00:00:FD", "02:00:00:00:00:AA", there, [2])])),
      // `tcpdump -i any` on the gateway: in from the LAN, out to the Internet.
      pcapFile(timed([cooked2(there, 0, mac(CAMERA), 3), cooked2(there, 4, mac(GATEWAY), 2)]), { linkType: 276 }),
      pcapNgSection(
        [
          { timeMs: START, bytes: there, interfaceId: 0 },
          { timeMs: START, bytes: there, interfaceId: 1 },
        ],
        { interfaces: [{ linkType: 101 }, { linkType: 101 }] },
      ),
    ];
    for (const file of captures) {
      const { flows, source } = await observeCapture(file);
      expect(flows).toMatchObject([{ packets: 1, bytes: 78 }]);
      expect(source.counts?.duplicates).toBe(1);
    }
  });
});

test("devices that ask from no address, or send to all, share a flow, and each packet counts", async () => {
  const asks = (mac: string) =>
    ethernet(mac, "FF:FF:FF:FF:FF:FF", udp("0.0.0.0", "255.255.255.255", 68, 67, Buffer.alloc(300)));
  const { flows, source } = await observe([asks(CAMERA), asks(PHONE), asks("02:00:00:00:00:03"), asks(CAMERA)]);
  expect(flows).toMatchObject([{ packets: 4, bytes: 4 * 328 }]);
  expect(source.counts?.duplicates).toBe(0);
});

describe("names and addresses", () => {
  test("questions and answers are told over UDP, with the device and the chain", async () => {
    const chain = ["cam.maker.example", "cdn.maker.example", "edge.cdn.example"];
    const { of } = await observe([
      up(udp(CAMERA_IP, "192.168.1.1", 5353, 53, dnsQuestion(7, "Cam.Maker.example", "AAAA"))),
      down(udp("192.168.1.1", CAMERA_IP, 53, 5353, dnsAnswer(7, chain, "AAAA", [SERVER6], 60))),
      ...conversation(CAMERA_IP, SERVER),
    ]);
    const mac = parseMac(CAMERA);
    expect(of("query")).toMatchObject([
      { mac, client: CAMERA_IP, name: "cam.maker.example", type: "AAAA", time: START },
    ]);
    expect(of("answer")).toMatchObject([
      { mac, client: CAMERA_IP, names: chain, rcode: 0, addresses: [{ address: SERVER6, ttl: 60 }] },
    ]);
  });

  test("and over TCP, also when messages lie across segments", async () => {
    const answer = dnsAnswer(7, ["a.example"], "A", ["198.51.100.1", "198.51.100.2"]);
    const framed = Buffer.concat([Buffer.of(0, answer.length), answer, Buffer.of(0, answer.length), answer]);
    const segment = (sequence: number, payload: Uint8Array) =>
      down(
        tcp("192.168.1.1", CAMERA_IP, { sourcePort: 53, destinationPort: 9999, flags: Flag.Ack, sequence, payload }),
      );
    for (const cuts of [[1], [2, 50], [answer.length + 2], [10, 20, 30, 40]]) {
      const frames: Uint8Array[] = [
        up(tcp(CAMERA_IP, "192.168.1.1", { sourcePort: 9999, destinationPort: 53, flags: Flag.Syn, sequence: 9 })),
        down(
          tcp("192.168.1.1", CAMERA_IP, {
            sourcePort: 53,
            destinationPort: 9999,
            flags: Flag.Syn | Flag.Ack,
            sequence: 0xffffffff,
          }),
        ),
      ];
      const edges = [0, ...cuts, framed.length];
      for (let i = 0; i + 1 < edges.length; i++)
        frames.push(segment(edges[i] as number, framed.subarray(edges[i], edges[i + 1])));
      // A retransmission changes nothing.
      frames.push(segment(0, framed.subarray(0, 10)), ...conversation(CAMERA_IP, SERVER));
      const { of } = await observe(frames);
      expect(of("answer").map(({ addresses }) => addresses.length)).toEqual([2, 2]);
    }
  });

  test("the gateway's own questions to its resolver are not a device's", async () => {
    const { of } = await observe([
      ...conversation(CAMERA_IP, SERVER),
      ...conversation(CAMERA_IP, "203.0.113.5", 40_001),
      ethernet(
        GATEWAY,
        "02:00:00:00:00:EE",
        udp("203.0.113.77", "203.0.113.53", 5000, 53, dnsQuestion(1, "x.example", "A")),
      ),
    ]);
    expect(of("query")).toEqual([]);
  });

  test("a lease is told with the name that the client gave", async () => {
    const common = { mac: CAMERA, transaction: 5, server: "192.168.1.1" };
    const { of } = await observe([
      ethernet(
        CAMERA,
        "FF:FF:FF:FF:FF:FF",
        udp("0.0.0.0", "255.255.255.255", 68, 67, dhcp({ ...common, type: 3, hostName: "hall-camera" })),
      ),
      down(udp("192.168.1.1", CAMERA_IP, 67, 68, dhcp({ ...common, type: 5, given: CAMERA_IP, leaseSeconds: 3600 }))),
      up(udp(CAMERA_IP, "192.168.1.1", 68, 67, dhcp({ ...common, type: 7, held: CAMERA_IP }))),
    ]);
    const mac = parseMac(CAMERA);
    expect(of("lease")).toEqual([
      {
        kind: "lease",
        time: START + 1,
        mac,
        address: CAMERA_IP,
        hostName: "hall-camera",
        expires: START + 1 + 3_600_000,
      },
      { kind: "lease", time: START + 2, mac, address: CAMERA_IP, ended: true },
    ]);
  });

  test("no lease is told when a server merely informs a device that set its address itself (RFC 2131 §3.4)", async () => {
    const common = { mac: CAMERA, transaction: 6, server: "192.168.1.1", held: CAMERA_IP };
    const { of } = await observe([
      up(udp(CAMERA_IP, "192.168.1.1", 68, 67, dhcp({ ...common, type: 8 }))),
      down(udp("192.168.1.1", CAMERA_IP, 67, 68, dhcp({ ...common, type: 5 }))),
    ]);
    expect(of("lease")).toEqual([]);
  });

  test("each device's addresses are told before its flows, and the gateway's are not", async () => {
    const { others } = await observe([...conversation(CAMERA_IP, SERVER), ...conversation(CAMERA_IP6, SERVER6)]);
    expect(others.filter(({ kind }) => kind === "neighbour")).toMatchObject([
      { mac: parseMac(CAMERA), address: CAMERA_IP, state: "frame" },
      { mac: parseMac(CAMERA), address: CAMERA_IP6, state: "frame" },
    ]);
  });
});

describe("a whole home", () => {
  const { bytes, books } = generateBytes({ packets: 20_000, devices: 12, peers: 40, seed: 7 });

  test("is counted as a simple reading of the headers counts it", async () => {
    const simple = countSimply(bytes);
    const { flows, source } = await observeCapture(bytes);
    expect(simple.packets).toBe(books.ipPackets);
    expect(source.counts).toMatchObject({ packets: 20_000, counted: simple.packets, countedBytes: simple.bytes });
    const sums = flows.reduce(
      ([packets, bytes], flow) =>
        [packets + flow.packets + flow.replyPackets, bytes + flow.bytes + flow.replyBytes] as const,
      [0, 0] as readonly [number, number],
    );
    expect(sums).toEqual([simple.packets, simple.bytes]);
    expect(flows.length).toBeGreaterThanOrEqual(simple.tuples.size);
  });

  test("gives every device what its own books say, whatever the interval, gzipped too", async () => {
    for (const [file, intervalMs] of [
      [bytes, 1000],
      [gzipSync(bytes), 250],
      [bytes, 60_000],
    ] as const) {
      const { flows } = await observeCapture(file, { intervalMs });
      for (const device of books.devices) {
        const own = flows.filter(({ source }) => source === device.ipv4 || source === device.ipv6);
        const far = own.filter(({ destination }) => destination !== "192.168.1.1");
        const sum = (of: (flow: (typeof flows)[number]) => number, from: typeof flows) =>
          from.reduce((n, flow) => n + of(flow), 0);
        expect(sum((f) => f.bytes, far)).toBe(device.bytesSent);
        expect(sum((f) => f.replyBytes, far)).toBe(device.bytesReceived);
        expect(sum((f) => f.packets, far)).toBe(device.packetsSent);
        expect(sum((f) => f.replyPackets, far)).toBe(device.packetsReceived);
        expect(sum((f) => f.bytes, own) - device.bytesSent).toBe(device.localBytesSent);
      }
    }
  });

  test("keeps its counts when the table is far too small", async () => {
    const { flows, source } = await observeCapture(bytes, { maximumFlows: 16 });
    const sum = flows.reduce((n, flow) => n + flow.bytes + flow.replyBytes, 0);
    expect(source.counts?.evicted).toBeGreaterThan(0);
    expect(sum).toBe(source.counts?.countedBytes);
    expect(sum).toBe(countSimply(bytes).bytes);
  });

  const hasTcpdump = (() => {
    try {
      execFileSync("tcpdump", ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  })();
  (hasTcpdump ? test : test.skip)(
    `has as many packets as tcpdump reads${hasTcpdump ? "" : " (skipped: no tcpdump)"}`,
    async () => {
      const directory = mkdtempSync(join(tmpdir(), "spin-pcap-"));
      try {
        const path = join(directory, "home.pcap");
        writeFileSync(path, bytes);
        for (const [filter, protocols] of [
          ["tcp", [6]],
          ["udp", [17]],
          ["ip", [1, 6, 17]],
        ] as const) {
          const lines = execFileSync("tcpdump", ["-nr", path, filter], {
            stdio: ["ignore", "pipe", "ignore"],
            maxBuffer: 1 << 26,
          });
          const { flows } = await observeCapture(path);
          const own = flows.filter(
            (f) => (protocols as readonly number[]).includes(f.protocol) && (filter !== "ip" || f.source.includes(".")),
          );
          expect(own.reduce((n, f) => n + f.packets + f.replyPackets, 0)).toBe(
            lines.toString().trim().split("\n").length,
          );
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );

  test("broken anywhere is read without throwing", async () => {
    const start = bytes.subarray(0, 60_000);
    const mutation = fc.record({ at: fc.nat({ max: start.length - 1 }), value: fc.integer({ min: 0, max: 255 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(mutation, { minLength: 1, maxLength: 200 }), async (mutations) => {
        const broken = Buffer.from(start);
        // Record headers stay whole, so that the packets themselves are what is broken.
        for (let at = 24; at + 16 <= start.length; at += 16 + start.readUInt32LE(at + 8))
          for (const { at: where, value } of mutations) {
            const end = at + 16 + start.readUInt32LE(at + 8);
            if (where >= at + 16 && where < end) broken[where] = value;
          }
        const { source, flows } = await observeCapture(broken);
        const counted = flows.reduce((n, flow) => n + flow.packets + flow.replyPackets, 0);
        expect(counted).toBe(source.counts?.counted);
        expect(flows.every((flow) => flow.bytes >= 20 * flow.packets)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });
});

test("devices of one home talking to each other are one flow, seen once", async () => {
  const { flows, network } = await observe([
    ...conversation(CAMERA_IP, SERVER),
    ...conversation(CAMERA_IP, "203.0.113.5", 40_001),
    ethernet(PHONE, CAMERA, udp("192.168.1.8", CAMERA_IP, 5000, 554, Buffer.alloc(10))),
    ethernet(CAMERA, PHONE, udp(CAMERA_IP, "192.168.1.8", 554, 5000, Buffer.alloc(10))),
  ]);
  expect(network()).toMatchObject({ lan: ["192.168.1.0/24"], gateways: [GATEWAY] });
  expect(flows.find(({ source }) => source === "192.168.1.8")).toMatchObject({ packets: 1, replyPackets: 1 });
});
