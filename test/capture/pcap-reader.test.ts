import fc from "fast-check";
import { ethernet, udp } from "../../demo/packets.ts";
import { MAX_PACKET } from "../../src/capture/pcap-format.ts";
import { CaptureReader } from "../../src/capture/pcap-reader.ts";
import { PcapWriter } from "../../src/capture/pcap-writer.ts";
import type { Seen } from "../support/capture-formats.ts";
import { pcapFile, pcapNgSection } from "../support/capture-formats.ts";

const CAMERA = "02:00:00:00:00:01";
const GATEWAY = "02:00:00:00:00:FE";

interface Read {
  readonly timeMs: number;
  readonly bytes: Buffer;
  readonly wire: number;
  readonly linkType: number;
  readonly interfaceId: number;
}

/** Feeds the capture in windows of `step` bytes, as PcapSource does. */
function readAll(
  file: Uint8Array,
  step = file.length || 1,
): { packets: Read[]; reader: CaptureReader; rounds: number } {
  const reader = new CaptureReader();
  const packets: Read[] = [];
  let window: Uint8Array = new Uint8Array(0);
  let rounds = 0;
  for (let at = 0; at < file.length && !reader.error; at += step) {
    window = Buffer.concat([window.subarray(reader.position), file.subarray(at, at + step)]);
    reader.feed(window, 0, window.length);
    while (reader.next()) {
      rounds++;
      packets.push({
        timeMs: reader.time[0] as number,
        bytes: Buffer.from(reader.buffer.subarray(reader.offset, reader.offset + reader.captured)),
        wire: reader.wire,
        linkType: reader.linkType,
        interfaceId: reader.interfaceId,
      });
    }
  }
  reader.finish();
  return { packets, reader, rounds };
}

const frame = (size: number) =>
  ethernet(CAMERA, GATEWAY, udp("192.0.2.7", "198.51.100.9", 5000, 443, Buffer.alloc(size, size)));
const SEEN: Seen[] = [0, 1, 500, 1400].map((size, i) => ({
  timeMs: 1_700_000_000_123.456 + 1000 * i,
  bytes: frame(size),
}));

function expectSeen(packets: readonly Read[], seen: readonly Seen[] = SEEN, toleranceMs = 0.001): void {
  expect(packets.map(({ bytes }) => bytes)).toEqual(seen.map(({ bytes }) => Buffer.from(bytes)));
  packets.forEach(({ timeMs }, i) =>
    expect(Math.abs(timeMs - (seen[i] as Seen).timeMs)).toBeLessThanOrEqual(toleranceMs),
  );
}

