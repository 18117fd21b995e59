/**
 * A home under load, with all that goes wrong at once: a quarter of a minute here, two minutes where CI or SOAK_MINUTES says
 * so (then the heap is judged, too), and as long as wished by `npm run soak`.
 */
import { describeUnless } from "../support/needs.ts";
import { sceneMissing } from "../support/scene.ts";
import { soak } from "../support/soak.ts";

const given = Number(process.env["SOAK_MINUTES"] ?? (process.env["CI"] ? 2 : NaN));
const seconds = given > 0 ? given * 60 : 15;

describeUnless(sceneMissing(), "a home under load", () => {
  it(
    `loses no flow and no rule in ${seconds} s, and its heap stands`,
    async () => {
      const verdicts = await soak(seconds);
      expect(verdicts.filter(({ met }) => !met)).toEqual([]);
    },
    (seconds + 90) * 1000,
  );
});
