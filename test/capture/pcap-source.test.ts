import { execFileSync } from "node:child_process";
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { gzipSync } from "node:zlib";
import { dnsQuestion, ethernet, tcp, udp, Flag } from "../../demo/packets.ts";
import type { Judge, JudgedFlow } from "../../src/capture/packet-flows.ts";
import { PcapSource } from "../../src/capture/pcap.ts";
import { parseMac, printAddress } from "../../src/lib/address.ts";
import { ManualClock } from "../../src/lib/clock.ts";
import { FlowEvent } from "../../src/spin/observation.ts";
import type { Observation } from "../../src/spin/observation.ts";
import { pcapFile } from "../support/capture-formats.ts";
import { generateBytes } from "../support/generate-capture.ts";
import { observeCapture } from "../support/observe-capture.ts";

const START = Date.UTC(2026, 0, 15, 12, 0, 0);
const CAMERA = "02:00:00:00:00:01";
const GATEWAY = "02:00:00:00:00:FE";
const up = (packet: Uint8Array) => ethernet(CAMERA, GATEWAY, packet);
const down = (packet: Uint8Array) => ethernet(GATEWAY, CAMERA, packet);

let directory: string;
beforeAll(() => (directory = mkdtempSync(join(tmpdir(), "spin-pcap-source-"))));
afterAll(() => rmSync(directory, { recursive: true }));
function put(name: string, bytes: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

const home = generateBytes({ packets: 9000, devices: 6, peers: 20 });
const countOf = async (source: string) => {
  const { source: pcap } = await observeCapture(source);
  return { packets: pcap.counts?.packets, error: pcap.error?.message };
};

describe("a capture", () => {
  test("is read from a file, gzipped, in several gzip members, and from a fifo", async () => {
    const half = home.bytes.length >> 1;
    const members = Buffer.concat([gzipSync(home.bytes.subarray(0, half)), gzipSync(home.bytes.subarray(half))]);
    const all = { packets: 9000, error: undefined };
    expect(await countOf(put("home.pcap", home.bytes))).toEqual(all);
    expect(await countOf(put("home.pcap.gz", gzipSync(home.bytes)))).toEqual(all);
    expect(await countOf(put("members.gz", members))).toEqual(all);
    const fifo = join(directory, "fifo");
    execFileSync("mkfifo", [fifo]);
    const reading = countOf(fifo);
    await writeFile(fifo, home.bytes);
    expect(await reading).toEqual(all);
  });

  test("whose compression is cut off or broken gives what came before, and says so", async () => {
    const compressed = gzipSync(home.bytes);
    const cut = await countOf(put("cut.gz", compressed.subarray(0, compressed.length >> 1)));
    expect(cut.packets).toBeGreaterThan(1000);
    expect(cut.error).toMatch(/^at byte \d+: the compression is broken: unexpected end of file$/);
    const broken = Buffer.from(compressed);
    broken.fill(0xff, broken.length >> 1, (broken.length >> 1) + 64);
    const flipped = await countOf(put("broken.gz", broken));
    expect(flipped.packets).toBeGreaterThan(1000);
    expect(flipped.error).toMatch(/^at byte \d+: /);
  });

  test("that is truncated is counted up to there, ends its flows, and shows as an error in the health", async () => {
    const { source, flows } = await observeCapture(
      put("truncated.pcap", home.bytes.subarray(0, home.bytes.length - 20)),
    );
    expect(source.counts?.packets).toBe(8999);
    expect(flows.length).toBeGreaterThan(10);
    expect(source.health).toMatchObject({
      backend: "file",
      status: "Error",
      lastError: expect.stringContaining("truncated"),
    });
  });

  test("that is not there, a directory, empty, or something else is said in words, and not thrown", async () => {
    expect((await countOf(join(directory, "none.pcap"))).error).toContain("ENOENT");
    expect((await countOf(directory)).error).toContain("EISDIR");
    expect((await countOf(put("empty", Buffer.alloc(0)))).error).toBe("at byte 0: the file is empty");
    expect((await countOf(put("text", Buffer.from("hello, this is no capture")))).error).toContain("not a capture");
  });

  test("moves the clock along, before each observation", async () => {
    const clock = new ManualClock();
    const source = new PcapSource({ source: put("clock.pcap", home.bytes), clock });
    let last = 0;
    await source.run(new AbortController().signal, (observation) => {
      expect(clock.now()).toBeGreaterThanOrEqual(last);
      last = clock.now();
      if (observation.kind === "query") expect(clock.now()).toBe(observation.time);
    });
    expect(last).toBeGreaterThan(START);
  });

  test("looped goes on growing in time, and no flow lives twice", async () => {
    const path = put(
      "loop.pcap",
      pcapFile([{ timeMs: START, bytes: up(udp("192.168.1.7", "198.51.100.9", 1, 2, Buffer.alloc(1))) }]),
    );
    const control = new AbortController();
    const times: number[] = [];
    const source = new PcapSource({ source: path, loop: true });
    await source.run(control.signal, (observation) => {
      if (observation.kind !== "flows") return;
      times.push(observation.columns.time[0] as number);
      if (times.length === 5) control.abort();
    });
    expect(source.counts?.packets).toBeGreaterThanOrEqual(4);
    expect(times).toEqual([...times].sort((a, b) => a - b));
  });
});

describe("in capture time", () => {
  /** A question each second. */
  const asking = pcapFile(
    Array.from({ length: 4 }, (_, i) => ({
      timeMs: START + i * 1000,
      bytes: up(udp("192.168.1.7", "192.168.1.1", 5000, 53, dnsQuestion(i, `n${i}.example`, "A"))),
    })),
  );

  test("packets come when they are due, faster by the factor, and the last interval is flushed", async () => {
    const began = performance.now();
    const at: number[] = [];
    let packets = 0;
    const source = new PcapSource({ source: put("asking.pcap", asking), speed: 10 });
    await source.run(new AbortController().signal, (observation) => {
      if (observation.kind === "query") at.push(performance.now() - began);
      if (observation.kind === "flows" && observation.columns.event[0] === FlowEvent.End)
        packets += observation.columns.packets[0] as number;
    });
    // Not before their time; how much after it is the machine's affair.
    at.forEach((ms, i) => expect(ms).toBeGreaterThanOrEqual(i * 100 - 1));
    expect(at).toHaveLength(4);
    expect(packets).toBe(4);
  });

  test("flows are told while nothing comes", async () => {
    const quiet = pcapFile([
      { timeMs: START, bytes: up(udp("192.168.1.7", "198.51.100.9", 1, 2, Buffer.alloc(1))) },
      { timeMs: START + 3_600_000, bytes: up(udp("192.168.1.7", "198.51.100.9", 1, 3, Buffer.alloc(1))) },
    ]);
    const control = new AbortController();
    const events: number[] = [];
    const source = new PcapSource({ source: put("quiet.pcap", quiet), speed: 100 });
    await source.run(control.signal, (observation) => {
      if (observation.kind !== "flows") return;
      events.push(observation.columns.event[0] as number);
      if (observation.columns.event[0] === FlowEvent.End) control.abort();
    });
    expect(events).toEqual([FlowEvent.New, FlowEvent.End]);
    expect(source.error).toBeUndefined();
  });

  test("the signal ends it at once, also while a pipe keeps silent", async () => {
    for (const from of [put("asking2.pcap", asking), silentPipe()]) {
      const control = new AbortController();
      const source = new PcapSource({ source: from, speed: 1 });
      const running = source.run(control.signal, () => undefined);
      setTimeout(() => control.abort(), 50);
      await running;
      expect(source.error).toBeUndefined();
      expect(source.health.status).toBe("Disabled");
    }
  });

  function silentPipe(): PassThrough {
    const pipe = new PassThrough();
    pipe.write(asking.subarray(0, 100));
    return pipe;
  }
});

describe("the judge", () => {
  const CONVERSATION = [
    up(tcp("192.168.1.7", "198.51.100.9", { sourcePort: 40_000, destinationPort: 443, flags: Flag.Syn })),
    down(tcp("198.51.100.9", "192.168.1.7", { sourcePort: 443, destinationPort: 40_000, flags: Flag.Syn | Flag.Ack })),
    up(udp("192.168.1.7", "192.168.1.1", 5000, 53, dnsQuestion(1, "blocked.example", "A"))),
    down(udp("203.0.113.4", "192.168.1.7", 9, 7000, Buffer.alloc(100))),
    ethernet("02:00:00:00:00:02", CAMERA, udp("192.168.1.8", "192.168.1.7", 1000, 554, Buffer.alloc(1))),
    down(udp("203.0.113.4", "192.168.1.7", 9, 7000, Buffer.alloc(200))),
  ];

  /** Drops by peer address, and counts the rest of the camera's under handle 5. */
  class TestJudge implements Judge {
    generation = 0;
    blocked = new Set<string>();
    readonly asked: string[] = [];
    readonly hits = new Map<number, [number, number]>();
    judge(flow: JudgedFlow): number {
      const peer = printAddress(flow.peerAddress);
      this.asked.push(
        `${flow.mac === parseMac(CAMERA) ? "camera" : flow.mac.toString(16)} ${printAddress(flow.deviceAddress)}:${flow.devicePort} ${peer}:${flow.peerPort} ${flow.protocol} ${flow.initiator}${flow.isLocal ? " local" : ""}`,
      );
      return this.blocked.has(peer) ? -7 : 5;
    }
    hit(verdict: number, bytes: number): void {
      const [packets, sum] = this.hits.get(verdict) ?? [0, 0];
      this.hits.set(verdict, [packets + 1, sum + bytes]);
    }
  }
  const run = async (judge: Judge, between?: (observation: Observation) => void) => {
    const source = new PcapSource({
      source: put("judged.pcap", pcapFile(CONVERSATION.map((bytes, i) => ({ timeMs: START + 2000 * i, bytes })))),
      judge,
    });
    const ended: [string, number, number][] = [];
    const kinds: string[] = [];
    await source.run(new AbortController().signal, (observation) => {
      kinds.push(observation.kind);
      between?.(observation);
      if (observation.kind !== "flows") return;
      const { columns } = observation;
      for (let i = 0; i < columns.length; i++)
        if (columns.event[i] === FlowEvent.End)
          ended.push([
            printAddress(columns.addresses, i * 16),
            columns.packets[i] as number,
            columns.replyPackets[i] as number,
          ]);
    });
    return { source, ended, kinds };
  };

  test("is asked once a flow, with the device, its peer and who began, and each packet is told", async () => {
    const judge = new TestJudge();
    await run(judge);
    expect(judge.asked).toEqual([
      "camera 192.168.1.7:40000 198.51.100.9:443 6 Device",
      "camera 192.168.1.7:5000 192.168.1.1:53 17 Device",
      "camera 192.168.1.7:7000 203.0.113.4:9 17 Peer",
      "20000000002 192.168.1.8:1000 192.168.1.7:554 17 Device local",
    ]);
    expect(judge.hits.get(5)).toEqual([
      6,
      44 + 44 + 28 + dnsQuestion(1, "blocked.example", "A").length + 128 + 29 + 228,
    ]);
  });

  test("drops both directions: nothing of them counts, no flow appears, no question is heard", async () => {
    const judge = new TestJudge();
    judge.blocked = new Set(["198.51.100.9", "192.168.1.1"]);
    const { source, ended, kinds } = await run(judge);
    expect(source.counts).toMatchObject({ dropped: 3, counted: 3 });
    expect(judge.hits.get(-7)?.[0]).toBe(3);
    expect(ended.map(([address]) => address).sort()).toEqual(["192.168.1.8", "203.0.113.4"]);
    expect(kinds).not.toContain("query");
  });

  test("is asked again when its generation changes: a living flow stops growing", async () => {
    const judge = new TestJudge();
    const { ended } = await run(judge, (observation) => {
      if (observation.kind !== "neighbour" || observation.address !== "192.168.1.8") return;
      judge.blocked = new Set(["203.0.113.4"]);
      judge.generation++;
    });
    expect(ended).toContainEqual(["203.0.113.4", 1, 0]);
    expect(judge.hits.get(-7)).toEqual([1, 228]);
  });
});

test("a stream is read as a file is", async () => {
  const path = put("stream.pcap", home.bytes);
  const source = new PcapSource({ source: createReadStream(path) });
  await source.run(new AbortController().signal, () => undefined);
  expect(source.counts?.packets).toBe(9000);
  expect(source.error).toBeUndefined();
});
