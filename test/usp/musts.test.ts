/**
 * "MUSTs that implementers usually miss" (TR-369 1.4.1), one test each by number. Those of an MTP or of sessions stand with
 * their tests, and the table below names them; the last test holds the table to the files.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { memoryStore } from "../../src/lib/store.ts";
import { encodeMsgRecord, encodeRecord, recordOf, requestMsg } from "../../src/usp/codec.ts";
import { endpointIdFault } from "../../src/lib/endpoint-id.ts";
import {
  addMany,
  addOne,
  addRole,
  addRow,
  AGENT_ID,
  buildWorld,
  deletion,
  get,
  operation,
  setMany,
  setOne,
  setParams,
  settle,
  subscribe,
  until,
  type World,
} from "./support.ts";

let world: World;

beforeEach(async () => {
  world = await buildWorld();
  for (const Name of ["a", "b"]) addRow(world.tree, "Device.House.Room.", { Name });
});
afterEach(() => world.stop());

const SIZE = get(["Device.House.Size"]);
const envelope = { version: "1.4", fromId: "self::admin", toId: AGENT_ID };
const kinds = () => world.admin.records.map(({ recordType }) => recordType.$case);
const codes = async (...paths: string[]) =>
  (await world.admin.response(get(paths), "getResp")).reqPathResults.map(({ errCode, resolvedPathResults }) => [
    errCode,
    resolvedPathResults.length,
  ]);

/** Number, file below test/, test. */
const ELSEWHERE: readonly (readonly [string, string, string])[] = [
  ["1. E2E.6a, where SessionMode says so", "usp/sessions", "gets a Disconnect with 7106, and then the Connect Record"],
  [
    "2. MTP.6, MTP.8, WebSocket",
    "e2e/websocket",
    "says the Connect Record first, then Boot!, and Disconnect before it leaves",
  ],
  ["17. MQTT.9", "mtp/mqtt", "an assigned client id comes back, and serves for the next connection"],
  ["17. MQTT.9, kept", "gateway/mqtt", "keeps the client id that the broker gave, without connecting anew for it"],
  ["17. MQTT.15", "mtp/mqtt", "subscribes to all that is configured and all that the CONNACK names"],
  ["17. MQTT.16", "mtp/mqtt", "or when there is nothing to subscribe to"],
  ["17. MQTT.17", "mtp/mqtt", "end it when none is granted, with nothing published before"],
  ["18. MQTT.24", "mtp/mqtt", "reads the reply topic from what follows the last reply-to"],
  [
    "18. MQTT.24, written",
    "mtp/mqtt",
    "listens below its reply topic, and publishes to the peer's with its own at the end",
  ],
  ["19. STOMP.4", "mtp/stomp-codec", "escapes colons, backslashes and ends of line in headers"],
  ["20. WS.6", "e2e/websocket", "an agent that listens"],
  ["20. WS.16", "e2e/websocket", "closes with 1003 after what is no Record, and dials anew"],
  ["20. WS.16, text", "e2e/websocket", "closes with 1003 after a text frame"],
  ["21. WS.14b", "mtp/websocket", "fragments are put together, with a Ping between them"],
  ["22. UDS.18", "mtp/uds", "gives up where no handshake comes"],
  ["22. UDS.15, UDS.20", "mtp/uds", "ignores Records before the handshake, unknown TLVs, and a second handshake"],
  ["26. MSG.0a, sessions", "usp/sessions", "is answered outside where it asked outside, in between too"],
];

test.each(ELSEWHERE)("%s is held in test/%s: %s", (_, file, name) => {
  expect(readFileSync(join(__dirname, "..", `${file}.test.ts`), "utf8")).toContain(name);
});

