import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { cleanHostName, parseLeases } from "../../src/capture/lease-files.ts";
import { LeasesSource } from "../../src/capture/leases.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { Observation } from "../../src/spin/observation.ts";
import { sourceContract, waitFor } from "../contracts/source.ts";

const MAC = 0x020000000001;
const FUTURE = 4_000_000_000;

describe("lease files", () => {
  test("of dnsmasq give addresses, names and ends", () => {
    const text = `${FUTURE} 02:00:00:00:00:01 192.0.2.10 camera 01:02:00:00:00:00:01
0 02:00:00:00:00:02 192.0.2.11 * *
3600 02:00:00:00:00:03 192.0.2.12 clockless *
duid 00:01:00:01:2c:00:00:00:02:00:00:00:00:ff
${FUTURE} 123456 2001:db8::10 camera 00:01:00:01:2c:00:00:00:02:00:00:00:00:01
`;
    expect([...parseLeases(text).values()]).toEqual([
      { mac: MAC, address: "192.0.2.10", hostName: "camera", expires: FUTURE * 1000 },
      { mac: MAC + 1, address: "192.0.2.11" },
      { mac: MAC + 2, address: "192.0.2.12", hostName: "clockless" },
    ]);
  });

  test("of odhcpd give the same", () => {
    const text = `# br-lan 020000000001 192.0.2.10 camera ${FUTURE} 1 32 192.0.2.10/32
# br-lan 020000000002 192.0.2.11 - -1 2 32 192.0.2.11/32
# br-lan 00010001aabbccdd020000000003 5 tablet ${FUTURE} 10 128 2001:db8::20/128
192.0.2.10	camera
`;
    expect([...parseLeases(text).values()]).toEqual([
      { mac: MAC, address: "192.0.2.10", hostName: "camera", expires: FUTURE * 1000 },
      { mac: MAC + 1, address: "192.0.2.11" },
    ]);
  });

  test("do not let a DHCPv6 identifier claim somebody's hardware address", () => {
    expect(parseLeases(`# br-lan 00030001020000000001 1 x ${FUTURE} 1 128 2001:db8::1/128\n`).size).toBe(0);
  });

  test("of nonsense, or half a line, give nothing", () => {
    expect(
      parseLeases("\0\0\n1 2 3\n# # # #\n9999999999999999999 zz:zz 1.2.3 x\n\n# br-lan 02 192.0.2.1 x 1").size,
    ).toBe(0);
    expect(parseLeases(`${FUTURE} 02:00:00:00:00:01 192.0.2.1`).size).toBe(0);
  });

  test("keep a bound on how many they are", () => {
    const lines = Array.from(
      { length: 10_000 },
      (_, i) => `${FUTURE} 02:00:00:00:00:01 10.${i >> 16}.${(i >> 8) & 255}.${i & 255} h *\n`,
    );
    expect(parseLeases(lines.join("")).size).toBe(4096);
  });

  test.each([
    ["camera", "camera"],
    ["Kid's iPad", "KidsiPad"],
    ["<script>alert(1)</script>", "scriptalert1script"],
    ["a\u001b[2Jb", "a2Jb"],
    ["--rm -rf", "rm-rf"],
    ["...", undefined],
    ["*", undefined],
    [undefined, undefined],
    ["x".repeat(300), "x".repeat(63)],
  ])("a host name %j shows as %j", (name, shown) => {
    expect(cleanHostName(name)).toBe(shown);
  });
});

describe("leases", () => {
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "spin-leases-"));
    file = join(folder, "dhcp.leases");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));
  const line = (last: number, address: string, name = "camera", expiry = FUTURE) =>
    `${expiry} 02:00:00:00:00:0${last} ${address} ${name} *\n`;

  sourceContract("leases", () => {
    writeFileSync(file, line(1, "192.0.2.10"));
    return {
      source: new LeasesSource({ files: [file], clock: systemClock, log: silentLog }),
      kinds: ["lease"],
      poke: () => Promise.resolve(appendFileSync(file, line(2, "192.0.2.11"))),
    };
  });

  test("are told when they come, are renewed, change hands and end", async () => {
    const source = new LeasesSource({ files: [file, join(folder, "absent")], clock: systemClock, log: silentLog });
    const stop = new AbortController();
    const seen: Extract<Observation, { kind: "lease" }>[] = [];
    const running = source.run(stop.signal, (observation) => {
      if (observation.kind === "lease") seen.push(observation);
    });
    await waitFor("it misses the file", () => source.health.status === "Degraded");
    expect(source.health.lastError).toMatch(/no lease file/);
    writeFileSync(file, line(1, "192.0.2.10") + line(2, "192.0.2.11"));
    await waitFor("two leases", () => seen.length === 2);
    expect(source.health.status).toBe("Running");
    writeFileSync(file, line(1, "192.0.2.10", "camera", FUTURE + 60) + line(2, "192.0.2.11"));
    await waitFor("a renewal", () => seen.length === 3);
    expect(seen[2]).toMatchObject({ mac: MAC, expires: (FUTURE + 60) * 1000 });
    writeFileSync(file, line(3, "192.0.2.10") + line(2, "192.0.2.11"));
    await waitFor("another holder", () => seen.length === 5);
    expect(seen.slice(3)).toMatchObject([
      { mac: MAC, address: "192.0.2.10", ended: true },
      { mac: MAC + 2, address: "192.0.2.10" },
    ]);
    writeFileSync(file, line(3, "192.0.2.10"));
    await waitFor("an end", () => seen.length === 6);
    expect(seen[5]).toMatchObject({ mac: MAC + 1, address: "192.0.2.11", ended: true });
    stop.abort();
    await running;
  });

  test("of a host that serves none leave the source Disabled, until a file comes", async () => {
    const source = new LeasesSource({ places: [file], clock: systemClock, log: silentLog });
    const stop = new AbortController();
    const seen: Observation[] = [];
    const running = source.run(stop.signal, (observation) => seen.push(observation));
    await waitFor("it misses the file", () => source.health.lastError !== "");
    expect(source.health).toMatchObject({
      status: "Disabled",
      lastError: expect.stringMatching(/no lease file/) as string,
    });
    writeFileSync(file, line(1, "192.0.2.10"));
    await waitFor("a lease", () => seen.length === 1);
    expect(source.health.status).toBe("Running");
    stop.abort();
    await running;
  });

  test("do not end while the file is being written anew", async () => {
    writeFileSync(file, line(1, "192.0.2.10") + line(2, "192.0.2.11"));
    const source = new LeasesSource({ files: [file], clock: systemClock, log: silentLog });
    const stop = new AbortController();
    const seen: Observation[] = [];
    const running = source.run(stop.signal, (observation) => seen.push(observation));
    await waitFor("two leases", () => seen.length === 2);
    writeFileSync(file, line(1, "192.0.2.10"));
    await new Promise((done) => setTimeout(done, 400));
    appendFileSync(file, line(2, "192.0.2.11"));
    await new Promise((done) => setTimeout(done, 2500));
    expect(seen).toHaveLength(2);
    stop.abort();
    await running;
  });
});
