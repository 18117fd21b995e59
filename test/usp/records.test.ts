import type { Msg } from "../../proto/generated/usp-msg.ts";
import {
  encodeMsg,
  encodeMsgRecord,
  encodeRecord,
  errorMsg,
  recordOf,
  requestMsg,
  responseMsg,
} from "../../src/usp/codec.ts";
import {
  addController,
  AGENT_ID,
  buildWorld,
  get,
  operation,
  Peer,
  setOne,
  setParams,
  settle,
  until,
  type World,
} from "./support.ts";

let world: World;

beforeEach(async () => {
  world = await buildWorld();
});
afterEach(() => world.stop());

const SIZE = get(["Device.House.Size"]);
const envelope = (fromId: string, toId = AGENT_ID) => ({ version: "1.4", fromId, toId });
const kinds = (peer: Peer) => peer.records.map(({ recordType }) => recordType.$case);

describe("Records that get an answer", () => {
  it("is the same kind of Record, to the sender, with the message's id", async () => {
    await world.admin.ask(SIZE, "my id");
    const record = world.admin.records.at(-1);
    expect(record).toMatchObject({ toId: "self::admin", fromId: AGENT_ID, recordType: { $case: "noSessionContext" } });
  });

  it("goes where the request asks, else to the controller's configured topic", async () => {
    const bytes = encodeMsgRecord(envelope("self::admin"), requestMsg("1", SIZE));
    world.admin.send(bytes, "elsewhere");
    await until(() => world.network.published.some(({ options }) => options.to === "elsewhere"));
    world.network.deliver(bytes);
    await until(() => world.admin.records.length === 2);
  });

  it.each(["1.0", "1.1", "1.2", "1.3", "1.4"])("speaks %s to one who does", async (version) => {
    world.admin.version = version;
    await world.admin.ask(SIZE);
    expect(world.admin.records.at(-1)?.version).toBe(version);
  });

  it("speaks its newest version to one whose version it does not know", async () => {
    world.admin.version = "1.9";
    await world.admin.ask(SIZE);
    expect(world.admin.records.at(-1)?.version).toBe("1.4");
  });

  it("believes the body, not the header's type (R-MSG.10)", async () => {
    const msg = requestMsg("1", SIZE);
    const odd = encodeMsgRecord(envelope("self::admin"), { ...msg, header: { msgId: "1", msgType: 9 } });
    world.admin.send(odd);
    await until(() => world.admin.records.length === 2);
  });
});

describe("a session that is not wanted", () => {
  it("gets a Disconnect with 7106, and then the Connect Record anew (R-E2E.6a, R-MTP.8)", async () => {
    world.admin.record({
      $case: "sessionContext",
      value: {
        sessionId: 2n,
        sequenceId: 1n,
        expectedId: 1n,
        retransmitId: 0n,
        payloadSarState: 0,
        payloadrecSarState: 0,
        payload: [],
      },
    });
    await until(() => world.admin.records.length === 3);
    expect(kinds(world.admin)).toEqual(["mqttConnect", "disconnect", "mqttConnect"]);
    expect(world.admin.records[1]?.recordType.value).toMatchObject({ reasonCode: 7106 });
  });

  it("gets the Connect Record anew after the controller's own Disconnect, before anything else", async () => {
    world.admin.record({ $case: "disconnect", value: { reason: "bye", reasonCode: 0 } });
    await world.admin.ask(SIZE);
    expect(kinds(world.admin)).toEqual(["mqttConnect", "mqttConnect", "noSessionContext"]);
  });
});

describe("a controller that chokes on Records without a Message", () => {
  const row = "Device.LocalAgent.Controller.1.";

  it("gets none that its row says are withheld", async () => {
    setParams(world.tree, row, { X_SPIN_WithheldRecords: "Connect,Disconnect" });
    await settle();
    world.admin.record({ $case: "disconnect", value: { reason: "bye", reasonCode: 0 } });
    const before = world.admin.records.length;
    await world.admin.ask(SIZE);
    await world.stop();
    expect(kinds(world.admin).slice(before)).toEqual(["noSessionContext"]);
  });
});

