/** Search expressions and reference following (TR-369 §2.5.3–2.5.5, R-ARC.9…R-ARC.12) on a table of every type. */
import { object, readWrite, writeOnce } from "../../datamodel/schema.ts";
import {
  alias,
  base64,
  boolean,
  dateTime,
  decimal,
  hexBinary,
  int,
  list,
  reference,
  string,
  unsignedInt,
  unsignedLong,
} from "../../datamodel/values.ts";
import type { Implementation } from "../../src/model/implementation.ts";
import { table } from "../../src/model/table.ts";
import { addOne, addRole, addRow, buildWorld, deletion, get, Room, setOne, type World } from "./support.ts";

const SHED = "Device.House.Shed.{i}.";
const Shed = object(SHED, {
  description: "A shed.",
  rows: "add-delete",
  keys: [["Alias"]],
  params: {
    Alias: writeOnce(alias, "Alias."),
    Text: readWrite(string(), "Text."),
    Yes: readWrite(boolean, "Boolean."),
    Count: readWrite(unsignedInt({ max: 100 }), "Number."),
    Below: readWrite(int(), "Number that may be negative."),
    Big: readWrite(unsignedLong(), "Large number."),
    Part: readWrite(decimal, "Decimal."),
    When: readWrite(dateTime, "Time."),
    Bytes: readWrite(base64(), "Bytes."),
    Hex: readWrite(hexBinary(), "Bytes."),
    Words: readWrite(list(string()), "Words."),
    Numbers: readWrite(list(unsignedInt()), "Numbers."),
    Next: readWrite(reference(SHED), "Strong."),
    Rooms: readWrite(list(reference(Room.path)), "Strong list."),
    Loose: readWrite(reference(Room.path, { strong: false }), "Weak."),
    LooseRooms: readWrite(list(reference(Room.path, { strong: false })), "Weak list."),
    Owner: readWrite(reference(Room.path, { deletesRow: true }), "The row goes with it."),
  },
});
const Box = object(`${SHED}Box.`, {
  description: "Single child.",
  params: { Lid: readWrite(boolean, "Lid."), Inside: readWrite(reference(Room.path), "Strong.") },
});
const Tool = object(`${SHED}Tool.{i}.`, {
  description: "Child table.",
  rows: "add-delete",
  params: { Name: readWrite(string(), "Name.") },
});

let world: World;
beforeEach(async () => {
  const extra: Implementation[] = [table(Shed), table(Box), table(Tool)];
  world = await buildWorld({ extra });
  const { tree } = world;
  for (const [i, Name] of ["hall", "attic", "den"].entries())
    addRow(tree, "Device.House.Room.", { Name, Floor: `${i}`, "Lamp.Colour": ["red", "blue", "red"][i] as string });
  addRow(tree, "Device.House.Shed.", {
    Text: 'say "50%" && go]',
    Yes: "true",
    Count: "5",
    Below: "-3",
    Big: "9007199254740991",
    Part: "1.50",
    When: "2026-01-31T12:00:00Z",
    Bytes: "AQI=",
    Hex: "0aff",
    Words: "oak,pine",
    Numbers: "1,2",
    Rooms: "Device.House.Room.2,Device.House.Room.1",
    Loose: "Device.House.Room.3",
    "Box.Inside": "Device.House.Room.3",
    "Box.Lid": "true",
  });
  addRow(tree, "Device.House.Shed.", { Text: "b", Count: "10", Next: "Device.House.Shed.1" });
  addRow(tree, "Device.House.Shed.1.Tool.", { Name: "saw" });
});
afterEach(() => world.stop());

/** Instance numbers that the path's Alias was found at, or the error's code. */
async function found(path: string): Promise<string[] | number> {
  const { reqPathResults } = await world.admin.response(get([path]), "getResp");
  const { errCode, resolvedPathResults } = reqPathResults[0]!;
  return errCode !== 0 ? errCode : resolvedPathResults.map(({ resolvedPath }) => resolvedPath.split(".").at(-2)!);
}
const sheds = (expression: string) => found(`Device.House.Shed.[${expression}].Alias`);

