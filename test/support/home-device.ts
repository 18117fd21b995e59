/** A device of the test home: what it can send, how it can move, and what it counted itself. */
import { randomBytes } from "node:crypto";
import { type ExecResult, exec } from "./namespace.ts";
import {
  type DevicePlan,
  GATEWAY4,
  GATEWAY6,
  INTERNET4,
  LAN4,
  deviceBatch,
  deviceLink,
  portLines,
} from "./home-network.ts";
import {
  type FlowsResult,
  sendFrames,
  Stream,
  type StreamKind,
  type TcpResult,
  type UdpResult,
  traffic,
} from "./traffic.ts";

export interface Count {
  packets: number;
  bytes: number;
}

/** What one end sent and got, with a peer. Bytes are those of IP packets. */
export interface PeerCount {
  readonly address: string;
  /** As nft names it: `tcp`, `udp`, `icmp`, `ipv6-icmp`. */
  readonly protocol: string;
  readonly sent: Count;
  readonly got: Count;
}

export interface Totals {
  readonly sent: Count;
  readonly got: Count;
}

export class HomeDevice {
  readonly namespace: string;
  readonly mac: string;
  ipv4: string;
  /** The address that it uses now. */
  ipv6: string;
  readonly #plan: DevicePlan;
  readonly #gateway: string;

  constructor(plan: DevicePlan, gateway: string) {
    this.#plan = plan;
    this.#gateway = gateway;
    this.namespace = plan.namespace;
    this.mac = plan.mac;
    this.ipv4 = plan.ipv4;
    this.ipv6 = plan.ipv6;
  }

  exec(command: string, ...args: string[]): Promise<ExecResult> {
    return exec(this.namespace, command, args, { mayFail: true });
  }

  /** One connection that uploads and downloads that many bytes (over 16 bytes of its own) and closes. */
  tcp(
    address: string,
    options: { up?: number; down?: number; timeoutMs?: number; port?: number } = {},
  ): Promise<TcpResult> {
    const { up = 0, down = 0, timeoutMs = 3000, port = 8 } = options;
    return traffic(this.namespace, ["tcp", address, up, down, timeoutMs, port]);
  }

  /** Datagrams, echoed unless the port is 11. `size` is that of the payload. */
  udp(
    address: string,
    options: { count?: number; size?: number; everyUs?: number; port?: number; waitMs?: number } = {},
  ): Promise<UdpResult> {
    const { count = 1, size = 64, everyUs = 1000, port = 7, waitMs = 300 } = options;
    return traffic(this.namespace, ["udp", address, port, count, size, everyUs, waitMs], 60_000);
  }

  /** ICMP echo requests; resolves with the number of answers. */
  async ping(address: string, options: { count?: number; size?: number } = {}): Promise<number> {
    const { count = 3, size = 56 } = options;
    const args = ["-c", String(count), "-s", String(size), "-i", "0.02", "-W", "1", "-q", address];
    const { stdout } = await this.exec("ping", ...args);
    return Number(/(\d+) received/.exec(stdout)?.[1] ?? 0);
  }

  /** Asks the gateway's resolver (or another) for a name; the last address of the answer, empty if there was none. */
  async resolve(name: string, type: "A" | "AAAA" = "A", server: string = GATEWAY4): Promise<string> {
    const args = ["dns", server, name, 1, 1000, type === "A" ? 1 : 28];
    return (await traffic<{ last: string }>(this.namespace, args)).last;
  }

  /** DNS questions at a rate; `pattern` holds one %d. */
  askNames(pattern: string, count: number, perSecond: number): Promise<{ asked: number; answered: number }> {
    return traffic(
      this.namespace,
      ["dns", GATEWAY4, pattern, count, perSecond, 1],
      (count / perSecond) * 1000 + 20_000,
    );
  }

  /** Resolves fresh names one by one and sends a datagram the moment each answer is there. */
  raceNames(
    pattern: string,
    count: number,
    type: "A" | "AAAA" = "A",
  ): Promise<{ resolved: number; sent: number; returned: number; p50Us: number; p99Us: number }> {
    return traffic(this.namespace, ["fresh", GATEWAY4, pattern, count, type === "A" ? 1 : 28, 7], 60_000);
  }