test("1. E2E.6a: a session context is answered with Disconnect 7106", async () => {
  const ids = { sessionId: 5n, sequenceId: 1n, expectedId: 1n, retransmitId: 0n };
  const value = { ...ids, payloadSarState: 0, payloadrecSarState: 0, payload: [] } as const;
  world.admin.record({ $case: "sessionContext", value: { ...value, payload: [] } });
  await until(() => kinds().includes("disconnect"));
  const disconnect = world.admin.records.find(({ recordType }) => recordType.$case === "disconnect");
  expect(disconnect?.recordType.value).toMatchObject({ reasonCode: 7106 });
});

test("2. MTP.6, MTP.8: the Connect Record comes first on every connection, and again after a Disconnect", async () => {
  world.network.cut();
  await until(() => kinds().length === 2);
  world.admin.record({ $case: "disconnect", value: { reason: "", reasonCode: 0 } });
  await world.admin.ask(SIZE);
  expect(kinds()).toEqual(["mqttConnect", "mqttConnect", "mqttConnect", "noSessionContext"]);
});

describe("3. MTP.5: a broken Record is answered only if sender, addressee, Request, id and way back are known", () => {
  const bad = (changes: Partial<typeof envelope>) =>
    encodeMsgRecord({ ...envelope, version: "", ...changes }, requestMsg("id", SIZE));
  test.each<[string, Uint8Array, boolean]>([
    ["all known", bad({}), true],
    ["sender unknown", bad({ fromId: "self::nobody" }), false],
    ["not for us", bad({ toId: "self::other" }), false],
    ["no id", encodeMsgRecord({ ...envelope, version: "" }, requestMsg("", SIZE)), false],
  ])("%s", async (_, record, isAnswered) => {
    world.admin.send(record);
    await world.admin.ask(SIZE);
    expect(world.admin.contents.filter(({ content }) => content.kind === "error")).toHaveLength(isAnswered ? 1 : 0);
  });
});

test("4. MSG.4: a second request with the id of an unfinished one is ignored", async () => {
  void world.admin.ask(operation("Device.House.Slow()", { Ms: "30" }), "id");
  world.admin.send(encodeMsgRecord(envelope, requestMsg("id", SIZE)));
  await until(() => world.admin.contents.length > 0);
  await settle();
  expect(world.admin.contents.map(({ content }) => content.kind === "response" && content.response.$case)).toEqual([
    "operateResp",
  ]);
});

test("5. GET.0, GET.1a, GET.1b: not there, nothing found and an empty table are three things", async () => {
  const paths = [
    "Device.House.Room.9.",
    "Device.House.Room.[Floor==9].",
    "Device.House.Cat.",
    "Device.House.Room.*.No",
  ];
  expect(await codes(...paths)).toEqual([
    [7026, 0],
    [0, 0],
    [0, 0],
    [7026, 0],
  ]);
});

test("6. SET.2a: a search path writes all its rows or none, allow_partial or not", async () => {
  const role = addRole(world.tree, "Half", [
    { Targets: "Device.House.", Param: "rw--", Obj: "r---" },
    { Targets: "Device.House.Room.2.", Param: "r---", Obj: "r---" },
  ]);
  const half = world.peer("self::half", role);
  await half.response(setOne("Device.House.Room.*.", { Warm: "true" }, { allowPartial: true }), "setResp");
  expect(await world.admin.get("Device.House.Room.1.Warm")).toEqual({ "Device.House.Room.1.Warm": "false" });
});

test("7. ADD: unique keys are required though not marked so, and an Alias has a syntax", async () => {
  const add = (params: Record<string, string>) =>
    world.admin.error(addOne("Device.House.Room.", params, { required: false }));
  expect((await add({ Name: "far too long a name" })).errCode).toBe(7021);
  expect((await add({ Alias: "1-begins-with-a-digit" })).errCode).toBe(7021);
  const { createdObjResults } = await world.admin.response(addOne("Device.House.Room."), "addResp");
  const status = createdObjResults[0]?.operStatus?.operStatus;
  expect(status?.$case === "operSuccess" && status.value.uniqueKeys.get("Alias")).toMatch(/^cpe-/);
});

