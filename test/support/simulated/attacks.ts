/**
 * What infected devices do, as scripts for the simulated home: scans, floods, tunnels and bots, each also slowly. Rates are
 * those of the programs (Mirai's scanner: some 150 SYN a second; iodine, dns2tcp, dnscat2: their own defaults).
 */
import type { IncidentType } from "../../../src/spin/detect/finding.ts";
import { type Device, HOUR, ICMP, MINUTE, SECOND, SimulatedHome, UDP } from "./home.ts";
import { Household } from "./household.ts";
import { place } from "./places.ts";

export interface Attack {
  readonly name: string;
  /** The incident that should come of it; empty: none does, and that is known. */
  readonly found: IncidentType | "";
  readonly run: (home: SimulatedHome, device: Device) => void;
}

/** Somebody out there, at random. */
const stranger = (home: SimulatedHome) => place(home.random.between(20_000, 131_000));

/** Does it so often a second, for so many seconds; less than once a second, too. */
function repeat(home: SimulatedHome, perSecond: number, seconds: number, work: (n: number) => void): void {
  const count = Math.ceil(perSecond * seconds);
  for (let n = 0; n < count; n++) home.after((n / perSecond) * SECOND, () => work(n));
}

/** SYNs to strangers: of a hundred four refuse and one answers. */
function scan(ports: readonly number[], perSecond: number, seconds: number): Attack["run"] {
  return (home, device) =>
    repeat(home, perSecond, seconds, () => {
      const luck = home.random.unit();
      const peer = luck < 0.01 ? "answers" : luck < 0.05 ? "refused" : "silent";
      home.flow(device, { to: stranger(home), port: home.random.pick(ports), peer });
    });
}

function portScan(hosts: number, perSecond: number, seconds: number): Attack["run"] {
  return (home, device) =>
    repeat(home, perSecond, seconds, (n) =>
      home.flow(device, { to: place(60_000 + (n % hosts)), port: 1 + Math.floor(n / hosts), peer: "refused" }),
    );
}

function connections(perSecond: number, peer: "answers" | "silent"): Attack["run"] {
  return (home, device) =>
    repeat(home, perSecond, 60, () =>
      home.flow(device, { to: place(61_000), port: 80, peer, up: 400, down: 900, seconds: 1 }),
    );
}

function datagrams(
  packetsPerSecond: number,
  options: { ports?: number; protocol?: number; size?: number },
): Attack["run"] {
  const { ports = 1, protocol = UDP, size = 512 } = options;
  return (home, device) => {
    for (let k = 0; k < ports; k++)
      home.flow(device, {
        to: place(61_001),
        port: protocol === UDP ? 1000 + k * 7 : 0x800,
        protocol,
        up: (packetsPerSecond * size) / ports,
        upSize: size,
        seconds: 60,
        peer: "silent",
      });
  };
}

function tunnel(perSecond: number, seconds: number, length: number, types: readonly string[]): Attack["run"] {
  return (home, device) =>
    repeat(home, perSecond, seconds, () => {
      const labels = home.random.label(length).replace(/(.{60})/g, "$1.");
      home.ask(device, `${labels}.t.evil.example`, ["198.18.9.9"], home.random.pick(types));
    });
}

function arpScan(perSecond: number): Attack["run"] {
  return (home, device) => repeat(home, perSecond, 254 / perSecond, (n) => home.arp(device, `192.0.2.${n + 1}`));
}

/** A bot that has a master: a connection each minute, by name, answered. */
function beacon(port: number): Attack["run"] {
  return (home, device) =>
    repeat(home, 1 / 60, 3000, () => {
      home.ask(device, "irc.evil.example", ["198.18.9.8"]);
      home.flow(device, { to: "198.18.9.8", port, up: 100, down: 100, seconds: 20 });
    });
}

/** Says that the first device's address is its own, while that one goes on. */
function spoof(everyMs: number): Attack["run"] {
  return (home, device) => {
    repeat(home, SECOND / everyMs, 300, () => home.shown(device, "192.0.2.10"));
  };
}

const WORM = [23, 23, 23, 23, 23, 23, 23, 23, 23, 2323];
const HOUR_S = 3600;

