/** The operator's tool, from its arguments to its text and exit code, over a real broker against a scripted home. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "../../datamodel/spin.ts";
import { runCtl } from "../../src/cli/ctl.ts";
import { freePort, hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";
import { Responder, RESPONDER_ID } from "../support/responder.ts";
import { ScriptedHome } from "../support/scripted-home.ts";

const NOW = Date.parse("2026-03-01T12:00:00Z");
const CAMERA = "02:00:00:00:00:01";
const LAPTOP = "02:00:00:00:00:02";
const suite = hasMosquitto ? describe : describe.skip;

const stats = {
  "Stats.BytesSent": "1500000",
  "Stats.BytesReceived": "18446744073709551615",
  "Stats.BytesSentRate": "1200",
  "Stats.BytesReceivedRate": "0",
};
const devices = [
  {
    PhysAddress: CAMERA,
    Alias: "cpe-1",
    Name: "Camera",
    HostName: "ipcam",
    Vendor: "Example",
    IPv4Address: "192.0.2.7,192.0.2.8",
    IPv6Address: "2001:db8::7",
    LastSeen: "2026-03-01T11:59:00Z",
    Blocked: "false",
    ...stats,
  },
  {
    PhysAddress: LAPTOP,
    Alias: "cpe-2",
    Name: "",
    HostName: "laptop\u001b[2J",
    Vendor: "",
    IPv4Address: "192.0.2.9",
    IPv6Address: "",
    LastSeen: "0001-01-01T00:00:00Z",
    Blocked: "true",
    ...stats,
  },
  {
    PhysAddress: "02:00:00:00:00:03",
    Alias: "cpe-3",
    Name: "Twin",
    HostName: "",
    Vendor: "",
    IPv4Address: "",
    IPv6Address: "",
    LastSeen: "2026-03-01T12:00:00Z",
    Blocked: "false",
    ...stats,
  },
  {
    PhysAddress: "02:00:00:00:00:04",
    Alias: "cpe-4",
    Name: "twin",
    HostName: "",
    Vendor: "",
    IPv4Address: "",
    IPv6Address: "",
    LastSeen: "2026-03-01T12:00:00Z",
    Blocked: "false",
    ...stats,
  },
];

suite(`spin-usp ctl${hasMosquitto ? "" : " (SKIPPED: no mosquitto)"}`, () => {
  let broker: Broker;
  let agent: Responder;
  let home: ScriptedHome;
  beforeAll(async () => {
    broker = await startMosquitto({ config: ["set_tcp_nodelay true"] });
  });
  afterAll(() => broker.stop());
  beforeEach(async () => {
    home = new ScriptedHome(devices);
    agent = await Responder.start(broker.url, "5", home.answer);
  });
  afterEach(() => agent.close());

  /** Runs a command line as it would be typed; words with blanks as their own arguments. */
  async function ctl(...args: string[]) {
    return run(["--agent", RESPONDER_ID, "--broker", broker.url, ...args]);
  }

  describe("devices", () => {
    test("are shown as a table, with nothing that acts on the terminal", async () => {
      const { code, out } = await ctl("devices");
      expect(code).toBe(0);
      expect(out.split("\n").slice(0, 3)).toEqual([
        "NAME             TYPE  VENDOR   MAC                ADDRESSES                   SENT  RECEIVED        RATE  LAST SEEN  BLOCKED",
        "Camera                 Example  02:00:00:00:00:01  192.0.2.7 +1 2001:db8::7  1.5 MB   18.4 EB  1.2 kbit/s  1 min ago",
        "laptop\\u{1b}[2J                 02:00:00:00:00:02  192.0.2.9                 1.5 MB   18.4 EB  1.2 kbit/s  never      blocked",
      ]);
    });

    test("are JSON in the model's own names and types, to the last digit", async () => {
      const { code, out } = await ctl("devices", "--json");
      expect(code).toBe(0);
      expect(out).toContain('"BytesReceived": 18446744073709551615');
      const { Device } = JSON.parse(out) as { Device: unknown[] };
      expect(Device).toHaveLength(4);
      expect(Device[0]).toMatchObject({
        PhysAddress: CAMERA,
        Blocked: false,
        Stats: { BytesSent: 1_500_000, BytesSentRate: 1200 },
      });
    });

    test("are watched until enough were drawn", async () => {
      const { code, out } = await ctl("watch", "--count", "2", "--interval", "1s");
      expect(code).toBe(0);
      expect(out.match(/NAME/g)).toHaveLength(2);
    });
  });

  describe("history", () => {
    const fill = (path: string) => {
      const lists = { BytesSent: "0,1000,0,14000", BytesReceived: "0,0,0,5", BlockedPackets: "0,0,0,1234" };
      const values = {
        SampleInterval: "3600",
        ReportEndTime: "2026-03-01T12:00:00Z",
        ...lists,
        SuspectData: "1,1,0,0",
      };
      for (const [name, value] of Object.entries(values)) home.values.set(path + name, value);
    };

    test("of a device is bars, and says where nobody watched", async () => {
      fill(`${ROOT}Device.1.History.Hour.`);
      const { code, out } = await ctl("history", "camera");
      expect(code).toBe(0);
      expect(out.split("\n")).toEqual([
        "Camera (02:00:00:00:00:01), hour by hour until 2026-03-01T12:00:00Z",
        "          OLDEST FIRST          TOTAL           MOST",
        "SENT      ·▂▁█                15.0 kB        14.0 kB",
        "RECEIVED  ··▁█                    5 B            5 B",
        "BLOCKED   ··▁█          1,234 packets  1,234 packets",
        "2 of 4 were not wholly watched; · where nothing was seen",
        "",
      ]);
    });

    test("of the home, in other spans, and as JSON with numbers", async () => {
      fill(`${ROOT}Summary.History.Day.`);
      expect((await ctl("history", "--by", "day")).out).toContain("The home, day by day until 2026-03-01T12:00:00Z\n");
      expect(JSON.parse((await ctl("history", "--by", "day", "--json")).out)).toEqual({
        SampleInterval: 3600,
        ReportEndTime: "2026-03-01T12:00:00Z",
        BytesSent: [0, 1000, 0, 14000],
        BytesReceived: [0, 0, 0, 5],
        BlockedPackets: [0, 0, 0, 1234],
        SuspectData: [1, 1, 0, 0],
      });
    });

    test("of an agent that has none is refused, and a span that is none is said to be", async () => {
      expect(await ctl("history")).toMatchObject({ code: 1, err: expect.stringContaining("7026") });
      expect(await ctl("history", "--by", "week")).toMatchObject({
        code: 2,
        err: "error: --by week: is none of minute, hour, day\n",
      });
      expect(await ctl("history", "nobody")).toMatchObject({ code: 2 });
    });
  });

  describe("incidents", () => {
    test("are a table, newest first; none is said in words", async () => {
      expect(await ctl("incidents")).toMatchObject({ code: 0, out: "nothing looked wrong so far\n" });
      const row = (n: number, values: Record<string, string>) => {
        for (const [name, value] of Object.entries(values)) home.values.set(`${ROOT}Incident.${n}.${name}`, value);
      };
      const common = { PhysAddress: CAMERA, LastTime: "2026-03-01T11:59:00Z", Count: "3", State: "Open" };
      row(1, { ...common, Type: "ARPScan", Severity: "Medium", ActionTaken: "", Summary: "Camera asked." });
      row(2, { ...common, Type: "Flood", Severity: "High", ActionTaken: "blocked for 60 s", Summary: "Camera sent." });
      const { code, out } = await ctl("incidents");
      expect(code).toBe(0);
      expect(out.split("\n")).toEqual([
        "LAST SEEN  DEVICE  TYPE     SEVERITY  COUNT  STATE  ACTION            WHAT",
        "1 min ago  Camera  Flood    High      3      Open   blocked for 60 s  Camera sent.",
        "1 min ago  Camera  ARPScan  Medium    3      Open                     Camera asked.",
        "",
      ]);
      const json = JSON.parse((await ctl("incidents", "--json")).out) as { Incident: unknown[] };
      expect(json.Incident).toMatchObject([{ Type: "Flood", Count: 3 }, { Type: "ARPScan" }]);
    });
  });

  describe("a device", () => {
    const query = (input: ReadonlyMap<string, string>) => {
      expect(input.get("PhysAddress")).toBe(CAMERA);
      return { NextCursor: "" };
    };
    test.each(["02-00-00-00-00-01", "camera", "IPCAM", "192.0.2.8", "2001:DB8:0::7", "cpe-1"])(
      "is meant by %s",
      async (wanted) => {
        home.commands.set(`${ROOT}Query()`, query);
        expect(await ctl("top", wanted)).toMatchObject({ code: 0 });
      },
    );

    test("that may be several is an error that names them", async () => {
      const { code, err } = await ctl("top", "TWIN");
      expect(code).toBe(2);
      expect(err).toContain("Twin (02:00:00:00:00:03), twin (02:00:00:00:00:04)");
    });

    test("whose name would act on the terminal does not, wherever it is told", async () => {
      home.commands.set(`${ROOT}Device.[PhysAddress=="${LAPTOP}"].Block()`, () => ({
        Rule: home.addRule({ MACAddressList: LAPTOP, DestinationList: "*" }).slice(0, -1),
      }));
      expect(await ctl("block", LAPTOP)).toMatchObject({ code: 0, out: expect.stringContaining("laptop\\u{1b}[2J (") });
      const { err } = await ctl("top", "\u001b[2J");
      expect(err).toContain("u001b[2J");
      expect(err).not.toContain("\u001b");
      for (const each of [CAMERA, LAPTOP])
        home.values.set(`${ROOT}Device.${each === CAMERA ? 1 : 2}.Name`, "same\u009b2J");
      expect((await ctl("top", "same\u009b2J")).err).toContain("same\\u{9b}2J (02:00:00:00:00:01), same\\u{9b}2J (");
    });

    test("that is not there is an error", async () => {
      expect(await ctl("top", "fridge")).toMatchObject({ code: 2, err: expect.stringContaining('no device "fridge"') });
    });
  });

  describe("traffic", () => {
    beforeEach(() => {
      const row = (n: number, sent: string) => ({
        [`Row.${n}.PhysAddress`]: CAMERA,
        [`Row.${n}.Domain`]: `d${sent}.example`,
        [`Row.${n}.Address`]: "198.51.100.1",
        [`Row.${n}.Protocol`]: "6",
        [`Row.${n}.Port`]: "443",
        [`Row.${n}.BytesSent`]: sent,
        [`Row.${n}.BytesReceived`]: "0",
        [`Row.${n}.LastSeen`]: "2026-03-01T12:00:00Z",
        [`Row.${n}.Blocked`]: "false",
        [`Row.${n}.Start`]: "2026-03-01T11:00:00Z",
        [`Row.${n}.End`]: "0001-01-01T00:00:00Z",
        [`Row.${n}.Initiator`]: "Device",
      });
      home.commands.set(`${ROOT}Query()`, (input) =>
        input.get("Cursor") === "next"
          ? { ...row(1, "9000"), NextCursor: "" }
          : { ...row(2, "5"), ...row(1, "70"), NextCursor: "next", Truncated: "true" },
      );
    });

    test("of a device is listed by size, over all pages", async () => {
      const { code, out } = await ctl("top", "camera", "--since", "1h");
      expect(code).toBe(0);
      expect([...out.matchAll(/d\d+\.example/g)].map(([name]) => name)).toEqual([
        "d9000.example",
        "d70.example",
        "d5.example",
      ]);
      expect(out).toMatch(/d9000\.example +198\.51\.100\.1 +tcp\/443 +9\.0 kB/);
      const operate = agent.requests.find((request) => request.$case === "operate");
      expect(operate?.$case === "operate" && Object.fromEntries(operate.value.inputArgs)).toMatchObject({
        Kind: "Destinations",
        PhysAddress: CAMERA,
        Since: "2026-03-01T11:00:00Z",
        Limit: "500",
      });
    });

    test("is JSON with numbers and booleans", async () => {
      const { out } = await ctl("flows", "--limit", "2", "--json", "--destination", "example");
      expect(JSON.parse(out)).toMatchObject({ Row: [{ Port: 443, BytesSent: 70, Blocked: false }, { BytesSent: 5 }] });
    });

    test("of all devices shows who, whereto and since when", async () => {
      const { out } = await ctl("flows");
      expect(out).toMatch(/1 h ago +open +Camera +→ +d70\.example/);
    });
  });

  describe("block", () => {
    const pathOf = (mac: string, command: string) => `${ROOT}Device.[PhysAddress=="${mac}"].${command}`;

    test("of a device runs its command, and tells the rule", async () => {
      home.commands.set(pathOf(CAMERA, "Block()"), (input) => {
        expect(Object.fromEntries(input)).toEqual({ Duration: "5400", Reason: "scans" });
        return { Rule: home.addRule({ MACAddressList: CAMERA, DestinationList: "*" }).slice(0, -1) };
      });
      const { code, out } = await ctl("block", "camera", "--for", "1h30m", "--reason", "scans");
      expect(out).toBe(`Camera (${CAMERA}): blocked by ${ROOT}Rule.1.\n`);
      expect(code).toBe(0);
    });

    test("of a destination adds a rule for all devices or one", async () => {
      expect(await ctl("block", "*.Bad.Example")).toMatchObject({
        code: 0,
        out: `bad.example: blocked by ${ROOT}Rule.1.\n`,
      });
      expect(await ctl("block", "198.51.100.77/24", "--device", "camera", "--for", "1h", "--json")).toMatchObject({
        code: 0,
      });
      const rule = (name: string) => home.values.get(`${ROOT}Rule.2.${name}`);
      expect([
        rule("Action"),
        rule("MACAddressList"),
        rule("DestinationList"),
        rule("Enable"),
        rule("ExpiryDate"),
      ]).toEqual(["Block", CAMERA, "198.51.100.0/24", "true", "2026-03-01T13:00:00Z"]);
    });

    test("a second time renews the rule that is there", async () => {
      await ctl("block", "bad.example");
      expect(await ctl("block", "bad.example", "--reason", "again")).toMatchObject({
        code: 0,
        out: `bad.example: blocked by ${ROOT}Rule.1.\n`,
      });
      expect(home.values.get(`${ROOT}Rule.1.Reason`)).toBe("again");
    });

    test("that has no effect says why, and exits with 5", async () => {
      home.commands.set(pathOf(CAMERA, "Block()"), () => ({
        Rule: home.addRule({ Status: "Overruled", StatusReason: "by Rule.9." }),
      }));
      expect(await ctl("block", "camera")).toMatchObject({
        code: 5,
        out: `Camera (${CAMERA}): not blocked (Overruled) by ${ROOT}Rule.1.: by Rule.9.\n`,
      });
    });

    test("of a single word that is no device is no domain either", async () => {
      expect(await ctl("block", "camrea")).toMatchObject({
        code: 2,
        err: expect.stringContaining("no device of this home"),
      });
    });
  });

  describe("unblock", () => {
    test("of a device tells what still blocks it, and whose that is", async () => {
      home.commands.set(`${ROOT}Device.[PhysAddress=="${CAMERA}"].Unblock()`, () => ({
        Blocked: "true",
        Rules: `${ROOT}Rule.4.`,
        Origins: "User",
      }));
      expect(await ctl("unblock", "camera")).toMatchObject({
        code: 5,
        out: `Camera is still blocked by ${ROOT}Rule.4. (User)\n`,
      });
      home.commands.set(`${ROOT}Device.[PhysAddress=="${CAMERA}"].Unblock()`, () => ({
        Blocked: "false",
        Rules: "",
        Origins: "",
      }));
      expect(await ctl("unblock", "camera", "--json")).toMatchObject({
        code: 0,
        out: expect.stringContaining('"Blocked": false'),
      });
    });

    test("of a destination deletes our rules alone", async () => {
      home.addRule({ Action: "Block", MACAddressList: "*", DestinationList: "bad.example", Creator: "self::another" });
      await ctl("block", "bad.example");
      expect(await ctl("unblock", "bad.example")).toMatchObject({
        code: 5,
        out: `deleted ${ROOT}Rule.2.\nstill blocked by ${ROOT}Rule.1. (self::another)\n`,
      });
      // What is not in force yet blocks soon.
      home.values.set(`${ROOT}Rule.1.Status`, "Pending");
      expect(await ctl("unblock", "bad.example")).toMatchObject({
        code: 5,
        out: `no rule of ours blocks bad.example\nstill blocked by ${ROOT}Rule.1. (self::another)\n`,
      });
      expect([...home.values.keys()].filter((path) => path.endsWith(".Creator"))).toHaveLength(1);
      expect(await ctl("unblock", "other.example")).toMatchObject({
        code: 1,
        out: "no rule of ours blocks other.example\n",
      });
    });

    test("of a destination deletes what we made as whom the agent takes us for, and not what is in our own name", async () => {
      home.knownAs = "self::usp-broker";
      home.addRule({ Action: "Block", MACAddressList: "*", DestinationList: "bad.example", Creator: "self::spin-ctl" });
      expect(await ctl("block", "bad.example")).toMatchObject({ code: 0 });
      expect(await ctl("block", "bad.example", "--for", "1h", "--reason", "longer")).toMatchObject({ code: 0 });
      expect(home.values.get(`${ROOT}Rule.2.Reason`)).toBe("longer");
      expect(await ctl("unblock", "bad.example")).toMatchObject({
        code: 5,
        out: `deleted ${ROOT}Rule.2.\nstill blocked by ${ROOT}Rule.1. (self::spin-ctl)\n`,
      });
    });
  });

  test("rules are shown with devices by name, state and hits", async () => {
    home.addRule({
      Action: "Block",
      MACAddressList: `${CAMERA},02:00:00:00:00:99`,
      DestinationList: "bad.example",
      Creator: "self::op",
      Protocol: "6",
      PortList: "443",
      HitPackets: "3",
      HitBytes: "180",
      LastHit: "2026-03-01T11:59:30Z",
      Reason: "why not",
    });
    const { code, out } = await ctl("rules");
    expect(code).toBe(0);
    expect(out.split("\n")[1]).toBe(
      "1     Block   Camera, 02:00:00:00:00:99  bad.example   tcp/443  Enabled  3 (180 B, 30 s ago)  self::op  never  why not",
    );
    expect(JSON.parse((await ctl("rules", "--json")).out)).toMatchObject({
      Rule: [{ Action: "Block", HitPackets: 3, Protocol: 6 }],
    });
  });

  describe("USP's own words", () => {
    test("get prints what there is and tells what there is not", async () => {
      const path = `${ROOT}Device.1.Name`;
      expect(await ctl("get", path)).toMatchObject({ code: 0, out: `${path} = Camera\n`, err: "" });
      expect(await ctl("get", path, "Device.Nope")).toMatchObject({
        code: 5,
        out: `${path} = Camera\n`,
        err: "error: 7026 InvalidPath: no such path (Device.Nope)\n",
      });
      expect(await ctl("get", "Device.Nope")).toMatchObject({ code: 1, out: "" });
      const { out, err } = await ctl("get", `${ROOT}Device.1.`, "Device.Nope", "--json");
      expect(JSON.parse(out)).toMatchObject({
        Device: { X_SPIN: { Device: [{ Name: "Camera", Stats: { BytesSent: 1_500_000 } }] } },
      });
      expect(JSON.parse(err)).toEqual({
        Error: [{ Code: 7026, Name: "InvalidPath", Message: "no such path", Path: "Device.Nope" }],
      });
    });

    test("set takes values with equal signs and search paths, and tells what was refused", async () => {
      expect(await ctl("set", `${ROOT}Device.1.Name=a=b`)).toMatchObject({
        code: 0,
        out: `${ROOT}Device.1.Name = a=b\n`,
      });
      expect(home.values.get(`${ROOT}Device.1.Name`)).toBe("a=b");
      expect(await ctl("set", `${ROOT}Device.1.Name=c`, `${ROOT}Device.1.Nope=1`, "--partial")).toMatchObject({
        code: 5,
        err: `error: 7010 UnsupportedParameter: no such parameter (${ROOT}Device.1.Nope)\n`,
      });
      expect(await ctl("set", `${ROOT}Device.1.Nope=1`)).toMatchObject({ code: 1 });
      await ctl("set", `${ROOT}Device.[Alias=="x=y"].Name=z`, "--partial");
      expect(agent.requests.at(-1)).toMatchObject({
        value: {
          updateObjs: [{ objPath: `${ROOT}Device.[Alias=="x=y"].`, paramSettings: [{ param: "Name", value: "z" }] }],
        },
      });
    });

    test("add, delete and operate say what came of it", async () => {
      expect(
        await ctl("add", `${ROOT}Rule.`, "Action=Block", "MACAddressList=*", "DestinationList=x.example"),
      ).toMatchObject({ code: 0, out: `${ROOT}Rule.1.\n` });
      expect(await ctl("delete", `${ROOT}Rule.1.`)).toMatchObject({ code: 0, out: `${ROOT}Rule.1.\n` });
      home.commands.set(`${ROOT}Query()`, () => ({ "Row.1.Port": "1", NextCursor: "" }));
      expect(await ctl("operate", `${ROOT}Query()`, "Kind=Flows")).toMatchObject({
        code: 0,
        out: `${ROOT}Query()\n  Row.1.Port = 1\n  NextCursor = \n`,
      });
      expect(JSON.parse((await ctl("operate", `${ROOT}Query()`, "--json")).out)).toEqual({
        Command: [{ Path: `${ROOT}Query()`, Output: { Row: [{ Port: "1" }], NextCursor: "" } }],
      });
    });

    test("supported tells the model", async () => {
      const { out } = await ctl("supported", `${ROOT}Device.{i}.Stats.`);
      expect(out).toContain("BytesSent (readOnly, unsignedLong)");
    });

    test("subscribe prints what comes, and removes its row", async () => {
      agent.answer = (request, asked) => {
        if (request.$case !== "add") return home.answer(request, asked);
        const id = request.value.createObjs[0]?.paramSettings.find(({ param }) => param === "ID")?.value ?? "";
        const change = { $case: "valueChange" as const, value: { paramPath: "Device.X", paramValue: "7" } };
        setTimeout(() => void agent.notify({ subscriptionId: id, sendResp: true, notification: change }), 20);
        const value = { instantiatedPath: "Device.LocalAgent.Subscription.1.", paramErrs: [], uniqueKeys: new Map() };
        return {
          $case: "addResp",
          value: {
            createdObjResults: [{ requestedPath: "", operStatus: { operStatus: { $case: "operSuccess", value } } }],
          },
        };
      };
      const { code, out } = await ctl("subscribe", "ValueChange", "Device.", "--count", "1", "--json");
      expect({ code, out }).toEqual({ code: 0, out: '{"Kind":"ValueChange","Path":"Device.X","Value":"7"}\n' });
      expect(agent.requests.at(-1)).toMatchObject({
        $case: "delete",
        value: { objPaths: ["Device.LocalAgent.Subscription.1."] },
      });
    });

    test("subscribe ends in order when it is interrupted", async () => {
      const stop = new AbortController();
      agent.answer = (request, asked) => {
        if (request.$case !== "add") return home.answer(request, asked);
        setTimeout(() => stop.abort(), 20);
        const value = { instantiatedPath: "Device.LocalAgent.Subscription.1.", paramErrs: [], uniqueKeys: new Map() };
        return {
          $case: "addResp",
          value: {
            createdObjResults: [{ requestedPath: "", operStatus: { operStatus: { $case: "operSuccess", value } } }],
          },
        };
      };
      const args = ["subscribe", "Event", "Device.", "--agent", RESPONDER_ID, "--broker", broker.url];
      expect(await run(args, { signal: stop.signal })).toMatchObject({ code: 0 });
      expect(agent.requests.at(-1)?.$case).toBe("delete");
    });
  });

  describe("what goes wrong", () => {
    test("a refusal has the code's name", async () => {
      agent.answer = () => Promise.reject(new Error("boom"));
      expect(await ctl("devices")).toMatchObject({ code: 1, err: "error: 7003 Internal: Error: boom\n" });
    });

    test("no broker exits with 3", async () => {
      const args = ["devices", "--agent", RESPONDER_ID, "--broker", `mqtt://127.0.0.1:${await freePort()}`];
      expect(await run(args)).toMatchObject({ code: 3, err: expect.stringContaining("connection refused") });
      const { err } = await run([...args, "--json"]);
      expect(JSON.parse(err)).toMatchObject({ Error: [{ Name: "Broker" }] });
    });

    test("no answer exits with 4", async () => {
      const args = ["devices", "--agent", "os::00D09E-NOBODY", "--broker", broker.url, "--timeout", "1s"];
      expect(await run(args)).toMatchObject({
        code: 4,
        err: expect.stringMatching(/no answer from os::00D09E-NOBODY.* or it does not speak MQTT 5/),
      });
    });

    test.each([
      [[], "what shall I do"],
      [["dance"], 'no word "dance"'],
      [["devices", "now"], 'takes no "now"'],
      [["devices", "--colour"], "--colour"],
      [["devices", "--version", "4"], "--version 4: is one of 5, 3.1.1"],
      [["devices", "--timeout", "soon"], "--timeout soon"],
      [["devices", "--ca", "/does/not/exist"], "--ca: ENOENT"],
      [["devices", "--broker", "localhost"], "no address of a broker"],
      [["get"], "a path is missing"],
      [["get", "Device.", "--max-depth", "x"], "--max-depth x"],
      [["set", "Device.X"], "Device.X: is no NAME=VALUE"],
      [["set", "X=1"], "X: is no path"],
      [["operate", "Device.X"], "operate COMMAND()"],
      [["subscribe", "Everything", "Device."], "KIND is one of"],
      [["block", "camera", "--for", "ever"], "--for ever"],
      [["flows", "--limit", "0"], "--limit 0"],
    ])("%j exits with 2", async (args, text) => {
      const { code, err } = await ctl(...args);
      expect(err).toContain(text);
      expect(code).toBe(2);
    });
  });
});