test("8. KEY.1: keys that are not functional and what is written once never change", async () => {
  for (const params of [{ Alias: "x" }, { Fixed: "x" }])
    expect((await world.admin.error(setOne("Device.House.Room.1.", params))).paramErrs[0]?.errCode).toBe(7013);
});

test("9. ARC.11, ARC.12: references are written by key, read by number, and cleared with their target", async () => {
  await world.admin.ask(setOne("Device.House.Room.1.", { Beside: 'Device.House.Room.[Name=="b"]' }));
  expect(await world.admin.get("Device.House.Room.1.Beside")).toEqual({
    "Device.House.Room.1.Beside": "Device.House.Room.2",
  });
  await world.admin.ask(deletion(["Device.House.Room.2."]));
  expect(await world.admin.get("Device.House.Room.1.Beside")).toEqual({ "Device.House.Room.1.Beside": "" });
  expect((await world.admin.error(setOne("Device.House.Room.1.", { Beside: "Device.House.Room.2" }))).errCode).toBe(
    7021,
  );
});

test("10. OPR.1, OPR.5: what is wrong with a command is a cmd_failure", async () => {
  const { operationResults } = await world.admin.response(operation("Device.House.Echo()"), "operateResp");
  expect(operationResults[0]?.operationResp).toMatchObject({ $case: "cmdFailure", value: { errCode: 7027 } });
});

test("11. OPR.0: the OperateResp comes before the OperationComplete, the row goes after it", async () => {
  await subscribe(world.admin, "OperationComplete", "Device.House.Wait()");
  await subscribe(world.admin, "ObjectDeletion", "Device.LocalAgent.Request.");
  const order: string[] = [];
  void world.admin.ask(operation("Device.House.Wait()", { Ms: "0" })).then(() => order.push("response"));
  await until(() => world.admin.notifies.length === 2);
  order.push(...world.admin.notifies.map(({ notification }) => notification?.$case ?? ""));
  expect(order).toEqual(["response", "operComplete", "objDeletion"]);
});

test("12. NOT.4: after a restart nothing of the retries before it is left", async () => {
  const store = memoryStore();
  const first = await buildWorld({ store });
  first.admin.answers = false;
  await subscribe(first.admin, "ValueChange", "Device.House.Name", { Persistent: "true", NotifRetry: "true" });
  setParams(first.tree, "Device.House.", { Name: "n" });
  await until(() => first.agent.counters.notifications.waiting === 1);
  await first.stop();
  const second = await buildWorld({ store });
  await settle();
  expect([second.admin.notifies.length, second.agent.counters.notifications.waiting]).toEqual([0, 0]);
  await second.stop();
});

test("13. NOT.6a: an OnBoardRequest wants an answer and waits for it over connections", async () => {
  world.admin.answers = false;
  world.agent.sendOnBoardRequest(world.adminPath);
  await until(() => world.admin.notifies.length === 1);
  world.network.cut();
  await until(() => world.admin.notifies.length === 2);
  expect(world.admin.notifies[1]).toMatchObject({ subscriptionId: "", sendResp: true });
});

test("14. a wildcard Subscription follows rows that appear later", async () => {
  await subscribe(world.admin, "ValueChange", "Device.House.Room.*.Warm");
  const { path } = addRow(world.tree, "Device.House.Room.");
  setParams(world.tree, path, { Warm: "true" });
  await until(() => world.admin.notifies.length === 1);
});

test("15. Subscriptions go with their Recipient", async () => {
  const other = world.peer("self::other");
  const path = await subscribe(other, "Event", "Device.");
  await world.admin.ask(deletion(["Device.LocalAgent.Controller.2."]));
  expect(world.tree.at(path)).toBeUndefined();
});