describe("Records that get nothing", () => {
  const request = requestMsg("1", SIZE);
  const broken = Uint8Array.from([0x0a, 0x05, 0x41]);
  it.each<[string, (world: World) => [Uint8Array, (string | undefined)?]]>([
    ["from an endpoint that is not known", () => [encodeMsgRecord(envelope("self::stranger"), request)]],
    ["from our own id (R-ARC.2)", () => [encodeMsgRecord(envelope(AGENT_ID), request)]],
    ["for somebody else (R-E2E.1)", () => [encodeMsgRecord(envelope("self::admin", "self::other"), request)]],
    ["that are no Record", () => [broken]],
    ["that are empty", () => [new Uint8Array(0)]],
    [
      "with a response to nothing",
      () => [
        encodeMsgRecord(
          envelope("self::admin"),
          responseMsg("1", { $case: "notifyResp", value: { subscriptionId: "x" } }),
        ),
      ],
    ],
    ["with an Error", () => [encodeMsgRecord(envelope("self::admin"), errorMsg("1", 7000, "no"))]],
    ["of a connect", () => [encodeRecord(recordOf(envelope("self::admin"), { $case: "udsConnect", value: {} }))]],
    [
      "with a Message that is none, and no id in it",
      () => [
        encodeRecord(
          recordOf(envelope("self::admin"), {
            $case: "noSessionContext",
            value: { payload: Uint8Array.from([1, 2, 3]) },
          }),
        ),
      ],
    ],
    [
      "from a controller that is disabled",
      ({ tree }) => {
        setParams(tree, "Device.LocalAgent.Controller.1.", { Enable: "false" });
        return [encodeMsgRecord(envelope("self::admin"), request)];
      },
    ],
    [
      "that name no way back",
      ({ tree }) => {
        setParams(tree, "Device.LocalAgent.Controller.1.MTP.1.", { Enable: "false" });
        return [encodeMsgRecord(envelope("self::admin"), request), undefined];
      },
    ],
  ])("%s", async (_, make) => {
    await settle();
    const [bytes, replyTo] = make(world);
    const before = world.network.published.length;
    world.network.deliver(bytes, replyTo);
    await settle();
    expect(world.network.published).toHaveLength(before);
  });
});

describe("Records that are broken but can be answered (R-MTP.5)", () => {
  const msg = encodeMsg(requestMsg("my id", SIZE));
  it.each<[string, Uint8Array, number]>([
    ["no version", encodeMsgRecord({ ...envelope("self::admin"), version: "" }, requestMsg("my id", SIZE)), 7104],
    [
      "two record types",
      Buffer.concat([encodeMsgRecord(envelope("self::admin"), requestMsg("my id", SIZE)), Uint8Array.from([0x6a, 0])]),
      7104,
    ],
    [
      "a payload security that does not exist (R-ENC.2)",
      encodeRecord({
        ...recordOf(envelope("self::admin"), { $case: "noSessionContext", value: { payload: msg } }),
        payloadSecurity: 9 as never,
      }),
      7100,
    ],
    [
      "a payload security that is not supported",
      encodeRecord({
        ...recordOf(envelope("self::admin"), { $case: "noSessionContext", value: { payload: msg } }),
        payloadSecurity: 1,
      }),
      7102,
    ],
    [
      "a Message with two bodies (R-ENC.5)",
      encodeRecord(
        recordOf(envelope("self::admin"), {
          $case: "noSessionContext",
          value: { payload: Buffer.concat([msg, msg.subarray(msg.indexOf(0x12, 8))]) },
        }),
      ),
      7004,
    ],
    ["a request of a kind not invented yet", unknownRequest(), 7001],
  ])("%s", async (_, bytes, code) => {
    world.admin.send(bytes);
    await world.admin.ask(SIZE, "after");
    const errors = world.admin.contents.filter(({ msgId }) => msgId === "my id");
    expect(errors).toEqual([
      { msgId: "my id", content: { kind: "error", error: expect.objectContaining({ errCode: code }) as unknown } },
    ]);
  });
});

/** R-MTP.5, the whole table: each kind of broken Record, and each thing without which nothing can be said to it. */
describe("a broken Record", () => {
  type Claims = { readonly from: string; readonly to: string; readonly msg: Msg };
  const id = "my id";
  const good: Claims = { from: "self::admin", to: AGENT_ID, msg: requestMsg(id, SIZE) };
  const record = ({ from, to, msg }: Claims) =>
    recordOf(envelope(from, to), { $case: "noSessionContext", value: { payload: encodeMsg(msg).slice() } });
  const BROKEN: readonly (readonly [string, number, (claims: Claims) => Uint8Array])[] = [
    [
      "with an enum that does not exist",
      7100,
      (claims) => encodeRecord({ ...record(claims), payloadSecurity: 9 as never }),
    ],
    ["cut off", 7100, (claims) => Buffer.concat([encodeRecord(record(claims)), Uint8Array.from([0x32, 0x7f])])],
    [
      "with secured payload outside of a session",
      7102,
      (claims) => encodeRecord({ ...record(claims), payloadSecurity: 1 }),
    ],
    ["without version", 7104, (claims) => encodeRecord({ ...record(claims), version: "" })],
    ["of two types", 7104, (claims) => Buffer.concat([encodeRecord(record(claims)), Uint8Array.from([0x6a, 0])])],
  ];
  const MISSING: readonly (readonly [string, Partial<Claims>])[] = [
    ["the sender is not known", { from: "self::stranger" }],
    ["the sender is the agent itself", { from: AGENT_ID }],
    ["it is for somebody else", { to: "self::other" }],
    ["it holds a Response", { msg: responseMsg(id, { $case: "notifyResp", value: { subscriptionId: "x" } }) }],
    ["it holds an Error", { msg: errorMsg(id, 7000, "no") }],
    ["it has no message id", { msg: requestMsg("", SIZE) }],
  ];
  const errors = () => world.admin.contents.filter(({ content }) => content.kind === "error");

  it.each(BROKEN)("%s is answered with %d", async (_, code, make) => {
    world.admin.send(make(good).slice());
    await world.admin.ask(SIZE, "after");
    expect(errors()).toMatchObject([{ msgId: id, content: { error: { errCode: code } } }]);
  });

  describe.each(BROKEN)("%s (%d) gets nothing", (_, _code, make) => {
    it.each(MISSING)("where %s", async (_why, claims) => {
      await settle();
      const before = world.network.published.length;
      world.admin.send(make({ ...good, ...claims }).slice());
      await world.admin.ask(SIZE, "after");
      expect(world.network.published).toHaveLength(before + 1);
    });

    it("where no way leads back", async () => {
      await settle();
      setParams(world.tree, "Device.LocalAgent.Controller.1.MTP.1.", { Enable: "false" });
      const before = world.network.published.length;
      world.network.deliver(make(good).slice());
      await settle();
      expect(world.network.published).toHaveLength(before);
    });
  });
});

