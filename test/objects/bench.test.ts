import { addOne, get, operation, settle, subscribe } from "../usp/support.ts";
import { Gateway, hears, print, read, refusal, run, told, tryAdd, tryDelete, trySet, until, value } from "./support.ts";

const BENCH = "Device.X_BENCH.";

let gateway: Gateway;
beforeEach(async () => {
  gateway = await Gateway.start({ benchRows: 300 });
});
afterEach(() => gateway.stop());

const admin = () => gateway.as("Admin");

test("the synthetic model is there only when it was asked for", async () => {
  await gateway.stop();
  gateway = await Gateway.start();
  const { reqPathResults } = await admin().response(get([BENCH]), "getResp");
  expect(reqPathResults[0]?.errCode).toBe(7026);
});

describe("values", () => {
  test("in memory are gone after a restart, and Db is there when its Set was answered", async () => {
    expect((await trySet(admin(), BENCH, { Mem: "m", Db: "d\u00fc", Secret: "s" })).code).toBe(0);
    expect(await read(admin(), BENCH)).toMatchObject({ Mem: "m", Db: "dü", Secret: "" });
    const store = gateway.store.load("model-device-x_bench");
    expect(print(store)).toContain("dü");
    gateway = await gateway.crash({ benchRows: 300, secured: ["Admin"] });
    expect(await read(admin(), BENCH)).toMatchObject({ Mem: "", Db: "dü", Secret: "" });
  });

  test("of Db are as they were when a Set failed", async () => {
    await trySet(admin(), BENCH, { Db: "before" });
    expect((await trySet(admin(), BENCH, { Db: "after", Nothing: "x" })).code).toBe(7010);
    expect(await value(admin(), `${BENCH}Db`)).toBe("before");
    gateway = await gateway.crash({ benchRows: 1 });
    expect(await value(admin(), `${BENCH}Db`)).toBe("before");
  });

  test("Secret is for roles in SecuredRoles", async () => {
    await trySet(admin(), BENCH, { Secret: "s" });
    expect(await value(admin(), `${BENCH}Secret`)).toBe("");
    await trySet(admin(), "Device.LocalAgent.ControllerTrust.", { SecuredRoles: gateway.roleRow("Admin") });
    expect(await value(admin(), `${BENCH}Secret`)).toBe("s");
    expect(await value(gateway.as("Operator"), `${BENCH}Secret`)).toBe("");
  });
});

test("rows are as many as were asked for, past 255, and read-only", async () => {
  expect(await value(admin(), `${BENCH}RowNumberOfEntries`)).toBe("300");
  const { reqPathResults } = await admin().response(get([`${BENCH}Row.`]), "getResp");
  expect(reqPathResults[0]?.resolvedPathResults).toHaveLength(300);
  expect(reqPathResults[0]?.resolvedPathResults[299]?.resultParams.size).toBe(10);
  expect(await value(admin(), `${BENCH}Row.300.P10`)).not.toBe(await value(admin(), `${BENCH}Row.299.P10`));
  expect(await value(admin(), `${BENCH}Row.301.P1`)).toBeUndefined();
  expect((await trySet(admin(), `${BENCH}Row.1.`, { P1: "x" })).code).toBe(7013);
  expect((await tryAdd(admin(), `${BENCH}Row.`)).code).toBe(7019);
  expect((await tryDelete(admin(), `${BENCH}Row.1.`)).code).toBe(7024);
});

describe("Obj", () => {
  test("rows have a Name of their own", async () => {
    const { path } = await tryAdd(admin(), `${BENCH}Obj.`, { Name: "a", Value: "1" });
    const again = await tryAdd(admin(), `${BENCH}Obj.`, { Name: "a" });
    expect([again.code, again.text]).toEqual([7025, expect.stringContaining(path)]);
    const other = await tryAdd(admin(), `${BENCH}Obj.`, { Name: "b" });
    expect((await trySet(admin(), other.path, { Name: "a" })).code).toBe(7025);
    expect(await value(admin(), `${BENCH}Obj.[Name=="a"].Value`)).toBe("1");
    const unnamed = await tryAdd(admin(), `${BENCH}Obj.`);
    expect(await value(admin(), `${unnamed.path}Name`)).not.toBe("");
  });

  test("rows are told and counted as they come and go, and outlive a restart", async () => {
    await subscribe(admin(), "ObjectCreation", `${BENCH}Obj.`);
    await subscribe(admin(), "ObjectDeletion", `${BENCH}Obj.`);
    const { path } = await tryAdd(admin(), `${BENCH}Obj.`, { Name: "a" });
    const second = await tryAdd(admin(), `${BENCH}Obj.`, { Name: "b" });
    await tryDelete(admin(), path);
    await settle();
    expect(told(admin())).toEqual([`+${path}`, `+${second.path}`, `-${path}`]);
    gateway = await gateway.crash({ benchRows: 1 });
    expect(await value(admin(), `${BENCH}ObjNumberOfEntries`)).toBe("1");
    expect((await tryAdd(admin(), `${BENCH}Obj.`, { Name: "c" })).path).toBe(`${BENCH}Obj.3.`);
  });
});

