/** Segmentation and reassembly: the seven cases of TR-369 "Segmentation Examples", and parts that make no whole. */
import fc from "fast-check";
import { Budget } from "../../src/session/budget.ts";
import { Reassembler, segment, type Cargo } from "../../src/session/segmentation.ts";

const bytes = (length: number) => Buffer.alloc(length, "x");
const states = (cargos: readonly Cargo[]) =>
  cargos.map((cargo) => [cargo.payloadSarState, cargo.payloadrecSarState, cargo.payload.length]);
const assemble = (cargos: readonly Cargo[]) => {
  const budget = new Budget(1 << 20);
  const reassembler = new Reassembler(1 << 20, budget);
  const results = cargos.map((cargo) => reassembler.add(cargo));
  expect(budget.used).toBe(0);
  return results;
};

describe("a payload becomes Records", () => {
  it.each<[string, readonly number[], number, readonly (readonly number[])[]]>([
    ["1. plain text that fits", [80], 100, [[0, 0, 1]]],
    [
      "2. plain text that does not",
      [200],
      100,
      [
        [1, 1, 1],
        [2, 2, 1],
        [3, 3, 1],
      ],
    ],
    ["3. one TLS record that fits", [80], 100, [[0, 0, 1]]],
    ["4. several TLS records that fit together", [30, 30, 20], 100, [[0, 0, 3]]],
    [
      "5. one TLS record in parts",
      [150],
      100,
      [
        [1, 1, 1],
        [3, 3, 1],
      ],
    ],
    [
      "6. a Record for each TLS record",
      [90, 90, 90],
      100,
      [
        [1, 0, 1],
        [2, 0, 1],
        [3, 0, 1],
      ],
    ],
    [
      "7. some TLS records in parts",
      [150, 150, 20],
      100,
      [
        [1, 1, 1],
        [2, 3, 1],
        [2, 1, 1],
        [2, 3, 1],
        [3, 0, 1],
      ],
    ],
  ])("%s", (_, lengths, room, expected) => {
    expect(states(segment(lengths.map(bytes), room))).toEqual(expected);
  });

  it("and it is the same when it is put together", () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400 }), { minLength: 1, maxLength: 6 }),
        fc.integer({ min: 64, max: 300 }),
        (units, room) => {
          const cargos = segment(units, room);
          for (const { payload } of cargos)
            expect(payload.reduce((sum, { length }) => sum + length + 5, 0)).toBeLessThanOrEqual(room);
          const results = assemble(cargos);
          expect(results.slice(0, -1).every(({ whole, fault }) => !whole && fault === undefined)).toBe(true);
          expect(Buffer.from(results.at(-1)?.whole ?? [])).toEqual(Buffer.concat(units));
        },
      ),
    );
  });
});

describe("parts that make no whole", () => {
  const part = (payloadSarState: number, payloadrecSarState: number) =>
    ({ payloadSarState, payloadrecSarState, payload: [bytes(4)] }) as Cargo;
  it.each<[string, readonly (readonly [number, number])[]]>([
    [
      "begins within another",
      [
        [1, 1],
        [1, 1],
      ],
    ],
    [
      "begins within another",
      [
        [1, 1],
        [0, 0],
      ],
    ],
    ["goes on that did not begin", [[2, 2]]],
    ["goes on that did not begin", [[3, 3]]],
    ["has no parts", [[0, 1]]],
    [
      "a part begins within another",
      [
        [1, 1],
        [2, 1],
      ],
    ],
    [
      "a part goes on that did not begin",
      [
        [1, 0],
        [2, 2],
      ],
    ],
    [
      "ends within a part",
      [
        [1, 1],
        [3, 2],
      ],
    ],
  ])("%s", (reason, parts) => {
    expect(assemble(parts.map(([sar, rec]) => part(sar, rec))).at(-1)?.fault).toContain(reason);
  });

  it("is more than is kept of one, or of all", () => {
    const budget = new Budget(1000);
    const one = new Reassembler(900, budget);
    const other = new Reassembler(900, budget);
    const begin = { payloadSarState: 1, payloadrecSarState: 1, payload: [bytes(600)] } as const;
    const more = { payloadSarState: 2, payloadrecSarState: 2, payload: [bytes(600)] } as const;
    expect(one.add({ ...begin, payload: [...begin.payload] })).toEqual({});
    expect(other.add({ ...begin, payload: [...begin.payload] }).fault).toContain("all peers");
    expect(one.add({ ...more, payload: [...more.payload] }).fault).toContain("more than 900");
    expect(budget.used).toBe(0);
  });
});
