import type { SetResp_UpdatedObjectResult } from "../../proto/generated/usp-msg.ts";
import { addRole, addRow, buildWorld, setMany, setOne, type World } from "./support.ts";

let world: World;

beforeEach(async () => {
  world = await buildWorld();
  addRow(world.tree, "Device.House.Room.", { Name: "hall", Floor: "0", Fixed: "f" });
  addRow(world.tree, "Device.House.Room.", { Name: "attic", Floor: "2" });
});
afterEach(() => world.stop());

const text = (path: string) => {
  const at = path.lastIndexOf(".") + 1;
  return world.tree.text(world.tree.at(path.slice(0, at))!, path.slice(at));
};

/** What was updated, or the failure's code, of each requested path. */
function outline({ operStatus }: SetResp_UpdatedObjectResult) {
  const status = operStatus?.operStatus;
  if (status?.$case === "operFailure") return status.value.errCode;
  return status?.value.updatedInstResults.map(({ affectedPath, updatedParams, paramErrs }) => ({
    [affectedPath]: {
      ...Object.fromEntries(updatedParams),
      ...Object.fromEntries(paramErrs.map((e) => [e.param, e.errCode])),
    },
  }));
}

async function set(request: Parameters<World["admin"]["response"]>[0], by = world.admin) {
  const { updatedObjResults } = await by.response(request, "setResp");
  return updatedObjResults.map(outline);
}

