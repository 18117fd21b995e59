import { addMany, addOne, setMany, settle, subscribe } from "../usp/support.ts";
import {
  CAMERA,
  Gateway,
  NEVER,
  PHONE,
  print,
  read,
  ROOT,
  rule,
  run,
  told,
  tryAdd,
  tryDelete,
  trySet,
  until,
  value,
} from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = (await Gateway.start({ secured: ["Operator"] })).withDevices();
});
afterEach(() => gateway.stop());

const stateOf = async (path: string) => {
  await gateway.settled();
  const { Status, StatusReason } = await read(gateway.as("Operator"), path);
  return [Status, StatusReason];
};

test("a rule that says nothing is disabled, made by its Creator now, and never expires", async () => {
  const { path } = await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`);
  expect(await read(gateway.as("Operator"), path)).toEqual({
    Alias: "cpe-1",
    Enable: "false",
    Status: "Disabled",
    StatusReason: "",
    Action: "Block",
    Origin: "Controller",
    Creator: "self::operator",
    MACAddressList: "",
    DestinationList: "",
    Protocol: "-1",
    PortList: "",
    Schedule: "",
    Initiator: "Any",
    CreationDate: "2026-01-01T00:00:00Z",
    ExpiryDate: NEVER,
    Reason: "",
    HitPackets: "0",
    HitBytes: "0",
    LastHit: "0001-01-01T00:00:00Z",
  });
});

describe("a list", () => {
  test.each([
    ["MACAddressList", "", "*", /MACAddressList is empty/],
    ["DestinationList", PHONE, "", /DestinationList is empty/],
  ])("%s that is empty never means everything", async (_, MACAddressList, DestinationList, reason) => {
    const path = await rule(gateway.as("Operator"), { MACAddressList, DestinationList });
    expect(await stateOf(path)).toEqual(["Error_Misconfigured", expect.stringMatching(reason)]);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
  });

  test("that loses its last member leaves the rule without effect", async () => {
    const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "198.51.100.7" });
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    await trySet(gateway.as("Operator"), path, { DestinationList: "" });
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
    expect(gateway.packet(PHONE, "198.51.100.8")).toBe("Pass");
    expect((await stateOf(path))[0]).toBe("Error_Misconfigured");
  });

  test("of `*` means every one", async () => {
    await rule(gateway.as("Operator"), { MACAddressList: "*", DestinationList: "198.51.100.7" });
    await rule(gateway.as("Operator"), { MACAddressList: CAMERA, DestinationList: "*" });
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    expect(gateway.packet(PHONE, "198.51.100.8")).toBe("Pass");
    expect(gateway.packet(CAMERA, "2001:db8::8")).toBe("Block");
  });

  test.each([
    ["Block", "Error_Misconfigured"],
    ["Reject", "Error_Misconfigured"],
    ["Allow", "Error_Misconfigured"],
    ["Count", "Enabled"],
    ["Ignore", "Enabled"],
  ])("of `*`, twice, is for a rule that says %s: %s", async (Action, status) => {
    const path = await rule(gateway.as("Operator"), { Action, MACAddressList: "*", DestinationList: "*" });
    expect((await stateOf(path))[0]).toBe(status);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
  });

  test.each(["0.0.0.0/0", "::/0"])("of `*` and %s is as little a block as two `*`", async (DestinationList) => {
    const path = await rule(gateway.as("Operator"), { MACAddressList: "*", DestinationList });
    expect((await stateOf(path))[0]).toBe("Error_Misconfigured");
  });
});

describe("a value", () => {
  test.each([
    ["MACAddressList", "phone", "phone"],
    ["MACAddressList", "02:00:00:00:00", "02:00:00:00:00"],
    ["MACAddressList", `${PHONE},02:00:00:00:00:zz`, "zz"],
    ["MACAddressList", "01:00:5E:00:00:01", "group address"],
    ["MACAddressList", "00:00:00:00:00:00", "no device"],
    ["MACAddressList", `*,${PHONE}`, "alone"],
    ["DestinationList", "198.51.100.256", "198.51.100.256"],
    ["DestinationList", "198.51.100.0/33", "198.51.100.0/33"],
    ["DestinationList", "2001:db8::/129", "2001:db8::/129"],
    ["DestinationList", "2001:db8:::1", "2001:db8:::1"],
    ["DestinationList", "198.51.100.7,exa mple.com", "exa mple.com"],
    ["DestinationList", "-bad.example", "-bad.example"],
    ["DestinationList", "http://example.com/", "http"],
    ["DestinationList", "198.51.100.7:443", "198.51.100.7:443"],
    ["DestinationList", "*,198.51.100.7", "alone"],
    ["DestinationList", "198.51.100", "198.51.100"],
    ["Protocol", "256", "256"],
    ["Protocol", "-2", "-2"],
    ["PortList", "65536", "65536"],
    ["PortList", "https", "https"],
    ["PortList", "443,90-80", "90-80"],
    ["Action", "Drop", "Drop"],
    ["Initiator", "Both", "Both"],
    ["Reason", "x".repeat(257), "257"],
    ["Origin", "Vendor", "Vendor"],
  ])("%s %s is refused in words that name %s", async (name, text, word) => {
    const good = { MACAddressList: PHONE, DestinationList: "198.51.100.0/24" };
    const added = await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { ...good, [name]: text });
    expect([added.code, added.text]).toEqual([7012, expect.stringContaining(word)]);
    expect(added.text).toContain(name);
    expect(gateway.spin.rules.size).toBe(0);
    if (name === "Origin") return;
    const path = await rule(gateway.as("Operator"), good);
    const set = await trySet(gateway.as("Operator"), path, { [name]: text });
    expect([set.code, set.text]).toEqual([7012, expect.stringContaining(word)]);
    expect(await read(gateway.as("Operator"), path)).toMatchObject(good);
  });

  test.each([
    ["Enable", "yes"],
    ["Protocol", "tcp"],
    ["ExpiryDate", "tomorrow"],
    ["ExpiryDate", "2026-02-30T00:00:00Z"],
  ])("%s %s is not of the type", async (name, text) => {
    expect((await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { [name]: text })).code).toBe(7011);
  });

  test.each([
    ["MACAddressList", "02:00:00:00:00:0a", "02:00:00:00:00:0A"],
    ["MACAddressList", "02-00-00-00-00-0a", "02:00:00:00:00:0A"],
    ["MACAddressList", " 02:00:00:00:00:0a , 02:00:00:00:00:0b", "02:00:00:00:00:0A,02:00:00:00:00:0B"],
    ["MACAddressList", "02:00:00:00:00:0a,02:00:00:00:00:0A", "02:00:00:00:00:0A"],
    ["DestinationList", "2001:DB8:0:0:0:0:0:1", "2001:db8::1"],
    ["DestinationList", "2001:db8:0:1:0:0:0:0/64", "2001:db8:0:1::/64"],
    ["DestinationList", "2001:db8::1/32", "2001:db8::/32"],
    ["DestinationList", "198.51.100.7/24", "198.51.100.0/24"],
    ["DestinationList", "198.51.100.7/32", "198.51.100.7"],
    ["DestinationList", "Ads.Example.COM.", "ads.example.com"],
    ["DestinationList", "bücher.example", "xn--bcher-kva.example"],
    ["DestinationList", "XN--BCHER-KVA.example", "xn--bcher-kva.example"],
    ["DestinationList", "a.example,A.example.,b.example", "a.example,b.example"],
    ["PortList", "443, 8000-8010, 443, 22-22", "443,8000-8010,22"],
    ["Protocol", "+06", "6"],
    ["ExpiryDate", "2027-01-01T02:00:00+02:00", "2027-01-01T00:00:00Z"],
  ])("%s %s is kept as %s", async (name, text, canonical) => {
    const { path } = await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { [name]: text });
    expect(await value(gateway.as("Operator"), `${path}${name}`)).toBe(canonical);
    const { path: set } = await trySet(gateway.as("Operator"), path, { [name]: text });
    expect([set, await value(gateway.as("Operator"), `${path}${name}`)]).toEqual([path, canonical]);
  });
});

describe("the values of a rule stay under 4,096 characters:", () => {
  const macs = (count: number) =>
    Array.from(
      { length: count },
      (_, i) => `02:00:00:00:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`,
    ).join(",");

  test.each([
    ["MACAddressList", macs(255)],
    ["DestinationList", Array.from({ length: 254 }, (_, i) => `destination${i}.example`).join(",")],
    // Short as it was written, long as it is kept.
    ["DestinationList", Array.from({ length: 250 }, (_, i) => `ü${i}.example`).join(",")],
  ])("a longer %s is refused", async (name, text) => {
    const { code, text: said } = await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { [name]: text });
    expect([code, said]).toEqual([7012, expect.stringMatching(/at most 4095/)]);
  });

  test("one that fits is kept whole", async () => {
    const list = macs(227).toUpperCase();
    const { path } = await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { MACAddressList: list });
    expect(await value(gateway.as("Operator"), `${path}MACAddressList`)).toBe(list);
  });
});

describe("a rule that says what another of the same Creator says", () => {
  const params = {
    Action: "Block",
    MACAddressList: `${PHONE},${CAMERA}`,
    DestinationList: "198.51.100.0/24,a.example",
    PortList: "443,80",
    Protocol: "6",
  };

  test.each([
    ["word for word", {}],
    [
      "with its lists in another order",
      { MACAddressList: `${CAMERA},${PHONE}`, DestinationList: "a.example,198.51.100.0/24", PortList: "80,443" },
    ],
    ["spelt otherwise", { DestinationList: "198.51.100.9/24,A.Example.", PortList: "80,443,443-443" }],
    [
      "but disabled, for another reason, until another time",
      { Enable: "false", Reason: "x", ExpiryDate: "2027-01-01T00:00:00Z" },
    ],
  ])("is refused, naming the first: %s", async (_, other) => {
    const operator = gateway.as("Operator");
    const first = await rule(operator, params);
    const { code, text } = await tryAdd(operator, `${ROOT}Rule.`, { ...params, ...other });
    expect([code, text]).toEqual([7025, expect.stringContaining(first)]);
    expect(gateway.spin.rules.size).toBe(1);
  });

  test.each([
    ["Action", "Reject"],
    ["MACAddressList", PHONE],
    ["DestinationList", "198.51.100.0/24"],
    ["Protocol", "17"],
    ["PortList", "443"],
    ["Initiator", "Peer"],
  ])("but for %s is another", async (name, other) => {
    await rule(gateway.as("Operator"), params);
    expect((await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { ...params, [name]: other })).code).toBe(0);
  });

  test("is no duplicate of another controller's", async () => {
    await rule(gateway.as("Operator"), params);
    expect((await tryAdd(gateway.peer("self::operator2"), `${ROOT}Rule.`, params)).code).toBe(0);
  });

  test("is refused in one and the same Message", async () => {
    const operator = gateway.as("Operator");
    const turned = { ...params, MACAddressList: `${CAMERA},${PHONE}` };
    const creations = [params, turned].map((each) => ({ objPath: `${ROOT}Rule.`, params: each }));
    expect(print(await operator.ask(addMany(creations)))).toContain("7025");
    expect(gateway.spin.rules.size).toBe(0);
    const partial = print(await operator.ask(addMany(creations, { allowPartial: true })));
    expect([partial.includes("operSuccess"), partial.includes("7025")]).toEqual([true, true]);
    expect(gateway.spin.rules.size).toBe(1);
  });

  test("may come to be by a Set neither", async () => {
    const operator = gateway.as("Operator");
    await rule(operator, params);
    const second = await rule(operator, { ...params, PortList: "22" });
    expect((await trySet(operator, second, { PortList: "80,443" })).code).toBe(7025);
    expect(await value(operator, `${second}PortList`)).toBe("22");
  });

  test("is none where two swap in one Message", async () => {
    const operator = gateway.as("Operator");
    const first = await rule(operator, { ...params, PortList: "22" });
    const second = await rule(operator, { ...params, PortList: "23" });
    const content = await operator.ask(
      setMany([
        { objPath: first, params: { PortList: "23" } },
        { objPath: second, params: { PortList: "22" } },
      ]),
    );
    expect(content.kind).toBe("response");
    expect(await value(operator, `${first}PortList`)).toBe("23");
  });

  test("has an Alias of its own", async () => {
    const operator = gateway.as("Operator");
    const path = await rule(operator, { Alias: "mine", MACAddressList: PHONE });
    expect((await tryAdd(operator, `${ROOT}Rule.`, { Alias: "mine", MACAddressList: CAMERA })).code).toBe(7025);
    expect((await trySet(operator, path, { Alias: "other" })).code).toBe(7013);
    expect(await value(operator, `${ROOT}Rule.[Alias=="mine"].MACAddressList`)).toBe(PHONE);
  });
});

describe("expiry", () => {
  const params = { MACAddressList: PHONE, DestinationList: "*" };

  test("in the past leaves a rule that says so", async () => {
    const path = await rule(gateway.as("Operator"), { ...params, ExpiryDate: "2025-12-31T23:59:59Z" });
    expect(await stateOf(path)).toEqual(["Expired", "Expired at 2025-12-31T23:59:59.000Z."]);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
  });

  test("at the Unknown Time is none", async () => {
    const path = await rule(gateway.as("Operator"), { ...params, ExpiryDate: "0001-01-01T00:00:00Z" });
    expect((await stateOf(path))[0]).toBe("Enabled");
    await gateway.after(365 * 86_400_000);
    expect((await stateOf(path))[0]).toBe("Enabled");
  });

  test("ends a block when its time has come, and tells", async () => {
    const operator = gateway.as("Operator");
    const path = await rule(operator, { ...params, ExpiryDate: "2026-01-01T00:10:00Z" });
    await subscribe(operator, "ValueChange", ROOT);
    await gateway.after(9 * 60_000);
    expect((await stateOf(path))[0]).toBe("Enabled");
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    const since = operator.notifies.length;
    await gateway.after(60_000);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
    await settle();
    expect(told(operator, since)).toEqual(
      expect.arrayContaining([
        `${path}Status=Expired`,
        `${path}StatusReason=Expired at 2026-01-01T00:10:00.000Z.`,
        `${gateway.device(PHONE)}Blocked=false`,
        `${ROOT}Summary.BlockedDeviceCount=0`,
      ]),
    );
  });

  test("that is put off again brings the block back", async () => {
    const path = await rule(gateway.as("Operator"), { ...params, ExpiryDate: "2026-01-01T00:00:01Z" });
    await gateway.after(2000);
    expect((await stateOf(path))[0]).toBe("Expired");
    await trySet(gateway.as("Operator"), path, { ExpiryDate: NEVER });
    expect((await stateOf(path))[0]).toBe("Enabled");
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
  });
});

describe("the state of a rule", () => {
  test("goes through Disabled, Enabled and back, and each step is told once", async () => {
    const operator = gateway.as("Operator");
    const path = await rule(operator, { MACAddressList: PHONE, DestinationList: "*" });
    await gateway.settled();
    await subscribe(operator, "ValueChange", `${path}Status`);
    await trySet(operator, path, { Enable: "false" });
    await until(() => told(operator).includes(`${path}Status=Disabled`));
    await trySet(operator, path, { Enable: "true" });
    await until(() => told(operator).includes(`${path}Status=Enabled`));
    await settle();
    const steps = told(operator).filter((text) => !text.endsWith("Pending"));
    expect(steps).toEqual([`${path}Status=Disabled`, `${path}Status=Enabled`]);
  });

  test("is not told of what did not change", async () => {
    const operator = gateway.as("Operator");
    const path = await rule(operator, { MACAddressList: PHONE, DestinationList: "*" });
    await gateway.settled();
    await subscribe(operator, "ValueChange", ROOT);
    await trySet(operator, path, { Reason: "said so" });
    await settle();
    expect(told(operator)).toEqual([`${path}Reason=said so`]);
  });

  test("of a home whose network is not known is Pending", async () => {
    await gateway.stop();
    gateway = await Gateway.start({ withoutNetwork: true });
    const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*" });
    expect(await stateOf(path)).toEqual(["Pending", "Not yet in force."]);
    gateway.home.network();
    expect((await stateOf(path))[0]).toBe("Enabled");
  });

  test("says by whom it is overruled, and when no longer", async () => {
    const operator = gateway.as("Operator");
    const blocked = await rule(operator, { MACAddressList: PHONE, DestinationList: "198.51.100.0/24" });
    const allowed = await rule(gateway.resident, { Action: "Allow", MACAddressList: PHONE, DestinationList: "*" });
    const number = allowed.split(".").at(-2);
    expect(await stateOf(blocked)).toEqual(["Overruled", expect.stringContaining(`Rule ${number} `)]);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Allow");
    await subscribe(operator, "ValueChange", blocked);
    await tryDelete(gateway.resident, allowed);
    await until(() => told(operator).includes(`${blocked}Status=Enabled`));
    expect(told(operator)).toContain(`${blocked}StatusReason=`);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
  });

  test("of a schedule's or a list's that is not there is misconfigured, not in force", async () => {
    const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: `${ROOT}List.1` });
    expect(await stateOf(path)).toEqual(["Error_Misconfigured", expect.stringContaining("does not exist")]);
  });

  test("outlives a restart, with its hits", async () => {
    const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*" });
    await gateway.settled();
    gateway.packet(PHONE, "198.51.100.7", 443, 60);
    await gateway.spin.harvest();
    gateway = await gateway.restart({ secured: ["Operator"] });
    expect(await read(gateway.as("Operator"), path)).toMatchObject({
      Status: "Enabled",
      HitPackets: "1",
      HitBytes: "60",
      LastHit: "2026-01-01T00:00:00Z",
      MACAddressList: PHONE,
      Creator: "self::operator",
    });
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    expect((await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { MACAddressList: CAMERA })).path).not.toBe(path);
  });

  test("is there after a kill -9, for a rule that was answered", async () => {
    const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*" });
    gateway = await gateway.crash();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    expect(await value(gateway.as("Operator"), `${path}Status`)).toBe("Enabled");
  });
});

describe("who wins", () => {
  const allow = { Action: "Allow", MACAddressList: PHONE, DestinationList: "198.51.100.7" };
  const block = { Action: "Block", MACAddressList: PHONE, DestinationList: "198.51.100.0/24" };

  test("inside a tier, Allow", async () => {
    await rule(gateway.as("Operator"), block);
    await rule(gateway.peer("self::operator2"), allow);
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Allow");
    expect(gateway.packet(PHONE, "198.51.100.8")).toBe("Block");
    expect(gateway.packet(CAMERA, "198.51.100.8")).toBe("Pass");
  });

  test.each([
    ["Resident", "the resident", "Block", "Allow"],
    ["Operator", "the operator", "Allow", "Block"],
  ] as const)("with Authority %s, %s", async (authority, _, residentBlocks, operatorBlocks) => {
    await gateway.stop();
    gateway = (await Gateway.start({ authority })).withDevices();
    expect(await value(gateway.as("Operator"), `${ROOT}Authority`)).toBe(authority);
    const blocked = await rule(gateway.resident, { ...block, DestinationList: "198.51.100.7" });
    const allowed = await rule(gateway.as("Operator"), allow);
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe(residentBlocks);
    await tryDelete(gateway.resident, blocked);
    await tryDelete(gateway.as("Operator"), allowed);
    await rule(gateway.resident, allow);
    await rule(gateway.as("Operator"), { ...block, DestinationList: "198.51.100.7" });
    await gateway.settled();
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe(operatorBlocks);
  });
});

test("hits are counted for the rule that decided, and a Count rule holds nothing back", async () => {
  const operator = gateway.as("Operator");
  const counting = await rule(operator, { Action: "Count", MACAddressList: PHONE, DestinationList: "198.51.100.0/24" });
  const blocking = await rule(operator, { MACAddressList: PHONE, DestinationList: "198.51.100.7" });
  await gateway.settled();
  await subscribe(operator, "ValueChange", `${ROOT}Rule.`);
  gateway.home.after(1000);
  for (let i = 0; i < 3; i++) expect(gateway.packet(PHONE, "198.51.100.7", 443, 100)).toBe("Block");
  expect(gateway.packet(PHONE, "198.51.100.8", 443, 50)).toBe("Pass");
  await gateway.spin.harvest();
  const LastHit = "2026-01-01T00:00:01Z";
  expect(await read(operator, blocking)).toMatchObject({ HitPackets: "3", HitBytes: "300", LastHit });
  expect(await read(operator, counting)).toMatchObject({ HitPackets: "4", HitBytes: "350", LastHit });
  expect(await read(operator, `${ROOT}Summary.`)).toMatchObject({ BlockedPackets: "3", BlockedBytes: "300" });
  await settle();
  expect(told(operator)).toEqual([]);
});

test("1,000 rules are taken, and one more is refused until one goes", async () => {
  const operator = gateway.as("Operator");
  const destination = (i: number) => `203.0.${i >> 8}.${i & 255}`;
  const creation = (i: number) => ({
    objPath: `${ROOT}Rule.`,
    params: { Enable: "true", MACAddressList: PHONE, DestinationList: destination(i) },
  });
  for (let from = 0; from < 1000; from += 250)
    await operator.response(addMany(Array.from({ length: 250 }, (_, i) => creation(from + i))), "addResp");
  await gateway.settled();
  expect(await value(operator, `${ROOT}RuleNumberOfEntries`)).toBe("1000");
  expect(gateway.packet(PHONE, destination(999))).toBe("Block");
  const more = await tryAdd(operator, `${ROOT}Rule.`, creation(1000).params);
  expect([more.code, more.text]).toEqual([7005, expect.stringContaining("1000 rows")]);
  expect(await value(operator, `${ROOT}Rule.1.Status`)).toBe("Enabled");
  await tryDelete(operator, `${ROOT}Rule.1.`);
  expect((await tryAdd(operator, `${ROOT}Rule.`, creation(1000).params)).path).toBe(`${ROOT}Rule.1001.`);
});

describe("RuleHash", () => {
  const hash = () => value(gateway.as("Operator"), `${ROOT}Summary.RuleHash`);

  test("changes exactly when what the rules do changes", async () => {
    const operator = gateway.as("Operator");
    const none = await hash();
    const path = await rule(operator, { MACAddressList: PHONE, DestinationList: "a.example,b.example" });
    const one = await hash();
    expect(one).not.toBe(none);
    for (const same of [
      { Reason: "x" },
      { DestinationList: "b.example,a.example" },
      { ExpiryDate: "2027-01-01T00:00:00Z" },
    ]) {
      await trySet(operator, path, same);
      expect(await hash()).toBe(one);
    }
    // Another says the same; another's that is off; one that means nothing.
    const again = await rule(gateway.peer("self::operator2"), {
      MACAddressList: PHONE,
      DestinationList: "a.example,b.example",
    });
    await rule(operator, { Enable: "false", MACAddressList: CAMERA, DestinationList: "*" });
    await rule(operator, { MACAddressList: "", DestinationList: "*" });
    expect(await hash()).toBe(one);
    await tryDelete(gateway.peer("self::operator2"), again);
    expect(await hash()).toBe(one);
    for (const other of [
      { DestinationList: "a.example" },
      { Action: "Reject" },
      { PortList: "443" },
      { Initiator: "Peer" },
    ]) {
      const before = await hash();
      await trySet(operator, path, other);
      expect(await hash()).not.toBe(before);
    }
    await tryDelete(operator, path);
    expect(await hash()).toBe(none);
  });

  test("changes when a rule expires", async () => {
    const none = await hash();
    await rule(gateway.as("Operator"), {
      MACAddressList: PHONE,
      DestinationList: "*",
      ExpiryDate: "2026-01-01T00:00:10Z",
    });
    expect(await hash()).not.toBe(none);
    await gateway.after(10_000);
    expect(await hash()).toBe(none);
  });

  test("is the same in two homes whose rules do the same", async () => {
    const operator = gateway.as("Operator");
    await rule(operator, { MACAddressList: PHONE, DestinationList: "*" });
    await rule(operator, { MACAddressList: CAMERA, DestinationList: "a.example" });
    const here = await hash();
    await gateway.stop();
    gateway = await Gateway.start();
    const other = gateway.peer("self::operator2");
    await tryDelete(other, await rule(other, { MACAddressList: "*", DestinationList: "x.example" }));
    await rule(other, { MACAddressList: CAMERA, DestinationList: "a.example", Alias: "x" });
    await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*" });
    expect(await hash()).toBe(here);
  });

  test("is told when it changes, by whatever, and not otherwise", async () => {
    const operator = gateway.as("Operator");
    await subscribe(operator, "ValueChange", `${ROOT}Summary.RuleHash`);
    const path = await rule(operator, {
      MACAddressList: PHONE,
      DestinationList: "198.51.100.7",
      ExpiryDate: "2026-01-01T00:00:10Z",
    });
    await until(() => operator.notifies.length === 1, "the hash of a new rule");
    await trySet(operator, path, { Reason: "x" });
    await rule(operator, { Enable: "false", MACAddressList: CAMERA });
    await settle();
    expect(operator.notifies).toHaveLength(1);
    await gateway.after(10_000);
    await until(() => operator.notifies.length === 2, "the hash of an expired rule");
    await trySet(operator, path, { ExpiryDate: NEVER });
    await until(() => operator.notifies.length === 3, "the hash of a rule renewed");
    await tryDelete(operator, path);
    await until(() => operator.notifies.length === 4, "the hash of a deleted rule");
    expect(told(operator).at(-1)).toBe(`${ROOT}Summary.RuleHash=${await hash()}`);
  });
});

test("rules are counted, and rows of them told, as they come and go", async () => {
  const operator = gateway.as("Operator");
  await subscribe(operator, "ObjectCreation", `${ROOT}Rule.`);
  await subscribe(operator, "ObjectDeletion", `${ROOT}Rule.`);
  await subscribe(operator, "ValueChange", `${ROOT}RuleNumberOfEntries`);
  const path = await rule(operator, { MACAddressList: PHONE, DestinationList: "*" });
  await until(() => told(operator).includes(`${ROOT}RuleNumberOfEntries=1`));
  await tryDelete(operator, path);
  await until(() => told(operator).includes(`${ROOT}RuleNumberOfEntries=0`));
  expect(told(operator)).toEqual([
    `+${path}`,
    `${ROOT}RuleNumberOfEntries=1`,
    `-${path}`,
    `${ROOT}RuleNumberOfEntries=0`,
  ]);
});

test("a rule added with a bad value that was not required is made without it", async () => {
  const operator = gateway.as("Operator");
  const content = await operator.ask(
    addOne(`${ROOT}Rule.`, { Reason: "x".repeat(300), Enable: "true" }, { required: false }),
  );
  expect(print(content)).toContain("7012");
  expect(await read(operator, `${ROOT}Rule.1.`)).toMatchObject({ Reason: "", Enable: "true" });
  expect((await run(operator, `${gateway.device(PHONE)}Unblock()`))["Blocked"]).toBe("false");
});