describe("an expression compares by the parameter's own type", () => {
  it.each<[string, string[] | number]>([
    // Strings: equality alone, in quotes, %22 and %25 for what they could not hold.
    ['Text=="say %2250%25%22 && go]"', ["1"]],
    ['Text!="b"', ["1"]],
    ['Text=="B"', []],
    ["Text==b", 7008],
    ['Text<"z"', 7008],
    ['Text~="b"', 7008],
    ['Text=="%41"', 7008],
    // Booleans: four words, never in quotes.
    ["Yes==true", ["1"]],
    ["Yes==1", ["1"]],
    ["Yes!=0", ["1"]],
    ["Yes==false", ["2"]],
    ['Yes=="true"', 7008],
    ["Yes==yes", 7008],
    ["Yes>false", 7008],
    // Numbers: all but ~=, without quotes, compared as numbers; beyond the parameter's range too.
    ["Count==5", ["1"]],
    ["Count==+5", ["1"]],
    ["Count==05", ["1"]],
    ["Count!=5", ["2"]],
    ["Count<10", ["1"]],
    ["Count<=10", ["1", "2"]],
    ["Count>9", ["2"]],
    ["Count>=10", ["2"]],
    ["Count<1000", ["1", "2"]],
    ["Count>-1", ["1", "2"]],
    ['Count=="5"', 7008],
    ["Count==five", 7008],
    ["Count~=5", 7008],
    ["Below<-2", ["1"]],
    ["Below==-3", ["1"]],
    ["Big==9007199254740991", ["1"]],
    ["Part==1.5", ["1"]],
    ["Part>1.49", ["1"]],
    // Times: with an order, but the Unknown Time, which has none.
    ["When==2026-01-31T12:00:00Z", ["1"]],
    ['When=="2026-01-31T13:00:00+01:00"', ["1"]],
    ["When<2026-02-01T00:00:00Z", ["1"]],
    ["When>2026-02-01T00:00:00Z", []],
    ["When==0001-01-01T00:00:00Z", ["2"]],
    ["When>0001-01-01T00:00:00Z", 7008],
    ["When==yesterday", 7008],
    // Bytes are text.
    ['Bytes=="AQI="', ["1"]],
    ['Hex=="0AFF"', ["1"]],
    ['Hex=="0aff"', ["1"]],
    ['Hex>"00"', 7008],
    // Lists: a member by ~= and its own type, the whole as text.
    ['Words~="pine"', ["1"]],
    ['Words~="pin"', []],
    ["Words~=pine", 7008],
    ["Numbers~=2", ["1"]],
    ['Numbers~="2"', 7008],
    ["Numbers~=02", ["1"]],
    ['Words=="oak,pine"', ["1"]],
    ['Numbers=="1,2"', ["1"]],
    ['Numbers=="1, 2"', ["1"]],
    ["Numbers==1", 7008],
    ["Numbers>1", 7008],
    ['Rooms~="Device.House.Room.1"', ["1"]],
    // AND alone, blanks around operators tolerated.
    ["Count>1&&Yes==true", ["1"]],
    ["Count > 1 && Yes == true", ["1"]],
    ["Count>1||Yes==true", 7008],
    ["Count>1&&", 7008],
    ["", 7008],
    // The left side descends single children and follows references; child tables are out of reach.
    ["Box.Lid==true", ["1"]],
    ["Box.No==true", 7026],
    ['Tool.Name=="saw"', 7026],
    ['Tool.1.Name=="saw"', 7008],
    ["No==1", 7026],
    ["Next+.Count==5", ["2"]],
    ['Next+.Next+.Text=="b"', []],
    ['Rooms+.Name=="attic"', ["1"]],
    ['Rooms#2+.Name=="hall"', ["1"]],
    ['Rooms#*+.Name=="hall"', ["1"]],
    ["Rooms#3+.Floor==0", []],
    ['Rooms#*+.Lamp.Colour=="blue"', ["1"]],
    ['Box.Inside+.Name=="den"', ["1"]],
    ["Text+.Count==1", 7026],
    ["Rooms#0+.Floor==0", 7008],
    ["Rooms+==1", 7008],
  ])("[%s]", async (expression, expected) => {
    expect(await sheds(expression)).toEqual(expected);
  });

  it.each<[string, string[] | number]>([
    ["Device.House.Shed.1.Next+.Alias", []],
    ["Device.House.Shed.2.Next+.Alias", ["1"]],
    ["Device.House.Shed.1.Rooms+.Name", ["2"]],
    ["Device.House.Shed.1.Rooms#1+.Name", ["2"]],
    ["Device.House.Shed.1.Rooms#2+.Name", ["1"]],
    ["Device.House.Shed.1.Rooms#3+.Name", []],
    ["Device.House.Shed.*.Rooms#*+.Name", ["2", "1"]],
    ["Device.House.Shed.1.Rooms#*+.", ["2", "Lamp", "1", "Lamp"]],
    ["Device.House.Shed.1.Box.Inside+.Name", ["3"]],
    ["Device.House.Shed.[Count==10].Next+.Rooms+.Name", ["2"]],
    ["Device.House.Shed.1.Loose+.Name", ["3"]],
    ["Device.House.Shed.Rooms+.Name", 7026],
    ["Device.House.Shed.1.Text+.Name", 7026],
    ["Device.House.Shed.1.Rooms#+.Name", 7008],
    ["Device.House.Shed.1.Rooms#-1+.Name", 7008],
  ])("%s", async (path, expected) => {
    expect(await found(path)).toEqual(expected);
  });

  it("follows nothing that a weak reference says of another table", async () => {
    await world.admin.ask(setOne("Device.House.Shed.2.", { Loose: "Device.LocalAgent.Controller.1" }));
    expect(await found("Device.House.Shed.2.Loose+.Name")).toEqual([]);
    expect(await found("Device.House.Shed.2.Loose+.Lamp.Colour")).toEqual([]);
    expect(await sheds('Loose+.Name=="x"')).toEqual([]);
  });
});

