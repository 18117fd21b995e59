import { operation, settle, subscribe } from "../usp/support.ts";
import {
  CAMERA,
  Gateway,
  hears,
  mac,
  NEVER,
  PHONE,
  print,
  read,
  readAll,
  refusal,
  ROOT,
  rule,
  run,
  slowStore,
  told,
  tryDelete,
  trySet,
  until,
  value,
} from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.start({ secured: ["Operator"] });
});
afterEach(() => gateway.stop());

const names = ["ObjectCreation", "ObjectDeletion", "ValueChange", "Event"] as const;
async function subscribeAll(reference = ROOT) {
  for (const name of names)
    await subscribe(gateway.as("Operator"), name, name.startsWith("Object") ? `${ROOT}Device.` : reference);
  return gateway.as("Operator");
}

describe("a device that is seen for the first time", () => {
  test("gets a row, which is told before anything of it", async () => {
    const operator = await subscribeAll();
    gateway.home.neighbour(1, "192.0.2.11").lease(1, "192.0.2.11", "phone");
    await hears(operator, `${ROOT}Summary.DeviceCount=1`);
    const path = gateway.device(PHONE);
    expect(told(operator)[0]).toBe(`+${path}`);
    expect(told(operator)).toEqual(
      expect.arrayContaining([
        `${ROOT}DeviceDiscovered! ${JSON.stringify({ Device: path.slice(0, -1), PhysAddress: PHONE, HostName: "" })}`,
        `${ROOT}DeviceNumberOfEntries=1`,
        `${path}HostName=phone`,
        `${path}IPv4Address=192.0.2.11`,
      ]),
    );
    expect(print(operator.notifies[0])).toContain(`"PhysAddress":"${PHONE}"`);
    expect({ ...(await read(operator, path)), ...(await read(operator, `${path}Stats.`)) }).toEqual({
      Alias: "cpe-1",
      PhysAddress: PHONE,
      Randomized: "true",
      Name: "",
      HostName: "phone",
      Vendor: "",
      Type: "Phone",
      TypeReason: 'calls itself "phone"',
      MUDURL: "",
      IPv4Address: "192.0.2.11",
      IPv6Address: "",
      Host: path.slice(0, -1).replace(`${ROOT}Device`, "Device.Hosts.Host"),
      Interface: "br-lan",
      FirstSeen: "2026-01-01T00:00:00Z",
      LastSeen: "2026-01-01T00:00:00Z",
      Active: "false",
      Blocked: "false",
      Ignored: "false",
      MergedInto: "",
      TopDestinations: "",
      BytesSent: "0",
      BytesReceived: "0",
      PacketsSent: "0",
      PacketsReceived: "0",
      LocalBytesSent: "0",
      LocalBytesReceived: "0",
      FlowsOpened: "0",
      ActiveFlowCount: "0",
      DNSQueryCount: "0",
      BlockedPackets: "0",
      BlockedBytes: "0",
      BytesSentRate: "0",
      BytesReceivedRate: "0",
    });
  });

  test("is not the gateway", async () => {
    gateway.home.neighbour(0xffff, "192.0.2.1").neighbour(1, "192.0.2.11");
    expect(await value(gateway.as("Operator"), `${ROOT}DeviceNumberOfEntries`)).toBe("1");
  });

  test("is found by its hardware address in any case, and by its Alias", async () => {
    gateway.home.neighbour(10, "192.0.2.20");
    const operator = gateway.as("Operator");
    for (const text of ["02:00:00:00:00:0A", "02:00:00:00:00:0a", "02-00-00-00-00-0a"])
      expect(await value(operator, `${ROOT}Device.[PhysAddress=="${text}"].IPv4Address`)).toBe("192.0.2.20");
    expect(await value(operator, `${ROOT}Device.[Alias=="cpe-1"].IPv4Address`)).toBe("192.0.2.20");
    expect(await value(operator, `${ROOT}Device.[PhysAddress=="02:00:00:00:00:0B"].IPv4Address`)).toBeUndefined();
    expect(await value(operator, `${ROOT}Device.[IPv4Address~="192.0.2.20"].PhysAddress`)).toBe("02:00:00:00:00:0A");
  });

  test("has keys that are nobody's to write", async () => {
    gateway.withDevices();
    for (const params of [{ Alias: "mine" }, { PhysAddress: CAMERA }, { HostName: "x" }, { Blocked: "true" }])
      expect((await trySet(gateway.as("Operator"), gateway.device(PHONE), params)).code).toBe(7013);
  });

  test("can't be made by a controller", async () => {
    const content = await gateway.as("Operator").ask({
      $case: "add",
      value: { allowPartial: false, createObjs: [{ objPath: `${ROOT}Device.`, paramSettings: [] }] },
    });
    expect(print(content)).toContain("7019");
  });
});

