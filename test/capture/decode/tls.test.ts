import { connect as tlsConnect } from "node:tls";
import { createServer, type AddressInfo, type Socket } from "node:net";
import fc from "fast-check";
import { beginsHello, handshakeOf, HELLO_LIMIT, readHello } from "../../../src/capture/decode/tls.ts";
import { hello, helloOf, records, serverName } from "../../support/hello.ts";

const read = (stream: Uint8Array) => {
  const handshake = handshakeOf(stream);
  return handshake && readHello(handshake);
};

describe("a TLS ClientHello", () => {
  test("that Node's own client sends tells the name it asks for", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const stream = await new Promise<Buffer>((resolve) => {
      server.once("connection", (socket: Socket) =>
        socket.once("data", (data: Buffer) => {
          resolve(data);
          socket.destroy();
        }),
      );
      const { port } = server.address() as AddressInfo;
      const client = tlsConnect({ port, host: "127.0.0.1", servername: "Cam.Example.COM" });
      client.on("error", () => undefined);
    });
    server.close();
    expect(read(stream)).toEqual({ name: "cam.example.com", ech: false, whole: true });
  });

  test("with Encrypted Client Hello says so, and the name in front", () => {
    expect(read(records(hello({ name: "front.example", ech: true })))).toEqual({
      name: "front.example",
      ech: true,
      whole: true,
    });
  });

  test("without a name has none", () => {
    expect(read(records(hello()))).toEqual({ name: "", ech: false, whole: true });
    expect(read(records(hello({ sessionId: 0 })))).toEqual({ name: "", ech: false, whole: true });
  });

  test("in many records, as clients send it that hide from filters, is read as a whole", () => {
    expect(read(records(hello({ name: "cam.example" }), 9))).toMatchObject({ name: "cam.example", whole: true });
  });

  test("of which only the beginning is there tells the name once it has come, and that more follows", () => {
    const stream = records(hello({ name: "cam.example", share: 1200 }));
    const name = stream.indexOf("cam.example") + "cam.example".length;
    for (let length = 6; length < stream.length; length++) {
      const found = read(stream.subarray(0, length));
      expect([length, found?.whole, found?.name]).toEqual([length, false, length < name ? "" : "cam.example"]);
    }
  });

  test.each([
    ["a control character", "a\u0007b.example"],
    ["a space", "a b.example"],
    ["an empty label", "a..example"],
    ["only dots", "..."],
    ["an address", "192.0.2.7"],
    ["an IPv6 address", "[2001:db8::1]"],
    ["markup", "<b>.example"],
    ["bytes above ASCII", "caf\u00e9.example"],
    ["too many characters", `${"a".repeat(63)}.`.repeat(4) + "example"],
    ["a label of 64", "a".repeat(64)],
    ["nothing", ""],
  ])("whose name is %s names nobody", (_, name) => {
    expect(read(records(hello({ name })))).toMatchObject({ name: "", whole: true });
  });

  test("with a final dot gives the name without it", () => {
    expect(read(records(hello({ name: "cam.example." })))?.name).toBe("cam.example");
  });

  test("with two names gives the first, as servers take it", () => {
    const both = helloOf(Buffer.concat([serverName("one.example"), serverName("two.example")]));
    expect(read(records(both))?.name).toBe("one.example");
  });

  test("is no other protocol's beginning", () => {
    for (const text of ["GET / HTTP/1.1\r\n", "SSH-2.0-OpenSSH", "\x16\x03"])
      expect([text, read(Buffer.from(text, "latin1"))]).toEqual([text, undefined]);
    expect(beginsHello(Buffer.from([22, 3, 1, 0, 80, 2]))).toBe(false);
    // A ServerHello.
    expect(read(records(Buffer.concat([Buffer.from([2]), hello().subarray(1)])))).toBeUndefined();
  });

  test("that says to be longer than any is refused", () => {
    const long = hello({ name: "cam.example" });
    long.writeUIntBE(HELLO_LIMIT, 1, 3);
    expect(read(records(long))).toBeUndefined();
  });

  test("in which any length lies is read to its end without an error", () => {
    const good = records(hello({ name: "cam.example", ech: true }));
    for (let at = 0; at < good.length; at++)
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const bad = Buffer.from(good);
        bad[at] = value;
        expect(() => read(bad)).not.toThrow();
      }
  });

  test("of random bytes is read to its end without an error", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.boolean(), (bytes, isTls) => {
        const stream = isTls ? records(Buffer.concat([Buffer.from([1, 0, 4, 0]), bytes])) : bytes;
        const found = read(stream);
        expect(found === undefined || typeof found.name === "string").toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});
