/** Interfaces, addresses and routes without netlink: from sysfs, procfs and the C library. */
import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { networkInterfaces } from "node:os";
import { basename } from "node:path";
import { canonicalAddress, parseMac, printAddress } from "../lib/address.ts";
import type { InterfaceAddress, Link, Route } from "../netlink/route-messages.ts";
import type { SystemTables } from "./home-layout.ts";

const CLASS = "/sys/class/net";
const IFF = { Up: 1, Loopback: 8, PointToPoint: 16, NoArp: 128 } as const;

export async function readSystem(): Promise<SystemTables> {
  const links = await readLinks();
  const byName = new Map(links.map((link) => [link.name, link.index]));
  return {
    links,
    addresses: readAddresses(byName),
    routes: [
      ...parseRoutes4(await text("/proc/net/route"), byName),
      ...parseRoutes6(await text("/proc/net/ipv6_route"), byName),
    ],
  };
}

async function readLinks(): Promise<Link[]> {
  const links: Link[] = [];
  for (const name of await readdir(CLASS)) {
    const folder = `${CLASS}/${name}`;
    const index = Number(await text(`${folder}/ifindex`));
    if (!(index > 0)) continue;
    const flags = Number(await text(`${folder}/flags`));
    const mac = parseMac((await text(`${folder}/address`)).trim());
    const master = await readlink(`${folder}/master`).then(basename, () => "");
    const masterIndex = master === "" ? 0 : Number(await text(`${CLASS}/${master}/ifindex`));
    const isBridge = await stat(`${folder}/bridge`).then(
      () => true,
      () => false,
    );
    links.push({
      index,
      name,
      ...(mac === undefined ? {} : { mac }),
      ...(masterIndex > 0 ? { master: masterIndex } : {}),
      ...(isBridge ? { type: "bridge" } : {}),
      up: (flags & IFF.Up) !== 0,
      special: (flags & (IFF.Loopback | IFF.PointToPoint | IFF.NoArp)) !== 0,
    });
  }
  return links;
}

function readAddresses(byName: ReadonlyMap<string, number>): InterfaceAddress[] {
  const addresses: InterfaceAddress[] = [];
  for (const [name, list] of Object.entries(networkInterfaces()))
    for (const { address, cidr } of list ?? []) {
      const index = byName.get(name);
      const canonical = canonicalAddress(address.replace(/%.*/, ""));
      if (index !== undefined && canonical !== undefined && cidr)
        addresses.push({ index, address: canonical, bits: Number(cidr.split("/")[1]) });
    }
  return addresses;
}

/** /proc/net/route: `Iface Destination Gateway Flags RefCnt Use Metric Mask …`, addresses in the machine's order. */
export function parseRoutes4(table: string, byName: ReadonlyMap<string, number>): Route[] {
  const routes: Route[] = [];
  for (const line of table.split("\n").slice(1)) {
    const [name = "", destination, gateway, , , , , mask] = line.split(/\s+/);
    const index = byName.get(name);
    if (index === undefined || destination === undefined || mask === undefined) continue;
    const bits = [...Number.parseInt(mask, 16).toString(2)].filter((bit) => bit === "1").length;
    routes.push({
      family: 4,
      destination: littleEndian4(destination),
      bits,
      index,
      hasGateway: Number.parseInt(gateway ?? "0", 16) !== 0,
    });
  }
  return routes;
}

/** /proc/net/ipv6_route: destination, its length, source, its length, next hop, metric, …, flags, interface; all hexadecimal. */
export function parseRoutes6(table: string, byName: ReadonlyMap<string, number>): Route[] {
  const routes: Route[] = [];
  for (const line of table.split("\n")) {
    const fields = line.trim().split(/\s+/);
    const index = byName.get(fields[9] ?? "");
    const destination = fields[0] ?? "";
    const flags = Number.parseInt(fields[8] ?? "", 16);
    // RTF_UP; RTF_LOCAL, RTF_ANYCAST and RTF_REJECT are no ways to anywhere.
    if (index === undefined || destination.length !== 32 || !(flags & 1) || flags & (0x80000000 | 0x00100000 | 0x0200))
      continue;
    const words = Uint32Array.from([0, 8, 16, 24].map((at) => Number.parseInt(destination.slice(at, at + 8), 16)));
    routes.push({
      family: 6,
      destination: printAddress(words),
      bits: Number.parseInt(fields[1] ?? "0", 16),
      index,
      hasGateway: /[^0]/.test(fields[4] ?? ""),
    });
  }
  return routes;
}

function littleEndian4(hex: string): string {
  const word = Number.parseInt(hex, 16);
  return [word & 255, (word >>> 8) & 255, (word >>> 16) & 255, word >>> 24].join(".");
}

async function text(path: string): Promise<string> {
  return await readFile(path, "latin1").catch(() => "");
}
