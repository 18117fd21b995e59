import fc from "fast-check";
import { WordIndex } from "../../src/spin/word-index.ts";

describe("the open-addressing index", () => {
  it("finds what a map would, whatever comes and goes, also when hashes collide and it grows and shrinks", () => {
    const operation = fc.tuple(
      fc.constantFrom("insert", "insert", "remove"),
      fc.nat(40),
      fc.constantFrom(0, 1, 15, 16, 17, 0xffffffff),
    );
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
        const index = new WordIndex(4);
        const model = new Map<number, number>();
        for (const [what, row, hash] of operations) {
          if (what === "insert" && !model.has(row)) {
            index.insert(hash, row);
            model.set(row, hash);
          } else if (what === "remove" && model.has(row)) {
            index.remove(model.get(row) as number, row);
            model.delete(row);
          }
        }
        for (const hash of [0, 1, 15, 16, 17, 0xffffffff]) {
          const found: number[] = [];
          for (let at = index.first(hash); at >= 0; at = index.following(at, hash)) found.push(index.rowAt(at));
          const expected = [...model].filter(([, of]) => of === hash).map(([row]) => row);
          expect(found.sort((a, b) => a - b)).toEqual(expected.sort((a, b) => a - b));
        }
      }),
    );
  });
});
