import type { OperateResp_OperationResult } from "../../proto/generated/usp-msg.ts";
import { addRole, addRow, buildWorld, operation, settle, subscribe, until, type World } from "./support.ts";

let world: World;

beforeEach(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b"]) addRow(world.tree, "Device.House.Room.", { Name });
});
afterEach(() => world.stop());

function outline({ executedCommand, operationResp }: OperateResp_OperationResult) {
  switch (operationResp?.$case) {
    case "reqOutputArgs":
      return [executedCommand, Object.fromEntries(operationResp.value.outputArgs)];
    case "reqObjPath":
      return [executedCommand, operationResp.value];
    default:
      return [executedCommand, operationResp?.value.errCode];
  }
}

async function operate(request: Parameters<World["admin"]["response"]>[0], by = world.admin) {
  const { operationResults } = await by.response(request, "operateResp");
  return operationResults.map(outline);
}

describe("Operate, synchronous", () => {
  it("gives outputs, tables as Row.{i}., defaults for what is left out, and ignores unknown arguments", async () => {
    expect(await operate(operation("Device.House.Echo()", { Text: "ab", Nonsense: "1" }))).toEqual([
      ["Device.House.Echo()", { Text: "ab", Secret: "secret", "Row.1.N": "0" }],
    ]);
    expect(await operate(operation("Device.House.Echo()", { Text: "ab", Times: "2" }))).toEqual([
      ["Device.House.Echo()", { Text: "abab", Secret: "secret", "Row.1.N": "0", "Row.2.N": "1" }],
    ]);
  });

  it("keeps secured outputs from those who may not see them", async () => {
    const plain = world.peer("self::plain", addRole(world.tree, "Plain"));
    expect(await operate(operation("Device.House.Echo()", { Text: "x" }), plain)).toEqual([
      ["Device.House.Echo()", { Text: "x", Secret: "", "Row.1.N": "0" }],
    ]);
  });

  it.each<[Record<string, string>, number]>([
    [{}, 7027],
    [{ Text: "x", Times: "many" }, 7027],
  ])("answers arguments %j with cmd_failure %i (R-OPR.5)", async (args, code) => {
    expect(await operate(operation("Device.House.Echo()", args))).toEqual([["Device.House.Echo()", code]]);
  });

  it("runs on every object that the path names, with one result each", async () => {
    expect(await operate(operation("Device.House.Room.*.Open()"))).toEqual([
      ["Device.House.Room.1.Open()", {}],
      ["Device.House.Room.2.Open()", {}],
    ]);
    expect(await operate(operation("Device.House.Room.[Floor==9].Open()"))).toEqual([]);
    expect(await world.admin.get("Device.House.Room.*.Opened")).toEqual({
      "Device.House.Room.1.Opened": "1",
      "Device.House.Room.2.Opened": "1",
    });
  });

  it("makes a missing right a cmd_failure, of that object alone (R-OPR.1)", async () => {
    const role = addRole(world.tree, "One", [
      { Targets: "Device.House.", Obj: "r---", CommandEvent: "r-x-" },
      { Targets: "Device.House.Room.2.", Obj: "r---", CommandEvent: "r---" },
    ]);
    const one = world.peer("self::one", role);
    expect(await operate(operation("Device.House.Room.*.Open()"), one)).toEqual([
      ["Device.House.Room.1.Open()", {}],
      ["Device.House.Room.2.Open()", 7006],
    ]);
  });

  it("answers a bug of ours with 7003 and lives on", async () => {
    expect(await operate(operation("Device.House.Break()"))).toEqual([["Device.House.Break()", 7003]]);
    expect(await operate(operation("Device.House.Ping()"))).toEqual([["Device.House.Ping()", {}]]);
  });

  it.each<[string, number]>([
    ["Device.House.Nothing()", 7026],
    ["Device.Nothing.Ping()", 7026],
    ["Device.House.Room.Open()", 7026],
    ["Device.House.Room.9.Open()", 7016],
    ["Device.House.Size", 7026],
    ["Device.House.Room.[.Open()", 7008],
  ])("answers %s with Error %i", async (path, code) => {
    expect((await world.admin.error(operation(path))).errCode).toBe(code);
  });

  it("does not keep others waiting while a command takes its time", async () => {
    const order: string[] = [];
    const slow = operate(operation("Device.House.Slow()", { Ms: "60" })).then(() => order.push("slow"));
    await operate(operation("Device.House.Ping()")).then(() => order.push("ping"));
    await slow;
    expect(order).toEqual(["ping", "slow"]);
  });

  it("says nothing where no answer is wanted (R-OPR.4)", async () => {
    const before = world.admin.records.length;
    void world.admin.ask(operation("Device.House.Room.1.Open()", {}, { sendResp: false }));
    await settle();
    expect(world.admin.records).toHaveLength(before);
    expect(await world.admin.get("Device.House.Room.1.Opened")).toEqual({ "Device.House.Room.1.Opened": "1" });
  });
});

