/** Query() and ResolveIncident() over the flow log: who may ask what, and what the answers say. */
import { ManualClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryFiles } from "../../src/spin/flow-log/files.ts";
import { FlowLog } from "../../src/spin/flow-log/flow-log.ts";
import { START, WAN } from "../spin/home.ts";
import {
  CAMERA,
  Gateway,
  PHONE,
  refusal,
  ROOT,
  rule,
  run,
  tryDelete,
  type GatewayOptions,
  type Role,
} from "./support.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const PEER = "198.51.100.7";

let gateway: Gateway;
let log: FlowLog;
const begin = async (options: GatewayOptions = {}) => {
  const clock = new ManualClock(START);
  log = new FlowLog({ files: memoryFiles(), clock, log: silentLog, bytes: 1_000_000, days: 7 });
  gateway = (await Gateway.start({ secured: ["Operator"], clock, flowLog: log, ...options })).withDevices();
};
afterEach(() => gateway.stop());

type Row = Record<string, string>;
function rowsOf(outputs: Record<string, string>): Row[] {
  const rows: Row[] = [];
  for (const [name, text] of Object.entries(outputs)) {
    const [table, number, column] = name.split(".");
    if (table === "Row") (rows[Number(number) - 1] ??= {})[column as string] = text;
  }
  return rows;
}
const ask = (args: Record<string, string>, role: Role = "Operator") => run(gateway.as(role), `${ROOT}Query()`, args);
const rows = async (args: Record<string, string>, role?: Role) => rowsOf(await ask(args, role));

async function pass(ms: number): Promise<void> {
  // Longer steps, and minutes count as not wholly watched.
  for (let left = ms; left > 0; left -= 5000) {
    gateway.home.after(Math.min(left, 5000));
    gateway.spin.tick();
    if (left % MINUTE < 5000) await log.settled();
  }
  gateway.withDevices();
  // What the minutes' work is counts ticks.
  for (let k = 0; k < 60; k++) gateway.spin.tick();
  await log.settled();
}

let id = 1000;
/** A flow that began and ended. */
function ended(device: string, port: number, sourcePort = 40_000, to = PEER): void {
  const flow = { id: id++, from: device === PHONE ? "192.0.2.11" : "192.0.2.12", to, port, sourcePort };
  gateway.flows({ ...flow, event: "New" }).flows({ ...flow, event: "End", counters: [2, 120, 3, 180] });
}

const asks = (name: string) =>
  gateway.home.tell({ kind: "query", time: gateway.home.clock.now(), client: "192.0.2.11", name, type: "A" });

