/** An agent in sessions with its controllers: TR-369 R-E2E.1 to .47 and TP-469 3.8 to 3.15, by `Controller.{i}.E2ESession.` */
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { UspError } from "../../src/lib/usp-error.ts";
import { e2eSessionObjects } from "../../src/objects/e2e-session.ts";
import { Budget } from "../../src/session/budget.ts";
import type { Trust } from "../../src/session/identity.ts";
import { PeerSession, type PeerParts } from "../../src/session/peer.ts";
import { Signer } from "../../src/session/integrity.ts";
import {
  decodeMsg,
  decodeRecord,
  encodeMsg,
  encodeMsgRecord,
  encodeRecord,
  recordOf,
  requestMsg,
  type CompleteRecord,
  type MsgContent,
  type RequestType,
} from "../../src/usp/codec.ts";
import { SessionStates } from "../../src/usp/session-states.ts";
import { makeAuthority, PLAIN } from "../session/support.ts";
import {
  AGENT_ID,
  buildWorld,
  get,
  operation,
  setMany,
  setParams,
  settle,
  subscribe,
  until,
  type Network,
  type World,
} from "./support.ts";

const SESSION = "Device.LocalAgent.Controller.1.E2ESession.";
const SIZE = get(["Device.House.Size"]);
const envelope = { version: "1.4", fromId: "self::admin", toId: AGENT_ID };

interface Options {
  readonly trust?: Trust;
  readonly values?: Readonly<Record<string, string>>;
  readonly integrityRequired?: boolean;
  readonly responseBytes?: number;
}

let world: World;
let states: SessionStates;

/** An agent whose first controller has those settings. */
async function start({ trust, values = {}, integrityRequired = false, responseBytes }: Options = {}): Promise<World> {
  states = new SessionStates(trust?.identity !== undefined);
  world = await buildWorld({
    extra: e2eSessionObjects({ persistence: undefined, states }),
    sessions: { states, integrityRequired, ...(trust ? { trust } : {}) },
    ...(responseBytes === undefined ? {} : { limits: { responseBytes } }),
    before: ({ tree }) => setParams(tree, SESSION, { PayloadSecurity: "Plaintext", ...values }),
  });
  return world;
}
afterEach(() => world.stop());

/** The controller's end of sessions, on the topic of `self::admin`. */
class SessionPeer {
  readonly records: CompleteRecord[] = [];
  readonly contents: MsgContent[] = [];
  readonly peer: PeerSession;
  readonly #waiting = new Map<string, (content: MsgContent) => void>();
  #lastId = 0;

  constructor(network: Network, parts: Partial<PeerParts> = {}) {
    this.peer = new PeerSession({
      clock: systemClock,
      random: Math.random,
      settings: () => PLAIN,
      limits: { earlyBytes: 8 << 20, sentBytes: 8 << 20, payloadBytes: 8 << 20, queuedBytes: 8 << 20 },
      budget: new Budget(64 << 20),
      envelope: () => envelope,
      givesWay: false,
      emit: (record) => Promise.resolve(network.deliver(encodeRecord(record), "to/self::admin")),
      deliver: (message) => this.#take(message),
      changed: () => undefined,
      note: () => undefined,
      ...parts,
    });
    network.listeners.add((bytes) => {
      const decoded = decodeRecord(bytes, { bytes: 8 << 20, elements: 1e6 });
      if (!decoded.ok) throw new Error(decoded.reason);
      this.records.push(decoded.record);
      const { recordType } = decoded.record;
      if (recordType.$case === "sessionContext") this.peer.take(decoded.record, recordType.value, false);
      if (recordType.$case === "disconnect") this.peer.drop("Disconnect");
    });
  }

  ask(request: RequestType, msgId = `s-${++this.#lastId}`): Promise<MsgContent> {
    return new Promise((resolve, reject) => {
      this.#waiting.set(msgId, resolve);
      this.peer.send(encodeMsg(requestMsg(msgId, request))).catch(reject);
    });
  }

  #take(message: Uint8Array): void {
    const msg = decodeMsg(message, { bytes: 8 << 20, elements: 1e6 });
    if (!msg.ok) throw new Error(msg.reason);
    this.contents.push(msg.content);
    this.#waiting.get(msg.msgId)?.(msg.content);
  }
}

