import { addRow, deletion, setParams } from "../usp/support.ts";
import { CAMERA, Gateway, PHONE, read, refusal, ROOT, rule, run, tryAdd, tryDelete, trySet, value } from "./support.ts";

let gateway: Gateway;
beforeEach(async () => {
  gateway = (await Gateway.start({ secured: ["Operator"] })).withDevices();
});
afterEach(() => gateway.stop());

const operator = () => gateway.as("Operator");
const undo = (peer = operator()) => run(peer, `${ROOT}Undo()`);
const verdict = (device = PHONE) => gateway.packet(device, "198.51.100.7");
const everything = { MACAddressList: PHONE, DestinationList: "*" };

test("of a rule that was made, deletes it", async () => {
  const path = await rule(operator(), everything);
  expect(await undo()).toMatchObject({ What: `made ${path}` });
  await gateway.settled();
  expect(verdict()).not.toBe("Block");
});

test("of a rule that was deleted, makes it again, under a new number and as it was", async () => {
  const path = await rule(operator(), { ...everything, Reason: "spies", PortList: "443", Alias: "mine" });
  const before = await read(operator(), path);
  await tryDelete(operator(), path);
  const { What, Rows } = await undo();
  expect(What).toBe(`deleted ${path}`);
  expect(Rows).not.toBe(path.slice(0, -1));
  await gateway.settled();
  expect(await read(operator(), `${Rows}.`)).toEqual({ ...before, Status: expect.any(String) });
  expect(verdict()).toBe("Block");
});

test("of a rule that was changed, gives it the values it had", async () => {
  const path = await rule(operator(), { ...everything, Reason: "a" });
  await trySet(operator(), path, { Enable: "false", Reason: "b" });
  await undo();
  expect(await read(operator(), path)).toMatchObject({ Enable: "true", Reason: "a" });
  await gateway.settled();
  expect(verdict()).toBe("Block");
});

test("goes back a change at a time, until there is none", async () => {
  const first = await rule(operator(), everything);
  const second = await rule(operator(), { MACAddressList: CAMERA, DestinationList: "*" });
  expect(await undo()).toMatchObject({ What: `made ${second}` });
  expect(await undo()).toMatchObject({ What: `made ${first}` });
  await expect(undo()).rejects.toThrow("no change of yours");
});

test("of Block() and Unblock()", async () => {
  await run(operator(), `${gateway.device(PHONE)}Block()`);
  await gateway.settled();
  expect(verdict()).toBe("Block");
  await run(operator(), `${gateway.device(PHONE)}Unblock()`);
  await gateway.settled();
  expect(verdict()).not.toBe("Block");
  await undo();
  await gateway.settled();
  expect(verdict()).toBe("Block");
  await undo();
  await gateway.settled();
  expect(verdict()).not.toBe("Block");
});

test("is of the caller's own changes alone", async () => {
  const path = await rule(operator(), everything);
  await expect(undo(gateway.peer("self::operator2"))).rejects.toThrow("no change of yours");
  await expect(undo(gateway.resident)).rejects.toThrow("no change of yours");
  expect(await value(operator(), `${path}Enable`)).toBe("true");
});

test("leaves alone, as a whole, what somebody else has changed since", async () => {
  const path = await rule(operator(), { ...everything, Reason: "a" });
  await trySet(operator(), path, { Reason: "b", PortList: "80" });
  await trySet(gateway.resident, path, { Reason: "c" });
  await expect(undo()).rejects.toThrow(`${path}Reason has been changed since`);
  expect(await read(operator(), path)).toMatchObject({ Reason: "c", PortList: "80" });
});

test("of what is gone is refused", async () => {
  const path = await rule(operator(), everything);
  await tryDelete(gateway.resident, path);
  await expect(undo()).rejects.toThrow("is not there any more");
});

test("of a schedule", async () => {
  const { path } = await tryAdd(operator(), `${ROOT}Schedule.`, { StartTime: "21:00", Day: "Monday,Sunday" });
  await tryDelete(operator(), path);
  const { Rows } = await undo();
  expect(await read(operator(), `${Rows}.`)).toMatchObject({ StartTime: "21:00", Day: "Monday,Sunday" });
});

test("is not for who may not run commands", async () => {
  await expect(undo(gateway.as("Monitor"))).rejects.toThrow();
});

test("remembers twenty changes", async () => {
  const path = await rule(operator(), everything);
  for (let change = 0; change < 25; change++) await trySet(operator(), path, { Reason: `${change}` });
  let undone = 0;
  for (; undone < 30; undone++)
    try {
      await undo();
    } catch {
      break;
    }
  expect(undone).toBe(20);
  expect(await value(operator(), `${path}Reason`)).toBe("4");
});

test("of what has changed since is passed over: the change before it can be taken back", async () => {
  const first = await rule(operator(), everything);
  const second = await rule(operator(), { MACAddressList: CAMERA, DestinationList: "*" });
  await tryDelete(gateway.resident, second);
  await expect(undo()).rejects.toThrow("passed over");
  expect(await undo()).toMatchObject({ What: `made ${first}` });
});

