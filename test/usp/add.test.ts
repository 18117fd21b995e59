import type { AddResp_CreatedObjectResult } from "../../proto/generated/usp-msg.ts";
import { addMany, addOne, addRole, addRow, buildWorld, type World } from "./support.ts";

let world: World;

beforeEach(async () => {
  world = await buildWorld();
  addRow(world.tree, "Device.House.Room.", { Name: "hall" });
  addRow(world.tree, "Device.House.Room.", { Name: "attic", Floor: "2" });
});
afterEach(() => world.stop());

function outline({ operStatus }: AddResp_CreatedObjectResult) {
  const status = operStatus?.operStatus;
  if (status?.$case !== "operSuccess") return status?.value.errCode;
  const { instantiatedPath, paramErrs, uniqueKeys } = status.value;
  return [instantiatedPath, Object.fromEntries(uniqueKeys), paramErrs.map(({ param, errCode }) => [param, errCode])];
}

async function add(request: Parameters<World["admin"]["response"]>[0], by = world.admin) {
  const { createdObjResults } = await by.response(request, "addResp");
  return createdObjResults.map(outline);
}

const rooms = () =>
  [...world.tree.rows(world.tree.at("Device.House.")!, world.tree.object("Device.House.Room.")!)].length;

describe("Add", () => {
  it("gives the row, its keys and those that it made itself (R-ADD.5)", async () => {
    expect(await add(addOne("Device.House.Room.", { Name: "cellar", Alias: "deep" }))).toEqual([
      ["Device.House.Room.3.", { Name: "cellar", Alias: "deep" }, []],
    ]);
    expect(await add(addOne("Device.House.Room."))).toEqual([
      ["Device.House.Room.4.", { Name: "cpe-4", Alias: "cpe-4" }, []],
    ]);
  });

  it("fills a number that is a key with one that is free", async () => {
    const path = `${world.roleAdmin}.Permission.`;
    expect(await add(addOne(path))).toEqual([[`${path}2.`, { Order: "0", Alias: "cpe-2" }, []]]);
    expect(await add(addOne(path))).toEqual([[`${path}3.`, { Order: "2", Alias: "cpe-3" }, []]]);
  });

  it("sets parameters of single-instance children", async () => {
    await add(addOne("Device.House.Room.", { "Lamp.Colour": "red" }));
    expect(await world.admin.get("Device.House.Room.3.Lamp.Colour")).toEqual({
      "Device.House.Room.3.Lamp.Colour": "red",
    });
  });

  it("takes key-addressed and searched parents, one result a row", async () => {
    expect(await add(addOne('Device.House.Room.[Name=="attic"].Chair.', { Legs: "3" }))).toEqual([
      ["Device.House.Room.2.Chair.1.", {}, []],
    ]);
    expect(await add(addOne("Device.House.Room.*.Chair."))).toEqual([
      ["Device.House.Room.1.Chair.1.", {}, []],
      ["Device.House.Room.2.Chair.2.", {}, []],
    ]);
    expect(await add(addOne("Device.House.Room.[Floor==8].Chair."))).toEqual([]);
  });

  it("makes a writable-once parameter count as set", async () => {
    await add(addOne("Device.House.Room.", { Fixed: "f" }));
    expect(await world.admin.get("Device.House.Room.3.Fixed")).toEqual({ "Device.House.Room.3.Fixed": "f" });
  });

  it("tells the errors of parameters that are not required, and makes the row", async () => {
    expect(
      await add(
        addOne("Device.House.Room.", { Floor: "99", Opened: "1", Nothing: "1", Warm: "true" }, { required: false }),
      ),
    ).toEqual([
      [
        "Device.House.Room.3.",
        { Name: "cpe-3", Alias: "cpe-3" },
        [
          ["Floor", 7012],
          ["Opened", 7013],
          ["Nothing", 7010],
        ],
      ],
    ]);
    expect(await world.admin.get("Device.House.Room.3.Floor")).toEqual({ "Device.House.Room.3.Floor": "0" });
  });

  it.each([
    ["Floor", "99", 7012],
    ["Warm", "hot", 7011],
    ["Nothing", "1", 7010],
    ["Opened", "1", 7013],
  ])("fails for required %s = %s with 7021 and the full path with %i", async (param, value, code) => {
    const { errCode, paramErrs } = await world.admin.error(addOne("Device.House.Room.", { [param]: value }));
    expect(errCode).toBe(7021);
    expect(paramErrs).toEqual([
      {
        paramPath: expect.stringMatching(new RegExp(`^Device\\.House\\.Room\\.\\d+\\.${param}$`)) as string,
        errCode: code,
        errMsg: expect.any(String) as string,
      },
    ]);
    expect(rooms()).toBe(2);
  });

  it("takes unique keys as required whatever the Message says", async () => {
    const request = addOne("Device.House.Room.", { Name: "much too long" }, { required: false });
    expect((await world.admin.error(request)).errCode).toBe(7021);
  });

  it.each<[string, number]>([
    ["Device.House.", 7018],
    ["Device.House.Room.1.", 7018],
    ["Device.House.Cat.", 7019],
    ["Device.LocalAgent.Request.", 7019],
    ["Device.House.Room.9.Chair.", 7016],
    ["Device.Nothing.", 7026],
    ["Device.House.Size", 7026],
    ["Device.House.Room.[x].Chair.", 7008],
  ])("answers %s with %i", async (path, code) => {
    expect((await world.admin.error(addOne(path))).errCode).toBe(code);
    expect(await add(addOne(path, {}, { allowPartial: true }))).toEqual([code]);
  });

  it("refuses an alias that is none and a key that is taken", async () => {
    for (const alias of ["", "1st", "x".repeat(65)])
      expect((await world.admin.error(addOne("Device.House.Room.", { Alias: alias }))).errCode).toBe(7021);
    expect((await world.admin.error(addOne("Device.House.Room.", { Name: "hall" }))).errCode).toBe(7025);
    expect(await add(addOne("Device.House.Room.", { Name: "hall" }, { allowPartial: true }))).toEqual([7025]);
    expect(rooms()).toBe(2);
  });

  it("makes all or none without allow_partial, each alone with it", async () => {
    const creations = [
      { objPath: "Device.House.Room.", params: { Name: "a" } },
      { objPath: "Device.House.Room.", params: { Name: "hall" } },
    ];
    expect((await world.admin.error(addMany(creations))).errCode).toBe(7025);
    expect(rooms()).toBe(2);
    const results = await add(addMany(creations, { allowPartial: true }));
    expect(results[0]).toEqual([expect.any(String), { Name: "a", Alias: expect.any(String) as string }, []]);
    expect(results[1]).toBe(7025);
    expect(rooms()).toBe(3);
  });

  it("lets a later object of the Message refer to a row that an earlier one made", async () => {
    const results = await add(
      addMany([
        { objPath: "Device.House.Room.", params: { Name: "new" } },
        { objPath: "Device.House.Room.", params: { Beside: 'Device.House.Room.[Name=="new"].' } },
      ]),
    );
    expect(results).toHaveLength(2);
    expect(await world.admin.get("Device.House.Room.4.Beside")).toEqual({
      "Device.House.Room.4.Beside": "Device.House.Room.3",
    });
  });

  it("never gives a number twice", async () => {
    await add(addOne("Device.House.Room."));
    await world.admin.response(
      { $case: "delete", value: { allowPartial: false, objPaths: ["Device.House.Room.3."] } },
      "deleteResp",
    );
    expect((await add(addOne("Device.House.Room.")))[0]).toContain("Device.House.Room.4.");
  });

  it("answers 7005 when a table is full", async () => {
    for (let i = 0; i < 15; i++) addRow(world.tree, "Device.MQTT.Client.");
    expect(await add(addOne("Device.MQTT.Client.", {}, { allowPartial: true }))).toHaveLength(1);
    expect((await world.admin.error(addOne("Device.MQTT.Client."))).errCode).toBe(7005);
  });

  it("answers 7006 without the right to add, and tells only readable keys", async () => {
    const role = addRole(world.tree, "Half", [
      { Targets: "Device.House.", Param: "rw--", Obj: "rw--" },
      { Targets: "Device.House.Room.{i}.Alias", Param: "----" },
      { Targets: "Device.House.Room.{i}.Chair.", Param: "rw--", Obj: "r---" },
    ]);
    const half = world.peer("self::half", role);
    expect(await add(addOne("Device.House.Room.", { Name: "x" }), half)).toEqual([
      ["Device.House.Room.3.", { Name: "x" }, []],
    ]);
    expect((await half.error(addOne("Device.House.Room.1.Chair."))).errCode).toBe(7006);
    expect((await half.error(addOne("Device.LocalAgent.Subscription."))).errCode).toBe(7026);
  });
});