const kinds = (records: readonly CompleteRecord[]) => records.map(({ recordType }) => recordType.$case);
const sessions = (records: readonly CompleteRecord[]) =>
  records.flatMap(({ recordType }) => (recordType.$case === "sessionContext" ? [recordType.value] : []));
const disconnects = () =>
  world.admin.records.flatMap(({ recordType }) =>
    recordType.$case === "disconnect" ? [recordType.value.reasonCode] : [],
  );

/** A Record of a session, made by hand. */
function send(fields: Partial<SessionContextRecord>, payloadSecurity: 0 | 1 = 0): void {
  const numbers = { sessionId: 77n, sequenceId: 1n, expectedId: 1n, retransmitId: 0n };
  const value: SessionContextRecord = { ...numbers, payloadSarState: 0, payloadrecSarState: 0, payload: [], ...fields };
  world.admin.send(
    encodeRecord({ ...recordOf(envelope, { $case: "sessionContext", value }), payloadSecurity }).slice(),
  );
}
const asked = (request: RequestType, msgId = "m") => [encodeMsg(requestMsg(msgId, request)).slice()];

describe("a controller that may use sessions", () => {
  it("is answered in its own session, with sequence_id 1 (TP-469 3.8)", async () => {
    await start();
    send({ payload: asked(SIZE) });
    await until(() => world.admin.records.length === 2);
    expect(sessions(world.admin.records)).toMatchObject([{ sessionId: 77n, sequenceId: 1n, expectedId: 2n }]);
    expect(kinds(world.admin.records)).toEqual(["mqttConnect", "sessionContext"]);
  });

  it("is answered outside where it asked outside, in between too (R-MSG.0a)", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    await peer.ask(SIZE);
    expect((await world.admin.ask(SIZE)).kind).toBe("response");
    await peer.ask(SIZE);
    expect(kinds(world.admin.records)).toEqual(["mqttConnect", "sessionContext", "noSessionContext", "sessionContext"]);
  });

  it("gets its notifications where it spoke last", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    await peer.ask(SIZE);
    await subscribe(world.admin, "ValueChange", "Device.House.Name");
    setParams(world.tree, "Device.House.", { Name: "a" });
    await until(() => world.admin.notifies.length === 1);
    await peer.ask(SIZE);
    const before = peer.contents.length;
    setParams(world.tree, "Device.House.", { Name: "b" });
    await until(() => peer.contents.length === before + 1);
    expect(peer.contents.at(-1)).toMatchObject({ kind: "request", request: { $case: "notify" } });
    expect(world.admin.notifies).toHaveLength(1);
  });

  it("sees its session in Status, and as a ValueChange", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    expect(await world.admin.get(`${SESSION}Status`)).toEqual({ [`${SESSION}Status`]: "Down" });
    await subscribe(world.admin, "ValueChange", `${SESSION}Status`);
    await peer.ask(SIZE);
    await until(() => peer.contents.length === 2);
    expect(world.tree.text(world.tree.at(SESSION)!, "Status")).toBe("Up");
  });

  it("has a session no more after its Disconnect, and the next Record is a Connect (R-MTP.8)", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    await peer.ask(SIZE);
    world.admin.record({ $case: "disconnect", value: { reason: "", reasonCode: 0 } });
    await world.admin.ask(SIZE);
    expect(states.of("Device.LocalAgent.Controller.1").status).toBe("Down");
    expect(kinds(world.admin.records).slice(-2)).toEqual(["mqttConnect", "noSessionContext"]);
  });

  it("ends it by Reset(), after the answer, with a Disconnect 7105 (R-E2E.6b)", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    expect((await peer.ask(operation(`${SESSION}Reset()`))).kind).toBe("response");
    await until(() => disconnects().length === 1);
    expect(disconnects()).toEqual([7105]);
    expect(kinds(world.admin.records)).toEqual(["mqttConnect", "sessionContext", "disconnect", "mqttConnect"]);
    expect((await peer.ask(SIZE)).kind).toBe("response");
  });

  it("keeps the session over a broken connection", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    await peer.ask(SIZE);
    const before = peer.peer.sessionId;
    world.network.cut();
    await until(() => world.network.connects === 2 && kinds(world.admin.records).at(-1) === "mqttConnect");
    expect((await peer.ask(SIZE)).kind).toBe("response");
    expect(peer.peer.sessionId).toBe(before);
  });

  it("gets an answer of megabytes in Records of the size that it allows (R-E2E SAR)", async () => {
    await start({ values: { MaxUSPRecordSize: "64000" }, responseBytes: 4_000_000 });
    const peer = new SessionPeer(world.network);
    const answer = await peer.ask(operation("Device.House.Echo()", { Text: "x".repeat(1_000), Times: "3000" }));
    expect(
      JSON.stringify(answer, (_, value: unknown) => (value instanceof Map ? [...value] : value)).length,
    ).toBeGreaterThan(3_000_000);
    const sizes = world.network.published.map(({ record }) => record.length);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(64_000);
    expect(sizes.length).toBeGreaterThan(46);
  });

  it("gets it over an MTP that takes less than an answer", async () => {
    await start();
    await world.stop();
    states = new SessionStates(false);
    world = await buildWorld({
      extra: e2eSessionObjects({ persistence: undefined, states }),
      sessions: { states },
      isStarted: false,
    });
    world.network.maxRecordBytes = 1_000;
    await world.start();
    const peer = new SessionPeer(world.network);
    const answer = await peer.ask(operation("Device.House.Echo()", { Text: "x".repeat(5_000) }));
    expect(answer.kind).toBe("response");
    expect(Math.max(...world.network.published.map(({ record }) => record.length))).toBeLessThanOrEqual(1_000);
  });

  it("may be wrong about a payload, and is told in the session", async () => {
    await start();
    send({ payload: [Buffer.concat([...asked(SIZE), Uint8Array.from([0x12, 0x02, 0x12, 0x00])])] });
    send({ sequenceId: 2n, payload: asked(SIZE, "next") });
    await until(() => sessions(world.admin.records).length >= 2);
    const texts = sessions(world.admin.records).map(({ payload }) => decodeMsg(Buffer.concat(payload)));
    expect(texts[0]).toMatchObject({ ok: true, msgId: "m", content: { kind: "error", error: { errCode: 7004 } } });
    expect(texts[1]).toMatchObject({ ok: true, msgId: "next", content: { kind: "response" } });
  });
});

