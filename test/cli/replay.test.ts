import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { gzipSync } from "node:zlib";
import { replay } from "../../src/cli/replay.ts";
import { dhcp, dnsQuestion, ethernet, udp, BROADCAST } from "../../demo/packets.ts";
import { bundle } from "../support/agent.ts";
import { pcapFile } from "../support/capture-formats.ts";
import { GATEWAY_MAC, generateBytes } from "../support/generate-capture.ts";

let directory: string;
beforeAll(() => (directory = mkdtempSync(join(tmpdir(), "spin-replay-"))));
afterAll(() => rmSync(directory, { recursive: true }));
function put(name: string, bytes: Uint8Array): string {
  const path = join(directory, name);
  writeFileSync(path, bytes);
  return path;
}

async function run(args: readonly string[], stdin?: Readable, signal = new AbortController().signal) {
  const sink = () => {
    const parts: string[] = [];
    const stream = new Writable({ write: (chunk: Buffer, _encoding, done) => (parts.push(chunk.toString()), done()) });
    return { stream, text: () => parts.join("") };
  };
  const [out, err] = [sink(), sink()];
  const code = await replay(args, { stdout: out.stream, stderr: err.stream, signal, ...(stdin ? { stdin } : {}) });
  return { code, out: out.text(), err: err.text() };
}

const { bytes, books } = generateBytes({ packets: 12_000, devices: 8, peers: 30, seed: 3 });

interface Answer {
  Device: { PhysAddress: string; IPv4Address: string; IPv6Address: string; Stats: Record<string, number> }[];
  Destination: { PhysAddress: string; Domain: string; BytesSent: number; BytesReceived: number }[];
  DNSQuery: { PhysAddress: string; Name: string; Type: string; Answers: string; TTL: number; Count: number }[];
}

describe("replay of a pipe", () => {
  test("that nobody writes to ends when it is interrupted", async () => {
    const pipe = join(directory, "silent");
    execFileSync("mkfifo", [pipe]);
    const control = new AbortController();
    const ended = run([pipe], undefined, control.signal);
    setTimeout(() => control.abort(), 50);
    expect(await ended).toMatchObject({ code: 130, err: "" });
  });
});

test("whose reader went away keeps its exit code", () => {
  const compressed = gzipSync(bytes);
  const files = [put("whole.gz", compressed), put("half.gz", compressed.subarray(0, compressed.length >> 1))];
  const codes = files.map((file) => {
    const line = `'${process.execPath}' '${bundle()}' replay '${file}' 2>/dev/null | exec true <&-; exit "\${PIPESTATUS[0]}"`;
    return spawnSync("bash", ["-c", line]).status;
  });
  expect(codes).toEqual([0, 1]);
});

describe("replay --json", () => {
  test("gives each device the counters that the generator's books have, and never the gateway", async () => {
    for (const file of [put("home.pcap", bytes), put("home.pcap.gz", gzipSync(bytes))]) {
      const { code, out, err } = await run([file, "--json"]);
      expect({ code, err }).toEqual({ code: 0, err: "" });
      const answer = JSON.parse(out) as Answer;
      expect(answer.Device.map(({ PhysAddress }) => PhysAddress).sort()).toEqual(
        books.devices.map(({ mac }) => mac).sort(),
      );
      expect(out).not.toContain(GATEWAY_MAC);
      for (const device of books.devices) {
        const row = answer.Device.find(({ PhysAddress }) => PhysAddress === device.mac);
        expect(row).toMatchObject({ IPv4Address: device.ipv4, IPv6Address: device.ipv6 });
        expect(row?.Stats).toMatchObject({
          BytesSent: device.bytesSent,
          BytesReceived: device.bytesReceived,
          PacketsSent: device.packetsSent,
          PacketsReceived: device.packetsReceived,
          LocalBytesSent: device.localBytesSent,
          LocalBytesReceived: device.localBytesReceived,
          DNSQueryCount: device.queries,
          ActiveFlowCount: 0,
        });
      }
    }
  });

  test("sums the destinations to the same, and names them", async () => {
    const { out } = await run([put("sums.pcap", bytes), "--json"]);
    const { Destination, DNSQuery } = JSON.parse(out) as Answer;
    for (const { mac, bytesSent, bytesReceived, queries } of books.devices) {
      const rows = Destination.filter(({ PhysAddress }) => PhysAddress === mac);
      expect(rows.reduce((sum, { BytesSent }) => sum + BytesSent, 0)).toBe(bytesSent);
      expect(rows.reduce((sum, { BytesReceived }) => sum + BytesReceived, 0)).toBe(bytesReceived);
      expect(rows.every(({ Domain }) => Domain.endsWith(".example"))).toBe(true);
      const asked = DNSQuery.filter(({ PhysAddress }) => PhysAddress === mac);
      expect(asked.reduce((sum, { Count }) => sum + Count, 0)).toBe(queries);
      expect(asked.every(({ Answers, TTL }) => Answers !== "" && TTL === 300)).toBe(true);
    }
  });
});

