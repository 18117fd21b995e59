/** TR-369 "UNIX Domain Socket Binding": frames of `_USP`, a length and TLVs. */
import fc from "fast-check";
import { encodeFrame, FrameError, FrameReader, TlvType, type Tlv } from "../../src/mtp/uds-codec.ts";

const MAX = 4096;

describe("a frame of the Unix domain socket MTP", () => {
  it("is the sync word, the length of the rest, and a TLV of type, length and value", () => {
    expect(encodeFrame(TlvType.handshake, Buffer.from("os::02AA00-1")).toString("hex")).toBe(
      "5f555350" + "00000011" + "01" + "0000000c" + Buffer.from("os::02AA00-1").toString("hex"),
    );
  });

  it("may hold several TLVs, unknown ones and none at all", () => {
    const body = [tlv(9, "?"), tlv(TlvType.record, "one"), tlv(TlvType.record, "")];
    expect(read(frame(...body))).toEqual([
      [
        [9, "?"],
        [3, "one"],
        [3, ""],
      ],
    ]);
    expect(read(frame())).toEqual([[]]);
  });

  it.each([
    ["a wrong sync word", Buffer.from("5f55535100000000", "hex")],
    ["a sync word that is wrong from its first byte, as soon as that is there", Buffer.from([0x00])],
    ["more bytes than are taken", Buffer.from(`5f555350${(MAX + 1).toString(16).padStart(8, "0")}`, "hex")],
    ["the greatest length there is", Buffer.from("5f555350ffffffff", "hex")],
    ["a TLV's head beyond its frame", frame(Buffer.from([3, 0, 0, 0]))],
    ["a TLV longer than its frame", frame(Buffer.from([3, 0, 0, 0, 2, 7]))],
    ["a TLV of the greatest length", frame(Buffer.from([3, 255, 255, 255, 255, 7]))],
    ["257 TLVs", frame(...Array.from({ length: 257 }, () => tlv(7, "")))],
  ])("is refused for %s", (_what, bytes) => {
    expect(() => read(bytes)).toThrow(FrameError);
  });

  it("waits for the rest of a frame that is long in coming", () => {
    const reader = new FrameReader(MAX);
    const whole = encodeFrame(TlvType.record, Buffer.alloc(1000, 1));
    for (const byte of whole.subarray(0, -1)) {
      reader.push(Buffer.of(byte));
      expect(reader.next()).toBeUndefined();
    }
    reader.push(whole.subarray(-1));
    expect(reader.next()?.[0]?.value).toHaveLength(1000);
    expect(reader.next()).toBeUndefined();
  });

  it("comes out as it went in, however the stream is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.tuple(fc.nat(255), fc.uint8Array({ maxLength: 300 })), { maxLength: 6 }), {
          maxLength: 8,
        }),
        fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 40 }),
        (frames, cuts) => {
          const stream = Buffer.concat(
            frames.map((tlvs) => frame(...tlvs.map(([type, value]) => tlv(type, Buffer.from(value))))),
          );
          const reader = new FrameReader(MAX);
          const got: Tlv[][] = [];
          for (let at = 0, turn = 0; at < stream.length; turn++) {
            const length = cuts[turn % cuts.length] as number;
            reader.push(stream.subarray(at, at + length));
            at += length;
            for (let next = reader.next(); next; next = reader.next()) got.push(next);
          }
          expect(got.map((tlvs) => tlvs.map(({ type, value }) => [type, [...value]]))).toEqual(
            frames.map((tlvs) => tlvs.map(([type, value]) => [type, [...value]])),
          );
        },
      ),
    );
  });

  it("gives frames or one FrameError for any bytes, and never anything else", () => {
    const flipped = fc
      .tuple(fc.uint8Array({ maxLength: 200 }), fc.array(fc.tuple(fc.nat(220), fc.nat(255)), { maxLength: 4 }))
      .map(([value, flips]) => {
        const bytes = encodeFrame(TlvType.record, value);
        for (const [at, mask] of flips) if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ mask;
        return bytes;
      });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), flipped), (bytes) => {
        const reader = new FrameReader(MAX);
        reader.push(bytes);
        let taken = 0;
        try {
          for (let next = reader.next(); next; next = reader.next())
            taken += 8 + next.reduce((sum, { value }) => sum + 5 + value.length, 0);
          expect(taken).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(FrameError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});

function tlv(type: number, value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  const head = Buffer.alloc(5);
  head[0] = type;
  head.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([head, bytes]);
}

function frame(...tlvs: readonly Buffer[]): Buffer {
  const body = Buffer.concat(tlvs);
  const head = Buffer.from("5f55535000000000", "hex");
  head.writeUInt32BE(body.length, 4);
  return Buffer.concat([head, body]);
}

function read(bytes: Uint8Array): (readonly [number, string])[][] {
  const reader = new FrameReader(MAX);
  reader.push(bytes);
  const frames = [];
  for (let next = reader.next(); next; next = reader.next())
    frames.push(next.map(({ type, value }) => [type, Buffer.from(value).toString()] as const));
  return frames;
}
