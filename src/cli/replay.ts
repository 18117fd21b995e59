/**
 * `spin-usp replay FILE`: reads a capture through the same pipeline as a gateway's traffic, and prints its devices,
 * their destinations and the names that they asked for: as tables, or with `--json` in the model's own names.
 *
 * Exit code: 0 all was read; 1 the file could not be read, or not to its end (what was read is printed); 2 usage; 130
 * interrupted (what was read is printed). A reader that goes away (`| head`) changes nothing of that.
 */
import type { Readable, Writable } from "node:stream";
import { dateTime } from "../../datamodel/values.ts";
import type { Judge } from "../capture/packet-flows.ts";
import { CaptureError } from "../capture/pcap-format.ts";
import { PcapSource } from "../capture/pcap.ts";
import { findPart } from "../gateway/files.ts";
import type { Prefix } from "../lib/address.ts";
import { parsePrefix, printMac } from "../lib/address.ts";
import { ManualClock } from "../lib/clock.ts";
import { createLog } from "../lib/log.ts";
import { vendorsIn } from "../lib/vendors.ts";
import type { Source } from "../spin/observation.ts";
import { Spin } from "../spin/spin.ts";
import type { DestinationRow, HomeDevice } from "../spin/types.ts";
import { printJson } from "./json.ts";
import type { AskedName } from "./replay-names.ts";
import { AskedNames } from "./replay-names.ts";
import { amount, countText, escapeText, table, type Column } from "./text.ts";

export interface ReplayIo {
  readonly stdout: Writable;
  readonly stderr: Writable;
  /** Read for FILE `-`. Default: the process's. */
  readonly stdin?: Readable;
  /** Ends the replay early; what was read so far is printed. Default: SIGINT and SIGTERM. */
  readonly signal?: AbortSignal;
  /** Decides which packets pass. */
  readonly judge?: Judge;
}

const USAGE = `usage: spin-usp replay FILE [--lan PREFIX]... [--json] [--speed N|max]

Reads a pcap or pcapng capture (also gzipped; - for standard input) and prints the home's devices, their
destinations and the names they asked for.

  --lan PREFIX   the home's network, e.g. 192.168.1.0/24 or 2001:db8:1::/64; default: worked out from the capture
  --json         for programs, in the data model's names
  --speed N      N times as fast as it was captured; default: max
`;

interface ReplayArguments {
  readonly file: string;
  readonly lanPrefixes: readonly Prefix[];
  readonly json: boolean;
  readonly speed: number | "max";
}

/** How many destinations and names the tables for people show; JSON has them all. */
const SHOWN = 100;
const NAME_WIDTH = 60;
const DESTINATIONS_PER_DEVICE = 4096;

export async function replay(args: readonly string[], io: ReplayIo): Promise<number> {
  if (args.includes("--help") || args.includes("-h")) {
    io.stdout.write(USAGE);
    return 0;
  }
  const parsed = parse(args);
  if (typeof parsed === "string") {
    io.stderr.write(`replay: ${parsed}\n${USAGE}`);
    return 2;
  }
  const { signal, release } = io.signal ? { signal: io.signal, release: () => undefined } : signalsOfTheProcess();
  try {
    return await run(parsed, io, signal);
  } finally {
    release();
  }
}

async function run(args: ReplayArguments, io: ReplayIo, signal: AbortSignal): Promise<number> {
  const clock = new ManualClock();
  const source = new PcapSource({
    source: args.file === "-" ? (io.stdin ?? process.stdin) : args.file,
    speed: args.speed,
    lanPrefixes: args.lanPrefixes,
    clock,
    judge: io.judge,
  });
  const names = new AskedNames();
  const tapped: Source = {
    name: source.name,
    get health() {
      return source.health;
    },
    // Ended by our signal, not by SPIN's, so that what it counted until then is still heard.
    run: (_, emit) =>
      source.run(signal, (observation) => {
        names.observe(observation);
        emit(observation);
      }),
  };
  const log = createLog("replay", { level: "error", write: (line) => void io.stderr.write(line) });
  const spin = new Spin({
    clock,
    log,
    vendorOf: vendorsIn(findPart("vendors.bin"), log),
    sources: [tapped],
    limits: { destinationsPerDevice: DESTINATIONS_PER_DEVICE, endedFlowsPerDevice: 1 },
  });
  await spin.run(new AbortController().signal);
  const { error, counts } = source;
  if (counts && (counts.packets > 0 || !error)) print(args, io.stdout, spin, names, source);
  if (error)
    io.stderr.write(
      `replay: ${escapeText(inWords(args.file, error))}${counts?.packets ? `; ${countText(counts.packets)} packets before it were read` : ""}\n`,
    );
  if (error) return 1;
  return signal.aborted ? 130 : 0;
}

