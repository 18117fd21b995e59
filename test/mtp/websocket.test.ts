/** WebSocket as TR-369 binds it (R-WS.n), both ends against other implementations: the bare `ws` package and raw sockets. */
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket, WebSocketServer } from "ws";
import type { MtpError } from "../../src/mtp/error.ts";
import type { TlsOptions } from "../../src/mtp/tls.ts";
import { connectWebSocket, type WebSocketClientOptions } from "../../src/mtp/websocket-client.ts";
import { endpointIdIn, readExtensions, withEndpointId } from "../../src/mtp/websocket-handshake.ts";
import { WebSocketSessions } from "../../src/mtp/websocket-sessions.ts";
import type { WebSocketLink } from "../../src/mtp/websocket.ts";
import { authority } from "../support/certificates.ts";
import { eventually, pause } from "../support/eventually.ts";
import { startProxy, startServer, type RunningServer } from "../support/websocket.ts";

const never = new AbortController().signal;
const ids = { endpointId: "self::client", peer: "self::server" };
const dial = (port: number, options: Partial<WebSocketClientOptions> = {}) =>
  connectWebSocket({ url: `ws://127.0.0.1:${port}/usp`, ...ids, ...options }, never);

const stops: (() => unknown)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function listening(options: Parameters<typeof startServer>[0] = {}): Promise<RunningServer> {
  const server = await startServer(options);
  stops.push(() => server.stop());
  return server;
}

/** The `ws` package as a client that offers what it is told. */
function bare(port: number, { path = "/usp", protocols = ["v1.usp"], headers = {} } = {}): WebSocket {
  const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, protocols, { headers, perMessageDeflate: false });
  stops.push(() => socket.terminate());
  socket.on("error", () => undefined);
  return socket;
}

/** What an HTTP client gets: status and body. */
async function refusal(socket: WebSocket): Promise<{ status: number; body: string }> {
  const [, response] = (await once(socket, "unexpected-response")) as [unknown, IncomingMessage];
  let body = "";
  for await (const chunk of response) body += String(chunk);
  return { status: response.statusCode ?? 0, body };
}

async function open(port: number, options?: Parameters<typeof bare>[1]): Promise<WebSocket> {
  const socket = bare(port, options);
  await once(socket, "open");
  return socket;
}

async function closeCode(socket: WebSocket): Promise<number> {
  const [code] = (await once(socket, "close")) as [number, Buffer];
  return code;
}

async function first(link: WebSocketLink): Promise<string> {
  for await (const { bytes } of link.received) return Buffer.from(bytes).toString();
  throw new Error("the link ended");
}

const take = async (link: WebSocketLink) => {
  for await (const _ of link.received);
};

function raw(port: number): Socket {
  const socket = connectTcp({ host: "127.0.0.1", port });
  stops.push(() => socket.destroy());
  socket.on("error", () => undefined);
  return socket;
}

async function readAll(socket: Socket): Promise<string> {
  let text = "";
  for await (const chunk of socket) text += String(chunk);
  return text;
}

