/** 20,000 new connections a second for 30 s through the gateway: how many the agent did not see. */
import { createInterface } from "node:readline";
import { Home } from "../test/support/home.ts";
import { ended } from "../test/support/namespace.ts";
import { scene } from "../test/support/scene.ts";
import { withConntrackLimit } from "./support/conntrack-limit.ts";
import { captureCounters, flowsOpened } from "./support/counters.ts";
import { print } from "./support/table.ts";

const RATE = 20_000;
const SECONDS = 30;

async function main(): Promise<void> {
  await withConntrackLimit(1_000_000, async () => {
    const floor = await conntrackMisses();
    const s = await scene({ devices: 1 });
    try {
      const device = s.home.device(1);
      await device.udp("198.51.100.10");
      await s.operator.device(device.mac);
      const before = await flowsOpened(s.operator, device.mac, 1);
      const made = await device.flows("198.18.0.0", { count: RATE * SECONDS, rate: RATE, port: 11 });
      const seen = (await flowsOpened(s.operator, device.mac, before + made.flows)) - before;
      const { eventsLost, resyncs } = await captureCounters(s.operator);
      const missed = made.flows - made.failed - seen;
      print({
        figure: `conntrack events, ${RATE} new connections/s for ${SECONDS} s`,
        measured: `${missed} of ${made.flows} missed at ${made.rate}/s (EventsLost ${eventsLost}, Resyncs ${resyncs})`,
        target: "0 missed",
        met: missed === 0,
        beside: floor,
        ...(made.rate < RATE * 0.98 ? { note: "the generator did not keep the rate" } : {}),
      });
    } finally {
      await s.end();
    }
  });
}

/** The same load for a third of the time on `conntrack -E`, whose lines we only count. */
async function conntrackMisses(): Promise<string> {
  const home = await Home.up({ devices: 1 });
  try {
    const child = home.spawn(home.gateway, "conntrack", [
      "-E",
      "-e",
      "NEW",
      "-p",
      "udp",
      "--dport",
      "11",
      "-b",
      "8388608",
    ]);
    let lines = 0;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", () => lines++);
    await new Promise((done) => setTimeout(done, 300));
    const made = await home.device(1).flows("198.18.0.0", { count: (RATE * SECONDS) / 3, rate: RATE, port: 11 });
    await new Promise((done) => setTimeout(done, 1500));
    child.kill("SIGTERM");
    await ended(child);
    return `conntrack -E: ${made.flows - made.failed - lines} of ${made.flows} missed at ${made.rate}/s`;
  } finally {
    await home.down();
  }
}

void main();