function print(args: ReplayArguments, stdout: Writable, spin: Spin, names: AskedNames, source: PcapSource): void {
  const devices = [...spin.devices()];
  const destinations = allDestinations(spin, devices);
  const asked = names.list();
  if (args.json) {
    const answer = {
      Device: devices.map((device) => deviceJson(device, spin)),
      Destination: destinations.map(destinationJson),
      DNSQuery: asked.map(nameJson),
    };
    stdout.write(`${printJson(answer)}\n`);
    return;
  }
  const nameOf = new Map(
    devices.map((device) => [device.physAddress, device.name || device.hostName || device.physAddress]),
  );
  stdout.write(deviceTable(devices));
  stdout.write(destinationTable(destinations, nameOf));
  stdout.write(nameTable(asked, nameOf));
  stdout.write(summary(spin, source));
}

function allDestinations(spin: Spin, devices: readonly HomeDevice[]): DestinationRow[] {
  const rows: DestinationRow[] = [];
  // One device after the other: each page of a query looks at all the rows that it is about.
  for (const { physAddress } of devices)
    for (let cursor: string | undefined; cursor !== "";) {
      const page = spin.queryDestinations({ physAddress, limit: 500, ...(cursor === undefined ? {} : { cursor }) });
      rows.push(...page.rows);
      cursor = page.nextCursor;
    }
  return rows.sort((a, b) => b.BytesSent + b.BytesReceived - a.BytesSent - a.BytesReceived);
}

// ---- for programs ------------------------------------------------------------------------------------------------------

function deviceJson(device: HomeDevice, spin: Spin) {
  const { stats } = device;
  return {
    PhysAddress: device.physAddress,
    Randomized: device.randomized,
    Name: device.name,
    HostName: device.hostName,
    Vendor: device.vendor,
    IPv4Address: device.ipv4Addresses.join(","),
    IPv6Address: device.ipv6Addresses.join(","),
    Interface: device.interface,
    FirstSeen: dateTime.print(device.firstSeen),
    LastSeen: dateTime.print(device.lastSeen),
    Active: device.active,
    Blocked: device.blocked,
    TopDestinations: spin
      .topDestinations(device.number, 5)
      .map(({ name }) => name)
      .join(","),
    Stats: {
      BytesSent: stats.bytesSent,
      BytesReceived: stats.bytesReceived,
      PacketsSent: stats.packetsSent,
      PacketsReceived: stats.packetsReceived,
      LocalBytesSent: stats.localBytesSent,
      LocalBytesReceived: stats.localBytesReceived,
      FlowsOpened: stats.flowsOpened,
      ActiveFlowCount: stats.activeFlowCount,
      DNSQueryCount: stats.dnsQueryCount,
      BlockedPackets: stats.blockedPackets,
      BlockedBytes: stats.blockedBytes,
      BytesSentRate: Math.round(stats.bytesSentRate),
      BytesReceivedRate: Math.round(stats.bytesReceivedRate),
    },
  };
}

function destinationJson(row: DestinationRow) {
  return { ...row, FirstSeen: dateTime.print(row.FirstSeen), LastSeen: dateTime.print(row.LastSeen) };
}

function nameJson(asked: AskedName) {
  return {
    Time: dateTime.print(asked.time),
    PhysAddress: asked.mac === undefined ? "" : printMac(asked.mac),
    Name: asked.name,
    Type: asked.type,
    Answers: asked.answers.join(","),
    TTL: asked.ttl,
    Count: asked.count,
  };
}

// ---- for people --------------------------------------------------------------------------------------------------------

function deviceTable(devices: readonly HomeDevice[]): string {
  const order = [...devices].sort((a, b) => total(b) - total(a));
  return section(
    "Devices",
    [
      left("Address"),
      left("Name"),
      left("IPv4"),
      left("IPv6"),
      right("Sent"),
      right("Received"),
      right("Local"),
      right("Flows"),
      right("DNS"),
    ],
    order.map((device) => [
      device.physAddress,
      device.name || device.hostName,
      some(device.ipv4Addresses),
      some(device.ipv6Addresses.filter((address) => !address.startsWith("fe80:"))),
      bytes(device.stats.bytesSent),
      bytes(device.stats.bytesReceived),
      bytes(device.stats.localBytesSent + device.stats.localBytesReceived),
      countText(device.stats.flowsOpened),
      countText(device.stats.dnsQueryCount),
    ]),
  );
}

function destinationTable(rows: readonly DestinationRow[], nameOf: ReadonlyMap<string, string>): string {
  return section(
    "Destinations",
    [
      left("Device"),
      left("Destination"),
      left("Address"),
      left("Port"),
      right("Sent"),
      right("Received"),
      right("Flows"),
    ],
    rows
      .slice(0, SHOWN)
      .map((row) => [
        nameOf.get(row.PhysAddress) ?? row.PhysAddress,
        clipped(row.Domain || row.Address),
        row.Domain ? row.Address : "",
        portText(row.Protocol, row.Port),
        bytes(row.BytesSent),
        bytes(row.BytesReceived),
        countText(row.Flows),
      ]),
    rows.length - SHOWN,
  );
}

function nameTable(asked: readonly AskedName[], nameOf: ReadonlyMap<string, string>): string {
  const order = [...asked].sort((a, b) => b.count - a.count);
  return section(
    "DNS names",
    [left("Device"), left("Name"), left("Type"), right("Count"), left("Answers")],
    order.slice(0, SHOWN).map(({ mac, client, name, type, count, answers }) => {
      const device = mac === undefined ? undefined : nameOf.get(printMac(mac));
      return [device ?? client, clipped(name), type, countText(count), some(answers)];
    }),
    order.length - SHOWN,
  );
}