describe("pcap", () => {
  test.each([
    { bigEndian: false, nanoseconds: false },
    { bigEndian: true, nanoseconds: false },
    { bigEndian: false, nanoseconds: true },
    { bigEndian: true, nanoseconds: true },
  ])("is read whole, to the packet and the time (%o)", (shape) => {
    for (const step of [1, 7, 100, 1 << 20]) {
      const { packets, reader } = readAll(pcapFile(SEEN, shape), step);
      expect(reader.error).toBeUndefined();
      expectSeen(packets);
    }
  });

  test("keeps the length on the wire apart from what was captured", () => {
    const { packets } = readAll(pcapFile([{ timeMs: 0, bytes: frame(10), wire: 1514 }]));
    expect(packets[0]?.wire).toBe(1514);
  });

  test("of the product's own writer is read back, nanoseconds and snap length included", () => {
    const writer = new PcapWriter({ nanoseconds: true, snapLength: 60 });
    for (const { timeMs, bytes } of SEEN) writer.write(timeMs, bytes);
    const { packets, reader } = readAll(Buffer.concat(writer.take()));
    expect(reader.error).toBeUndefined();
    expectSeen(
      packets,
      SEEN.map((seen) => ({ ...seen, bytes: seen.bytes.subarray(0, 60) })),
    );
    expect(packets.map(({ wire }) => wire)).toEqual(SEEN.map(({ bytes }) => bytes.length));
  });

  test("that is cut off gives the packets before the cut, and says where and why", () => {
    const file = pcapFile(SEEN);
    const { packets, reader } = readAll(file.subarray(0, file.length - 3));
    expect(packets).toHaveLength(3);
    const last = 16 + (SEEN[3] as Seen).bytes.length;
    expect(reader.error?.offset).toBe(file.length - last);
    expect(reader.error?.message).toBe(
      `at byte ${file.length - last}: truncated: the file ends ${last - 3} bytes into a record of ${last} bytes`,
    );
  });

  test("with an absurd length stops there, whatever the length", () => {
    const file = pcapFile(SEEN);
    const second = 24 + 16 + (SEEN[0] as Seen).bytes.length;
    for (const length of [MAX_PACKET + 1, 0x7fffffff, 0xffffffff]) {
      const broken = Buffer.from(file);
      broken.writeUInt32LE(length, second + 8);
      const { packets, reader } = readAll(broken);
      expect(packets).toHaveLength(1);
      expect(reader.error?.message).toContain(`at byte ${second}: a record claims ${length} captured bytes`);
    }
  });

  test("of a link type that is not decoded says which", () => {
    const { packets, reader } = readAll(pcapFile(SEEN, { linkType: 105 }));
    expect(packets).toHaveLength(0);
    expect(reader.error?.reason).toBe("link type 105 is not decoded; 4 packets left out");
  });

  test.each([
    ["", "the file is empty"],
    ["d4c3", "too short for a capture: 2 bytes"],
    ["504b0304000000000000000000000000", "not a capture: it begins with 50 4b 03 04"],
  ])("is not %j", (hex, reason) => {
    expect(readAll(Buffer.from(hex, "hex")).reader.error?.reason).toBe(reason);
  });

  test("without packets is read without an error", () => {
    expect(readAll(pcapFile([])).reader.error).toBeUndefined();
  });
});

describe("pcapng", () => {
  for (const bigEndian of [false, true])
    test.each(["enhanced", "obsolete"] as const)(
      `with %s packet blocks is read (big-endian: ${bigEndian})`,
      (blocks) => {
        for (const step of [3, 1000, 1 << 20]) {
          const { packets, reader } = readAll(pcapNgSection(SEEN, { bigEndian, blocks, strew: true }), step);
          expect(reader.error).toBeUndefined();
          expectSeen(packets);
        }
      },
    );

  test("with simple packet blocks is read, without times and within the snap length", () => {
    const file = pcapNgSection(SEEN, { blocks: "simple", interfaces: [{ linkType: 1, snapLength: 100 }] });
    const { packets, reader } = readAll(file);
    expect(reader.error).toBeUndefined();
    expect(packets.map(({ bytes }) => bytes.length)).toEqual(SEEN.map(({ bytes }) => Math.min(100, bytes.length)));
    expect(packets.map(({ timeMs }) => timeMs)).toEqual([0, 0, 0, 0]);
  });

  test.each([
    [0, 1000],
    [3, 1],
    [6, 0.001],
    [9, 0.001],
    [-10, 1],
    [-20, 0.002],
  ])("tells time in units of if_tsresol %d", (resolution, toleranceMs) => {
    for (const bigEndian of [false, true]) {
      const file = pcapNgSection(SEEN, { bigEndian, interfaces: [{ linkType: 1, resolution, offsetSeconds: 3600 }] });
      expectSeen(readAll(file).packets, SEEN, toleranceMs);
    }
  });

  test("has sections of both byte orders, whose interfaces begin anew", () => {
    const first = pcapNgSection([{ ...(SEEN[0] as Seen), interfaceId: 1 }], {
      interfaces: [{ linkType: 101 }, { linkType: 1 }],
    });
    const second = pcapNgSection([SEEN[1] as Seen], { bigEndian: true, interfaces: [{ linkType: 113 }] });
    const { packets, reader } = readAll(Buffer.concat([first, second]));
    expect(reader.error).toBeUndefined();
    expect(packets.map(({ linkType, interfaceId }) => [linkType, interfaceId])).toEqual([
      [1, 1],
      [113, 0],
    ]);
  });

  test("leaves out the packets of a link type that is not decoded, and reads the others", () => {
    const file = pcapNgSection(
      SEEN.map((seen, i) => ({ ...seen, interfaceId: i % 2 })),
      { interfaces: [{ linkType: 1 }, { linkType: 147 }] },
    );
    const { packets, reader } = readAll(file);
    expect(packets).toHaveLength(2);
    expect(reader.undecoded).toBe(2);
    expect(reader.error).toBeUndefined();
  });

  test("with a packet of an interface that nobody described stops there", () => {
    const file = pcapNgSection([SEEN[0] as Seen, { ...(SEEN[1] as Seen), interfaceId: 0 }]);
    const at = file.length - pcapBlock(SEEN[1] as Seen);
    file.writeUInt32LE(7, at + 8);
    const { packets, reader } = readAll(file);
    expect(packets).toHaveLength(1);
    expect(reader.error?.message).toBe(`at byte ${at}: a packet of interface 7, which is not described`);
  });

  test("skips blocks that it does not know, however long they claim to be, without keeping them", () => {
    const section = pcapNgSection([]);
    const giant = Buffer.alloc(12);
    giant.writeUInt32LE(0x0bad, 0);
    giant.writeUInt32LE(0xfffffff0, 4);
    const { reader } = readAll(Buffer.concat([section, giant]));
    expect(reader.error?.reason).toBe(`the file ends ${0xfffffff0 - 12} bytes before the end of a block`);
  });
});

