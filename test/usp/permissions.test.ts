import { NO_POLICY } from "../../src/usp/policy.ts";
import { Permissions } from "../../src/usp/permissions.ts";
import { EXECUTE, NOTIFY, parseRights, READ, WRITE } from "../../src/usp/rights.ts";
import { silentLog } from "../../src/lib/log.ts";
import { addRole, addRow, buildModel, buildWorld, removeRow, setParams, type BuiltModel } from "./support.ts";

let model: BuiltModel;
let permissions: Permissions;

beforeEach(() => {
  model = buildModel();
  permissions = new Permissions(model.tree, silentLog);
  for (const Name of ["a", "b"]) addRow(model.tree, "Device.House.Room.", { Name });
});

/** Param rights, as letters, of a parameter. */
function param(roles: string[], path: string): string {
  const at = path.lastIndexOf(".") + 1;
  const bits = permissions
    .of(roles)
    .at(model.tree.at(path.slice(0, at))!)
    .param(path.slice(at));
  return letters(bits);
}
const letters = (bits: number) =>
  `${bits & READ ? "r" : "-"}${bits & WRITE ? "w" : "-"}${bits & EXECUTE ? "x" : "-"}${bits & NOTIFY ? "n" : "-"}`;

const ALL = { Param: "rw-n", Obj: "rw-n", InstantiatedObj: "rw-n", CommandEvent: "r-xn" };

describe("a role", () => {
  it("gives nothing beyond its targets", () => {
    const role = addRole(model.tree, "R", [{ Targets: "Device.House.Room.", ...ALL }]);
    expect(param([role], "Device.House.Room.1.Warm")).toBe("rw-n");
    expect(param([role], "Device.House.Size")).toBe("----");
    expect(permissions.of([role]).of(model.tree.root).object).toBe(0);
    expect(permissions.of([]).visible(model.tree.root)).toBe(false);
  });

  it.each<[string, string, string]>([
    ["Device.House.Room.", "rw-n", "rw-n"],
    ["Device.House.Room.{i}.", "rw-n", "rw-n"],
    ["Device.House.Room.*.", "rw-n", "rw-n"],
    ["Device.House.Room.1.", "rw-n", "----"],
    ['Device.House.Room.[Name=="b"].', "----", "rw-n"],
    ["Device.House.Room.2.Warm", "----", "rw-n"],
    ["Device.House.Room.[Floor<1].Warm", "rw-n", "rw-n"],
    ["Device.Elsewhere.", "----", "----"],
    ["not a path", "----", "----"],
  ])("with target %s gives %s and %s", (Targets, first, second) => {
    const role = addRole(model.tree, "R", [{ Targets, ...ALL }]);
    expect([param([role], "Device.House.Room.1.Warm"), param([role], "Device.House.Room.2.Warm")]).toEqual([
      first,
      second,
    ]);
  });

  it("lets the matching permission of largest Order decide alone", () => {
    const role = addRole(model.tree, "R", [
      { Targets: "Device.House.", ...ALL, Order: "5" },
      { Targets: "Device.House.Room.2.", Param: "r---", Obj: "r---", Order: "7" },
      { Targets: "Device.House.Room.{i}.Warm", Param: "-w--", Order: "6" },
    ]);
    expect(param([role], "Device.House.Room.1.Floor")).toBe("rw-n");
    expect(param([role], "Device.House.Room.1.Warm")).toBe("-w--");
    expect(param([role], "Device.House.Room.2.Warm")).toBe("r---");
    expect(permissions.of([role]).at(model.tree.at("Device.House.Room.2.")!).instance).toBe(0);
  });

  it("adds up with other roles", () => {
    const reader = addRole(model.tree, "Reader", [{ Targets: "Device.", Param: "r---", Obj: "r---" }]);
    const writer = addRole(model.tree, "Writer", [{ Targets: "Device.House.", Param: "-w--" }]);
    expect(param([reader, writer], "Device.House.Name")).toBe("rw--");
    expect(param([writer, reader], "Device.LocalAgent.UpTime")).toBe("r---");
  });

  it("counts only while it and its permissions are enabled", () => {
    const role = addRole(model.tree, "R", [{ Targets: "Device.House.", ...ALL }]);
    setParams(model.tree, `${role}.Permission.1.`, { Enable: "false" });
    permissions.invalidate();
    expect(param([role], "Device.House.Name")).toBe("----");
    setParams(model.tree, `${role}.Permission.1.`, { Enable: "true" });
    setParams(model.tree, `${role}.`, { Enable: "false" });
    permissions.invalidate();
    expect(param([role], "Device.House.Name")).toBe("----");
  });

  it("follows values that a search expression looks at", () => {
    const role = addRole(model.tree, "R", [{ Targets: "Device.House.Room.[Warm==true].", ...ALL }]);
    expect(param([role], "Device.House.Room.1.Name")).toBe("----");
    setParams(model.tree, "Device.House.Room.1.", { Warm: "true" });
    expect(param([role], "Device.House.Room.1.Name")).toBe("rw-n");
  });

  it.each([
    'Device.House.Room.[Secret=="s"].Name',
    'Device.House.Room.[Name=="a"&&Secret!="x"].',
    'Device.House.Room.[Beside+.Secret=="s"].Name',
    'Device.MQTT.Client.[Password=="s"].Enable',
  ])("may not search by a secured or hidden value (%s), and gets nothing by one that is there already", (Targets) => {
    expect(() => addRole(model.tree, "Probe", [{ Targets, ...ALL }])).toThrow("Targets");
    const role = addRole(model.tree, "R", [{ Targets: "Device.House.Name", ...ALL }]);
    expect(() => setParams(model.tree, `${role}.Permission.1.`, { Targets })).toThrow("Targets");
    setParams(model.tree, "Device.House.Room.1.", { Secret: "s", Beside: "Device.House.Room.1" });
    addRow(model.tree, "Device.MQTT.Client.", { Password: "s" });
    // As an older version kept it.
    const { row } = model.tree.at(`${role}.Permission.1.`)!;
    (row as { values: Record<string, unknown> }).values.Targets = [Targets];
    permissions.invalidate();
    expect([param([role], "Device.House.Room.1.Name"), param([role], "Device.MQTT.Client.1.Enable")]).toEqual([
      "----",
      "----",
    ]);
  });

  it("gives of a row that is gone the least that it could have given", () => {
    const role = addRole(model.tree, "R", [
      { Targets: "Device.House.", ...ALL },
      { Targets: "Device.House.Room.[Warm==true].", InstantiatedObj: "----" },
      { Targets: "Device.House.Room.2.", InstantiatedObj: "r--n" },
    ]);
    const room = model.tree.object("Device.House.Room.")!;
    removeRow(model.tree, "Device.House.Room.1.");
    removeRow(model.tree, "Device.House.Room.2.");
    expect(letters(permissions.of([role]).atPath(room, "Device.House.Room.1.").instance)).toBe("----");
    expect(letters(permissions.of([role]).atPath(room, "Device.House.Room.2.").instance)).toBe("r--n");
  });

  it("that may not name an object may not read its parameters, unless a target names the parameter", () => {
    const role = addRole(model.tree, "R", [
      { Targets: "Device.House.", Param: "r---", Obj: "----" },
      { Targets: "Device.House.Name", Param: "r---" },
    ]);
    expect([param([role], "Device.House.Size"), param([role], "Device.House.Name")]).toEqual(["----", "r---"]);
    expect(permissions.of([role]).visible(model.tree.object("Device.House.")!)).toBe(true);
  });

  it.each([
    ["rwxn", READ | WRITE | EXECUTE | NOTIFY],
    ["----", 0],
    ["r--n", READ | NOTIFY],
  ])("%s is %i", (text, bits) => expect(parseRights(text)).toBe(bits));
});

