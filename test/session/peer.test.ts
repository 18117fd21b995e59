/** Session contexts between an agent and a controller, in plain text (TR-369 R-E2E.3 to R-E2E.25). */
import { encodeRecord } from "../../proto/codec.ts";
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import { LAST_NUMBERS } from "../../src/session/context.ts";
import { AGENT, CONTROLLER, exchange, pair, PLAIN, recordOf, sessionOf, type End } from "./support.ts";

const sessions = (end: End) => end.sent().map((record) => sessionOf(record));

/** A Record of the controller's, made by hand. */
function record(fields: Partial<SessionContextRecord>, text?: string, payloadSecurity: 0 | 1 = 0): Uint8Array {
  const payload = text === undefined ? [] : [Buffer.from(text)];
  const numbers = { sessionId: 77n, sequenceId: 1n, expectedId: 1n, retransmitId: 0n };
  const value: SessionContextRecord = { ...numbers, payloadSarState: 0, payloadrecSarState: 0, payload, ...fields };
  return encodeRecord({
    version: "1.4",
    toId: AGENT,
    fromId: CONTROLLER,
    payloadSecurity,
    macSignature: new Uint8Array(0),
    senderCert: new Uint8Array(0),
    recordType: { $case: "sessionContext", value },
  }).slice();
}

/** An agent that answers each Message with it in brackets. */
function answering() {
  const { agent, clock } = pair({ agent: { deliver: (message) => void agent.send(`[${Buffer.from(message)}]`) } });
  return { agent, clock };
}
const answers = (end: End) => sessions(end).map(({ sequenceId, payload }) => `${sequenceId}${Buffer.concat(payload)}`);

describe("a session that the peer opens", () => {
  it("is answered in, with numbers of our own from 1 (TP-469 3.8)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    expect(sessions(agent)).toMatchObject([{ sessionId: 77n, sequenceId: 1n, expectedId: 2n }]);
    expect(agent.peer.status).toBe("Up");
  });

  it("takes the place of the one before, from 1 again (R-E2E.6, TP-469 3.9)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sessionId: 78n }, "b"));
    expect(sessions(agent)).toMatchObject([{ sessionId: 77n }, { sessionId: 78n, sequenceId: 1n, expectedId: 2n }]);
  });

  it("buffers what is not in turn, and says nothing to it (R-E2E.20, TP-469 3.11)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sequenceId: 4n, expectedId: 4n }, "d"));
    expect(answers(agent)).toEqual(["1[a]"]);
    agent.take(record({ sequenceId: 2n, expectedId: 2n }, "b"));
    expect(answers(agent)).toEqual(["1[a]", "2[b]"]);
    agent.take(record({ sequenceId: 3n, expectedId: 3n }, "c"));
    expect(answers(agent)).toEqual(["1[a]", "2[b]", "3[c]", "4[d]"]);
  });

  it("sends again what the peer asks for, after a minute too (R-E2E.16, TP-469 3.12)", () => {
    const { agent, clock } = answering();
    agent.take(record({}, "a"));
    clock.advance(60_000);
    agent.peer.tick();
    agent.take(record({ sequenceId: 2n, retransmitId: 1n }));
    expect(answers(agent)).toEqual(["1[a]", "1[a]"]);
  });

  it.each([1n, 2n])(
    "begins anew where the same is asked for too often, with expected_id %s (TP-469 3.14)",
    (expectedId) => {
      const { agent } = answering();
      agent.settings = { ...PLAIN, maxRepeats: 2 };
      agent.take(record({}, "a"));
      for (const sequenceId of [2n, 3n, 4n]) agent.take(record({ sequenceId, expectedId, retransmitId: 1n }));
      expect(answers(agent)).toEqual(["1[a]", "1[a]", "1[a]", "1"]);
      expect(sessions(agent).at(-1)?.sessionId).not.toBe(77n);
    },
  );

  it("begins anew where something is asked for that is not there (R-E2E.21)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sequenceId: 2n, expectedId: 2n }, "b"));
    agent.take(record({ sequenceId: 3n, expectedId: 3n, retransmitId: 1n }));
    expect(sessions(agent).at(-1)?.sessionId).not.toBe(77n);
  });

  it("answers a repeated Record once (R-E2E.25, TP-469 3.15)", () => {
    const { agent } = answering();
    for (let i = 0; i < 4; i++) agent.take(record({}, "a"));
    expect(answers(agent)).toEqual(["1[a]"]);
  });

  it("begins anew where the payload security changes (R-E2E.19)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sequenceId: 2n }, "b", 1));
    expect(answers(agent)).toEqual(["1[a]", "1"]);
    expect(sessions(agent)[1]?.sessionId).not.toBe(77n);
  });

  it.each([0n, 1n])("takes no session id %s, and begins anew where there is one (R-E2E.3, R-E2E.24)", (sessionId) => {
    const { agent } = answering();
    agent.take(record({ sessionId }, "a"));
    expect(agent.out).toEqual([]);
    agent.take(record({}, "a"));
    agent.take(record({ sessionId }, "b"));
    expect(answers(agent)).toEqual(["1[a]", "1"]);
  });

  it("begins anew when the peer's numbers run out (R-E2E.8)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sequenceId: LAST_NUMBERS }, "z"));
    expect(answers(agent)).toEqual(["1[a]", "1"]);
  });

  it("is not begun again by what is left of it on the way", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sessionId: 78n }, "b"));
    agent.take(record({}, "a"));
    agent.take(record({ sequenceId: 2n }, "c"));
    expect(answers(agent)).toEqual(["1[a]", "1[b]"]);
    agent.take(record({}, "another first one"));
    expect(answers(agent).at(-1)).toBe("1[another first one]");
  });

  it("is not secured by an agent without a certificate", () => {
    const { agent } = answering();
    agent.take(record({}, "hello", 1));
    expect([agent.verdicts, agent.out, agent.peer.status]).toEqual([["noSecurity"], [], "Down"]);
  });
});

