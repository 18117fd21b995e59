/** Captures over frames that the test says: bounds, what is shown, and targets that refuse, hang or close. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, mkdirSync, chmodSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createServer as createTcpServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeLeftovers } from "../../../src/capture/live/kept-files.ts";
import { LiveCaptures, type LiveCaptureOptions } from "../../../src/capture/live/live-capture.ts";
import { CaptureReader } from "../../../src/capture/pcap-reader.ts";
import { silentLog } from "../../../src/lib/log.ts";
import type { CaptureRequest, CaptureTarget, Visible } from "../../../src/spin/live-capture.ts";
import { forbiddenBut, guardedLookup, refuseLiteral } from "../../../src/usp/bulk-data/forbidden.ts";
import { authority } from "../../support/certificates.ts";
import { eventually } from "../../support/eventually.ts";
import { ScriptedTap } from "../../support/scripted-tap.ts";

const CAMERA = 0x020000000002;
const GATEWAY = 0x0200000000ff;
const PAYLOAD = "the camera's secret";

/** A datagram of the camera's to 198.51.100.7. */
function datagram(payload: string | Buffer = PAYLOAD): Buffer {
  const data = Buffer.from(payload);
  const frame = Buffer.alloc(42 + data.length);
  frame.writeUIntBE(GATEWAY, 0, 6);
  frame.writeUIntBE(CAMERA, 6, 6);
  frame.writeUInt16BE(0x0800, 12);
  Buffer.from([0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, 192, 168, 1, 12, 198, 51, 100, 7]).copy(frame, 14);
  frame.writeUInt16BE(28 + data.length, 16);
  Buffer.from([0x9c, 0x40, 0, 53, 0, 0, 0xab, 0xcd]).copy(frame, 34);
  data.copy(frame, 42);
  return frame;
}

function packetsOf(file: Buffer): { data: Buffer; timeMs: number; original: number }[] {
  const reader = new CaptureReader();
  const packets: { data: Buffer; timeMs: number; original: number }[] = [];
  reader.feed(file, 0, file.length);
  while (reader.next())
    packets.push({
      data: Buffer.from(reader.buffer.subarray(reader.offset, reader.offset + reader.captured)),
      timeMs: reader.time[0] as number,
      original: reader.wire,
    });
  return packets;
}

let folder: string;
let tap: ScriptedTap;
const closing: (() => unknown)[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spin-capture-"));
  tap = new ScriptedTap(["br-lan", "br-guest"]);
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  rmSync(folder, { recursive: true, force: true });
});

function captures(options: Partial<LiveCaptureOptions> = {}): LiveCaptures {
  const forbidden = forbiddenBut([]);
  const made = new LiveCaptures({
    tap,
    interfaces: () => new Set(["br-lan"]),
    folder: join(folder, "kept"),
    guard: { check: (host) => refuseLiteral(host, forbidden, "no"), lookup: guardedLookup(forbidden, "no") },
    log: silentLog,
    ...options,
    limits: { tickMs: 20, ...options.limits },
  });
  closing.push(() => made.close());
  return made;
}

const request = (over: Partial<CaptureRequest> = {}): CaptureRequest => ({
  mac: CAMERA,
  interfaces: ["br-lan"],
  format: "libpcap",
  durationMs: 20_000,
  packetCount: 0,
  byteCount: 0,
  snapLength: 65_535,
  visible: () => "Frames",
  ...over,
});

const target = (url: string, over: Partial<CaptureTarget> = {}): CaptureTarget => ({
  url,
  method: "PUT",
  username: "",
  password: "",
  mayBeLocal: true,
  ...over,
});

interface HttpSink {
  readonly url: string;
  readonly received: () => Buffer;
  readonly requests: IncomingMessage[];
}