describe("replay", () => {
  test("prints tables for people", async () => {
    const { code, out } = await run([put("tables.pcap", bytes)]);
    expect(code).toBe(0);
    expect(out).toMatch(/\nDevices\nAddress {2,}Name {2,}IPv4/);
    expect(out).toContain("192.168.1.10");
    expect(out).toMatch(/host-\d+\.service-\d+\.example/);
    expect(out).toMatch(/12,000 packets \(8 not IP, 8 ICMP messages without a flow\); 8 devices sent \d/);
  });

  test.each([[[]], [["--json"]]])("lets nothing act on the terminal that a device chose, with %j", async (args) => {
    const mac = "02:00:00:00:00:01";
    const evil = "\u001b[2J\u009b31m";
    const asks = (text: string) => dhcp({ type: 3, mac, transaction: 1, given: "192.168.1.10", hostName: text });
    const says = (payload: Uint8Array, to: string, port: number) =>
      ethernet(mac, to === "255.255.255.255" ? BROADCAST : GATEWAY_MAC, udp("192.168.1.10", to, 68, port, payload));
    const path = put(
      "evil.pcap",
      pcapFile([
        { timeMs: 1000, bytes: says(asks(`cam${evil}`), "255.255.255.255", 67) },
        { timeMs: 2000, bytes: says(dnsQuestion(1, `x${evil}.example`, "A"), "192.168.1.1", 53) },
        { timeMs: 3000, bytes: says(Buffer.from(evil), "198.51.100.7", 9) },
      ]),
    );
    const { code, out, err } = await run([path, ...args, "--lan", "192.168.1.0/24"]);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/x\\+027\\+0912j/);

    expect(out).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
  });

  test("clips long names in the tables, and gives them whole as JSON", async () => {
    const name = `${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.example`;
    const question = udp("192.168.1.10", "192.168.1.1", 40_000, 53, dnsQuestion(1, name, "A"));
    const path = put(
      "long.pcap",
      pcapFile([{ timeMs: 1000, bytes: ethernet("02:00:00:00:00:01", GATEWAY_MAC, question) }]),
    );
    const { out } = await run([path, "--lan", "192.168.1.0/24"]);
    expect(out).toContain(`${"a".repeat(59)}…`);
    for (const line of out.split("\n")) expect(line.length).toBeLessThan(120);
    expect((await run([path, "--lan", "192.168.1.0/24", "--json"])).out).toContain(name);
  });

  test("reads standard input as -", async () => {
    const { code, out } = await run(["-", "--json"], Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)]));
    expect(code).toBe(0);
    expect((JSON.parse(out) as Answer).Device).toHaveLength(8);
  });

  test("prints what could be read of a truncated file, says where it ended, and exits 1", async () => {
    const path = put("cut.pcap", bytes.subarray(0, bytes.length - 7));
    const { code, out, err } = await run([path, "--json"]);
    expect(code).toBe(1);
    expect((JSON.parse(out) as Answer).Device).toHaveLength(8);
    expect(err).toMatch(
      /^replay: .*cut\.pcap: at byte \d+: truncated: the file ends \d+ bytes into a record of \d+ bytes; 11,999 packets before it were read\n$/,
    );
  });

  test.each([
    ["missing", () => join(directory, "missing.pcap"), /missing\.pcap: no such file\n$/],
    ["a directory", () => directory, / is a directory\n$/],
    ["empty", () => put("empty", Buffer.alloc(0)), /at byte 0: the file is empty\n$/],
    ["no capture", () => put("text", Buffer.from("no capture at all")), /not a capture: it begins with 6e 6f 20 63\n$/],
  ])("a file that is %s exits 1 with the reason, and prints nothing", async (_what, path, reason) => {
    const { code, out, err } = await run([path()]);
    expect({ code, out }).toEqual({ code: 1, out: "" });
    expect(err).toMatch(reason);
  });

  test("a capture without packets is read", async () => {
    const { code, out } = await run([put("none.pcap", pcapFile([])), "--json"]);
    expect({ code, answer: JSON.parse(out) as Answer }).toEqual({
      code: 0,
      answer: { Device: [], Destination: [], DNSQuery: [] },
    });
  });

  test("--lan overrides what would be worked out", async () => {
    const path = put("lan.pcap", bytes);
    const sent = async (...args: string[]) => {
      const { out } = await run([path, "--json", ...args]);
      const { Device } = JSON.parse(out) as Answer;
      return new Map(Device.map(({ PhysAddress, Stats }) => [PhysAddress, Stats["BytesSent"] ?? 0]));
    };
    // Three of the eight lie outside of this /28 (or have its broadcast address); IPv6, of which nothing is said, is still worked out.
    const narrow = await sent("--lan", "192.168.1.0/28");
    books.devices.forEach(({ mac, bytesSent }, i) => {
      if (i < 5) expect(narrow.get(mac)).toBe(bytesSent);
      else expect(narrow.get(mac)).toBeLessThan(bytesSent);
    });
    const only = await sent("--lan", "192.168.1.0/24", "--lan=2001:db8:1::100");
    expect(only.get((books.devices[0] as (typeof books.devices)[0]).mac)).toBe(books.devices[0]?.bytesSent);
    expect(only.get((books.devices[1] as (typeof books.devices)[0]).mac)).toBeLessThan(
      books.devices[1]?.bytesSent ?? 0,
    );
  });

  test.each([
    [[], "no FILE given"],
    [["a", "b"], "one FILE at a time, not a and b"],
    [["a", "--lan", "300.0.0.0/8"], "--lan 300.0.0.0/8: not an address prefix"],
    [["a", "--lan"], "--lan needs a prefix"],
    [["a", "--speed", "fast"], "--speed fast: neither a positive number nor max"],
    [["a", "--speed", "0"], "--speed 0: neither a positive number nor max"],
    [["a", "--frobnicate"], "unknown option --frobnicate"],
  ])("%j is a usage error", async (args, message) => {
    const { code, out, err } = await run(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(`replay: ${message}\nusage: spin-usp replay FILE`);
  });

  test("interrupted in capture time prints what it has, and exits 130", async () => {
    const { code, out } = await run(
      [put("slow.pcap", bytes), "--speed", "1", "--json"],
      undefined,
      AbortSignal.timeout(400),
    );
    expect(code).toBe(130);
    expect((JSON.parse(out) as Answer).Device.length).toBeGreaterThan(0);
  });
});
