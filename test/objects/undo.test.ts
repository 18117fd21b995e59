import { CAMERA, Gateway, PHONE, read, ROOT, rule, run, tryAdd, tryDelete, trySet, value } from "./support.ts";

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
  await tryDelete(operator(), path as string);
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
