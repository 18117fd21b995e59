/** A list of 200,000 entries: read, and loaded into the kernel; names beside addresses. */
import { readFileSync } from "node:fs";
import { parseList } from "../src/spin/lists/parse.ts";
import { silentLog } from "../src/lib/log.ts";
import { kernelBed, NETWORK } from "../test/support/enforcer-bed.ts";
import { now, print } from "./support/table.ts";

const ENTRIES = 200_000;
const TARGET_MS = 3000;
const TARGET_MB = 40;

async function main(): Promise<void> {
  const names = await reading("Hosts", (i) => `0.0.0.0 host${i}.of-some-length${random(50_000)}.example`);
  print({
    figure: `a list of ${ENTRIES} names, read`,
    measured: `${names.ms.toFixed(0)} ms, ${(names.bytes / 1e6).toFixed(1)} MB kept, ${names.longest.toFixed(0)} ms at a stretch`,
    target: `≤ ${TARGET_MS} ms, ≤ ${TARGET_MB} MB`,
    met: names.ms <= TARGET_MS && names.bytes <= TARGET_MB * 1e6,
    beside: `${(names.size / 1e6).toFixed(1)} MB of text`,
  });
  const { content, ...addresses } = await reading("Plain", () =>
    [11 + random(180), random(256), random(256), random(256)].join("."),
  );
  const bed = await kernelBed("helper", {}, silentLog);
  try {
    await bed.enforcer.start(NETWORK);
    const before = kernelKilobytes();
    const at = now();
    await bed.enforcer.list?.(1, content);
    const loaded = now() - at;
    const kernel = (kernelKilobytes() - before) * 1024;
    const ms = addresses.ms + loaded;
    const bytes = addresses.bytes + kernel;
    print({
      figure: `a list of ${ENTRIES} addresses, read and in the kernel`,
      measured: `${ms.toFixed(0)} ms, ${(bytes / 1e6).toFixed(1)} MB (the kernel's ${(kernel / 1e6).toFixed(1)})`,
      target: `≤ ${TARGET_MS} ms, ≤ ${TARGET_MB} MB`,
      met: ms <= TARGET_MS && bytes <= TARGET_MB * 1e6,
      beside: `read ${addresses.ms.toFixed(0)} ms, kernel ${loaded.toFixed(0)} ms`,
    });
  } finally {
    await bed.down();
  }
}

async function reading(format: "Hosts" | "Plain", line: (i: number) => string) {
  const text = Buffer.from(Array.from({ length: ENTRIES }, (_, i) => line(i)).join("\n"));
  const chunks = Array.from({ length: Math.ceil(text.length / 65_536) }, (_, i) =>
    text.subarray(i * 65_536, (i + 1) * 65_536),
  );
  let longest = 0;
  let last = now();
  const watch = setInterval(() => {
    longest = Math.max(longest, now() - last);
    last = now();
  }, 1);
  const at = now();
  const content = await parseList(chunks, { format, excluded: [] });
  const ms = now() - at;
  clearInterval(watch);
  const bytes = content.names.bytes + content.v4.byteLength + content.v6.byteLength;
  return { content, ms, bytes, longest, size: text.length };
}

function random(below: number): number {
  return Math.floor(Math.random() * below);
}

/** What the kernel holds that it can't give back: nothing else here grows by megabytes. */
function kernelKilobytes(): number {
  return Number(/SUnreclaim:\s+(\d+)/.exec(readFileSync("/proc/meminfo", "utf8"))?.[1] ?? 0);
}

void main();
