/**
 * Whatever an MTP does to Records between two ends, each Message arrives once and in order, or a session is begun anew;
 * and when the MTP does well again, both ends talk again.
 */
import fc from "fast-check";
import { AGENT, CONTROLLER, exchange, makeAuthority, pair, PLAIN, type End } from "./support.ts";

const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("send" as const), who: fc.nat(1), size: fc.nat(400) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant("deliver" as const), who: fc.nat(1), at: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("drop" as const), who: fc.nat(1), at: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("repeat" as const), who: fc.nat(1), at: fc.nat(7) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 30_000 }) }) },
);
const spoil = fc.record({ do: fc.constant("spoil" as const), who: fc.nat(1), at: fc.nat(7), bit: fc.nat(9_999) });

const SETTINGS = { ...PLAIN, maxRecordBytes: 400 };
const settle = () => new Promise((resolve) => setImmediate(resolve));

interface Ran {
  readonly ends: readonly [End, End];
  /** What each end was asked to send. */
  readonly sent: readonly [string[], string[]];
  /** Sessions that there were. */
  readonly sessions: Set<bigint>;
}

async function play(ends: readonly [End, End], steps: readonly unknown[]): Promise<Ran> {
  const sent: [string[], string[]] = [[], []];
  const wires: [Uint8Array[], Uint8Array[]] = [[], []];
  const sessions = new Set<bigint>();
  const note = () => {
    ends.forEach((end, who) => {
      wires[who]?.push(...end.flush());
      if (end.peer.sessionId !== undefined) sessions.add(end.peer.sessionId);
    });
  };
  for (const each of steps as readonly {
    do: string;
    who: 0 | 1;
    at: number;
    size: number;
    ms: number;
    bit: number;
  }[]) {
    const end = ends[each.who];
    const wire = wires[each.who];
    const at = wire && wire.length > 0 ? each.at % Math.min(wire.length, 8) : -1;
    if (each.do === "send" && end) {
      const text = `${each.who}-${sent[each.who].length}-${"x".repeat(each.size)}`;
      sent[each.who].push(text);
      end.send(text).catch(() => undefined);
    } else if (each.do === "wait") {
      ends[0].clock.advance(each.ms);
      for (const one of ends) one.peer.tick();
    } else if (wire && at >= 0) {
      const bytes = wire[at] as Uint8Array;
      if (each.do !== "repeat") wire.splice(at, 1);
      const copy = bytes.slice();
      if (each.do === "spoil") copy[(each.bit >> 3) % copy.length]! ^= 1 << (each.bit & 7);
      if (each.do !== "drop") ends[1 - each.who]?.take(copy);
    }
    await settle();
    note();
  }
  // From here on the wire is a good one.
  for (let round = 0; round < 12; round++) {
    for (const who of [0, 1] as const) {
      const rest = wires[who].splice(0);
      for (const bytes of rest) ends[1 - who]?.take(bytes);
    }
    await exchange(ends[0], ends[1]);
    note();
    for (const [who, end] of ends.entries()) {
      const text = `${who}-${sent[who as 0 | 1].length}-end`;
      sent[who as 0 | 1].push(text);
      end.send(text).catch(() => undefined);
    }
    await exchange(ends[0], ends[1]);
    note();
    ends[0].clock.advance(25_000);
    for (const one of ends) one.peer.tick();
    await exchange(ends[0], ends[1]);
    note();
  }
  return { ends, sent, sessions };
}

const indexes = (texts: readonly string[]) => texts.map((text) => Number(text.split("-")[1]));

function judge({ ends, sent, sessions }: Ran): void {
  for (const who of [0, 1] as const) {
    const got = ends[(1 - who) as 0 | 1].got;
    expect(got.every((text) => sent[who].includes(text))).toBe(true);
    if (sessions.size === 1) expect(got).toEqual(sent[who]);
    // They talk again.
    expect(got.at(-1)).toBe(sent[who].at(-1));
    if (ends.every(({ notes }) => notes.length === 0) && sessions.size === 1)
      expect(indexes(got)).toEqual([...indexes(got)].sort((a, b) => a - b));
  }
}

const ran = { restarts: 0, calm: 0 };

test("Records lost, repeated and out of order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { agent, controller } = pair({}, SETTINGS);
      const result = await play([agent, controller], steps);
      if (result.sessions.size > 1) ran.restarts++;
      else ran.calm++;
      judge(result);
    }),
    { numRuns: 150 },
  );
  // The property says little if one of the two never happens.
  expect(ran.restarts).toBeGreaterThan(5);
  expect(ran.calm).toBeGreaterThan(5);
}, 60_000);

test("Records spoiled as well, where the session is secured", async () => {
  const authority = makeAuthority();
  try {
    const [ours, theirs] = [authority.identity(AGENT), authority.identity(CONTROLLER)];
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof({ weight: 6, arbitrary: step }, spoil), { maxLength: 40 }), async (steps) => {
        const { agent, controller } = pair(
          { agent: { trust: authority.trust(ours) }, controller: { trust: authority.trust(theirs) } },
          { ...SETTINGS, isSecure: true, maxRecordBytes: 1_000 },
        );
        judge(await play([agent, controller], steps));
        for (const end of [agent, controller]) end.peer.drop("the test ends");
      }),
      { numRuns: 40 },
    );
  } finally {
    authority.remove();
  }
}, 60_000);
