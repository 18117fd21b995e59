import { addOne, get, setOne, settle, subscribe } from "../usp/support.ts";
import type { Peer } from "../usp/support.ts";
import {
  everything,
  Gateway,
  idOf,
  PHONE,
  print,
  read,
  refusal,
  ROOT,
  rule,
  run,
  told,
  tryAdd,
  trySet,
  value,
  type Level,
} from "./support.ts";

let gateway: Gateway;
afterEach(() => gateway.stop());

/** What nobody without the right may come to know: the phone's destinations, and another's rule. */
const SECRETS = ["secret.example", "198.51.100.7", "198.51.100.8", "hidden.example", "203.0.113.0/24"];
const TOP = "TopDestinations";

/** The phone talks to secret.example and to an address; operator 2 has a rule on hidden.example. */
async function secretHome(level: Level, secured: boolean, benchRows?: number): Promise<Peer> {
  gateway = await Gateway.start({
    level,
    secured: secured ? ["Operator"] : [],
    ...(benchRows === undefined ? {} : { benchRows }),
  });
  gateway.withTraffic();
  await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "hidden.example,203.0.113.0/24" });
  await gateway.settled();
  return gateway.as("Operator");
}

const CASES: readonly [Level, boolean, "shown" | "hidden"][] = [
  ["Summary", false, "hidden"],
  ["Summary", true, "hidden"],
  ["Devices", false, "hidden"],
  ["Devices", true, "hidden"],
  ["Destinations", false, "hidden"],
  ["Destinations", true, "shown"],
];

