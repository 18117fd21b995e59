/** STOMP 1.2 frames: https://stomp.github.io/stomp-specification-1.2.html */
import fc from "fast-check";
import { encodeFrame, HEART_BEAT, StompDecoder, type StompFrame, type StompLimits } from "../../src/mtp/stomp-codec.ts";

function decode(bytes: Buffer | string, limits: Partial<StompLimits> = {}, cuts: readonly number[] = []) {
  const decoder = new StompDecoder(limits);
  const input = Buffer.from(bytes as string);
  const frames: StompFrame[] = [];
  let from = 0;
  for (const to of [...cuts.filter((cut) => cut < input.length), input.length].sort((a, b) => a - b)) {
    decoder.push(input.subarray(from, to));
    from = to;
    for (let frame = decoder.next(); frame !== undefined; frame = decoder.next()) frames.push(frame);
  }
  return { frames, fault: decoder.fault };
}

const plain = ({ command, headers, body, bodyBytes, isCut }: StompFrame) => ({
  command,
  headers: [...headers],
  body: body.toString("hex"),
  bodyBytes,
  isCut,
});

const command = fc.constantFrom("SEND", "MESSAGE", "ERROR", "RECEIPT", "STOMP", "UNSUBSCRIBE");
const text = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.string({ unit: fc.constantFrom(":", "\\", "\n", "\r", "c", "n", "é"), maxLength: 12 }),
);
const headerText = text.map((value) => value.replaceAll("\0", ""));
const frame = fc.record({
  command,
  headers: fc.uniqueArray(
    fc.tuple(
      headerText.filter((name) => name !== "content-length"),
      headerText,
    ),
    {
      selector: ([name]) => name,
      maxLength: 8,
    },
  ),
  body: fc.option(fc.uint8Array({ maxLength: 200 }), { nil: undefined }),
});
const cuts = fc.array(fc.nat(600), { maxLength: 20 });

