/** A Get of 5,000 parameters (500 rows of `X_BENCH`) over mosquitto, beside an endpoint that answers a constant. */
import { print, quantile, ms, spread } from "./support/table.ts";
import { pair } from "./support/usp-pair.ts";

async function main(): Promise<void> {
  const sides = await pair(5000, 500);
  try {
    const path = "Device.X_BENCH.Row.";
    await sides.agent.load.run(path, 1, 3000, sides.agent.pid);
    await sides.floor.load.run(path, 1, 3000, sides.floor.pid);
    const agent = await sides.agent.load.run(path, 1, 4000, sides.agent.pid);
    const floor = await sides.floor.load.run(path, 1, 4000, sides.floor.pid);
    const p50 = quantile(agent.latencies, 0.5);
    print({
      figure: "Get of 5,000 parameters",
      measured: `${spread(agent.latencies)}, ${(agent.answerBytes / 1000).toFixed(0)} kB`,
      target: "≤ 10 ms p50",
      met: p50 <= 10,
      beside: `echo endpoint p50 ${ms(quantile(floor.latencies, 0.5))}, ${(floor.answerBytes / 1000).toFixed(0)} kB`,
    });
  } finally {
    await sides.end();
  }
}

void main();