export const ATTACKS: readonly Attack[] = [
  { name: "Mirai: telnet, 150 SYN/s", found: "HostScan", run: scan(WORM, 150, 60) },
  { name: "telnet, 1 SYN/s", found: "HostScan", run: scan(WORM, 1, 300) },
  { name: "telnet, 6 SYN/min", found: "HostScan", run: scan(WORM, 0.1, HOUR_S) },
  { name: "telnet, 1 SYN/min", found: "HostScan", run: scan(WORM, 1 / 60, HOUR_S) },
  { name: "telnet, 1 SYN/5 min", found: "", run: scan(WORM, 1 / 300, HOUR_S) },
  { name: "telnet and a dead master on 443", found: "HostScan", run: withDeadMaster },
  { name: "SSH, 5 SYN/s", found: "HostScan", run: scan([22], 5, 120) },
  { name: "SMB, 1 SYN/min", found: "HostScan", run: scan([445], 1 / 60, HOUR_S) },
  { name: "SMB, 1 SYN/4 min", found: "", run: scan([445], 1 / 240, HOUR_S) },
  {
    name: "routers (7547, 37215, 52869, 5555), 2 SYN/s",
    found: "HostScan",
    run: scan([7547, 37_215, 52_869, 5555], 2, 120),
  },
  {
    name: "Hide and Seek: 80, 8080, 2480, 5984, 23, 5 SYN/s",
    found: "HostScan",
    run: scan([80, 8080, 2480, 5984, 23], 5, 120),
  },
  { name: "web servers (80, 443), 10 SYN/s", found: "HostScan", run: scan([80, 443], 10, 120) },
  { name: "web servers (80, 443), 1 SYN/2 s", found: "", run: scan([80, 443], 0.5, 600) },
  { name: "one odd port (34567), 2 SYN/s", found: "HostScan", run: scan([34_567], 2, 120) },
  { name: "one odd port (34567), 10 SYN/min", found: "", run: scan([34_567], 1 / 6, HOUR_S) },
  { name: "ports of one host, 100/s", found: "PortScan", run: portScan(1, 100, 10) },
  { name: "ports of one host, 1/min", found: "PortScan", run: portScan(1, 1 / 60, HOUR_S) },
  { name: "ports of one host, 1/4 min", found: "", run: portScan(1, 1 / 240, HOUR_S) },
  { name: "ports of eight hosts in turn, 20/s", found: "PortScan", run: portScan(8, 20, 60) },
  { name: "ARP, 100/s", found: "ARPScan", run: arpScan(100) },
  { name: "ARP, 1/s", found: "ARPScan", run: arpScan(1) },
  { name: "ARP, 1/3 s", found: "", run: arpScan(1 / 3) },
  { name: "SYN flood, 1,000/s", found: "Flood", run: connections(1000, "silent") },
  { name: "SYN flood, 80/s", found: "Flood", run: connections(80, "silent") },
  { name: "HTTP flood, 100 connections/s", found: "Flood", run: connections(100, "answers") },
  { name: "HTTP flood, 30 connections/s", found: "", run: connections(30, "answers") },
  { name: "UDP flood, 5,000 packets/s to one port", found: "Flood", run: datagrams(5000, {}) },
  { name: "UDP flood, 500 packets/s over 100 ports", found: "Flood", run: datagrams(500, { ports: 100 }) },
  { name: "UDP flood, 150 packets/s to one port", found: "", run: datagrams(150, { size: 60 }) },
  { name: "ICMP flood, 1,000 packets/s", found: "Flood", run: datagrams(1000, { protocol: ICMP, size: 84 }) },
  { name: "iodine: NULL, 10 questions/s", found: "DNSTunnel", run: tunnel(10, 60, 180, ["NULL"]) },
  { name: "dns2tcp: TXT, 3 questions/s", found: "DNSTunnel", run: tunnel(3, 120, 60, ["TXT"]) },
  { name: "dnscat2, idle: 1 question/s", found: "DNSTunnel", run: tunnel(1, 300, 34, ["TXT", "CNAME", "MX"]) },
  { name: "names by A, 4 letters, 2 questions/s", found: "", run: tunnel(2, 300, 4, ["A"]) },
  { name: "exfiltration by A, 50 letters, 6 questions/min", found: "DNSTunnel", run: tunnel(0.1, HOUR_S, 50, ["A"]) },
  { name: "exfiltration by A, 50 letters, 2 questions/min", found: "", run: tunnel(1 / 30, HOUR_S, 50, ["A"]) },
  { name: "address of another, claimed each 10 s", found: "AddressSpoofing", run: spoof(10_000) },
  { name: "IRC master, 1 connection/min", found: "", run: beacon(6667) },
];

function withDeadMaster(home: SimulatedHome, device: Device): void {
  repeat(home, 1, 300, () => home.flow(device, { to: place(61_777), port: 443, peer: "silent" }));
  scan(WORM, 1, 300)(home, device);
}

/** How long an attack is watched: an hour and the last judgement. */
const ATTACK_MS = 62 * MINUTE;
/** So long the home lives before, so that its devices are known. */
const BEFORE_MS = 19 * HOUR;

export interface Outcome {
  /** What was found of the infected device, beyond Info. */
  readonly types: readonly IncidentType[];
  /** From the onset to the incident that should come of it, in seconds; `undefined`: it did not. */
  readonly seconds: number | undefined;
}

/** One attack by a device of a household on a busy evening, or of a home that is quiet but for one other device. */
export function attack({ run, found }: Attack, options: { readonly busy?: boolean; readonly seed?: number }): Outcome {
  const home = new SimulatedHome({ start: Date.UTC(2026, 2, 25), seed: options.seed ?? 1 });
  if (options.busy === true) {
    new Household(home);
    home.run(BEFORE_MS);
  } else {
    const other = home.device(1, "other");
    home.every(20 * SECOND, () => {
      home.ask(other, "other.example", ["198.18.0.9"]);
      home.flow(other, { to: "198.18.0.9", port: 443, up: 1000, down: 1000, seconds: 10 });
    });
    home.run(15 * MINUTE);
  }
  const infected = home.device(0x2000, "infected");
  infected.ipv4 = "192.0.2.250";
  home.lease(infected);
  home.run(MINUTE);
  const onset = home.elapsed;
  run(home, infected);
  home.run(ATTACK_MS);
  const incidents = home.incidents().filter(({ mac, severity }) => mac === infected.mac && severity !== "Info");
  const wanted = incidents.find(({ type }) => type === found);
  const at = wanted && home.alarmedAt(wanted);
  return { types: incidents.map(({ type }) => type), seconds: at === undefined ? undefined : (at - onset) / SECOND };
}