describe("what is missing", () => {
  it("is asked for in the second retry window, not at once, and then delivered in order", async () => {
    const { agent, controller, clock } = pair();
    for (const text of ["a", "b", "c", "d"]) void controller.send(text);
    const [first, , , fourth] = controller.flush();
    agent.take(first as Uint8Array);
    agent.take(fourth as Uint8Array);
    clock.advance(9_000);
    agent.peer.tick();
    expect(agent.out).toEqual([]);
    clock.advance(11_000);
    agent.peer.tick();
    expect(sessions(agent)).toMatchObject([{ retransmitId: 2n, payload: [] }]);
    await exchange(agent, controller);
    expect(agent.got).toEqual(["a", "b", "c", "d"]);
  });

  it("ends the session when it never comes", () => {
    const { agent, controller, clock } = pair();
    for (const text of ["a", "b", "c"]) void controller.send(text);
    const [first, , third] = controller.flush();
    agent.take(first as Uint8Array);
    agent.take(third as Uint8Array);
    const before = agent.peer.sessionId;
    for (let i = 0; i < 8; i++) {
      clock.advance(400_000);
      agent.peer.tick();
    }
    expect(agent.peer.sessionId).not.toBe(before);
    expect(agent.notes.at(-1)).toContain("Record 2 does not come");
  });

  it("is found by both at one time", async () => {
    const { agent, controller, clock } = pair();
    void controller.send("1");
    await exchange(agent, controller);
    for (const text of ["a", "b"]) void controller.send(text);
    for (const text of ["x", "y"]) void agent.send(text);
    agent.take(controller.flush()[1] as Uint8Array);
    controller.take(agent.flush()[1] as Uint8Array);
    clock.advance(30_000);
    agent.peer.tick();
    controller.peer.tick();
    await exchange(agent, controller);
    expect([agent.got, controller.got]).toEqual([
      ["1", "a", "b"],
      ["x", "y"],
    ]);
  });
});

describe("acknowledgement", () => {
  it("comes with answers, and by itself only when much is unanswered", () => {
    const { agent, controller } = pair();
    for (let i = 0; i < 15; i++) void controller.send("x");
    for (const each of controller.flush()) agent.take(each);
    expect(agent.out).toEqual([]);
    void controller.send("x");
    for (const each of controller.flush()) agent.take(each);
    expect(sessions(agent)).toMatchObject([{ expectedId: 17n, payload: [], retransmitId: 0n }]);
    const kept = controller.peer.keptBytes;
    for (const each of agent.flush()) controller.take(each);
    expect([kept > 0, controller.peer.keptBytes, controller.out]).toEqual([true, 0, []]);
  });
});