test("does not delete a rule that somebody else has changed since it was made", async () => {
  const path = await rule(operator(), { ...everything, Enable: "false" });
  await trySet(gateway.resident, path, { Enable: "true" });
  await expect(undo()).rejects.toThrow(`${path}Enable has been changed since`);
  expect(await value(operator(), `${path}Enable`)).toBe("true");
});

describe("is only of what the caller may write at that time", () => {
  const become = (role: "Operator") =>
    setParams(gateway.tree, `${gateway.controllerRow("self::admin")}.`, { AssignedRole: gateway.roleRow(role) });
  const admin = () => gateway.as("Admin");

  test("not of another's rule that an Admin deleted before it was made an Operator", async () => {
    const path = await rule(operator(), everything);
    await tryDelete(admin(), path);
    become("Operator");
    expect(await refusal(admin(), `${ROOT}Undo()`)).toMatchObject({ errCode: 7006 });
    expect(await value(operator(), `${ROOT}RuleNumberOfEntries`)).toBe("0");
  });

  test("not of another's rule that it changed", async () => {
    const path = await rule(operator(), everything);
    await trySet(admin(), path, { Enable: "false" });
    become("Operator");
    expect(await refusal(admin(), `${ROOT}Undo()`)).toMatchObject({ errCode: 7006 });
    expect(await value(operator(), `${path}Enable`)).toBe("false");
  });

  test("not where the table is hidden from it", async () => {
    const path = await rule(operator(), everything);
    await trySet(gateway.resident, ROOT, { PrivacyLevel: "Summary" });
    expect(await refusal(operator(), `${ROOT}Undo()`)).toMatchObject({ errCode: 7006 });
    expect(await value(gateway.resident, `${path}Enable`)).toBe("true");
  });

  test("not of what it made at another door with more rights", async () => {
    const far = gateway.add("self::both", ["Resident", "Operator"]);
    const path = await rule(gateway.atHome("self::both"), everything);
    expect((await tryDelete(far, path)).code).toBe(7006);
    expect(await refusal(far, `${ROOT}Undo()`)).toMatchObject({ errCode: 7006 });
    expect(await value(gateway.resident, `${path}Enable`)).toBe("true");
  });
});

test("of a rule of the agent's own that was lifted, puts it back as the agent's", async () => {
  const { path } = addRow(gateway.tree, `${ROOT}Rule.`, { ...everything, Enable: "true", Action: "Block" });
  expect((await tryDelete(operator(), path)).code).toBe(0);
  const { Rows } = await undo();
  expect(await read(operator(), `${Rows}.`)).toMatchObject({ Origin: "System", Creator: "", Enable: "true" });
});

describe("of what rules name", () => {
  const always = {
    Enable: "true",
    StartTime: "00:00",
    Duration: "86400",
    Day: "Monday,Tuesday,Wednesday,Thursday,Friday,Saturday,Sunday",
  };
  const schedule = async () => (await tryAdd(operator(), `${ROOT}Schedule.`, always)).path;

  test("a deleted schedule: its rules hold again", async () => {
    const slot = await schedule();
    await rule(operator(), { ...everything, Schedule: slot });
    await gateway.settled();
    expect(verdict()).toBe("Block");
    await tryDelete(operator(), slot);
    await gateway.settled();
    expect(verdict()).toBe("Pass");
    await undo();
    await gateway.settled();
    expect(verdict()).toBe("Block");
  });

  test("a rule and its schedule, deleted one after the other", async () => {
    const slot = await schedule();
    const path = await rule(operator(), { ...everything, Schedule: slot });
    await tryDelete(operator(), path);
    await tryDelete(operator(), slot);
    await undo();
    await undo();
    await gateway.settled();
    expect(verdict()).toBe("Block");
  });

  test("a rule and its schedule, deleted at once", async () => {
    const slot = await schedule();
    const path = await rule(operator(), { ...everything, Schedule: slot });
    await operator().ask(deletion([slot, path]));
    await undo();
    await gateway.settled();
    expect(verdict()).toBe("Block");
  });

  test("a deleted list", async () => {
    const { path: list } = await tryAdd(operator(), `${ROOT}List.`, { Content: "198.51.100.7" });
    const path = await rule(operator(), { MACAddressList: PHONE, DestinationList: list.slice(0, -1) });
    await tryDelete(operator(), list);
    const { Rows } = await undo();
    expect(Rows).not.toBe(list.slice(0, -1));
    expect(await value(operator(), `${path}DestinationList`)).toBe(Rows);
  });
});

test("holds no more than it says, however long the texts are", async () => {
  const lists = Array.from({ length: 60 }, () => `${ROOT}List.`);
  for (const list of lists) await tryAdd(operator(), list);
  for (let change = 0; change < 20; change++)
    await trySet(operator(), `${ROOT}List.*.`, { Content: `${change}`.padEnd(4000, "#") });
  let undone = 0;
  for (; undone < 30; undone++)
    try {
      await undo();
    } catch {
      break;
    }
  expect(undone).toBeGreaterThan(0);
  // 60 lists of 8,000 characters are half a million a change; two million are kept.
  expect(undone).toBeLessThan(6);
}, 30_000);