  /** UDP flows to as many addresses from `address` on, `rate` datagrams a second over all. */
  flows(
    address: string,
    options: { count: number; rate: number; rounds?: number; port?: number; spread?: number },
  ): Promise<FlowsResult> {
    const { count, rate, rounds = 1, port = 7, spread = 60_000 } = options;
    const seconds = (count * rounds) / rate;
    return traffic(this.namespace, ["flows", address, count, rate, rounds, port, spread], seconds * 3000 + 20_000);
  }

  /** TCP connections begun at a rate, each with a download. */
  connections(address: string, options: { count: number; rate: number; down?: number }): Promise<FlowsResult> {
    const { count, rate, down = 2000 } = options;
    return traffic(this.namespace, ["connections", address, count, rate, down], (count / rate) * 2000 + 20_000);
  }

  stream(kind: StreamKind, address: string, options: { everyMs?: number; seconds?: number } = {}): Stream {
    return new Stream(this.namespace, kind, address, options);
  }

  /** A SYN to each port from `from` to `to`. */
  scan(address: string, from: number, to: number): Promise<{ open: number; refused: number; silent: number }> {
    return traffic(this.namespace, ["scan", address, from, to], 300_000);
  }

  /** SYNs at a rate, to addresses in turn from the first on and to ports of each; nobody waits for an answer. */
  probe(
    address: string,
    port: number,
    options: { count: number; rate: number; hosts?: number; ports?: number },
  ): Promise<{ sent: number }> {
    const { count, rate, hosts = 1, ports = 1 } = options;
    const args = ["probe", address, port, hosts, ports, count, rate];
    return traffic(this.namespace, args, (count / rate) * 2000 + 20_000);
  }

  /** As many datagrams as the machine carries, to a sink. Nanoseconds a packet. */
  blast(address: string, count: number, size = 200): Promise<{ sent: number; wallNs: number; cpuNs: number }> {
    return traffic(this.namespace, ["blast", address, count, size], 60_000);
  }

