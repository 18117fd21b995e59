import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Log } from "../../src/lib/log.ts";
import { silentLog } from "../../src/lib/log.ts";
import { vendorsIn } from "../../src/lib/vendors.ts";
import { pathToFileURL } from "node:url";

/** As in the IEEE's registry: a name, then an address; some 24-bit blocks are parted. */
const REGISTRY = {
  "00005E": "Example Lamps\n1 Street\nTown",
  "001000": "Example Radios\n2 Street",
  "0010AA": "IEEE Registration Authority\nTown",
  "0010AA1": "Example Kettles",
  "0010AA2": "Example Lamps\n1 Street",
  "0010AAF": "Private",
  "0010AA300": "Example Doorbells",
  "0010AA3FF": `Ü${"n".repeat(300)}`,
  FCFFFF: "Example Last",
};

let directory: string;
let file: string;
let packed: Buffer;
let lines: string[];
let log: Log;

beforeAll(async () => {
  const script = pathToFileURL(join(__dirname, "../../scripts/vendors.mjs")).href;
  packed = await packWith(script, REGISTRY);
});
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vendors-"));
  file = join(directory, "vendors.bin");
  writeFileSync(file, packed);
  lines = [];
  log = { ...silentLog, debug: (text) => void lines.push(text) };
});
afterEach(() => rmSync(directory, { recursive: true }));

describe("the vendor of a hardware address", () => {
  it.each([
    ["24 bits", 0x00005e000001, "Example Lamps"],
    ["24 bits, to the end", 0x00005effffff, "Example Lamps"],
    ["24 bits, the last", 0xfcffff123456, "Example Last"],
    ["28 bits", 0x0010aa1fffff, "Example Kettles"],
    ["28 bits, of a maker that has 24 bits too", 0x0010aa200000, "Example Lamps"],
    ["36 bits", 0x0010aa300fff, "Example Doorbells"],
    ["none, beside one of 36 bits", 0x0010aa301000, ""],
    ["none, for the registry's own block", 0x0010aa400000, ""],
    ["none, where the owner is private", 0x0010aaf00000, ""],
    ["none, before the first", 0, ""],
    ["none, after the last", 0xfdffffffffff, ""],
    ["none, of a locally administered address", 0x020000000001, ""],
  ])("is found by %s", (_, mac, name) => {
    const vendorOf = vendorsIn(file, log);
    expect(vendorOf(mac)).toBe(name);
    expect(vendorOf(mac)).toBe(name);
    expect(lines).toEqual([]);
  });

  it("is never longer than the model allows", () => {
    const name = vendorsIn(file, log)(0x0010aa3ff000);
    expect(name).toMatch(/^Ün+$/);
    expect(Buffer.byteLength(name)).toBe(128);
  });

  it("is right for more addresses than are kept", () => {
    const vendorOf = vendorsIn(file, log);
    for (let i = 0; i < 2000; i++) expect(vendorOf(0x001000000000 + i * 4096)).toBe("Example Radios");
    expect(vendorOf(0x0010aa100000)).toBe("Example Kettles");
  });

  it("is empty without the file, said once", () => {
    for (const path of [undefined, join(directory, "not-here.bin"), directory]) {
      lines = [];
      const vendorOf = vendorsIn(path, log);
      expect([vendorOf(0x00005e000001), vendorOf(0x0010aa100000)]).toEqual(["", ""]);
      expect(lines).toHaveLength(1);
    }
  });

  it("is empty with a file cut anywhere, said once", () => {
    for (let size = 0; size < packed.length; size += 7) {
      lines = [];
      writeFileSync(file, packed.subarray(0, size));
      expect(vendorsIn(file, log)(0x00005e000001)).toBe("");
      expect(lines).toHaveLength(1);
    }
  });

  it("is empty from then on when the file is cut while it is open, said once", () => {
    const vendorOf = vendorsIn(file, log);
    truncateSync(file, 30);
    for (let i = 0; i < 10; i++) expect(vendorOf(0x00005e000000 + i * 4096)).toBe("");
    expect(lines).toHaveLength(1);
  });

  it("never throws, whatever the bytes are", () => {
    for (let at = 8; at < packed.length; at++) {
      const broken = Buffer.from(packed);
      broken[at] = 0xff;
      writeFileSync(file, broken);
      const vendorOf = vendorsIn(file, log);
      for (const mac of [0x00005e000001, 0x0010aa100000, 0x0010aa300000]) expect(typeof vendorOf(mac)).toBe("string");
    }
  });
});

/** The script is an ES module, which jest here does not load: another Node runs it. */
async function packWith(script: string, registry: object): Promise<Buffer> {
  const { spawnSync } = await import("node:child_process");
  const program = `import { packVendors } from ${JSON.stringify(script)}; process.stdout.write(packVendors(${JSON.stringify(registry)}));`;
  const { stdout, stderr, status } = spawnSync(process.execPath, ["--input-type=module", "-e", program]);
  if (status !== 0) throw new Error(stderr.toString());
  return stdout;
}