describe("the server's handshake", () => {
  test.each([
    ["no subprotocol", []],
    ["another subprotocol", ["v2.usp", "mqtt"]],
  ])("refuses who offers %s, and says what is needed (R-WS.12a)", async (_, protocols) => {
    const server = await listening();
    const { status, body } = await refusal(bare(server.port, { protocols }));
    expect(status).toBe(400);
    expect(body).toContain("subprotocol v1.usp");
    expect(server.accepted).toHaveLength(0);
  });

  test("takes v1.usp among others, and answers with that one (R-WS.12)", async () => {
    const server = await listening();
    expect((await open(server.port, { protocols: ["mqtt", "v1.usp"] })).protocol).toBe("v1.usp");
  });

  test("refuses another path, and who does not come by WebSocket at all", async () => {
    const server = await listening();
    expect((await refusal(bare(server.port, { path: "/other" }))).status).toBe(404);
    const response = await fetch(`http://127.0.0.1:${server.port}/usp`);
    expect(response.status).toBe(426);
    expect(await response.text()).toContain("WebSocket");
  });

  test.each([
    ["/usp?eid=self::one", "self::one"],
    ["/usp?eid=self%3A%3Aone", "self::one"],
    ["/usp?x=1&eid=os::012345-a%2520b", "os::012345-a%20b"],
    ["/usp?eid=os::012345-a%20b", "os::012345-a%20b"],
    ["/usp", undefined],
  ])("knows who comes to %s (R-WS.10b, R-WS.10c)", async (path, peer) => {
    const server = await listening();
    bare(server.port, { path });
    expect((await server.next()).peer).toBe(peer);
  });

  test.each([
    ["no endpoint id", "/usp?eid=hello", 400],
    ["its own", "/usp?eid=self::server", 403],
  ])("refuses who gives %s", async (_, path, status) => {
    const server = await listening();
    expect((await refusal(bare(server.port, { path }))).status).toBe(status);
  });

  test("answers the older extension where it is offered, and takes the id from it (R-WS.11a)", async () => {
    const server = await listening();
    const socket = bare(server.port, { headers: { "Sec-WebSocket-Extensions": 'bbf-usp-protocol; eid="self::old"' } });
    let answer: string | undefined;
    socket.on("upgrade", ({ headers }) => {
      answer = headers["sec-websocket-extensions"];
      delete headers["sec-websocket-extensions"];
    });
    await once(socket, "open");
    expect(answer).toBe('bbf-usp-protocol; eid="self::server"');
    expect((await server.next()).peer).toBe("self::old");
  });

  test("says nothing of it to who offers none, or only others", async () => {
    const server = await listening();
    const socket = bare(server.port, { headers: { "Sec-WebSocket-Extensions": "permessage-deflate" } });
    await once(socket, "open");
    expect(socket.extensions).toBe("");
  });
});

describe("the client's handshake", () => {
  /** The `ws` package as a server. */
  async function other(options: ConstructorParameters<typeof WebSocketServer>[0] = {}, headers: string[] = []) {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, ...options });
    stops.push(() => {
      for (const client of server.clients) client.terminate();
      server.close();
    });
    server.on("headers", (all) => all.push(...headers));
    await once(server, "listening");
    return { server, port: (server.address() as AddressInfo).port };
  }

  test("says who it is in the URL, and in the older extension", async () => {
    const { server, port } = await other();
    const asked = once(server, "connection") as Promise<[WebSocket, IncomingMessage]>;
    const { link } = await dial(port, { endpointId: "os::012345-a%20b" });
    const [, request] = await asked;
    expect(request.url).toBe("/usp?eid=os::012345-a%2520b");
    expect(request.headers).toMatchObject({
      "sec-websocket-protocol": "v1.usp",
      "sec-websocket-extensions": 'bbf-usp-protocol; eid="os::012345-a%20b"',
    });
    await link.close();
  });

  test("does not use a session without the subprotocol (R-WS.12)", async () => {
    const { port } = await other({ handleProtocols: () => false });
    await expect(dial(port)).rejects.toMatchObject({
      kind: "rejected",
      message: expect.stringContaining("subprotocol"),
    });
  });

  test("takes the older extension in the answer, as OB-USP-A adds it to every one (R-WS.11a)", async () => {
    const { port } = await other({}, ['Sec-WebSocket-Extensions: bbf-usp-protocol; eid="self::server"']);
    const connection = await dial(port);
    expect(connection.peer).toBe("self::server");
    await connection.link.close();
  });

  test("does not use a server that says it is somebody else", async () => {
    const { port } = await other({}, ['Sec-WebSocket-Extensions: bbf-usp-protocol; eid="self::thief"']);
    await expect(dial(port)).rejects.toMatchObject({
      message: expect.stringContaining("self::thief, not self::server"),
    });
  });

  test("does not take an extension that it did not offer", async () => {
    const { port } = await other({}, ["Sec-WebSocket-Extensions: permessage-deflate"]);
    await expect(dial(port)).rejects.toMatchObject({ kind: "rejected" });
  });

  test("says what a server answers that has no endpoint there", async () => {
    const server = await listening();
    const url = `ws://127.0.0.1:${server.port}/elsewhere`;
    await expect(connectWebSocket({ url, ...ids }, never)).rejects.toMatchObject({
      kind: "rejected",
      message: `127.0.0.1:${server.port}: it answers 404 Not Found instead of a WebSocket`,
    });
  });

  test.each(["http://127.0.0.1/", "usp", "ws://"])("says that %s is no address", async (url) => {
    await expect(connectWebSocket({ url, ...ids }, never)).rejects.toMatchObject({ kind: "address" });
  });

  test("gives up on a server that never answers, or is told to", async () => {
    const silent = createServer((socket) => stops.push(() => socket.destroy()));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    stops.push(() => silent.close());
    const { port } = silent.address() as AddressInfo;
    await expect(dial(port, { connectTimeoutMs: 50 })).rejects.toMatchObject({ kind: "unreachable" });
    const stop = new AbortController();
    const attempt = connectWebSocket({ url: `ws://127.0.0.1:${port}/usp`, ...ids }, stop.signal);
    setTimeout(() => stop.abort(), 20);
    await expect(attempt).rejects.toMatchObject({ kind: "aborted" });
  });
});

