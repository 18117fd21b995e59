import { addOne, addRow, deletion, operation, settle, subscribe } from "../usp/support.ts";
import {
  CAMERA,
  Gateway,
  hears,
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
  tryDelete,
  trySet,
  until,
  value,
} from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = (await Gateway.start({ benchRows: 1 })).withDevices();
});
afterEach(() => gateway.stop());

const ALL = { MACAddressList: PHONE, DestinationList: "*" };

/** A rule of the agent's own, as quarantine makes them. */
async function quarantined(): Promise<string> {
  await trySet(gateway.as("Operator"), ROOT, { NewDevicePolicy: "Quarantine" });
  gateway.home.neighbour(9, "192.0.2.19");
  await gateway.settled();
  const [system] = gateway.spin.rules.list().filter(({ origin }) => origin === "System");
  return `${ROOT}Rule.${system?.id}.`;
}

describe("a rule", () => {
  test("is changed and deleted by the controller that made it", async () => {
    const operator = gateway.as("Operator");
    const path = await rule(operator, ALL);
    expect((await trySet(operator, path, { Reason: "late" })).code).toBe(0);
    expect((await tryDelete(operator, path)).code).toBe(0);
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("is neither changed nor deleted by another operator, which is told whose it is", async () => {
    const path = await rule(gateway.as("Operator"), ALL);
    const other = gateway.peer("self::operator2");
    const set = await trySet(other, path, { Enable: "false" });
    expect([set.code, set.text]).toEqual([7006, expect.stringContaining("is of self::operator")]);
    expect((await tryDelete(other, path)).code).toBe(7006);
    expect(await read(other, path)).toMatchObject({ Enable: "true", Status: "Enabled" });
  });

  test("of another stays where a wildcard deletes one's own", async () => {
    const theirs = await rule(gateway.as("Operator"), ALL);
    const other = gateway.peer("self::operator2");
    const own = await rule(other, ALL);
    const result = await other.response(deletion([`${ROOT}Rule.*.`], true), "deleteResp");
    const status = result.deletedObjResults[0]?.operStatus?.operStatus;
    expect(status?.$case === "operSuccess" && status.value.affectedPaths).toEqual([own]);
    expect(status?.$case === "operSuccess" && status.value.unaffectedPathErrs).toEqual([
      expect.objectContaining({ unaffectedPath: theirs, errCode: 7006 }),
    ]);
  });

  test("is anybody's to an Admin, but not where it is the resident's", async () => {
    const admin = gateway.as("Admin");
    const theirs = await rule(gateway.as("Operator"), ALL);
    const resident = await rule(gateway.resident, ALL);
    expect((await trySet(admin, theirs, { Reason: "by the admin" })).code).toBe(0);
    expect((await tryDelete(admin, theirs)).code).toBe(0);
    expect((await trySet(admin, resident, { Enable: "false" })).code).toBe(7006);
    expect((await tryDelete(admin, resident)).code).toBe(7006);
  });

  test("of the resident's is nobody else's to change or lift", async () => {
    const path = await rule(gateway.resident, ALL);
    for (const role of ["Operator", "Support", "Admin"] as const) {
      expect((await trySet(gateway.as(role), path, { Enable: "false" })).code).toBe(7006);
      expect((await tryDelete(gateway.as(role), path)).code).toBe(7006);
    }
    expect(await read(gateway.resident, path)).toMatchObject({ Enable: "true", Origin: "User" });
  });

  test("of a controller is the resident's to lift", async () => {
    const path = await rule(gateway.as("Operator"), ALL);
    expect((await trySet(gateway.resident, path, { Enable: "false" })).code).toBe(0);
    expect((await tryDelete(gateway.resident, path)).code).toBe(0);
  });

  test("keeps its Creator and Origin when another changes it", async () => {
    const path = await rule(gateway.as("Operator"), ALL);
    await trySet(gateway.as("Admin"), path, { Reason: "by the admin" });
    expect(await read(gateway.as("Operator"), path)).toMatchObject({
      Creator: idOf("Operator"),
      Origin: "Controller",
      Reason: "by the admin",
    });
  });

  test.each(["Operator", "Support", "Admin"] as const)("of the agent's own is lifted by %s", async (role) => {
    const path = await quarantined();
    expect((await trySet(gateway.as(role), path, { Enable: "false" })).code).toBe(0);
    expect(await value(gateway.as(role), `${path}Status`)).toBe("Disabled");
    expect((await tryDelete(gateway.as(role), path)).code).toBe(0);
  });

  test("of the agent's own is not a monitor's to lift, and is the resident's", async () => {
    const path = await quarantined();
    expect((await tryDelete(gateway.as("Monitor"), path)).code).toBe(7006);
    expect((await tryDelete(gateway.resident, path)).code).toBe(0);
  });
});

describe("forged", () => {
  test.each(["Operator", "Support", "Admin"] as const)("Origin User is refused to %s", async (role) => {
    expect((await tryAdd(gateway.as(role), `${ROOT}Rule.`, { ...ALL, Origin: "User" })).code).toBe(7006);
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("Origin System is refused to all", async () => {
    for (const peer of [gateway.as("Operator"), gateway.as("Admin"), gateway.resident])
      expect((await tryAdd(peer, `${ROOT}Rule.`, { ...ALL, Origin: "System" })).code).toBe(7006);
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("Origin and Creator do not change once the rule is there", async () => {
    const path = await rule(gateway.as("Operator"), ALL);
    expect((await trySet(gateway.as("Operator"), path, { Origin: "User" })).code).toBe(7013);
    expect((await trySet(gateway.as("Operator"), path, { Creator: "self::operator2" })).code).toBe(7013);
  });

  test.each(["Creator", "CreationDate", "Status", "HitPackets", "LastHit"])("%s is refused at Add", async (name) => {
    const { code } = await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { ...ALL, [name]: "1" });
    expect(code).toBe(7013);
  });

  test("a Creator that was not required refuses the rule all the same, because it is part of a key", async () => {
    const content = await gateway
      .as("Operator")
      .ask(addOne(`${ROOT}Rule.`, { Creator: "self::operator2" }, { required: false }));
    expect(print(content)).toContain("7013");
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("a CreationDate that was not required leaves the rule its true one", async () => {
    const operator = gateway.as("Operator");
    const { createdObjResults } = await operator.response(
      addOne(`${ROOT}Rule.`, { CreationDate: "2001-01-01T00:00:00Z" }, { required: false }),
      "addResp",
    );
    const status = createdObjResults[0]?.operStatus?.operStatus;
    if (status?.$case !== "operSuccess") throw new Error(print(status));
    expect(status.value.paramErrs).toEqual([expect.objectContaining({ param: "CreationDate", errCode: 7013 })]);
    expect(await value(operator, `${status.value.instantiatedPath}CreationDate`)).toBe("2026-01-01T00:00:00Z");
  });
});

describe("a subscription", () => {
  // What it says to set is set with its recipient's rights.
  test("of the resident's does not do an Admin's will: it can be switched off and deleted, and says what it said", async () => {
    const path = await subscribe(gateway.resident, "ValueChange", `${ROOT}PrivacyLevel`);
    const admin = gateway.as("Admin");
    for (const params of [
      { TriggerAction: "Config", TriggerConfigSettings: `${ROOT}PrivacyCeiling=Destinations` },
      { TriggerAction: "Config" },
      { TriggerConfigSettings: `${ROOT}PrivacyCeiling=Destinations` },
      { Enable: "false", Persistent: "true" },
      { Enable: "true" },
    ] as Record<string, string>[])
      expect((await trySet(admin, path, params)).code).toBe(7006);
    expect(await read(gateway.resident, path)).toMatchObject({ TriggerAction: "Notify", TriggerConfigSettings: "" });
    expect((await trySet(admin, path, { Enable: "false" })).code).toBe(0);
    expect((await trySet(gateway.resident, path, { Enable: "true" })).code).toBe(0);
    expect((await tryDelete(admin, path)).code).toBe(0);
  });

  test("is its recipient's alone, but for an Admin, who may end it", async () => {
    const path = await subscribe(gateway.as("Operator"), "ValueChange", `${ROOT}Status`);
    const other = gateway.peer("self::operator2");
    expect((await trySet(other, path, { Enable: "false" })).code).toBe(7006);
    expect((await tryDelete(other, path)).code).toBe(7006);
    expect((await trySet(gateway.resident, path, { Enable: "false" })).code).toBe(7006);
    expect((await tryDelete(gateway.as("Admin"), path)).code).toBe(0);
  });

  test("tells only its recipient", async () => {
    const operator = gateway.as("Operator");
    const other = gateway.peer("self::operator2");
    await subscribe(operator, "ValueChange", `${gateway.device(PHONE)}Name`);
    await trySet(other, gateway.device(PHONE), { Name: "Phone" });
    await hears(operator, `${gateway.device(PHONE)}Name=Phone`);
    expect(told(other)).toEqual([]);
  });

  test("can't be made in another's name", async () => {
    const { code } = await tryAdd(gateway.as("Operator"), "Device.LocalAgent.Subscription.", {
      Recipient: gateway.controllerRow("self::operator2"),
    });
    expect(code).toBe(7013);
  });
});

describe("a threshold", () => {
  const TABLE = "Device.LocalAgent.Threshold.";

  test("is its controller's to change and to delete, and the admin's to delete", async () => {
    const operator = gateway.as("Operator");
    expect((await tryAdd(operator, TABLE, { ThresholdValue: "5" })).code).toBe(0);
    const other = gateway.peer("self::operator2");
    expect((await trySet(other, `${TABLE}1.`, { ThresholdValue: "6" })).code).toBe(7006);
    expect((await tryDelete(other, `${TABLE}1.`)).code).toBe(7006);
    expect((await trySet(operator, `${TABLE}1.`, { ThresholdValue: "6" })).code).toBe(0);
    expect((await trySet(gateway.as("Admin"), `${TABLE}1.`, { ThresholdValue: "7" })).code).toBe(7006);
    expect((await tryDelete(gateway.as("Admin"), `${TABLE}1.`)).code).toBe(0);
  });

  test("is not the monitor's to make", async () => {
    expect((await tryAdd(gateway.as("Monitor"), TABLE)).code).toBe(7006);
  });
});

describe("an operation under way", () => {
  const wait = async () => {
    const admin = gateway.as("Admin");
    const content = await admin.ask(operation("Device.X_BENCH.Wait()", { Seconds: "60" }, { commandKey: "k" }));
    return /Device\.LocalAgent\.Request\.\d+\./.exec(print(content))?.[0] as string;
  };

  test("is not another's to cancel", async () => {
    const path = await wait();
    for (const peer of [gateway.as("Operator"), gateway.as("Support"), gateway.resident, gateway.as("Monitor")])
      expect(await refusal(peer, `${path}Cancel()`)).toMatchObject({ errCode: 7006 });
    expect(await value(gateway.as("Admin"), `${path}Status`)).toBe("Active");
  });

  test("is its originator's to cancel", async () => {
    const admin = gateway.as("Admin");
    await subscribe(admin, "OperationComplete", "Device.X_BENCH.");
    const path = await wait();
    await run(admin, `${path}Cancel()`);
    expect(await hears(admin, "Device.X_BENCH.Wait()")).toContain("7023");
    await until(() => gateway.tree.at(path) === undefined, "the row's end");
  });
});

test("Unblock() lifts one's own rules and the agent's, and says whose the others are", async () => {
  const operator = gateway.as("Operator");
  const device = gateway.device(PHONE);
  await rule(operator, ALL);
  const theirs = await rule(gateway.peer("self::operator2"), ALL);
  const resident = await rule(gateway.resident, ALL);
  await gateway.settled();
  expect(await run(operator, `${device}Unblock()`)).toEqual({
    Blocked: "true",
    Rules: [theirs, resident].map((path) => path.slice(0, -1)).join(","),
    Origins: "Controller,User",
  });
  expect(await value(operator, `${ROOT}RuleNumberOfEntries`)).toBe("2");
});

test("what a controller did to a device it did not block is not undone by Unblock()", async () => {
  const operator = gateway.as("Operator");
  const narrow = await rule(operator, { MACAddressList: PHONE, DestinationList: "198.51.100.0/24" });
  const other = await rule(operator, { MACAddressList: CAMERA, DestinationList: "*" });
  await run(operator, `${gateway.device(PHONE)}Unblock()`);
  await settle();
  for (const path of [narrow, other]) expect(await value(operator, `${path}Status`)).toBe("Enabled");
});

test("a list that the firmware brought is nobody's to delete, and anybody's who sets rules to disable", async () => {
  const made = await Gateway.start();
  try {
    const { path } = addRow(made.tree, `${ROOT}List.`, { Enable: "true", Content: "bad.example" });
    for (const peer of [made.as("Operator"), made.as("Admin"), made.resident]) {
      expect((await tryDelete(peer, path)).code).toBe(7006);
      expect((await trySet(peer, path, { Enable: "false" })).code).toBe(0);
    }
  } finally {
    await made.stop();
  }
});