describe("Operate, asynchronous", () => {
  it("makes a Request row, then OperationComplete, then the row goes, in that order", async () => {
    await subscribe(world.admin, "OperationComplete", "Device.House.Wait()");
    await subscribe(world.admin, "ObjectCreation", "Device.LocalAgent.Request.");
    await subscribe(world.admin, "ObjectDeletion", "Device.LocalAgent.Request.");
    const before = world.admin.records.length;
    const request = operation("Device.House.Wait()", { Ms: "20" }, { commandKey: "key" });
    expect(await operate(request)).toEqual([["Device.House.Wait()", "Device.LocalAgent.Request.1."]]);
    expect(await world.admin.get("Device.LocalAgent.Request.1.")).toMatchObject({
      "Device.LocalAgent.Request.1.Originator": "self::admin",
      "Device.LocalAgent.Request.1.Command": "Device.House.Wait()",
      "Device.LocalAgent.Request.1.CommandKey": "key",
      "Device.LocalAgent.Request.1.Status": "Active",
    });
    await until(() => world.admin.notifies.length === 3);
    expect(world.admin.notifies.map(({ notification }) => notification?.$case)).toEqual([
      "objCreation",
      "operComplete",
      "objDeletion",
    ]);
    expect(world.admin.notifies[1]?.notification?.value).toEqual({
      objPath: "Device.House.",
      commandName: "Wait()",
      commandKey: "key",
      operationResp: { $case: "reqOutputArgs", value: { outputArgs: new Map([["Waited", "20"]]) } },
    });
    expect(world.admin.records.length).toBeGreaterThan(before);
    expect(await world.admin.get("Device.LocalAgent.Request.")).toEqual({});
  });

  it("tells a failure with the command's own code", async () => {
    await subscribe(world.admin, "OperationComplete", "Device.House.");
    await operate(operation("Device.House.Wait()", { Fail: "true" }));
    await until(() => world.admin.notifies.length === 1);
    expect(world.admin.notifies[0]?.notification?.value).toMatchObject({
      operationResp: { $case: "cmdFailure", value: { errCode: 7801, errMsg: "it failed" } },
    });
  });

  it("ends by Cancel() with 7023, and only so", async () => {
    await subscribe(world.admin, "OperationComplete", "Device.House.Wait()");
    await operate(operation("Device.House.Wait()", { Ms: "60000" }));
    expect(await operate(operation("Device.LocalAgent.Request.1.Cancel()"))).toEqual([
      ["Device.LocalAgent.Request.1.Cancel()", {}],
    ]);
    await until(() => world.admin.notifies.length === 1);
    expect(world.admin.notifies[0]?.notification?.value).toMatchObject({
      operationResp: { $case: "cmdFailure", value: { errCode: 7023 } },
    });
    await until(() => world.requests.size === 0);
  });

  it("refuses the same command with the same key while it runs, and takes it with another", async () => {
    const wait = (commandKey: string) => operation("Device.House.Wait()", { Ms: "60000" }, { commandKey });
    expect((await operate(wait("a")))[0]?.[1]).toBe("Device.LocalAgent.Request.1.");
    expect((await operate(wait("a")))[0]?.[1]).toBe(7005);
    expect((await operate(wait("b")))[0]?.[1]).toBe("Device.LocalAgent.Request.2.");
  });

  it("still starts where no answer is wanted", async () => {
    await subscribe(world.admin, "OperationComplete", "Device.House.Wait()");
    void world.admin.ask(operation("Device.House.Wait()", { Ms: "1" }, { sendResp: false, commandKey: "quiet" }));
    await until(() => world.admin.notifies.length === 1);
    expect(world.admin.notifies[0]?.notification?.value).toMatchObject({ commandKey: "quiet" });
  });
});
