/** Reports of the home: what is shipped, whose profiles are whose, and that no report shows more than a Get. */
import { addOne, operation, setOne, subscribe, until, type Peer } from "../usp/support.ts";
import { Gateway, idOf, tryAdd, tryDelete, trySet, type GatewayOptions, type Level } from "./support.ts";

const PROFILES = "Device.BulkData.Profile.";
const SHIPPED = `${PROFILES}1.`;

let gateway: Gateway;
let stopReports: () => Promise<void>;

async function start(options: GatewayOptions = {}): Promise<Gateway> {
  const stop = new AbortController();
  gateway = await Gateway.start({
    ...options,
    before: ({ bulkData }) => {
      const running = bulkData.run(stop.signal);
      stopReports = async () => {
        stop.abort();
        await running;
      };
    },
  });
  return gateway;
}
afterEach(async () => {
  await stopReports();
  await gateway.stop();
});

/** The text of a report by Push!, asked for. */
async function pushed(peer: Peer, profile: string): Promise<string> {
  const before = peer.notifies.length;
  const { operationResults } = await peer.response(operation(`${profile}ForceCollection()`), "operateResp");
  expect(operationResults[0]?.operationResp?.$case).toBe("reqOutputArgs");
  await until(() => peer.notifies.length > before, "Push!");
  const notification = peer.notifies[before]?.notification;
  if (notification?.$case !== "event") throw new Error("no event");
  return notification.value.params.get("Data") as string;
}

async function profile(peer: Peer, ...references: string[]): Promise<string> {
  const { createdObjResults } = await peer.response(
    addOne(PROFILES, {
      Enable: "true",
      Protocol: "USPEventNotif",
      "JSONEncoding.ReportFormat": "NameValuePair",
      "JSONEncoding.ReportTimestamp": "None",
    }),
    "addResp",
  );
  const status = createdObjResults[0]?.operStatus?.operStatus;
  if (status?.$case !== "operSuccess") throw new Error(JSON.stringify(status));
  const path = status.value.instantiatedPath;
  for (const Reference of references) await peer.response(addOne(`${path}Parameter.`, { Reference }), "addResp");
  return path;
}

describe("the profile that is shipped", () => {
  test("is off, belongs to the first controller that may enable it, and reports each 900 s", async () => {
    await start();
    expect(await gateway.as("Operator").get(SHIPPED)).toMatchObject({
      [`${SHIPPED}Enable`]: "false",
      [`${SHIPPED}ReportingInterval`]: "900",
      [`${SHIPPED}Controller`]: gateway.controllerRow(idOf("Operator")),
      [`${SHIPPED}Protocol`]: "USPEventNotif",
    });
  });

  test("is under 5 kB of 50 devices, and names none of them", async () => {
    await start();
    for (let i = 1; i <= 50; i++) gateway.home.neighbour(i, `192.0.2.${10 + i}`);
    await gateway.settled();
    const operator = gateway.as("Operator");
    await subscribe(operator, "Event", `${PROFILES}*.Push!`);
    await operator.response(setOne(SHIPPED, { Enable: "true" }), "setResp");
    const text = await pushed(operator, SHIPPED);
    const [report] = (JSON.parse(text) as { Report: Record<string, unknown>[] }).Report;
    expect(report).toMatchObject({ Summary: { DeviceCount: 50 } });
    expect(report).toHaveProperty("eid");
    expect(text).not.toMatch(/02:00:00|192\.0\.2\./);
    expect(Buffer.byteLength(text)).toBeLessThan(5_000);
    // And far under: what a fleet pays for.
    expect(Buffer.byteLength(text)).toBeLessThan(1_200);
  });
});

