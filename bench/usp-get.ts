/** A Get of one parameter over mosquitto, 1 and 32 in flight: CPU per request beside the echo endpoint's. */
import { ms, print, quantile } from "./support/table.ts";
import { type Load } from "./support/load.ts";
import { pair } from "./support/usp-pair.ts";

const PATH = "Device.DeviceInfo.SoftwareVersion";
const ROUNDS = 5;
const ROUND_MS = 2000;

async function main(): Promise<void> {
  const sides = await pair(1, 1);
  try {
    for (const inFlight of [1, 32]) {
      const agent: Load[] = [];
      const floor: Load[] = [];
      // The first round warms both up; then they alternate, so that other load hits both alike.
      for (let round = 0; round <= ROUNDS; round++) {
        const [a, f] = [
          await sides.agent.load.run(PATH, inFlight, ROUND_MS, sides.agent.pid),
          await sides.floor.load.run(PATH, inFlight, ROUND_MS, sides.floor.pid),
        ];
        if (round > 0) (agent.push(a), floor.push(f));
      }
      const [best, base] = [least(agent), least(floor)];
      const ratio = best.cpuUsPerRequest / base.cpuUsPerRequest;
      print({
        figure: `Get of one parameter over mosquitto, ${inFlight} in flight: CPU per request`,
        measured: `${best.cpuUsPerRequest.toFixed(0)} µs = ${ratio.toFixed(2)} × floor; ${describe(best)}`,
        target: "≤ 1.3 × the echo endpoint's",
        met: ratio <= 1.3,
        beside: `echo endpoint ${base.cpuUsPerRequest.toFixed(0)} µs; ${describe(base)}`,
      });
    }
  } finally {
    await sides.end();
  }
}

/** The least disturbed round. */
function least(loads: readonly Load[]): Load {
  return loads.reduce((a, b) => (b.cpuUsPerRequest < a.cpuUsPerRequest ? b : a));
}

function describe(load: Load): string {
  const { latencies } = load;
  return `${load.requestsPerSecond.toFixed(0)}/s, p50 ${ms(quantile(latencies, 0.5))}, p99 ${ms(quantile(latencies, 0.99))}`;
}

void main();
