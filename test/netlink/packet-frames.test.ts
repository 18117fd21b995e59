/** Frames through the helper, in a namespace with a cable of two ends: what is sent at `far` comes in at `near`. */
import { spawn } from "node:child_process";
import { parseMac } from "../../src/lib/address.ts";
import { silentLog } from "../../src/lib/log.ts";
import { encodeFrame, FrameKind, FrameReader, RequestKind } from "../../src/netlink/frames.ts";
import { NetfilterHelper } from "../../src/netlink/helper.ts";
import { eachFrame, framesPayload, type FramesRequest } from "../../src/netlink/packet-frames.ts";
import { arp, dhcpFrame, dhcpv6Frame, ethernet, lldpFrame, mdnsFrame, tagged, udp } from "../support/lan-frames.ts";
import { exec } from "../support/namespace.ts";
import { describeUnless } from "../support/needs.ts";
import { sendFrames } from "../support/traffic.ts";
import { Bench, buildHelper, exited, helperMissing, until } from "./helper-fixture.ts";

const DEVICE = "02:AA:00:00:00:11";
const OTHER = "02:AA:00:00:00:12";
/** Of `near`. */
const GATEWAY = "02:AA:00:00:FF:01";

interface Seen {
  readonly bytes: Buffer;
  readonly originalLength: number;
  readonly timeMs: number;
}

class Listener {
  readonly frames: Seen[] = [];
  readonly errors: string[] = [];
  readonly losses: [lost: number, passedOver: number][] = [];
  ready = 0;
  readonly stop: () => void;

  constructor(helper: NetfilterHelper, request: FramesRequest) {
    this.stop = helper.frames(request, {
      onFrame: (bytes, start, end, originalLength, timeMs) =>
        this.frames.push({ bytes: Buffer.from(bytes.subarray(start, end)), originalLength, timeMs }),
      onError: (error) => this.errors.push(error.message),
      onLoss: (lost, passedOver) => this.losses.push([lost, passedOver]),
      onReady: () => this.ready++,
    });
  }

  get hex(): string[] {
    return this.frames.map(({ bytes }) => bytes.toString("hex"));
  }
}

const hex = (frame: Uint8Array): string => Buffer.from(frame).toString("hex");
const datagram = (
  destinationPort: number,
  more: { mac?: string; to?: string; fragment?: number; bytes?: number } = {},
) =>
  udp({
    mac: more.mac ?? DEVICE,
    to: more.to ?? GATEWAY,
    source: "192.168.77.17",
    destination: "192.168.77.1",
    sourcePort: 40_000,
    destinationPort,
    payload: Buffer.alloc(more.bytes ?? 100, 7),
    ...(more.fragment === undefined ? {} : { fragment: more.fragment }),
  });

describe("what is asked of the helper for frames", () => {
  test.each(["", "a-name-of-16-byte", "nul\0", "ä".repeat(8)])("is no interface named %j", (name) => {
    expect(() => framesPayload({ interface: name, filter: { kind: "home" } })).toThrow(RangeError);
  });

  test("a payload that is not whole hands on what is", () => {
    const whole = Buffer.alloc(16 + 60 + 16 + 61);
    whole.writeUInt32LE(60, 0);
    whole.writeUInt32LE(62, 76);
    let seen = 0;
    for (let end = 0; end <= whole.length; end++) eachFrame(whole, 0, end, () => seen++);
    expect(seen).toBe(whole.length - 76 + 1);
  });
});

