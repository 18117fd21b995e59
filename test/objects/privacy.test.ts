/** What the resident alone may: support sessions, the access log, and erasing what a device did. */
import { ManualClock, type Clock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { AccessLog } from "../../src/objects/access-log.ts";
import { SupportSession } from "../../src/objects/support-session.ts";
import { memoryFiles } from "../../src/spin/flow-log/files.ts";
import { FlowLog } from "../../src/spin/flow-log/flow-log.ts";
import { START } from "../spin/home.ts";
import { get, settle, subscribe, type Peer } from "../usp/support.ts";
import { CAMERA, Gateway, PHONE, read, refusal, ROOT, rule, run, told, trySet, until, value } from "./support.ts";

const HOUR = 3_600_000;
const GRANT = `${ROOT}GrantSupport()`;
const ERASE = `${ROOT}EraseHistory()`;
const TOP = `${ROOT}Device.1.TopDestinations`;
const NONE = "0001-01-01T00:00:00Z";

let gateway: Gateway;
let isUp = false;
const start = async (options: Parameters<typeof Gateway.start>[0] = {}) => {
  gateway = await Gateway.start({ level: "Devices", ceiling: "Devices", ...options });
  isUp = true;
  return gateway.withTraffic();
};
afterEach(async () => {
  if (isUp) await gateway.stop();
  isUp = false;
});

interface Access {
  readonly Controller: string;
  readonly What: string;
  readonly Count: string;
  readonly Secured: string;
}
async function accesses(peer: Peer = gateway.resident): Promise<Access[]> {
  const { reqPathResults } = await peer.response(get([`${ROOT}AccessLog.`]), "getResp");
  return (reqPathResults[0]?.resolvedPathResults ?? []).map(
    ({ resultParams }) => Object.fromEntries(resultParams) as unknown as Access,
  );
}
const whats = async () => (await accesses()).map(({ Controller, What, Count }) => `${Controller} ${What} ${Count}`);

describe("a support session", () => {
  test.each(["Monitor", "Operator", "Support", "Admin"] as const)("is not %s's to grant", async (role) => {
    await start({ secured: [role] });
    expect(await refusal(gateway.as(role), GRANT, { Duration: "60" })).toMatchObject({ errCode: 7006 });
    expect(await refusal(gateway.as(role), ERASE)).toMatchObject({ errCode: 7006 });
    expect(await value(gateway.resident, `${ROOT}SupportUntil`)).toBe(NONE);
  });

  test("shows the role Support what is secured, to no other role, and until it is ended", async () => {
    await start();
    const support = gateway.as("Support");
    await rule(gateway.resident, { MACAddressList: CAMERA, DestinationList: "hidden.example" });
    expect(await value(support, TOP)).toBe("");
    await subscribe(gateway.as("Operator"), "ValueChange", ROOT);
    const { SupportUntil } = await run(gateway.resident, GRANT, { Duration: "3600" });
    expect(Math.abs(Date.parse(SupportUntil as string) - Date.now() - HOUR)).toBeLessThan(60_000);
    expect(await value(support, TOP)).toContain("secret.example");
    expect(await value(support, `${ROOT}Rule.1.DestinationList`)).toBe("hidden.example");
    expect(JSON.stringify(await run(support, `${ROOT}Query()`, { Kind: "Flows" }))).toContain("198.51.100.7");
    for (const role of ["Monitor", "Operator", "Admin"] as const) expect(await value(gateway.as(role), TOP)).toBe("");
    expect((await run(gateway.resident, GRANT, { Duration: "0" }))["SupportUntil"]).toBe(NONE);
    expect(await value(support, TOP)).toBe("");
    expect(await refusal(support, `${ROOT}Query()`, { Kind: "Flows" })).toMatchObject({ errCode: 7006 });
    await settle();
    const heard = told(gateway.as("Operator")).filter((text) => text.includes("SupportUntil"));
    expect(heard.at(-1)).toBe(`${ROOT}SupportUntil=${NONE}`);
  });

  test("shows nothing at level Summary, which is the resident's word too", async () => {
    await start({ level: "Summary", ceiling: "Summary" });
    await run(gateway.resident, GRANT, { Duration: "3600" });
    expect(await value(gateway.as("Support"), TOP)).toBeUndefined();
  });

  test.each(["86401", "-1", "x", ""])("can't last %s", async (Duration) => {
    await start();
    expect(await refusal(gateway.resident, GRANT, { Duration })).toMatchObject({ errCode: 7027 });
  });

  test("goes on after a restart", async () => {
    await start();
    await run(gateway.resident, GRANT, { Duration: "3600" });
    const until = await value(gateway.resident, `${ROOT}SupportUntil`);
    gateway = await gateway.restart({ level: "Devices", ceiling: "Devices" });
    gateway.withTraffic();
    expect(
      Math.abs(
        Date.parse(until as string) - Date.parse((await value(gateway.resident, `${ROOT}SupportUntil`)) as string),
      ),
    ).toBeLessThan(5000);
    expect(await value(gateway.as("Support"), TOP)).toContain("secret.example");
  });

  const session = (store: ReturnType<typeof memoryStore>, clock: Clock) =>
    new SupportSession({ store, clock, log: silentLog, changed: () => undefined });

  test("is not made longer by a clock that is set back, in this life or the next", async () => {
    const store = memoryStore();
    let [wall, passed] = [START, 0];
    const clock = {
      now: () => wall,
      monotonic: () => passed,
      advance: (ms: number) => ((wall += ms), (passed += ms)),
    };
    const first = session(store, clock);
    await first.grant(2 * HOUR);
    wall -= 1000 * HOUR;
    expect(first.granted).toBe(true);
    clock.advance(HOUR);
    expect(first.until).toBe(clock.now() + HOUR);
    await first.close();
    const second = session(store, clock);
    expect(second.until).toBe(clock.now() + HOUR);
    clock.advance(HOUR - 1);
    expect(second.granted).toBe(true);
    clock.advance(1);
    expect([second.granted, second.until]).toEqual([false, undefined]);
    await second.close();
  });

  test("ends with its hour where the clock goes on while the gateway is off", async () => {
    const store = memoryStore();
    const clock = new ManualClock(START);
    const first = session(store, clock);
    await first.grant(HOUR);
    await first.close();
    expect(session(store, new ManualClock(START + HOUR)).granted).toBe(false);
    expect(session(store, new ManualClock(START + HOUR - 1)).granted).toBe(true);
  });

  test.each([{ until: "x", left: 5 }, { until: 1e300, left: 1e300 }, [], 7, null])(
    "that was never granted is none: %j",
    async (saved) => {
      const store = memoryStore();
      await store.save("support-session", saved);
      expect(session(store, new ManualClock(START)).granted).toBe(false);
    },
  );
});

describe("the access log", () => {
  test("has who read what is secured, wrote and ran, and how often; not the resident", async () => {
    await start({ level: "Destinations", ceiling: "Destinations", secured: ["Operator"] });
    const operator = gateway.as("Operator");
    const before = (await whats()).length;
    for (let k = 0; k < 3; k++) await value(operator, TOP);
    await value(operator, `${ROOT}Device.1.PhysAddress`);
    await value(gateway.as("Monitor"), TOP);
    await run(operator, `${ROOT}Query()`, { Kind: "Flows" });
    await run(gateway.as("Monitor"), `${ROOT}Query()`, { Kind: "Destinations" });
    await trySet(operator, `${ROOT}Device.1.`, { Name: "Phone" });
    await trySet(gateway.as("Monitor"), `${ROOT}Device.1.`, { Name: "Refused" });
    const own = await rule(operator, { MACAddressList: PHONE, DestinationList: "own.example" });
    await value(operator, `${own}DestinationList`);
    await run(operator, `${ROOT}Device.2.Block()`);
    // Refused is not run.
    await refusal(operator, GRANT, { Duration: "60" });
    await value(gateway.resident, TOP);
    await run(gateway.resident, `${ROOT}Device.2.Unblock()`);
    expect((await whats()).slice(before)).toEqual([
      `self::operator read ${ROOT}Device.{i}.TopDestinations 3`,
      "self::operator Query(Flows) 1",
      "self::monitor Query(Destinations) 1",
      `self::operator set ${ROOT}Device.1.Name 1`,
      `self::operator added ${own} 1`,
      `self::operator ran ${ROOT}Device.2.Block() 1`,
    ]);
    expect((await accesses()).slice(before).map(({ Secured }) => Secured)).toEqual([
      "true",
      "true",
      "false",
      "false",
      "false",
      "false",
    ]);
  });

  test("has searches on what is secured, notifications, and what makes a controller see more", async () => {
    await start({ level: "Destinations", ceiling: "Destinations", secured: ["Operator"] });
    const operator = gateway.as("Operator");
    await operator.response(get([`${ROOT}Device.[TopDestinations~="secret.example"].PhysAddress`]), "getResp");
    expect((await whats()).at(-1)).toContain(`self::operator read ${ROOT}Device.{i}.TopDestinations`);
    await subscribe(operator, "ValueChange", `${ROOT}Rule.`);
    const hidden = await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "hidden.example" });
    await trySet(gateway.resident, hidden, { DestinationList: "other.example" });
    await settle();
    expect(await whats()).toContain(`self::operator read ${ROOT}Rule.{i}.DestinationList 1`);
    const trust = "Device.LocalAgent.ControllerTrust.";
    await trySet(gateway.as("Admin"), trust, { SecuredRoles: gateway.roleRow("Admin") });
    expect((await whats()).at(-1)).toBe(`self::admin set ${trust}SecuredRoles 1`);
  });

  test("is empty for everybody else: no rows, no count, no notification, nothing to find", async () => {
    await start({ level: "Destinations", ceiling: "Destinations", secured: ["Admin", "Operator"] });
    for (const peer of [gateway.as("Admin"), gateway.as("Operator")]) {
      await subscribe(peer, "ObjectCreation", ROOT);
      await subscribe(peer, "ValueChange", ROOT);
      await value(peer, TOP);
    }
    await trySet(gateway.as("Admin"), ROOT, { NewDevicePolicy: "Quarantine" });
    await settle();
    const held = await accesses();
    expect(held.length).toBeGreaterThan(2);
    for (const peer of [gateway.as("Admin"), gateway.as("Operator")]) {
      expect(await accesses(peer)).toEqual([]);
      expect(await value(peer, `${ROOT}AccessLogNumberOfEntries`)).toBe("0");
      expect(told(peer).filter((text) => text.includes("AccessLog"))).toEqual([]);
      for (const path of [`${ROOT}AccessLog.1.What`, `${ROOT}AccessLog.99.What`]) {
        const { reqPathResults } = await peer.response(get([path]), "getResp");
        expect(reqPathResults[0]?.errCode).toBe(7026);
      }
    }
    expect(await value(gateway.resident, `${ROOT}AccessLogNumberOfEntries`)).toBe(`${(await accesses()).length}`);
  });

  test("is kept over a restart, and no controller deletes of it", async () => {
    await start({ level: "Destinations", ceiling: "Destinations", secured: ["Operator"] });
    await value(gateway.as("Operator"), TOP);
    const before = await whats();
    gateway = await gateway.restart();
    expect(await whats()).toEqual(before);
  });
});