describe("a session of our own", () => {
  it("opens with the first Message, greater than 1", () => {
    const { agent } = pair();
    void agent.send("Boot!");
    expect(sessions(agent)).toMatchObject([{ sequenceId: 1n, expectedId: 1n }]);
    expect(agent.peer.sessionId).toBeGreaterThan(1n);
    expect(agent.peer.status).toBe("Negotiating");
  });

  it("opens empty where there is nothing to say", () => {
    const { agent } = pair();
    agent.peer.open();
    expect(sessions(agent)).toMatchObject([{ sequenceId: 1n, payload: [] }]);
  });

  it("gives way to the controller's, and what it had to say comes there", async () => {
    const { agent, controller } = pair();
    void agent.send("Boot!");
    void controller.send("Get");
    await exchange(agent, controller);
    expect([agent.got, controller.got]).toEqual([["Get"], ["Boot!"]]);
    expect(agent.peer.sessionId).toBe(controller.peer.sessionId);
  });

  it("expires, and the next Message opens another (R-E2E.7, TP-469 3.10)", () => {
    const { agent, clock } = pair();
    agent.settings = { ...PLAIN, expiryMs: 5_000 };
    for (let i = 0; i < 3; i++) {
      void agent.send("Periodic!");
      clock.advance(10_000);
      agent.peer.tick();
      expect(agent.peer.status).toBe("Down");
    }
    expect(new Set(sessions(agent).map(({ sessionId }) => sessionId)).size).toBe(3);
    expect(sessions(agent).every(({ sequenceId }) => sequenceId === 1n)).toBe(true);
  });

  it("does not expire while it is used", () => {
    const { agent, clock } = pair();
    agent.settings = { ...PLAIN, expiryMs: 60_000 };
    for (let i = 0; i < 9; i++) {
      void agent.send("Periodic!");
      clock.advance(10_000);
      agent.peer.tick();
    }
    expect(sessions(agent).map(({ sequenceId }) => sequenceId)).toEqual([1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n, 9n]);
  });

  it("is said again to a peer that goes on in one that was", async () => {
    const { agent, controller, clock } = pair();
    void controller.send("a");
    await exchange(agent, controller);
    agent.take(encodeRecord({ ...recordOf(record({ sessionId: 1n })) }).slice());
    agent.flush(); // its new session gets lost
    clock.advance(4_000);
    void controller.send("b");
    await exchange(agent, controller);
    void controller.send("c");
    await exchange(agent, controller);
    expect(agent.got).toEqual(["a", "c"]);
    expect(agent.peer.sessionId).toBe(controller.peer.sessionId);
  });

  it("is forgotten with a Disconnect, whole (R-MTP.7)", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    agent.peer.drop("Disconnect");
    expect([agent.peer.status, agent.peer.keptBytes, agent.peer.isInUse]).toEqual(["Down", 0, false]);
    agent.take(record({}, "a"));
    expect(answers(agent)).toEqual(["1[a]", "1[a]"]);
  });
});

describe("hostile peers", () => {
  it("open so many sessions, and no more", () => {
    const { agent, clock } = answering();
    for (let i = 0; i < 100_000; i++) agent.take(record({ sessionId: 100n + BigInt(i) }, "a"));
    expect(agent.out).toHaveLength(10);
    clock.advance(11_000);
    agent.take(record({ sessionId: 99n }, "b"));
    expect(answers(agent).at(-1)).toBe("1[b]");
  });

  it("make the agent keep a bounded amount of what comes too early", () => {
    const { agent } = answering();
    agent.take(record({}, "a"));
    for (let i = 0; i < 100; i++) {
      agent.take(record({ sequenceId: BigInt(1000 - i) }, "x".repeat(60_000)));
      expect(agent.peer.keptBytes).toBeLessThan(2 << 20);
    }
    expect(agent.notes[0]).toContain("too much came before");
  });

  it("make the agent keep a bounded amount of unfinished payloads, and for a minute", () => {
    const { agent, clock } = answering();
    agent.take(record({}, "a"));
    agent.take(record({ sequenceId: 2n, payloadSarState: 1, payloadrecSarState: 1 }, "x".repeat(900_000)));
    expect(agent.peer.keptBytes).toBeGreaterThan(900_000);
    clock.advance(61_000);
    agent.peer.tick();
    expect(agent.peer.keptBytes).toBeLessThan(1_000);
    expect(agent.notes.at(-1)).toContain("the rest of a payload is missing");
  });

  it("never acknowledge: what was sent is forgotten at a bound", () => {
    const { agent } = pair();
    for (let i = 0; i < 100; i++) void agent.send("x".repeat(100_000));
    expect(agent.peer.keptBytes).toBeLessThan(5 << 20);
    expect(agent.out).toHaveLength(100);
  });
});