describe("forgetting a device", () => {
  test("takes its row, its name and its counters, and tells it once", async () => {
    gateway.withTraffic();
    const operator = await subscribeAll();
    const path = gateway.device(PHONE);
    await trySet(operator, path, { Name: "Phone" });
    await settle();
    const since = operator.notifies.length;
    expect((await tryDelete(operator, path)).code).toBe(0);
    await hears(operator, `${ROOT}Summary.DeviceCount=1`, since);
    await settle();
    expect(told(operator, since).sort()).toEqual(
      [`-${path}`, `${ROOT}DeviceNumberOfEntries=1`, `${ROOT}Summary.DeviceCount=1`].sort(),
    );
    expect(await value(operator, `${path}PhysAddress`)).toBeUndefined();
    // The home's totals stand.
    expect(await value(operator, `${ROOT}Summary.BytesSent`)).toBe("1100");
    gateway.home.neighbour(1, "192.0.2.11");
    expect(gateway.device(PHONE)).toBe(`${ROOT}Device.3.`);
    expect(await readAll(operator, gateway.device(PHONE))).toMatchObject({ Name: "", BytesSent: "0" });
  });

  test("that is blocked counts it out, and leaves its rule", async () => {
    gateway.withDevices();
    const operator = await subscribeAll();
    const { Rule } = await run(operator, `${gateway.device(PHONE)}Block()`);
    await hears(operator, `${ROOT}Summary.BlockedDeviceCount=1`);
    const since = operator.notifies.length;
    await tryDelete(operator, gateway.device(PHONE));
    await hears(operator, `${ROOT}Summary.BlockedDeviceCount=0`, since);
    gateway.home.neighbour(1, "192.0.2.11");
    await gateway.settled();
    expect(await value(operator, `${gateway.device(PHONE)}Blocked`)).toBe("true");
    await hears(operator, `${ROOT}Summary.BlockedDeviceCount=1`, since);
    expect(await value(operator, `${Rule}.Status`)).toBe("Enabled");
  });

  test("named twice in one Message is forgotten and told once", async () => {
    gateway.withDevices();
    const operator = await subscribeAll();
    const path = gateway.device(PHONE);
    await operator.ask({ $case: "delete", value: { allowPartial: true, objPaths: [path, path] } });
    await settle();
    expect(told(operator).filter((text) => text === `-${path}`)).toHaveLength(1);
  });

  test("in a Message that fails keeps it", async () => {
    gateway.withDevices();
    const theirs = await rule(gateway.resident, { MACAddressList: PHONE });
    const operator = gateway.as("Operator");
    const content = await operator.ask({
      $case: "delete",
      value: { allowPartial: false, objPaths: [gateway.device(PHONE), theirs] },
    });
    expect(content.kind).toBe("error");
    expect(await value(operator, `${gateway.device(PHONE)}PhysAddress`)).toBe(PHONE);
    expect((await tryDelete(operator, gateway.device(PHONE))).code).toBe(0);
  });
});

test("a device that was forgotten is forgotten on disk when the Delete is answered", async () => {
  await gateway.stop();
  gateway = await Gateway.start({ store: slowStore() });
  gateway.withDevices();
  await gateway.spin.save();
  await tryDelete(gateway.as("Operator"), gateway.device(PHONE));
  gateway = await gateway.crash();
  expect(await value(gateway.as("Operator"), `${ROOT}DeviceNumberOfEntries`)).toBe("1");
});

