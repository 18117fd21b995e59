/** What befalls files: torn ends, damage, a crash in between, a disk that is full. History may go; nothing throws. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../../src/lib/log.ts";
import { silentLog } from "../../../src/lib/log.ts";
import { directoryFiles, memoryFiles, type LogFiles } from "../../../src/spin/flow-log/files.ts";
import { openFlowLog } from "../../../src/spin/flow-log/open.ts";
import { Bed, mac } from "./bed.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "flow-log-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const addresses = async (bed: Bed) => (await bed.all()).map(({ address }) => address);
const files = () => readdirSync(directory).sort();
const hearing = () => {
  const said: string[] = [];
  const log: Log = {
    ...silentLog,
    warn: (text) => void said.push(text),
    error: (text) => void said.push(text),
    child: () => log,
  };
  return { said, log };
};

/** Three blocks in one journal, each of one flow. */
async function three(): Promise<Bed> {
  const bed = new Bed({ files: directoryFiles(directory) });
  for (const k of [1, 2, 3]) {
    bed.flow(1, { to: `198.51.100.${k}` });
    await bed.pass(MINUTE);
  }
  expect(files()).toEqual(["00000001-j.log"]);
  return bed;
}

test("at every byte that a power cut may tear it off, the file loses only the block that was being written", async () => {
  const bed = await three();
  const path = join(directory, "00000001-j.log");
  const whole = readFileSync(path);
  const size = whole.length / 3;
  for (let length = 0; length < whole.length; length += 7) {
    const { said, log } = hearing();
    writeFileSync(path, whole.subarray(0, length));
    const again = await bed.crash({ log });
    const left = Math.floor(length / size + 0.02);
    expect((await addresses(again)).length).toBeLessThanOrEqual(left + 1);
    expect((await addresses(again)).length).toBeGreaterThanOrEqual(Math.floor(length / (size + 8)));
    again.flow(1, { to: "198.51.100.9" });
    await again.pass(MINUTE);
    expect((await addresses(again))[0]).toBe("198.51.100.9");
    expect(said).toEqual([]);
    for (const name of files()) rmSync(join(directory, name));
  }
});

test("damage inside a file costs its block; the file is set aside with a warning, and a second time too", async () => {
  const bed = await three();
  const path = join(directory, "00000001-j.log");
  const whole = readFileSync(path);
  for (let at = 0; at < whole.length / 3; at += 5) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] as number) ^ 0x55;
    writeFileSync(path, damaged);
    const { said, log } = hearing();
    const again = await bed.crash({ log });
    expect(await addresses(again)).toEqual(["198.51.100.3", "198.51.100.2"]);
    expect(said).toEqual([expect.stringContaining("damaged")]);
    expect(files()).toEqual(["00000001-j.log", "00000001-j.log.corrupt"]);
  }
});

test("damage that comes while the agent runs is found by who reads, and the rest goes on", async () => {
  const { said, log } = hearing();
  const bed = new Bed({ files: directoryFiles(directory), log });
  for (const k of [1, 2, 3]) {
    bed.flow(1, { to: `198.51.100.${k}` });
    await bed.pass(MINUTE);
  }
  const path = join(directory, "00000001-j.log");
  const bytes = readFileSync(path);
  // In the second block's payload.
  const at = Math.floor((bytes.length * 2) / 3) - 5;
  bytes[at] = (bytes[at] as number) ^ 0xff;
  writeFileSync(path, bytes);
  expect(await addresses(bed)).toHaveLength(2);
  await bed.pass(MINUTE);
  bed.flow(1, { to: "198.51.100.4" });
  await bed.pass(MINUTE);
  expect(await addresses(bed)).toHaveLength(3);
  expect(said).toHaveLength(1);
});

