/** Asynchronous operations that outlive a restart: ScheduleTimer() has to (TR-181), and its row keeps its number (R-ARC.8). */
import { memoryStore } from "../../src/lib/store.ts";
import { Requests } from "../../src/usp/requests.ts";
import { addController, buildWorld, operation, settle, subscribe, until, type World } from "./support.ts";

const REQUEST = "Device.LocalAgent.Request.";
const timer = (DelaySeconds: string, commandKey = "k") =>
  operation("Device.ScheduleTimer()", { DelaySeconds }, { commandKey });

const completed = (world: World) =>
  world.admin.notifies.flatMap(({ notification }) =>
    notification?.$case === "operComplete" ? [notification.value.commandKey] : [],
  );

async function begin(world: World, ...requests: Parameters<World["admin"]["ask"]>[0][]) {
  await subscribe(world.admin, "OperationComplete", "Device.", { Persistent: "true" });
  for (const request of requests) await world.admin.response(request, "operateResp");
}

test("ScheduleTimer() ends when its time is over", async () => {
  const world = await buildWorld();
  await begin(world, timer("1"));
  expect(await world.admin.get(`${REQUEST}1.Status`)).toEqual({ [`${REQUEST}1.Status`]: "Active" });
  await until(() => completed(world).length === 1);
  expect(await world.admin.get(`${REQUEST}*.Status`)).toEqual({});
  await world.stop();
});

test.each(["0", "-1", "soon", ""])("a delay of %j is a cmd_failure 7027", async (delay) => {
  const world = await buildWorld();
  const { operationResults } = await world.admin.response(timer(delay), "operateResp");
  expect(operationResults[0]?.operationResp).toMatchObject({ $case: "cmdFailure", value: { errCode: 7027 } });
  await world.stop();
});

test("it goes on after a restart: the same row, the rest of the time; nothing is said when the agent stops", async () => {
  const store = memoryStore();
  const first = await buildWorld({ store });
  await begin(first, operation("Device.House.Wait()", { Ms: "60000" }), timer("2", "a"), timer("3600", "b"));
  await first.stop();
  expect(completed(first)).toEqual([""]);
  const second = await buildWorld({ store });
  expect(Object.keys(await second.admin.get(`${REQUEST}*.Status`))).toEqual([
    `${REQUEST}2.Status`,
    `${REQUEST}3.Status`,
  ]);
  await until(() => completed(second).length === 1);
  expect(completed(second)).toEqual(["a"]);
  await second.admin.response(operation(`${REQUEST}3.Cancel()`), "operateResp");
  await until(() => completed(second).length === 2);
  const { operationResults } = await second.admin.response(timer("3600", "c"), "operateResp");
  expect(operationResults[0]?.operationResp).toMatchObject({ value: `${REQUEST}4.` });
  await second.stop();
});

test("what ended while the agent was off ends at the start, after Boot!", async () => {
  const store = memoryStore();
  const first = await buildWorld({ store });
  await subscribe(first.admin, "Event", "Device.Boot!", { Persistent: "true" });
  await begin(first, timer("1"));
  await first.stop();
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const second = await buildWorld({ store });
  await until(() => second.admin.notifies.length === 2);
  expect(second.admin.notifies.map(({ notification }) => notification?.$case)).toEqual(["event", "operComplete"]);
  await second.stop();
});

test("what a controller asked that is gone does not go on", async () => {
  const store = memoryStore();
  const first = await buildWorld({ store });
  const other = first.peer("self::other");
  await other.response(timer("3600"), "operateResp");
  await first.admin.ask({
    $case: "delete",
    value: { allowPartial: false, objPaths: ["Device.LocalAgent.Controller.2."] },
  });
  await first.stop();
  const second = await buildWorld({ store });
  await settle();
  expect(await second.admin.get(`${REQUEST}*.Status`)).toEqual({});
  addController(second.tree, "self::again", second.roleAdmin);
  await second.stop();
});

test.each<unknown>([
  undefined,
  null,
  7,
  [],
  { last: "x", rows: {} },
  { last: -1, rows: [null, 1, {}, { instance: 0 }, { instance: 1, Alias: 1 }] },
  {
    last: 3,
    rows: [{ instance: 9, Alias: "a", Originator: "o", Command: "c", CommandKey: "", startedAt: "x", args: {} }],
  },
])("nothing that was saved stops a start: %j", (document) => {
  const requests = new Requests({ load: () => document, save: () => undefined });
  expect(requests.kept()).toEqual([]);
  expect(requests.add("o", "c", "", { startedAt: 0 }).instance).toBeGreaterThan(0);
});

test.each(["[[[", "", "Device.", "Device.Nothing()", "Device.House.Ping()", "Device.ScheduleTimer()"])(
  "a kept request of %j that can't go on ends without a word, and without the agent",
  async (Command) => {
    const store = memoryStore();
    const row = { instance: 7, Alias: "a", Originator: "self::admin", Command, CommandKey: "", startedAt: 0, args: {} };
    await store.save("requests", { last: 7, rows: [row] });
    const world = await buildWorld({ store });
    await settle();
    expect(await world.admin.get(`${REQUEST}*.Status`)).toEqual({});
    await world.stop();
  },
);
