import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HostsSource } from "../../src/capture/hosts.ts";
import { parseEthers, parseHosts } from "../../src/capture/hosts-files.ts";
import { systemClock } from "../../src/lib/clock.ts";
import { silentLog } from "../../src/lib/log.ts";
import type { Observation } from "../../src/spin/observation.ts";
import { sourceContract, waitFor } from "../contracts/source.ts";

const MAC = 0x020000000001;
const ETHERS = `# a comment
02:00:00:00:00:01 nas
2:0:0:0:0:2 192.168.1.12 # printer's
02:00:00:00:00:03
zz:00:00:00:00:04 x
02:00:00:00:00:05 2001:DB8::5
00:00:00:00:00:00 nobody
`;

describe("ethers and hosts", () => {
  test("ethers names devices, or says whose an address is", () => {
    const { names, addresses } = parseEthers(ETHERS);
    expect([...names]).toEqual([[MAC, "nas"]]);
    expect([...addresses]).toEqual([
      ["192.168.1.12", MAC + 1],
      ["2001:db8::5", MAC + 4],
    ]);
  });

  test("hosts names devices whose address is known, by the first line and its short name", () => {
    const hosts = `127.0.0.1 localhost
192.168.1.12\tprinter.home printer alias # hall
192.168.1.12 other
192.168.1.13 unknown
2001:0db8:0::5 sensor
192.168.1.14 <script>
junk
`;
    const known = new Map([...parseEthers(ETHERS).addresses, ["192.168.1.14", MAC + 9]] as [string, number][]);
    expect([...parseHosts(hosts, known)]).toEqual([
      [MAC + 1, "printer"],
      [MAC + 4, "sensor"],
      [MAC + 9, "script"],
    ]);
  });

  test("are bounded", () => {
    const text = Array.from(
      { length: 5000 },
      (_, i) => `02:00:00:00:${(i >> 8).toString(16)}:${(i & 255).toString(16)} d${i}`,
    );
    expect(parseEthers(text.join("\n")).names.size).toBe(2048);
  });
});

describe("the source of names in files", () => {
  let folder: string;
  const path = (name: string) => join(folder, name);
  const source = () =>
    new HostsSource({
      hosts: path("hosts"),
      ethers: path("ethers"),
      folder: path("more"),
      leases: [path("leases")],
      clock: systemClock,
      log: silentLog,
    });
  beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "spin-hosts-"))));
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  test("tells each name once, follows changes, and takes names of leases from the folder of hosts files", async () => {
    writeFileSync(path("hosts"), "192.168.1.10 camera\n");
    writeFileSync(
      path("leases"),
      "4000000000 02:00:00:00:00:0a 192.168.1.10 * *\n4000000000 02:00:00:00:00:0b 192.168.1.11 * *\n",
    );
    mkdirSync(path("more"));
    writeFileSync(path("more/dhcp.cfg01"), "192.168.1.11 tv.lan\n");
    const names = source();
    const stop = new AbortController();
    const told: string[] = [];
    const running = names.run(stop.signal, (observation: Observation) => {
      if (observation.kind === "identity")
        told.push(`${observation.source} ${observation.mac.toString(16)} ${observation.hostName}`);
    });
    await waitFor("the first names", () => told.length === 2);
    expect(told).toEqual(["hosts 2000000000a camera", "hosts 2000000000b tv.lan"]);
    writeFileSync(path("ethers"), "02:00:00:00:00:0c lamp\n");
    await waitFor("a new file", () => told.length === 3);
    expect(told[2]).toBe("ethers 2000000000c lamp");
    writeFileSync(path("hosts"), "192.168.1.10 garage-camera\n");
    await waitFor("a new name", () => told.length === 4);
    expect(told[3]).toBe("hosts 2000000000a garage-camera");
    expect(names.health.status).toBe("Running");
    stop.abort();
    await running;
    expect(names.health.status).toBe("Disabled");
  });

  sourceContract("hosts", () => {
    writeFileSync(path("ethers"), "");
    return {
      source: source(),
      kinds: ["identity"],
      poke: () => Promise.resolve(writeFileSync(path("ethers"), "02:00:00:00:00:01 nas\n")),
    };
  });
});
