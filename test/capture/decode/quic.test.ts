import fc from "fast-check";
import {
  CryptoStream,
  eachCrypto,
  initialHeaders,
  initialKeys,
  openInitial,
} from "../../../src/capture/decode/quic.ts";
import { HELLO_LIMIT, readHello } from "../../../src/capture/decode/tls.ts";
import { crypto, hello, initial } from "../../support/hello.ts";
import { CONNECTION_ID, CRYPTO_FRAME, INITIAL_V1, INITIAL_V2 } from "../../support/quic-vectors.ts";

/** What the datagram's Initial packets hold of the handshake, by their own ids' keys. */
function handshakeIn(...datagrams: readonly Uint8Array[]): Uint8Array {
  const stream = new CryptoStream();
  for (const datagram of datagrams)
    for (const header of initialHeaders(datagram)) {
      const keys = initialKeys(header.version, header.destinationId);
      const plain = keys && openInitial(datagram, header, keys);
      if (plain) eachCrypto(plain, (offset, data) => stream.take(offset, data));
    }
  return stream.whole;
}

const id = Buffer.from("0011223344556677", "hex");

describe("the keys of a client's Initial packets", () => {
  test("are those of RFC 9001, Appendix A.1", () => {
    const keys = initialKeys(1, CONNECTION_ID);
    expect(keys?.key.toString("hex")).toBe("1f369613dd76d5467730efcbe3b1a22d");
    expect(keys?.iv.toString("hex")).toBe("fa044b2f42a3fd3b46fb255c");
    expect(keys?.headerProtection.toString("hex")).toBe("9f50449e04a0e810283a1e9933adedd2");
  });

  test("are those of RFC 9369, Appendix A.1", () => {
    const keys = initialKeys(0x6b3343cf, CONNECTION_ID);
    expect(keys?.key.toString("hex")).toBe("8b1a0bc121284290a29e0971b5cd045d");
    expect(keys?.iv.toString("hex")).toBe("91f73e2351d8fa91660e909f");
    expect(keys?.headerProtection.toString("hex")).toBe("45b95e15235d6f45a6b19cbcb0294ba9");
  });

  test("are not known of other versions", () => {
    expect(initialKeys(2, CONNECTION_ID)).toBeUndefined();
    const other = Buffer.from(INITIAL_V1);
    other.writeUInt32BE(0x0a0a0a0a, 1);
    expect(initialHeaders(other)).toEqual([]);
  });
});

