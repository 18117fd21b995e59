/** What the agent adds to each packet that the gateway forwards: two homes, one without it, blasted in turn. */
import type { ChildProcess } from "node:child_process";
import { pause } from "../test/support/eventually.ts";
import { Home } from "../test/support/home.ts";
import type { RuleWish } from "../test/support/operator.ts";
import { scene } from "../test/support/scene.ts";
import { trafficTool } from "../test/support/traffic.ts";
import { print, quantile } from "./support/table.ts";

const ROUNDS = 15;
const PACKETS = 150_000;
const SERVER = "198.51.100.10";

interface Case {
  readonly count: number;
  readonly what: string;
  readonly rule: (i: number) => RuleWish;
  /** To another device of the home, over the gateway's bridge. */
  readonly isBridged?: boolean;
}

/** None of them holds the packets that are sent. */
const CASES: readonly Case[] = [
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
  {
    count: 200,
    what: "bridged, 200 rules that concern the bridge",
    isBridged: true,
    rule: (i) =>
      i % 2 === 0
        ? { macs: [`02:FF:00:00:00:${i.toString(16).padStart(2, "0").toUpperCase()}`] }
        : { destinations: [`192.168.77.${100 + (i >> 1)}`], protocol: 17, ports: String(1000 + i) },
  },
];

async function main(): Promise<void> {
  const bare = await Home.up({ devices: 2 });
  try {
    for (const each of CASES) await cost(bare, each);
  } finally {
    await bare.down();
  }
}

async function cost(bare: Home, { count, what, rule, isBridged = false }: Case): Promise<void> {
  const sinks: ChildProcess[] = [];
  const s = await scene({ devices: 2, agent: { logLevel: "warn" } });
  try {
    for (let i = 0; i < count; i += 20)
      await Promise.all(Array.from({ length: 20 }, (_, k) => s.operator.addRuleOnly(rule(i + k))));
    for (const home of isBridged ? [bare, s.home] : [])
      sinks.push(home.spawn(home.device(2).namespace, trafficTool(), ["serve"]));
    await pause(2000);
    const costs: Record<"with" | "without", number[]> = { with: [], without: [] };
    for (let round = 0; round < ROUNDS; round++) {
      // The path of a packet runs in the sender's context: its time on the core is the packet's cost.
      costs.without.push((await bare.device(1).blast(isBridged ? bare.device(2).ipv4 : SERVER, PACKETS)).cpuNs / 1000);
      costs.with.push((await s.home.device(1).blast(isBridged ? s.home.device(2).ipv4 : SERVER, PACKETS)).cpuNs / 1000);
    }
    const [withAgent, without] = [quantile(costs.with, 0.5), quantile(costs.without, 0.5)];
    const added = withAgent - without;
    print({
      figure: `added cost per ${isBridged ? "bridged" : "forwarded"} packet (200-byte UDP, ${what})`,
      measured: `${added.toFixed(2)} µs (${withAgent.toFixed(2)} with, median of ${ROUNDS})`,
      target: "≤ 3 µs",
      met: added <= 3,
      beside: `${without.toFixed(2)} µs without the agent`,
    });
  } finally {
    for (const sink of sinks) sink.kill("SIGKILL");
    await s.end();
  }
}

void main();