describe("Records and frames", () => {
  test("fragments are put together, with a Ping between them (R-WS.14b)", async () => {
    const server = await listening();
    const socket = await open(server.port);
    const { link } = await server.next();
    const pong = once(socket, "pong");
    socket.send("frag", { binary: true, fin: false });
    socket.ping("between");
    socket.send("men", { binary: true, fin: false });
    socket.send("ted", { binary: true, fin: true });
    expect(await first(link)).toBe("fragmented");
    expect(String((await pong)[0])).toBe("between");
  });

  test.each<[string, (socket: WebSocket, link: WebSocketLink) => void]>([
    ["a text frame", (socket) => socket.send("text")],
    ["a text frame that is not even UTF-8", (socket) => socket.send(Buffer.from([0xff, 0xfe]), { binary: false })],
    ["what the agent calls no Record", (_, link) => link.refuse("a tag of field 0")],
  ])("%s ends the session with 1003 (R-WS.16)", async (_, send) => {
    const server = await listening();
    const socket = await open(server.port);
    const closed = closeCode(socket);
    const { link } = await server.next();
    send(socket, link);
    expect(await closed).toBe(1003);
    await expect(take(link)).rejects.toMatchObject({ kind: "rejected" });
    await expect(link.send(Buffer.from("x"))).rejects.toMatchObject({ kind: "rejected" });
  });

  test("a reason that is longer than a Close frame is cut between characters", async () => {
    const server = await listening();
    const socket = await open(server.port);
    const closed = once(socket, "close") as Promise<[number, Buffer]>;
    (await server.next()).link.refuse("é".repeat(200));
    const [code, reason] = await closed;
    expect([code, reason.toString()]).toEqual([1003, "é".repeat(61)]);
  });

  test("a Record beyond the bound ends the session with 1009, and is never held", async () => {
    const server = await listening({ limits: { recordBytes: 10_000 } });
    const socket = await open(server.port);
    const closed = closeCode(socket);
    const { link } = await server.next();
    socket.send(Buffer.alloc(10_000_000));
    expect(await closed).toBe(1009);
    await expect(take(link)).rejects.toMatchObject({ kind: "closed" });
  });

  test("nobody is asked to compress", async () => {
    const server = await listening();
    const socket = new WebSocket(`ws://127.0.0.1:${server.port}/usp`, ["v1.usp"], { perMessageDeflate: true });
    await once(socket, "open");
    expect(socket.extensions).toBe("");
    socket.terminate();
  });

  test("a receiver that takes nothing holds the sender, in bounded memory, and loses nothing", async () => {
    const server = await listening({ limits: { incomingRecords: 50 } });
    const socket = await open(server.port);
    const { link } = await server.next();
    const count = 30_000;
    for (let i = 0; i < count; i++) socket.send(Buffer.from(`${i} ${"x".repeat(1_000)}`));
    await eventually(
      () => socket.bufferedAmount,
      (bytes) => bytes > 0,
    );
    await pause(200);
    // Most of the 30 MB waits at the sender.
    expect(socket.bufferedAmount).toBeGreaterThan(15_000_000);
    let next = 0;
    for await (const { bytes } of link.received) {
      expect(Buffer.from(bytes).toString().split(" ")[0]).toBe(String(next));
      if (++next === count) break;
    }
  });
});

