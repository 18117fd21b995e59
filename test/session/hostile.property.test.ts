/** Records of sessions with any fields at all: nothing is thrown, what is kept is bounded, and the next session works. */
import fc from "fast-check";
import { encodeRecord } from "../../proto/codec.ts";
import type { SessionContextRecord } from "../../proto/generated/usp-record.ts";
import { Budget } from "../../src/session/budget.ts";
import { AGENT, CONTROLLER, End, exchange, makeAuthority, pair, PLAIN } from "./support.ts";

const number = fc.oneof(fc.bigInt(0n, 12n), fc.bigInt(0n, 2n ** 64n - 1n), fc.constantFrom(2n ** 64n - 1n, 2n ** 63n));
const state = fc.constantFrom(0 as const, 1 as const, 2 as const, 3 as const);
const bytes = fc.oneof(
  fc.uint8Array({ maxLength: 40 }),
  fc.integer({ min: 0, max: 300_000 }).map((length) => new Uint8Array(length)),
  fc.constant(Buffer.from("16030100050100000103", "hex")),
);
const value: fc.Arbitrary<SessionContextRecord> = fc.record({
  sessionId: fc.oneof(fc.bigInt(0n, 5n), number),
  sequenceId: number,
  expectedId: number,
  retransmitId: fc.oneof({ weight: 4, arbitrary: fc.constant(0n) }, { weight: 1, arbitrary: number }),
  payloadSarState: state,
  payloadrecSarState: state,
  payload: fc.array(bytes, { maxLength: 4 }),
});
const record = fc
  .record({
    value,
    payloadSecurity: fc.constantFrom(0 as const, 1 as const),
    macSignature: fc.oneof(
      { weight: 6, arbitrary: fc.constant(new Uint8Array(0)) },
      { weight: 1, arbitrary: fc.uint8Array({ minLength: 30, maxLength: 75 }) },
    ),
    senderCert: fc.oneof(
      { weight: 6, arbitrary: fc.constant(new Uint8Array(0)) },
      { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }) },
    ),
  })
  .map(({ value: session, ...rest }) =>
    encodeRecord({
      version: "1.4",
      toId: AGENT,
      fromId: CONTROLLER,
      ...rest,
      recordType: { $case: "sessionContext", value: session },
    }).slice(),
  );
const step = fc.oneof({ weight: 8, arbitrary: record }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 60_000 }) });

test("of one controller", async () => {
  const authority = makeAuthority();
  const [ours, theirs] = [authority.trust(authority.identity(AGENT)), authority.trust(authority.identity(CONTROLLER))];
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 50 }), fc.boolean(), async (steps, isSecure) => {
        const { agent, controller, clock } = pair(
          { agent: { trust: ours }, controller: { trust: theirs } },
          { ...PLAIN, isSecure },
        );
        for (const each of steps) {
          if (typeof each === "number") clock.advance(each);
          else agent.take(each);
          agent.peer.tick();
          if (steps.length % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
          agent.flush();
          expect(agent.peer.keptBytes).toBeLessThan(8 << 20);
        }
        await new Promise((resolve) => setImmediate(resolve));
        agent.flush();
        clock.advance(30_000);
        controller.send("Get").catch(() => undefined);
        await exchange(agent, controller);
        expect(agent.got.at(-1)).toBe("Get");
        for (const end of [agent, controller]) end.peer.drop("the test ends");
      }),
      { numRuns: 200 },
    );
  } finally {
    authority.remove();
  }
}, 60_000);

test("of many controllers together", () => {
  const budget = new Budget(4 << 20);
  const { clock } = pair();
  const ends = Array.from({ length: 50 }, (_, i) => new End(AGENT, `self::c${i}`, clock, { budget }));
  const send = (end: End, fields: Partial<SessionContextRecord>) => {
    const numbers = { sessionId: 77n, sequenceId: 1n, expectedId: 1n, retransmitId: 0n };
    const payload = [new Uint8Array(400_000)];
    const session: SessionContextRecord = { ...numbers, payloadSarState: 1, payloadrecSarState: 1, payload, ...fields };
    const envelope = { version: "1.4", toId: AGENT, fromId: "x", payloadSecurity: 0 as const };
    const none = new Uint8Array(0);
    const recordType = { $case: "sessionContext" as const, value: session };
    end.take(encodeRecord({ ...envelope, macSignature: none, senderCert: none, recordType }).slice());
  };
  for (const end of ends) {
    send(end, {});
    for (let sequenceId = 5n; sequenceId < 12n; sequenceId++) send(end, { sequenceId });
    expect(budget.used).toBeLessThanOrEqual(4 << 20);
  }
  for (const end of ends) end.peer.drop("the test ends");
  expect(budget.used).toBe(0);
});
