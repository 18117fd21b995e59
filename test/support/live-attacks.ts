/**
 * What each detector is shown in the test home, by real devices through the real kernel, and how long it then takes until
 * the incident stands in the model.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { eventually, pause } from "./eventually.ts";
import type { Home } from "./home.ts";
import type { HomeDevice } from "./home-device.ts";
import type { Scene } from "./scene.ts";
import { traffic } from "./traffic.ts";

export interface LiveAttack {
  readonly name: string;
  /** Incident.Type. */
  readonly type: string;
  /** Incidents that are Info are none. */
  readonly isGrave: boolean;
  /** Median seconds from the first packet to the incident, and where that comes from. */
  readonly target: number;
  readonly source: string;
  /** What must stand beforehand. */
  readonly prepare?: (s: Scene) => Promise<unknown>;
  /** Goes on long enough to be found. `victim`: a device that does nothing wrong. */
  readonly run: (device: HomeDevice, victim: HomeDevice) => Promise<unknown>;
}

/** Nobody answers there. */
const SILENT = "198.18.192.0";
const HOST = "198.51.100.77";
const LISTED = "198.51.100.13";
const BLOCKED = "198.51.100.14";
const WEEK_MS = 8 * 86_400_000;
const LONG_NAME = "abcdefghijklmnopqrstuvwxyz0123456789abcdefgh";

const JUDGED = "tenth address, then the 6 s that an answer has, and the reading of counters each 5 s";

export const LIVE_ATTACKS: readonly LiveAttack[] = [
  {
    name: "telnet scan, 5 SYN/s",
    type: "HostScan",
    isGrave: true,
    target: 12,
    source: JUDGED,
    run: (device) => device.probe(SILENT, 23, { count: 60, rate: 5, hosts: 60 }),
  },
  {
    name: "scan of one host's ports, 20/s",
    type: "PortScan",
    isGrave: true,
    target: 12,
    source: JUDGED,
    run: (device) => device.probe(HOST, 1000, { count: 240, rate: 20, ports: 240 }),
  },
  {
    name: "ARP scan, 50/s",
    type: "ARPScan",
    isGrave: true,
    target: 2,
    source: "twentieth address after 0.4 s",
    run: (device) => device.flows("192.168.77.100", { count: 150, rate: 50 }),
  },
  {
    name: "SYN flood, 300/s",
    type: "Flood",
    isGrave: true,
    target: 5,
    source: "a mean of 50/s over 10 s is reached after 2 s",
    run: (device) => device.probe(SILENT, 80, { count: 3000, rate: 300 }),
  },
  {
    name: "UDP flood without answers, 2,000 packets/s",
    type: "Flood",
    isGrave: true,
    target: 8,
    source: "a mean of 300/s over 10 s is reached after 2 s, and shows when counters are read, each 5 s",
    run: (device) => device.udp(HOST, { count: 24_000, everyUs: 500, port: 11, size: 400 }),
  },
  {
    name: "DNS tunnel, 10 questions/s",
    type: "DNSTunnel",
    isGrave: true,
    target: 4,
    source: "twentieth name after 2 s",
    run: (device) => device.askNames(`${LONG_NAME}%d.t.load.example`, 100, 10),
  },
  {
    name: "address of another, claimed each 0.1 s",
    type: "AddressSpoofing",
    isGrave: true,
    target: 10,
    source: "third claim at once, then a sign of life of the owner's, whose counters are read each 5 s",
    run: async (device, victim) => {
      const life = victim.stream("udp", HOST, { everyMs: 200, seconds: 12 });
      await device.claim(victim.ipv4, 80);
      await life.stop();
    },
  },
  {
    name: "a datagram to an address on a list",
    type: "ListedPeer",
    isGrave: true,
    target: 2,
    source: "the flow's beginning is told at once",
    prepare: async (s) => {
      const list = await s.operator.connection.add("Device.X_SPIN.List.", { Enable: "true", Content: `${LISTED}\n` });
      const status = () => s.operator.value(`${list}Status`);
      await eventually(status, (value) => value === "Enabled", { what: "the list" });
    },
    run: (device) => device.udp(LISTED),
  },
  {
    name: "1,000 packets in 10 s to what a rule blocks",
    type: "RuleViolation",
    isGrave: true,
    target: 6,
    source: "the hundredth packet after 1 s, and the reading of rules' counters",
    prepare: (s) => s.operator.addRule({ destinations: [BLOCKED] }),
    run: (device) => device.udp(BLOCKED, { count: 1000, everyUs: 10_000, port: 11, waitMs: 1 }),
  },
  {
    name: "first datagrams to a new peer by a device that is known for a week",
    type: "NewDestination",
    isGrave: false,
    target: 12,
    source: "attempts are judged after 6 s, once the counters were read, each 5 s",
    run: (device) => device.udp("198.18.77.78", { count: 3 }),
  },
];