describe.each(CASES)("at level %s, role in SecuredRoles: %s, secured values are %s", (level, secured, is) => {
  const shown = is === "shown";

  test.each([
    ["named", [`${ROOT}Device.1.${TOP}`, `${ROOT}Rule.1.DestinationList`]],
    ["by wildcard", [`${ROOT}Device.*.${TOP}`, `${ROOT}Rule.*.DestinationList`]],
    ["by search", [`${ROOT}Device.[PhysAddress=="${PHONE}"].${TOP}`, `${ROOT}Rule.[Action=="Block"].DestinationList`]],
    ["of the row", [`${ROOT}Device.1.`, `${ROOT}Rule.1.`]],
    ["of the whole", [ROOT]],
    ["of the root", ["Device."]],
  ])("in a Get, %s", async (_, paths) => {
    const operator = await secretHome(level, secured);
    const text = await everything(operator, ...paths);
    for (const secret of SECRETS.filter((secret) => secret !== "198.51.100.7"))
      expect([secret, text.includes(secret)]).toEqual([secret, shown]);
  });

  test.each([1, 2, 3, 4, 5])("in a Get of max_depth %i, never more than without", async (depth) => {
    const operator = await secretHome(level, secured);
    const text = print(await operator.ask(get([ROOT], depth)));
    if (!shown) for (const secret of SECRETS) expect(text).not.toContain(secret);
  });

  test.each([
    `${ROOT}Device.[${TOP}~="secret.example"].PhysAddress`,
    `${ROOT}Device.[PhysAddress=="${PHONE}"&&${TOP}!="x"].PhysAddress`,
    `${ROOT}Rule.[DestinationList~="hidden.example"].Alias`,
    `${ROOT}Rule.[DestinationList!=""].Alias`,
    `${ROOT}Rule.[DestinationList=="hidden.example,203.0.113.0/24"].Alias`,
    `${ROOT}Rule.[Creator=="self::resident"&&DestinationList~="203.0.113.0/24"].Alias`,
  ])("and the search %s finds what it should", async (path) => {
    const operator = await secretHome(level, secured);
    const { reqPathResults } = await operator.response(get([path]), "getResp");
    expect(reqPathResults[0]?.errCode).toBe(0);
    expect(reqPathResults[0]?.resolvedPathResults).toHaveLength(shown ? 1 : 0);
  });

  test("in the unique keys of GetInstances", async () => {
    const operator = await secretHome(level, secured);
    const text = print(
      await operator.ask({ $case: "getInstances", value: { objPaths: [ROOT], firstLevelOnly: false } }),
    );
    expect(text.includes("hidden.example")).toBe(shown);
  });

  test("in ValueChange of a rule and of a device", async () => {
    const operator = await secretHome(level, secured);
    await subscribe(operator, "ValueChange", ROOT);
    await trySet(gateway.resident, `${ROOT}Rule.1.`, { DestinationList: "other.example", Reason: "moved" });
    gateway.flows({
      id: 3,
      event: "New",
      from: "192.0.2.11",
      to: "198.51.100.8",
      sourcePort: 40003,
      counters: [9, 9000, 9, 90],
    });
    await settle();
    const heard = told(operator);
    if (level !== "Summary") expect(heard).toContain(`${ROOT}Rule.1.Reason=moved`);
    // Not even that something changed, to one who may not see what.
    expect(heard.filter((text) => text.includes("DestinationList"))).toEqual(
      shown ? [`${ROOT}Rule.1.DestinationList=other.example`] : [],
    );
    expect(heard.join()).not.toContain(TOP);
  });

  test("in the unique keys of ObjectCreation", async () => {
    const operator = await secretHome(level, secured);
    await subscribe(operator, "ObjectCreation", `${ROOT}Rule.`);
    await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "quiet.example" });
    await settle();
    expect(operator.notifies).toHaveLength(level === "Summary" ? 0 : 1);
    expect(print(operator.notifies).includes("quiet.example")).toBe(shown);
  });

  test("in the outputs of Query()", async () => {
    const operator = await secretHome(level, secured);
    if (level === "Summary") {
      for (const Kind of ["Flows", "Destinations"])
        expect(await refusal(operator, `${ROOT}Query()`, { Kind })).toMatchObject({ errCode: 7006 });
      return;
    }
    const outputs = await run(operator, `${ROOT}Query()`, { Kind: "Destinations" });
    expect(outputs["Row.2.BytesSent"]).toBeDefined();
    expect(print(outputs).includes("secret.example")).toBe(shown);
    expect(print(outputs).includes("198.51.100.7")).toBe(shown);
    if (!shown) {
      expect(outputs).toMatchObject({
        "Row.1.Address": "",
        "Row.1.Domain": "",
        "Row.2.Address": "",
        "Row.2.Domain": "",
      });
      expect(await refusal(operator, `${ROOT}Query()`, { Kind: "Flows" })).toMatchObject({ errCode: 7006 });
      // Whether the filter finds anything would tell, too.
      for (const Destination of ["secret.example", "198.51.100.0/24", "192.0.2.0/24", "not a name"])
        expect(await refusal(operator, `${ROOT}Query()`, { Kind: "Destinations", Destination })).toMatchObject({
          errCode: 7006,
        });
    } else expect(print(await run(operator, `${ROOT}Query()`, { Kind: "Flows" }))).toContain("198.51.100.7");
  });

  test("in Boot!'s ParameterMap", async () => {
    await secretHome(level, secured);
    const store = gateway.store;
    const admin = gateway.as("Admin");
    const row = gateway.controllerRow(idOf("Operator"));
    for (const ParameterName of [`${ROOT}Rule.*.DestinationList`, `${ROOT}Device.*.${TOP}`, `${ROOT}Rule.1.`])
      expect((await tryAdd(admin, `${row}.BootParameter.`, { Enable: "true", ParameterName })).code).toBe(0);
    await subscribe(gateway.as("Operator"), "Event", "Device.Boot!", { Persistent: "true" });
    gateway = await gateway.restart({ store });
    const operator = gateway.as("Operator");
    await settle();
    const boot = told(operator).find((text) => text.startsWith("Device.Boot!")) as string;
    expect(boot).toContain("ParameterMap");
    expect(boot.includes("hidden.example")).toBe(shown);
  });

  test("in a secured value of another object, by role alone", async () => {
    const operator = await secretHome(level, secured, 1);
    await trySet(gateway.as("Admin"), "Device.X_BENCH.", { Secret: "1234" });
    expect(await value(operator, "Device.X_BENCH.Secret")).toBe(secured ? "1234" : "");
  });
});

