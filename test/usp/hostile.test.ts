/** Requests made to cost much: each is answered, refused in its own words, or told 7005, and the next one is served. */
import { object, readWrite } from "../../datamodel/schema.ts";
import { list, reference, unsignedInt } from "../../datamodel/values.ts";
import { table } from "../../src/model/table.ts";
import type { RequestType } from "../../src/usp/codec.ts";
import {
  addMany,
  addOne,
  addRow,
  buildWorld,
  deletion,
  get,
  operation,
  setMany,
  setOne,
  setParams,
  type World,
} from "./support.ts";

const PEER = "Device.House.Peer.{i}.";
/** Rows that all point to all. */
const PeerObject = object(PEER, {
  description: "A peer.",
  rows: "add-delete",
  params: { Peers: readWrite(list(reference(PEER)), "All of them."), Number: readWrite(unsignedInt(), "Number.") },
});

let world: World;
beforeAll(async () => {
  world = await buildWorld({ extra: [table(PeerObject)] });
  const rows = Array.from({ length: 20 }, () => addRow(world.tree, "Device.House.Peer.").path);
  for (const path of rows) setParams(world.tree, path, { Peers: rows.join(","), Number: "1" });
  for (let i = 0; i < 200; i++) {
    const room = addRow(world.tree, "Device.House.Room.", { Name: `r${i}`, Floor: `${i % 10}` });
    for (let j = 0; j < 5; j++) addRow(world.tree, `${room.path}Chair.`);
  }
});
afterAll(() => world.stop());

/** What came back of it, in short. */
async function outcome(request: RequestType): Promise<string> {
  const answer = await world.admin.ask(request);
  if (answer.kind === "error") return `Error ${answer.error.errCode}`;
  const { value } = answer.kind === "response" ? answer.response : { value: undefined };
  const codes = new Set(
    JSON.stringify(value, (_, part: unknown) => (typeof part === "bigint" ? `${part}` : part)).match(/"errCode":\d+/g),
  );
  return [...codes].join(" ");
}
const getOne = (path: string) => outcome(get([path]));
const OK = '"errCode":0';

const chain = (step: string, times: number) => Array.from({ length: times }, () => step).join(".");
const and = (comparison: string, times: number) => Array.from({ length: times }, () => comparison).join("&&");

it.each<[string, string, string]>([
  ["64 kB of names", `Device.${chain("House", 10_000)}.`, '"errCode":7008'],
  ["64 kB of one name", `Device.${"H".repeat(65_536)}.`, '"errCode":7008'],
  ["64 kB of brackets", `Device.House.Room.${"[".repeat(65_000)}`, '"errCode":7008'],
  ["64 kB of a literal", `Device.House.Room.[Name=="${"x".repeat(65_000)}"].`, '"errCode":7008'],
  ["a literal as long as a path may be", `Device.House.Room.[Name=="${"x".repeat(4_000)}"].`, OK],
  ["16 comparisons", `Device.House.Room.[${and("Floor<10", 16)}].Name`, OK],
  ["1,000 comparisons", `Device.House.Room.[${and("Floor<10", 300)}].Name`, '"errCode":7008'],
  ["brackets in brackets", `Device.House.Room.[Name==[Name==[Name==1]]].`, '"errCode":7008'],
  ["an expression in each of many components", `Device.${chain("House.[A==1]", 40)}.`, '"errCode":7008'],
  ["40 references, each to all", `Device.House.Peer.*.${chain("Peers#*+", 40)}.Number`, OK],
  ["40 references in an expression, each to all", `Device.House.Peer.[${chain("Peers#*+", 40)}.Number==1].Number`, OK],
  ["an item far out", "Device.House.Peer.*.Peers#999999+.Number", OK],
  ["an instance beyond any", "Device.House.Room.9999999999.Name", '"errCode":7026'],
  ["an instance beyond all numbers", `Device.House.Room.${"9".repeat(400)}.Name`, '"errCode":7008'],
  ["all rows of all rows", "Device.House.Room.*.Chair.*.Legs", OK],
])("a path with %s", async (_, path, expected) => {
  expect(await getOne(path)).toBe(expected);
});

it.each<[string, RequestType, RegExp]>([
  [
    "a Set of 2,000 objects",
    setMany(
      Array.from({ length: 2_000 }, (_, i) => ({
        objPath: `Device.House.Room.${(i % 200) + 1}.`,
        params: { Warm: "true" },
      })),
    ),
    /^$/,
  ],
  [
    "a Set of 3,000 parameters that are not there",
    setOne("Device.House.Room.1.", Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`P${i}`, "1"]))),
    /^Error 7021$/,
  ],
  [
    "the same on all rows",
    setOne("Device.House.Room.*.", Object.fromEntries(Array.from({ length: 3_000 }, (_, i) => [`P${i}`, "1"])), {
      required: false,
    }),
    /^Error 7005$/,
  ],
  [
    "a Set of everything at once",
    setMany(Array.from({ length: 200 }, () => ({ objPath: "Device.House.Room.*.Chair.*.", params: { Legs: "3" } }))),
    /^(Error 7005)?$/,
  ],
  ["a value of 500 kB", setOne("Device.House.", { Name: "x".repeat(500_000) }), /^Error 7021$/],
  [
    "an Add below each row, many times",
    addMany(Array.from({ length: 300 }, () => ({ objPath: "Device.House.Room.*.Chair.", params: {} }))),
    /^Error 7005$/,
  ],
  [
    "an Add of 1,000 rows, each to be refused",
    addMany(Array.from({ length: 1_000 }, () => ({ objPath: "Device.House.Room.", params: { Name: "r1" } }))),
    /^Error 70(25|05)$/,
  ],
  [
    "a Delete of the same rows a thousand times",
    deletion(
      Array.from({ length: 1_000 }, () => 'Device.House.Room.[Name=="none"].'),
      true,
    ),
    /^$/,
  ],
  [
    "a Get of one row a thousand times",
    get(Array.from({ length: 1_000 }, () => "Device.House.Room.1.Name")),
    /^"errCode":0$/,
  ],
  [
    "arguments without end",
    operation("Device.House.Echo()", Object.fromEntries(Array.from({ length: 4_000 }, (_, i) => [`A${i}`, "x"]))),
    /7027/,
  ],
  [
    "a Subscription to 60 kB of paths",
    addOne("Device.LocalAgent.Subscription.", {
      ReferenceList: Array.from({ length: 2_000 }, (_, i) => `Device.House.Room.${i}.Name`).join(","),
      Enable: "true",
    }),
    /^$|^Error 70/,
  ],
])("%s", async (_, request, expected) => {
  expect(await outcome(request)).toMatch(expected);
});

afterEach(async () => {
  expect(await world.admin.get("Device.House.Size")).toEqual({ "Device.House.Size": "42" });
});