describe("Query over the flow log", () => {
  beforeEach(() => begin());

  test("has flows that live, that ended, on disk and summed up in one list, each once", async () => {
    for (let k = 0; k < 3; k++) ended(PHONE, 1000 + k);
    await pass(3 * HOUR);
    for (let k = 3; k < 6; k++) ended(PHONE, 1000 + k);
    await pass(5 * MINUTE);
    for (let k = 6; k < 9; k++) ended(PHONE, 1000 + k);
    gateway.flows({ id: 1, event: "New", from: "192.0.2.11", to: PEER, port: 1009, counters: [1, 60, 0, 0] });
    const ports: number[] = [];
    let Cursor = "";
    do {
      const page = await ask({ Kind: "Flows", Limit: "3", Cursor });
      ports.push(...rowsOf(page).map(({ Port }) => Number(Port)));
      Cursor = page["NextCursor"] ?? "";
      // Rows that come, and what happens to those that are there, change nothing of the pages to come.
      ended(CAMERA, 2000);
      await pass(40_000);
    } while (Cursor !== "");
    expect(ports).toEqual([1009, 1008, 1007, 1006, 1005, 1004, 1003, 1002, 1001, 1000]);
  });

  test("goes on where it was while the log is summed up, and says so when it can no longer", async () => {
    for (let k = 0; k < 6; k++) ended(PHONE, 1000 + (k % 2), 40_000 + k);
    await pass(55 * MINUTE);
    const first = await ask({ Kind: "Flows", Limit: "2" });
    expect(rowsOf(first)).toHaveLength(2);
    await pass(8 * MINUTE);
    const rest = rowsOf(await ask({ Kind: "Flows", Cursor: first["NextCursor"] ?? "" }));
    expect(rest).toHaveLength(4);
    expect(await rows({ Kind: "Flows" })).toHaveLength(2);
    await pass(HOUR);
    expect(
      await refusal(gateway.as("Operator"), `${ROOT}Query()`, { Kind: "Flows", Cursor: first["NextCursor"] ?? "" }),
    ).toEqual({ errCode: 7027, errMsg: expect.stringContaining("expired") as string });
  });

  test("(DNSQueries) tells questions with their answers", async () => {
    asks("www.example.com");
    gateway.home.answer("192.0.2.11", ["www.example.com"], [PEER], 60);
    asks("www.example.com");
    await pass(MINUTE);
    asks("nowhere.example");
    expect(await rows({ Kind: "DNSQueries", PhysAddress: PHONE })).toEqual([
      expect.objectContaining({ Name: "nowhere.example", Type: "A", Answers: "", Count: "1" }),
      {
        Time: "2026-01-01T00:00:00Z",
        PhysAddress: PHONE,
        Name: "www.example.com",
        Type: "A",
        Answers: PEER,
        AnswerCount: "1",
        TTL: "60",
        ResultCode: "0",
        Count: "2",
      },
    ]);
    expect(await rows({ Kind: "DNSQueries", Destination: "example.com" })).toHaveLength(1);
    expect(await rows({ Kind: "DNSQueries", PhysAddress: CAMERA })).toEqual([]);
  });

  test("(Blocked) names rule and peer, the peer only to whom may know", async () => {
    const path = await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: PEER, Action: "Block" });
    const number = Number(/\d+/.exec(path.replace(ROOT, ""))?.[0]);
    const seen = { kind: "blocked", time: START, mac: 0x020000000001, address: PEER, protocol: 6, port: 443 } as const;
    gateway.home.tell({ ...seen, outbound: true, packets: 3, bytes: 180, rule: number });
    const row = { PhysAddress: PHONE, Initiator: "Device", Port: "443", PacketsSent: "3", BytesSent: "180" };
    expect(await rows({ Kind: "Blocked" })).toEqual([
      expect.objectContaining({ ...row, Address: PEER, Rule: `${ROOT}Rule.${number}` }),
    ]);
    expect(await rows({ Kind: "Blocked" }, "Monitor")).toEqual([
      expect.objectContaining({ ...row, Address: "", Domain: "" }),
    ]);
  });

  test("(History) has each time once, minutes then hours, and whether somebody watched", async () => {
    await pass(HOUR - 5 * MINUTE);
    const flow = { id: 5, from: "192.0.2.11", to: PEER, port: 443 };
    gateway.flows({ ...flow, event: "New", counters: [1, 100, 1, 50] });
    await pass(10 * MINUTE);
    gateway.flows({ ...flow, counters: [2, 300, 1, 50] });
    await pass(MINUTE);
    const all = await rows({ Kind: "History", PhysAddress: PHONE }, "Monitor");
    expect(all.map(({ Start, BytesSent }) => [Start, BytesSent])).toEqual([
      ["2026-01-01T01:05:00Z", "200"],
      ["2026-01-01T00:00:00Z", "100"],
    ]);
    const first = await ask({ Kind: "History", Limit: "1" });
    expect(rowsOf(await ask({ Kind: "History", Cursor: first["NextCursor"] ?? "" }))).toEqual([all[1]]);
  });

  test.each([
    ["Flows", 7006],
    ["DNSQueries", 7006],
  ])("(%s) is refused as a whole where secured values are not shown", async (Kind, errCode) => {
    expect(await refusal(gateway.as("Monitor"), `${ROOT}Query()`, { Kind })).toMatchObject({ errCode });
    const hidden = { Kind: "Blocked", Destination: PEER };
    expect(await refusal(gateway.as("Monitor"), `${ROOT}Query()`, hidden)).toMatchObject({ errCode: 7006 });
  });

  test("of a device that is forgotten has nothing", async () => {
    ended(PHONE, 443);
    asks("www.example.com");
    ended(CAMERA, 443);
    await pass(2 * MINUTE);
    await tryDelete(gateway.resident, gateway.device(PHONE));
    await log.settled();
    expect((await rows({ Kind: "Flows" })).map(({ PhysAddress }) => PhysAddress)).toEqual([CAMERA]);
    expect(await rows({ Kind: "DNSQueries" })).toEqual([]);
  });
});