function unknownRequest(): Uint8Array {
  const header = Uint8Array.from([0x0a, 0x07, 0x0a, 0x05, ...Buffer.from("my id")]);
  const body = Uint8Array.from([0x12, 0x05, 0x0a, 0x03, 0x9a, 0x06, 0x00]);
  return encodeRecord(
    recordOf(envelope("self::admin"), { $case: "noSessionContext", value: { payload: Buffer.concat([header, body]) } }),
  );
}

describe("requests under way", () => {
  it("are not started twice by the same id, and may be asked again when they are done (R-MSG.4)", async () => {
    void world.admin.ask(operation("Device.House.Slow()", { Ms: "40" }), "same");
    void world.admin.ask(operation("Device.House.Room.9.Open()"), "same");
    await world.admin.ask(SIZE, "after");
    await until(() => world.admin.contents.some(({ msgId }) => msgId === "same"));
    await settle();
    expect(world.admin.contents.filter(({ msgId }) => msgId === "same")).toHaveLength(1);
    expect((await world.admin.ask(SIZE, "same")).kind).toBe("response");
  });

  it("are bounded for each controller, and the rest is told so with 7005, never dropped", async () => {
    const small = await buildWorld({ limits: { unfinishedRequests: 3 } });
    const other = new Peer(small.network, "self::other");
    addController(small.tree, "self::other", small.roleAdmin);
    const slow = Array.from({ length: 5 }, () => small.admin.ask(operation("Device.House.Slow()", { Ms: "30" })));
    expect((await other.ask(operation("Device.House.Slow()", { Ms: "1" }))).kind).toBe("response");
    const answers = await Promise.all(slow);
    expect(answers.filter(({ kind }) => kind === "response")).toHaveLength(3);
    for (const answer of answers) if (answer.kind === "error") expect(answer.error.errCode).toBe(7005);
    await small.stop();
  });

  it("are all answered when hundreds come at once", async () => {
    const answers = await Promise.all(Array.from({ length: 400 }, () => world.admin.ask(get(["Device.LocalAgent."]))));
    expect(answers.every(({ kind }) => kind === "response")).toBe(true);
  });

  it("get their answers before the agent leaves, and then a Disconnect", async () => {
    const slow = world.admin.ask(operation("Device.House.Slow()", { Ms: "50" }));
    await settle().then(() => undefined);
    await world.stop();
    expect((await slow).kind).toBe("response");
    expect(kinds(world.admin).at(-1)).toBe("disconnect");
  });

  it("wait, for a change that is kept, until it is on disk", async () => {
    let release: () => void = () => undefined;
    let saving = Promise.resolve();
    const slow = await buildWorld({ saved: () => saving });
    slow.tree.changes.listen(() => void (saving = new Promise<void>((resolve) => (release = resolve))));
    let isAnswered = false;
    const answer = slow.admin.ask(setOne("Device.House.", { Name: "x" })).then(() => (isAnswered = true));
    await slow.admin.ask(SIZE);
    expect(isAnswered).toBe(false);
    release();
    await answer;
    await slow.stop();
  });

  it("are told when the disk refused the change", async () => {
    let saving = Promise.resolve();
    const full = await buildWorld({ saved: () => saving });
    full.tree.changes.listen(() => {
      saving = Promise.reject(new Error("no space left on device"));
      saving.catch(() => undefined);
    });
    const { errCode, errMsg } = await full.admin.error(setOne("Device.House.", { Name: "x" }));
    expect(errCode).toBe(7005);
    expect(errMsg).toContain("no space left");
    await full.stop();
  });
});

describe("an answer that can't be sent", () => {
  it("is replaced by an Error for the same request", async () => {
    const small = await buildWorld({ isStarted: false });
    small.network.maxRecordBytes = 400;
    await small.start();
    const request = operation("Device.House.Echo()", { Text: "x".repeat(600) });
    const { errCode, errMsg } = await small.admin.error(request);
    expect(errCode).toBe(7005);
    expect(errMsg).toContain("400");
    await small.stop();
  });
});
