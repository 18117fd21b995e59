/** Whatever the order, repetition and timing of what a source says, each byte is credited once. */
import fc from "fast-check";
import { ManualClock } from "../../src/lib/clock.ts";
import { memoryStore } from "../../src/lib/store.ts";
import { START, TestHome } from "./home.ts";
import type { FlowText } from "./home.ts";

/** One life of a flow: what each reading adds, and whether its New and its End are seen. */
interface Life {
  readonly key: number;
  readonly readings: readonly (readonly [number, number, number, number])[];
  readonly newSeen: boolean;
  readonly newLate: boolean;
}

const reading = fc.tuple(fc.nat(20), fc.nat(30_000), fc.nat(20), fc.nat(30_000));
const life = (keys: number, newLate = fc.boolean()): fc.Arbitrary<Life> =>
  fc.record({
    key: fc.nat(keys - 1),
    readings: fc.array(reading, { minLength: 1, maxLength: 5 }),
    newSeen: fc.boolean(),
    newLate,
  });

/** Few ids and few tuples, so that both come again; a key is one pair of them, of one of three devices. */
function identity(key: number): Pick<FlowText, "id" | "from" | "to" | "sourcePort"> {
  return {
    id: key % 3,
    from: `192.0.2.${10 + (key % 4)}`,
    to: key % 2 === 0 ? "198.51.100.7" : "198.51.100.8",
    sourcePort: 40_000 + Math.floor(key / 4),
  };
}

/** The events of each life in order; lives of one key one after the other; keys interleaved as `order` says. */
function schedule(lives: readonly Life[], order: readonly number[]): { flow: FlowText; last: boolean }[] {
  const queues = new Map<number, { flow: FlowText; last: boolean }[]>();
  const livesOfKey = new Map<number, number>();
  for (const { key } of lives) livesOfKey.set(key, (livesOfKey.get(key) ?? 0) + 1);
  for (const one of lives) {
    const queue = queues.get(one.key) ?? [];
    queues.set(one.key, queue);
    let total: readonly [number, number, number, number] = [0, 0, 0, 0];
    const events: FlowText[] = one.readings.map((add) => {
      total = [total[0] + add[0], total[1] + add[1], total[2] + add[2], total[3] + add[3]];
      return { ...identity(one.key), event: "Counters", counters: total };
    });
    const end: FlowText = { ...identity(one.key), event: "End", counters: total };
    // Of a key that comes again, a life without New could not be told from the one before.
    const newSeen = one.newSeen || (livesOfKey.get(one.key) as number) > 1;
    const begin: FlowText = { ...identity(one.key), event: "New" };
    if (newSeen && one.newLate && events.length > 1) events.splice(1, 0, begin);
    else if (newSeen) events.unshift(begin);
    queue.push(...events.map((flow) => ({ flow, last: false })), { flow: end, last: true });
  }
  const merged: { flow: FlowText; last: boolean }[] = [];
  const keys = [...queues.keys()];
  for (let step = 0; keys.length > 0; step++) {
    const at = (order[step % Math.max(1, order.length)] ?? 0) % keys.length;
    const queue = queues.get(keys[at] as number) as { flow: FlowText; last: boolean }[];
    merged.push(queue.shift() as { flow: FlowText; last: boolean });
    if (queue.length === 0) keys.splice(at, 1);
  }
  return merged;
}

function expected(lives: readonly Life[]): Map<string, [number, number, number, number]> {
  const sums = new Map<string, [number, number, number, number]>();
  for (const { key, readings } of lives) {
    const device = identity(key).from;
    const sum = sums.get(device) ?? [0, 0, 0, 0];
    for (const [packets, bytes, replyPackets, replyBytes] of readings) {
      sum[0] += bytes;
      sum[1] += replyBytes;
      sum[2] += packets;
      sum[3] += replyPackets;
    }
    sums.set(device, sum);
  }
  return sums;
}

function settle(test: TestHome): TestHome {
  for (let device = 0; device < 4; device++) test.neighbour(device + 1, `192.0.2.${10 + device}`);
  return test;
}

function sums(test: TestHome): Map<string, number[]> {
  const found = new Map<string, number[]>();
  for (let device = 0; device < 4; device++) {
    const traffic = test.traffic(device + 1);
    if (traffic.some((value) => value > 0)) found.set(`192.0.2.${10 + device}`, traffic);
  }
  return found;
}

