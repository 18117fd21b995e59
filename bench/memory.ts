/**
 * Memory with 100 devices and 10,000 live flows, all detectors on, also with the flow log full; what 10,000 more cost, and the peak in a flood and a whole Get; and the
 * peak while 1,000 rules of ten prefixes come in, and in a Get of them all.
 */
import { execFileSync } from "node:child_process";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { pause } from "../test/support/eventually.ts";
import { type Scene, scene } from "../test/support/scene.ts";
import { type Memory, memory, resetPeak } from "./support/process.ts";
import { print } from "./support/table.ts";

/** More, so that the collector's noise is small beside them. */
const FURTHER = 50_000;
/** A log of 4 MB is as good as full, and so many flows at most are sent to fill it. */
const FULL_LOG_BYTES = 3.5e6;
const FILLINGS = 5;
const FILLING = 60_000;
const RULES = 1000;
const PREFIXES = 10;

async function main(): Promise<void> {
  await fullLog();
  await flows();
  await rules();
}

async function fullLog(): Promise<void> {
  const s = await scene({ devices: 4, agent: { logLevel: "warn" } });
  try {
    await s.home.device(1).forgeMacs(96, 200);
    const logBytes = () => bytesIn(join(s.home.folder, "state", "flow-log"));
    // Flows end after seconds, so that they get into the log.
    const timeouts = ["udp_timeout=5", "udp_timeout_stream=5"].map((each) => `net.netfilter.nf_conntrack_${each}`);
    await s.home.exec(s.home.gateway, "sysctl", ["-qw", ...timeouts]);
    for (let filling = 0; filling < FILLINGS && logBytes() < FULL_LOG_BYTES; filling++) {
      const device = s.home.device(1 + (filling % 4));
      await device.flows("198.18.0.0", { count: FILLING, rate: 8000, port: 7 });
      await pause(7000);
    }
    // What waits in memory goes to disk within a minute.
    await pause(65_000);
    await s.home.exec(s.home.gateway, "sysctl", [
      "-qw",
      `${timeouts[0]?.replace("=5", "=120")}`,
      `${timeouts[1]?.replace("=5", "=120")}`,
    ]);
    await live(s, 10_000, "198.18.0.0");
    const { rss, anonymous } = await settled(s);
    print({
      figure: `anonymous memory with ${await s.operator.value("Device.X_SPIN.DeviceNumberOfEntries")} devices, 10,000 live flows, all detectors, and a log of ${(logBytes() / 1e6).toFixed(1)} MB (agent and helper)`,
      measured: describe({ rss, anonymous, peak: 0 }),
      target: "≤ 45 MB anonymous",
      met: anonymous <= 45 && logBytes() >= FULL_LOG_BYTES,
      beside: `an empty Node: ${emptyNode().toFixed(0)} MB RSS`,
    });
  } finally {
    await s.end();
  }
}

function bytesIn(folder: string): number {
  let sum = 0;
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) sum += statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false })?.size ?? 0;
  return sum;
}

async function flows(): Promise<void> {
  const s = await scene({ devices: 1, agent: { logLevel: "warn" } });
  try {
    const device = s.home.device(1);
    await device.forgeMacs(99, 200);
    await live(s, 10_000, "198.18.0.0");
    const first = await settled(s);
    const devices = await s.operator.value("Device.X_SPIN.DeviceNumberOfEntries");
    print({
      figure: `memory with ${devices} devices and 10,000 live flows (agent and helper)`,
      measured: describe(first),
      target: "≤ 45 MB anonymous",
      met: first.anonymous <= 45,
      beside: `an empty Node: ${emptyNode().toFixed(0)} MB RSS`,
    });
    await live(s, FURTHER, "198.18.64.0");
    const second = await settled(s);
    const each = ((second.rss - first.rss) / FURTHER) * 10_000;
    print({
      figure: "memory per further 10,000 flows",
      measured: `${each.toFixed(1)} MB`,
      target: "≤ 4 MB",
      met: each <= 4,
      beside: `with ${10_000 + FURTHER} live flows: ${describe(second)}`,
    });
    resetPeak(s.agent.pid);
    await Promise.all([
      device.flows("198.18.128.0", { count: 100_000, rate: 10_000, port: 11, spread: 30_000 }),
      pause(3000).then(() => s.operator.get("Device.")),
    ]);
    const { peak } = memory(s.agent.pid);
    print({
      figure: "peak during a flood (10,000 connections/s for 10 s) and a Get of Device.",
      measured: `${peak.toFixed(0)} MB`,
      target: "≤ 120 MB",
      met: peak <= 120,
      beside: describe(second),
    });
  } finally {
    await s.end();
  }
}

async function rules(): Promise<void> {
  const s = await scene({ devices: 1, agent: { logLevel: "warn" } });
  try {
    await s.home.device(1).forgeMacs(99, 200);
    const before = await settled(s);
    resetPeak(s.agent.pid);
    for (let rule = 0; rule < RULES; rule += 20)
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => s.operator.addRuleOnly({ destinations: prefixes(rule + i) })),
      );
    // Counters of all elements are read meanwhile.
    await pause(5000);
    const values = await s.operator.get("Device.");
    const { peak } = memory(s.agent.pid);
    print({
      figure: `peak while ${RULES.toLocaleString("en")} rules of ${PREFIXES} prefixes come in, and in a Get of Device. (${values.size} parameters)`,
      measured: `${peak.toFixed(0)} MB`,
      target: "≤ 120 MB",
      met: peak <= 120,
      beside: `before: ${describe(before)}; after: ${describe(await settled(s))}`,
    });
  } finally {
    await s.end();
  }
}

/** Of one rule; none lies in another. */
function prefixes(rule: number): string[] {
  return Array.from({ length: PREFIXES }, (_, i) => {
    const n = rule * PREFIXES + i;
    return `100.${64 + (n >> 14)}.${(n >> 6) & 255}.${(n & 63) * 4}/31`;
  });
}

/** Flows that were answered and live for two minutes (conntrack's timeout for a stream). */
async function live(s: Scene, count: number, from: string): Promise<void> {
  await s.home.device(1).flows(from, { count, rate: 8000, rounds: 2 });
}

/** The least of some seconds: what a collection has not reached yet is not what the flows cost. */
async function settled(s: Scene): Promise<Memory> {
  let least = memory(s.agent.pid);
  for (let second = 0; second < 20; second++) {
    await pause(1000);
    const next = memory(s.agent.pid);
    if (next.rss < least.rss) least = next;
  }
  return least;
}

function describe({ rss, anonymous }: Memory): string {
  return `${rss.toFixed(1)} MB RSS, ${anonymous.toFixed(1)} MB anonymous`;
}

function emptyNode(): number {
  return Number(execFileSync(process.execPath, ["-p", "process.memoryUsage().rss / 1048576"], { encoding: "utf8" }));
}

void main();