describe("keeping a session alive", () => {
  test("each end sends Pings and answers them (R-WS.17)", async () => {
    const server = await listening({ keepAliveMs: 20 });
    const socket = await open(server.port);
    await once(socket, "ping");
    socket.ping("are you there");
    expect(String((await once(socket, "pong"))[0])).toBe("are you there");
  });

  test("a peer that is gone without a word is noticed, at both ends", async () => {
    const server = await listening({ keepAliveMs: 50, pongMs: 100 });
    const proxy = await startProxy(server.port);
    stops.push(() => proxy.stop());
    const { link } = await dial(proxy.port, { keepAliveMs: 50, pongMs: 100 });
    const { link: far } = await server.next();
    const ends = [link, far].map((each) => expect(take(each)).rejects.toMatchObject({ kind: "closed" }));
    proxy.freeze();
    await Promise.all(ends);
    await expect(link.send(Buffer.from("x"))).rejects.toMatchObject({
      message: expect.stringContaining("does not answer a Ping"),
    });
  });

  test("one that answers is kept, whatever the pause between Records", async () => {
    const server = await listening({ keepAliveMs: 20, pongMs: 40 });
    const socket = await open(server.port);
    const { link } = await server.next();
    let pings = 0;
    socket.on("ping", () => pings++);
    await eventually(
      () => pings,
      (count) => count > 10,
    );
    expect(link.isOpen).toBe(true);
  });

  test("a reader that takes nothing is dropped, though it sends", async () => {
    const limits = { outgoingBytes: 64 << 20, recordBytes: 1 << 14 };
    const server = await listening({ keepAliveMs: 50, pongMs: 100, limits });
    const socket = await open(server.port);
    const { link } = await server.next();
    const ended = expect(take(link)).rejects.toMatchObject({ message: expect.stringContaining("takes nothing") });
    socket.pause();
    const timer = setInterval(() => socket.send(Buffer.from("a Record")), 10);
    stops.push(() => clearInterval(timer));
    const sent = await Promise.allSettled(Array.from({ length: 20 }, () => link.send(Buffer.alloc(1 << 20))));
    expect(sent.some(({ status }) => status === "rejected")).toBe(true);
    await ended;
  }, 15_000);

  test("what is more than may wait is refused at once, not kept", async () => {
    const server = await listening({ limits: { outgoingRecords: 10 } });
    const socket = await open(server.port);
    const { link } = await server.next();
    socket.pause();
    const results = await Promise.allSettled(
      Array.from({ length: 40 }, () => Promise.race([link.send(Buffer.alloc(1 << 20)), pause(50)])),
    );
    const reasons = results.flatMap((each) => (each.status === "rejected" ? [(each.reason as MtpError).kind] : []));
    expect(reasons.length).toBeGreaterThan(20);
    expect(new Set(reasons)).toEqual(new Set(["congested"]));
  });
});

describe("at most one session with an endpoint (R-WS.4)", () => {
  test("a second one is refused while the first lives", async () => {
    const server = await listening();
    const { link } = await dial(server.port);
    await expect(dial(server.port)).rejects.toMatchObject({ message: expect.stringContaining("409 Conflict") });
    expect(link.isOpen).toBe(true);
    expect((await dial(server.port, { endpointId: "self::another" })).link.isOpen).toBe(true);
  });

  test("one that was closed, or whose other end is gone, gives way", async () => {
    const server = await listening();
    const one = await dial(server.port);
    await one.link.close();
    const proxy = await startProxy(server.port);
    stops.push(() => proxy.stop());
    await dial(proxy.port);
    const [, frozen] = [await server.next(), await server.next()];
    proxy.freeze();
    const last = await dial(server.port);
    expect([last.link.isOpen, frozen.link.isOpen]).toEqual([true, false]);
  }, 15_000);
});