const value = async (param: string, row = 1) =>
  Object.values(await world.admin.get(`Device.House.Shed.${row}.${param}`))[0];

describe("references (R-ARC.11, R-ARC.12)", () => {
  it.each<[string, string, string]>([
    ["Next", 'Device.House.Shed.[Text=="b"].', "Device.House.Shed.2"],
    ["Next", "Device.House.Shed.2.", "Device.House.Shed.2"],
    ["Rooms", 'Device.House.Room.[Name=="den"],Device.House.Room.1', "Device.House.Room.3,Device.House.Room.1"],
    ["Rooms", "", ""],
    ["Loose", 'Device.House.Room.[Name=="den"]', "Device.House.Room.3"],
    ["Loose", "Device.House.Room.99", "Device.House.Room.99"],
    ["Loose", "Device.Elsewhere.7.", "Device.Elsewhere.7"],
  ])("%s written as %s is read as %s", async (param, written, read) => {
    await world.admin.response(setOne("Device.House.Shed.1.", { [param]: written }), "setResp");
    expect(await value(param)).toBe(read);
  });

  it.each<[string, string]>([
    ["Next", "Device.House.Shed.9"],
    ["Next", "Device.House.Room.1"],
    ["Next", "Device.House.Shed."],
    ["Next", "Device.House.Shed.*"],
    ["Next", "nonsense"],
    ["Rooms", "Device.House.Room.1,Device.House.Room.9"],
  ])("%s = %s, which points to no row of its table, is refused with 7012", async (param, text) => {
    const { paramErrs } = await world.admin.error(setOne("Device.House.Shed.1.", { [param]: text }));
    expect(paramErrs).toEqual([expect.objectContaining({ paramPath: `Device.House.Shed.1.${param}`, errCode: 7012 })]);
  });

  it("clears strong ones with their target, drops list members, leaves weak ones, takes dependent rows along", async () => {
    await world.admin.ask(
      setOne("Device.House.Shed.1.", {
        Loose: "Device.House.Room.1",
        LooseRooms: "Device.House.Room.1,Device.House.Room.2",
        "Box.Inside": "Device.House.Room.1",
      }),
    );
    await world.admin.response(addOne("Device.House.Shed.", { Owner: "Device.House.Room.1" }), "addResp");
    await world.admin.response(deletion(["Device.House.Room.1."]), "deleteResp");
    expect(await value("Rooms")).toBe("Device.House.Room.2");
    expect(await value("Box.Inside")).toBe("");
    expect(await value("Loose")).toBe("Device.House.Room.1");
    expect(await value("LooseRooms")).toBe("Device.House.Room.1,Device.House.Room.2");
    expect(world.tree.at("Device.House.Shed.3.")).toBeUndefined();
  });

  it("tells nobody by a written key what it may not read", async () => {
    const plain = world.peer("self::plain", addRole(world.tree, "Plain"));
    await world.admin.ask(setOne("Device.House.Room.2.", { Secret: "s" }));
    const byReading = setOne("Device.House.Shed.1.", { Next: 'Device.House.Shed.[Text=="b"]' });
    expect((await plain.ask(byReading)).kind).toBe("response");
    const guess = (Secret: string) =>
      setOne("Device.House.Shed.1.", { Rooms: `Device.House.Room.[Secret=="${Secret}"]` });
    expect((await plain.error(guess("s"))).errMsg.replaceAll('"s"', "")).toEqual(
      (await plain.error(guess("t"))).errMsg.replaceAll('"t"', ""),
    );
    expect((await world.admin.ask(guess("s"))).kind).toBe("response");
  });
});