describe("ResolveIncident", () => {
  const time = "2026-01-01T00:00:00Z";
  const report = { Time: time, Protocol: "6", SourceAddress: WAN, SourcePort: "50001", DestinationAddress: PEER };
  const resolve = (args: Record<string, string>, role: Role = "Operator") =>
    run(gateway.as(role), `${ROOT}ResolveIncident()`, args);
  const refused = (args: Record<string, string>, role: Role = "Operator") =>
    refusal(gateway.as(role), `${ROOT}ResolveIncident()`, args);

  test("finds the device, while the flow lives, when it ended, and days after", async () => {
    await begin({ secured: [] });
    const flow = { id: 1, from: "192.0.2.12", to: PEER, port: 25, sourcePort: 50_001 };
    gateway.flows({ ...flow, event: "New", counters: [1, 60, 0, 0] });
    ended(PHONE, 25, 50_002);
    const found = { Found: "true", Device: gateway.device(CAMERA).slice(0, -1), FlowCount: "1", Blocked: "false" };
    expect(await resolve(report)).toEqual(found);
    gateway.flows({ ...flow, event: "End", counters: [9, 540, 9, 540] });
    expect(await resolve({ ...report, DestinationPort: "25" })).toEqual(found);
    await pass(5 * HOUR);
    expect(await resolve({ ...report, DestinationPort: "25" })).toEqual(found);
    const none = { Found: "false", Device: "", FlowCount: "0", Blocked: "false" };
    expect(await resolve({ ...report, SourcePort: "50003" })).toEqual(none);
    expect(await resolve({ ...report, DestinationPort: "26" })).toEqual(none);
    expect(await resolve({ ...report, SourceAddress: "203.0.113.3" })).toEqual(none);
    expect(await resolve({ ...report, Protocol: "17" })).toEqual(none);
    expect(await resolve({ ...report, Time: "2026-01-01T01:00:00Z", Tolerance: "60" })).toEqual(none);
    await rule(gateway.resident, { MACAddressList: CAMERA, DestinationList: PEER, Action: "Block" });
    expect(await resolve(report)).toEqual({ ...found, Blocked: "true" });
  });

  test("names nobody where two may have been it, nor by an address that the Internet does not know", async () => {
    await begin();
    // Two sums whose ranges of ports both hold the port.
    for (let k = 0; k < 40; k++) {
      ended(PHONE, 443, 50_000 + 2 * k);
      ended(CAMERA, 443, 50_001 + 2 * k);
    }
    await pass(3 * HOUR);
    expect(await resolve({ ...report, SourcePort: "50020" })).toMatchObject({
      Found: "false",
      Device: "",
      FlowCount: "80",
    });
    gateway.flows({
      id: 3,
      event: "New",
      from: "192.0.2.12",
      to: "198.51.100.9",
      replyTo: "192.0.2.12",
      sourcePort: 41_000,
    });
    const now = new Date(gateway.home.clock.now()).toISOString().replace(/\.\d+/, "");
    const inside = { ...report, Time: now, SourceAddress: "192.0.2.12", SourcePort: "41000", DestinationAddress: "" };
    expect(await resolve(inside)).toMatchObject({ Found: "false", FlowCount: "0" });
  });

  test("finds a device by its global IPv6 address", async () => {
    await begin();
    gateway.home.neighbour(1, "2001:db8:1::11");
    gateway.flows({ id: 1, event: "New", from: "2001:db8:1::11", to: "2001:db8:ffff::7", sourcePort: 50_001 });
    const six = { ...report, SourceAddress: "2001:db8:1::11", DestinationAddress: "" };
    expect(await resolve(six)).toMatchObject({ Found: "true", Device: gateway.device(PHONE).slice(0, -1) });
  });

  test.each([
    [{ SourcePort: "" }, 7027, "SourcePort"],
    [{ SourcePort: "0" }, 7027, "SourcePort"],
    [{ SourceAddress: "fd00::1" }, 7027, "no address of the Internet"],
    [{ SourceAddress: "fe80::1" }, 7027, "no address of the Internet"],
    [{ SourceAddress: "" }, 7027, "SourceAddress"],
    [{ SourceAddress: "home" }, 7027, "SourceAddress"],
    [{ Time: "0001-01-01T00:00:00Z" }, 7027, "Time"],
    [{ Tolerance: "601" }, 7027, "Tolerance"],
  ])("refuses %j in words", async (wrong, errCode, words) => {
    await begin();
    expect(await refused({ ...report, ...wrong })).toEqual({
      errCode,
      errMsg: expect.stringContaining(words) as string,
    });
  });

  test("is the Operator's, not a Monitor's, nor anybody's from afar at level Summary", async () => {
    await begin({ level: "Summary" });
    expect(await refused(report, "Monitor")).toMatchObject({ errCode: 7006 });
    expect(await refused(report)).toMatchObject({ errCode: 7006 });
    expect(await run(gateway.resident, `${ROOT}ResolveIncident()`, report)).toMatchObject({ Found: "false" });
  });

  test("answers each controller ten times at once, then each six seconds", async () => {
    await begin();
    for (let k = 0; k < 10; k++) await resolve(report);
    const slower = { errCode: 7005, errMsg: expect.stringContaining("again in 6 s") as string };
    expect(await refused(report)).toEqual(slower);
    expect(await resolve(report, "Support")).toMatchObject({ Found: "false" });
    await gateway.after(6000);
    await resolve(report);
    expect(await refused(report)).toEqual(slower);
  });
});
