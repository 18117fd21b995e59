import type { RequestType } from "../../src/usp/codec.ts";
import { addMany, addRow, buildWorld, deletion, get, setMany, type World } from "./support.ts";

const LIMIT = 20_000;
let world: World;
let greatest: number;

beforeEach(async () => {
  world = await buildWorld({ limits: { responseBytes: LIMIT } });
  addRow(world.tree, "Device.House.Room.", { Name: "hall", Floor: "0" });
  greatest = 0;
  world.network.listeners.add((record) => (greatest = Math.max(greatest, record.length)));
});
afterEach(() => world.stop());

const many = (path: string) => Array<string>(3_000).fill(path);
const rooms = () => [...world.tree.all(world.tree.object("Device.House.Room.{i}.")!)].length;

const questions: readonly (readonly [string, RequestType])[] = [
  ["Get of whole models", get(many("Device."))],
  ["Get of what is not there", get(many("Device.Nothing."))],
  ["Get of no path", get(many(""))],
  ["GetInstances", { $case: "getInstances", value: { objPaths: many("Device.Nothing."), firstLevelOnly: false } }],
  [
    "GetInstances of rows",
    { $case: "getInstances", value: { objPaths: many("Device.House.Room."), firstLevelOnly: false } },
  ],
  [
    "GetSupportedDM",
    {
      $case: "getSupportedDm",
      value: {
        objPaths: many("Device.House."),
        firstLevelOnly: false,
        returnCommands: true,
        returnEvents: true,
        returnParams: true,
        returnUniqueKeySets: true,
      },
    },
  ],
];

describe("an answer past the bound", () => {
  it.each(questions)("is one Error 7005 that says so: %s", async (_, request) => {
    const { errCode, errMsg } = await world.admin.error(request);
    expect(errCode).toBe(7005);
    expect(errMsg).toContain(`${LIMIT} bytes`);
    expect(greatest).toBeLessThan(LIMIT + 300);
  });

  it.each([true, false])("to a Set changes nothing (allow_partial %s)", async (allowPartial) => {
    const updates = many("Device.House.Room.1.").map((objPath) => ({ objPath, params: { Warm: "true" } }));
    const { errCode } = await world.admin.error(setMany(updates, { allowPartial }));
    expect(errCode).toBe(7005);
    expect(world.tree.text(world.tree.at("Device.House.Room.1.")!, "Warm")).toBe("false");
    expect(greatest).toBeLessThan(LIMIT + 300);
  });

  it("to an Add adds nothing", async () => {
    const rows = many("Device.House.Room.").map((objPath, i) => ({ objPath, params: { Name: `r${i}` } }));
    expect((await world.admin.error(addMany(rows, { allowPartial: true }))).errCode).toBe(7005);
    expect(rooms()).toBe(1);
  });

  it("to a Delete deletes nothing", async () => {
    const paths = many("Device.Nothing.1.");
    const { errCode } = await world.admin.error(deletion(["Device.House.Room.1.", ...paths], true));
    expect(errCode).toBe(7005);
    expect(rooms()).toBe(1);
    expect(greatest).toBeLessThan(LIMIT + 300);
  });

  it("to a Delete of nothing without allow_partial names as many faults as fit", async () => {
    const { errCode, paramErrs } = await world.admin.error(deletion(many("Device.Nothing.1."), false));
    expect(errCode).toBe(7026);
    expect(paramErrs.length).toBeGreaterThan(10);
    expect(greatest).toBeLessThan(LIMIT + 300);
  });
});

describe("a path of a row that is not there", () => {
  it.each(["Device.House.Room.9.", "Device.House.Room.9.Name"])(
    "is told from one outside the model: %s",
    async (path) => {
      const { reqPathResults } = await world.admin.response(get([path]), "getResp");
      expect(reqPathResults[0]).toMatchObject({ errCode: 7026, errMsg: `${path}: the instance does not exist now` });
    },
  );
});