test("16. a notification needs the recipient's right at the moment it is sent", async () => {
  const role = addRole(world.tree, "Deaf", [
    { Targets: "Device.LocalAgent.", Param: "rw--", Obj: "rw--", InstantiatedObj: "rw--" },
    { Targets: "Device.House.", Param: "r---", Obj: "r---" },
  ]);
  const deaf = world.peer("self::deaf", role);
  await subscribe(deaf, "ValueChange", "Device.House.Name");
  setParams(world.tree, "Device.House.", { Name: "n" });
  await settle();
  expect(deaf.notifies).toEqual([]);
});

test("23. ENC.2: a Record with an enum value that does not exist is refused", async () => {
  const payload = encodeMsgRecord(envelope, requestMsg("unused", SIZE));
  const record = recordOf(envelope, { $case: "noSessionContext", value: { payload } });
  const before = world.admin.records.length;
  world.admin.send(encodeRecord({ ...record, payloadSecurity: 7 as never }));
  await settle();
  expect(world.admin.records).toHaveLength(before);
});

test("24. ARC.6: an endpoint id's instance part has 50 characters at most, of a small alphabet", () => {
  expect(endpointIdFault(`self::${"x".repeat(50)}`)).toBeUndefined();
  for (const id of [`self::${"x".repeat(51)}`, "self::ü", "self::a/b"]) expect(endpointIdFault(id)).toBeDefined();
});

test("25. GSDM: nothing is UNKNOWN", async () => {
  const flags = { returnCommands: true, returnEvents: true, returnParams: true, returnUniqueKeySets: true };
  const value = { objPaths: ["Device."], firstLevelOnly: false, ...flags };
  const { reqObjResults } = await world.admin.response({ $case: "getSupportedDm", value }, "getSupportedDmResp");
  const objects = reqObjResults[0]?.supportedObjs ?? [];
  expect(objects.length).toBeGreaterThan(10);
  expect(
    objects.flatMap(({ supportedParams }) => supportedParams).filter((p) => p.valueType === 0 || p.valueChange === 0),
  ).toEqual([]);
  expect(objects.flatMap(({ supportedCommands }) => supportedCommands).filter((c) => c.commandType === 0)).toEqual([]);
});

test("26. MSG.0a: the answer comes in the same kind of Record as the request", async () => {
  await world.admin.ask(SIZE);
  expect(kinds().at(-1)).toBe("noSessionContext");
});

test("27. a controller that is deleted or disabled is told so before", async () => {
  for (const change of [
    () => world.admin.ask(setOne("Device.LocalAgent.Controller.2.", { Enable: "false" })),
    () => world.admin.ask(deletion(["Device.LocalAgent.Controller.3."])),
  ]) {
    const other = world.peer(`self::n${world.network.listeners.size}`);
    await subscribe(other, "ValueChange", "Device.LocalAgent.Controller.");
    await subscribe(other, "ObjectDeletion", "Device.LocalAgent.Controller.");
    await change();
    await until(() => other.notifies.length === 1);
  }
});

test("28. ARC.8: instance numbers stay, over deletions and restarts", async () => {
  const store = memoryStore();
  const first = await buildWorld({ store });
  await first.admin.ask(addMany(["a", "b", "c"].map((Name) => ({ objPath: "Device.House.Room.", params: { Name } }))));
  await first.admin.ask(deletion(["Device.House.Room.1.", "Device.House.Room.3."]));
  await first.stop();
  const second = await buildWorld({ store });
  expect(await second.admin.get("Device.House.Room.*.Name")).toEqual({ "Device.House.Room.2.Name": "b" });
  await second.admin.ask(addOne("Device.House.Room."));
  expect(Object.keys(await second.admin.get("Device.House.Room.*.Name"))).toEqual([
    "Device.House.Room.2.Name",
    "Device.House.Room.4.Name",
  ]);
  await second.stop();
});

test("data dependencies do not depend on the order within a Message", async () => {
  await world.admin.response(
    setMany([
      { objPath: "Device.House.Room.1.", params: { Name: "b" } },
      { objPath: "Device.House.Room.2.", params: { Name: "a" } },
    ]),
    "setResp",
  );
});