describe("Set", () => {
  it("says what was written, unchanged values too", async () => {
    expect(await set(setOne("Device.House.Room.1.", { Name: "hall", Warm: "1" }))).toEqual([
      [{ "Device.House.Room.1.": { Name: "hall", Warm: "true" } }],
    ]);
    expect(text("Device.House.Room.1.Warm")).toBe("true");
  });

  it("reaches into single-instance children", async () => {
    expect(await set(setOne("Device.House.Room.1.", { "Lamp.Colour": "red" }))).toEqual([
      [{ "Device.House.Room.1.": { "Lamp.Colour": "red" } }],
    ]);
    expect(text("Device.House.Room.1.Lamp.Colour")).toBe("red");
  });

  it("writes all rows that a search names", async () => {
    expect(await set(setOne("Device.House.Room.[Floor>=0].", { Warm: "true" }))).toEqual([
      [{ "Device.House.Room.1.": { Warm: "true" } }, { "Device.House.Room.2.": { Warm: "true" } }],
    ]);
  });

  it("succeeds with nothing where a search names nothing", async () => {
    expect(await set(setOne("Device.House.Room.[Floor==8].", { Warm: "true" }))).toEqual([[]]);
  });

  it.each<[string, string, string, number]>([
    ["Device.House.Room.1.", "Nothing", "1", 7010],
    ["Device.House.Room.1.", "Floor", "high", 7011],
    ["Device.House.Room.1.", "Floor", "10", 7012],
    ["Device.House.Room.1.", "Opened", "1", 7013],
    ["Device.House.Room.1.", "Fixed", "other", 7013],
    ["Device.House.Room.1.", "Alias", "other", 7013],
    ["Device.House.Room.1.", "Beside", "Device.House.Room.7", 7012],
  ])("fails for %s%s = %s with 7021 when it is required, and names it with %s %i", async (path, param, value, code) => {
    const { errCode, paramErrs } = await world.admin.error(setOne(path, { [param]: value, Warm: "true" }));
    expect(errCode).toBe(7021);
    expect(paramErrs).toEqual([expect.objectContaining({ paramPath: `${path}${param}`, errCode: code })]);
    expect(text("Device.House.Room.1.Warm")).toBe("false");
    // Not required: the rest is written, and the parameter's own error told.
    expect(await set(setOne(path, { [param]: value, Warm: "true" }, { required: false }))).toEqual([
      [{ [path]: { [param]: code, Warm: "true" } }],
    ]);
  });

  it.each<[string, number]>([
    ["Device.House.Room.9.", 7016],
    ["Device.House.Room.", 7016],
    ["Device.Nothing.", 7026],
    ["Device.House.Size", 7026],
    ["Device.House.Room.[x].", 7008],
  ])("answers %s with %i", async (path, code) => {
    expect((await world.admin.error(setOne(path, { Warm: "1" }))).errCode).toBe(code);
    expect(await set(setOne(path, { Warm: "1" }, { allowPartial: true }))).toEqual([code]);
  });

  it("changes nothing at all when one object fails and allow_partial is false", async () => {
    const request = setMany([
      { objPath: "Device.House.Room.1.", params: { Warm: "true" } },
      { objPath: "Device.House.Room.2.", params: { Floor: "99" } },
    ]);
    expect((await world.admin.error(request)).errCode).toBe(7021);
    expect(text("Device.House.Room.1.Warm")).toBe("false");
  });

  it("lets each object succeed or fail alone when allow_partial is true", async () => {
    const updates = [
      { objPath: "Device.House.Room.1.", params: { Warm: "true" } },
      { objPath: "Device.House.Room.2.", params: { Floor: "99" } },
      { objPath: "Device.House.Room.2.", params: { Warm: "true" } },
    ];
    expect(await set(setMany(updates, { allowPartial: true }))).toEqual([
      [{ "Device.House.Room.1.": { Warm: "true" } }],
      7021,
      [{ "Device.House.Room.2.": { Warm: "true" } }],
    ]);
  });

  it("writes all rows of one search path or none, allow_partial or not (R-SET.2a)", async () => {
    world.tree.object("Device.House.Room.")!;
    addRow(world.tree, "Device.House.Room.", { Name: "cellar" });
    const role = addRole(world.tree, "AllButOne", [
      { Targets: "Device.", Param: "rw-n", Obj: "rw-n" },
      { Targets: "Device.House.Room.2.", Param: "r---", Obj: "r---" },
    ]);
    const other = world.peer("self::other", role);
    const { updatedObjResults } = await other.response(
      setOne("Device.House.Room.*.", { Warm: "true" }, { allowPartial: true }),
      "setResp",
    );
    const status = updatedObjResults[0]?.operStatus?.operStatus;
    expect(status).toMatchObject({
      $case: "operFailure",
      value: {
        errCode: 7021,
        updatedInstFailures: [{ affectedPath: "Device.House.Room.2.", paramErrs: [{ param: "Warm", errCode: 7006 }] }],
      },
    });
    expect(text("Device.House.Room.1.Warm")).toBe("false");
    expect(text("Device.House.Room.3.Warm")).toBe("false");
  });

  it("judges unique keys when the Message is whole, so that keys can be swapped", async () => {
    const swap = [
      { objPath: "Device.House.Room.1.", params: { Name: "attic" } },
      { objPath: "Device.House.Room.2.", params: { Name: "hall" } },
    ];
    for (const allowPartial of [false, true]) {
      await world.admin.response(setMany(swap, { allowPartial }), "setResp");
      swap.reverse();
    }
    const clash = setOne("Device.House.Room.1.", { Name: text("Device.House.Room.2.Name") ?? "" });
    const { errCode, paramErrs } = await world.admin.error(clash);
    expect(errCode).toBe(7025);
    expect(paramErrs).toEqual([expect.objectContaining({ paramPath: "Device.House.Room.1.Name", errCode: 7025 })]);
  });

  it("with allow_partial keeps the part that does not clash", async () => {
    const updates = [
      { objPath: "Device.House.Room.1.", params: { Warm: "true" } },
      { objPath: "Device.House.Room.2.", params: { Name: "hall" } },
    ];
    expect(await set(setMany(updates, { allowPartial: true }))).toEqual([
      [{ "Device.House.Room.1.": { Warm: "true" } }],
      7025,
    ]);
    expect(text("Device.House.Room.1.Warm")).toBe("true");
    expect(text("Device.House.Room.2.Name")).toBe("attic");
  });

  it("tells a row that makes no sense as a whole with its own code", async () => {
    const { errCode, paramErrs } = await world.admin.error(setOne("Device.House.Room.1.", { Name: "hell" }));
    expect(errCode).toBe(7014);
    expect(paramErrs).toEqual([expect.objectContaining({ paramPath: "Device.House.Room.1.Name", errCode: 7014 })]);
  });

  it("takes references by key and reads them by number (R-ARC.11)", async () => {
    expect(await set(setOne("Device.House.Room.1.", { Beside: 'Device.House.Room.[Name=="attic"].' }))).toEqual([
      [{ "Device.House.Room.1.": { Beside: "Device.House.Room.2" } }],
    ]);
  });

  it("leaves what may not be read out of updated_params, and writes what may be written (R-SET.3)", async () => {
    const role = addRole(world.tree, "Writer", [
      { Targets: "Device.", Param: "rw--", Obj: "r---" },
      { Targets: "Device.House.Room.{i}.Warm", Param: "-w--" },
    ]);
    const writer = world.peer("self::writer", role);
    expect(await set(setOne("Device.House.Room.1.", { Warm: "true", Floor: "3" }), writer)).toEqual([
      [{ "Device.House.Room.1.": { Floor: "3" } }],
    ]);
    expect(text("Device.House.Room.1.Warm")).toBe("true");
  });

  it("answers 7006 without the right to write, 7026 without the right to see", async () => {
    const reader = world.peer(
      "self::reader",
      addRole(world.tree, "R", [{ Targets: "Device.House.Room.", Param: "r---", Obj: "r---" }]),
    );
    expect((await reader.error(setOne("Device.House.Room.1.", { Warm: "1" }))).paramErrs[0]?.errCode).toBe(7006);
    expect((await reader.error(setOne("Device.LocalAgent.Controller.1.", { Enable: "0" }))).errCode).toBe(7026);
  });

  it("does not tell secured values back", async () => {
    const plain = world.peer("self::plain", addRole(world.tree, "Plain"));
    expect(await set(setOne("Device.House.", { Pin: "9", Key: "k" }), plain)).toEqual([
      [{ "Device.House.": { Pin: "", Key: "" } }],
    ]);
    expect(text("Device.House.Pin")).toBe("9");
  });
});
