import { DnsStreams } from "../../src/capture/dns-streams.ts";

const framed = (...messages: string[]): Buffer =>
  Buffer.concat(
    messages.map((text) =>
      Buffer.concat([Buffer.from([text.length >> 8, text.length & 255]), Buffer.from(text, "latin1")]),
    ),
  );

/** Pushes pieces of a stream, each with its offset, and gives the messages that came out. */
function follow(
  pieces: readonly (readonly [number, Uint8Array])[],
  options: { first?: number; cutLast?: boolean } = {},
) {
  const streams = new DnsStreams();
  const messages: string[] = [];
  const push = (sequence: number, data: Uint8Array, isFirst = false, isCut = false) =>
    streams.push({ stream: "a", sequence: sequence >>> 0, isFirst, isLast: false, data, isCut, time: 1 }, (bytes) =>
      messages.push(Buffer.from(bytes).toString("latin1")),
    );
  const { first, cutLast = false } = options;
  if (first !== undefined) push(first, new Uint8Array(0), true);
  const base = first === undefined ? 1000 : first + 1;
  for (const [i, [offset, data]] of pieces.entries())
    push(base + offset, data, false, cutLast && i === pieces.length - 1);
  return { messages, streams };
}

describe("DNS over TCP", () => {
  const whole = framed("one", "two", "three");

  test("in one segment gives each message", () => {
    expect(follow([[0, whole]]).messages).toEqual(["one", "two", "three"]);
  });

  test("split at any byte gives the same messages", () => {
    for (let at = 1; at < whole.length; at++)
      expect(
        follow([
          [0, whole.subarray(0, at)],
          [at, whole.subarray(at)],
        ]).messages,
      ).toEqual(["one", "two", "three"]);
  });

  test("byte by byte, over the wrap of the sequence numbers", () => {
    const bytes = [...whole].map((byte, i) => [i, Uint8Array.of(byte)] as const);
    expect(follow(bytes, { first: 0xfffffff8 }).messages).toEqual(["one", "two", "three"]);
  });

  test("sent again, or overlapping, counts once", () => {
    expect(
      follow(
        [
          [0, whole.subarray(0, 6)],
          [0, whole.subarray(0, 6)],
          [3, whole.subarray(3)],
        ],
        { first: 5 },
      ).messages,
    ).toEqual(["one", "two", "three"]);
  });

  test("out of order is put in order", () => {
    const { messages, streams } = follow(
      [
        [10, whole.subarray(10)],
        [5, whole.subarray(5, 10)],
        [0, whole.subarray(0, 5)],
      ],
      { first: 5 },
    );
    expect(messages).toEqual(["one", "two", "three"]);
    expect(streams.dropped).toBe(0);
  });

  test("with too much missing is given up and counted", () => {
    const early = Array.from({ length: 12 }, (_, i) => [100 + i, Uint8Array.of(1)] as const);
    const { messages, streams } = follow(early, { first: 5 });
    expect(messages).toEqual([]);
    expect(streams.dropped).toBe(1);
  });

  test("cut off by the snap length gives what was whole and then gives up", () => {
    const { messages, streams } = follow([[0, whole.subarray(0, 7)]], { cutLast: true });
    expect(messages).toEqual(["one"]);
    expect(streams.dropped).toBe(1);
    expect(streams.size).toBe(0);
  });

  test("by a flood of connections keeps no more than a fixed number of them", () => {
    const streams = new DnsStreams();
    for (let i = 0; i < 1000; i++)
      streams.push(
        {
          stream: `${i}`,
          sequence: 1,
          isFirst: false,
          isLast: false,
          data: new Uint8Array(40_000).fill(255),
          isCut: false,
          time: 1,
        },
        () => undefined,
      );
    expect(streams.size).toBeLessThanOrEqual(26);
    expect(streams.dropped).toBe(1000 - streams.size);
  });
});