function pcapBlock({ bytes }: Seen): number {
  return 32 + Math.ceil(bytes.length / 4) * 4;
}

describe("whatever bytes come", () => {
  const files = [
    pcapFile(SEEN),
    pcapFile(SEEN, { bigEndian: true, nanoseconds: true }),
    pcapNgSection(SEEN, { strew: true }),
    Buffer.concat([pcapNgSection(SEEN, { bigEndian: true }), pcapNgSection(SEEN, { blocks: "obsolete" })]),
  ];

  test("a truncated file gives whole packets and an error, unless it was cut between two", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 5000 }),
        (file, share, step) => {
          const whole = readAll(file).packets;
          const { packets } = readAll(file.subarray(0, Math.floor(file.length * share)), step);
          expect(packets).toEqual(whole.slice(0, packets.length));
        },
      ),
      { numRuns: 150 },
    );
  });

  test("flipped bytes neither throw, nor hang, nor yield packets beyond the window", () => {
    const mutation = fc.record({ at: fc.nat(), value: fc.integer({ min: 0, max: 255 }) });
    fc.assert(
      fc.property(
        fc.constantFrom(...files),
        fc.array(mutation, { minLength: 1, maxLength: 12 }),
        fc.integer({ min: 1, max: 3000 }),
        (file, mutations, step) => {
          const broken = Buffer.from(file);
          for (const { at, value } of mutations) broken[at % broken.length] = value;
          const { packets, rounds } = readAll(broken, step);
          expect(rounds).toBeLessThanOrEqual(broken.length / 12);
          for (const { bytes, wire } of packets) {
            expect(bytes.length).toBeLessThanOrEqual(Math.min(MAX_PACKET, broken.length));
            expect(wire).toBeGreaterThanOrEqual(bytes.length);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("noise is no capture", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.integer({ min: 1, max: 64 }), (noise, step) => {
        const { packets, reader } = readAll(noise, step);
        expect(packets.length).toBe(0);
        expect(reader.error).toBeDefined();
      }),
    );
  });
});