test("files that are not ours, empty, enormous or rubbish, are no hindrance", async () => {
  writeFileSync(join(directory, "notes.txt"), "mine");
  writeFileSync(join(directory, "00000007-j.log"), "");
  writeFileSync(join(directory, "00000008-j.log"), Buffer.alloc(10_000, 0x46));
  writeFileSync(join(directory, "00000009-020000000001.log"), Buffer.alloc(3_000_000));
  writeFileSync(join(directory, "00000010-j.log.new"), "half");
  const bed = new Bed({ files: directoryFiles(directory), bytes: 500_000 }).flow(1, { to: "198.51.100.7" });
  expect(await addresses(bed)).toEqual(["198.51.100.7"]);
  await bed.pass(MINUTE);
  expect(files()).toEqual(["00000009-020000000001.log.corrupt", "00000010-j.log", "notes.txt"]);
});

test("a crash while a journal is being summed up leaves each flow there once, wherever it came", async () => {
  // The n-th change of a file is the last that the disk sees.
  for (let last = 0; last < 14; last++) {
    const inner = memoryFiles();
    let left = Infinity;
    const dying =
      <A extends unknown[]>(change: (...args: A) => Promise<void>) =>
      (...args: A) =>
        left-- > 0 ? change(...args) : new Promise<void>(() => undefined);
    const files: LogFiles = {
      ...inner,
      append: dying(inner.append),
      create: dying(inner.create),
      rename: dying(inner.rename),
      remove: dying(inner.remove),
    };
    const bed = new Bed({ files });
    for (const device of [1, 2, 3])
      for (let k = 0; k < 3; k++) bed.flow(device, { to: `198.51.100.${k}`, sourcePort: 50_000 + k });
    await bed.pass(59 * MINUTE);
    left = last;
    bed.clock.advance(20 * MINUTE);
    for (let k = 0; k < 60; k++)
      bed.log.tick(
        bed.rows,
        () => undefined,
        () => "",
      );
    await new Promise((resolve) => setTimeout(resolve, 30));
    const again = new Bed({ files: inner, clock: bed.clock });
    await again.log.ready;
    for (const device of [1, 2, 3])
      expect((await again.all({ mac: mac(device) })).reduce((sum, { count }) => sum + count, 0)).toBe(3);
    await again.pass(2 * HOUR);
    expect((await again.all()).reduce((sum, { count }) => sum + count, 0)).toBe(9);
  }
});

test("a full disk costs what is written then, is said, and is over when there is room", async () => {
  const inner = memoryFiles();
  let isFull = false;
  const full = () =>
    Promise.reject(Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }));
  const files: LogFiles = {
    ...inner,
    append: (name, bytes) =>
      // Half of it may have got there.
      isFull ? inner.append(name, bytes.subarray(0, bytes.length / 2)).then(full) : inner.append(name, bytes),
    create: (name, bytes) => (isFull ? full() : inner.create(name, bytes)),
  };
  const { said, log } = hearing();
  const bed = new Bed({ files, log }).flow(1, { to: "198.51.100.1" });
  await bed.pass(2 * MINUTE);
  isFull = true;
  bed.flow(1, { to: "198.51.100.2" });
  await bed.pass(2 * MINUTE);
  expect(bed.log.refusal).toContain("ENOSPC");
  expect(bed.log.figures.lost).toBe(1);
  // Summing up fails as well, and leaves all as it was.
  await bed.pass(2 * HOUR);
  expect(await addresses(bed)).toEqual(["198.51.100.1"]);
  isFull = false;
  bed.flow(1, { to: "198.51.100.3" });
  await bed.pass(2 * MINUTE);
  expect(bed.log.refusal).toBe("");
  expect(said).toEqual([expect.stringContaining("ENOSPC"), expect.stringContaining("again")]);
  await bed.pass(3 * HOUR);
  expect(await addresses(await bed.restart())).toEqual(["198.51.100.3", "198.51.100.1"]);
});

test("a directory that can't be made leaves a log in memory", async () => {
  writeFileSync(join(directory, "file"), "");
  const { said, log } = hearing();
  const { clock } = new Bed();
  const opened = openFlowLog({ directory: join(directory, "file", "below"), bytes: 4_000_000, days: 7, clock, log });
  await opened.ready;
  expect(said).toEqual([expect.stringContaining("in memory alone")]);
});