it("begins another session after a Record of it that can't be read (R-E2E.21)", async () => {
  await start();
  const peer = new SessionPeer(world.network);
  await peer.ask(SIZE);
  const { sessionId } = peer.peer;
  send({ sessionId: sessionId!, sequenceId: 2n, payloadSarState: 9 as never, payload: asked(SIZE) });
  await until(() => peer.peer.sessionId !== sessionId);
  expect((await peer.ask(SIZE)).kind).toBe("response");
});

describe("sessions that expire (TP-469 3.10)", () => {
  it("are followed by others, for each notification", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    await peer.ask(setMany([{ objPath: SESSION, params: { SessionExpiration: "1" } }]));
    await subscribe(world.admin, "ValueChange", "Device.House.Name");
    await peer.ask(SIZE);
    const first = peer.peer.sessionId;
    await until(() => states.of("Device.LocalAgent.Controller.1").status === "Down");
    setParams(world.tree, "Device.House.", { Name: "n" });
    await until(() => peer.contents.at(-1)?.kind === "request");
    expect(peer.peer.sessionId).not.toBe(first);
  });
});

describe("a controller that has to use a session", () => {
  it("is told so with 7101 where it asks outside, and ignored where nothing is to be answered", async () => {
    await start({ values: { SessionMode: "Require" } });
    const answer = await world.admin.ask(SIZE);
    expect(answer).toMatchObject({ kind: "error", error: { errCode: 7101 } });
    const before = world.network.published.length;
    world.admin.answer("x", "y");
    await settle();
    expect(world.network.published).toHaveLength(before);
    expect((await new SessionPeer(world.network).ask(SIZE)).kind).toBe("response");
  });

  it("gets notifications in a session that the agent opens", async () => {
    await start();
    await subscribe(world.admin, "ValueChange", "Device.House.Name");
    setParams(world.tree, SESSION, { SessionMode: "Require" });
    await settle();
    const peer = new SessionPeer(world.network);
    setParams(world.tree, "Device.House.", { Name: "n" });
    await until(() => peer.contents.length === 1);
    expect(sessions(peer.records)).toMatchObject([{ sequenceId: 1n }]);
    expect(world.admin.notifies).toEqual([]);
  });

  it("has to secure the payloads where that is so", async () => {
    const authority = makeAuthority();
    const trust = authority.trust(authority.identity(AGENT_ID));
    await start({ trust, values: { SessionMode: "Require", PayloadSecurity: "TLS" } });
    send({ payload: asked(SIZE) });
    await until(() => disconnects().length === 1);
    expect(disconnects()).toEqual([7101]);
    authority.remove();
  });

  it("is not locked out by a setting that the agent can't keep", async () => {
    await start();
    const error = await world.admin.error(
      setMany([{ objPath: SESSION, params: { SessionMode: "Require", PayloadSecurity: "TLS" } }]),
    );
    expect(error.paramErrs[0]).toMatchObject({ errCode: 7012 });
    expect(() => setParams(world.tree, SESSION, { MaxUSPRecordSize: "100" })).toThrow(UspError);
  });
});

