/** `Device.LocalAgent.Threshold.{i}.`: Triggered! when a number passes a value (TR-181). */
import { Thresholds } from "../../src/usp/thresholds.ts";
import type { View } from "../../src/usp/view.ts";
import {
  addOne,
  addRole,
  addRow,
  buildModel,
  buildWorld,
  deletion,
  removeRow,
  setParams,
  settle,
  subscribe,
  until,
  type Peer,
  type World,
} from "./support.ts";

let world: World;
beforeEach(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b"]) addRow(world.tree, "Device.House.Room.", { Name, Floor: "3" });
});
afterEach(() => world.stop());

const TABLE = "Device.LocalAgent.Threshold.";
const ROOM = "Device.House.Room.1.";

async function watch(values: Record<string, string>, by: Peer = world.admin): Promise<string> {
  const params = { Enable: "true", ReferencePath: ROOM, ThresholdParam: "Floor", ThresholdValue: "5", ...values };
  const { createdObjResults } = await by.response(addOne(TABLE, params), "addResp");
  const status = createdObjResults[0]?.operStatus?.operStatus;
  if (status?.$case !== "operSuccess") throw new Error(JSON.stringify(status));
  return status.value.instantiatedPath;
}

const floor = (value: number, room = 1) => setParams(world.tree, `Device.House.Room.${room}.`, { Floor: `${value}` });

const told = (peer: Peer = world.admin) =>
  peer.notifies.map(({ notification }) => {
    if (notification?.$case !== "event") throw new Error("not an event");
    const { objPath, eventName, params } = notification.value;
    return [`${objPath}${eventName}`, params.get("ParamPath"), params.get("ParamValue")];
  });

it.each<[string, number[], number[]]>([
  ["Rise", [4, 5, 6, 9, 4, 7], [5, 7]],
  ["Fall", [6, 5, 4, 9, 1], [5, 1]],
  ["Cross", [7, 2, 5, 6], [7, 2, 5]],
  ["Eq", [5, 5, 6, 5, 4], [5, 5]],
  ["NotEq", [5, 6, 7, 5, 4], [6, 4]],
])("%s, over the values %j, is triggered at %j", async (ThresholdOperator, values, at) => {
  await subscribe(world.admin, "Event", `${TABLE}*.Triggered!`);
  const path = await watch({ ThresholdOperator });
  for (const value of values) {
    floor(value);
    await Promise.resolve(); // as between two Messages
  }
  await until(() => told().length === at.length);
  await settle();
  expect(told()).toEqual(at.map((value) => [`${path}Triggered!`, `${ROOM}Floor`, `${value}`]));
});

it("watches every row that a search path names, those too that come later; a first value passes nothing", async () => {
  await subscribe(world.admin, "Event", TABLE);
  await watch({ ReferencePath: "Device.House.Room.*.", ThresholdOperator: "Rise" });
  const { path } = addRow(world.tree, "Device.House.Room.", { Floor: "9" });
  setParams(world.tree, path, { Floor: "8" });
  setParams(world.tree, path, { Floor: "4" });
  setParams(world.tree, path, { Floor: "6" });
  floor(7, 2);
  await until(() => told().length === 2);
  expect(told().map(([, param]) => param)).toEqual([`${path}Floor`, "Device.House.Room.2.Floor"]);
  removeRow(world.tree, path);
});

it("is disabled after its first time where it is Single", async () => {
  await subscribe(world.admin, "Event", TABLE);
  const path = await watch({ OperatingMode: "Single" });
  floor(6);
  await until(() => told().length === 1);
  for (const value of [1, 6, 1, 6]) floor(value);
  await settle();
  expect(told()).toHaveLength(1);
  expect(await world.admin.get(`${path}Enable`)).toEqual({ [`${path}Enable`]: "false" });
});

it("tells the controller that added it, and no other", async () => {
  const other = world.peer("self::other");
  await subscribe(world.admin, "Event", TABLE);
  await subscribe(other, "Event", TABLE);
  await watch({}, other);
  floor(6);
  await until(() => told(other).length === 1);
  await settle();
  expect(told()).toEqual([]);
});

it("is not triggered by a number that its controller may not read", async () => {
  const role = addRole(world.tree, "Half", [
    { Targets: "Device.", Param: "rw-n", Obj: "rw-n", CommandEvent: "r--n" },
    { Targets: "Device.House.Room.{i}.Floor", Param: "----" },
  ]);
  const half = world.peer("self::half", role);
  await subscribe(half, "Event", TABLE);
  await watch({}, half);
  floor(6);
  await settle();
  expect(told(half)).toEqual([]);
});

it("goes with its controller", async () => {
  const other = world.peer("self::other");
  const path = await watch({}, other);
  await world.admin.ask(deletion(["Device.LocalAgent.Controller.2."]));
  expect(world.tree.at(path)).toBeUndefined();
});

it("says nothing while it is disabled, not whole, or names what is not there or is no number", async () => {
  await subscribe(world.admin, "Event", TABLE);
  for (const values of [
    { Enable: "false" },
    { ThresholdValue: "" },
    { ThresholdParam: "" },
    { ThresholdParam: "Nothing" },
    { ReferencePath: "Device.Nothing." },
    { ReferencePath: "" },
    { ThresholdParam: "Name" },
  ])
    await watch(values);
  floor(6);
  setParams(world.tree, ROOM, { Name: "x" });
  await settle();
  expect(told()).toEqual([]);
});

it.each<[string, string]>([
  ["ThresholdValue", "five"],
  ["ThresholdValue", "1.5"],
  ["ThresholdParam", "a b"],
  ["ReferencePath", "Device.House.Name"],
  ["ReferencePath", "Device.Ho-use."],
  ["ThresholdOperator", "Above"],
])("refuses %s = %j with 7012", async (param, value) => {
  const { paramErrs } = await world.admin.error(addOne(TABLE, { [param]: value }));
  expect(paramErrs.map(({ paramPath, errCode }) => [paramPath.split(".").at(-1), errCode])).toEqual([[param, 7012]]);
});

it("looks at counters, which do not notify, every five seconds while somebody wants it", () => {
  jest.useFakeTimers();
  try {
    const { tree } = buildModel();
    addRow(tree, "Device.House.Room.");
    const row = addRow(tree, TABLE, {
      Enable: "true",
      ReferencePath: ROOM,
      ThresholdParam: "Opened",
      ThresholdValue: "2",
      ThresholdOperator: "Rise",
    });
    const values: string[] = [];
    const view = { canSearch: () => true, canSeeRows: () => true } as unknown as View;
    const thresholds = new Thresholds({
      tree,
      view: () => view,
      tell: (_change, args) => values.push(args(view)["ParamValue"] ?? ""),
    });
    const unlisten = tree.changes.listen((change) => thresholds.handle(change));
    thresholds.start();
    const open = () =>
      void tree
        .object("Device.House.Room.")!
        .commands.get("Open()")!
        .run(tree.at(ROOM)!.row, {}, {} as never);
    open();
    jest.advanceTimersByTime(5_000);
    open();
    jest.advanceTimersByTime(4_000);
    return Promise.resolve()
      .then(() => {
        expect(values).toEqual([]);
        jest.advanceTimersByTime(1_000);
      })
      .then(() => {
        expect(values).toEqual(["2"]);
        setParams(tree, row.path, { Enable: "false" });
        expect(jest.getTimerCount()).toBe(0);
        thresholds.stop();
        unlisten();
      })
      .finally(() => jest.useRealTimers());
  } catch (error) {
    jest.useRealTimers();
    throw error;
  }
});
