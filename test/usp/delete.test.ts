import type { DeleteResp_DeletedObjectResult } from "../../proto/generated/usp-msg.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { NO_POLICY } from "../../src/usp/policy.ts";
import { addRole, addRow, buildWorld, deletion, type World } from "./support.ts";

let world: World;

beforeEach(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b", "c"]) addRow(world.tree, "Device.House.Room.", { Name });
  addRow(world.tree, "Device.House.Room.1.Chair.");
});
afterEach(() => world.stop());

function outline({ operStatus }: DeleteResp_DeletedObjectResult) {
  const status = operStatus?.operStatus;
  if (status?.$case !== "operSuccess") return status?.value.errCode;
  const { affectedPaths, unaffectedPathErrs } = status.value;
  return unaffectedPathErrs.length === 0
    ? affectedPaths
    : [affectedPaths, unaffectedPathErrs.map(({ unaffectedPath, errCode }) => [unaffectedPath, errCode])];
}

async function remove(paths: string[], allowPartial = false, by = world.admin) {
  const { deletedObjResults } = await by.response(deletion(paths, allowPartial), "deleteResp");
  return deletedObjResults.map(outline);
}

describe("Delete", () => {
  it.each<[string, string[]]>([
    ["Device.House.Room.1.", ["Device.House.Room.1."]],
    ['Device.House.Room.[Name=="b"].', ["Device.House.Room.2."]],
    ["Device.House.Room.*.", ["Device.House.Room.1.", "Device.House.Room.2.", "Device.House.Room.3."]],
    ["Device.House.Room.[Warm==true].", []],
    ["Device.House.Room.9.", []],
  ])("removes what %s names", async (path, expected) => {
    expect(await remove([path])).toEqual([expected]);
    for (const gone of expected) expect(world.tree.at(gone)).toBeUndefined();
  });

  it("counts a row once when two paths name it", async () => {
    expect(await remove(["Device.House.Room.1.", "Device.House.Room.*."])).toEqual([
      ["Device.House.Room.1."],
      ["Device.House.Room.2.", "Device.House.Room.3."],
    ]);
  });

  it.each<[string, number]>([
    ["Device.House.", 7018],
    ["Device.House.Room.", 7016],
    ["Device.House.Room.1.Name", 7026],
    ["Device.Nothing.1.", 7026],
    ["Device.House.Room.[.", 7008],
  ])("answers %s with %i, whole or in part", async (path, code) => {
    expect((await world.admin.error(deletion([path]))).errCode).toBe(code);
    expect(await remove([path, "Device.House.Room.3."], true)).toEqual([code, ["Device.House.Room.3."]]);
  });

  it("removes nothing when one path fails and allow_partial is false, and names the row at fault", async () => {
    const role = addRole(world.tree, "Some", [
      { Targets: "Device.House.", Obj: "r---", InstantiatedObj: "rw--" },
      { Targets: "Device.House.Room.2.", Obj: "r---", InstantiatedObj: "r---" },
    ]);
    const some = world.peer("self::some", role);
    const { errCode, paramErrs } = await some.error(deletion(["Device.House.Room.1.", "Device.House.Room.2."]));
    expect(errCode).toBe(7006);
    expect(paramErrs).toEqual([expect.objectContaining({ paramPath: "Device.House.Room.2.", errCode: 7006 })]);
    expect(world.tree.at("Device.House.Room.1.")).toBeDefined();
    // R-DEL.3
    expect(await remove(["Device.House.Room.*."], true, some)).toEqual([
      [["Device.House.Room.1.", "Device.House.Room.3."], [["Device.House.Room.2.", 7006]]],
    ]);
  });

  it("leaves rows that may not be seen out of the answer", async () => {
    const role = addRole(world.tree, "Blind", [
      { Targets: "Device.House.", Obj: "r---", InstantiatedObj: "rw--" },
      { Targets: "Device.House.Room.2.", Obj: "r---", InstantiatedObj: "----" },
    ]);
    const blind = world.peer("self::blind", role);
    expect(await remove(["Device.House.Room.*."], true, blind)).toEqual([
      ["Device.House.Room.1.", "Device.House.Room.3."],
    ]);
    expect(world.tree.at("Device.House.Room.2.")).toBeDefined();
  });

  it("answers 7024 for rows that can't be deleted", async () => {
    world.requests.add("self::admin", "Device.House.Wait()", "k", { startedAt: 0 });
    expect((await world.admin.error(deletion(["Device.LocalAgent.Request.1."]))).errCode).toBe(7024);
  });

  it("removes rows that the device made", async () => {
    world.cats.set(4, { mood: "bored" });
    expect(await remove(["Device.House.Cat.4."])).toEqual([["Device.House.Cat.4."]]);
    expect(world.cats.size).toBe(0);
  });

  it("clears references to what is gone, and takes rows that live by it along", async () => {
    addRow(world.tree, "Device.House.Room.", { Name: "d", Beside: "Device.House.Room.1" });
    await remove(["Device.House.Room.1."]);
    expect(await world.admin.get("Device.House.Room.4.Beside")).toEqual({ "Device.House.Room.4.Beside": "" });
  });

  it("asks the policy whose row it is", async () => {
    await world.stop();
    world = await buildWorld({
      policy: {
        ...NO_POLICY,
        mayWriteRow: ({ path }) =>
          path === "Device.House.Room.1." ? new UspError(7006, "not yours", path) : undefined,
      },
    });
    addRow(world.tree, "Device.House.Room.", { Name: "a" });
    expect((await world.admin.error(deletion(["Device.House.Room.1."]))).errCode).toBe(7006);
  });

  it("makes an absent row an error where TR-369 1.4.1 is wanted to the letter", async () => {
    const strict = await buildWorld({ limits: { absentDeleteFails: true } });
    expect((await strict.admin.error(deletion(["Device.House.Room.9."]))).errCode).toBe(7016);
    await strict.stop();
  });
});