describe("a device's Name", () => {
  test("is on disk when the Set is answered", async () => {
    await gateway.stop();
    gateway = await Gateway.start({ store: slowStore() });
    gateway.withDevices();
    const path = gateway.device(PHONE);
    expect((await trySet(gateway.as("Operator"), path, { Name: "Büro, 1. Stock" })).code).toBe(0);
    gateway = await gateway.crash({ secured: ["Operator"] });
    expect(await value(gateway.as("Operator"), `${path}Name`)).toBe("Büro, 1. Stock");
  });

  test("is told once it stands, and not where the Message failed", async () => {
    gateway.withDevices();
    await gateway.settled();
    const operator = await subscribeAll();
    const path = gateway.device(PHONE);
    expect((await trySet(operator, path, { Name: "Phone", HostName: "x" })).code).toBe(7013);
    expect(await value(operator, `${path}Name`)).toBe("");
    await settle();
    expect(told(operator)).toEqual([]);
    await trySet(operator, path, { Name: "Phone" });
    await settle();
    expect(told(operator)).toEqual([`${path}Name=Phone`]);
  });

  test("has at most 64 characters", async () => {
    gateway.withDevices();
    const path = gateway.device(PHONE);
    expect((await trySet(gateway.as("Operator"), path, { Name: "x".repeat(65) })).code).toBe(7012);
    expect((await trySet(gateway.as("Operator"), path, { Name: "ü".repeat(64) })).code).toBe(0);
  });
});

