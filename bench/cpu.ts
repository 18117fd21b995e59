/** CPU of agent and helper while 500 connections and 200 DNS answers come each second. */
import { Home } from "../test/support/home.ts";
import { stop } from "../test/support/namespace.ts";
import type { HomeDevice } from "../test/support/home-device.ts";
import { scene } from "../test/support/scene.ts";
import { flowsOpened } from "./support/counters.ts";
import { cpuNs } from "./support/process.ts";
import { print } from "./support/table.ts";

const SECONDS = 20;

async function main(): Promise<void> {
  const floor = await conntrackCost();
  const s = await scene({ devices: 2, agent: { capture: { counter_interval: "5" }, logLevel: "warn" } });
  try {
    const [first, second] = [s.home.device(1), s.home.device(2)];
    await first.udp("198.51.100.10");
    await s.operator.device(first.mac);
    await busy(first, second, 3);
    const before = await flowsOpened(s.operator, first.mac, 1);
    const cpu = await share(s.agent.pid, () => busy(first, second, SECONDS));
    const seen = (await flowsOpened(s.operator, first.mac, before + 500 * SECONDS)) - before;
    print({
      figure: "CPU at 500 connections/s + 200 DNS answers/s (half TCP, half UDP), counters ≤ 5 s old",
      measured: `${cpu.toFixed(2)} % of a core, ${500 * SECONDS - seen} connections missed`,
      target: "≤ 4 % of a core",
      met: cpu <= 4 && seen === 500 * SECONDS,
      beside: `conntrack -E to /dev/null, nothing else: ${floor.toFixed(2)} %`,
    });
  } finally {
    await s.end();
  }
}

async function busy(first: HomeDevice, second: HomeDevice, seconds: number): Promise<void> {
  await Promise.all([
    first.connections("198.18.0.0", { count: 250 * seconds, rate: 250 }),
    first.flows("198.18.32.0", { count: 250 * seconds, rate: 250 }),
    second.askNames("h%d.load.example", 200 * seconds, 200),
  ]);
}

/** Percent of a core that a process and its children use while `work` runs. */
async function share(pid: number, work: () => Promise<void>): Promise<number> {
  const [cpu, at] = [cpuNs(pid), performance.now()];
  await work();
  return ((cpuNs(pid) - cpu) / ((performance.now() - at) * 1e6)) * 100;
}

async function conntrackCost(): Promise<number> {
  const home = await Home.up({ devices: 2 });
  try {
    const child = home.spawn(home.gateway, "conntrack", ["-E", "-o", "extended,id"]);
    child.stdout?.resume();
    const cpu = await share(child.pid as number, () => busy(home.device(1), home.device(2), SECONDS / 2));
    await stop(child);
    return cpu;
  } finally {
    await home.down();
  }
}

void main();
