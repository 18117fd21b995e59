/** Query() and ResolveIncident() with the flow log full, 200 devices, on disk; what finding it costs at a start, and its memory. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { parseAddress, parsePrefix } from "../src/lib/address.ts";
import { ManualClock } from "../src/lib/clock.ts";
import { silentLog } from "../src/lib/log.ts";
import { FlowLog } from "../src/spin/flow-log/flow-log.ts";
import { directoryFiles } from "../src/spin/flow-log/files.ts";
import type { LogSearch, TraceSearch } from "../src/spin/flow-recorder.ts";
import { mac, START, WAN } from "../test/spin/home.ts";
import { fill } from "./support/flow-log.ts";
import { ms, now, print, quantile, spread } from "./support/table.ts";

const BYTES = 4 << 20;
const DEVICES = 200;
const FLOWS_A_MINUTE = 120;
const DAYS = 7;
const TARGET_MS = 50;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
const memory = () => {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
};

async function settle(): Promise<void> {
  collect();
  await new Promise((resolve) => setTimeout(resolve, 50));
}

async function main(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "spin-bench-"));
  const clock = new ManualClock(START);
  const open = () => new FlowLog({ files: directoryFiles(directory), clock, log: silentLog, bytes: BYTES, days: DAYS });
  try {
    const { written, wall } = await fill(open(), clock, {
      devices: DEVICES,
      minutes: DAYS * 1440,
      flowsAMinute: FLOWS_A_MINUTE,
    });
    for (let k = 0; k < 3; k++) await settle();
    const before = memory();
    const began = now();
    const log = open();
    await log.ready;
    const took = now() - began;
    // Whatever a read file has left behind goes with the second round.
    for (let k = 0; k < 3; k++) await settle();
    const held = memory() - before;
    const { blockCount, bytes } = log.figures;
    print({
      figure: "flow log: opening it full",
      measured: `${ms(took)} for ${blockCount} blocks, ${(bytes / 1e6).toFixed(1)} MB; about ${(held / 1e6).toFixed(1)} MB of memory`,
      target: "≤ 100 ms of the 600 ms of a start, ≤ 3 MB",
      met: took <= 100 && held <= 3e6,
      beside: "",
    });
    print({
      figure: "flow log: written",
      measured: `${(written / DAYS / 1e6).toFixed(1)} MB a day to the journals, and as much again when they are summed up, at ${FLOWS_A_MINUTE} flows a minute`,
      target: "≤ 16 MB a day to the journals",
      met: written / DAYS <= 16e6,
      beside: "",
      note: `${((wall / (DAYS * 1440 * FLOWS_A_MINUTE)) * 1000).toFixed(1)} µs a flow, the file writes included`,
    });
    await measure(log, clock);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function measure(log: FlowLog, clock: ManualClock): Promise<void> {
  const any: LogSearch = {
    kind: 0,
    mac: undefined,
    since: -Infinity,
    until: Infinity,
    prefix: undefined,
    domain: "",
    before: Infinity,
    limit: 500,
    generation: undefined,
    living: new Set(),
  };
  const end = clock.now();
  const middle = end - 12 * 3_600_000;
  const searches: readonly (readonly [string, Partial<LogSearch>])[] = [
    ["the newest 500", {}],
    ["a device", { mac: mac(7) }],
    ["a domain with its subdomains", { domain: "service13.example" }],
    ["one address", { prefix: parsePrefix("198.0.0.77")! }],
    ["an address that is not there", { prefix: parsePrefix("192.0.2.1")! }],
    ["a prefix that is not there", { prefix: parsePrefix("10.0.0.0/8")! }],
    ["an hour in the middle", { since: middle, until: middle + 3_600_000 }],
  ];
  for (const [name, search] of searches) {
    const samples = await timed(async () => void (await log.find({ ...any, ...search })));
    print(row(`Query(Flows), log full: ${name}`, samples));
  }
  const report: TraceSearch = {
    from: middle,
    to: middle + 60_000,
    protocol: 6,
    outside: parseAddress(WAN)!,
    port: 40_000,
    peer: parseAddress("198.0.0.77")!,
    peerPort: 443,
  };
  const asked = async (search: TraceSearch) => void (await log.trace(search));
  print(row("ResolveIncident, log full", await timed(() => asked(report))));
  const blind = { ...report, peer: undefined, peerPort: undefined };
  print(row("ResolveIncident, log full, without a destination", await timed(() => asked(blind))));
}

function row(figure: string, samples: readonly number[]) {
  const met = quantile(samples, 0.5) <= TARGET_MS;
  return { figure, measured: spread(samples), target: `≤ ${TARGET_MS} ms`, met, beside: "" };
}

async function timed(work: () => Promise<void>): Promise<number[]> {
  const samples: number[] = [];
  for (let k = 0; k < 15; k++) {
    const began = now();
    await work();
    samples.push(now() - began);
  }
  return samples;
}

void main();