describe("commands", () => {
  test("Ping() answers with nothing to say", async () => {
    expect(await run(admin(), `${BENCH}Ping()`)).toEqual({});
  });

  test("Slow() keeps nobody else waiting", async () => {
    const order: string[] = [];
    const slow = run(admin(), `${BENCH}Slow()`, { Seconds: "1" }).then((outputs) => {
      order.push("slow");
      return outputs;
    });
    for (let i = 0; i < 3; i++) await value(admin(), `${BENCH}Mem`).then(() => order.push("get"));
    await run(gateway.as("Admin"), `${BENCH}Ping()`).then(() => order.push("ping"));
    expect(await slow).toEqual({});
    expect(order).toEqual(["get", "get", "get", "ping", "slow"]);
  });

  test.each([
    [{ Text: "ab" }, "ab"],
    [{ Text: "ab", Times: "1" }, "ab"],
    [{ Text: "ab", Times: "3" }, "ababab"],
    [{ Text: "ab", Times: "0" }, ""],
    [{ Text: "", Times: "7" }, ""],
  ])("Echo() of %j says %j", async (args, Text) => {
    expect(await run(admin(), `${BENCH}Echo()`, args as unknown as Record<string, string>)).toEqual({ Text });
  });

  test.each([
    [{}, 7027, "Text is missing"],
    [{ Text: "a", Times: "often" }, 7027, "Times"],
    [{ Text: "a", Times: "1001" }, 7027, "Times"],
    [{ Text: "a".repeat(1000), Times: "1000" }, 7022, "65536"],
  ])("Echo() of %j is refused", async (args, errCode, words) => {
    const error = await refusal(admin(), `${BENCH}Echo()`, args);
    expect(error).toEqual({ errCode, errMsg: expect.stringContaining(words) as string });
  });

  test("Wait() runs as a Request row and says when it is done", async () => {
    await subscribe(admin(), "OperationComplete", BENCH);
    await subscribe(admin(), "ObjectCreation", "Device.LocalAgent.Request.");
    await subscribe(admin(), "ObjectDeletion", "Device.LocalAgent.Request.");
    const content = await admin().ask(operation(`${BENCH}Wait()`, { Seconds: "1" }, { commandKey: "key 1" }));
    const path = /Device\.LocalAgent\.Request\.\d+\./.exec(print(content))?.[0] as string;
    expect(await read(admin(), path)).toMatchObject({
      Originator: "self::admin",
      Command: `${BENCH}Wait()`,
      CommandKey: "key 1",
      Status: "Active",
    });
    const done = await hears(admin(), `${BENCH}Wait()`);
    const waited = Number((/"Waited":"(\d+)"/.exec(done) as unknown as [string, string])[1]);
    expect(waited).toBeGreaterThanOrEqual(990);
    await hears(admin(), `-${path}`);
    expect(await value(admin(), `${path}Status`)).toBeUndefined();
    const complete = admin().notifies.find(({ notification }) => notification?.$case === "operComplete");
    expect(print(complete)).toContain(`"commandKey":"key 1"`);
  });

  test("Wait() that is cancelled ends with 7023", async () => {
    await subscribe(admin(), "OperationComplete", `${BENCH}Wait()`);
    const content = await admin().ask(operation(`${BENCH}Wait()`, { Seconds: "60" }));
    const path = /Device\.LocalAgent\.Request\.\d+\./.exec(print(content))?.[0] as string;
    await run(admin(), `${path}Cancel()`);
    expect(await hears(admin(), `${BENCH}Wait()`)).toContain(`"errCode":7023`);
    await until(() => gateway.tree.at(path) === undefined, "the row's end");
  });

  test("MakeOwn() and DropOwn() are the device's own doing, and told as such", async () => {
    await subscribe(admin(), "ObjectCreation", `${BENCH}Own.`);
    await subscribe(admin(), "ObjectDeletion", `${BENCH}Own.`);
    await subscribe(admin(), "ValueChange", `${BENCH}OwnNumberOfEntries`);
    const one = await run(admin(), `${BENCH}MakeOwn()`);
    const two = await run(admin(), `${BENCH}MakeOwn()`);
    expect([one["Path"], two["Path"]]).toEqual([`${BENCH}Own.1.`, `${BENCH}Own.2.`]);
    expect(await run(admin(), `${BENCH}DropOwn()`)).toEqual(two);
    await settle();
    expect(told(admin())).toEqual(expect.arrayContaining([`+${BENCH}Own.1.`, `+${BENCH}Own.2.`, `-${BENCH}Own.2.`]));
    const counts = told(admin()).filter((text) => text.startsWith(`${BENCH}OwnNumberOfEntries=`));
    expect(counts.at(-1)).toBe(`${BENCH}OwnNumberOfEntries=1`);
    expect((await tryAdd(admin(), `${BENCH}Own.`)).code).toBe(7019);
    expect((await tryDelete(admin(), `${BENCH}Own.1.`)).code).toBe(7024);
    await run(admin(), `${BENCH}DropOwn()`);
    expect(await refusal(admin(), `${BENCH}DropOwn()`)).toMatchObject({ errCode: 7022 });
  });

  test("Fire() sends Fired! with what it was told", async () => {
    await subscribe(admin(), "Event", `${BENCH}Fired!`);
    await run(admin(), `${BENCH}Fire()`, { Text: 'a "quoted", text' });
    expect(await hears(admin(), `${BENCH}Fired!`)).toBe(
      `${BENCH}Fired! ${JSON.stringify({ Text: 'a "quoted", text' })}`,
    );
  });

  test("are an Admin's: an operator reads, and runs and writes nothing", async () => {
    const operator = gateway.as("Operator");
    expect(await value(operator, `${BENCH}Row.1.P1`)).toBe("value 1 of row 1");
    expect(await refusal(operator, `${BENCH}Ping()`)).toMatchObject({ errCode: 7006 });
    expect((await trySet(operator, BENCH, { Mem: "x" })).code).toBe(7006);
    expect(print(await operator.ask(addOne(`${BENCH}Obj.`, { Name: "x" })))).toContain("7006");
  });
});
