/**
 * Live captures on the gateway of a live home, as the resident and as an operator have them: the file of one device and
 * of no other, headers alone for who is not at home, and the end of it all by Cancel, by the agent's stop, by its target.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CaptureReader } from "../../src/capture/pcap-reader.ts";
import { macFromBytes, parseMac } from "../../src/lib/address.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { bundle, residentSocket } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import type { HomeDevice } from "../support/home-device.ts";
import { GATEWAY4 } from "../support/home-network.ts";
import { exec, start } from "../support/namespace.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { scene, sceneMissing, type Scene } from "../support/scene.ts";

const SERVER = "198.51.100.10";
const SINK = "198.51.100.60";
const SINK_PORT = 8099;
/** Takes what is PUT, one file a path; under /hang nothing is ever answered, under /no it is refused. */
const SINK_SCRIPT = `
const { createServer } = require("node:http");
const { createWriteStream } = require("node:fs");
const server = createServer((request, response) => {
  const name = request.url.replace(/[^a-z0-9.]/g, "");
  if (request.url.startsWith("/no")) return void response.writeHead(403).end();
  if (request.url.startsWith("/hang")) return void request.pause();
  request.pipe(createWriteStream(process.argv[1] + "/" + name)).on("finish", () => response.writeHead(201).end());
});
server.listen(${SINK_PORT}, "0.0.0.0", () => console.log("ready"));
`;