async function sink(
  answer: (request: IncomingMessage, response: ServerResponse) => void = (incoming, response) =>
    incoming.on("end", () => response.writeHead(201).end()),
  make: (listener: (incoming: IncomingMessage, response: ServerResponse) => void) => Server = createServer,
): Promise<HttpSink> {
  const chunks: Buffer[] = [];
  const requests: IncomingMessage[] = [];
  const server = make((incoming, response) => {
    requests.push(incoming);
    answer(incoming, response);
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("error", () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  );
  const scheme = make === createServer ? "http" : "https";
  const { port } = server.address() as AddressInfo;
  return { url: `${scheme}://127.0.0.1:${port}/camera.pcap?token=1`, received: () => Buffer.concat(chunks), requests };
}

const until = (what: string, holds: () => boolean) =>
  eventually(() => Promise.resolve(holds()), Boolean, { what, timeoutMs: 5000 });
const never = new AbortController().signal;
const listening = () => until("it listens", () => tap.opened.length > 0);

describe("a capture", () => {
  it("is sent while it grows, and is what passed", async () => {
    const { url, received, requests } = await sink();
    const result = captures().run(request({ target: target(url), packetCount: 3 }), never);
    await listening();
    tap.pass(datagram(), { timeMs: 1_700_000_000_123.5 });
    await until("the first packet is there", () => packetsOf(received()).length === 1);
    tap.pass(datagram("2"));
    tap.lose(4);
    tap.pass(datagram("3"));
    tap.pass(datagram("4"));
    expect(await result).toMatchObject({
      status: "Complete",
      reason: "PacketCount is reached",
      packets: 3,
      bytes: 3 * 42 + PAYLOAD.length + 2,
      lost: 4,
      location: url,
      headersOnly: false,
    });
    const [first, ...rest] = packetsOf(received());
    expect(first).toEqual({ data: datagram(), timeMs: 1_700_000_000_123.5, original: 42 + PAYLOAD.length });
    expect(rest.map(({ data }) => data.subarray(42).toString())).toEqual(["2", "3"]);
    expect(requests[0]).toMatchObject({ method: "PUT", url: "/camera.pcap?token=1" });
    expect(tap.opened).toEqual([]);
  });

  it("is a pcapng where that is asked for", async () => {
    const { url, received } = await sink();
    const result = captures().run(request({ target: target(url), packetCount: 2, format: "pcapng" }), never);
    await listening();
    tap.pass(datagram("odd"), { timeMs: 1_700_000_000_123.5 });
    tap.pass(datagram("even"));
    expect(await result).toMatchObject({ status: "Complete", packets: 2 });
    const packets = packetsOf(received());
    expect(packets.map(({ data }) => data.subarray(42).toString())).toEqual(["odd", "even"]);
    expect(packets[0]?.timeMs).toBe(1_700_000_000_123.5);
  });

  it("ends by its duration, and before it holds more bytes than were asked for", async () => {
    const both = captures();
    const short = await both.run(request({ durationMs: 50 }), never);
    expect(short).toMatchObject({ status: "Complete", reason: "Duration is over", packets: 0 });
    const bounded = both.run(request({ byteCount: 100 }), never);
    await listening();
    for (let i = 0; i < 5; i++) tap.pass(datagram("12345678"));
    expect(await bounded).toMatchObject({ status: "Complete", reason: "ByteCount is reached", packets: 2, bytes: 100 });
  });

  it("keeps no more of a packet than the snap length", async () => {
    const { url, received } = await sink();
    const result = captures().run(request({ target: target(url), packetCount: 1, snapLength: 20 }), never);
    await listening();
    tap.pass(datagram());
    expect(await result).toMatchObject({ headersOnly: false, bytes: 20 });
    expect(packetsOf(received())[0]).toMatchObject({ data: datagram().subarray(0, 20), original: datagram().length });
  });

  it("shows of packets what may be seen, which may become less, and never more", async () => {
    const { url, received } = await sink();
    let visible: Visible = "Headers";
    const result = captures().run(request({ target: target(url), visible: () => visible, packetCount: 3 }), never);
    await listening();
    tap.pass(datagram());
    visible = "Frames";
    await new Promise((resolve) => setTimeout(resolve, 100));
    tap.pass(datagram());
    visible = "HeadersWithoutPeers";
    await new Promise((resolve) => setTimeout(resolve, 100));
    tap.pass(datagram());
    expect(await result).toMatchObject({ headersOnly: true });
    const [first, second, third] = packetsOf(received()).map(({ data }) => data);
    expect(first).toEqual(datagram().subarray(0, 42));
    expect(second).toEqual(first);
    expect(third?.subarray(30, 34)).toEqual(Buffer.alloc(4));
    expect(received().includes("secret")).toBe(false);
  });

  it("does not begin, or ends, where nothing may be seen", async () => {
    const denied = () => ({ denied: "the resident said no" });
    const all = captures();
    expect(await all.run(request({ visible: denied }), never)).toMatchObject({
      status: "Refused",
      reason: "the resident said no",
      location: "",
    });
    let visible: CaptureRequest["visible"] = () => "Frames";
    const result = all.run(request({ visible: () => visible() }), never);
    await listening();
    visible = denied;
    expect(await result).toMatchObject({ status: "Partial", reason: "the resident said no" });
  });

  it("leaves one of the four to whoever may see all", async () => {
    const all = captures();
    const stop = new AbortController();
    const visible = () => "Headers" as const;
    const running = [1, 2, 3].map((mac) => all.run(request({ mac, visible }), stop.signal));
    expect(await all.run(request({ mac: 4, visible }), never)).toMatchObject({
      status: "Busy",
      reason: expect.stringMatching(/3 captures/) as string,
    });
    running.push(all.run(request({ mac: 4 }), stop.signal));
    stop.abort();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual(new Array(4).fill("Canceled"));
  });

  it("is one of a device at a time, and one of four", async () => {
    const all = captures();
    const stop = new AbortController();
    const running = [1, 2, 3, 4].map((mac) => all.run(request({ mac }), stop.signal));
    expect(await all.run(request({ mac: 2 }), never)).toMatchObject({
      status: "Busy",
      reason: expect.stringMatching(/of it runs already/) as string,
    });
    expect(await all.run(request({ mac: 9 }), never)).toMatchObject({
      status: "Busy",
      reason: expect.stringMatching(/4 captures/) as string,
    });
    stop.abort();
    expect((await Promise.all(running)).map(({ status }) => status)).toEqual(new Array(4).fill("Canceled"));
    const again = all.run(request({ mac: 2, packetCount: 1, durationMs: 50 }), never);
    expect(await again).toMatchObject({ status: "Complete" });
  });

  it("that is cancelled has sent what there was", async () => {
    const { url, received } = await sink();
    const stop = new AbortController();
    const result = captures().run(request({ target: target(url) }), stop.signal);
    await listening();
    tap.pass(datagram());
    stop.abort();
    expect(await result).toMatchObject({ status: "Canceled", packets: 1 });
    expect(packetsOf(received())).toHaveLength(1);
    expect(tap.opened).toEqual([]);
    expect(await captures().run(request(), stop.signal)).toMatchObject({ status: "Canceled", packets: 0 });
  });

  it("ends in words where there is no tap, no interface, or none any more", async () => {
    expect(await captures().run(request({ interfaces: ["eth9"] }), never)).toMatchObject({
      status: "Failed",
      reason: "eth9: there is no such interface",
    });
    const result = captures().run(request(), never);
    await listening();
    tap.pass(datagram());
    tap.fail("the interface is gone");
    expect(await result).toMatchObject({ status: "Partial", reason: "br-lan: the interface is gone", packets: 1 });
    tap.why = "the helper lacks CAP_NET_RAW";
    expect(await captures().run(request(), never)).toMatchObject({ status: "Failed", reason: tap.why });
  });

  it("of a whole interface has every frame, or those of one address", async () => {
    const { url, received } = await sink();
    const words = Uint32Array.of(0, 0, 0xffff, 0xc6336407);
    const { mac: _mac, ...whole } = request({ target: target(url), packetCount: 1, address: words });
    const result = captures().run(whole, never);
    await listening();
    const other = datagram();
    other.writeUInt8(8, 33);
    tap.pass(other);
    tap.pass(datagram("it"));
    expect(await result).toMatchObject({ status: "Complete", packets: 1 });
    expect(packetsOf(received())[0]?.data.subarray(42).toString()).toBe("it");
  });
});

describe("a target", () => {
  it("that refuses connections, or has no address, is told before anything is captured", async () => {
    const server = createTcpServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    const run = (url: string, over: Partial<CaptureTarget> = {}) =>
      captures().run(request({ target: target(url, over) }), never);
    expect(await run(`http://127.0.0.1:${port}/`)).toMatchObject({
      status: "Undelivered",
      reason: `http://127.0.0.1:${port} refuses connections`,
      startTime: 0,
    });
    expect(await run("http://sink.invalid/")).toMatchObject({ status: "Undelivered" });
    expect(tap.opened).toEqual([]);
  });

  it("that answers before the end, with whatever, ends the capture", async () => {
    for (const [status, words] of [
      [403, /answered 403 before the end/],
      [307, /answered 307 before the end/],
      [200, /answered 200 before the end/],
    ] as const) {
      const { url } = await sink((_, response) => response.writeHead(status, { Location: "http://[::1]/" }).end());
      const result = await captures().run(request({ target: target(url) }), never);
      expect(result).toMatchObject({ status: "Undelivered", reason: expect.stringMatching(words) as string });
    }
  });

  it("that refuses the whole file makes it undelivered", async () => {
    const { url } = await sink((incoming, response) => incoming.on("end", () => response.writeHead(507).end()));
    expect(await captures().run(request({ target: target(url), durationMs: 50 }), never)).toMatchObject({
      status: "Undelivered",
      reason: expect.stringMatching(/answered 507$/) as string,
    });
  });

  it("that closes ends the capture at once", async () => {
    const { url, requests } = await sink();
    const result = captures().run(request({ target: target(url) }), never);
    await until("it is connected", () => requests.length === 1);
    requests[0]?.socket.destroy();
    expect(await result).toMatchObject({
      status: "Undelivered",
      reason: expect.stringMatching(/closed the connection/) as string,
    });
    expect(tap.opened).toEqual([]);
  });

  it("that takes nothing costs packets, not memory, and is given up", async () => {
    const { url, requests } = await sink((incoming) => incoming.pause());
    const all = captures({ limits: { pendingBytes: 1 << 20, stallMs: 500 } });
    const result = all.run(request({ target: target(url) }), never);
    await until("it is connected", () => requests.length === 1);
    requests[0]?.removeAllListeners("data");
    requests[0]?.pause();
    const frame = datagram(Buffer.alloc(1400, 7));
    const before = process.memoryUsage();
    // 72 MB, past what the kernel's buffers of a connection hold.
    for (let round = 0; round < 50; round++) {
      for (let i = 0; i < 1000; i++) tap.pass(frame);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const after = process.memoryUsage();
    const outcome = await result;
    expect(outcome).toMatchObject({
      status: "Undelivered",
      reason: expect.stringMatching(/takes nothing for/) as string,
    });
    expect(outcome.lost).toBeGreaterThan(40_000);
    expect(outcome.lost + outcome.packets).toBe(50_000);
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(40 << 20);
  });

  it("that hangs at the end is waited for so long, and after a cancel not even that", async () => {
    const hanging = () => sink(() => undefined);
    const all = captures({ limits: { endMs: 200, cancelMs: 100 } });
    const { url } = await hanging();
    expect(await all.run(request({ target: target(url), durationMs: 20 }), never)).toMatchObject({
      status: "Undelivered",
      reason: expect.stringMatching(/in time/) as string,
    });
    const patient = captures({ limits: { endMs: 60_000, cancelMs: 100 } });
    const stop = new AbortController();
    const late = patient.run(request({ target: target((await hanging()).url), durationMs: 20 }), stop.signal);
    setTimeout(() => stop.abort(), 200);
    expect(await late).toMatchObject({ status: "Undelivered", reason: expect.stringMatching(/cancelled/) as string });
  });

  it("gets a name and a password over TLS that it proved, and no other way", async () => {
    const over = { username: "camera", password: "pässword" };
    const ours = authority(folder, "ours");
    const { cert, key } = ours.issue("sink", { host: "127.0.0.1" });
    const options = { cert: readFileSync(cert), key: readFileSync(key) };
    const { url, requests } = await sink(undefined, (listener) => createTlsServer(options, listener));
    const run = (all: LiveCaptures, to: CaptureTarget) => all.run(request({ target: to, durationMs: 20 }), never);
    const trusting = captures({ ca: () => readFileSync(ours.file) });
    expect(await run(trusting, target(url, over))).toMatchObject({ status: "Complete", reason: "Duration is over" });
    expect(requests[0]?.headers.authorization).toBe(`Basic ${Buffer.from("camera:pässword").toString("base64")}`);
    expect(await run(captures(), target(url, over))).toMatchObject({
      status: "Undelivered",
      reason: expect.stringMatching(/verify|signed/) as string,
    });
    const plain = await sink();
    expect(await run(trusting, target(plain.url, over))).toMatchObject({
      status: "Undelivered",
      reason: expect.stringMatching(/without TLS/) as string,
    });
    expect(requests).toHaveLength(1);
    expect(plain.requests).toEqual([]);
  });

  it.each([
    ["http://127.0.0.1:9/", /127\.0\.0\.1 is this machine: no/],
    ["http://0x7f.1:9/", /this machine/],
    ["http://2130706433/", /this machine/],
    ["http://[::1]/", /this machine/],
    ["http://[::ffff:192.168.1.1]/", /a private range/],
    ["http://[64:ff9b::c0a8:101]/", /a private range/],
    ["http://192.168.1.1/", /a private range/],
    ["http://169.254.169.254/", /link-local/],
    ["http://[fe80::1]/", /link-local/],
    ["http://localhost:9/", /localhost is .* which is this machine/],
    ["file:///etc/passwd", /no http: or https: URL/],
    ["http://a:b@198.51.100.7/", /a name or a password/],
    ["nonsense; reboot", /no http: or https: URL/],
  ])("of a controller's is not %s", async (url, reason) => {
    const result = await captures().run(request({ target: target(url, { mayBeLocal: false }) }), never);
    expect(result).toMatchObject({ status: "Undelivered", reason: expect.stringMatching(reason) as string });
    expect(tap.opened).toEqual([]);
  });
});

describe("a capture that is kept", () => {
  const kept = () => readdirSync(join(folder, "kept"));

  it("for a controller does not take the place of the resident's own, and goes with the device as that does", async () => {
    const all = captures();
    const capture = async (visible: "Frames" | "Headers") => {
      await all.run(request({ durationMs: 20, visible: () => visible }), never);
    };
    await capture("Frames");
    await capture("Headers");
    await capture("Headers");
    expect(kept().sort()).toEqual(["capture-020000000002-headers.pcap", "capture-020000000002.pcap"]);
    expect(await all.forget(CAMERA + 1)).toBe(0);
    expect(await all.forget(CAMERA)).toBe(2);
    expect(kept()).toEqual([]);
  });

  it("is a file of the agent's alone, which the next one of the device replaces", async () => {
    const all = captures();
    for (const payload of ["first", "second"]) {
      const result = all.run(request({ packetCount: 1 }), never);
      await listening();
      tap.pass(datagram(payload));
      const { location, status } = await result;
      expect(status).toBe("Complete");
      expect(location).toBe(join(folder, "kept", "capture-020000000002.pcap"));
      expect(statSync(location).mode & 0o777).toBe(0o600);
      expect(packetsOf(readFileSync(location))[0]?.data.subarray(42).toString()).toBe(payload);
    }
    expect(kept()).toHaveLength(1);
    all.close();
    expect(kept()).toEqual([]);
  });

  it("is bounded, and says that it is not all", async () => {
    const result = captures({ limits: { fileBytes: 4000 } }).run(request(), never);
    await listening();
    for (let i = 0; i < 10; i++) tap.pass(datagram(Buffer.alloc(900)));
    const { status, reason, location } = await result;
    expect({ status, reason }).toEqual({ status: "Partial", reason: "the file may hold no more than 4000 bytes" });
    expect(statSync(location).size).toBeLessThanOrEqual(4000);
  });

  it("is not written where others could have a hand in it, nor over what lies there", async () => {
    mkdirSync(join(folder, "kept"));
    chmodSync(join(folder, "kept"), 0o777);
    expect(await captures().run(request(), never)).toMatchObject({
      status: "Failed",
      reason: expect.stringMatching(/agent's alone/) as string,
    });
  });

  it("is removed at the next start if the agent was killed, and nothing else is", () => {
    for (const name of ["capture-020000000002.pcap", "capture-br-lan.pcapng", "other.pcap", "capture-x.pcap.sh"])
      writeFileSync(join(folder, name), "");
    removeLeftovers(folder);
    removeLeftovers(join(folder, "none"));
    expect(readdirSync(folder).sort()).toEqual(["capture-x.pcap.sh", "other.pcap"]);
  });
});