const nonZero = (map: Map<string, number[]>) => new Map([...map].filter(([, sum]) => sum.some((value) => value > 0)));

describe("each byte is credited once", () => {
  it("whatever is interleaved, repeated, late, or known before its device", () => {
    fc.assert(
      fc.property(
        fc.array(life(10), { minLength: 1, maxLength: 14 }),
        fc.array(fc.nat(9), { minLength: 1, maxLength: 40 }),
        fc.array(fc.record({ repeat: fc.boolean(), late: fc.nat(8), pause: fc.nat(700) }), {
          minLength: 1,
          maxLength: 20,
        }),
        fc.nat(40),
        (lives, order, noise, devicesKnownAt) => {
          const test = new TestHome().network();
          const said: FlowText[] = [];
          const events = schedule(lives, order);
          for (const [step, { flow }] of events.entries()) {
            if (step === Math.min(devicesKnownAt, events.length - 1)) settle(test);
            const { repeat, late, pause } = noise[step % noise.length] as {
              repeat: boolean;
              late: number;
              pause: number;
            };
            test.after(1 + pause);
            const timed = { ...flow, time: test.clock.now() };
            test.flows(timed);
            said.push(timed);
            if (repeat) test.flows(timed);
            // A dump's row that arrives after newer ones, as it was stamped.
            const old = said[said.length - 1 - late];
            if (old?.event === "Counters") test.flows(old);
          }
          expect(sums(test)).toEqual(nonZero(expected(lives)));
          const total = [...expected(lives).values()].reduce((sum, [sent]) => sum + sent, 0);
          expect(test.spin.summary.bytesSent).toBe(total);
          expect(test.spin.summary.activeFlowCount).toBe(0);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("across restarts, if the state was saved at the stop", async () => {
    await fc.assert(
      fc.asyncProperty(
        // No New event outlives the socket that it was sent to.
        fc.array(life(10, fc.constant(false)), { minLength: 1, maxLength: 10 }),
        fc.array(fc.nat(9), { minLength: 1, maxLength: 40 }),
        fc.array(fc.nat(40), { minLength: 1, maxLength: 3 }),
        async (lives, order, restarts) => {
          const store = memoryStore();
          const clock = new ManualClock(START);
          let test = settle(new TestHome({ store, clock }).network());
          for (const [step, { flow }] of schedule(lives, order).entries()) {
            if (restarts.includes(step)) {
              await test.spin.save();
              test = new TestHome({ store, clock }).network();
            }
            test.after(500).flows({ ...flow, time: test.clock.now() });
          }
          settle(test);
          expect(sums(test)).toEqual(nonZero(expected(lives)));
        },
      ),
      { numRuns: 150 },
    );
  });

  it("at most, after a crash: only what flows moved that ended between the save and the restart may be missing", async () => {
    await fc.assert(
      fc.asyncProperty(
        // No New event outlives the socket that it was sent to.
        fc.array(life(10, fc.constant(false)), { minLength: 1, maxLength: 10 }),
        fc.array(fc.nat(9), { minLength: 1, maxLength: 40 }),
        fc.nat(20),
        fc.nat(20),
        async (lives, order, savedAt, more) => {
          const store = memoryStore();
          const clock = new ManualClock(START);
          let test = settle(new TestHome({ store, clock }).network());
          const events = schedule(lives, order);
          const crashedAt = savedAt + 1 + more;
          let endedBetween = false;
          for (const [step, { flow, last }] of events.entries()) {
            if (step === savedAt) await test.spin.save();
            if (step === crashedAt) test = settle(new TestHome({ store, clock }).network());
            if (step >= savedAt && step < crashedAt && last) endedBetween = true;
            test.after(500).flows({ ...flow, time: test.clock.now() });
          }
          const truth = nonZero(expected(lives));
          if (events.length <= savedAt || events.length <= crashedAt || !endedBetween) {
            expect(sums(test)).toEqual(truth);
            return;
          }
          for (const [device, sum] of sums(test))
            for (const [index, value] of sum.entries())
              expect(value).toBeLessThanOrEqual((truth.get(device) as number[])[index] as number);
        },
      ),
      { numRuns: 150 },
    );
  });
});
