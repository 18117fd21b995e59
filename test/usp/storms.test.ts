/** Much at once: what is bounded is counted, and how things stand in the end is always told. */
import {
  addMany,
  addRow,
  buildWorld,
  get,
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
});
afterEach(() => world.stop());

const values = (peer: Peer = world.admin) =>
  peer.notifies.flatMap(({ notification }) =>
    notification?.$case === "valueChange"
      ? [[notification.value.paramPath, notification.value.paramValue] as const]
      : [],
  );
const change = (param: string) => world.tree.changes.value("Device.House.", param);
const ring = () => world.tree.changes.emit({ kind: "event", path: "Device.House.", name: "Rang!", args: {} });

test("of 100,000 changes of a value few are told, and the last one is", async () => {
  await subscribe(world.admin, "ValueChange", "Device.House.Size");
  for (let i = 1; i <= 100_000; i++) {
    world.house.size = i;
    change("Size");
    if (i % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  await until(() => values().at(-1)?.[1] === "100000");
  const { sent, coalesced, dropped, waiting } = world.agent.counters.notifications;
  expect(sent).toBeLessThan(1_000);
  expect([sent + coalesced, dropped, waiting]).toEqual([100_000, 0, 0]);
});

test.each(["false", "true"])(
  "of 5,000 values that change while nobody can be reached, each is told (NotifRetry %s)",
  async (NotifRetry) => {
    for (let i = 0; i < 1_000; i++) addRow(world.tree, "Device.House.Room.");
    await subscribe(world.admin, "ValueChange", "Device.House.Room.*.", { NotifRetry });
    world.network.isDown = true;
    world.network.cut();
    for (let round = 0; round < 2; round++)
      for (let i = 1; i <= 1_000; i++)
        setParams(world.tree, `Device.House.Room.${i}.`, {
          Name: `${round}-${i}`,
          Floor: `${5 + round}`,
          Warm: `${round === 0}`,
          Secret: `${round}`,
          "Lamp.Colour": `${round}`,
        });
    world.network.isDown = false;
    await until(() => values().length >= 4_999);
    await settle();
    const last = new Map(values());
    // Warm was as before in the end, which is no less news to one who was told of the first change.
    expect(last.size).toBe(5_000);
    expect(last.get("Device.House.Room.1000.Name")).toBe("1-1000");
    expect(last.get("Device.House.Room.1.Lamp.Colour")).toBe("1");
    expect(world.agent.counters.notifications).toMatchObject({ dropped: 0, waiting: 0 });
  },
  30_000,
);

test("happenings beyond the bound are dropped, oldest first, and counted; states are not lost with them", async () => {
  await subscribe(world.admin, "Event", "Device.House.Rang!");
  await subscribe(world.admin, "ValueChange", "Device.House.Size");
  world.network.isDown = true;
  world.network.cut();
  world.house.size = 1;
  change("Size");
  for (let i = 0; i < 50_000; i++) ring();
  world.house.size = 2;
  change("Size");
  expect(world.agent.counters.notifications).toMatchObject({ dropped: 49_000, waiting: 1_001 });
  world.network.isDown = false;
  await until(() => world.admin.notifies.length === 1_001);
  expect(values()).toEqual([["Device.House.Size", "2"]]);
});

test("a controller that answers nothing holds back its own notifications alone", async () => {
  await world.stop();
  world = await buildWorld({ limits: { queuedNotifications: 50 } });
  const silent = world.peer("self::silent");
  silent.answers = false;
  await subscribe(silent, "Event", "Device.House.Rang!", { NotifRetry: "true" });
  await subscribe(silent, "ValueChange", "Device.House.Size");
  await subscribe(world.admin, "Event", "Device.House.Rang!");
  for (let i = 0; i < 49; i++) ring();
  await until(() => silent.notifies.length === 49);
  for (let i = 0; i < 151; i++) {
    ring();
    if (i % 20 === 0) await settle();
  }
  change("Size");
  await until(() => world.admin.notifies.length === 200 && values(silent).length === 1);
  // Fifty are out and fifty wait: the oldest of those that waited are gone.
  expect(silent.notifies.filter(({ sendResp }) => sendResp)).toHaveLength(50);
  expect(world.agent.counters.notifications).toMatchObject({ dropped: 100, waiting: 100 });
  silent.answers = true;
  for (const [i, { sendResp }] of silent.notifies.entries())
    if (sendResp) silent.answer(silent.notifyIds[i] as string, "");
  await until(() => world.agent.counters.notifications.waiting === 0);
  expect(silent.notifies.filter(({ sendResp }) => sendResp)).toHaveLength(100);
}, 30_000);

test("of 100,000 subscriptions the table takes its share, and 7005 says so of the rest", async () => {
  const table = world.tree.object("Device.LocalAgent.Subscription.{i}.")!;
  const codes = new Map<number | string, number>();
  for (let block = 0; block < 100; block++) {
    const request = addMany(
      Array.from({ length: 1_000 }, (_, i) => ({
        objPath: "Device.LocalAgent.Subscription.",
        params: { Enable: "true", ID: `${block}-${i}`, NotifType: "ValueChange", ReferenceList: "Device.House." },
      })),
      { allowPartial: true },
    );
    const { createdObjResults } = await world.admin.response(request, "addResp");
    for (const { operStatus } of createdObjResults) {
      const status = operStatus?.operStatus;
      const code = status?.$case === "operFailure" ? status.value.errCode : "made";
      codes.set(code, (codes.get(code) ?? 0) + 1);
      if (status?.$case === "operFailure") expect(status.value.errMsg).toContain(`${table.schema.maxRows} rows`);
    }
  }
  expect(Object.fromEntries(codes)).toEqual({ made: table.schema.maxRows, 7005: 100_000 - table.schema.maxRows });
  expect(await world.admin.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
  const all = await world.admin.response(get(["Device.LocalAgent.Subscription.*.ID"]), "getResp");
  expect(all.reqPathResults[0]?.resolvedPathResults).toHaveLength(table.schema.maxRows);
}, 60_000);
