/** `days DAYS SEED` and `attacks EVENINGS`, for apart.ts: prints the result as JSON. */
import type { MonthResult, RecallResult } from "./apart.ts";
import { ATTACKS, attack } from "./attacks.ts";
import { simulate } from "./month.ts";

async function main([what, first, second]: readonly string[]): Promise<void> {
  const result = what === "days" ? await days(Number(first), Number(second)) : attacks(Number(first));
  process.stdout.write(JSON.stringify(result));
}

async function days(count: number, seed: number): Promise<MonthResult> {
  const { home, incidents, alarms } = await simulate(count, seed);
  const types: Record<string, number> = {};
  for (const { type } of incidents) types[type] = (types[type] ?? 0) + 1;
  const { user, system } = process.cpuUsage();
  return { alarms, counts: home.counts, types, cpuSeconds: (user + system) / 1e6 };
}

function attacks(evenings: number): RecallResult {
  return ATTACKS.map((each) => {
    const seeds = Array.from({ length: evenings }, (_, evening) => evening + 1);
    const outcomes = [attack(each, {}), ...seeds.map((seed) => attack(each, { busy: true, seed }))];
    return { name: each.name, found: each.found, outcomes };
  });
}

void main(process.argv.slice(1));
