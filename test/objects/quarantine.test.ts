import { settle, subscribe } from "../usp/support.ts";
import { CAMERA, Gateway, PHONE, read, ROOT, rule, run, told, tryDelete, trySet, until, value } from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.start({ secured: ["Operator"] });
});
afterEach(() => gateway.stop());

const STRANGER = "02:00:00:00:00:09";
const quarantine = () => trySet(gateway.as("Operator"), ROOT, { NewDevicePolicy: "Quarantine" });
const stranger = async () => {
  gateway.home.neighbour(9, "192.0.2.19");
  await gateway.settled();
};
const blocked = (device: string) => gateway.packet(device, "198.51.100.7") === "Block";

test("by default a new device may do everything", async () => {
  expect(await value(gateway.as("Operator"), `${ROOT}NewDevicePolicy`)).toBe("Allow");
  await stranger();
  expect(blocked(STRANGER)).toBe(false);
  expect(gateway.spin.rules.size).toBe(0);
});

describe("with NewDevicePolicy Quarantine", () => {
  test("a device that is seen for the first time is blocked by a rule of the agent's own", async () => {
    await quarantine();
    await stranger();
    expect(blocked(STRANGER)).toBe(true);
    const operator = gateway.as("Operator");
    expect(await read(operator, `${ROOT}Rule.1.`)).toMatchObject({
      Enable: "true",
      Status: "Enabled",
      Action: "Block",
      Origin: "System",
      Creator: "",
      MACAddressList: STRANGER,
      DestinationList: "*",
      ExpiryDate: "9999-12-31T23:59:59Z",
      Reason: "new device: quarantined",
    });
    expect(await value(operator, `${gateway.device(STRANGER)}Blocked`)).toBe("true");
  });

  test("its row is told, and its rule, and that it is blocked", async () => {
    await quarantine();
    const operator = gateway.as("Operator");
    await subscribe(operator, "ObjectCreation", ROOT);
    await subscribe(operator, "ObjectCreation", `${ROOT}Device.`);
    await subscribe(operator, "ObjectCreation", `${ROOT}Rule.`);
    await subscribe(operator, "ValueChange", `${ROOT}Device.`);
    await stranger();
    await until(() => told(operator).includes(`${gateway.device(STRANGER)}Blocked=true`), "that it is blocked");
    const heard = told(operator);
    expect(heard.indexOf(`+${gateway.device(STRANGER)}`)).toBeLessThan(heard.indexOf(`+${ROOT}Rule.1.`));
  });

  test("devices that were known are untouched, also when they come back", async () => {
    gateway.withDevices();
    await quarantine();
    gateway.home.neighbour(1, "192.0.2.11", "gone").neighbour(1, "192.0.2.31").lease(2, "192.0.2.12", "camera");
    await gateway.settled();
    expect([blocked(PHONE), blocked(CAMERA)]).toEqual([false, false]);
    expect(gateway.spin.rules.size).toBe(0);
  });

  test("devices that were known are untouched after a crash just then", async () => {
    gateway.withDevices();
    await quarantine();
    gateway = await gateway.crash();
    gateway.withDevices();
    await gateway.settled();
    expect(gateway.spin.rules.size).toBe(0);
    await stranger();
    expect(blocked(STRANGER)).toBe(true);
  });

  test("both the policy and the quarantine outlive a restart", async () => {
    await quarantine();
    await stranger();
    gateway = await gateway.restart({ secured: ["Operator"] });
    expect(await value(gateway.as("Operator"), `${ROOT}NewDevicePolicy`)).toBe("Quarantine");
    expect(blocked(STRANGER)).toBe(true);
    await stranger();
    expect(gateway.spin.rules.size).toBe(1);
    gateway.home.neighbour(8, "192.0.2.18");
    await gateway.settled();
    expect(gateway.spin.rules.size).toBe(2);
  });

  test.each(["Operator", "Support", "Admin"] as const)(
    "%s lifts it by Unblock(), and it does not come back",
    async (role) => {
      await quarantine();
      await stranger();
      expect(await run(gateway.as(role), `${gateway.device(STRANGER)}Unblock()`)).toEqual({
        Blocked: "false",
        Rules: "",
        Origins: "",
      });
      expect(blocked(STRANGER)).toBe(false);
      gateway = await gateway.restart();
      await stranger();
      expect(blocked(STRANGER)).toBe(false);
    },
  );

  test("an operator lifts it by deleting the rule", async () => {
    await quarantine();
    await stranger();
    expect((await tryDelete(gateway.as("Operator"), `${ROOT}Rule.1.`)).code).toBe(0);
    await gateway.settled();
    expect(blocked(STRANGER)).toBe(false);
  });

  test("the resident lifts it by Unblock()", async () => {
    await quarantine();
    await stranger();
    await run(gateway.resident, `${gateway.device(STRANGER)}Unblock()`);
    expect(blocked(STRANGER)).toBe(false);
  });

  test("whoever blocks it as well leaves it blocked when the quarantine is lifted", async () => {
    await quarantine();
    await stranger();
    const own = await rule(gateway.resident, { MACAddressList: STRANGER, DestinationList: "*" });
    expect(await run(gateway.as("Operator"), `${gateway.device(STRANGER)}Unblock()`)).toEqual({
      Blocked: "true",
      Rules: own.slice(0, -1),
      Origins: "User",
    });
  });

  test("what the resident allowed beforehand is allowed", async () => {
    await quarantine();
    await rule(gateway.resident, { Action: "Allow", MACAddressList: STRANGER, DestinationList: "*" });
    await stranger();
    expect(blocked(STRANGER)).toBe(false);
    expect(await value(gateway.as("Operator"), `${gateway.device(STRANGER)}Blocked`)).toBe("false");
    expect(await value(gateway.as("Operator"), `${ROOT}Rule.2.Status`)).toBe("Overruled");
  });

  test("a device that was forgotten is new again, under the same rule", async () => {
    await quarantine();
    await stranger();
    await tryDelete(gateway.as("Operator"), gateway.device(STRANGER));
    await stranger();
    expect(blocked(STRANGER)).toBe(true);
    expect(gateway.spin.rules.size).toBe(1);
  });

  test("set back to Allow, those in quarantine stay until they are lifted, and the next is free", async () => {
    await quarantine();
    await stranger();
    await trySet(gateway.as("Operator"), ROOT, { NewDevicePolicy: "Allow" });
    gateway.home.neighbour(8, "192.0.2.18");
    await gateway.settled();
    expect([blocked(STRANGER), blocked("02:00:00:00:00:08")]).toEqual([true, false]);
  });

  test("a flood of forged addresses fills neither table, and pushes no device out that has lived", async () => {
    gateway.withTraffic();
    await quarantine();
    gateway.home.neighbour(9, "192.0.2.19").lease(9, "192.0.2.19", "stranger");
    for (let second = 0; second < 60; second++) {
      for (let i = 0; i < 20; i++) gateway.home.neighbour(1000 + second * 20 + i, "192.0.2.66", "frame");
      await gateway.after(1000);
    }
    const operator = gateway.as("Operator");
    expect(Number(await value(operator, `${ROOT}DeviceNumberOfEntries`))).toBe(255);
    expect(Number(await value(operator, `${ROOT}RuleNumberOfEntries`))).toBeLessThanOrEqual(254);
    const cost = ["DevicesEvicted", "DevicesRefused"].map((name) => value(operator, `${ROOT}Summary.${name}`));
    const [evicted, refused] = (await Promise.all(cost)).map(Number) as [number, number];
    expect([evicted > 0, evicted + refused]).toEqual([true, 1200 + 3 - 255]);
    expect([blocked(PHONE), blocked(STRANGER)]).toEqual([false, true]);
    // And there is still room for a device that comes now.
    gateway.home.neighbour(7, "192.0.2.17");
    await gateway.settled();
    expect(blocked("02:00:00:00:00:07")).toBe(true);
    expect(gateway.device("02:00:00:00:00:07")).toBeDefined();
    await settle();
    expect((await trySet(operator, gateway.device(PHONE), { Name: "still here" })).code).toBe(0);
  });
});
