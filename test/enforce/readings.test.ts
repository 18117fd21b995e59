/** How counters of the kernel that outlive the agent are counted once; over real restarts: test/e2e/hits.test.ts. */
import { element } from "../../src/enforce/elements.ts";
import type { CountedElement } from "../../src/enforce/elements.ts";
import { Ledger } from "../../src/enforce/ledger.ts";
import { READINGS_LIMIT, parseReadings } from "../../src/enforce/readings.ts";
import type { Readings } from "../../src/enforce/readings.ts";

const pair = (address: number) => element("pair_up4", [3, 0x020000000001, BigInt(address)]);
const ONE = pair(0xc0000201);
const PLAN = { now: 0, refreshInPlace: true, mayRemove: () => true, keptFor: () => undefined };

const holding = (packets: number, one = ONE): Map<string, CountedElement[]> =>
  new Map([[one.map, [{ ...one, packets, bytes: packets * 100 }]]]);
const saved = (packets: number): Readings => ({
  all: true,
  elements: packets === 0 ? [] : [[ONE.id, packets, packets * 100]],
  dropped: [],
});

function settle(ledger: Ledger): void {
  ledger.done(ledger.plan(PLAN), 0);
}

/** A ledger that found the element with so much in it, after readings of an earlier life. */
function adopting(readings: Readings | undefined, found: number): Ledger {
  const ledger = new Ledger();
  if (readings) ledger.resume(readings);
  ledger.observe(holding(found), 0);
  ledger.resumed();
  return ledger;
}

describe("an element found in the kernel", () => {
  it.each([
    ["counts from the saved reading on", saved(5), 8, 3],
    ["counts nothing again", saved(8), 8, 0],
    ["counts whole where it is lower than its reading", saved(9), 8, 8],
    ["counts whole where it had counted nothing, or came later", saved(0), 8, 8],
    ["counts nothing where not all readings were kept", { ...saved(0), all: false }, 8, 0],
    ["counts nothing where nothing was saved", undefined, 8, 0],
  ])("%s", (_, readings, found, expected) => {
    const ledger = adopting(readings, found);
    ledger.want(ONE, [7]);
    settle(ledger);
    expect(ledger.hits.get(7)?.packets ?? 0).toBe(expected);
    ledger.observe(holding(found + 2), 0);
    expect(ledger.hits.get(7)).toMatchObject({ packets: expected + 2 });
    expect(ledger.readings).toEqual({ all: true, elements: saved(found + 2).elements });
  });

  it("keeps what it owes until its rule is known, over readings, a new table and another crash", () => {
    const first = adopting(saved(5), 8);
    first.observe(holding(10), 0);
    expect(first.readings.elements).toEqual(saved(5).elements);
    first.loaded([ONE]);
    first.observe(holding(1), 0);
    const second = adopting({ ...first.readings, dropped: [] }, 1);
    for (const ledger of [first, second]) {
      ledger.want(ONE, [7]);
      settle(ledger);
      expect(ledger.hits.get(7)).toEqual({ packets: 6, bytes: 600 });
    }
  });

  it("has its old reading saved again when we end before we looked", () => {
    const ledger = new Ledger();
    ledger.resume(saved(5));
    expect(ledger.readings).toEqual({ all: true, elements: saved(5).elements });
  });
});

describe("the readings", () => {
  it("are bounded, and say when they are not all", () => {
    const ledger = new Ledger();
    const many = Array.from({ length: READINGS_LIMIT + 1 }, (_, i) => ({ ...pair(i), packets: 1, bytes: 100 }));
    for (const one of many) ledger.want(one, [7]);
    settle(ledger);
    ledger.observe(new Map([["pair_up4", many.slice(1)]]), 0);
    expect([ledger.readings.all, ledger.readings.elements.length]).toEqual([true, READINGS_LIMIT]);
    ledger.observe(new Map([["pair_up4", many]]), 0);
    settle(ledger);
    ledger.observe(new Map([["pair_up4", many.map((one) => ({ ...one, packets: 2 }))]]), 0);
    expect([ledger.readings.all, ledger.readings.elements.length]).toEqual([false, READINGS_LIMIT]);
  });

  it("that are damaged are left out", () => {
    for (const text of ["null", "7", '"x"', "[]", "{}", '{"elements":[]}', '{"elements":1,"dropped":[]}'])
      expect(parseReadings(JSON.parse(text))).toBeUndefined();
    const read = parseReadings({
      all: 1,
      elements: [["a", 1, 2], ["a", 1], [1, 1, 1], null, ["b", 1e99, 2]],
      dropped: [],
    });
    expect(read).toEqual({ all: false, elements: [["a", 1, 2]], dropped: [] });
  });
});
