/** Starting, and what goes wrong there in agents in the field: order on the wire, rows that outlived their reason, odd state. */
import { memoryStore, type Store } from "../../src/lib/store.ts";
import { addRow, buildWorld, settle, subscribe, until, type World } from "./support.ts";

const kinds = ({ admin }: World) =>
  admin.records.flatMap(({ recordType }) => (recordType.$case === "noSessionContext" ? [] : [recordType.$case]));
const told = ({ admin }: World) =>
  admin.notifies.map(({ notification }) => {
    if (notification?.$case === "event") return notification.value.eventName;
    if (notification?.$case === "objCreation") return `+${notification.value.objPath}`;
    return notification?.$case;
  });

/** A life before, in which the admin subscribed to all that a start tells. */
async function firstLife(store: Store): Promise<void> {
  const world = await buildWorld({ store });
  await subscribe(world.admin, "Event", "Device.", { Persistent: "true", NotifRetry: "true" });
  await subscribe(world.admin, "ObjectCreation", "Device.House.Room.", { Persistent: "true" });
  await world.stop();
}

test("Boot! comes before what happened since the start, and all of that comes", async () => {
  const store = memoryStore();
  await firstLife(store);
  const world = await buildWorld({
    store,
    isStarted: false,
    before: ({ tree }) => {
      const path = "Device.LocalAgent.Controller.1.";
      const node = tree.at(path)!;
      node.object.implementation.write(node.row, "PeriodicNotifInterval", 1, {
        undo: () => undefined,
      } as never);
    },
  });
  world.network.isDown = true;
  await world.start();
  const { path } = addRow(world.tree, "Device.House.Room.");
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  world.network.isDown = false;
  await until(() => told(world).length >= 3);
  expect(told(world).slice(0, 2)).toEqual(["Boot!", `+${path}`]);
  expect(
    told(world)
      .slice(2)
      .every((name) => name === "Periodic!"),
  ).toBe(true);
  expect(kinds(world)[0]).toBe("mqttConnect");
  world.network.cut();
  await until(() => kinds(world).length === 2);
  await settle();
  expect(told(world).filter((name) => name === "Boot!")).toHaveLength(1);
  await world.stop();
});

test("Subscriptions that are not persistent, or whose time is over, are gone after a restart, and say nothing", async () => {
  const store = memoryStore();
  const first = await buildWorld({ store });
  for (const [ID, values] of Object.entries({
    passing: {},
    ended: { Persistent: "true", TimeToLive: "1" },
    kept: { Persistent: "true", TimeToLive: "3600" },
  }))
    await subscribe(first.admin, "Event", "Device.Boot!", { ID, ...values });
  await first.stop();
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const second = await buildWorld({ store });
  await until(() => second.admin.notifies.length > 0);
  await settle();
  expect(second.admin.notifies.map(({ subscriptionId }) => subscriptionId)).toEqual(["kept"]);
  expect(Object.values(await second.admin.get("Device.LocalAgent.Subscription.*.ID"))).toEqual(["kept"]);
  await second.stop();
});

test.each<[string, Readonly<Record<string, string>>]>([
  ["a type that is none", { NotifType: "Nonsense" }],
  ["references that are no paths", { ReferenceList: "[[[,Device..,%%%" }],
  ["settings that set nothing", { TriggerAction: "Config", TriggerConfigSettings: "nonsense" }],
  ["a recipient that is gone", { Recipient: "Device.LocalAgent.Controller.99" }],
  ["a recipient that is no row", { Recipient: "nobody" }],
  ["a date that is none", { CreationDate: "yesterday", TimeToLive: "1" }],
  ["numbers that are none", { TimeToLive: "-5", NotifExpiration: "x" }],
])("a kept Subscription with %s stops no start", async (_, values) => {
  const store = memoryStore();
  await firstLife(store);
  const name = "model-device-localagent";
  const document = structuredClone(store.load(name)) as Record<
    string,
    { rows: Record<string, Record<string, string>> }
  >;
  Object.assign(document["Device.LocalAgent.Subscription.{i}."]!.rows["1"]!, values);
  await store.save(name, document);
  const world = await buildWorld({ store });
  addRow(world.tree, "Device.House.Room.");
  world.tree.changes.emit({ kind: "event", path: "Device.House.", name: "Rang!", args: {} });
  expect(await world.admin.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
  await settle();
  expect(told(world)).toContain("+Device.House.Room.1.");
  await world.stop();
});