describeUnless(helperMissing(), "frames through the helper", () => {
  let bench: Bench;
  const send = (frames: readonly Uint8Array[], name = "far", more: { perSecond?: number; times?: number } = {}) =>
    sendFrames(bench.namespace, name, frames, { perSecond: 5000, ...more });
  const listen = async (request: Partial<FramesRequest>) => {
    const listener = new Listener(bench.helper, { interface: "near", filter: { kind: "home" }, ...request });
    await until("the subscription", () => listener.ready + listener.errors.length > 0);
    return listener;
  };
  /** Sent last: when it is there, so is what came before. */
  const last = arp({ mac: OTHER, sender: "192.168.77.200", target: "192.168.77.201" });
  const lastDatagram = datagram(5353, { mac: OTHER });
  const sentAll = (listener: Listener) =>
    until("the last frames", () => listener.hex.includes(hex(last)) && listener.hex.includes(hex(lastDatagram)));

  beforeAll(async () => {
    bench = await Bench.up({ sanitize: true });
    const ip = (...args: string[]) => exec(bench.namespace, "ip", args);
    await ip("link", "add", "near", "address", GATEWAY, "type", "veth", "peer", "name", "far");
    for (const name of ["near", "far"]) {
      await exec(bench.namespace, "sh", ["-c", `echo 1 > /proc/sys/net/ipv6/conf/${name}/disable_ipv6`]);
      await ip("link", "set", name, "up");
    }
  });
  afterAll(async () => await bench.down());

  test("of a home: what devices tell of themselves, and nothing else", async () => {
    const wanted = [
      arp({ mac: DEVICE, sender: "192.168.77.17", target: "192.168.77.1" }),
      arp({ mac: DEVICE, operation: 2, sender: "192.168.77.17", target: "192.168.77.1", to: GATEWAY }),
      dhcpFrame(DEVICE, 1, [[12, "camera"]]),
      dhcpv6Frame(DEVICE, "fe80::1", 1, [[16, "x"]]),
      mdnsFrame(DEVICE, "192.168.77.17", [{ name: "camera.local", type: "A", data: "192.168.77.17" }]),
      mdnsFrame(DEVICE, "fe80::1", [{ name: "camera.local", type: "A", data: "192.168.77.17" }]),
      lldpFrame(DEVICE, [[5, "camera"]]),
      tagged(datagram(5353), 0),
    ];
    const unwanted = [
      datagram(53),
      datagram(68),
      datagram(5354),
      datagram(5353, { fragment: 0x2001 }),
      datagram(5353, { to: OTHER }),
      ethernet(DEVICE, GATEWAY, 0x0800, Buffer.from([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, ...Buffer.alloc(40, 0x14)])),
      ethernet(DEVICE, GATEWAY, 0x86dd, Buffer.from([0x60, 0, 0, 0, 0, 20, 6, 64, ...Buffer.alloc(60, 0x14)])),
      ethernet(DEVICE, GATEWAY, 0x8137, Buffer.alloc(50)),
      tagged(arp({ mac: DEVICE, sender: "192.168.99.1", target: "192.168.99.2" }), 7),
      tagged(datagram(5353, { bytes: 101 }), 7),
      Buffer.alloc(20, 2),
    ];
    const listener = await listen({});
    await send([...wanted, ...unwanted]);
    // What leaves is not told.
    await send([arp({ mac: GATEWAY, sender: "192.168.77.1", target: "192.168.77.17" }), datagram(5353)], "near");
    await send([last, lastDatagram]);
    await sentAll(listener);
    expect(new Set(listener.hex)).toEqual(new Set([...wanted, last, lastDatagram].map(hex)));
    expect(listener.frames).toHaveLength(wanted.length + 2);
    for (const { timeMs, bytes, originalLength } of listener.frames) {
      expect(Math.abs(timeMs - Date.now())).toBeLessThan(60_000);
      expect(originalLength).toBe(bytes.length);
    }
    listener.stop();
  });

  test("of a home: no more of each than its snap length", async () => {
    const listener = await listen({});
    await exec(bench.namespace, "ip", ["link", "set", "near", "mtu", "9000"]);
    await exec(bench.namespace, "ip", ["link", "set", "far", "mtu", "9000"]);
    const long = datagram(5353, { bytes: 5000 });
    await send([long, last, lastDatagram]);
    await sentAll(listener);
    const found = listener.frames.find(({ originalLength }) => originalLength === long.length) as Seen;
    expect(hex(found.bytes)).toBe(hex(long.subarray(0, 1600)));
    listener.stop();
  });

  test("of LLDP: that alone", async () => {
    const listener = await listen({ filter: { kind: "lldp" } });
    const frame = lldpFrame(DEVICE, [[5, "camera"]]);
    await send([arp({ mac: DEVICE, sender: "192.168.77.17", target: "192.168.77.1" }), datagram(5353), frame]);
    await until("the frame", () => listener.frames.length > 0);
    expect(listener.hex).toEqual([hex(frame)]);
    listener.stop();
  });

  test("of a device: each frame from it and to it, once, whole, with its tag", async () => {
    const listener = await listen({ filter: { kind: "device", mac: parseMac(DEVICE) as number } });
    const sixteen = await listen({ filter: { kind: "device", mac: parseMac(DEVICE) as number }, snapLength: 16 });
    const incoming = [
      datagram(443, { bytes: 8000 }),
      tagged(datagram(443), 7),
      arp({ mac: DEVICE, sender: "1.1.1.1", target: "1.1.1.2" }),
    ];
    const outgoing = [
      datagram(443, { mac: GATEWAY, to: DEVICE }),
      tagged(datagram(80, { mac: GATEWAY, to: DEVICE }), 9),
    ];
    const foreign = [datagram(443, { mac: OTHER }), last];
    await send([...incoming, ...foreign]);
    await send([...outgoing, datagram(443, { mac: GATEWAY, to: OTHER })], "near");
    const all = [...incoming, ...outgoing];
    await until("the frames", () => listener.frames.length >= all.length && sixteen.frames.length >= all.length);
    await send([datagram(1)]);
    await until("one more", () => listener.frames.length > all.length);
    expect(listener.hex).toEqual([...all, datagram(1)].map(hex));
    expect(listener.frames.map(({ originalLength }) => originalLength)).toEqual(
      [...all, datagram(1)].map(({ length }) => length),
    );
    expect(sixteen.hex.slice(0, all.length)).toEqual(all.map((frame) => hex(frame.subarray(0, 16))));
    expect(sixteen.frames.slice(0, all.length).map(({ originalLength }) => originalLength)).toEqual(
      all.map(({ length }) => length),
    );
    expect([...listener.errors, ...listener.losses]).toEqual([]);
    listener.stop();
    sixteen.stop();
  });

  test("a flood of ARP is passed over, is told of, and crowds out nothing else", async () => {
    const listener = await listen({});
    const flood = arp({ mac: DEVICE, sender: "192.168.77.17", target: "192.168.77.1" });
    await send([flood], "far", { perSecond: 1_000_000, times: 60_000 });
    await send([lastDatagram]);
    await until("what came besides", () => listener.hex.includes(hex(lastDatagram)));
    await until("the loss is told", () => {
      const [lost, passedOver] = listener.losses.reduce(([a, b], [c, d]) => [a + c, b + d], [0, 0]);
      return listener.frames.length - 1 + lost + passedOver === 60_000 && passedOver > lost;
    });
    expect(listener.losses.length).toBeLessThan(20);
    listener.stop();
  }, 20_000);

  test("an interface that goes is told of, one that only goes down is not", async () => {
    const ip = (...args: string[]) => exec(bench.namespace, "ip", args);
    await ip("link", "add", "gone", "type", "veth", "peer", "name", "gone2");
    for (const name of ["gone", "gone2"]) await ip("link", "set", name, "up");
    const listener = await listen({ interface: "gone" });
    await ip("link", "set", "gone", "down");
    await ip("link", "set", "gone", "up");
    await send([last], "gone2");
    await until("a frame", () => listener.hex.includes(hex(last)));
    expect(listener.errors).toEqual([]);
    await ip("link", "del", "gone");
    await until("the end", () => listener.errors.length > 0);
    expect(listener.errors[0]).toMatch(/the interface is gone/);
    listener.stop();
    const absent = await listen({ interface: "gone" });
    expect(absent.errors[0]).toMatch(/there is no such interface/);
    absent.stop();
  });

  test.each([
    ["the loopback", { interface: "lo" }, /not an Ethernet interface/],
    ["a snap length of nothing", { filter: { kind: "device" as const, mac: 2 }, snapLength: 13 }, /snap length/],
    ["a snap length without end", { filter: { kind: "device" as const, mac: 2 }, snapLength: 65_536 }, /snap length/],
    ["everybody's address", { filter: { kind: "device" as const, mac: 0xffffffffffff } }, /hardware address/],
    ["no address", { filter: { kind: "device" as const, mac: 0 } }, /hardware address/],
  ])("refuses %s", async (_what, request, why) => {
    const listener = await listen(request);
    expect(listener.errors[0]).toMatch(why);
    listener.stop();
  });

  test("refuses a fifth capture, of a device or of all, until one of them ends", async () => {
    const filter = { kind: "device" as const, mac: parseMac(DEVICE) as number };
    const four = await Promise.all([1, 2, 3, 4].map(() => listen({ filter })));
    const fifth = await listen({ filter });
    expect(fifth.errors[0]).toMatch(/too many captures/);
    const all = await listen({ filter: { kind: "all" } });
    expect(all.errors[0]).toMatch(/too many captures/);
    all.stop();
    expect((await listen({})).errors).toEqual([]);
    for (const one of [fifth, ...four]) one.stop();
    const next = await listen({ filter });
    expect(next.errors).toEqual([]);
    next.stop();
  });

  test("refuses what is no request", async () => {
    const child = spawn("ip", ["netns", "exec", bench.namespace, buildHelper(true)], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ASAN_OPTIONS: "detect_leaks=0" },
    });
    const good = framesPayload({ interface: "near", filter: { kind: "device", mac: 2 }, snapLength: 100 });
    const edited = (at: number, value: number) => Uint8Array.from(good).fill(value, at, at + 1);
    const asked: [Uint8Array, RegExp][] = [
      [good.subarray(1), /length of the request/],
      [Buffer.concat([good, good]), /length of the request/],
      [edited(0, 0), /name of an interface/],
      [Uint8Array.from(good).fill(0x61, 0, 16), /name of an interface/],
      [edited(16, 0), /no such filter/],
      [edited(16, 5), /no such filter/],
      [edited(31, 1), /snap length/],
      [good, /^$/],
    ];
    const answers: string[] = [];
    const reader = new FrameReader();
    child.stdout.on("data", (chunk: Buffer) =>
      reader.push(chunk, (kind, _request, bytes, start, end) => {
        if (kind === FrameKind.Result) answers.push(bytes.toString("latin1", start + 12, end));
      }),
    );
    child.stdin.write(Buffer.concat(asked.map(([payload], i) => encodeFrame(RequestKind.Frames, i + 1, payload))));
    await until("the answers", () => answers.length === asked.length);
    for (const [i, [, why]] of asked.entries()) expect(answers[i]).toMatch(why);
    child.stdin.end();
    expect(await exited(child)).toBe(0);
  });

  test("while Node takes nothing, keeps what its buffers hold, and counts each frame that they don't", async () => {
    const child = spawn("ip", ["netns", "exec", bench.namespace, buildHelper(true)], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ASAN_OPTIONS: "detect_leaks=0" },
    });
    const mac = parseMac(DEVICE) as number;
    child.stdin.write(
      encodeFrame(RequestKind.Frames, 1, framesPayload({ interface: "near", filter: { kind: "device", mac } })),
    );
    let frames = 0;
    let lost = 0;
    let isReady = false;
    const reader = new FrameReader();
    child.stdout.on("data", (chunk: Buffer) =>
      reader.push(chunk, (kind, _request, bytes, start, end) => {
        if (kind === FrameKind.Result) isReady = true;
        else if (kind === FrameKind.Data) eachFrame(bytes, start, end, () => frames++);
        else if (kind === FrameKind.Loss) lost += bytes.readUInt32LE(start);
      }),
    );
    await until("the subscription", () => isReady);
    child.stdout.pause();
    const count = 40_000;
    await send([datagram(443, { bytes: 1000 })], "far", { perSecond: 1_000_000, times: count });
    expect(frames).toBeLessThan(count / 2);
    const { stdout } = await exec(undefined, "cat", [`/proc/${child.pid}/status`]);
    expect(Number(/VmRSS:\s+(\d+)/.exec(stdout)?.[1])).toBeLessThan(64 * 1024);
    child.stdout.resume();
    // The loss is told when frames come again.
    await until("all are accounted for", async () => {
      if (frames + lost < count) await send([datagram(443)]);
      return frames + lost >= count && lost > 0;
    });
    expect(frames).toBeGreaterThan(1000);
    child.stdin.end();
    expect(await exited(child)).toBe(0);
  }, 30_000);

  test("without CAP_NET_RAW refuses frames with the remedy, and does all else", async () => {
    const helper = new NetfilterHelper({
      command: ["ip", "netns", "exec", bench.namespace, "setpriv", "--bounding-set", "-net_raw", buildHelper()],
      log: silentLog,
    });
    const stop = new AbortController();
    const running = helper.run(stop.signal);
    expect(await helper.usable()).toBeUndefined();
    expect(helper.mayReadFrames).toBe(false);
    expect(bench.helper.mayReadFrames).toBe(true);
    const listener = new Listener(helper, { interface: "near", filter: { kind: "home" } });
    await until("the refusal", () => listener.errors.length > 0);
    expect(listener.errors[0]).toMatch(/lacks CAP_NET_RAW: setcap cap_net_admin,cap_net_raw\+ep/);
    await helper.dumpConntrack(() => undefined, { buffers: 1, pauseMs: 0 });
    stop.abort();
    await running;
  });
});
