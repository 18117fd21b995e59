/** TR-369 "UNIX Domain Socket Binding", both ends, each against a peer that says what it is told byte for byte. */
import { mkdirSync, statSync, writeFileSync, existsSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { encodeFrame, TlvType } from "../../src/mtp/uds-codec.ts";
import { connectUds, type UdsConnection } from "../../src/mtp/uds-client.ts";
import { listenUds, type UdsServerOptions } from "../../src/mtp/uds-server.ts";
import { eventually, pause } from "../support/eventually.ts";
import { RawPeer, socketFolder } from "../support/uds.ts";

const AGENT = "os::02AA00-agent";
const PEER = "self::peer";
const never = new AbortController().signal;

let folder: ReturnType<typeof socketFolder>;
let stop: AbortController;
let accepted: UdsConnection[];
let refused: string[];
let running: Promise<void> | undefined;
let broker: Server | undefined;

beforeEach(() => {
  folder = socketFolder();
  stop = new AbortController();
  accepted = [];
  refused = [];
});

afterEach(async () => {
  stop.abort();
  for (const { link } of accepted) await link.close();
  await running?.catch(() => undefined);
  broker?.close();
  folder.remove();
});

/** Our server; resolves when it listens, rejects when it can't. */
function listen(options: Partial<UdsServerOptions> = {}): Promise<void> {
  return new Promise((listening, reject) => {
    running = listenUds({ path: folder.path("s"), endpointId: AGENT, ...options }, stop.signal, {
      listening,
      accept: (connection) => accepted.push(connection),
      refused: (reason) => refused.push(reason),
    });
    running.catch(reject);
  });
}

/** A broker that is scripted; the peer that connects first. */
function scripted(): { path: string; peer: Promise<RawPeer> } {
  const path = folder.path("b");
  const peer = new Promise<RawPeer>((resolve) => {
    broker = createServer((socket) => resolve(new RawPeer(socket))).listen(path);
  });
  return { path, peer };
}

async function first(connection: UdsConnection): Promise<string> {
  for await (const { bytes } of connection.link.received) return Buffer.from(bytes).toString();
  return "nothing came";
}

describe("the end that listens", () => {
  it("answers a handshake with its own, and then takes Records", async () => {
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    expect(await peer.shake(PEER)).toBe(AGENT);
    peer.say(TlvType.record, "hello");
    const connection = await eventually(
      () => accepted[0],
      (it) => it !== undefined,
    );
    expect(connection?.peer).toBe(PEER);
    expect(await first(connection as UdsConnection)).toBe("hello");
    peer.end();
  });

  it("ignores Records before the handshake, unknown TLVs, and a second handshake (R-UDS.15, .16, .20)", async () => {
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    peer.say(TlvType.record, "too early");
    peer.say(200, "unknown");
    await peer.shake(PEER);
    peer.say(0, "unknown too");
    peer.say(TlvType.handshake, "self::other");
    peer.say(TlvType.record, "in time");
    expect(await first(accepted[0] as UdsConnection)).toBe("in time");
    expect(accepted[0]?.peer).toBe(PEER);
    peer.end();
  });

  it.each([
    ["bad bytes for a frame", Buffer.from("GET / HTTP/1.1\r\n\r\n"), "5f555350"],
    ["a frame larger than it takes", Buffer.from("5f555350f0000000", "hex"), "is more than is taken"],
    ["a TLV beyond its frame", Buffer.from("5f5553500000000503000000ff", "hex"), "goes beyond its frame"],
  ])("answers %s with an Error, and closes (R-UDS.23)", async (_what, bytes, why) => {
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    await peer.shake(PEER);
    peer.write(bytes);
    expect(await peer.text(TlvType.error)).toContain(why);
    await peer.closed();
    await expect(first(accepted[0] as UdsConnection)).rejects.toThrow(why);
  });

  it("tells the peer of a Record that can't be used, and closes (R-UDS.24)", async () => {
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    await peer.shake(PEER);
    accepted[0]?.link.refuse("it has no to_id");
    expect(await peer.text(TlvType.error)).toBe("it has no to_id");
    await peer.closed();
    await expect(first(accepted[0] as UdsConnection)).rejects.toThrow("it has no to_id");
  });

  it("closes on an Error of the peer, without one of its own", async () => {
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    await peer.shake(PEER);
    peer.say(TlvType.error, "I can't go on\n");
    await peer.closed();
    expect(peer.tlvs.filter(({ type }) => type === TlvType.error)).toEqual([]);
    await expect(first(accepted[0] as UdsConnection)).rejects.toThrow("the peer reports an error: I can't go on");
  });

  it.each([
    ["its own endpoint id", AGENT, "is the endpoint id of both ends"],
    ["no endpoint id", "somebody", "names no endpoint id"],
    ["nothing", "", "names no endpoint id"],
    ["far too long an endpoint id", `self::${"x".repeat(300)}`, "names no endpoint id"],
    ["control characters", "self::a\nb", "names no endpoint id"],
  ])("refuses a handshake that names %s", async (_what, name, why) => {
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    peer.say(TlvType.handshake, name);
    expect(await peer.text(TlvType.error)).toContain(why);
    await peer.closed();
    expect(accepted).toEqual([]);
  });

  it("drops who never shakes hands, and has room again", async () => {
    await listen({ handshakeMs: 100, maxConnections: 1 });
    const silent = await RawPeer.connect(folder.path("s"));
    await silent.closed();
    expect(refused[0]).toContain("no handshake within 0.1 s");
    const peer = await RawPeer.connect(folder.path("s"));
    expect(await peer.shake(PEER)).toBe(AGENT);
    peer.end();
  });

  it("tells those past its bound that there are too many", async () => {
    await listen({ maxConnections: 2 });
    const peers = [await RawPeer.connect(folder.path("s")), await RawPeer.connect(folder.path("s"))];
    for (const peer of peers) await peer.shake(PEER);
    const third = await RawPeer.connect(folder.path("s"));
    expect(await third.text(TlvType.error)).toBe("2 connections are open already");
    await third.closed();
    for (const peer of peers) peer.end();
  });

  it("takes a peer that goes for an end in order, where it is told to", async () => {
    await listen({ peerMayLeave: true });
    const peer = await RawPeer.connect(folder.path("s"));
    await peer.shake(PEER);
    peer.say(TlvType.record, "bye");
    peer.socket.end();
    const { link } = accepted[0] as UdsConnection;
    const got: string[] = [];
    for await (const { bytes } of link.received) got.push(Buffer.from(bytes).toString());
    expect(got).toEqual(["bye"]);
    await expect(link.send(Buffer.from("late"))).rejects.toMatchObject({ kind: "closed" });
  });

  it("holds a sender that is faster than the reader, and loses nothing", async () => {
    await listen({ limits: { incomingRecords: 8 } });
    const peer = await RawPeer.connect(folder.path("s"));
    await peer.shake(PEER);
    const count = 5000;
    const burst = Buffer.concat(
      Array.from({ length: count }, (_, i) => encodeFrame(TlvType.record, Buffer.from(`${i}`))),
    );
    peer.write(burst);
    await pause(50);
    const got: string[] = [];
    for await (const { bytes } of (accepted[0] as UdsConnection).link.received) {
      got.push(Buffer.from(bytes).toString());
      if (got.length === count) break;
    }
    expect(got).toEqual(Array.from({ length: count }, (_, i) => `${i}`));
    peer.end();
  });

  it("does not wait for ever for a reader that takes nothing: what is past the bound is refused", async () => {
    await listen({ limits: { outgoingBytes: 4 << 20 } });
    const peer = await RawPeer.connect(folder.path("s"));
    await peer.shake(PEER);
    peer.socket.pause();
    const { link } = accepted[0] as UdsConnection;
    const outcomes = Array.from({ length: 20 }, () =>
      link.send(Buffer.alloc(500_000)).then(
        () => "sent",
        (error: { kind?: string }) => error.kind,
      ),
    );
    await pause(50);
    peer.end();
    const all = await Promise.all(outcomes);
    expect(all.filter((outcome) => outcome === "congested").length).toBeGreaterThan(8);
    expect(all).toContain("closed");
  });
});

describe("the file of the end that listens", () => {
  it("may be used by its owner and group alone, and goes with it", async () => {
    await listen({ gid: 65534 });
    const { mode, gid } = statSync(folder.path("s"));
    expect((mode & 0o777).toString(8)).toBe("660");
    expect(gid).toBe(65534);
    expect(existsSync(folder.path("s.new"))).toBe(false);
    stop.abort();
    await running;
    expect(existsSync(folder.path("s"))).toBe(false);
  });

  it("replaces what a dead process left", async () => {
    const dead = createServer().listen(folder.path("dead"));
    await new Promise((resolve) => dead.once("listening", resolve));
    // A name that closing does not unlink: as when the process was killed.
    const { renameSync } = await import("node:fs");
    renameSync(folder.path("dead"), folder.path("s"));
    await new Promise((resolve) => dead.close(resolve));
    expect(existsSync(folder.path("s"))).toBe(true);
    await listen();
    const peer = await RawPeer.connect(folder.path("s"));
    expect(await peer.shake(PEER)).toBe(AGENT);
    peer.end();
  });

  it("is not taken from a process that lives", async () => {
    await listen();
    const second = listenUds({ path: folder.path("s"), endpointId: AGENT }, stop.signal, {
      listening: () => undefined,
      accept: () => undefined,
    });
    await expect(second).rejects.toThrow("another process listens there");
    const peer = await RawPeer.connect(folder.path("s"));
    expect(await peer.shake(PEER)).toBe(AGENT);
    peer.end();
  });

  it("never takes the place of a file that is no socket", async () => {
    writeFileSync(folder.path("s"), "precious");
    await expect(listen()).rejects.toThrow("no socket");
    expect(statSync(folder.path("s")).size).toBe(8);
  });

  it("says which folder it can't be made in", async () => {
    writeFileSync(folder.path("file"), "");
    await expect(listen({ path: folder.path("file/s") })).rejects.toThrow(folder.path("file"));
    mkdirSync(folder.path("s"));
    await expect(listen()).rejects.toThrow("no socket");
  });

  it("has a path that the system takes", async () => {
    await expect(listen({ path: folder.path("x".repeat(120)) })).rejects.toThrow("may have 103 bytes");
  });
});

describe("the end that connects", () => {
  it("speaks first, and takes Records once it was answered", async () => {
    const { path, peer } = scripted();
    const connecting = connectUds({ path, endpointId: PEER }, never);
    const other = await peer;
    expect(await other.text(TlvType.handshake)).toBe(PEER);
    other.say(TlvType.record, "too early");
    other.say(TlvType.handshake, AGENT);
    other.say(TlvType.record, "in time");
    const connection = await connecting;
    accepted.push(connection);
    expect(connection.peer).toBe(AGENT);
    expect(await first(connection)).toBe("in time");
    other.end();
  });

  it("gives up where no handshake comes (R-UDS.18)", async () => {
    const { path } = scripted();
    const connecting = connectUds({ path, endpointId: PEER, handshakeMs: 50 }, never);
    await expect(connecting).rejects.toThrow("no handshake within 0.05 s");
  });

  it("gives up when told to, while it waits", async () => {
    const { path, peer } = scripted();
    const connecting = connectUds({ path, endpointId: PEER }, stop.signal);
    const other = await peer;
    stop.abort();
    await expect(connecting).rejects.toMatchObject({ kind: "aborted" });
    await other.closed();
  });

  it("says what the peer said when it is refused", async () => {
    const { path, peer } = scripted();
    const connecting = connectUds({ path, endpointId: PEER }, never);
    (await peer).say(TlvType.error, "not you");
    await expect(connecting).rejects.toThrow("the peer reports an error: not you");
  });

  it("refuses a peer with its own endpoint id (R-ARC.2)", async () => {
    const { path, peer } = scripted();
    const connecting = connectUds({ path, endpointId: PEER }, never);
    (await peer).say(TlvType.handshake, PEER);
    await expect(connecting).rejects.toThrow("the endpoint id of both ends");
  });

  it("says why nobody is there", async () => {
    const path = folder.path("nobody");
    await expect(connectUds({ path, endpointId: PEER }, never)).rejects.toMatchObject({
      kind: "unreachable",
      message: `${path}: nothing listens there: there is no such file`,
    });
    writeFileSync(path, "");
    await expect(connectUds({ path, endpointId: PEER }, never)).rejects.toMatchObject({ kind: "unreachable" });
  });
});