describe("the ring of accesses", () => {
  const make = (store = memoryStore(), clock = new ManualClock(START)) => ({
    store,
    clock,
    log: new AccessLog({ store, clock, log: silentLog }),
  });

  test("makes one row of what is done again within an hour, a day long", () => {
    const { clock, log } = make();
    for (let minute = 0; minute < 48 * 60; minute += 15) {
      log.add("a", "read x", true);
      clock.advance(15 * 60_000);
    }
    expect(log.all().map(({ count }) => count)).toEqual([96, 96]);
    clock.advance(HOUR);
    log.add("a", "read x", true);
    expect(log.all()).toHaveLength(3);
  });

  test("loses nothing of one controller to another that does much, nor what it read to what it did", () => {
    const { log } = make();
    log.add("quiet", "read x", true);
    log.add("loud", "read y", true);
    for (let k = 0; k < 2000; k++) log.add("loud", `set ${k}`, false);
    expect(log.all()).toHaveLength(255);
    expect(log.all().map(({ what }) => what)).toEqual(expect.arrayContaining(["read x", "read y", "set 1999"]));
    expect(new Set(log.all().map(({ number }) => number)).size).toBe(255);
  });

  test("is written once a minute at most, and at the end", async () => {
    const { store, clock, log } = make();
    let saves = 0;
    const save = store.save.bind(store);
    store.save = (...args) => (saves++, save(...args));
    log.add("a", "x", false);
    await until(() => saves === 1, "the first save");
    for (let k = 0; k < 100; k++) log.add("a", `x ${k}`, false);
    await settle();
    expect(saves).toBe(1);
    await log.close();
    expect(saves).toBe(2);
    expect(make(store, clock).log.all()).toEqual(log.all());
  });

  test.each([7, null, [], { rows: 7 }, { rows: [null, { number: 1 }, { number: "x" }] }, { next: -5, rows: [] }])(
    "takes nothing from a document that is none: %j",
    async (saved) => {
      const store = memoryStore();
      await store.save("access-log", saved);
      const { log } = make(store);
      expect(log.all()).toEqual([]);
      log.add("a", "x", false);
      expect(log.all()[0]?.number).toBe(1);
    },
  );
});