  /** Another IPv4 address of the LAN, as after a new lease. */
  async changeIPv4(address: string): Promise<void> {
    await this.#ip(
      `address del ${this.ipv4}/24 dev lan\naddress add ${address}/24 dev lan\nroute replace default via ${GATEWAY4}`,
    );
    this.ipv4 = address;
  }

  /** A new temporary IPv6 address (RFC 8981) that becomes the one it uses; the old one stays, deprecated. */
  async addPrivacyAddress(): Promise<string> {
    const groups = [...randomBytes(8).toString("hex").matchAll(/.{4}/g)].map((match) =>
      parseInt(match[0], 16).toString(16),
    );
    const address = `2001:db8:1:0:${groups.join(":")}`;
    await this.#ip(`address change ${this.ipv6}/64 dev lan preferred_lft 0\naddress add ${address}/64 dev lan`);
    this.ipv6 = address;
    return address;
  }

  /** Takes the cable out and puts it back in: all state of the link, its neighbours and routes begins anew. */
  async replug(pauseMs = 200): Promise<void> {
    await this.unplug();
    await new Promise((done) => setTimeout(done, pauseMs));
    await this.plug();
  }

  async unplug(): Promise<void> {
    await this.#ip("link del lan");
  }

  async plug(): Promise<void> {
    await exec(undefined, "ip", ["-batch", "-"], { input: deviceLink(this.#gateway, this.#plan) });
    await exec(undefined, "ip", ["-n", this.#gateway, "-batch", "-"], { input: portLines(this.#plan).join("\n") });
    await traffic(this.namespace, ["offload", "lan"]);
    await traffic(this.#gateway, ["offload", `port${this.#plan.index}`]);
    await this.#ip(deviceBatch({ ipv4: this.ipv4, ipv6: this.ipv6 }));
  }

  /** Says by ARP that an address, which may be another's, is here. */
  async claim(address: string, times = 3): Promise<void> {
    await traffic(this.namespace, ["arp", "lan", address, GATEWAY4, times]);
  }

  /** Frames of test/support/lan-frames.ts, as they are; each `times` times, in turn. */
  async sendFrames(
    frames: readonly Uint8Array[],
    { perSecond = 1000, times = 1 }: { perSecond?: number; times?: number } = {},
  ): Promise<void> {
    await sendFrames(this.namespace, "lan", frames, { perSecond, times });
  }

  /** Frames from hardware addresses that nobody has; `forgedMac(first)` and on. */
  async forgeMacs(count: number, perSecond: number, first = 0): Promise<void> {
    const args = ["macs", "lan", GATEWAY4, count, perSecond, first];
    await traffic(this.namespace, args, (count / perSecond) * 1000 + 20_000);
  }

  /** What the device itself sent and got since the home came up, by peer and protocol; multicast and link-local left out. */
  async counted(): Promise<PeerCount[]> {
    const sets = await readSets(this.namespace, "measure");
    const rows = new Map<string, PeerCount>();
    for (const [set, elements] of sets)
      for (const { key, packets, bytes } of elements) {
        const [address = "", protocol = ""] = key;
        if (/^(22[4-9]|23\d|255|ff|fe80)/.test(address)) continue;
        const id = `${address} ${protocol}`;
        const row = rows.get(id) ?? {
          address,
          protocol,
          sent: { packets: 0, bytes: 0 },
          got: { packets: 0, bytes: 0 },
        };
        const count = set.startsWith("sent") ? row.sent : row.got;
        count.packets += packets;
        count.bytes += bytes;
        rows.set(id, row);
      }
    return [...rows.values()];
  }

  /** Totals with the Internet, or with the gateway and the rest of the home. */
  async total(where: "internet" | "home" = "internet", protocol?: string): Promise<Totals> {
    const rows = (await this.counted()).filter(
      (row) => isHome(row.address) === (where === "home") && (protocol === undefined || row.protocol === protocol),
    );
    const sum = (pick: (row: PeerCount) => Count): Count =>
      rows.reduce((a, row) => ({ packets: a.packets + pick(row).packets, bytes: a.bytes + pick(row).bytes }), {
        packets: 0,
        bytes: 0,
      });
    return { sent: sum((row) => row.sent), got: sum((row) => row.got) };
  }

  async #ip(batch: string): Promise<void> {
    await exec(undefined, "ip", ["-n", this.namespace, "-batch", "-"], { input: batch });
  }
}

/** Whether an address is inside the home. */
export function isHome(address: string): boolean {
  return address.startsWith(`${LAN4}.`) || /^2001:db8:1:/.test(address);
}

/** An address that the Internet answers for: `n` counts from 0 in a block of its own. */
export function internetAddress(n: number, family: 4 | 6 = 4): string {
  return family === 4
    ? `${(INTERNET4[1] as string).slice(0, 6)}.${n >> 8}.${n & 255}`
    : `2001:db8:100:1::${(n + 1).toString(16)}`;
}

/** The hardware address that `forgeMacs` makes of a number. */
export function forgedMac(n: number): string {
  return `06:F0:${[24, 16, 8, 0].map((shift) => ((n >>> shift) & 255).toString(16).padStart(2, "0").toUpperCase()).join(":")}`;
}

export const GATEWAY = { 4: GATEWAY4, 6: GATEWAY6 } as const;

type SetElement = { key: string[]; packets: number; bytes: number };

/** The counted elements of each set of an inet table. */
export async function readSets(namespace: string, table: string): Promise<Map<string, SetElement[]>> {
  const { stdout } = await exec(namespace, "nft", ["-j", "list", "table", "inet", table]);
  const parsed = JSON.parse(stdout) as { nftables: { set?: { name: string; elem?: unknown[] } }[] };
  const sets = new Map<string, SetElement[]>();
  for (const { set } of parsed.nftables) {
    if (!set) continue;
    const elements = (set.elem ?? []) as { elem: { val: { concat: string[] }; counter: Count } }[];
    sets.set(
      set.name,
      elements.map(({ elem }) => ({ key: elem.val.concat, ...elem.counter })),
    );
  }
  return sets;
}