describe("a controller that may not", () => {
  it("gets a Disconnect with 7106, and then the Connect Record (R-E2E.6a)", async () => {
    await start({ values: { SessionMode: "Forbid" } });
    send({ payload: asked(SIZE) });
    await until(() => world.admin.records.length === 3);
    expect(kinds(world.admin.records)).toEqual(["mqttConnect", "disconnect", "mqttConnect"]);
    expect(disconnects()).toEqual([7106]);
    expect((await world.admin.ask(SIZE)).kind).toBe("response");
  });

  it("loses the session that it had, when the answer has left", async () => {
    await start();
    const peer = new SessionPeer(world.network);
    const answer = await peer.ask(setMany([{ objPath: SESSION, params: { SessionMode: "Forbid" } }]));
    expect(answer.kind).toBe("response");
    await until(() => disconnects().length === 1);
    expect(disconnects()).toEqual([7105]);
  });

  it("gets 7102 for secured payloads where the agent has no certificate", async () => {
    await start();
    send({ payload: [Buffer.from([0x16, 3, 1, 0, 0])] }, 1);
    await until(() => disconnects().length === 1);
    expect(disconnects()).toEqual([7102]);
  });
});

describe("secured payloads", () => {
  const authority = makeAuthority();
  const trust = authority.trust(authority.identity(AGENT_ID));
  const theirs = authority.trust(authority.identity("self::admin"));
  afterAll(() => authority.remove());
  const secure = (parts: Partial<PeerParts> = {}) =>
    new SessionPeer(world.network, { trust: theirs, settings: () => ({ ...PLAIN, isSecure: true }), ...parts });

  it.each(["TLSv1.2", "TLSv1.3"] as const)("over %s, requests and notifications", async (version) => {
    await start({ trust, values: { SessionMode: "Require", PayloadSecurity: "TLS" } });
    const peer = secure({ tls: { minVersion: version, maxVersion: version } });
    expect(await peer.ask(SIZE)).toMatchObject({ kind: "response" });
    expect(peer.peer.cipher).toContain(version);
    const answer = sessions(peer.records).length;
    expect(answer).toBeGreaterThan(1);
    for (const { recordType, payloadSecurity } of peer.records)
      if (recordType.$case === "sessionContext") expect(payloadSecurity).toBe(1);
    // TP-469 3.4: the fields are under the MAC of the TLS session.
    expect(peer.records.at(-1)?.macSignature).toHaveLength(32);
  });

  it("each of a flood of requests is answered, with answers of 10 kB", async () => {
    await start({ trust });
    const peer = secure();
    await peer.ask(SIZE);
    const echo = operation("Device.House.Echo()", { Text: "x".repeat(10_000) });
    const answers = await Promise.all(Array.from({ length: 1_000 }, () => peer.ask(echo)));
    expect(answers.every(({ kind }) => kind === "response")).toBe(true);
  });

  it("a ClientHello with a signature that does not hold gets nothing (TP-469 3.3)", async () => {
    await start({ trust });
    const hello = Buffer.from("160301000501000001031603010005010000010316030100050100000103", "hex");
    const value = { sessionId: 9n, sequenceId: 1n, expectedId: 1n, retransmitId: 0n, payload: [hello] };
    const type = { $case: "sessionContext", value: { ...value, payloadSarState: 0, payloadrecSarState: 0 } } as const;
    const signed = { ...recordOf(envelope, type), payloadSecurity: 1 as const, macSignature: Buffer.alloc(70, 1) };
    const before = world.network.published.length;
    world.admin.send(encodeRecord(signed).slice());
    await settle();
    expect(world.network.published).toHaveLength(before);
    expect(states.of("Device.LocalAgent.Controller.1").status).toBe("Down");
  });

  it("a certificate of another is refused, and the agent tries anew in its own time (TP-469 3.7, 3.5)", async () => {
    await start({ trust, values: { SessionMode: "Require", PayloadSecurity: "TLS" } });
    const other = authority.trust(authority.identity("self::other"));
    const peer = secure({ trust: other });
    let isAnswered = false;
    peer.ask(SIZE).then(
      () => (isAnswered = true),
      () => undefined, // the test ends first
    );
    await until(() => states.of("Device.LocalAgent.Controller.1").retryCount === 1);
    await settle();
    expect(isAnswered).toBe(false);
    expect(states.of("Device.LocalAgent.Controller.1").status).toBe("Negotiating");
  });

  it.each(["Allow", "Require"])(
    "with %s, plain text in the session begins another (TP-469 3.13)",
    async (SessionMode) => {
      await start({ trust, values: { SessionMode, PayloadSecurity: "TLS" } });
      const peer = secure();
      await peer.ask(SIZE);
      const { sessionId } = peer.peer;
      send({ sessionId: sessionId!, sequenceId: 99n, payload: asked(SIZE, "plain") });
      await until(() => peer.peer.sessionId !== sessionId);
      await settle();
      expect(peer.contents).toHaveLength(1);
      expect((await peer.ask(SIZE)).kind).toBe("response");
    },
  );
});