describe("a QUIC Initial packet", () => {
  test.each([
    ["RFC 9001, Appendix A.2", INITIAL_V1],
    ["RFC 9369, Appendix A.2", INITIAL_V2],
  ])("of %s is opened to its CRYPTO frame, and names the server", (_, packet) => {
    expect(packet).toHaveLength(1200);
    const [header] = initialHeaders(packet);
    const plain = openInitial(packet, header!, initialKeys(header!.version, header!.destinationId)!);
    expect(plain?.subarray(0, CRYPTO_FRAME.length)).toEqual(CRYPTO_FRAME);
    expect(plain).toHaveLength(1162);
    expect(readHello(handshakeIn(packet))).toEqual({ name: "example.com", ech: false, whole: true });
  });

  test.each([1, 2] as const)("of version %i with every length of packet number is opened", (version) => {
    const message = hello({ name: "cam.example" });
    for (const numberBytes of [1, 2, 3, 4]) {
      const frames = [crypto(message, 0, message.length)];
      const packet = initial(frames, { version, destinationId: id, numberBytes, number: 200, token: Buffer.alloc(70) });
      expect(readHello(handshakeIn(packet))?.name).toBe("cam.example");
    }
  });

  test("that is one of three gives the name when the last has come, whatever the order of packets and frames", () => {
    const message = hello({ name: "cam.example", share: 2400, ech: true });
    const cut = [0, 3, 40, 700, 1190, 1300, 2300, message.length];
    const frames = cut.slice(1).map((to, i) => crypto(message, cut[i] as number, to));
    const ping = Buffer.from([1]);
    const padding = Buffer.alloc(30);
    const packets = [
      initial([padding, frames[6]!, ping, frames[3]!, padding, frames[1]!], { destinationId: id, number: 0 }),
      initial([frames[5]!, padding, ping], { destinationId: id, number: 1 }),
      initial([frames[4]!, frames[2]!, padding, frames[0]!], { destinationId: id, number: 2 }),
    ];
    for (const order of [
      [0, 1, 2],
      [2, 0, 1],
      [1, 2, 0],
    ]) {
      const arriving = order.map((index) => packets[index]!);
      expect(readHello(handshakeIn(...arriving.slice(0, 2)))?.whole ?? false).toBe(false);
      expect(readHello(handshakeIn(...arriving))).toEqual({ name: "cam.example", ech: true, whole: true });
      expect(readHello(handshakeIn(...arriving, ...arriving))?.name).toBe("cam.example");
    }
  });

  test("behind another in the same datagram, and behind an acknowledgement, is read", () => {
    const message = hello({ name: "cam.example" });
    const ack = Buffer.from([3, 5, 0, 1, 0, 1, 1, 1, 1, 1]);
    const first = initial([crypto(message, 0, 40)], { destinationId: id, number: 0, bytes: 200 });
    const second = initial([ack, crypto(message, 40, message.length)], { destinationId: id, number: 1 });
    expect(readHello(handshakeIn(Buffer.concat([first, second])))?.name).toBe("cam.example");
  });

  test("that was damaged, or belongs to other keys, is not opened", () => {
    const [header] = initialHeaders(INITIAL_V1);
    expect(openInitial(INITIAL_V1, header!, initialKeys(1, id)!)).toBeUndefined();
    for (const at of [1199, 600, 30, 17]) {
      const bad = Buffer.from(INITIAL_V1);
      bad[at] = (bad[at] as number) ^ 1;
      expect(handshakeIn(bad)).toHaveLength(0);
    }
  });

  test("that the capture cut gives nothing", () => {
    for (let length = 0; length < 1200; length += 7)
      expect(handshakeIn(INITIAL_V1.subarray(0, length))).toHaveLength(0);
  });

  test("in whose header any byte lies is read to its end without an error", () => {
    for (const good of [INITIAL_V1, INITIAL_V2])
      for (let at = 0; at < 40; at++)
        for (const value of [0, 1, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xff]) {
          const bad = Buffer.from(good);
          bad[at] = value;
          expect(() => handshakeIn(bad)).not.toThrow();
        }
  });

  test("with frames of random bytes is read to its end without an error, and keeps no more than its bound", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 1100 }), fc.boolean(), (bytes, isSealed) => {
        const datagram = isSealed ? initial([bytes], { destinationId: id }) : bytes;
        expect(handshakeIn(datagram).length).toBeLessThanOrEqual(HELLO_LIMIT);
      }),
      { numRuns: 500 },
    );
  });

  test("whose CRYPTO frames lie far out, overlap or are many is bounded", () => {
    const stream = new CryptoStream();
    stream.take(2 ** 52, Buffer.alloc(10));
    stream.take(HELLO_LIMIT - 2, Buffer.alloc(1000, 1));
    stream.take(0, Buffer.alloc(HELLO_LIMIT - 5, 2));
    expect(stream.whole).toHaveLength(HELLO_LIMIT - 5);
    stream.take(HELLO_LIMIT - 6, Buffer.alloc(4, 3));
    expect(stream.whole).toHaveLength(HELLO_LIMIT);
    let taken = 0;
    eachCrypto(Buffer.from("0600".repeat(2000) + "00".repeat(1000), "hex"), () => taken++);
    expect(taken).toBeLessThanOrEqual(512);
  });
});
