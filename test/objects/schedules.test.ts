import { subscribe } from "../usp/support.ts";
import { Gateway, PHONE, read, ROOT, rule, run, told, tryAdd, tryDelete, trySet, until, value } from "./support.ts";

// The home's clock begins at 2026-01-01T00:00:00Z, a Thursday; the tests run in UTC.
let gateway: Gateway;
beforeEach(async () => {
  gateway = (await Gateway.start({ secured: ["Operator"] })).withDevices();
});
afterEach(() => gateway.stop());

const HOUR_MS = 3_600_000;
const DAYS = "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday";
const NIGHT = { Enable: "true", Day: DAYS, StartTime: "21:00", Duration: "36000" };

async function schedule(values: Readonly<Record<string, string>> = NIGHT): Promise<string> {
  const { path } = await tryAdd(gateway.as("Operator"), `${ROOT}Schedule.`, values);
  return path;
}

const verdict = () => gateway.packet(PHONE, "198.51.100.7");

test("a rule holds in its schedule's slot, and not outside of it", async () => {
  const night = await schedule();
  const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: night });
  await gateway.settled();
  expect(await read(gateway.as("Operator"), path)).toMatchObject({
    Schedule: night.slice(0, -1),
    Status: "Enabled",
    StatusReason: "",
  });
  expect(verdict()).toBe("Block");
  expect(await read(gateway.as("Operator"), night)).toMatchObject({
    Status: "Active",
    TimeLeft: String(7 * 3600),
    Creator: "self::operator",
  });

  await subscribe(gateway.as("Operator"), "ValueChange", `${night}Status`);
  await gateway.after(7 * HOUR_MS);
  expect(verdict()).not.toBe("Block");
  expect(await value(gateway.as("Operator"), `${path}StatusReason`)).toBe(
    "Not now: its schedules say from 2026-01-01T21:00:00.000Z.",
  );
  await until(() => told(gateway.as("Operator")).includes(`${night}Status=Inactive`));
  await gateway.after(14 * HOUR_MS);
  expect(verdict()).toBe("Block");
  await until(() => told(gateway.as("Operator")).includes(`${night}Status=Active`));
});

test("several slots a day: the rule holds in each", async () => {
  const morning = await schedule({ ...NIGHT, StartTime: "08:00", Duration: "3600" });
  const noon = await schedule({ ...NIGHT, StartTime: "12:00", Duration: "3600" });
  await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: `${morning},${noon}` });
  const verdicts: unknown[] = [];
  for (let hour = 0; hour < 24; hour++) {
    await gateway.settled();
    if (verdict() === "Block") verdicts.push(hour);
    await gateway.after(HOUR_MS);
  }
  expect(verdicts).toEqual([8, 12]);
});

test("a rule whose schedule is deleted has no effect; it does not come to hold always", async () => {
  const night = await schedule();
  const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: night });
  await gateway.settled();
  expect(verdict()).toBe("Block");
  await tryDelete(gateway.as("Operator"), night);
  await gateway.settled();
  expect(verdict()).not.toBe("Block");
  expect(await read(gateway.as("Operator"), path)).toMatchObject({
    Status: "Error_Misconfigured",
    StatusReason: "Schedule refers to one that does not exist.",
  });
});

test.each([
  ["a schedule that is not there", `${ROOT}Schedule.99`],
  ["another table's row", "Device.LocalAgent.Controller.1"],
])("a rule for %s is misconfigured", async (_, reference) => {
  const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: reference });
  await gateway.settled();
  expect(await value(gateway.as("Operator"), `${path}Status`)).toBe("Error_Misconfigured");
  expect(verdict()).not.toBe("Block");
});

test.each([
  [{ StartTime: "24:00" }],
  [{ StartTime: "9:00" }],
  [{ Duration: "0" }],
  [{ Duration: "604801" }],
  [{ Day: "Mon" }],
])("%j is refused", async (values) => {
  const { code } = await tryAdd(gateway.as("Operator"), `${ROOT}Schedule.`);
  expect(code).toBe(0);
  expect((await trySet(gateway.as("Operator"), `${ROOT}Schedule.1.`, values)).code).toBe(7012);
});