describe("options of ctl", () => {
  test("--help shows every word and option, without an agent", async () => {
    const { code, out } = await run(["--help"]);
    expect(code).toBe(0);
    for (const text of ["block DEVICE|DESTINATION", "--password-file FILE", "SPIN_USP_BROKER", "Exit codes"])
      expect(out).toContain(text);
    expect(out.split("\n").filter((line) => [...line].length > 100)).toEqual([]);
  });

  test("without an agent it asks for one", async () => {
    expect(await run(["block", "x", "--for", "-1h"])).toEqual({
      code: 2,
      out: "",
      err: "error: --for needs a value, without a dash first\n",
    });
    expect(await run(["devices", "--json=yes"])).toMatchObject({
      code: 2,
      err: expect.stringContaining("--json takes no value"),
    });
    expect(await run(["devices"])).toMatchObject({ code: 2, err: expect.stringContaining("--agent") });
  });

  test("come from the command line, else the environment, else the file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "spin-usp-ctl-"));
    const file = join(folder, "ctl.json");
    const attempt = async (args: string[], env: { [name: string]: string }) =>
      (await run(["devices", ...args], { env: { SPIN_USP_CONFIG: file, ...env } })).err;
    try {
      writeFileSync(file, JSON.stringify({ agent: "os::00D09E-1", broker: "mqtt://file.invalid", timeout: "2s" }));
      expect(await attempt([], {})).toContain("file.invalid");
      expect(await attempt([], { SPIN_USP_BROKER: "mqtt://env.invalid" })).toContain("env.invalid");
      expect(await attempt(["--broker", "mqtt://line.invalid"], { SPIN_USP_BROKER: "mqtt://env.invalid" })).toContain(
        "line.invalid",
      );
      writeFileSync(file, JSON.stringify({ agnet: "os::00D09E-1" }));
      expect(await attempt([], {})).toContain('there is no option "agnet"');
      writeFileSync(file, "{");
      expect(await attempt([], {})).toContain(file);
    } finally {
      rmSync(folder, { recursive: true });
    }
    expect(await attempt([], {})).toContain("ENOENT");
  });
});

async function run(args: string[], more: { env?: { [name: string]: string }; signal?: AbortSignal } = {}) {
  let out = "";
  let err = "";
  const code = await runCtl(args, {
    out: (text) => void (out += text),
    err: (text) => void (err += text),
    env: more.env ?? {},
    signal: more.signal ?? new AbortController().signal,
    now: () => NOW,
  });
  return { code, out, err };
}
