/** Who is at the other end of a connection that has no addresses, and what it is told there: R-MTP.8, R-NOT.9. */
import type { Connected } from "../../src/usp/mtp.ts";
import { Outlet } from "../../src/usp/outlet.ts";
import {
  addController,
  buildWorld,
  get,
  Network,
  operation,
  Peer,
  setParams,
  settle,
  subscribe,
  until,
  type World,
} from "./support.ts";

const ACS = "self::acs";
let world: World;
const stops: AbortController[] = [];
beforeEach(async () => {
  world = await buildWorld();
  const row = addController(world.tree, ACS, world.roleAdmin);
  setParams(world.tree, `${row}.MTP.1.`, { Protocol: "WebSocket" });
});
afterEach(async () => {
  for (const stop of stops.splice(0)) stop.abort();
  await world.stop();
});

/** A connection of its own; without `peer`, of one that does not say who it is. */
async function connect(connected: Partial<Connected> = {}): Promise<Peer & { leave: () => Promise<void> }> {
  const network = new Network();
  const peer = new Peer(network, ACS);
  network.listeners.clear();
  network.listeners.add((record) => peer.take(record));
  const stop = new AbortController();
  stops.push(stop);
  const served = world.agent.serve(
    "Device.LocalAgent.MTP.9",
    { ...(await network.connect()), connectRecord: { $case: "websocketConnect", value: {} }, ...connected },
    "WebSocket",
    stop.signal,
  );
  const leave = () => (stop.abort(), served);
  return Object.assign(peer, { leave });
}

const name = (Name: string) => setParams(world.tree, "Device.House.", { Name });
const NAME = "Device.House.Name";
const said = (peer: Peer) => peer.notifies.length;

test("one that says nothing gets nothing, and takes nothing from the one that is told", async () => {
  const stranger = await connect();
  const acs = await connect({ peer: ACS });
  await subscribe(acs, "ValueChange", NAME, { NotifRetry: "false", Persistent: "true" });
  name("one");
  await until(() => said(acs) === 1);
  await acs.leave();
  name("two");
  await settle();
  expect(stranger.records).toEqual([]);
  const back = await connect({ peer: ACS });
  await until(() => said(back) === 1);
  expect(stranger.records).toEqual([]);
});

test("one that does not say who it is, is known by its first Record", async () => {
  const acs = await connect();
  expect(acs.records).toEqual([]);
  await subscribe(acs, "ValueChange", NAME);
  expect(acs.records[0]?.recordType.$case).toBe("websocketConnect");
  name("one");
  await until(() => said(acs) === 1);
});

test("the connection that is the controller's own comes before one on which it spoke", async () => {
  const spoke = await connect();
  await spoke.ask(get([NAME]));
  const own = await connect({ peer: ACS });
  await subscribe(own, "ValueChange", NAME);
  name("one");
  await until(() => said(own) === 1);
  expect(said(spoke)).toBe(0);
});

test.each<[string, Partial<Connected>]>([
  ["says who it is", { peer: ACS }],
  ["does not say who it is", {}],
])("what was not answered is said again once to one that comes back and %s", async (_, connected) => {
  const acs = await connect({ peer: ACS });
  await subscribe(acs, "ValueChange", NAME, { NotifRetry: "true", Persistent: "true" });
  acs.answers = false;
  name("one");
  await until(() => said(acs) === 1);
  await acs.leave();
  const back = await connect(connected);
  back.answers = false;
  await back.ask(get([NAME]));
  await settle();
  await back.ask(get([NAME]));
  expect(back.notifyIds).toEqual(acs.notifyIds);
});

test("a request whose answer is lost by a bug of ours is under way no longer", async () => {
  const acs = await connect({ peer: ACS });
  const { respond } = Outlet.prototype;
  let isLost = false;
  Outlet.prototype.respond = () => {
    isLost = true;
    throw new TypeError("a bug");
  };
  try {
    void acs.ask(operation("Device.House.Slow()", { Ms: "1" }), "again");
    await until(() => isLost);
  } finally {
    Outlet.prototype.respond = respond;
  }
  await settle();
  expect((await acs.ask(operation("Device.House.Slow()", { Ms: "1" }), "again")).kind).toBe("response");
});
