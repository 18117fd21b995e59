import type { GetSupportedDM } from "../../proto/generated/usp-msg.ts";
import type { RequestType } from "../../src/usp/codec.ts";
import { addRole, addRow, buildWorld, type World } from "./support.ts";

let world: World;

beforeAll(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b"]) addRow(world.tree, "Device.House.Room.", { Name, Secret: `s${Name}` });
  addRow(world.tree, "Device.House.Room.1.Chair.");
});
afterAll(() => world.stop());

const gsdm = (objPaths: string[], flags: Partial<GetSupportedDM> = {}): RequestType => ({
  $case: "getSupportedDm",
  value: {
    objPaths,
    firstLevelOnly: false,
    returnCommands: true,
    returnEvents: true,
    returnParams: true,
    returnUniqueKeySets: true,
    ...flags,
  },
});

async function ofOne(path: string, flags: Partial<GetSupportedDM> = {}, by = world.admin) {
  const { reqObjResults } = await by.response(gsdm([path], flags), "getSupportedDmResp");
  return reqObjResults[0]!;
}

describe("GetSupportedDM", () => {
  it("describes everything of an object and below", async () => {
    const { supportedObjs, errCode, dataModelInstUri } = await ofOne("Device.House.Room.");
    expect(errCode).toBe(0);
    expect(dataModelInstUri).toMatch(/^urn:/);
    expect(supportedObjs.map(({ supportedObjPath }) => supportedObjPath)).toEqual([
      "Device.House.Room.{i}.",
      "Device.House.Room.{i}.Chair.{i}.",
      "Device.House.Room.{i}.Lamp.",
    ]);
    const [room] = supportedObjs;
    expect(room).toMatchObject({ access: 1, isMultiInstance: true, divergentPaths: [] });
    expect(room?.uniqueKeySets).toEqual([{ keyNames: ["Name"] }, { keyNames: ["Alias"] }]);
    expect(room?.supportedCommands).toEqual([
      { commandName: "Open()", inputArgNames: [], outputArgNames: [], commandType: 1 },
    ]);
    expect(room?.supportedEvents).toEqual([{ eventName: "Opened!", argNames: [] }]);
    const param = (name: string) => room?.supportedParams.find(({ paramName }) => paramName === name);
    expect(param("Alias")).toEqual({ paramName: "Alias", access: 1, valueType: 8, valueChange: 1 });
    expect(param("Warm")).toEqual({ paramName: "Warm", access: 1, valueType: 2, valueChange: 1 });
    expect(param("Opened")).toEqual({ paramName: "Opened", access: 0, valueType: 10, valueChange: 2 });
    expect(param("ChairNumberOfEntries")).toEqual({
      paramName: "ChairNumberOfEntries",
      access: 0,
      valueType: 9,
      valueChange: 1,
    });
  });

  it("never says UNKNOWN, of anything in the model", async () => {
    const { supportedObjs } = await ofOne("Device.");
    expect(supportedObjs.length).toBeGreaterThan(15);
    for (const { supportedParams, supportedCommands } of supportedObjs) {
      for (const { valueType, valueChange } of supportedParams) expect([valueType, valueChange]).not.toContain(0);
      for (const { commandType } of supportedCommands) expect(commandType).not.toBe(0);
    }
  });

  it.each(["Device.House.Room.{i}.", "Device.House.Room.", "Device.House.Room.7.", "Device.House.Room.*."])(
    "takes %s for the same object",
    async (path) => {
      expect((await ofOne(path)).supportedObjs[0]?.supportedObjPath).toBe("Device.House.Room.{i}.");
    },
  );

  it("lists children bare at the first level", async () => {
    const { supportedObjs } = await ofOne("Device.House.", { firstLevelOnly: true });
    expect(
      supportedObjs.map(({ supportedObjPath, supportedParams }) => [supportedObjPath, supportedParams.length > 0]),
    ).toEqual([
      ["Device.House.", true],
      ["Device.House.Cat.{i}.", false],
      ["Device.House.Garden.", false],
      ["Device.House.Room.{i}.", false],
    ]);
  });

  it("leaves out what the flags do not ask for", async () => {
    const flags = { returnParams: false, returnCommands: false, returnEvents: false, returnUniqueKeySets: false };
    const [house] = (await ofOne("Device.House.", flags)).supportedObjs;
    expect(house).toMatchObject({ supportedParams: [], supportedCommands: [], supportedEvents: [], uniqueKeySets: [] });
  });

  it.each<[string, string]>([
    ["Device.House.Room.{i}.Warm", "supportedParams"],
    ["Device.House.Echo()", "supportedCommands"],
    ["Device.House.Rang!", "supportedEvents"],
  ])("describes %s alone, whatever the flags", async (path, kind) => {
    const flags = { returnParams: false, returnCommands: false, returnEvents: false };
    const { supportedObjs } = await ofOne(path, flags);
    expect(supportedObjs).toHaveLength(1);
    expect(supportedObjs[0]?.[kind as "supportedParams"]).toHaveLength(1);
  });

  it("names arguments, those of output tables too", async () => {
    const { supportedObjs } = await ofOne("Device.House.Echo()");
    expect(supportedObjs[0]?.supportedCommands[0]).toEqual({
      commandName: "Echo()",
      inputArgNames: ["Text", "Times"],
      outputArgNames: ["Text", "Secret", "Row.{i}.N"],
      commandType: 1,
    });
    expect((await ofOne("Device.House.Wait()")).supportedObjs[0]?.supportedCommands[0]?.commandType).toBe(2);
  });

  it.each<[string, number]>([
    ["Device.Nothing.", 7026],
    ["Device.House.Nothing", 7026],
    ["Device.House.Room.Warm", 7026],
    ["Device.House.Ro-om.", 7008],
  ])("answers %s with %i in the result", async (path, code) => {
    const { reqObjResults } = await world.admin.response(gsdm([path, "Device.House."]), "getSupportedDmResp");
    expect(reqObjResults.map(({ errCode }) => errCode)).toEqual([code, 0]);
  });

  it("shows what the roles may read, and changes with them", async () => {
    const role = addRole(world.tree, "Narrow", [
      { Targets: "Device.House.Room.", Param: "r---", Obj: "r---", CommandEvent: "----" },
      { Targets: "Device.House.Room.{i}.Floor", Param: "----" },
    ]);
    const narrow = world.peer("self::narrow", role);
    const { supportedObjs } = await ofOne("Device.House.Room.", {}, narrow);
    expect(supportedObjs[0]?.supportedParams.map(({ paramName }) => paramName)).not.toContain("Floor");
    expect(supportedObjs[0]?.supportedCommands).toEqual([]);
    expect((await ofOne("Device.LocalAgent.", {}, narrow)).errCode).toBe(7026);
    addRow(world.tree, `${role}.Permission.`, {
      Enable: "true",
      Order: "9",
      Targets: "Device.LocalAgent.",
      Obj: "r---",
    });
    expect((await ofOne("Device.LocalAgent.", {}, narrow)).errCode).toBe(0);
  });
});

