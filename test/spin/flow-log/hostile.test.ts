/** What an attacker in the home, a full disk or damage must not achieve: that erased rows stay, or that others' rows go. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { directoryFiles, memoryFiles, type LogFiles } from "../../../src/spin/flow-log/files.ts";
import { Bed, mac } from "./bed.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let directory: string;
beforeEach(() => (directory = mkdtempSync(join(tmpdir(), "flow-log-"))));
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const files = () => readdirSync(directory).sort();

/** A disk that is full while `isFull` says so. */
function disk(isFull: () => boolean, inner: LogFiles = memoryFiles()): LogFiles {
  const refuse = () => Promise.reject(Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }));
  return {
    ...inner,
    append: (name, bytes) => (isFull() ? refuse() : inner.append(name, bytes)),
    create: (name, bytes) => (isFull() ? refuse() : inner.create(name, bytes)),
  };
}

test("what could not be erased is not called erased", async () => {
  let isFull = false;
  const bed = new Bed({ files: disk(() => isFull) });
  bed.flow(1, { to: "198.51.100.1" }).flow(2, { to: "198.51.100.2" });
  await bed.pass(MINUTE);
  isFull = true;
  await expect(bed.log.erase(mac(1))).rejects.toThrow("ENOSPC");
  isFull = false;
  await bed.log.erase(mac(1));
  expect((await bed.all()).map(({ address }) => address)).toEqual(["198.51.100.2"]);
});

test("nothing that was set aside as damaged outlives an erasure", async () => {
  const bed = new Bed({ files: directoryFiles(directory) });
  for (const k of [1, 2, 3]) {
    bed.flow(1, { to: `198.51.100.${k}` });
    await bed.pass(MINUTE);
  }
  const path = join(directory, "00000001-j.log");
  const bytes = readFileSync(path);
  bytes[bytes.length / 2] = (bytes[bytes.length / 2] as number) ^ 0xff;
  writeFileSync(path, bytes);
  const again = await bed.crash();
  expect(files()).toContain("00000001-j.log.corrupt");
  await again.log.erase(mac(1));
  expect(files()).toEqual([]);
});

test("a device under thousands of forged addresses does not push out the others", async () => {
  const bed = new Bed();
  for (let hour = 0; hour < 3; hour++) {
    for (let k = 0; k < 50; k++) bed.flow(1, { to: `198.51.100.${k}` }, `${k}.example`);
    await bed.pass(2 * HOUR);
  }
  const before = (await bed.all({ mac: mac(1) })).length;
  for (let round = 0; round < 4; round++) {
    for (let k = 0; k < 2000; k++) {
      bed.flow(1000 + round * 2000 + k, { from: "192.0.2.200", to: "203.0.113.1" });
      if (k % 1000 === 999) await bed.pass(MINUTE);
    }
    bed.flow(1, { to: `198.51.100.${200 + round}` });
    await bed.pass(2 * HOUR);
  }
  await bed.pass(2 * HOUR);
  expect((await bed.all({ mac: mac(1) })).length).toBe(before + 4);
  expect(bed.log.figures.blockCount).toBeLessThan(600);
}, 60_000);

test("a disk that takes no new file gets back what has given way", async () => {
  let isFull = false;
  const inner = memoryFiles();
  const files = { ...disk(() => isFull, inner), append: inner.append };
  const bed = new Bed({ files, bytes: 12_000 });
  const fill = async (from: number, to: number) => {
    for (let k = from; k < to; k++) {
      for (let f = 0; f < 60; f++) bed.flow(1 + (k % 3), { to: `198.51.${k}.${f}` }, `${k}-${f}.example`);
      await bed.pass(30 * MINUTE);
    }
  };
  await fill(0, 6);
  isFull = true;
  await fill(6, 12);
  await bed.pass(2 * HOUR);
  expect(inner.list().filter(({ name }) => name.endsWith("-r.log"))).toEqual([]);
});