describe("EraseHistory()", () => {
  const MINUTES = 3;
  async function withHistory(): Promise<FlowLog> {
    const clock = new ManualClock(START);
    const flowLog = new FlowLog({ files: memoryFiles(), clock, log: silentLog, bytes: 1_000_000, days: 7 });
    await start({ level: "Destinations", ceiling: "Destinations", clock, flowLog });
    gateway.home.tell({ kind: "query", time: clock.now(), client: "192.0.2.11", name: "asked.example", type: "A" });
    gateway.flows(
      {
        id: 1,
        event: "End",
        from: "192.0.2.11",
        to: "198.51.100.7",
        sourcePort: 40001,
        counters: [10, 1000, 20, 3000],
      },
      { id: 2, event: "End", from: "192.0.2.11", to: "198.51.100.8", sourcePort: 40002, counters: [1, 100, 2, 300] },
      { id: 9, event: "New", from: "192.0.2.12", to: "198.51.100.9", sourcePort: 40009 },
    );
    gateway.flows({
      id: 9,
      event: "End",
      from: "192.0.2.12",
      to: "198.51.100.9",
      sourcePort: 40009,
      counters: [1, 9, 1, 9],
    });
    for (let second = 0; second < 60 * MINUTES; second++) await gateway.after(1000);
    await flowLog.settled();
    return flowLog;
  }
  const everything = async (PhysAddress?: string) => {
    const filter: Record<string, string> = PhysAddress === undefined ? {} : { PhysAddress };
    const kinds = ["Flows", "Destinations", "DNSQueries", "History"];
    const answers = kinds.map((Kind) => run(gateway.resident, `${ROOT}Query()`, { Kind, ...filter }));
    return JSON.stringify(await Promise.all(answers));
  };
  const rowsOf = (text: string) => [...text.matchAll(/"Row\.\d+\.PhysAddress"/g)].length;

  test("of a device takes all that it did and nothing of others, and says so", async () => {
    const flowLog = await withHistory();
    expect(await everything(PHONE)).toMatch(/198\.51\.100\.7.*asked\.example/);
    const others = await everything(CAMERA);
    const sent = await value(gateway.resident, `${ROOT}Device.1.Stats.BytesSent`);
    const outputs = await run(gateway.resident, ERASE, { PhysAddress: PHONE });
    expect(outputs).toMatchObject({ Devices: "1", Destinations: "2", Names: "1", Incidents: "0" });
    expect(outputs["What"]).toContain(PHONE);
    await flowLog.settled();
    const { NextCursor: _, ...left } = await run(gateway.resident, `${ROOT}Query()`, {
      Kind: "Flows",
      PhysAddress: PHONE,
    });
    expect(left).toEqual({ Truncated: "false" });
    const after = await everything(PHONE);
    for (const secret of ["secret.example", "198.51.100", "asked.example"]) expect(after).not.toContain(secret);
    expect(await everything(CAMERA)).toBe(others);
    expect(await value(gateway.resident, TOP)).toBe("");
    expect(await value(gateway.resident, `${ROOT}Device.1.Stats.BytesSent`)).toBe(sent);
    expect((await read(gateway.resident, `${ROOT}Device.1.History.Minute.`))["BytesSent"]).toMatch(/^[0,]+$/);
    // What it does from now on is counted as before.
    gateway.flows({ id: 5, event: "New", from: "192.0.2.11", to: "198.51.100.7", sourcePort: 40005 });
    gateway.flows({ id: 5, from: "192.0.2.11", to: "198.51.100.7", sourcePort: 40005, counters: [1, 500, 1, 7] });
    for (let second = 0; second < 61; second++) await gateway.after(1000);
    expect((await read(gateway.resident, `${ROOT}Device.1.History.Minute.`))["BytesSent"]).toMatch(/(?:^|,)500(?:,|$)/);
    // And on disk: another life has nothing of it either.
    expect(JSON.stringify(gateway.store.load("home"))).not.toContain("secret.example");
  });

  test("takes what was set aside as damaged, and says so where the disk refuses", async () => {
    const clock = new ManualClock(START);
    const flowLog = new FlowLog({ files: memoryFiles(), clock, log: silentLog, bytes: 1_000_000, days: 7 });
    const dropped: string[] = [];
    const store = { ...memoryStore(), dropAside: (name: string) => void dropped.push(name) };
    await start({ clock, flowLog, store });
    await run(gateway.resident, ERASE, { PhysAddress: PHONE });
    expect(dropped).toEqual(["home", "history"]);
    flowLog.erase = () => Promise.reject(new Error("EROFS"));
    expect(await refusal(gateway.resident, ERASE, { PhysAddress: PHONE })).toMatchObject({ errCode: 7022 });
  });

  test("of the home takes that of all", async () => {
    const flowLog = await withHistory();
    expect(rowsOf(await everything())).toBeGreaterThan(3);
    expect(await run(gateway.resident, ERASE)).toMatchObject({ Devices: "2" });
    expect(flowLog.figures).toMatchObject({ bytes: 0, retiredBytes: 0, waiting: 0 });
    const after = await everything();
    for (const secret of ["secret.example", "198.51.100", "asked.example"]) expect(after).not.toContain(secret);
    expect((await read(gateway.resident, `${ROOT}Summary.History.Minute.`))["BytesSent"]).toMatch(/^[0,]+$/);
  });

  test("leaves rules on domains in force for what the device was told", async () => {
    await start();
    await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "secret.example" });
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).not.toBe("Pass");
    expect((await run(gateway.resident, ERASE, { PhysAddress: PHONE }))["Names"]).toBe("0");
    await gateway.settled();
    await gateway.after(1000);
    expect(gateway.packet(PHONE, "198.51.100.7")).not.toBe("Pass");
    expect(gateway.packet(PHONE, "198.51.100.8")).toBe("Pass");
  });

  test("of a device that is not there, and of what is no address", async () => {
    await start();
    expect(await run(gateway.resident, ERASE, { PhysAddress: "02:00:00:00:00:77" })).toMatchObject({ Devices: "0" });
    expect(await refusal(gateway.resident, ERASE, { PhysAddress: "phone" })).toMatchObject({ errCode: 7027 });
  });
});
