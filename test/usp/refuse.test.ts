/** R-WS.16, R-UDS.24: where no Error can answer an unusable Record (R-MTP.5), the link itself is told, if it has a way to say so. */
import { encodeMsgRecord, requestMsg } from "../../src/usp/codec.ts";
import { AGENT_ID, buildWorld, get, settle, until, type World } from "./support.ts";

let world: World;
let refused: string[];

beforeEach(async () => {
  refused = [];
  world = await buildWorld({ isStarted: false });
  const { network } = world;
  const connect = network.connect.bind(network);
  network.connect = async () => {
    const connected = await connect();
    return { ...connected, link: { ...connected.link, refuse: (reason: string) => void refused.push(reason) } };
  };
  await world.start();
});
afterEach(() => world.stop());

const request = requestMsg("1", get(["Device.House.Size"]));
const record = (fromId: string, version = "1.4", toId = AGENT_ID) =>
  encodeMsgRecord({ version, fromId, toId }, request);

it.each<[string, Uint8Array]>([
  ["nothing", new Uint8Array(0)],
  ["no protobuf", Uint8Array.from([0x0a, 0x05, 0x41])],
  ["a Record without a version, of somebody that nobody knows", record("self::stranger", "")],
])("%s is refused, with the reason", async (_, bytes) => {
  world.network.deliver(bytes);
  await until(() => refused.length === 1);
  expect(refused[0]).toMatch(/\w/);
});

it("what can be answered with an Error is answered, and not refused", async () => {
  world.admin.send(record("self::admin", ""));
  await until(() => world.admin.contents.length === 1);
  expect(world.admin.contents[0]?.content).toMatchObject({ kind: "error", error: { errCode: 7104 } });
  expect(refused).toEqual([]);
});

it.each<[string, Uint8Array]>([
  ["somebody that nobody knows", record("self::stranger")],
  ["a controller, for another agent", record("self::admin", "1.4", "self::other")],
])("a good Record of %s is ignored, and ends nothing", async (_, bytes) => {
  world.network.deliver(bytes);
  await settle();
  expect(refused).toEqual([]);
});