describe("strangers at the door", () => {
  test("headers without end, and what is no HTTP, are cut off", async () => {
    const server = await listening();
    const flood = raw(server.port);
    flood.write(`GET /usp HTTP/1.1\r\n${"X-Header: value\r\n".repeat(1_000)}`);
    expect(await readAll(flood)).toContain("431 ");
    const noise = raw(server.port);
    noise.write(Buffer.from([0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]));
    expect(await readAll(noise)).toContain("400 ");
  });

  test("connections that say nothing, or too slowly, end with the time for a handshake", async () => {
    const server = await listening({ handshakeMs: 150 });
    const [silent, slow] = [raw(server.port), raw(server.port)];
    slow.write("GET /usp HTTP/1.1\r\n");
    const drip = setInterval(() => slow.write("X: y\r\n"), 30);
    stops.push(() => clearInterval(drip));
    await Promise.all([readAll(silent), readAll(slow)]);
    // And one that came in time stays.
    const socket = await open(server.port);
    await pause(200);
    expect(socket.readyState).toBe(WebSocket.OPEN);
  });

  test("there are never more connections than bounded, overall and of one address; those that end make room", async () => {
    const server = await listening({ maxConnectionsOfAddress: 3, maxConnections: 5 });
    const held = await Promise.all([1, 2, 3].map((at) => open(server.port, { path: `/usp?eid=self::${at}` })));
    const fourth = bare(server.port);
    await once(fourth, "error");
    expect(server.refused.at(-1)).toBe("127.0.0.1: 3 connections of it are open already");
    held[0]?.terminate();
    await eventually(() => open(server.port).catch(() => undefined), Boolean);
  });

  test("frames with flipped bits end their own session at most", async () => {
    const server = await listening({ maxConnectionsOfAddress: 1_000, maxConnections: 1_000 });
    const { link } = await dial(server.port);
    const good = await server.next();
    let seed = 1;
    const random = (below: number) => (seed = (seed * 48_271) % 2_147_483_647) % below;
    for (let round = 0; round < 100; round++) {
      const socket = await open(server.port);
      const bytes = Buffer.alloc(2 + random(40), 0x82);
      for (let at = 0; at < bytes.length; at++) bytes[at] = random(256);
      (socket as unknown as { _socket: Socket })._socket.write(bytes);
      (await server.next()).link.received[Symbol.asyncIterator]()
        .next()
        .catch(() => undefined);
      socket.terminate();
    }
    await link.send(Buffer.from("still here"));
    expect(await first(good.link)).toBe("still here");
  });

  test("a port that is taken is said in words", async () => {
    const server = await listening();
    await expect(startServer({ port: server.port })).rejects.toMatchObject({
      message: `can't listen on port ${server.port} of 127.0.0.1: another program listens there already`,
    });
  });

  test("stops listening when told, and leaves sessions to their owner", async () => {
    const server = await startServer();
    const { link } = await dial(server.port);
    const { link: far } = await server.next();
    const idle = raw(server.port);
    await once(idle, "connect");
    const stopped = server.stop();
    await Promise.all([stopped, readAll(idle), expect(take(link)).resolves.toBeUndefined()]);
    expect(far.isOpen).toBe(false);
    await expect(dial(server.port)).rejects.toMatchObject({ kind: "unreachable" });
  });
});

