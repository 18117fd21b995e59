import { command, counter, event, object, readOnly, readWrite, argument, writeOnce } from "../../datamodel/schema.ts";
import { alias, boolean, list, reference, string, unsignedInt, statsCounter64 } from "../../datamodel/values.ts";
import { memoryStore } from "../../src/lib/store.ts";
import type { ModelChange } from "../../src/model/changes.ts";
import { bind } from "../../src/model/binding.ts";
import { parsePath } from "../../src/model/path.ts";
import { Persistence } from "../../src/model/persistence.ts";
import { resolve } from "../../src/model/resolve.ts";
import { table } from "../../src/model/table.ts";
import { Transaction } from "../../src/model/transaction.ts";
import { Tree } from "../../src/model/tree.ts";
import type { Store } from "../../src/lib/store.ts";

const Root = object("Device.", { description: "root" });
const Room = object("Device.Room.{i}.", {
  description: "A room.",
  rows: "add-delete",
  keys: [["Alias"]],
  functionalKeys: [["Name"]],
  params: {
    Alias: writeOnce(alias, "Alias."),
    Name: readWrite(string({ maxLength: 8 }), "Name."),
    Warm: readWrite(boolean, "Whether it is warm."),
    Opened: counter(statsCounter64, "Times that its door opened."),
  },
  commands: {
    "Open()": command("sync", "Opens it.", { input: { Times: argument(unsignedInt(), "How often.", { default: 1 }) } }),
  },
  events: { "Opened!": event("It opened.") },
});
const Lamp = object("Device.Room.{i}.Lamp.", {
  description: "Its lamp.",
  params: { Colour: readWrite(string(), "Colour.", { default: "white" }) },
});
const Chair = object("Device.Room.{i}.Chair.{i}.", {
  description: "A chair.",
  rows: "add-delete",
  params: {
    Near: readWrite(reference("Device.Room.{i}."), "A room."),
    Paths: readWrite(list(reference("Device.Room.{i}.")), "Rooms."),
    Owner: readWrite(reference("Device.Room.{i}.", { deletesRow: true }), "Its room."),
  },
});
const House = object("Device.House.", {
  description: "The house.",
  params: { Size: readOnly(unsignedInt(), "Size."), Open: readWrite(boolean, "Open.") },
});

function build(store: Store = memoryStore()) {
  const persistence = new Persistence(store);
  const opened = new Map<number, number>();
  const house = { open: false };
  const tree = new Tree([
    bind(Root, { get: {} }),
    bind(House, {
      get: { Size: () => 42, Open: () => house.open },
      set: {
        Open: (_, value) => {
          const before = house.open;
          house.open = value;
          return () => void (house.open = before);
        },
      },
    }),
    table(Room, {
      persistence,
      computed: { Opened: (row) => opened.get(row.instance) ?? 0 },
      commands: { "Open()": (row, { Times }) => (opened.set(row.instance, Times ?? 0), {}) },
    }),
    table(Lamp, { persistence }),
    table(Chair, { persistence }),
  ]);
  return { tree, persistence, store, house };
}

function addRoom(tree: Tree, name: string) {
  const transaction = new Transaction(tree);
  const { node } = transaction.add(tree.rootNode(), tree.object("Device.Room.")!, [
    { param: "Name", value: name, required: true },
  ]);
  transaction.check();
  transaction.commit();
  return node;
}