describe("Block()", () => {
  const blockOf = (device: string) => `${gateway.device(device)}Block()`;

  test("makes a rule of the caller's that is in force when it answers", async () => {
    gateway.withDevices();
    const operator = await subscribeAll();
    const { Rule } = await run(operator, blockOf(PHONE), { Reason: "homework" });
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
    expect(gateway.packet(CAMERA, "198.51.100.7")).toBe("Pass");
    expect(await read(operator, `${Rule}.`)).toMatchObject({
      Enable: "true",
      Status: "Enabled",
      Action: "Block",
      Origin: "Controller",
      Creator: "self::operator",
      MACAddressList: PHONE,
      DestinationList: "*",
      ExpiryDate: NEVER,
      Reason: "homework",
    });
    expect(await value(operator, `${gateway.device(PHONE)}Blocked`)).toBe("true");
    await hears(operator, `${gateway.device(PHONE)}Blocked=true`);
  });

  test("again is the same rule, renewed", async () => {
    gateway.withDevices();
    const operator = gateway.as("Operator");
    const first = await run(operator, blockOf(PHONE), { Duration: "60", Reason: "a" });
    expect(await value(operator, `${first["Rule"]}.ExpiryDate`)).toBe("2026-01-01T00:01:00Z");
    await gateway.after(30_000);
    expect(await run(operator, blockOf(PHONE), { Duration: "60", Reason: "b" })).toEqual(first);
    expect(await read(operator, `${first["Rule"]}.`)).toMatchObject({
      ExpiryDate: "2026-01-01T00:01:30Z",
      Reason: "b",
    });
    expect(await run(operator, blockOf(PHONE))).toEqual(first);
    expect(await read(operator, `${first["Rule"]}.`)).toMatchObject({ ExpiryDate: NEVER, Reason: "" });
    expect(gateway.spin.rules.size).toBe(1);
  });

  test("for a while ends by itself, and may be asked for again", async () => {
    gateway.withDevices();
    const operator = gateway.as("Operator");
    const { Rule } = await run(operator, blockOf(PHONE), { Duration: "60" });
    await gateway.after(60_000);
    expect(await value(operator, `${Rule}.Status`)).toBe("Expired");
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
    expect((await run(operator, blockOf(PHONE)))["Rule"]).toBe(Rule);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Block");
  });

  test("enables a rule of the caller's that says so and was off", async () => {
    gateway.withDevices();
    const operator = gateway.as("Operator");
    const path = await rule(operator, { Enable: "false", MACAddressList: PHONE, DestinationList: "*" });
    expect(`${(await run(operator, blockOf(PHONE)))["Rule"]}.`).toBe(path);
    expect(await value(operator, `${path}Status`)).toBe("Enabled");
  });

  test("is each controller's own", async () => {
    gateway.withDevices();
    const one = await run(gateway.as("Operator"), blockOf(PHONE));
    const other = await run(gateway.peer("self::operator2"), blockOf(PHONE));
    expect(other["Rule"]).not.toBe(one["Rule"]);
  });

  test("of all devices by a wildcard makes a rule for each", async () => {
    gateway.withDevices();
    const operator = gateway.as("Operator");
    const { operationResults } = await operator.response(operation(`${ROOT}Device.*.Block()`), "operateResp");
    expect(
      operationResults.map(({ executedCommand, operationResp }) => [executedCommand, operationResp?.$case]),
    ).toEqual([
      [`${ROOT}Device.1.Block()`, "reqOutputArgs"],
      [`${ROOT}Device.2.Block()`, "reqOutputArgs"],
    ]);
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Block", "Block"]);
    expect(await value(operator, `${ROOT}Summary.BlockedDeviceCount`)).toBe("2");
  });

  test.each([
    [{ Duration: "-1" }, "Duration"],
    [{ Duration: "soon" }, "Duration"],
    [{ Duration: "315360001" }, "Duration"],
    [{ Reason: "x".repeat(257) }, "Reason"],
  ])("takes no %j", async (args, name) => {
    gateway.withDevices();
    const error = await refusal(gateway.as("Operator"), blockOf(PHONE), args);
    expect(error).toEqual({ errCode: 7027, errMsg: expect.stringContaining(name) as string });
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("of a device that is not there is refused", async () => {
    expect(await refusal(gateway.as("Operator"), `${ROOT}Device.9.Block()`)).toMatchObject({ errCode: 7016 });
  });

  test("is on disk when it is answered", async () => {
    gateway.withDevices();
    const { Rule } = await run(gateway.as("Operator"), blockOf(PHONE));
    gateway = await gateway.crash();
    expect(await value(gateway.as("Operator"), `${Rule}.Status`)).toBe("Enabled");
  });

  test("in a home whose network is not known yet answers all the same", async () => {
    gateway.withDevices();
    gateway = await gateway.restart({ withoutNetwork: true });
    const { Rule } = await run(gateway.as("Operator"), blockOf(PHONE));
    expect(await value(gateway.as("Operator"), `${Rule}.Status`)).toBe("Pending");
  });
});

describe("Unblock()", () => {
  const unblock = () => run(gateway.as("Operator"), `${gateway.device(PHONE)}Unblock()`);
  const FREE = { Blocked: "false", Rules: "", Origins: "" };

  beforeEach(() => void gateway.withDevices());

  test("of a device that nothing blocks says so", async () => {
    expect(await unblock()).toEqual(FREE);
  });

  test("undoes Block(), in force when it answers", async () => {
    await run(gateway.as("Operator"), `${gateway.device(PHONE)}Block()`);
    expect(await unblock()).toEqual(FREE);
    expect(gateway.packet(PHONE, "198.51.100.7")).toBe("Pass");
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("says what still blocks, and whose it is", async () => {
    const path = await rule(gateway.resident, { MACAddressList: PHONE, DestinationList: "*" });
    expect(await unblock()).toEqual({ Blocked: "true", Rules: path.slice(0, -1), Origins: "User" });
  });

  test("names no rule that another overrules, that is off or has expired", async () => {
    const other = gateway.peer("self::operator2");
    await rule(other, { MACAddressList: PHONE, DestinationList: "*" });
    await rule(other, { Action: "Reject", Enable: "false", MACAddressList: PHONE, DestinationList: "*" });
    await rule(gateway.resident, { Action: "Allow", MACAddressList: PHONE, DestinationList: "*" });
    expect(await unblock()).toEqual(FREE);
  });

  test("takes the device out of a rule for several, and leaves the others blocked", async () => {
    const path = await rule(gateway.as("Operator"), { MACAddressList: `${PHONE},${CAMERA}`, DestinationList: "*" });
    expect(await unblock()).toEqual(FREE);
    expect(await value(gateway.as("Operator"), `${path}MACAddressList`)).toBe(CAMERA);
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Pass", "Block"]);
  });

  test("drops a rule for several that would come to say what another says", async () => {
    const several = await rule(gateway.as("Operator"), { MACAddressList: `${PHONE},${CAMERA}`, DestinationList: "*" });
    const one = await rule(gateway.as("Operator"), { MACAddressList: CAMERA, DestinationList: "*" });
    expect(await unblock()).toEqual(FREE);
    expect(await value(gateway.as("Operator"), `${several}MACAddressList`)).toBeUndefined();
    expect(await value(gateway.as("Operator"), `${one}Status`)).toBe("Enabled");
    expect([gateway.packet(PHONE, "198.51.100.7"), gateway.packet(CAMERA, "198.51.100.7")]).toEqual(["Pass", "Block"]);
  });

  test("lifts a Reject, too, and leaves an Allow", async () => {
    const reject = await rule(gateway.as("Operator"), {
      Action: "Reject",
      MACAddressList: PHONE,
      DestinationList: "*",
    });
    const allow = await rule(gateway.as("Operator"), {
      Action: "Allow",
      MACAddressList: PHONE,
      DestinationList: "192.0.2.1",
    });
    expect(await unblock()).toEqual(FREE);
    expect(await value(gateway.as("Operator"), `${reject}Action`)).toBeUndefined();
    expect(await value(gateway.as("Operator"), `${allow}Action`)).toBe("Allow");
  });
});

describe("a device's counters", () => {
  test("only grow, are those of IP packets, and are not notified", async () => {
    gateway.withTraffic();
    const operator = await subscribeAll();
    const stats = `${gateway.device(PHONE)}Stats.`;
    const before = await read(operator, stats);
    expect(before).toMatchObject({
      BytesSent: "1100",
      BytesReceived: "3300",
      PacketsSent: "11",
      PacketsReceived: "22",
      FlowsOpened: "2",
      ActiveFlowCount: "2",
    });
    await gateway.after(1000);
    gateway.flows({
      id: 1,
      event: "End",
      from: "192.0.2.11",
      to: "198.51.100.7",
      sourcePort: 40001,
      counters: [12, 1200, 21, 3100],
    });
    const after = await read(operator, stats);
    expect(after).toMatchObject({ BytesSent: "1300", BytesReceived: "3400", FlowsOpened: "2" });
    for (const [name, text] of Object.entries(before))
      if (!/Rate|ActiveFlowCount/.test(name)) expect(Number(after[name])).toBeGreaterThanOrEqual(Number(text));
    expect(await read(operator, `${ROOT}Summary.`)).toMatchObject({ BytesSent: "1300", BytesReceived: "3400" });
    await settle();
    const counters = /Stats\.|BytesSent|LastSeen|TopDestinations|FlowCount|HitPackets|ActiveDeviceCount/;
    expect(told(operator).filter((text) => counters.test(text))).toEqual([]);
  });

  test("are not notified to a subscription that names one", async () => {
    gateway.withTraffic();
    const operator = gateway.as("Operator");
    await subscribe(operator, "ValueChange", `${gateway.device(PHONE)}Stats.BytesSent`);
    gateway.flows({ id: 1, from: "192.0.2.11", to: "198.51.100.7", sourcePort: 40001, counters: [99, 9900, 20, 3000] });
    await gateway.after(2000);
    await settle();
    expect(told(operator)).toEqual([]);
  });

  test("outlive a restart", async () => {
    gateway.withTraffic();
    const path = gateway.device(PHONE);
    const before = await read(gateway.as("Operator"), `${path}Stats.`);
    gateway = await gateway.restart({ secured: ["Operator"] });
    const after = await read(gateway.as("Operator"), `${path}Stats.`);
    for (const name of ["BytesSent", "BytesReceived", "PacketsSent", "PacketsReceived", "FlowsOpened"])
      expect([name, after[name]]).toEqual([name, before[name]]);
  });
});

test("what a device does is told as it changes: addresses, activity, interface", async () => {
  gateway.withDevices();
  const operator = await subscribeAll();
  const path = gateway.device(PHONE);
  gateway.home.neighbour(1, "2001:db8:1::11").neighbour(1, "192.0.2.77");
  gateway.flows({ id: 5, from: "192.0.2.11", to: "198.51.100.7", counters: [1, 60, 0, 0] });
  await until(() => told(operator).length >= 3, "what changed");
  await settle();
  expect(told(operator)).toEqual(
    expect.arrayContaining([
      `${path}IPv6Address=2001:db8:1::11`,
      `${path}Active=true`,
      expect.stringContaining("IPv4Address="),
    ]),
  );
  const since = operator.notifies.length;
  await gateway.after(6 * 60_000);
  await hears(operator, `${path}Active=false`, since);
  expect(await value(operator, `${ROOT}Summary.ActiveDeviceCount`)).toBe("0");
});

test("instance numbers are not used again after a restart", async () => {
  gateway.withDevices();
  await tryDelete(gateway.as("Operator"), gateway.device(CAMERA));
  gateway = await gateway.restart();
  gateway.home.neighbour(2, "192.0.2.12");
  await until(() => gateway.spin.deviceByMac(mac(2)) !== undefined);
  expect(gateway.spin.deviceByMac(mac(2))?.number).toBeGreaterThan(2);
});