describe("GetInstances", () => {
  const instances = (objPaths: string[], firstLevelOnly = false): RequestType => ({
    $case: "getInstances",
    value: { objPaths, firstLevelOnly },
  });
  async function of(path: string, firstLevelOnly = false, by = world.admin) {
    const { reqPathResults } = await by.response(instances([path], firstLevelOnly), "getInstancesResp");
    const { errCode, currInsts } = reqPathResults[0]!;
    return errCode !== 0
      ? errCode
      : currInsts.map(({ instantiatedObjPath, uniqueKeys }) => [instantiatedObjPath, Object.fromEntries(uniqueKeys)]);
  }
  const a = ["Device.House.Room.1.", { Name: "a", Alias: "cpe-1" }];
  const b = ["Device.House.Room.2.", { Name: "b", Alias: "cpe-2" }];
  const chair = ["Device.House.Room.1.Chair.1.", {}];

  it.each<[string, boolean, unknown]>([
    ["Device.House.Room.", true, [a, b]],
    ["Device.House.Room.", false, [a, chair, b]],
    ["Device.House.", true, [a, b]],
    ["Device.House.Room.1.", false, [chair]],
    ["Device.House.Room.*.Chair.", false, [chair]],
    ['Device.House.Room.[Name=="b"].Chair.', false, []],
    ["Device.House.Cat.", false, []],
    ["Device.House.Garden.", false, 7018],
    ["Device.House.Room.9.Chair.", false, 7016],
    ["Device.Nothing.", false, 7026],
    ["Device.House.Size", false, 7026],
    ["Device.House.Room.[.", false, 7008],
  ])("answers %s (first level only: %s)", async (path, firstLevelOnly, expected) => {
    expect(await of(path, firstLevelOnly)).toEqual(expected);
  });

  it("hides rows and keys that may not be read, and never searches by them", async () => {
    const role = addRole(world.tree, "Few", [
      { Targets: "Device.House.", Param: "r---", Obj: "r---", InstantiatedObj: "r---" },
      { Targets: "Device.House.Room.1.", Param: "r---", Obj: "r---", InstantiatedObj: "----" },
      { Targets: "Device.House.Room.{i}.Alias", Param: "----" },
    ]);
    const few = world.peer("self::few", role);
    expect(await of("Device.House.Room.", true, few)).toEqual([["Device.House.Room.2.", { Name: "b" }]]);
    expect(await of('Device.House.Room.[Alias=="cpe-2"].Chair.', true, few)).toEqual([]);
    expect(await of('Device.House.Room.[Secret=="sb"].', true, few)).toEqual([]);
    expect(await of("Device.LocalAgent.Controller.", true, few)).toEqual([]);
  });
});

describe("GetSupportedProtocol", () => {
  it("lists the versions spoken", async () => {
    const request: RequestType = {
      $case: "getSupportedProtocol",
      value: { controllerSupportedProtocolVersions: "1.0,1.3" },
    };
    const { agentSupportedProtocolVersions } = await world.admin.response(request, "getSupportedProtocolResp");
    expect(agentSupportedProtocolVersions).toBe("1.0,1.1,1.2,1.3,1.4");
  });
});

describe("requests that an agent does not serve", () => {
  it.each<RequestType>([
    { $case: "register", value: { allowPartial: false, regPaths: [{ path: "Device.X_Y." }] } },
    { $case: "deregister", value: { paths: [] } },
    {
      $case: "notify",
      value: {
        subscriptionId: "x",
        sendResp: true,
        notification: { $case: "objDeletion", value: { objPath: "Device.X.1." } },
      },
    },
  ])("answers $$case with 7001", async (request) => {
    expect((await world.admin.error(request)).errCode).toBe(7001);
  });
});
