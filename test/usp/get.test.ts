import { addRole, addRow, buildWorld, get, removeRow, setParams, type World } from "./support.ts";

let world: World;

beforeAll(async () => {
  world = await buildWorld();
  const { tree } = world;
  addRow(tree, "Device.House.Room.", { Name: "hall", Floor: "0", Secret: "x" });
  addRow(tree, "Device.House.Room.", { Name: "attic", Floor: "2", Beside: "Device.House.Room.1" });
  addRow(tree, "Device.House.Room.1.Chair.", { Rooms: "Device.House.Room.1,Device.House.Room.2" });
  addRow(tree, "Device.House.Room.1.Chair.");
  addRow(tree, "Device.House.Room.", { Name: "gone" });
  removeRow(tree, "Device.House.Room.3.");
});
afterAll(() => world.stop());

describe("Get", () => {
  it.each<[string, Record<string, string>]>([
    ["Device.House.Size", { "Device.House.Size": "42" }],
    ["Device.House.Room.2.Name", { "Device.House.Room.2.Name": "attic" }],
    ["Device.House.Room.*.Name", { "Device.House.Room.1.Name": "hall", "Device.House.Room.2.Name": "attic" }],
    ['Device.House.Room.[Name=="attic"].Floor', { "Device.House.Room.2.Floor": "2" }],
    ["Device.House.Room.[Floor>1].Name", { "Device.House.Room.2.Name": "attic" }],
    ["Device.House.Room.[Floor>7].Name", {}],
    ["Device.House.Room.2.Beside+.Name", { "Device.House.Room.1.Name": "hall" }],
    ["Device.House.Room.1.Chair.1.Rooms#2+.Name", { "Device.House.Room.2.Name": "attic" }],
    ["Device.House.Room.1.Lamp.", { "Device.House.Room.1.Lamp.Colour": "white" }],
    ["Device.House.Cat.", {}],
    ["Device.House.Room.2.Chair.", {}],
    ["Device.House.Key", { "Device.House.Key": "" }],
    ["Device.House.RoomNumberOfEntries", { "Device.House.RoomNumberOfEntries": "2" }],
  ])("answers %s", async (path, expected) => {
    expect(await world.admin.get(path)).toEqual(expected);
  });

  it.each([
    ["Device.House.Nothing", 7026],
    ["Device.Nothing.", 7026],
    ["Device.House.Room.3.Name", 7026],
    ["Device.House.Room.3.", 7026],
    ["Device.House.Room.Name", 7026],
    ["Device.House.Room.*.Nothing", 7026],
    ["Device.House.Room.[Nothing==1].Name", 7026],
    ["Device.House.Room.[].Name", 7008],
    ["Device.House.Ro-om.", 7008],
    ["Device.House.Ping()", 7026],
  ])("answers %s with %i for that path alone", async (path, code) => {
    const { reqPathResults } = await world.admin.response(get([path, "Device.House.Size"]), "getResp");
    expect(reqPathResults.map(({ requestedPath, errCode }) => [requestedPath, errCode])).toEqual([
      [path, code],
      ["Device.House.Size", 0],
    ]);
    expect(reqPathResults[0]?.errMsg).not.toBe("");
  });

  it.each<[number, string[]]>([
    [1, ["Device.House."]],
    [2, ["Device.House.", "Device.House.Garden.", "Device.House.Room.1.", "Device.House.Room.2."]],
    [
      3,
      [
        "Device.House.",
        "Device.House.Garden.",
        "Device.House.Room.1.",
        "Device.House.Room.1.Chair.1.",
        "Device.House.Room.1.Chair.2.",
        "Device.House.Room.1.Lamp.",
        "Device.House.Room.2.",
        "Device.House.Room.2.Lamp.",
      ],
    ],
  ])("goes %i levels deep, a table and its rows being one", async (maxDepth, expected) => {
    const { reqPathResults } = await world.admin.response(get(["Device.House."], maxDepth), "getResp");
    expect(reqPathResults[0]?.resolvedPathResults.map(({ resolvedPath }) => resolvedPath)).toEqual(expected);
  });

  it("goes to the bottom with max_depth 0, and with one beyond any model", async () => {
    const all = await world.admin.response(get(["Device."]), "getResp");
    const deep = await world.admin.response(get(["Device."], 4_000_000_000), "getResp");
    expect(deep).toEqual(all);
    expect(all.reqPathResults[0]?.resolvedPathResults.length).toBeGreaterThan(15);
  });

  it("shows secured values to a role in SecuredRoles alone, and never lets others search by them", async () => {
    const other = world.peer("self::plain", addRole(world.tree, "Plain"));
    expect(await world.admin.get("Device.House.Pin")).toEqual({ "Device.House.Pin": "1234" });
    expect(await other.get("Device.House.Pin")).toEqual({ "Device.House.Pin": "" });
    expect(await other.get('Device.House.Room.[Secret=="x"].Name')).toEqual({});
    expect(await other.get('Device.House.Room.[Secret!="y"].Name')).toEqual({});
    expect(await world.admin.get('Device.House.Room.[Secret=="x"].Name')).toEqual({
      "Device.House.Room.1.Name": "hall",
    });
  });

  it("answers 7005 for the path that would make the answer too big, says why, and answers the others", async () => {
    const small = await buildWorld({ limits: { responseBytes: 2_000 } });
    for (let i = 0; i < 40; i++) addRow(small.tree, "Device.House.Room.", { Name: `r${i}` });
    const { reqPathResults } = await small.admin.response(get(["Device.House.Room.", "Device.House.Size"]), "getResp");
    expect(reqPathResults.map(({ errCode }) => errCode)).toEqual([7005, 0]);
    expect(reqPathResults[0]?.errMsg).toMatch(/2000 bytes.*max_depth/);
    await small.stop();
  });

  it("keeps to what the MTP takes", async () => {
    const small = await buildWorld({ isStarted: false });
    small.network.maxRecordBytes = 1_500;
    await small.start();
    for (let i = 0; i < 40; i++) addRow(small.tree, "Device.House.Room.", { Name: `r${i}` });
    const { reqPathResults } = await small.admin.response(get(["Device.House.Room."]), "getResp");
    expect(reqPathResults[0]?.errCode).toBe(7005);
    await small.stop();
  });

  it("reads 500 rows of ten parameters", async () => {
    for (let i = 0; i < 498; i++) addRow(world.tree, "Device.House.Room.", { Name: `b${i}` });
    const values = await world.admin.get("Device.House.Room.*.");
    expect(Object.keys(values).length).toBeGreaterThan(4_000);
    setParams(world.tree, "Device.House.", { Name: "still alive" });
    expect(await world.admin.get("Device.House.Name")).toEqual({ "Device.House.Name": "still alive" });
  });
});
