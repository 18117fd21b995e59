/** What each scripted attack is found by and after how long: in a quiet home, and on busy evenings of a household. */
import { simulatedAttacks } from "../test/support/simulated/apart.ts";
import { print } from "./support/table.ts";

const EVENINGS = 5;

async function main(): Promise<void> {
  for (const { name, found, outcomes } of await simulatedAttacks(EVENINGS)) {
    const times = outcomes.map(({ seconds }) => seconds).filter((seconds) => seconds !== undefined);
    const alarmed = outcomes.filter(({ types }) => types.length > 0).length;
    const slowest = times.length > 0 ? `, ${Math.max(...times)} s at the latest` : "";
    print({
      figure: `${name} (simulated)`,
      measured: found === "" ? `${alarmed}/${outcomes.length} alarms` : `${times.length}/${outcomes.length}${slowest}`,
      target: found === "" ? "missed, as docs/detection.md says" : `${found} each time`,
      met: found === "" ? alarmed === 0 : times.length === outcomes.length,
      beside: [...new Set(outcomes.flatMap(({ types }) => types))].join(", ") || "nothing above Info",
    });
  }
}

void main();
