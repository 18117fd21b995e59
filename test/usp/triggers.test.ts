/** TriggerAction: what a Subscription sets when it is triggered (TR-181 Subscription.{i}.TriggerConfigSettings). */
import {
  addOne,
  addRole,
  addRow,
  buildWorld,
  setOne,
  setParams,
  settle,
  subscribe,
  until,
  type World,
} from "./support.ts";

let world: World;
beforeEach(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b"]) addRow(world.tree, "Device.House.Room.", { Name });
});
afterEach(() => world.stop());

const text = (path: string, name: string) => world.tree.text(world.tree.at(path)!, name);
const NAME = "Device.House.Name";

it("sets and says nothing with Config, does both with NotifyAndConfig", async () => {
  await subscribe(world.admin, "ValueChange", NAME, {
    TriggerAction: "Config",
    TriggerConfigSettings:
      'Device.House.Room.1.Warm=true,Device.House.Room.[Name=="b"].Floor=3,Device.House.Garden.Trees=2',
  });
  await subscribe(world.admin, "ValueChange", "Device.House.Garden.Trees", {
    TriggerAction: "NotifyAndConfig",
    TriggerConfigSettings: "Device.House.Room.2.Warm=true",
  });
  await world.admin.ask(setOne("Device.House.", { Name: "x" }));
  await until(() => text("Device.House.Room.2.", "Warm") === "true");
  expect(text("Device.House.Room.1.", "Warm")).toBe("true");
  expect(text("Device.House.Room.2.", "Floor")).toBe("3");
  expect(world.admin.notifies.map(({ notification }) => notification?.value)).toEqual([
    { paramPath: "Device.House.Garden.Trees", paramValue: "2" },
  ]);
});

it("sets on events, rows that come and go, and finished operations alike", async () => {
  const all: [string, string][] = [
    ["ObjectCreation", "Device.House.Room."],
    ["ObjectDeletion", "Device.House.Room.*."],
    ["Event", "Device.House.Rang!"],
  ];
  for (const [i, [type, reference]] of all.entries())
    await subscribe(world.admin, type, reference, {
      TriggerAction: "Config",
      TriggerConfigSettings: `Device.House.Room.1.${["Floor=3", "Warm=true", "Secret=s"][i]}`,
    });
  await world.admin.ask(addOne("Device.House.Room."));
  await world.admin.ask({ $case: "delete", value: { allowPartial: false, objPaths: ["Device.House.Room.2."] } });
  world.tree.changes.emit({ kind: "event", path: "Device.House.", name: "Rang!", args: {} });
  await until(() => text("Device.House.Room.1.", "Secret") === "s");
  expect([text("Device.House.Room.1.", "Floor"), text("Device.House.Room.1.", "Warm")]).toEqual(["3", "true"]);
});

it("sets only what its recipient may set, each by itself", async () => {
  const role = addRole(world.tree, "Some", [
    { Targets: "Device.", Param: "r--n", Obj: "r---" },
    { Targets: "Device.LocalAgent.Subscription.", Param: "rw--", Obj: "rw--" },
    { Targets: "Device.House.Room.1.", Param: "rw--", Obj: "r---" },
  ]);
  const some = world.peer("self::some", role);
  await subscribe(some, "ValueChange", NAME, {
    TriggerAction: "Config",
    TriggerConfigSettings: "Device.House.Room.2.Warm=true,Device.House.Pin=0,Device.House.Room.1.Warm=true",
  });
  setParams(world.tree, "Device.House.", { Name: "x" });
  await until(() => text("Device.House.Room.1.", "Warm") === "true");
  expect([text("Device.House.Room.2.", "Warm"), text("Device.House.", "Pin")]).toEqual(["false", "1234"]);
});

it("is not triggered by what its recipient may not be told", async () => {
  const plain = world.peer("self::plain", addRole(world.tree, "Plain"));
  await subscribe(plain, "ValueChange", "Device.House.Pin", {
    TriggerAction: "Config",
    TriggerConfigSettings: "Device.House.Room.1.Warm=true",
  });
  setParams(world.tree, "Device.House.", { Pin: "9" });
  await settle();
  expect(text("Device.House.Room.1.", "Warm")).toBe("false");
});

it("of two that undo each other, each has its way at most once a second", async () => {
  let writes = 0;
  for (const [from, to] of [
    ["true", "false"],
    ["false", "true"],
  ])
    await subscribe(world.admin, "ValueChange", `Device.House.Room.[Warm==${from}].Warm`, {
      TriggerAction: "Config",
      TriggerConfigSettings: `Device.House.Room.1.Warm=${to}`,
    });
  world.tree.changes.listen((change) => void (change.kind === "value" && change.param === "Warm" && writes++));
  await world.admin.ask(setOne("Device.House.Room.1.", { Warm: "true" }));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(writes).toBeGreaterThanOrEqual(2);
  expect(writes).toBeLessThan(6);
});

it.each(["nonsense", "Device.House.Room.=1", "Device.House.Ping()=1", "Device.Ho-use.X=1", "=1"])(
  "refuses the setting %j with 7012",
  async (TriggerConfigSettings) => {
    const params = { ID: "s", NotifType: "Event", ReferenceList: "Device.", TriggerConfigSettings };
    const { errCode, paramErrs } = await world.admin.error(addOne("Device.LocalAgent.Subscription.", params));
    expect([errCode, paramErrs[0]?.paramPath.split(".").at(-1)]).toEqual([7012, "TriggerConfigSettings"]);
  },
);

it("refuses a seventeenth setting, and keeps commas that are part of a value", async () => {
  const of = (n: number) => Array.from({ length: n }, () => "Device.House.Name=a%2Cb").join(",");
  const path = await subscribe(world.admin, "Event", "Device.House.Rang!", {
    TriggerAction: "Config",
    TriggerConfigSettings: of(16),
  });
  expect((await world.admin.error(setOne(path, { TriggerConfigSettings: of(17) }))).paramErrs[0]?.errCode).toBe(7012);
  world.tree.changes.emit({ kind: "event", path: "Device.House.", name: "Rang!", args: {} });
  await until(() => text("Device.House.", "Name") === "a,b");
});
