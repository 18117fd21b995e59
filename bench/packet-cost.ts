/** What the agent adds to each packet that the gateway forwards: two homes, one without it, blasted in turn. */
import { Home } from "../test/support/home.ts";
import { scene } from "../test/support/scene.ts";
import { print, quantile } from "./support/table.ts";

const ROUNDS = 15;
const PACKETS = 150_000;
const RULES = 200;

async function main(): Promise<void> {
  const bare = await Home.up({ devices: 1 });
  try {
    const s = await scene({ devices: 1, agent: { logLevel: "warn" } });
    try {
      for (let i = 0; i < RULES; i++) await s.operator.addRuleOnly({ destinations: [`198.19.${i}.0/24`] });
      const costs: Record<"with" | "without", number[]> = { with: [], without: [] };
      for (let round = 0; round < ROUNDS; round++) {
        // The path of a packet runs in the sender's context: its time on the core is the packet's cost.
        costs.without.push((await bare.device(1).blast("198.51.100.10", PACKETS)).cpuNs / 1000);
        costs.with.push((await s.home.device(1).blast("198.51.100.10", PACKETS)).cpuNs / 1000);
      }
      const [withAgent, without] = [quantile(costs.with, 0.5), quantile(costs.without, 0.5)];
      const added = withAgent - without;
      print({
        figure: `added cost per forwarded packet (200-byte UDP, ${RULES} rules)`,
        measured: `${added.toFixed(2)} µs (${withAgent.toFixed(2)} with, median of ${ROUNDS})`,
        target: "≤ 3 µs",
        met: added <= 3,
        beside: `${without.toFixed(2)} µs without the agent`,
      });
    } finally {
      await s.end();
    }
  } finally {
    await bare.down();
  }
}

void main();
