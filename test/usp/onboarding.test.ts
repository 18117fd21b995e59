/** OnBoardRequests to controllers that do not know the agent (TR-369 R-NOT.6a, TR-181 OnBoardingComplete). */
import { addController, addOne, buildWorld, Peer, setOne, setParams, settle, until, type World } from "./support.ts";

let world: World;
beforeEach(async () => {
  world = await buildWorld();
});
afterEach(() => world.stop());

const requests = (peer: Peer) => peer.notifies.filter(({ notification }) => notification?.$case === "onBoardReq");
const newPeer = (values: Record<string, string> = {}) =>
  world.peer("self::new", world.roleAdmin, { OnBoardingComplete: "false", ...values });

it("is asked of a controller that is added, after the Connect Record, once", async () => {
  const peer = newPeer();
  await until(() => requests(peer).length === 1);
  expect(peer.records.map(({ recordType }) => recordType.$case)).toEqual(["mqttConnect", "noSessionContext"]);
  expect(peer.notifies[0]).toMatchObject({ subscriptionId: "", sendResp: true });
  await world.admin.ask(setOne("Device.LocalAgent.Controller.2.", { ControllerCode: "x" }));
  await settle();
  expect(requests(peer)).toHaveLength(1);
});

it("is what a row says that a controller adds and enables", async () => {
  const peer = new Peer(world.network, "self::later");
  const { createdObjResults } = await world.admin.response(
    addOne("Device.LocalAgent.Controller.", { EndpointID: "self::later" }),
    "addResp",
  );
  expect(createdObjResults[0]?.operStatus?.operStatus?.$case).toBe("operSuccess");
  const path = "Device.LocalAgent.Controller.2.";
  await world.admin.ask(addOne(`${path}MTP.`, { Protocol: "MQTT", Enable: "true", "MQTT.Topic": peer.topic }));
  await settle();
  expect(peer.records).toEqual([]);
  await world.admin.ask(setOne(path, { Enable: "true" }));
  await until(() => requests(peer).length === 1);
});

it("is asked again at each start and at OnBoardingRestartTime, until the controller says that it is done", async () => {
  const peer = newPeer({ OnBoardingRestartTime: "1" });
  await until(() => requests(peer).length === 2);
  await peer.ask(setOne("Device.LocalAgent.Controller.2.", { OnBoardingComplete: "true" }));
  await new Promise((resolve) => setTimeout(resolve, 1_200));
  expect(requests(peer)).toHaveLength(2);
});

it("is not repeated any more once the controller says so, answered or not", async () => {
  const peer = newPeer({ USPNotifRetryMinimumWaitInterval: "1", USPNotifRetryIntervalMultiplier: "1000" });
  peer.answers = false;
  await until(() => requests(peer).length === 1);
  await world.admin.ask(setOne("Device.LocalAgent.Controller.2.", { OnBoardingComplete: "true" }));
  expect(world.agent.counters.notifications.waiting).toBe(0);
});

it("is not asked of one that is disabled, and ends with the row", async () => {
  const peer = newPeer();
  peer.answers = false;
  await until(() => requests(peer).length === 1);
  setParams(world.tree, "Device.LocalAgent.Controller.2.", { Enable: "false" });
  await settle();
  expect(world.agent.counters.notifications.waiting).toBe(0);
  addController(world.tree, "self::off", world.roleAdmin, { Enable: "false", OnBoardingComplete: "false" });
  await settle();
  expect(world.agent.counters.notifications.waiting).toBe(0);
});
