/** A week of sixteen devices that do nothing wrong, on a fast clock (bench/detect-month.ts: months). */
import { simulatedDays } from "../../support/simulated/apart.ts";

it("a week with backups, calls, games, swarms, outages, restarts and clocks that are set raises no alarm above Info", async () => {
  const { alarms, counts, types } = await simulatedDays(7, 1);
  expect(alarms).toEqual([]);
  // It was a life, and it was watched.
  expect(counts.flows).toBeGreaterThan(300_000);
  expect(types["TrafficPeak"]).toBeGreaterThan(0);
}, 120_000);