describeUnless(sceneMissing() ?? missing("tcpdump"), "captures of a live home", () => {
  let stage: Scene;
  let sink: ChildProcess;
  /** Folder of captures without a target. */
  let kept: string;
  let camera: HomeDevice;
  let laptop: HomeDevice;
  beforeAll(async () => {
    kept = await mkdtemp(join(tmpdir(), "spin-kept-"));
    stage = await scene({ devices: 2, agent: { capture: { folder: join(kept, "captures") } } });
    [camera, laptop] = [stage.home.device(1), stage.home.device(2)];
    sink = start(stage.home.internet, process.execPath, ["-e", SINK_SCRIPT, stage.home.folder]);
    await once(sink.stdout as NonNullable<typeof sink.stdout>, "data");
    await camera.ping(GATEWAY4, { count: 1 });
    await laptop.ping(GATEWAY4, { count: 1 });
    await stage.operator.device(camera.mac);
    await stage.operator.device(laptop.mac);
  }, 60_000);
  afterAll(async () => {
    sink?.kill();
    await stage?.end();
    await rm(kept, { recursive: true, force: true });
  });

  const path = (name: string) => join(stage.home.folder, name);
  const target = (name: string) => `http://${SINK}:${SINK_PORT}/${name}`;

  /** `ctl` on the gateway, as the resident. */
  function ctl(...args: string[]) {
    const all = [bundle(), "ctl", ...args, "--socket", residentSocket(stage.home.folder)];
    const child = start(stage.home.gateway, process.execPath, all);
    let err = "";
    const chunks: Buffer[] = [];
    child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
    child.stdout?.on("data", (chunk: Buffer) => void chunks.push(chunk));
    const ended = once(child, "close").then(([code]) => ({ code: code as number, err, out: Buffer.concat(chunks) }));
    return { child, ended, said: () => err };
  }

  const run = async (device: HomeDevice, input: Record<string, string>) => {
    const row = (await stage.operator.deviceRow(device.mac)) as string;
    return stage.operator.connection.operate(`${row}CaptureTraffic()`, input);
  };
  /** The request row, once the capture is under way. */
  const request = async () => {
    const rows = () => stage.operator.get("Device.LocalAgent.Request.*.Status");
    const found = await eventually(rows, (all) => [...all.values()].includes("Active"), { what: "the request" });
    return [...found.keys()][0]?.replace(/Status$/, "") as string;
  };
  const errorOf = (promise: Promise<unknown>) =>
    promise.then(
      () => "done",
      (error: unknown) => {
        if (!(error instanceof UspError)) throw error;
        return `${error.code} ${error.message}`;
      },
    );
  /** Both talk, in the clear and of what nobody else should know; until told to stop. */
  const talk = async () => {
    await Promise.all(
      [camera, laptop].map(async (device) => {
        await device.ping(SERVER, { count: 2, size: 100 });
        await device.tcp(SERVER, { up: 3000, down: 3000 });
      }),
    );
  };

  test("the resident has the packets of one device, and of no other", async () => {
    const { ended, said } = ctl("capture", camera.mac, "-o", path("camera.pcap"), "--packets", "12");
    await eventually(
      () => Promise.resolve(said()),
      (text) => text.includes("capturing"),
      { what: "it says so" },
    );
    const done = ended.then(() => true);
    for (let round = 0; round < 20; round++) {
      await talk();
      if (await Promise.race([done, new Promise((resolve) => setTimeout(resolve, 100, false))])) break;
    }
    const { code, err } = await ended;
    expect({ code, err }).toEqual({ code: 0, err: expect.stringMatching(/12 packets, .*PacketCount is reached/) });
    expect(statSync(path("camera.pcap")).mode & 0o777).toBe(0o600);
    const packets = packetsIn(readFileSync(path("camera.pcap")));
    const mac = parseMac(camera.mac) as number;
    expect(packets).toHaveLength(12);
    expect(packets.filter((each) => macFromBytes(each, 0) !== mac && macFromBytes(each, 6) !== mac)).toEqual([]);
    expect(Math.max(...packets.map(({ length }) => length))).toBeGreaterThan(134);
    const { stdout } = await exec(undefined, "tcpdump", ["-n", "-e", "-r", path("camera.pcap"), "icmp"]);
    expect(stdout).toContain(camera.mac.toLowerCase());
    expect(stdout).not.toContain(laptop.mac.toLowerCase());
    expect(stdout).toMatch(/ICMP echo request/);
  }, 30_000);

  test("what it came to is JSON where that is asked for; wrong words and a full disk are told", async () => {
    const talking = setInterval(() => void camera.ping(GATEWAY4, { count: 1 }), 100);
    try {
      const json = await ctl("capture", camera.mac, "-o", path("j.pcap"), "--packets", "2", "--json").ended;
      expect(JSON.parse(json.out.toString())).toMatchObject({ Status: "Complete", PacketCount: 2, HeadersOnly: false });
      const [nobody, nowhere, full] = await Promise.all([
        ctl("capture", "nobody", "-o", path("none.pcap")).ended,
        ctl("capture", camera.mac).ended,
        ctl("capture", camera.mac, "-o", "/dev/full", "--packets", "5").ended,
      ]);
      expect(nobody).toMatchObject({ code: 2, err: expect.stringContaining("no device") as string });
      expect(existsSync(path("none.pcap"))).toBe(false);
      expect(nowhere).toMatchObject({ code: 2, err: expect.stringContaining("-o FILE") as string });
      // One that is refused leaves no file, and an older one there as it was.
      const before = readFileSync(path("j.pcap"));
      for (const file of ["j.pcap", "refused.pcap"])
        expect(await ctl("capture", camera.mac, "-o", path(file), "--snap", "70000").ended).toMatchObject({ code: 1 });
      expect(existsSync(path("refused.pcap"))).toBe(false);
      expect(readFileSync(path("j.pcap")).equals(before)).toBe(true);
      // One that is not takes its place.
      await ctl("capture", camera.mac, "-o", path("j.pcap"), "--packets", "1").ended;
      expect(packetsIn(readFileSync(path("j.pcap")))).toHaveLength(1);
      expect(full).toMatchObject({ code: 3, err: expect.stringContaining("no space") as string });
    } finally {
      clearInterval(talking);
    }
  }, 30_000);

  test("into a pipe, until Ctrl-C", async () => {
    const { child, ended, said } = ctl("capture", camera.mac, "-o", "-");
    let bytes = 0;
    child.stdout?.on("data", (chunk: Buffer) => (bytes += chunk.length));
    await eventually(
      () => Promise.resolve(said()),
      (text) => text.includes("capturing"),
      { what: "it says so" },
    );
    await eventually(
      async () => {
        await camera.ping(GATEWAY4, { count: 1 });
        return bytes;
      },
      (count) => count > 200,
      { what: "packets come while they pass" },
    );
    child.kill("SIGINT");
    const { code, out, err } = await ended;
    expect({ code, err }).toEqual({ code: 0, err: expect.stringMatching(/ended; /) });
    expect(packetsIn(out).length).toBeGreaterThan(1);
    expect((await stage.operator.get("Device.LocalAgent.RequestNumberOfEntries")).values().next().value).toBe("0");
  }, 30_000);

  test("an operator has headers alone, at a target outside", async () => {
    const result = run(camera, { FileTarget: target("op.pcap"), PacketCount: "20", Duration: "20" });
    await request();
    await talk();
    await talk();
    const output = await result;
    expect(output.get("Status")).toBe("Complete");
    expect(output.get("HeadersOnly")).toBe("true");
    expect(output.get("PacketCount")).toBe("20");
    expect(output.get("FileLocation")).toBe(target("op.pcap"));
    const packets = packetsIn(readFileSync(path("op.pcap")));
    expect(packets).toHaveLength(20);
    // Ethernet, IPv4 and TCP with all of its options.
    expect(Math.max(...packets.map(({ length }) => length))).toBeLessThanOrEqual(14 + 20 + 60);
    // Its role is in SecuredRoles and the level is Destinations: whom is not secret, what is.
    expect(packets.some((each) => each.includes(Buffer.from(SERVER.split(".").map(Number))))).toBe(true);
  }, 40_000);

  test("an operator that may not see whom devices talk to does not learn it from headers", async () => {
    await stage.operator.connection.set("Device.X_SPIN.", { PrivacyLevel: "Devices" });
    try {
      const result = run(camera, { FileTarget: target("masked.pcap"), PacketCount: "12", Duration: "20" });
      await request();
      await talk();
      await talk();
      expect((await result).get("HeadersOnly")).toBe("true");
      const packets = packetsIn(readFileSync(path("masked.pcap")));
      expect(packets).toHaveLength(12);
      for (const peer of [SERVER, SINK])
        expect(packets.some((each) => each.includes(Buffer.from(peer.split(".").map(Number))))).toBe(false);
    } finally {
      await stage.operator.connection.set("Device.X_SPIN.", { PrivacyLevel: "Destinations" });
    }
  }, 40_000);

  test("a second capture of the device is refused, and Cancel() sends what there is", async () => {
    const first = run(camera, { FileTarget: target("cancelled.pcap") });
    const row = await request();
    expect(await errorOf(run(camera, { FileTarget: target("second.pcap") }))).toBe("7005 a capture of it runs already");
    await camera.ping(GATEWAY4, { count: 3 });
    const before = Date.now();
    await stage.operator.connection.operate(`${row}Cancel()`);
    expect(await errorOf(first)).toMatch(/^7023 cancelled by Request.Cancel\(\); [1-9]\d* packets were delivered, 0 /);
    expect(Date.now() - before).toBeLessThan(3000);
    expect(packetsIn(readFileSync(path("cancelled.pcap"))).length).toBeGreaterThan(5);
    expect(existsSync(path("second.pcap"))).toBe(false);
  }, 30_000);

  test("a target that refuses, hangs, or is in the home is told in words", async () => {
    expect(await errorOf(run(camera, { FileTarget: target("no") }))).toMatch(/^7022 FileTarget: .* answered 403/);
    expect(await errorOf(run(camera, { FileTarget: `http://${SINK}:1/x` }))).toMatch(/^7022 FileTarget: .* refuses/);
    for (const inside of [GATEWAY4, laptop.ipv4, "127.0.0.1", "[::1]", "[fe80::1]", `[${laptop.ipv6}]`, "localhost"])
      expect(await errorOf(run(camera, { FileTarget: `http://${inside}:8/` }))).toMatch(
        /^7022 FileTarget: .* is .*: a capture goes there only for the resident$/,
      );
    const hanging = run(camera, { FileTarget: target("hang"), Duration: "1" });
    const row = await request();
    await eventually(() => camera.ping(GATEWAY4, { count: 1 }), Boolean, { what: "a packet" });
    await new Promise((resolve) => setTimeout(resolve, 1200));
    await stage.operator.connection.operate(`${row}Cancel()`);
    expect(await errorOf(hanging)).toMatch(/^7023 /);
  }, 40_000);

  test("SPIN §19, command injection: no argument of a capture ever reaches a shell", async () => {
    const mark = path("injected");
    const words = [`;touch ${mark};`, `$(touch ${mark})`, `\`touch ${mark}\``, `|touch ${mark}`, `\n touch ${mark}\n`];
    const row = (await stage.operator.deviceRow(camera.mac)) as string;
    for (const word of words) {
      const base = { Duration: "1", FileTarget: target("injection") };
      for (const name of ["FileTarget", "Username", "Password", "Method", "Format", "Duration", "SnapLength"])
        await errorOf(stage.operator.connection.operate(`${row}CaptureTraffic()`, { ...base, [name]: word }));
      for (const name of ["Interface", "FilterExpression", "FileTarget", "Format", "Username"])
        expect(
          await errorOf(
            stage.operator.connection.operate("Device.PacketCaptureDiagnostics()", { ...base, [name]: word }),
          ),
        ).toMatch(/^7027 /);
    }
    // An argument that there is none of is left out; without a target the file stays, for root and the agent alone.
    const output = await stage.operator.connection.operate(`${row}CaptureTraffic()`, {
      Duration: "1",
      device: words[1] as string,
    });
    const location = output.get("FileLocation") as string;
    const name = `capture-${camera.mac.replaceAll(":", "").toLowerCase()}-headers.pcap`;
    expect(location).toBe(join(kept, "captures", name));
    expect(statSync(location).mode & 0o777).toBe(0o600);
    expect(existsSync(mark)).toBe(false);
    // And what is captured is one device, whatever is said: SPIN took `ether host` and all that stood behind it.
    expect(
      await errorOf(
        stage.operator.connection.operate("Device.PacketCaptureDiagnostics()", {
          FilterExpression: `ether host ${camera.mac} or ether host ${laptop.mac}`,
        }),
      ),
    ).toMatch(/^7027 FilterExpression /);
  }, 60_000);

  test("PacketCaptureDiagnostics() is as TR-181 has it", async () => {
    const diagnose = (input: Record<string, string>) =>
      stage.operator.connection.operate("Device.PacketCaptureDiagnostics()", input);
    const result = diagnose({
      Interface: 'Device.IP.Interface.[Name=="br-lan"].',
      Duration: "20",
      PacketCount: "3",
      FileTarget: target("diag.pcapng"),
      FilterExpression: `host ${camera.ipv4}`,
      Format: "pcapng",
    });
    await request();
    await camera.ping(GATEWAY4, { count: 3 });
    const output = await result;
    expect(Object.fromEntries(output)).toMatchObject({
      Status: "Complete",
      "PacketCaptureResult.1.FileLocation": target("diag.pcapng"),
      "PacketCaptureResult.1.Count": "3",
      "PacketCaptureResult.1.StartTime": expect.stringMatching(/^20\d\d-/) as string,
      "PacketCaptureResult.1.EndTime": expect.stringMatching(/^20\d\d-/) as string,
    });
    expect(packetsIn(readFileSync(path("diag.pcapng")))).toHaveLength(3);
    expect(
      Object.fromEntries(await diagnose({ FileTarget: target("no"), FilterExpression: `host ${camera.ipv4}` })),
    ).toEqual({
      Status: "Error_Other",
    });
    expect(await errorOf(diagnose({ Interface: "wan", FileTarget: target("x") }))).toMatch(/^7027 Interface .*br-lan/);
    expect(await errorOf(diagnose({ FilterExpression: "tcp port 80" }))).toMatch(/^7027 FilterExpression /);
  }, 30_000);

  test("the agent's stop ends it in order, and the next life begins nothing", async () => {
    const { notifications } = stage.operator.connection;
    const since = notifications.length;
    // Its controller then waits for the agent to delete the subscription, which is not what is looked at here.
    const first = errorOf(run(camera, { FileTarget: target("stopped.pcap") }));
    await request();
    await camera.ping(GATEWAY4, { count: 3 });
    expect(await stage.agent.stop()).toBe(0);
    expect(readdirSync(join(kept, "captures"))).toEqual([]);
    const end = notifications.slice(since).find(({ kind }) => kind === "OperationComplete");
    expect(end).toMatchObject({
      error: {
        code: 7022,
        message: expect.stringMatching(/^the agent stops; [1-9]\d* packets were delivered/) as string,
      },
    });
    expect(packetsIn(readFileSync(path("stopped.pcap"))).length).toBeGreaterThan(5);
    stage.agent.restart();
    await stage.operator.ready();
    expect(await stage.operator.value("Device.LocalAgent.RequestNumberOfEntries")).toBe("0");
    void first;
  }, 40_000);
});

function packetsIn(file: Buffer): Buffer[] {
  const reader = new CaptureReader();
  const packets: Buffer[] = [];
  reader.feed(file, 0, file.length);
  while (reader.next())
    packets.push(Buffer.from(reader.buffer.subarray(reader.offset, reader.offset + reader.captured)));
  expect(reader.error).toBeUndefined();
  return packets;
}