test("one without a day or a time is in error, and its rule does not hold", async () => {
  for (const values of [
    { ...NIGHT, Day: "" },
    { ...NIGHT, StartTime: "" },
    { ...NIGHT, Day: "", InverseMode: "true" },
  ]) {
    const path = await schedule(values);
    expect(await value(gateway.as("Operator"), `${path}Status`)).toBe("Error");
    const made = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: path });
    await gateway.settled();
    expect(verdict()).not.toBe("Block");
    await tryDelete(gateway.as("Operator"), made);
  }
});

test("two rules that differ in their schedule alone say different things", async () => {
  const [one, other] = [await schedule(), await schedule({ ...NIGHT, StartTime: "20:00" })];
  const same = { Action: "Block", MACAddressList: PHONE, DestinationList: "*" };
  expect((await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { ...same, Schedule: one })).code).toBe(0);
  expect((await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { ...same, Schedule: other })).code).toBe(0);
  expect((await tryAdd(gateway.as("Operator"), `${ROOT}Rule.`, { ...same, Schedule: one })).code).toBe(7025);
});

test("is its creator's and the resident's to change", async () => {
  const night = await schedule();
  const set = async (peer: ReturnType<Gateway["as"]>) => (await trySet(peer, night, { Description: "x" })).code;
  expect(await set(gateway.peer("self::operator2"))).toBe(7006);
  expect(await set(gateway.as("Operator"))).toBe(0);
  expect(await set(gateway.resident)).toBe(0);
  expect((await tryDelete(gateway.peer("self::operator2"), night)).code).toBe(7006);
});

test("two of one creator that say the same are one", async () => {
  const night = await schedule();
  const { code, text } = await tryAdd(gateway.as("Operator"), `${ROOT}Schedule.`, NIGHT);
  expect([code, text]).toEqual([7025, expect.stringContaining(night)]);
  expect((await tryAdd(gateway.resident, `${ROOT}Schedule.`, NIGHT)).code).toBe(0);
  expect((await tryAdd(gateway.as("Operator"), `${ROOT}Schedule.`, { ...NIGHT, Duration: "60" })).code).toBe(0);
});

test("a rule of the resident's goes by the resident's schedules alone", async () => {
  const night = await schedule();
  const wanted = { Action: "Block", MACAddressList: PHONE, DestinationList: "*" };
  expect((await tryAdd(gateway.resident, `${ROOT}Rule.`, { ...wanted, Schedule: night })).code).not.toBe(0);
  const { path: own } = await tryAdd(gateway.resident, `${ROOT}Schedule.`, NIGHT);
  expect((await tryAdd(gateway.resident, `${ROOT}Rule.`, { ...wanted, Schedule: own })).code).toBe(0);
});

test("Block() and Unblock() leave rules with a schedule as they are", async () => {
  const night = await schedule();
  const path = await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: night });
  const device = gateway.device(PHONE);
  expect(await run(gateway.as("Operator"), `${device}Unblock()`)).toMatchObject({
    Blocked: "true",
    Rules: path.slice(0, -1),
  });
  await gateway.after(7 * HOUR_MS);
  expect(await run(gateway.as("Operator"), `${device}Unblock()`)).toMatchObject({ Blocked: "false", Rules: "" });
  expect(await run(gateway.as("Operator"), `${device}Block()`)).not.toMatchObject({ Rule: path.slice(0, -1) });
  await gateway.settled();
  expect(verdict()).toBe("Block");
});

test("outlives a restart with the rules that name it", async () => {
  const night = await schedule();
  await rule(gateway.as("Operator"), { MACAddressList: PHONE, DestinationList: "*", Schedule: night });
  gateway = await gateway.restart({ secured: ["Operator"] });
  expect(verdict()).toBe("Block");
  await gateway.after(7 * HOUR_MS);
  expect(verdict()).not.toBe("Block");
});

test("there are at most 100", async () => {
  for (let row = 0; row < 100; row++) await schedule({ Duration: String(row + 1) });
  expect((await tryAdd(gateway.as("Operator"), `${ROOT}Schedule.`)).code).toBe(7005);
}, 20_000);