describe("the live tree", () => {
  it("counts rows, fills defaults and gives an alias", () => {
    const { tree } = build();
    const room = addRoom(tree, "hall");
    expect(room.path).toBe("Device.Room.1.");
    expect(tree.text(room, "Alias")).toBe("cpe-1");
    expect(tree.text(tree.rootNode(), "RoomNumberOfEntries")).toBe("1");
    expect(tree.text(tree.at("Device.Room.1.Lamp.")!, "Colour")).toBe("white");
  });

  it("takes back everything when a transaction is rolled back", () => {
    const { tree, house } = build();
    const changes: ModelChange[] = [];
    tree.changes.listen((change) => changes.push(change));
    const transaction = new Transaction(tree);
    const { node } = transaction.add(tree.rootNode(), tree.object("Device.Room.")!, []);
    transaction.set(node, "Lamp.Colour", "red");
    transaction.set(tree.at("Device.House.")!, "Open", "1");
    expect(house.open).toBe(true);
    transaction.rollback();
    expect(house.open).toBe(false);
    expect(tree.at("Device.Room.1.")).toBeUndefined();
    expect(changes).toEqual([]);
  });

  it("lets two rows swap their keys in one transaction, and refuses a duplicate", () => {
    const { tree } = build();
    const a = addRoom(tree, "a");
    const b = addRoom(tree, "b");
    const swap = new Transaction(tree);
    swap.set(a, "Name", "b");
    swap.set(b, "Name", "a");
    swap.check();
    swap.commit();
    expect(tree.text(a, "Name")).toBe("b");
    const clash = new Transaction(tree);
    clash.set(a, "Name", "a");
    expect(() => clash.check()).toThrow(expect.objectContaining({ code: 7025 }));
    clash.rollback();
  });

  it.each([
    ["Opened", "5", 7013],
    ["Alias", "other", 7013],
    ["Nothing", "1", 7010],
    ["Warm", "yes", 7011],
    ["Name", "much too long", 7012],
  ])("answers a Set of %s to %s with %i", (param, value, code) => {
    const { tree } = build();
    const room = addRoom(tree, "a");
    expect(() => new Transaction(tree).set(room, param, value)).toThrow(expect.objectContaining({ code }));
  });

  it("tells what changed, and only that", () => {
    const { tree } = build();
    const room = addRoom(tree, "a");
    const changes: ModelChange[] = [];
    tree.changes.listen((change) => changes.push(change));
    const transaction = new Transaction(tree);
    transaction.set(room, "Name", "a");
    transaction.set(room, "Warm", "true");
    transaction.commit();
    expect(changes).toEqual([{ kind: "value", path: "Device.Room.1.", param: "Warm" }]);
  });

  it("writes references by key, reads them by number, clears strong ones with their target and removes rows that live by it", () => {
    const { tree } = build();
    const a = addRoom(tree, "a");
    const b = addRoom(tree, "b");
    const add = new Transaction(tree);
    const chairs = tree.object("Device.Room.{i}.Chair.")!;
    const { node: chair } = add.add(a, chairs, [
      { param: "Near", value: 'Device.Room.[Name=="b"].', required: true },
      { param: "Paths", value: "Device.Room.1,Device.Room.2", required: true },
    ]);
    const { node: doomed } = add.add(a, chairs, [{ param: "Owner", value: "Device.Room.2", required: true }]);
    expect(() => add.set(chair, "Near", "Device.Room.9")).toThrow(expect.objectContaining({ code: 7012 }));
    add.check();
    add.commit();
    expect(tree.text(chair, "Near")).toBe("Device.Room.2");
    const remove = new Transaction(tree);
    remove.remove(b);
    remove.check();
    remove.commit();
    expect(tree.text(chair, "Near")).toBe("");
    expect(tree.text(chair, "Paths")).toBe("Device.Room.1");
    expect(tree.at(doomed.path)).toBeUndefined();
  });

  it("brings back rows, their parts and the last instance number after a restart", async () => {
    const { tree, persistence, store } = build();
    const room = addRoom(tree, "a");
    const gone = addRoom(tree, "b");
    const change = new Transaction(tree);
    change.set(room, "Lamp.Colour", "red");
    change.remove(gone);
    change.commit();
    await persistence.saved();
    const { tree: again } = build(store);
    expect(again.text(again.at("Device.Room.1.")!, "Name")).toBe("a");
    expect(again.text(again.at("Device.Room.1.Lamp.")!, "Colour")).toBe("red");
    expect(again.at("Device.Room.2.")).toBeUndefined();
    expect(addRoom(again, "c").instance).toBe(3);
  });

  it("starts a single object with the values that it is given, not with the schema's defaults", () => {
    const settings = table(Lamp, { initial: () => ({ Colour: "green" }) });
    const tree = new Tree([bind(Root, { get: {} }), table(Room), settings]);
    const hall = addRoom(tree, "hall");
    expect(tree.text(tree.at(`${hall.path}Lamp.`)!, "Colour")).toBe("green");
  });
});

describe("paths", () => {
  const names = (tree: Tree, path: string) => resolve(tree, parsePath(path)).nodes.map((node) => node.path);

  it.each([
    ["Device.Room.*.", ["Device.Room.1.", "Device.Room.2."]],
    ['Device.Room.[Name=="b"].', ["Device.Room.2."]],
    ['Device.Room.[Name=="b"&&Warm==false].Lamp.', ["Device.Room.2.Lamp."]],
    ["Device.Room.[Warm==true].", []],
    ['Device.Room.[Lamp.Colour=="white"].', ["Device.Room.1.", "Device.Room.2."]],
    ["Device.Room.[Opened>=0].", ["Device.Room.1.", "Device.Room.2."]],
    ["Device.Room.7.", []],
  ])("resolves %s", (path, expected) => {
    const { tree } = build();
    addRoom(tree, "a");
    addRoom(tree, "b");
    expect(names(tree, path)).toEqual(expected);
  });

  it("follows references, one or all", () => {
    const { tree } = build();
    const a = addRoom(tree, "a");
    addRoom(tree, "b");
    const add = new Transaction(tree);
    add.add(a, tree.object("Device.Room.{i}.Chair.")!, [
      { param: "Near", value: "Device.Room.2", required: true },
      { param: "Paths", value: "Device.Room.1,Device.Room.2", required: true },
    ]);
    add.commit();
    expect(names(tree, "Device.Room.1.Chair.1.Near+.Lamp.")).toEqual(["Device.Room.2.Lamp."]);
    expect(names(tree, "Device.Room.1.Chair.*.Paths#2+.")).toEqual(["Device.Room.2."]);
    expect(names(tree, "Device.Room.1.Chair.*.Paths#*+.")).toEqual(["Device.Room.1.", "Device.Room.2."]);
    expect(names(tree, 'Device.Room.*.Chair.[Near+.Name=="b"].')).toEqual(["Device.Room.1.Chair.1."]);
  });

  it.each([
    "Device.Room.[].",
    "Device.Room.[Name=b].",
    'Device.Room.[Warm=="true"].',
    "Device.Room.[Name==b].",
    'Device.Room.[Name<"b"].',
    'Device.Room.[Name=="a"||Name=="b"].',
    'Device.Room.[Name=="%41"].',
    'Device.Room.[Name=="a".',
    "Device..Room.",
    "Device.Ro-om.",
    "Device.Room.0.",
    "Device.Room.1.Chair.1.Near#0+.",
  ])("refuses %s with 7008", (path) => {
    const { tree } = build();
    expect(() => resolve(tree, parsePath(path))).toThrow(expect.objectContaining({ code: 7008 }));
  });

  it.each(["Device.Nothing.", "Device.Room.[Size==1].", "Device.House.1.", "Device.Room.Lamp.", "Other."])(
    "refuses %s with 7026",
    (path) => {
      const { tree } = build();
      expect(() => resolve(tree, parsePath(path))).toThrow(expect.objectContaining({ code: 7026 }));
    },
  );
});
