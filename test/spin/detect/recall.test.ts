/** What infected devices do, in a home that is quiet but for one other (bench/detect-recall.ts: also on busy evenings). */
import { simulatedAttacks, type RecallResult } from "../../support/simulated/apart.ts";
import { ATTACKS } from "../../support/simulated/attacks.ts";

let results: RecallResult;
beforeAll(async () => {
  results = await simulatedAttacks(0);
}, 120_000);
const typesOf = (name: string) => results.find((each) => each.name === name)?.outcomes[0]?.types;

it.each(ATTACKS.filter(({ found }) => found !== ""))("$name is a $found", ({ name, found }) => {
  expect(typesOf(name)).toContain(found);
});

it.each(ATTACKS.filter(({ found }) => found === ""))("$name goes unseen, as the manual says", ({ name }) => {
  expect(typesOf(name)).toEqual([]);
});
