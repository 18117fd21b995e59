/** CaptureTraffic() and PacketCaptureDiagnostics() as controllers meet them: who may, what of packets, and where to. */
import { captureTraffic } from "../../src/objects/capture-traffic.ts";
import type { SpinParts } from "../../src/objects/home.ts";
import type { Caller, CommandCall } from "../../src/model/implementation.ts";
import { parseMac } from "../../src/lib/address.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { CaptureRequest, CaptureResult, LiveCapture, Visible } from "../../src/spin/live-capture.ts";
import { operation, setParams, subscribe } from "../usp/support.ts";
import { CAMERA, Gateway, hears, print, refusal, ROOT, trySet, until, type Role } from "./support.ts";

const DIAGNOSTICS = "Device.PacketCaptureDiagnostics()";
const TARGET = "https://sink.example/camera.pcap";

const DONE: CaptureResult = {
  status: "Complete",
  reason: "PacketCount is reached",
  packets: 3,
  bytes: 180,
  lost: 1,
  startTime: 1_700_000_000_000,
  endTime: 1_700_000_001_000,
  location: `${TARGET}?token=secret`,
  headersOnly: true,
};

/** Says what it was asked for, and gives what the test says. */
class ScriptedCapture implements LiveCapture {
  interfaces = new Set(["br-lan", "br-guest"]);
  readonly asked: CaptureRequest[] = [];
  result: CaptureResult = DONE;
  holds = false;

  async run(request: CaptureRequest, signal: AbortSignal): Promise<CaptureResult> {
    this.asked.push(request);
    if (!this.holds) return this.result;
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return { ...this.result, status: "Canceled" };
  }
}

let capture: ScriptedCapture;
let gateway: Gateway;
let subscribed: Set<string>;
async function start(options: Parameters<typeof Gateway.start>[0] = {}): Promise<void> {
  capture = new ScriptedCapture();
  subscribed = new Set();
  gateway = await Gateway.start({ liveCapture: capture, secured: ["Operator"], ...options });
  gateway.withDevices();
}
afterEach(() => gateway.stop());

const peerOf = (role: Role) => (role === "Resident" ? gateway.resident : gateway.as(role));

/** The operation's end, in the words of its notification. */
async function completed(role: Role, command: string, args: Record<string, string> = {}): Promise<string> {
  const peer = peerOf(role);
  const since = peer.notifies.length;
  const name = `${role} ${command}`;
  if (!subscribed.has(name)) await subscribe(peer, "OperationComplete", command);
  subscribed.add(name);
  const content = await peer.ask(operation(command, args));
  if (!print(content).includes("reqObjPath")) throw new Error(print(content));
  return hears(peer, command, since);
}

const traffic = () => `${gateway.device(CAMERA)}CaptureTraffic()`;
const asked = () => capture.asked.at(-1) as CaptureRequest;

describe("who", () => {
  test.each(["Operator", "Support", "Admin", "Resident"] as const)("%s may", async (role) => {
    await start();
    expect(await completed(role, traffic())).toContain(`"Status":"Complete"`);
    expect(await completed(role, DIAGNOSTICS, { Interface: "br-lan" })).toContain(`"Status":"Complete"`);
  });

  test.each(["Monitor", "Untrusted"] as const)("%s may not", async (role) => {
    await start();
    expect((await refusal(gateway.as(role), DIAGNOSTICS)).errCode).toBe(7006);
    expect([7006, 7026, 7016]).toContain((await refusal(gateway.as(role), traffic())).errCode);
    expect(capture.asked).toEqual([]);
  });

  test("the resident ends what the resident began", async () => {
    await start();
    capture.holds = true;
    await subscribe(gateway.resident, "OperationComplete", traffic());
    const content = await gateway.resident.ask(operation(traffic()));
    const path = /Device\.LocalAgent\.Request\.\d+\./.exec(print(content))?.[0] as string;
    await until(() => capture.asked.length === 1, "it runs");
    await gateway.resident.ask(operation(`${path}Cancel()`));
    expect(await hears(gateway.resident, traffic())).toContain("7023");
  });

  test("the resident ends what a controller began; another controller does not", async () => {
    await start();
    capture.holds = true;
    const operator = gateway.as("Operator");
    await subscribe(operator, "OperationComplete", traffic());
    const path = /Device\.LocalAgent\.Request\.\d+\./.exec(print(await operator.ask(operation(traffic()))))?.[0] ?? "";
    await until(() => capture.asked.length === 1, "it runs");
    expect((await refusal(gateway.peer("self::operator2"), `${path}Cancel()`)).errCode).toBe(7006);
    await gateway.resident.ask(operation(`${path}Cancel()`));
    expect(await hears(operator, traffic())).toContain("7023");
  });

  test.each([
    ["is given another role", () => ({ AssignedRole: gateway.roleRow("Monitor") })],
    ["is switched off", () => ({ Enable: "false" })],
  ])("whoever %s meanwhile sees no more", async (_, change) => {
    await start();
    capture.holds = true;
    await gateway.as("Operator").ask(operation(traffic()));
    await until(() => capture.asked.length === 1, "it runs");
    expect(asked().visible()).toBe("Headers");
    setParams(gateway.tree, `${gateway.controllerRow("self::operator")}.`, change());
    expect(asked().visible()).toEqual({ denied: expect.stringContaining("have changed") as string });
  });
});