describe("to whoever may not see it", () => {
  test("a Set of a secured value of its own row answers what a Get would", async () => {
    const operator = await secretHome("Devices", false);
    const own = await rule(operator, { MACAddressList: PHONE, DestinationList: "198.51.100.99" });
    const content = await operator.ask(setOne(own, { DestinationList: "198.51.100.100" }));
    expect(print(content)).toContain(`"updatedParams":{"DestinationList":"198.51.100.100"}`);
  });

  test("a Set by an Admin of another's rule does not answer with it", async () => {
    await secretHome("Devices", false);
    const own = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "own.example" });
    const admin = gateway.as("Admin");
    const content = await admin.ask(setOne(own, { Reason: "mine now" }));
    expect(print(content)).not.toContain("own.example");
    expect(await value(admin, `${own}DestinationList`)).toBe("");
  });

  test("an error says nothing of what another's rule holds", async () => {
    const operator = await secretHome("Devices", false);
    const add = await operator.ask(
      addOne(`${ROOT}Rule.`, {
        Action: "Block",
        MACAddressList: PHONE,
        DestinationList: "hidden.example,203.0.113.0/24",
      }),
    );
    // The same as the resident's: no duplicate, because the Creator is another.
    expect(add.kind).toBe("response");
    const set = await trySet(operator, `${ROOT}Rule.1.`, { DestinationList: "x" });
    expect(set.code).toBe(7006);
    expect(set.text).not.toContain("hidden.example");
  });

  test("the state of a rule does not name a list that it refers to", async () => {
    await secretHome("Devices", false);
    const path = await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: `${ROOT}List.4711` });
    const state = await read(gateway.as("Operator"), path);
    expect(state).toMatchObject({ Status: "Error_Misconfigured", DestinationList: "" });
    expect(state["StatusReason"]).not.toContain("4711");
  });

  test("its duplicate is refused without saying what is in it", async () => {
    const operator = await secretHome("Destinations", false);
    const params = { MACAddressList: PHONE, DestinationList: "own.example" };
    const own = await rule(operator, params);
    const { code, text } = await tryAdd(operator, `${ROOT}Rule.`, { Action: "Block", ...params });
    expect([code, text]).toEqual([7025, expect.stringContaining(own)]);
    expect(text).not.toContain("own.example");
  });
});

describe("a rule's DestinationList", () => {
  test("is visible to its Creator at every level at which there are rules, and to the resident at all", async () => {
    for (const level of ["Devices", "Destinations"] as const) {
      const operator = await secretHome(level, false);
      const own = await rule(operator, { MACAddressList: PHONE, DestinationList: "own.example" });
      expect(await value(operator, `${own}DestinationList`)).toBe("own.example");
      expect(await value(gateway.peer("self::operator2"), `${own}DestinationList`)).toBe("");
      expect(await value(gateway.resident, `${own}DestinationList`)).toBe("own.example");
      const found = await operator.response(get([`${ROOT}Rule.[DestinationList~="own.example"].Alias`]), "getResp");
      expect(found.reqPathResults[0]?.resolvedPathResults).toHaveLength(1);
      await gateway.stop();
    }
    await secretHome("Summary", false);
    expect(await value(gateway.resident, `${ROOT}Rule.1.DestinationList`)).toBe("hidden.example,203.0.113.0/24");
  });

  test("is told to its Creator in AddResp's unique keys and in ValueChange", async () => {
    const operator = await secretHome("Devices", false);
    const added = await operator.ask(addOne(`${ROOT}Rule.`, { MACAddressList: PHONE, DestinationList: "own.example" }));
    expect(print(added)).toContain(`"DestinationList":"own.example"`);
    await subscribe(operator, "ValueChange", `${ROOT}Rule.`);
    await trySet(operator, `${ROOT}Rule.2.`, { DestinationList: "next.example" });
    await settle();
    expect(told(operator)).toContain(`${ROOT}Rule.2.DestinationList=next.example`);
  });
});