/** Ten minutes of learning are set to one beforehand. */
export const LIVE_PEAK: LiveAttack = {
  name: "upload of 3 Mbit/s by a device that sent little",
  type: "TrafficPeak",
  isGrave: false,
  target: 30,
  source: "two samples of 10 s above the usual",
  run: (device) => device.udp(HOST, { count: 12_000, everyUs: 3000, size: 1200 }),
};

/** The addresses where nobody answers. */
export async function silence(home: Home): Promise<void> {
  const rules = ["type filter hook prerouting priority -300", `ip daddr ${SILENT}/18 drop`].join("\n");
  await home.nft(`table inet silent {\nchain in {\n${rules}\n}\n}`, home.internet);
}

export interface LiveOutcome {
  /** From the onset to the incident, of the devices that were found. */
  readonly seconds: readonly number[];
  readonly runs: number;
}

/**
 * The devices do it all at once, some moments apart; each has `seconds` to be found. Without a victim for all, each has the
 * next one.
 */
export async function expose(
  s: Scene,
  attack: LiveAttack,
  devices: readonly HomeDevice[],
  victim: HomeDevice | undefined,
  seconds: number,
): Promise<LiveOutcome> {
  const onsets = new Map<string, number>();
  const found = new Map<string, number>();
  const before = new Set([...(await grave(s, attack))].map(({ path }) => path));
  const runs = devices.map(async (device, at) => {
    await pause(at * 137);
    onsets.set(device.mac, performance.now());
    await attack.run(device, victim ?? (devices[(at + 1) % devices.length] as HomeDevice));
  });
  const end = performance.now() + seconds * 1000;
  while (found.size < devices.length && performance.now() < end) {
    for (const { path, mac } of await grave(s, attack)) {
      const onset = onsets.get(mac);
      if (onset !== undefined && !before.has(path) && !found.has(mac))
        found.set(mac, (performance.now() - onset) / 1000);
    }
    await pause(50);
  }
  await Promise.all(runs);
  return { seconds: [...found.values()], runs: devices.length };
}

/** Each device shows itself; then the agent starts again and takes them for old acquaintances. */
export async function introduce(s: Scene): Promise<void> {
  await Promise.all(
    s.home.devices.map(async (device) => {
      await traffic(device.namespace, ["udp", HOST, 7, 3, 64, 1000, 300]);
      await s.operator.device(device.mac);
    }),
  );
  await s.agent.stop();
  const path = join(s.home.folder, "state", "home.json");
  const state = JSON.parse(await readFile(path, "utf8")) as { devices: { firstSeen: number }[] };
  for (const device of state.devices) device.firstSeen -= WEEK_MS;
  await writeFile(path, JSON.stringify(state));
  s.agent.restart();
  await s.operator.ready();
  await s.operator.running();
  // As a device does that joins; whose address was not heard of by ARP is known to be contended after three claims, 20 s.
  await Promise.all(s.home.devices.map((device) => device.claim(device.ipv4, 1)));
  for (const { prepare } of LIVE_ATTACKS) await prepare?.(s);
}

async function grave(s: Scene, { type, isGrave }: LiveAttack): Promise<{ path: string; mac: string }[]> {
  const values = await s.operator.get(`Device.X_SPIN.Incident.[Type=="${type}"].`);
  const rows: { path: string; mac: string }[] = [];
  for (const [path, mac] of values) {
    if (!path.endsWith(".PhysAddress")) continue;
    const row = path.slice(0, -"PhysAddress".length);
    if (!isGrave || values.get(`${row}Severity`) !== "Info") rows.push({ path: row, mac });
  }
  return rows;
}