describe("what of packets", () => {
  const visible = async (role: Role): Promise<Visible | { denied: string }> => {
    await completed(role, traffic());
    return asked().visible();
  };

  test("the resident has all, a controller headers, and whom only where it may know", async () => {
    await start();
    expect(await visible("Resident")).toBe("Frames");
    expect(await visible("Operator")).toBe("Headers");
    expect(await visible("Support")).toBe("HeadersWithoutPeers");
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Devices" });
    expect(await visible("Resident")).toBe("Frames");
    expect(await visible("Operator")).toBe("HeadersWithoutPeers");
  });

  test("what may be seen falls with the level, and with what is observed, while it runs", async () => {
    await start();
    expect(await visible("Operator")).toBe("Headers");
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Devices" });
    expect(asked().visible()).toBe("HeadersWithoutPeers");
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Summary" });
    expect(asked().visible()).toEqual({ denied: expect.stringContaining("Summary") as string });
    expect((await refusal(gateway.as("Operator"), traffic())).errCode).toBeGreaterThan(7000);
    expect(await completed("Operator", DIAGNOSTICS, { FilterExpression: `ether host ${CAMERA}` })).toMatch(
      /7006.*Summary/,
    );
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Destinations" });
    await trySet(gateway.resident, ROOT, { Enable: "false" });
    expect(asked().visible()).toEqual({ denied: expect.stringContaining("Enable") as string });
  });

  test("a support session shows Support all, while it lasts, and nobody else; each capture is told", async () => {
    await start();
    let granted = true;
    const log: string[] = [];
    const parts = {
      home: gateway.spin,
      liveCapture: capture,
      log: silentLog,
      supportGranted: () => granted,
      accessed: ({ endpointId }: Caller, what: string) => void log.push(`${endpointId}: ${what}`),
    } as unknown as SpinParts;
    const call = (role: Role) =>
      ({
        tree: gateway.tree,
        caller: { endpointId: `self::${role}`, controller: "", roles: new Set([role]), mayReadSecured: false },
        signal: new AbortController().signal,
      }) as unknown as CommandCall;
    const args = { FileTarget: `${TARGET}?token=secret` } as Parameters<typeof captureTraffic>[2];
    const device = gateway.spin.deviceByMac(parseMac(CAMERA) as number) as Parameters<typeof captureTraffic>[1];
    await captureTraffic(parts, device, args, call("Support"));
    expect(asked().visible()).toBe("Frames");
    granted = false;
    expect(asked().visible()).toBe("HeadersWithoutPeers");
    granted = true;
    await captureTraffic(parts, device, args, call("Operator"));
    expect(asked().visible()).toBe("HeadersWithoutPeers");
    expect(log).toEqual([
      `self::Support: a capture of ${CAMERA}, to https://sink.example`,
      `self::Operator: a capture of ${CAMERA}, to https://sink.example`,
    ]);
  });
});