describe("the STOMP codec", () => {
  test("gives back what it encoded, however the bytes are cut and whatever heart-beats lie between", () => {
    const sequence = fc.array(fc.tuple(frame, fc.constantFrom("", "\n", "\r\n", "\n\n\r\n")), { maxLength: 5 });
    fc.assert(
      fc.property(sequence, cuts, (all, at) => {
        const bytes = Buffer.concat(
          all.flatMap(([{ command, headers, body }, beats]) => [
            encodeFrame(command, headers, body),
            Buffer.from(beats),
          ]),
        );
        const { frames, fault } = decode(bytes, {}, at);
        expect(fault).toBeUndefined();
        expect(frames.map(plain)).toEqual(
          all.map(([{ command, headers, body }]) => ({
            command,
            headers: body === undefined ? headers : [...headers, ["content-length", `${body.length}`]],
            body: Buffer.from(body ?? []).toString("hex"),
            bodyBytes: body?.length ?? 0,
            isCut: false,
          })),
        );
      }),
      { numRuns: 500 },
    );
  });

  test("never throws on garbage, holds to its first fault, and finds the same however the bytes are cut", () => {
    const word = fc.constantFrom(
      "MESSAGE\n",
      "CONNECTED\n",
      "a:b\n",
      "content-length:3\n",
      "\n",
      "\0",
      "\r\n",
      "\\",
      ":",
    );
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
      fc
        .array(fc.oneof(word, fc.string({ maxLength: 5 })), { maxLength: 40 })
        .map((words) => Buffer.from(words.join(""))),
    );
    const limits = { lineBytes: 40, headers: 3, bodyBytes: 50 };
    fc.assert(
      fc.property(garbage, cuts, (bytes, at) => {
        const whole = decode(bytes, limits);
        const cut = decode(bytes, limits, at);
        expect(cut.fault).toBe(whole.fault);
        expect(cut.frames.map(plain)).toEqual(whole.frames.map(plain));
        for (const { body, headers } of whole.frames) {
          expect(body.length).toBeLessThanOrEqual(limits.bodyBytes);
          expect(headers.size).toBeLessThanOrEqual(limits.headers);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  test("survives flipped bits with frames, or one fault in words", () => {
    fc.assert(
      fc.property(frame, fc.array(fc.nat(), { minLength: 1, maxLength: 5 }), ({ command, headers, body }, bits) => {
        const bytes = encodeFrame(command, headers, body);
        for (const bit of bits) {
          const at = (bit >> 3) % bytes.length;
          bytes[at] = (bytes[at] as number) ^ (1 << (bit & 7));
        }
        const { fault } = decode(bytes);
        expect(fault ?? "words").toMatch(/\w+/);
      }),
      { numRuns: 500 },
    );
  });

  test("escapes colons, backslashes and ends of line in headers, and writes the length of a body", () => {
    const bytes = encodeFrame("SEND", [["endpoint-id", "os::0\\1\r\n"]], Buffer.from("a\0b"));
    expect(bytes.toString()).toBe("SEND\nendpoint-id:os\\c\\c0\\\\1\\r\\n\ncontent-length:3\n\na\0b\0");
    expect(encodeFrame("DISCONNECT", []).toString()).toBe("DISCONNECT\n\n\0");
    expect(HEART_BEAT.toString()).toBe("\n");
  });

  test.each([
    ["a carriage return before each end of line", "MESSAGE\r\na:b\r\n\r\nbody\0", [["a", "b"]]],
    ["a body up to its NUL, where no length is given", "MESSAGE\na:b\n\nbody\0", [["a", "b"]]],
    ["the first of repeated headers", "MESSAGE\na:b\na:c\n\nbody\0", [["a", "b"]]],
    ["a value with colons and blanks as it stands", "MESSAGE\na: b:c \n\nbody\0", [["a", " b:c "]]],
    [
      "an empty value and an empty name",
      "MESSAGE\na:\n:b\n\nbody\0",
      [
        ["a", ""],
        ["", "b"],
      ],
    ],
    [
      "what is escaped in CONNECTED, and what is not",
      "CONNECTED\na:os\\c\\cx\nb:C:\\x\n\nbody\0",
      [
        ["a", "os::x"],
        ["b", "C:\\x"],
      ],
    ],
  ])("reads %s", (_, bytes, headers) => {
    const { frames, fault } = decode(bytes);
    expect(fault).toBeUndefined();
    expect(frames.map(({ headers, body }) => [[...headers], body.toString()])).toEqual([[headers, "body"]]);
  });

  test.each([
    ["HTTP/1.1 400 Bad Request\r\n", "no STOMP frame begins"],
    ["\x16\x03\x01\x02\x00\x01", undefined],
    ["message\na:b\n\n\0", 'no STOMP frame begins with "message"'],
    ["M".repeat(17), "no STOMP frame begins so"],
    ["MESSAGE\nno colon\n\n\0", '"no colon" is no header of MESSAGE'],
    ["MESSAGE\na:\\t\n\n\0", "is no header of MESSAGE"],
    ["MESSAGE\na:\\\n\n\0", "is no header of MESSAGE"],
    ["MESSAGE\na:b\0\n\n\0", "a NUL among the headers of MESSAGE"],
    ["MESSAGE\ncontent-length:-1\n\n\0", "content-length -1"],
    ["MESSAGE\ncontent-length:1e3\n\n\0", "content-length 1e3"],
    ["MESSAGE\ncontent-length:1\n\nab\0", "longer than its content-length"],
  ])("%j is no STOMP: %s", (bytes, fault) => {
    const found = decode(bytes);
    expect(found.frames).toEqual([]);
    if (fault === undefined) expect(found.fault).toBeUndefined();
    else expect(found.fault).toContain(fault);
    // Nothing is read after a fault.
    if (fault !== undefined) expect(decode(`${bytes}\nMESSAGE\n\n\0`).frames).toEqual([]);
  });

  test("leaves out what is too much and goes on with the next frame", () => {
    const limits = { lineBytes: 100, headers: 4, bodyBytes: 1_000 };
    const after = "MESSAGE\na:b\n\nnext\0";
    const headers = Array.from({ length: 5_000 }, (_, i) => `h${i}:v\n`).join("");
    const cases = [
      [`MESSAGE\nx:${"y".repeat(200)}\na:b\n\nbody\0`, true, 4, 4],
      [`MESSAGE\n${headers}content-length:2\n\n\0\0\0`, true, 2, 2],
      [`MESSAGE\ncontent-length:5000\n\n${"\0".repeat(5_000)}\0`, false, 5_000, 1_000],
      [`MESSAGE\n\n${"z".repeat(5_000)}\0`, false, 5_000, 1_000],
    ] as const;
    for (const [bytes, wasCut, sent, kept] of cases) {
      const { frames, fault } = decode(bytes + after, limits, [50, 150, 1_000]);
      expect(fault).toBeUndefined();
      expect(frames.map(({ isCut, bodyBytes, body }) => [isCut, bodyBytes, body.length])).toEqual([
        [wasCut, sent, kept],
        [false, 4, 4],
      ]);
    }
  });

  test("keeps the beginning of a body that is too long", () => {
    const body = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i % 251));
    for (const bytes of [encodeFrame("MESSAGE", [], body), Buffer.from(`MESSAGE\n\n${"z".repeat(100_000)}\0`)]) {
      const { frames } = decode(bytes, { bodyBytes: 50_000 }, [10, 30_000, 60_000]);
      expect(frames.map(({ bodyBytes }) => bodyBytes)).toEqual([100_000]);
      const [frame] = frames;
      expect(frame?.body.equals(bytes.subarray(bytes.indexOf("\n\n") + 2).subarray(0, 16_384))).toBe(true);
    }
  });

  test("takes a large body in small pieces in linear time", () => {
    const body = Buffer.alloc(1 << 20, 0);
    const bytes = encodeFrame("MESSAGE", [["a", "b"]], body);
    const decoder = new StompDecoder();
    let got: StompFrame | undefined;
    for (let at = 0; at < bytes.length; at += 100) {
      decoder.push(bytes.subarray(at, at + 100));
      got ??= decoder.next();
    }
    expect(got?.body.equals(body)).toBe(true);
  });
});
