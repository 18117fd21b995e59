/** `spin-usp ctl` as an operator types it, against the agent on the gateway of a live home, through mosquitto. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import type { Agent } from "../support/agent.ts";
import { AGENT_ID, AGENT_TOPIC, bundle, CONTROLLER_ID, CONTROLLER_TOPIC } from "../support/agent.ts";
import type { HomeDevice } from "../support/home-device.ts";
import { Home } from "../support/home.ts";
import { Operator } from "../support/operator.ts";
import { eventually, pause } from "../support/eventually.ts";
import { describeUnless, missing } from "../support/needs.ts";
import { sceneMissing, startAgent } from "../support/scene.ts";

interface Device {
  PhysAddress: string;
  HostName: string;
  Name: string;
  IPv4Address: string;
  Blocked: boolean;
  Active: boolean;
  Stats: Record<string, number>;
}
interface Rule {
  Action: string;
  MACAddressList: string;
  DestinationList: string;
  Status: string;
  Creator: string;
  Reason: string;
  ExpiryDate: string;
  HitPackets: number;
}

const SERVER = "198.51.100.10";

/** All of it over MQTT 5; the main job over 3.1.1 too. */
describe.each(["5", "3.1.1"] as const)("over MQTT %s", (version) => {
  describeUnless(sceneMissing(), "ctl against the agent", () => {
    let home: Home;
    let agent: Agent;
    let operator: Operator | undefined;
    let laptop: HomeDevice;
    let camera: HomeDevice;
    beforeAll(async () => {
      home = await Home.up({ devices: 3, broker: true });
      agent = await startAgent(home, { mqttVersion: version === "5" ? "5.0" : version });
      await agent.unlessItDies(
        eventually(
          async () => (await ctl("get", "Device.X_SPIN.Status", "--timeout", "1s")).out,
          (out) => /= (?:Running|Degraded)/.test(out),
          { what: "Status", timeoutMs: 20_000 },
        ),
      );
      laptop = home.device(1);
      camera = home.device(2);
      await home.writeLeases([
        { device: laptop, name: "laptop" },
        { device: camera, name: "camera" },
      ]);
      await laptop.resolve("www.example");
      await laptop.tcp(SERVER, { up: 20_000, down: 300_000 });
      await laptop.udp("198.51.100.20", { count: 5, size: 100 });
      await camera.udp("2001:db8:100::30", { count: 5, size: 100 });
      const seen = async () => {
        const { code, out } = await ctl("devices", "--json", "--timeout", "1s");
        return code === 0 ? (JSON.parse(out) as { Device: Device[] }).Device : [];
      };
      await agent.unlessItDies(
        eventually(
          seen,
          (devices) =>
            devices.some(({ HostName }) => HostName === "camera") &&
            devices.some(({ HostName, Stats }) => HostName === "laptop" && (Stats["BytesReceived"] ?? 0) > 300_000),
          { what: "the devices", timeoutMs: 20_000 },
        ),
      );
      if (version === "5") operator = await Operator.connect(agent, home.broker);
    }, 60_000);
    afterAll(async () => {
      await operator?.close();
      if (agent?.running) await agent.kill();
      await home?.down();
    });

    const environment = () => ({
      PATH: process.env["PATH"] ?? "",
      SPIN_USP_BROKER: `mqtt://127.0.0.1:${home.broker.port}`,
      SPIN_USP_AGENT: AGENT_ID,
      SPIN_USP_CONTROLLER: CONTROLLER_ID,
      SPIN_USP_AGENT_TOPIC: AGENT_TOPIC,
      SPIN_USP_VERSION: version,
    });
    const launch = (args: readonly string[]): ChildProcess =>
      spawn(process.execPath, [bundle(), "ctl", ...args], {
        env: environment(),
        stdio: ["ignore", "pipe", "pipe"],
      });
    async function outcome(child: ChildProcess): Promise<{ code: number | null; out: string; err: string }> {
      let out = "";
      let err = "";
      child.stdout?.on("data", (chunk: Buffer) => (out += chunk.toString()));
      child.stderr?.on("data", (chunk: Buffer) => (err += chunk.toString()));
      const [code] = (await once(child, "close")) as [number | null];
      return { code, out, err };
    }
    const ctl = (...args: string[]) => outcome(launch(args));
    async function json<T>(...args: string[]): Promise<T> {
      const { code, out, err } = await ctl(...args, "--json");
      expect({ code, err }).toEqual({ code: 0, err: "" });
      return JSON.parse(out) as T;
    }
    const rules = async () => (await json<{ Rule: Rule[] }>("rules")).Rule;

    test("devices are a table", async () => {
      const { code, out, err } = await ctl("devices");
      expect({ code, err }).toEqual({ code: 0, err: "" });
      const [head, ...rows] = out.trimEnd().split("\n");
      expect(head).toMatch(/^NAME +TYPE +VENDOR +MAC +ADDRESSES +SENT +RECEIVED +RATE +LAST SEEN +BLOCKED$/);
      const row = rows.find((line) => line.includes(laptop.mac));
      expect(row).toMatch(
        new RegExp(`^laptop +${laptop.mac} +${laptop.ipv4.replaceAll(".", "\\.")}.* [\\d.]+ kB +[\\d.]+ kB `),
      );
      expect(out).not.toContain("02:AA:00:00:FF:01");
    }, 20_000);

    test("a device is blocked, the kernel drops it, and it is unblocked", async () => {
      const stream = camera.stream("udp", SERVER);
      await stream.flowing();
      const { code, out } = await ctl("block", "camera", "--for", "1h", "--reason", "scans the network");
      expect({ code, out }).toMatchObject({
        code: 0,
        out: expect.stringMatching(/^camera \(02:AA:00:00:00:02\): blocked by Device\.X_SPIN\.Rule\.\d+\.\n$/),
      });
      expect(await stream.during(500)).toBe(0);
      const [rule] = await rules();
      expect(rule).toMatchObject({
        Action: "Block",
        MACAddressList: camera.mac,
        Status: "Enabled",
        Creator: CONTROLLER_ID,
        Reason: "scans the network",
      });
      const left = Date.parse(rule?.ExpiryDate ?? "") - Date.now();
      expect(left).toBeGreaterThan(3500_000);
      expect(left).toBeLessThan(3601_000);
      expect((await ctl("devices")).out).toMatch(/camera .* blocked$/m);
      await eventually(
        async () => (await rules())[0]?.HitPackets ?? 0,
        (hits) => hits > 0,
        { what: "HitPackets" },
      );
      expect(await ctl("unblock", "camera")).toEqual({ code: 0, out: "camera is not blocked any more\n", err: "" });
      expect(await ctl("unblock", "camera")).toEqual({ code: 0, out: "camera was not blocked\n", err: "" });
      await stream.flowing();
      await stream.stop();
      expect(await rules()).toEqual([]);
      // A rule with a schedule stays, and who lifts blocks is told of it.
      const slot = `${["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][(new Date().getDay() + 3) % 7]} 8:00-9:00`;
      expect((await ctl("block", "camera", "--when", slot)).code).toBe(0);
      expect(await ctl("unblock", "camera")).toEqual({
        code: 0,
        out: expect.stringMatching(
          /^camera was not blocked\nDevice\.X_SPIN\.Rule\.\d+\. blocks it at times still; delete it to end that\n$/,
        ),
        err: "",
      });
      expect((await ctl("delete", "Device.X_SPIN.Rule.*.")).code).toBe(0);
    }, 60_000);

    if (version !== "5") return;

    test("devices are JSON in the model's own names, types and structure", async () => {
      const { Device } = await json<{ Device: Device[] }>("devices");
      const row = Device.find(({ PhysAddress }) => PhysAddress === laptop.mac) as Device;
      const model = await (operator as Operator).deviceParameters(laptop.mac);
      const flat = [
        ...Object.keys(row).filter((name) => name !== "Stats" && typeof row[name as keyof Device] !== "object"),
        ...Object.keys(row.Stats).map((name) => `Stats.${name}`),
      ];
      expect(flat.sort()).toEqual([...model.keys()].filter((name) => /^(?:Stats\.)?\w+$/.test(name)).sort());
      expect(row).toMatchObject({ HostName: "laptop", Blocked: false });
      for (const value of Object.values(row.Stats)) expect(typeof value).toBe("number");
      expect(row.Stats["BytesReceived"]).toBeGreaterThan(300_000);
    });

    test("top tells whom a device talks to, most bytes first", async () => {
      const { code, out } = await ctl("top", "laptop");
      expect(code).toBe(0);
      const lines = out.trimEnd().split("\n");
      expect(lines[0]).toBe(`laptop (${laptop.mac})`);
      expect(lines[1]).toMatch(/^DESTINATION +ADDRESS +SERVICE +SENT +RECEIVED +LAST SEEN +BLOCKED$/);
      expect(lines[2]).toMatch(/^www\.example +198\.51\.100\.10 +tcp\/\d+ /);
      const { Row } = await json<{ Row: Record<string, unknown>[] }>("top", laptop.ipv4, "--since", "1h");
      expect(Row[0]).toMatchObject({
        PhysAddress: laptop.mac,
        Domain: "www.example",
        Address: SERVER,
        Protocol: 6,
        Blocked: false,
      });
      expect(Object.keys(Row[0] ?? {})).toEqual(
        expect.arrayContaining([
          "PhysAddress",
          "Domain",
          "Address",
          "Protocol",
          "Port",
          "BytesSent",
          "BytesReceived",
          "FirstSeen",
          "LastSeen",
          "Blocked",
        ]),
      );
    });

    test("flows are told, of all, of one device, and of one destination", async () => {
      expect((await ctl("flows")).out).toMatch(/camera +→ +- +2001:db8:100::30 +udp\/\d+ /);
      const { Row } = await json<{ Row: Record<string, unknown>[] }>("flows", "laptop", "--limit", "100");
      expect(new Set(Row.map((row) => row["PhysAddress"]))).toEqual(new Set([laptop.mac]));
      const one = await json<{ Row: Record<string, unknown>[] }>("flows", "--destination", "198.51.100.20/32");
      expect(one.Row.map((row) => row["Address"])).toEqual(["198.51.100.20"]);
      const named = await json<{ Row: Record<string, unknown>[] }>("flows", "--destination", "example");
      expect(new Set(named.Row.map((row) => row["Domain"]))).toEqual(new Set(["www.example"]));
    });

    test("a destination is blocked for all, a prefix for one device only", async () => {
      const passes = async (device: typeof laptop, to: string) =>
        (await device.udp(to, { count: 3, waitMs: 600 })).received;
      expect((await ctl("block", "198.51.100.66")).code).toBe(0);
      expect(await passes(laptop, "198.51.100.66")).toBe(0);
      expect(await passes(laptop, "198.51.100.67")).toBe(3);
      expect((await ctl("block", "198.51.100.67/32", "--device", "camera")).code).toBe(0);
      expect(await passes(camera, "198.51.100.67")).toBe(0);
      expect(await passes(laptop, "198.51.100.67")).toBe(3);
      expect((await rules()).map(({ MACAddressList, DestinationList }) => [MACAddressList, DestinationList])).toEqual([
        ["*", "198.51.100.66"],
        [camera.mac, "198.51.100.67"],
      ]);
      const { out } = await ctl("rules");
      expect(out).toMatch(/^1?\d +Block +\* +198\.51\.100\.66 +any +Enabled +\d/m);
      expect(out).toMatch(/Block +camera +198\.51\.100\.67 /);
      expect((await ctl("unblock", "198.51.100.66")).out).toMatch(/^deleted Device\.X_SPIN\.Rule\.\d+\.\n$/);
      expect((await ctl("unblock", "198.51.100.67", "--device", "camera")).code).toBe(0);
      expect(await passes(camera, "198.51.100.67")).toBe(3);
      expect(await ctl("unblock", "198.51.100.66")).toMatchObject({
        code: 1,
        out: expect.stringContaining("no rule of"),
      });
      expect(await ctl("rules")).toMatchObject({ code: 0, out: "no rules\n" });
    }, 60_000);

    test("a domain is blocked for who resolves it", async () => {
      expect((await ctl("block", "wild.example")).code).toBe(0);
      const address = await laptop.resolve("fresh.wild.example");
      expect((await laptop.udp(address, { count: 3, waitMs: 600 })).received).toBe(0);
      expect((await ctl("unblock", "wild.example")).code).toBe(0);
    }, 30_000);

    test("subscribe prints what comes, until Ctrl-C, and leaves no row behind", async () => {
      const count = async () => (await (operator as Operator).get("Device.LocalAgent.Subscription.*.ID")).size;
      const before = await count();
      const child = launch([
        "subscribe",
        "ValueChange",
        "Device.X_SPIN.Device.*.Name",
        "--json",
        "--reply-topic",
        CONTROLLER_TOPIC,
      ]);
      const ends = outcome(child);
      await eventually(count, (rows) => rows === before + 1, { what: "the rows of Subscription" });
      const row = await (operator as Operator).device(laptop.mac);
      expect(await ctl("set", `${row}Name=Anna's laptop`)).toMatchObject({
        code: 0,
        out: `${row}Name = Anna's laptop\n`,
      });
      await pause(500);
      child.kill("SIGINT");
      const { code, out, err } = await ends;
      expect({ code, err }).toEqual({ code: 0, err: "" });
      expect(JSON.parse(out)).toEqual({ Kind: "ValueChange", Path: `${row}Name`, Value: "Anna's laptop" });
      expect(await count()).toBe(before);
      expect((await ctl("top", "anna's LAPTOP")).code).toBe(0);
      await ctl("set", `${row}Name=`);
    }, 30_000);

    test("watch prints anew, piped, until it is ended", async () => {
      const child = launch(["watch", "--interval", "1s"]);
      const ends = outcome(child);
      await pause(2500);
      child.kill("SIGTERM");
      const { code, out } = await ends;
      expect(code).toBe(0);
      expect((out.match(/^NAME /gm) ?? []).length).toBeGreaterThanOrEqual(2);

      expect(out).not.toMatch(/\u001b/);
    }, 20_000);

    describeUnless(missing("script"), "on a terminal", () => {
      test("watch draws over what it drew, no wider than the terminal, and gives it back on Ctrl-C", async () => {
        const command = `stty cols 80 rows 24; exec ${process.execPath} ${bundle()} ctl watch --interval 1s`;
        const child = spawn("script", ["-qfec", command, "/dev/null"], {
          env: environment(),
          stdio: ["pipe", "pipe", "pipe"],
        });
        const ends = outcome(child);
        await pause(3500);
        child.stdin?.write("\u0003");
        const { out } = await ends;
        expect(out.match(/\u001b\[H/g)?.length).toBeGreaterThanOrEqual(2);
        const drawn = out.split("\n").map((line) => line.replace(/\u001b\[[0-9;?]*[A-Za-z]|\r|\^C/g, ""));
        expect(Math.max(...drawn.map((line) => [...line].length))).toBeLessThanOrEqual(80);
      }, 20_000);
    });

    test.each([
      [["devices"], 0],
      [["get", "Device.X_SPIN.Nope"], 1],
      [["set", "Device.X_SPIN.Status=Running"], 1],
      [["block", "fridge"], 2],
      [["get", "Device.DeviceInfo.", "Device.Nope"], 5],
      [["devices", "--broker", "mqtt://127.0.0.1:1"], 3],
      [["devices", "--agent", "os::02AA00-NOBODY", "--timeout", "1s"], 4],
      [["devices", "--controller", "self::stranger", "--timeout", "1s"], 4],
    ])("%j exits with %d", async (args, expected) => {
      const { code, err } = await ctl(...args);
      expect(code).toBe(expected);
      if (expected !== 0) expect(err).toMatch(/^error: /);
    });

    test("the words that are USP's own work on the real model", async () => {
      const { out } = await ctl("get", "Device.DeviceInfo.SoftwareVersion", "Device.X_SPIN.Summary.DeviceCount");
      expect(out).toMatch(
        /^Device\.DeviceInfo\.SoftwareVersion = \d+\.\d+\.\d+\nDevice\.X_SPIN\.Summary\.DeviceCount = \d+\n$/,
      );
      const added = await ctl(
        "add",
        "Device.X_SPIN.Rule.",
        "Action=Count",
        "MACAddressList=*",
        "DestinationList=203.0.113.9",
        "Enable=true",
      );
      expect(added.out).toMatch(/^Device\.X_SPIN\.Rule\.\d+\.\n$/);
      expect(
        await ctl("add", "Device.X_SPIN.Rule.", "Action=Count", "MACAddressList=*", "DestinationList=203.0.113.9"),
      ).toMatchObject({
        code: 1,
        err: expect.stringMatching(/^error: 7025 /),
      });
      expect((await ctl("instances", "Device.X_SPIN.Rule.")).out).toContain(
        `${added.out.trim()} Creator="${CONTROLLER_ID}" Action="Count" `,
      );
      expect((await ctl("delete", added.out.trim())).out).toBe(added.out);
      expect(await ctl("delete", `Device.X_SPIN.Rule.[Reason=="nobody's"].`)).toEqual({
        code: 0,
        out: "there was nothing to delete\n",
        err: "",
      });
      expect((await ctl("supported", "Device.X_SPIN.Rule.")).out).toContain("  HitPackets (readOnly, unsignedLong)\n");
      const operated = await json<{ Command: { Output: { Row: unknown[] } }[] }>(
        "operate",
        "Device.X_SPIN.Query()",
        "Kind=Flows",
        "Limit=2",
      );
      expect(operated.Command[0]?.Output.Row).toHaveLength(2);
    }, 30_000);
  });
});