/** A titled table; `left` of its rows are said to be left out. */
function section(title: string, columns: readonly Column[], rows: readonly (readonly string[])[], left = 0): string {
  if (rows.length === 0) return `\n${title}: none\n`;
  const more = left > 0 ? `… and ${countText(left)} more\n` : "";
  return `\n${title}\n${table(columns, rows)}\n${more}`;
}

/** A name may have 253 characters, escaped more, and a row of such could not be read; JSON has them whole. */
function clipped(name: string): string {
  const shown = [...escapeText(name)];
  return shown.length > NAME_WIDTH ? `${shown.slice(0, NAME_WIDTH - 1).join("")}…` : shown.join("");
}

const left = (title: string): Column => ({ title });
const right = (title: string): Column => ({ title, align: "right" });

function bytes(count: number): string {
  return amount(count, "B");
}

function summary(spin: Spin, source: PcapSource): string {
  const { counts } = source;
  if (!counts) return "";
  const { deviceCount, bytesSent, bytesReceived } = spin.summary;
  const beside = [
    counts.other > 0 ? `${countText(counts.other)} not IP` : "",
    counts.untracked > 0 ? `${countText(counts.untracked)} ICMP messages without a flow` : "",
    counts.duplicates > 0 ? `${countText(counts.duplicates)} seen twice` : "",
    counts.dropped > 0 ? `${countText(counts.dropped)} blocked` : "",
    counts.malformed > 0 ? `${countText(counts.malformed)} malformed` : "",
  ].filter((text) => text !== "");
  const packets = `${countText(counts.packets)} packets${beside.length > 0 ? ` (${beside.join(", ")})` : ""}`;
  return `\n${packets}; ${deviceCount} devices sent ${bytes(bytesSent)} and received ${bytes(bytesReceived)}\n`;
}

function total({ stats }: HomeDevice): number {
  return stats.bytesSent + stats.bytesReceived + stats.localBytesSent + stats.localBytesReceived;
}

/** The first of a list, and how many more there are. */
function some(texts: readonly string[]): string {
  return texts.length <= 1 ? (texts[0] ?? "") : `${texts[0]} +${texts.length - 1}`;
}

const PROTOCOLS = new Map([
  [1, "icmp"],
  [2, "igmp"],
  [6, "tcp"],
  [17, "udp"],
  [58, "icmpv6"],
]);

function portText(protocol: number, port: number): string {
  const name = PROTOCOLS.get(protocol) ?? `protocol ${protocol}`;
  return protocol === 6 || protocol === 17 ? `${port}/${name}` : name;
}

// ---- arguments and signals ---------------------------------------------------------------------------------------------

/** The arguments, or what is wrong with them. */
function parse(args: readonly string[]): ReplayArguments | string {
  const files: string[] = [];
  const lanPrefixes: Prefix[] = [];
  let json = false;
  let speed: number | "max" = "max";
  for (let i = 0; i < args.length; i++) {
    const arg = args[i] as string;
    const [option, attached] = arg.startsWith("--") && arg.includes("=") ? split(arg) : [arg, undefined];
    const value = () => attached ?? args[++i];
    if (option === "--json" && attached === undefined) json = true;
    else if (option === "--lan") {
      const text = value();
      const prefix = text === undefined ? undefined : parsePrefix(text);
      if (!prefix) return text === undefined ? "--lan needs a prefix" : `--lan ${text}: not an address prefix`;
      lanPrefixes.push(prefix);
    } else if (option === "--speed") {
      const text = value();
      const factor = Number(text);
      if (text === undefined) return "--speed needs a number or max";
      if (text !== "max" && !(text.trim() !== "" && factor > 0 && factor < Infinity))
        return `--speed ${text}: neither a positive number nor max`;
      speed = text === "max" ? "max" : factor;
    } else if (arg.startsWith("-") && arg !== "-") return `unknown option ${arg}`;
    else files.push(arg);
  }
  const [file] = files;
  if (file === undefined) return "no FILE given";
  if (files.length > 1) return `one FILE at a time, not ${files.join(" and ")}`;
  return { file, lanPrefixes, json, speed };
}

function split(arg: string): [string, string] {
  const at = arg.indexOf("=");
  return [arg.slice(0, at), arg.slice(at + 1)];
}

function signalsOfTheProcess(): { signal: AbortSignal; release: () => void } {
  const control = new AbortController();
  const stop = () => control.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  return {
    signal: control.signal,
    release: () => void process.off("SIGINT", stop).off("SIGTERM", stop),
  };
}

function inWords(file: string, error: Error): string {
  const name = file === "-" ? "standard input" : file;
  if (error instanceof CaptureError) return `${name}: ${error.message}`;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return `${name}: no such file`;
  if (code === "EISDIR") return `${name} is a directory`;
  if (code === "EACCES") return `${name}: permission denied`;
  return `${name}: ${error.message}`;
}
