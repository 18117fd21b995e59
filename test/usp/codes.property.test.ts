/** Each Message answers with the codes that TR-369's table of error codes gives it, and no others. */
import fc from "fast-check";
import type { MsgContent, RequestType, ResponseType } from "../../src/usp/codec.ts";
import { path, request } from "./arbitrary.ts";
import { addRole, addRow, buildWorld, type Peer, type World } from "./support.ts";

let world: World;
let peers: Peer[];

beforeEach(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b"]) addRow(world.tree, "Device.House.Room.", { Name, Beside: "" });
  addRow(world.tree, "Device.House.Room.1.Chair.");
  const role = addRole(world.tree, "Half", [
    { Targets: "Device.House.", Param: "r---", Obj: "rw--", InstantiatedObj: "r---", CommandEvent: "r---" },
    { Targets: "Device.House.Room.1.", Param: "rw--", Obj: "r---", InstantiatedObj: "rw--", CommandEvent: "r-x-" },
    { Targets: "Device.House.Room.{i}.Floor", Param: "----" },
  ]);
  peers = [world.admin, world.peer("self::half", role)];
});
afterEach(() => world.stop());

const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

/** 7021 and 7025 are told of objects and parameters, which the table of Add leaves out and the codes' own text does not. */
const CODES: Readonly<Partial<Record<RequestType["$case"], readonly number[]>>> = {
  get: [...range(7000, 7006), 7008, 7010, 7016, 7026],
  getInstances: [...range(7000, 7006), 7008, 7016, 7018, 7026],
  getSupportedDm: [...range(7000, 7006), 7008, 7016, 7026],
  set: [...range(7000, 7016), 7020, 7021, 7025, 7026],
  add: [...range(7000, 7019), 7021, 7025, 7026],
  delete: [...range(7000, 7008), 7015, 7016, 7018, 7024, 7026],
  operate: [...range(7000, 7008), 7016, 7022, 7026, 7027],
};

/** Every `errCode` in it that is one, wherever it stands. */
function codesIn(value: unknown): number[] {
  if (typeof value !== "object" || value === null) return [];
  const own = "errCode" in value && value.errCode !== 0 ? [value.errCode as number] : [];
  return [...own, ...Object.values(value).flatMap(codesIn)];
}

const codesOf = (content: MsgContent) => codesIn(content.kind === "response" ? content.response : content);

test("whatever is asked, by whom", async () => {
  await fc.assert(
    fc.asyncProperty(request, fc.nat(1), async (asked, who) => {
      const content = await (peers[who] as Peer).ask(asked);
      const allowed = CODES[asked.$case] ?? [];
      for (const code of codesOf(content)) expect(allowed).toContain(code);
      if (content.kind !== "error") return;
      // R-MSG: what is at fault is named whole.
      for (const { paramPath, errMsg } of content.error.paramErrs) {
        expect(errMsg).not.toBe("");
        expect(asked.$case === "set" || asked.$case === "add" || asked.$case === "delete").toBe(true);
        expect(paramPath.startsWith("Device.") || JSON.stringify(asked).includes(JSON.stringify(paramPath))).toBe(true);
      }
    }),
    { numRuns: 1_500, seed: 369 },
  );
});

test("with allow_partial there is a result a part, in order, and never an Error for one of them", async () => {
  const settings = fc.array(
    fc.record({
      param: fc.constantFrom("Name", "Floor", "Nothing", "Alias"),
      value: fc.constantFrom("", "7", "x"),
      required: fc.boolean(),
    }),
    { maxLength: 2 },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(path, settings), { minLength: 1, maxLength: 4 }), async (parts) => {
      const updateObjs = parts.map(([objPath, paramSettings]) => ({ objPath, paramSettings }));
      const content = await world.admin.ask({ $case: "set", value: { allowPartial: true, updateObjs } });
      const { updatedObjResults } = (
        content as { response: { value: Extract<ResponseType, { $case: "setResp" }>["value"] } }
      ).response.value;
      expect(updatedObjResults.map(({ requestedPath }) => requestedPath)).toEqual(parts.map(([objPath]) => objPath));
      const gone = await world.admin.ask({
        $case: "delete",
        value: { allowPartial: true, objPaths: ["Device.X.", ...parts.map(([objPath]) => `${objPath}.9.`)] },
      });
      expect(
        gone.kind === "response" && gone.response.$case === "deleteResp" && gone.response.value.deletedObjResults,
      ).toHaveLength(parts.length + 1);
    }),
    { numRuns: 300, seed: 369 },
  );
});
