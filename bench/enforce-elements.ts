/** One change of the policy while the kernel holds 10,000 elements: with the helper, with spawned nft, and by hand. */
import { parsePrefix, type Prefix } from "../src/lib/address.ts";
import type { PolicyRule } from "../src/spin/ruleset.ts";
import { type Backend, kernelBed, NETWORK } from "../test/support/enforcer-bed.ts";
import { Home } from "../test/support/home.ts";
import { now, print, quantile, spread } from "./support/table.ts";

const ELEMENTS = 10_000;
const PER_RULE = 250;
const TARGET_MS = { helper: 2, nft: Infinity };

async function main(): Promise<void> {
  const floor = await byHand();
  for (const backend of ["helper", "nft"] as const) {
    const samples = await changes(backend, backend === "helper" ? 100 : 15);
    print({
      figure: `one change with ${ELEMENTS} elements, ${backend === "helper" ? "with the helper" : "spawned nft"}`,
      measured: spread(samples),
      target: backend === "helper" ? `≤ ${TARGET_MS.helper} ms` : "none",
      ...(backend === "helper" ? { met: quantile(samples, 0.5) <= TARGET_MS.helper } : {}),
      beside: `nft add element by hand, interval set of ${ELEMENTS}: ${spread(floor)}`,
    });
  }
}

/** Milliseconds from `apply` of a policy with one rule more, or one less, until the kernel has it. */
async function changes(backend: Backend, count: number): Promise<number[]> {
  const bed = await kernelBed(backend);
  try {
    await bed.enforcer.start(NETWORK);
    const rules = Array.from({ length: ELEMENTS / PER_RULE }, (_, i) => rule(i + 1, prefixes(i * PER_RULE, PER_RULE)));
    const one = rule(rules.length + 1, prefixes(ELEMENTS + 7, 1));
    await bed.enforcer.apply({ rules });
    const samples: number[] = [];
    for (let i = 0; i < count; i++) {
      const at = now();
      await bed.enforcer.apply({ rules: i % 2 === 0 ? [...rules, one] : rules });
      samples.push(now() - at);
    }
    return samples.slice(2);
  } finally {
    await bed.down();
  }
}

function rule(id: number, list: readonly Prefix[]): PolicyRule {
  const destinations = { prefixes: list, domains: [] };
  return { id, tier: 1, action: "Block", macs: "*", destinations, protocol: -1, ports: [], initiator: "Any" };
}

/** Prefixes that do not touch each other. */
function prefixes(from: number, count: number): Prefix[] {
  return Array.from({ length: count }, (_, i) => parsePrefix(address(from + i)) as Prefix);
}

function address(n: number): string {
  return `100.${64 + (n >> 14)}.${(n >> 6) & 255}.${(n & 63) * 4}/31`;
}

async function byHand(): Promise<number[]> {
  const home = await Home.up({ devices: 1 });
  try {
    const all = Array.from({ length: ELEMENTS }, (_, i) => address(i)).join(", ");
    await home.nft(`table inet floor {\nset v4 { type ipv4_addr; flags interval; counter; elements = { ${all} }\n}\n}`);
    const samples: number[] = [];
    for (let i = 0; i < 12; i++) {
      const at = now();
      await home.nft(`${i % 2 === 0 ? "add" : "delete"} element inet floor v4 { ${address(ELEMENTS + 7)} }`);
      samples.push(now() - at);
    }
    return samples;
  } finally {
    await home.down();
  }
}

void main();