describe("TLS", () => {
  const folder = mkdtempSync(join(tmpdir(), "spin-websocket-tls-"));
  afterAll(() => rmSync(folder, { recursive: true }));
  const [own, strange] = [authority(folder, "own"), authority(folder, "strange")];
  const pem = (path: string) => readFileSync(path);
  const issued = (from: typeof own, name: string, options: Parameters<typeof own.issue>[1]) => {
    const { cert, key } = from.issue(name, options);
    return { cert: pem(cert), key: pem(key) };
  };
  const ca = pem(own.file);
  const server = issued(own, "server", { host: "127.0.0.1", endpointId: "self::server" });
  const client = issued(own, "client", { endpointId: "self::client" });
  const secure = (port: number, tls: TlsOptions) =>
    connectWebSocket({ url: `wss://127.0.0.1:${port}/usp`, ...ids, tls: { ca, ...tls } }, never);

  test("both ends get the other's chain, leaf first", async () => {
    const listener = await listening({ tls: { ...server, ca, clientCertificates: "require" } });
    const [connection, taken] = await Promise.all([secure(listener.port, client), listener.next()]);
    const leaf = (pemOf: Buffer) => new X509Certificate(pemOf).raw;
    expect(connection.tls?.chain[0]).toEqual(leaf(server.cert));
    expect(taken.tls?.chain[0]).toEqual(leaf(client.cert));
    await connection.link.close();
  });

  test("who shows no certificate gets in where none is required, and nowhere else", async () => {
    const asked = await listening({ tls: { ...server, ca, clientCertificates: "request" } });
    const [connection, taken] = await Promise.all([secure(asked.port, {}), asked.next()]);
    expect(taken.tls?.chain).toEqual([]);
    await connection.link.close();
    const strict = await listening({ tls: { ...server, ca, clientCertificates: "require" } });
    await expect(secure(strict.port, {})).rejects.toMatchObject({
      message: expect.stringContaining("does it want a client certificate"),
    });
    await eventually(
      () => strict.refused.join(),
      (why) => why.includes("shows no client certificate"),
    );
    expect(strict.accepted).toHaveLength(0);
  });

  test("who shows the certificate of another endpoint does not get in under this one's id (R-SEC.0a)", async () => {
    const listener = await listening({ tls: { ...server, ca, clientCertificates: "require" } });
    const evil = issued(own, "evil", { endpointId: "self::evil" });
    await expect(secure(listener.port, evil)).rejects.toMatchObject({
      message: expect.stringContaining("403 Forbidden"),
    });
    expect(listener.refused.join()).toContain("its certificate is of self::evil, not of self::client");
    expect((await secure(listener.port, client)).link.isOpen).toBe(true);
  });

  test("a session that a name alone opened gives way to one that TLS has verified, and to no other (R-WS.4)", async () => {
    const listener = await listening({ tls: { ...server, ca, clientCertificates: "request" } });
    const [nameless, taken] = await Promise.all([secure(listener.port, {}), listener.next()]);
    const over = take(taken.link);
    await expect(secure(listener.port, {})).rejects.toMatchObject({ message: expect.stringContaining("409 Conflict") });
    const [verified] = await Promise.all([secure(listener.port, client), listener.next()]);
    await expect(over).rejects.toMatchObject({ message: expect.stringContaining("took its place") });
    await nameless.link.closed;
    for (const other of [client, {}])
      await expect(secure(listener.port, other)).rejects.toMatchObject({
        message: expect.stringContaining("409 Conflict"),
      });
    expect(verified.link.isOpen).toBe(true);
  });

  test("where anybody makes certificates (trust on first use), one displaces nobody", async () => {
    const listener = await listening({ tls: { ...server, ca, clientCertificates: "request", anyIssuer: () => true } });
    const mine = issued(strange, "mine", { endpointId: "self::client" });
    const first = await secure(listener.port, mine);
    await expect(secure(listener.port, mine)).rejects.toMatchObject({
      message: expect.stringContaining("409 Conflict"),
    });
    expect(first.link.isOpen).toBe(true);
    expect((await secure(listener.port, client)).link.isOpen).toBe(true);
  });

  test("what is dialled over TLS does not wait for the end of a session that a name alone opened", async () => {
    const listener = await listening({ tls: { ...server, ca, clientCertificates: "request" } });
    const sessions = new WebSocketSessions();
    const nameless = (await secure(listener.port, {})).link;
    expect(await sessions.add("self::server", nameless, false)).toBe(true);
    await sessions.none("self::server", true, never);
    const other = (await secure(listener.port, client)).link;
    expect(await sessions.add("self::server", other, false)).toBe(false);
    expect([await sessions.add("self::server", other, true), nameless.isOpen]).toEqual([true, false]);
  });

  test.each<[string, () => TlsOptions, RegExp]>([
    ["of a strange authority", () => issued(strange, "strange", {}), /not trusted|not known/],
    ["that has expired", () => issued(own, "expired", { expired: true }), /expired/],
  ])("a client certificate %s is refused", async (_, certificate, why) => {
    const listener = await listening({ tls: { ...server, ca, clientCertificates: "request" } });
    await expect(secure(listener.port, certificate())).rejects.toBeInstanceOf(Error);
    await eventually(
      () => listener.refused.join(),
      (refused) => why.test(refused),
    );
  });

  test.each<[string, Parameters<typeof own.issue>[1], RegExp]>([
    ["another name and another endpoint", { host: "other.example", endpointId: "self::other" }, /for another name/],
    ["a past time", { host: "127.0.0.1", expired: true }, /expired/],
  ])("a server whose certificate is for %s is not used", async (name, options, why) => {
    const wrong = issued(own, name.replaceAll(" ", "-"), options);
    const listener = await listening({ tls: { ...wrong, ca, clientCertificates: "none" } });
    await expect(secure(listener.port, {})).rejects.toMatchObject({ kind: "tls", message: expect.stringMatching(why) });
  });

  test("a server is known by its endpoint id too (R-SEC.0a)", async () => {
    const named = issued(own, "named", { host: "other.example", endpointId: "self::server" });
    const listener = await listening({ tls: { ...named, ca, clientCertificates: "none" } });
    await (await secure(listener.port, {})).link.close();
  });

  test("handshakes that are never finished make room again", async () => {
    const tls = { ...server, ca, clientCertificates: "none" } as const;
    const listener = await listening({ tls, maxConnectionsOfAddress: 3, handshakeMs: 200 });
    const idle = [raw(listener.port), raw(listener.port)];
    await Promise.all(idle.map((socket) => once(socket, "connect")));
    idle[0]?.write(Buffer.from([0x16, 3, 1, 2, 0]));
    idle[1]?.write("GET / HTTP/1.1\r\n\r\n");
    await readAll(idle[1] as Socket);
    await (await secure(listener.port, {})).link.close();
    idle[0]?.destroy();
    const open = await Promise.all(
      ["self::a", "self::b", "self::c"].map((endpointId) =>
        connectWebSocket({ url: `wss://127.0.0.1:${listener.port}/usp`, endpointId, tls: { ca } }, never),
      ),
    );
    await Promise.all(open.map(({ link }) => link.close()));
  });
});

describe("what the handshake says", () => {
  test("the id in the URL survives whatever it holds", () => {
    for (const id of ["self::a", "os::012345-a%20b", "proto::x.y-z_1", "fqdn::a%2Fb"])
      expect(endpointIdIn(withEndpointId("/usp", id).split("?")[1] ?? "")).toBe(id);
    expect(withEndpointId("/usp?token=1", "self::a")).toBe("/usp?token=1&eid=self::a");
  });

  test.each([
    [undefined, { isOffered: false, eid: undefined, rest: "" }],
    ["bbf-usp-protocol", { isOffered: true, eid: undefined, rest: "" }],
    [
      'permessage-deflate; x="a,b", BBF-USP-Protocol ; eid = "self::a"',
      { isOffered: true, eid: "self::a", rest: 'permessage-deflate; x="a,b"' },
    ],
    ["bbf-usp-protocol;eid=self::a;x=y", { isOffered: true, eid: "self::a", rest: "" }],
    ['"', { isOffered: false, eid: undefined, rest: "" }],
    [`${'"a,'.repeat(2_000)}`, { isOffered: false, eid: undefined }],
  ])("reads the extension header %#", (header, wanted) => {
    expect(readExtensions(header)).toMatchObject(wanted);
  });
});
