/** Parts of one Message may depend on each other in any order (TR-369 §"Set", "Add"), and what it can do without is told, not fatal. */
import type { AddResp, SetResp } from "../../proto/generated/usp-msg.ts";
import { addMany, addOne, addRow, buildWorld, setMany, setOne, type World } from "./support.ts";

let world: World;
beforeEach(async () => {
  world = await buildWorld();
  addRow(world.tree, "Device.House.Room.", { Name: "hall" });
  addRow(world.tree, "Device.House.Room.", { Name: "attic" });
});
afterEach(() => world.stop());

const added = ({ createdObjResults }: AddResp) =>
  createdObjResults.map(({ requestedPath, operStatus }) => {
    const status = operStatus?.operStatus;
    if (status?.$case !== "operSuccess") return [requestedPath, status?.value.errCode];
    const { instantiatedPath, paramErrs } = status.value;
    return [instantiatedPath, ...paramErrs.map(({ param, errCode }) => `${param} ${errCode}`)];
  });

describe.each([false, true])("with allow_partial %s", (allowPartial) => {
  it("a row may point to one that a later object of the Message makes", async () => {
    const request = addMany(
      [
        { objPath: "Device.House.Room.", params: { Name: "c", Beside: 'Device.House.Room.[Name=="b"]' } },
        { objPath: "Device.House.Room.", params: { Name: "b", Beside: 'Device.House.Room.[Name=="a"]' } },
        { objPath: "Device.House.Room.", params: { Name: "a" } },
      ],
      { allowPartial },
    );
    const rows = added(await world.admin.response(request, "addResp")).map(([path]) => path as string);
    const beside = await world.admin.get(...rows.map((path) => `${path}Beside`));
    expect(rows).toHaveLength(3);
    expect(beside).toEqual({
      [`${rows[0]}Beside`]: rows[1]?.slice(0, -1),
      [`${rows[1]}Beside`]: rows[2]?.slice(0, -1),
      [`${rows[2]}Beside`]: "",
    });
  });

  it("a row may stand below one that the same Message makes, whichever comes first", async () => {
    const request = addMany(
      [
        { objPath: 'Device.House.Room.[Name=="new"].Chair.', params: { Legs: "3" } },
        { objPath: "Device.House.Room.", params: { Name: "new" } },
        { objPath: 'Device.House.Room.[Name=="none"].Chair.', params: {} },
      ],
      { allowPartial },
    );
    expect(added(await world.admin.response(request, "addResp"))).toEqual([
      ["Device.House.Room.3.Chair.1."],
      ["Device.House.Room.3."],
    ]);
  });

  it("rows may swap keys, in the order given or the other", async () => {
    const swap = [
      { objPath: "Device.House.Room.1.", params: { Name: "attic" } },
      { objPath: "Device.House.Room.2.", params: { Name: "hall" } },
    ];
    for (const updates of [
      swap,
      [...swap].map(({ objPath }, i) => ({ objPath, params: swap[1 - i]!.params })).reverse(),
    ])
      await world.admin.response(setMany(updates, { allowPartial }), "setResp");
    expect(await world.admin.get("Device.House.Room.1.Name")).toEqual({ "Device.House.Room.1.Name": "hall" });
  });

  it("a subscription may be told what it is in any order, once", async () => {
    const path = "Device.LocalAgent.Subscription.";
    for (const [i, params] of [
      { NotifType: "Event", ReferenceList: "Device.House.Rang!" },
      { ReferenceList: "Device.House.Rang!", NotifType: "Event" },
    ].entries()) {
      await world.admin.response(addOne(path, { ID: `s${i}` }, { allowPartial }), "addResp");
      const { updatedObjResults } = await world.admin.response(
        setOne(`${path}${i + 1}.`, params, { allowPartial }),
        "setResp",
      );
      expect(updatedObjResults[0]?.operStatus?.operStatus?.$case).toBe("operSuccess");
    }
    const { paramErrs } = await world.admin.error(setOne(`${path}1.`, { NotifType: "ValueChange" }));
    expect(paramErrs).toEqual([expect.objectContaining({ paramPath: `${path}1.NotifType`, errCode: 7013 })]);
  });

  const updated = ({ updatedObjResults }: SetResp) =>
    updatedObjResults.map(({ operStatus }) => {
      const status = operStatus?.operStatus;
      if (status?.$case !== "operSuccess") return status?.value.errCode;
      return status.value.updatedInstResults.map(({ affectedPath, updatedParams, paramErrs }) => [
        affectedPath,
        Object.fromEntries(updatedParams),
        paramErrs.map(({ param, errCode }) => `${param} ${errCode}`),
      ]);
    });

  it("a key that is taken, in a parameter that is not required, is that parameter's error alone", async () => {
    const request = setMany([{ objPath: "Device.House.Room.1.", params: { Name: "attic", Warm: "true" } }], {
      allowPartial,
      required: false,
    });
    expect(updated(await world.admin.response(request, "setResp"))).toEqual([
      [["Device.House.Room.1.", { Warm: "true" }, ["Name 7025"]]],
    ]);
  });

  it("of a search, the row at fault alone does without", async () => {
    const request = setOne("Device.House.Room.*.", { Name: "hall", Warm: "true" }, { allowPartial, required: false });
    const rows = updated(await world.admin.response(request, "setResp"))[0] as unknown[][];
    expect(rows.map(([path, , errors]) => [path, errors])).toEqual([
      ["Device.House.Room.1.", expect.anything()],
      ["Device.House.Room.2.", expect.anything()],
    ]);
    expect(rows.flatMap(([, , errors]) => errors)).toEqual(["Name 7025"]);
  });

  it("a row is made without what makes no sense of the rest, where it is not required (R-ADD.4)", async () => {
    const request = addMany(
      [{ objPath: "Device.LocalAgent.Subscription.", params: { ID: "s", NotifType: "Event", ReferenceList: "x y" } }],
      { allowPartial, required: false },
    );
    expect(added(await world.admin.response(request, "addResp"))).toEqual([
      [expect.stringMatching(/^Device\.LocalAgent\.Subscription\.\d+\.$/), "ReferenceList 7012"],
    ]);
  });

  it("but a key that is taken always fails an Add", async () => {
    const request = addMany([{ objPath: "Device.House.Room.", params: { Name: "hall" } }], {
      allowPartial,
      required: false,
    });
    const answer = await world.admin.ask(request);
    if (!allowPartial) return expect(answer).toMatchObject({ kind: "error", error: { errCode: 7025 } });
    expect(answer.kind === "response" && answer.response.$case === "addResp" && added(answer.response.value)).toEqual([
      ["Device.House.Room.", 7025],
    ]);
  });
});

test("what can never be, takes a bounded number of tries", async () => {
  const creations = Array.from({ length: 400 }, (_, i) => ({
    objPath: "Device.House.Room.",
    params: { Name: `n${i}`, Beside: `Device.House.Room.[Name=="n${i + 1}"]` },
  }));
  const { errCode } = await world.admin.error(addMany(creations));
  expect(errCode).toBe(7021);
});