describe("integrity of the other fields", () => {
  const authority = makeAuthority();
  const trust = authority.trust(authority.identity(AGENT_ID), true);
  const signer = new Signer(authority.identity("self::admin"));
  afterAll(() => authority.remove());
  const record = (msgId: string) =>
    recordOf(envelope, { $case: "noSessionContext", value: { payload: asked(SIZE, msgId)[0] as Uint8Array } });
  const ids = () => world.admin.contents.map(({ msgId }) => msgId);

  it("is verified where there is a signature: a bad one is ignored (TP-469 2.7)", async () => {
    await start({ trust });
    const signed = signer.sign(record("good"));
    world.admin.send(encodeRecord({ ...signer.sign(record("bad")), version: "1.3" }).slice());
    world.admin.send(encodeRecord({ ...record("junk"), macSignature: Buffer.from("junk") }).slice());
    world.admin.send(encodeRecord(signed).slice());
    await until(() => ids().length === 1);
    expect(ids()).toEqual(["good"]);
    expect(
      world.admin.records.every(({ macSignature, senderCert }) => macSignature.length > 64 && senderCert.length > 0),
    ).toBe(true);
  });

  it("is asked for where it is configured: what is not signed is ignored (R-E2E.30)", async () => {
    await start({ trust, integrityRequired: true });
    world.admin.send(encodeMsgRecord(envelope, requestMsg("plain", SIZE)));
    send({ payload: asked(SIZE, "session") });
    world.admin.send(encodeRecord(signer.sign(record("good"))).slice());
    await until(() => ids().length === 1);
    expect(ids()).toEqual(["good"]);
  });

  it("a session with signatures works", async () => {
    await start({ trust, integrityRequired: true });
    const peer = new SessionPeer(world.network, { trust, signer });
    expect((await peer.ask(SIZE)).kind).toBe("response");
  });
});