describe("arguments", () => {
  beforeEach(() => start());

  test("are what is asked for, with bounds where they are left out", async () => {
    await completed("Operator", traffic());
    const { visible: _, ...plain } = asked();
    expect(plain).toEqual({
      mac: parseMac(CAMERA),
      interfaces: ["br-lan"],
      format: "libpcap",
      durationMs: 60_000,
      packetCount: 0,
      byteCount: 0,
      snapLength: 65_535,
    });
    await completed("Operator", traffic(), {
      FileTarget: TARGET,
      Method: "POST",
      Username: "camera",
      Password: "pass",
      Duration: "5",
      PacketCount: "6",
      ByteCount: "7",
      SnapLength: "80",
      Format: "pcapng",
    });
    expect(asked()).toMatchObject({
      target: { url: TARGET, method: "POST", username: "camera", password: "pass", mayBeLocal: false },
      durationMs: 5000,
      packetCount: 6,
      byteCount: 7,
      snapLength: 80,
      format: "pcapng",
    });
    // Where it was last seen is no interface of the LAN any more.
    capture.interfaces = new Set(["br-guest", "br-home"]);
    await completed("Resident", traffic(), { FileTarget: "http://192.168.1.2/" });
    expect(asked().interfaces).toEqual(["br-guest", "br-home"]);
    expect(asked().target?.mayBeLocal).toBe(true);
  });

  test.each([
    [{ Duration: "0" }, "Duration"],
    [{ Duration: "3601" }, "Duration"],
    [{ Duration: "soon" }, "Duration"],
    [{ SnapLength: "13" }, "SnapLength"],
    [{ SnapLength: "70000" }, "SnapLength"],
    [{ Format: "erf" }, "Format"],
    [{ Method: "DELETE" }, "Method"],
    [{ FileTarget: `https://a.example/${"a".repeat(2048)}` }, "FileTarget"],
  ])("of %j are refused at once", async (args, name) => {
    const { errCode, errMsg } = await refusal(gateway.as("Operator"), traffic(), args);
    expect({ errCode, errMsg }).toEqual({ errCode: 7027, errMsg: expect.stringContaining(name) as string });
  });

  test.each([
    [{ FileTarget: "ftp://a.example/" }, "FileTarget"],
    [{ FileTarget: "/etc/passwd" }, "FileTarget"],
    [{ FileTarget: "https://name:secret@a.example/" }, "FileTarget"],
    [{ FileTarget: "http://a.example/", Password: "secret" }, "FileTarget"],
    [{ FileTarget: "https://a.example/", Username: "a:b" }, "Username"],
    [{ Username: "somebody" }, "FileTarget"],
  ])("of %j are refused, without a word of what is secret", async (args, name) => {
    const end = await completed("Operator", traffic(), args);
    expect(end).toMatch(new RegExp(`"errCode":7027,"errMsg":"${name} `));
    expect(end).not.toContain("secret");
    expect(capture.asked).toEqual([]);
  });

  test.each([
    [{ FilterExpression: `ether host ${CAMERA}` }, { mac: parseMac(CAMERA), interfaces: ["br-lan"] }],
    [
      { FilterExpression: "host 192.0.2.12", Interface: "br-lan" },
      { mac: parseMac(CAMERA), interfaces: ["br-lan"] },
    ],
    [{ Interface: 'Device.Ethernet.Interface.[Name=="br-guest"].' }, { interfaces: ["br-guest"] }],
    [{ Interface: "br-guest", FilterExpression: "  " }, { interfaces: ["br-guest"] }],
  ])("of a diagnosis: %j", async (args, request) => {
    expect(await completed("Operator", DIAGNOSTICS, args as Record<string, string>)).toContain(
      `"PacketCaptureResult.1.Count":"3"`,
    );
    expect(asked()).toMatchObject(request);
  });

  test.each([
    [{ Interface: "eth0" }, "Interface"],
    [{ Interface: "Device.IP.Interface.1." }, "Interface"],
    [{}, "Interface"],
    [{ FilterExpression: "ether host 02:00:00:00:00:77" }, "FilterExpression"],
    [{ FilterExpression: "host 198.51.100.7" }, "FilterExpression"],
    [{ FilterExpression: `ether host ${CAMERA} or udp` }, "FilterExpression"],
    [{ FilterExpression: "port 80" }, "FilterExpression"],
    [{ FilterExpression: "host secret.example" }, "FilterExpression"],
  ])("of a diagnosis, refused: %j", async (args, name) => {
    expect(await completed("Operator", DIAGNOSTICS, args as Record<string, string>)).toMatch(
      new RegExp(`"errCode":7027,"errMsg":"${name} `),
    );
    expect(capture.asked).toEqual([]);
  });

  test("the resident may look for any address", async () => {
    await completed("Resident", DIAGNOSTICS, { Interface: "br-lan", FilterExpression: "host 198.51.100.7" });
    expect(asked().mac).toBeUndefined();
    expect(asked().address).toEqual(Uint32Array.of(0, 0, 0xffff, 0xc6336407));
  });
});

describe("the end", () => {
  test("has its figures", async () => {
    await start();
    const end = await completed("Operator", traffic(), { FileTarget: `${TARGET}?token=secret` });
    expect(end).not.toContain("secret");
    for (const each of [
      `"PacketCount":"3"`,
      `"ByteCount":"180"`,
      `"Lost":"1"`,
      `"StartTime":"2023-11-14T22:13:20Z"`,
      `"HeadersOnly":"true"`,
      `"StatusReason":"PacketCount is reached"`,
      `"FileLocation":"${TARGET}"`,
    ])
      expect(end).toContain(each);
  });

  test.each([
    ["Busy", 7005, "a capture"],
    ["Refused", 7006, "a capture"],
    ["Failed", 7022, "a capture"],
    ["Undelivered", 7022, "FileTarget: a capture"],
  ] as const)("that was %s is a failure of its code", async (status, code, words) => {
    await start();
    capture.result = { ...DONE, status, reason: "a capture", packets: 0 };
    expect(await completed("Operator", traffic())).toContain(`"errCode":${code},"errMsg":"${words}"`);
  });

  test("of a diagnosis tells what failed later by its Status", async () => {
    await start();
    const end = async (status: CaptureResult["status"]) => {
      capture.result = { ...DONE, status, reason: "a capture" };
      return completed("Operator", DIAGNOSTICS, { Interface: "br-lan" });
    };
    expect(await end("Undelivered")).toContain(`"Status":"Error_Other"`);
    expect(await end("Failed")).toContain(`"Status":"Error_Internal"`);
    expect(await end("Busy")).toContain("7005");
  });

  test("where nothing reads packets is at once, in words", async () => {
    subscribed = new Set();
    gateway = await Gateway.start();
    gateway.withDevices();
    expect(await completed("Operator", traffic())).toMatch(/7022.*no (?:packets|interface)/);
  });
});