describe("a controller", () => {
  it("without roles has the untrusted ones", async () => {
    const world = await buildWorld();
    const untrusted = addRole(world.tree, "Untrusted", [{ Targets: "Device.House.Size", Param: "r---" }]);
    setParams(world.tree, "Device.LocalAgent.ControllerTrust.", { UntrustedRole: untrusted });
    const stranger = world.peer("self::stranger", "");
    expect(await stranger.get("Device.House.")).toEqual({ "Device.House.Size": "42" });
    await world.stop();
  });

  it("with the banned role has that alone", async () => {
    const world = await buildWorld();
    const banned = addRole(world.tree, "Banned", [{ Targets: "Device.House.Size", Param: "r---" }]);
    const peer = world.peer("self::banned", `${world.roleAdmin},${banned}`);
    expect(Object.keys(await peer.get("Device.House."))).toContain("Device.House.Name");
    setParams(world.tree, "Device.LocalAgent.ControllerTrust.", { BannedRole: banned });
    expect(await peer.get("Device.House.")).toEqual({ "Device.House.Size": "42" });
    await world.stop();
  });

  it("feels a change of its rights at the next request", async () => {
    const world = await buildWorld();
    const role = addRole(world.tree, "R", [{ Targets: "Device.House.Size", Param: "r---" }]);
    const peer = world.peer("self::peer", role);
    await expect(peer.get("Device.House.Name")).rejects.toThrow("7026");
    setParams(world.tree, `${role}.Permission.1.`, { Targets: "Device.House.Name" });
    expect(await peer.get("Device.House.Name")).toEqual({ "Device.House.Name": "" });
    await world.stop();
  });

  it("has on a door only the roles that the policy lets in there", async () => {
    const world = await buildWorld({
      policy: { ...NO_POLICY, roleCounts: (role, { local }) => role !== "Admin" || local },
    });
    await expect(world.admin.get("Device.House.Name")).rejects.toThrow("7026");
    await world.stop();
  });

  it("sees no rows of a table that the policy hides, anywhere", async () => {
    const world = await buildWorld({ policy: { ...NO_POLICY, rowsVisible: ({ name }) => name !== "Room" } });
    addRow(world.tree, "Device.House.Room.", { Name: "a" });
    expect(await world.admin.get("Device.House.Room.", "Device.House.Room.*.Name")).toEqual({});
    await expect(world.admin.get("Device.House.Room.1.Name")).rejects.toThrow("7026");
    const { reqPathResults } = await world.admin.response(
      { $case: "getInstances", value: { objPaths: ["Device.House."], firstLevelOnly: false } },
      "getInstancesResp",
    );
    expect(reqPathResults[0]?.currInsts).toEqual([]);
    await world.stop();
  });
});