describe("a report of the home", () => {
  test.each<[Level, boolean]>([
    ["Summary", false],
    ["Devices", false],
    ["Destinations", false],
    ["Destinations", true],
  ])("at level %s (secured role: %s) holds what its owner would Get, and no more", async (level, isSecured) => {
    await start({ level, secured: isSecured ? ["Operator"] : [] });
    gateway.withTraffic();
    await gateway.settled();
    const operator = gateway.as("Operator");
    await subscribe(operator, "Event", `${PROFILES}*.Push!`);
    const path = await profile(
      operator,
      "Device.X_SPIN.Device.",
      "Device.LocalAgent.MTP.",
      "Device.LocalAgent.Controller.",
    );
    const [report] = (JSON.parse(await pushed(operator, path)) as { Report: Record<string, unknown>[] }).Report;
    const got = await operator.get("Device.X_SPIN.Device.", "Device.LocalAgent.MTP.", "Device.LocalAgent.Controller.");
    const texts = Object.fromEntries(Object.entries(report as object).map(([name, value]) => [name, String(value)]));
    expect(Object.keys(texts).sort()).toEqual(Object.keys(got).sort());
    // Counters and rates go on meanwhile; all else stands.
    const steady = (values: Readonly<Record<string, string>>) =>
      Object.fromEntries(Object.entries(values).filter(([name]) => !/Stats\.|History\.|LastSeen|UpTime/.test(name)));
    expect(steady(texts)).toEqual(steady(got));
    expect(JSON.stringify(report).includes("secret.example")).toBe(isSecured);
    if (level === "Summary") expect(Object.keys(texts).some((name) => name.startsWith("Device.X_SPIN."))).toBe(false);
  });

  test("follows PrivacyLevel down at once", async () => {
    await start({ level: "Devices" });
    gateway.withDevices();
    await gateway.settled();
    const operator = gateway.as("Operator");
    await subscribe(operator, "Event", `${PROFILES}*.Push!`);
    const path = await profile(operator, "Device.X_SPIN.Device.*.PhysAddress");
    expect(await pushed(operator, path)).toContain("02:00:00:00:00:01");
    expect((await trySet(operator, "Device.X_SPIN.", { PrivacyLevel: "Summary" })).code).toBe(0);
    await new Promise((resolve) => setTimeout(resolve, 1_050));
    expect(await pushed(operator, path)).toBe('{"Report":[{}]}');
  });
});

describe("a profile", () => {
  test("is changed, added to, run and deleted by its owner, and by nobody else", async () => {
    await start();
    const path = await profile(gateway.as("Operator"), "Device.X_SPIN.Summary.");
    const other = gateway.peer("self::operator2");
    expect((await trySet(other, path, { Enable: "false" })).code).toBe(7006);
    expect((await trySet(other, `${path}HTTP.`, { URL: "https://198.51.100.1/" })).code).toBe(7006);
    expect((await trySet(other, `${path}Parameter.1.`, { Reference: "" })).code).toBe(7006);
    expect((await tryAdd(other, `${path}Parameter.`, { Reference: "" })).code).toBe(7006);
    expect((await tryDelete(other, `${path}Parameter.1.`)).code).toBe(7006);
    expect((await tryDelete(other, path)).code).toBe(7006);
    const { operationResults } = await other.response(operation(`${path}ForceCollection()`), "operateResp");
    expect(operationResults[0]?.operationResp).toMatchObject({ $case: "cmdFailure", value: { errCode: 7006 } });
    expect((await tryDelete(gateway.as("Operator"), path)).code).toBe(0);
  });

  // It reports with its owner's rights, and logs in with its owner's password.
  test("is an Admin's to switch off and to delete, and not to lead elsewhere", async () => {
    await start();
    const path = await profile(gateway.as("Operator"), "Device.X_SPIN.Summary.");
    const admin = gateway.as("Admin");
    expect((await trySet(admin, `${path}HTTP.`, { URL: "https://198.51.100.1/" })).code).toBe(7006);
    expect((await trySet(admin, path, { "HTTP.URL": "https://198.51.100.1/" })).code).toBe(7006);
    expect((await trySet(admin, path, { ReportingInterval: "120" })).code).toBe(7006);
    expect((await tryAdd(admin, `${path}Parameter.`, { Reference: "Device.X_SPIN." })).code).toBe(7006);
    expect((await tryDelete(admin, `${path}Parameter.1.`)).code).toBe(7006);
    expect((await trySet(admin, path, { Enable: "false" })).code).toBe(0);
    expect((await tryDelete(admin, path)).code).toBe(0);
  });

  test("can't be made by one who only reads, nor in another's name", async () => {
    await start();
    expect((await tryAdd(gateway.as("Monitor"), PROFILES, {})).code).not.toBe(0);
    const { code } = await tryAdd(gateway.as("Operator"), PROFILES, {
      Controller: gateway.controllerRow("self::operator2"),
    });
    expect(code).not.toBe(0);
  });

  test("shows no password", async () => {
    await start();
    const path = await profile(gateway.as("Operator"));
    await trySet(gateway.as("Operator"), `${path}HTTP.`, { Password: "s3cret" });
    expect(await gateway.as("Operator").get(`${path}HTTP.Password`)).toEqual({ [`${path}HTTP.Password`]: "" });
  });
});
