import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeptFiles } from "../../../src/capture/live/kept-files.ts";

let folder: string;
let files: KeptFiles;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "spin-kept-"));
  files = new KeptFiles(folder);
});
afterEach(() => {
  files.close();
  rmSync(folder, { recursive: true });
});

/** A capture of so many MiB. */
async function keep(key: string, mebibytes: number): Promise<void> {
  const sink = files.open(key, "pcap", (why) => {
    throw new Error(why);
  });
  for (let chunk = 0; chunk < mebibytes; chunk++) sink.write(Buffer.alloc(1 << 20));
  await sink.end(5000);
}
const kept = () => readdirSync(folder).sort();

test("the oldest gives way to the newest where all are too much", async () => {
  await keep("a", 8);
  await keep("b", 8);
  await keep("c", 8);
  expect(kept()).toEqual(["capture-b.pcap", "capture-c.pcap"]);
});

test("captures of headers push out no whole one, and go first themselves", async () => {
  await keep("a", 8);
  await keep("b", 8);
  for (const key of ["x", "y", "z"]) await keep(`${key}-headers`, 8);
  expect(kept()).toEqual(["capture-a.pcap", "capture-b.pcap", "capture-z-headers.pcap"]);
  await keep("c", 2);
  expect(kept()).toEqual(["capture-a.pcap", "capture-b.pcap", "capture-c.pcap"]);
});
