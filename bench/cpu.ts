/** CPU of agent and helper, all detectors on, while 1,000 connections and 100 DNS answers come each second. */
import { Home } from "../test/support/home.ts";
import { stop } from "../test/support/namespace.ts";
import type { HomeDevice } from "../test/support/home-device.ts";
import { scene } from "../test/support/scene.ts";
import { flowsOpened } from "./support/counters.ts";
import { cpuNs } from "./support/process.ts";
import { print } from "./support/table.ts";

const SECONDS = 20;
/** Half of them TCP, half UDP. */
const CONNECTIONS = 1000;
const ANSWERS = 100;
const TARGET = 6;

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
    const seen = (await flowsOpened(s.operator, first.mac, before + CONNECTIONS * SECONDS)) - before;
    print({
      figure: `CPU at ${CONNECTIONS} connections/s + ${ANSWERS} DNS answers/s (half TCP, half UDP), all detectors, counters ≤ 5 s old`,
      measured: `${cpu.toFixed(2)} % of a core, ${CONNECTIONS * SECONDS - seen} connections missed`,
      target: `≤ ${TARGET} % of a core`,
      met: cpu <= TARGET && seen === CONNECTIONS * SECONDS,
      beside: `conntrack -E to /dev/null, nothing else: ${floor.toFixed(2)} %`,
    });
  } finally {
    await s.end();
  }
}

async function busy(first: HomeDevice, second: HomeDevice, seconds: number): Promise<void> {
  await Promise.all([
    first.connections("198.18.0.0", { count: (CONNECTIONS / 2) * seconds, rate: CONNECTIONS / 2 }),
    first.flows("198.18.64.0", { count: (CONNECTIONS / 2) * seconds, rate: CONNECTIONS / 2 }),
    second.askNames("h%d.load.example", ANSWERS * seconds, ANSWERS),
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