describe("PrivacyLevel", () => {
  test.each<[Level, Level, number]>([
    ["Devices", "Summary", 0],
    ["Devices", "Devices", 0],
    ["Devices", "Destinations", 7006],
    ["Summary", "Devices", 7006],
    ["Destinations", "Destinations", 0],
  ])("under the ceiling %s may be %s: %i", async (ceiling, level, code) => {
    gateway = await Gateway.start({ level: "Summary", ceiling });
    const result = await trySet(gateway.as("Operator"), ROOT, { PrivacyLevel: level });
    expect(result.code).toBe(code);
    if (code !== 0) expect(result.text).toMatch(/PrivacyLevel .* is above PrivacyCeiling/);
  });

  test("is raised with the ceiling by the resident, in one Set", async () => {
    gateway = await Gateway.start({ level: "Devices", ceiling: "Devices" });
    const { resident } = gateway;
    expect((await trySet(resident, ROOT, { PrivacyLevel: "Destinations" })).code).toBe(7014);
    expect((await trySet(resident, ROOT, { PrivacyCeiling: "Destinations", PrivacyLevel: "Destinations" })).code).toBe(
      0,
    );
    expect((await trySet(resident, ROOT, { PrivacyCeiling: "Devices" })).code).toBe(7014);
    expect((await trySet(resident, ROOT, { PrivacyLevel: "Devices", PrivacyCeiling: "Devices" })).code).toBe(0);
  });

  test("takes effect at once, and what was already due is said as the new level has it", async () => {
    const operator = await secretHome("Destinations", true);
    await subscribe(operator, "ValueChange", `${ROOT}Rule.`);
    expect(await value(operator, `${ROOT}Rule.1.DestinationList`)).not.toBe("");
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Devices" });
    expect(await value(operator, `${ROOT}Rule.1.DestinationList`)).toBe("");
    await trySet(gateway.resident, `${ROOT}Rule.1.`, { DestinationList: "other.example" });
    await settle();
    expect(told(operator).join()).not.toContain("other.example");
  });

  test("outlives a restart, as the ceiling does", async () => {
    gateway = await Gateway.start({ level: "Destinations" });
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Summary", PrivacyCeiling: "Devices" });
    gateway = await gateway.restart({ level: "Destinations" });
    expect(await read(gateway.as("Operator"), ROOT)).toMatchObject({
      PrivacyLevel: "Summary",
      PrivacyCeiling: "Devices",
    });
  });
});

describe("at level Summary", () => {
  test("tables answer as empty, and rows that are there can't be named", async () => {
    const operator = await secretHome("Summary", true);
    await subscribe(operator, "ObjectCreation", ROOT);
    for (const path of [`${ROOT}Device.`, `${ROOT}Device.*.`, `${ROOT}Rule.`, `${ROOT}Rule.*.`]) {
      const { reqPathResults } = await operator.response(get([path]), "getResp");
      expect(reqPathResults[0]).toMatchObject({ errCode: 0, resolvedPathResults: [] });
    }
    // A row that is there and one that never was are not to be told apart.
    for (const row of ["Device.1.", "Device.77."]) {
      const { reqPathResults } = await operator.response(get([`${ROOT}${row}`]), "getResp");
      expect(reqPathResults[0]?.errCode).toBe(7026);
      expect((await trySet(operator, `${ROOT}${row}`, { Name: "x" })).code).toBe(7016);
      expect(await refusal(operator, `${ROOT}${row}Block()`)).toMatchObject({ errCode: 7016 });
    }
    const text = print(
      await operator.ask({ $case: "getInstances", value: { objPaths: [`${ROOT}Device.`], firstLevelOnly: false } }),
    );
    expect(text).not.toContain(PHONE);
  });

  test("totals and the capture's sources are still there", async () => {
    const operator = await secretHome("Summary", false);
    expect(await value(operator, `${ROOT}Summary.BytesSent`)).toBe("1100");
    expect(await value(operator, `${ROOT}Summary.DeviceCount`)).toBe("2");
  });

  test("nobody but the resident is told of devices", async () => {
    const operator = await secretHome("Summary", true);
    for (const peer of [operator, gateway.resident]) {
      await subscribe(peer, "ObjectCreation", `${ROOT}Device.`);
      await subscribe(peer, "ObjectDeletion", `${ROOT}Device.`);
      await subscribe(peer, "ValueChange", `${ROOT}Device.`);
      await subscribe(peer, "Event", ROOT);
    }
    gateway.home.neighbour(3, "192.0.2.13").lease(3, "192.0.2.13", "tablet");
    await gateway.spin.forget(3);
    await settle();
    expect(told(operator)).toEqual([]);
    expect(told(gateway.resident).join()).toContain("DeviceDiscovered!");
  });

  test("the resident sees everything, through the local door", async () => {
    await secretHome("Summary", false);
    expect(await value(gateway.resident, `${ROOT}Device.1.${TOP}`)).toBe("secret.example,198.51.100.8");
    expect(print(await run(gateway.resident, `${ROOT}Query()`, { Kind: "Flows" }))).toContain("198.51.100.7");
  });
});
