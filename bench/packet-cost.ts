/** What the agent adds to each packet that the gateway forwards: two homes, one without it, blasted in turn. */
import { pause } from "../test/support/eventually.ts";
import { Home } from "../test/support/home.ts";
import type { RuleWish } from "../test/support/operator.ts";
import { scene } from "../test/support/scene.ts";
import { print, quantile } from "./support/table.ts";

const ROUNDS = 15;
const PACKETS = 150_000;

/** None of them holds the packets that are sent. */
const CASES: readonly { readonly count: number; readonly what: string; readonly rule: (i: number) => RuleWish }[] = [
  { count: 200, what: "200 rules", rule: (i) => ({ destinations: [`198.19.${i}.0/24`] }) },
  {
    count: 1000,
    what: "1,000 rules with ports, on three levels",
    rule: (i) => ({
      action: (["Block", "Allow", "Count"] as const)[i % 3] as "Block",
      destinations: [`198.19.${i >> 2}.${(i & 3) * 64}/26`],
      protocol: 17,
      ports: String(1000 + i),
    }),
  },
];

async function main(): Promise<void> {
  const bare = await Home.up({ devices: 1 });
  try {
    for (const each of CASES) await cost(bare, each);
  } finally {
    await bare.down();
  }
}

async function cost(bare: Home, { count, what, rule }: (typeof CASES)[number]): Promise<void> {
  const s = await scene({ devices: 1, agent: { logLevel: "warn" } });
  try {
    for (let i = 0; i < count; i += 20)
      await Promise.all(Array.from({ length: 20 }, (_, k) => s.operator.addRuleOnly(rule(i + k))));
    await pause(2000);
    const costs: Record<"with" | "without", number[]> = { with: [], without: [] };
    for (let round = 0; round < ROUNDS; round++) {
      // The path of a packet runs in the sender's context: its time on the core is the packet's cost.
      costs.without.push((await bare.device(1).blast("198.51.100.10", PACKETS)).cpuNs / 1000);
      costs.with.push((await s.home.device(1).blast("198.51.100.10", PACKETS)).cpuNs / 1000);
    }
    const [withAgent, without] = [quantile(costs.with, 0.5), quantile(costs.without, 0.5)];
    const added = withAgent - without;
    print({
      figure: `added cost per forwarded packet (200-byte UDP, ${what})`,
      measured: `${added.toFixed(2)} µs (${withAgent.toFixed(2)} with, median of ${ROUNDS})`,
      target: "≤ 3 µs",
      met: added <= 3,
      beside: `${without.toFixed(2)} µs without the agent`,
    });
  } finally {
    await s.end();
  }
}

void main();
