/** rtnetlink (linux/rtnetlink.h): links, addresses, routes and neighbours, as events and dumps tell them. */
import { macFromBytes, printAddress, wordsFromBytes } from "../lib/address.ts";
import { attributeEnd, eachMessage, findAttribute, textAt, u16le, u32le } from "./messages.ts";

export const RouteType = {
  NewLink: 16,
  DeleteLink: 17,
  GetLink: 18,
  NewAddress: 20,
  DeleteAddress: 21,
  GetAddress: 22,
  NewRoute: 24,
  DeleteRoute: 25,
  GetRoute: 26,
  NewNeighbour: 28,
  DeleteNeighbour: 29,
  GetNeighbour: 30,
} as const;

/** NUD_ of linux/neighbour.h */
export const NeighbourState = {
  Incomplete: 1,
  Reachable: 2,
  Stale: 4,
  Delay: 8,
  Probe: 16,
  Failed: 32,
  NoArp: 64,
  Permanent: 128,
} as const;

const IFF = { Up: 1, Loopback: 8, PointToPoint: 16, NoArp: 128 } as const;
const AF = { IPv4: 2, Bridge: 7, IPv6: 10 } as const;
const RT_TABLE_MAIN = 254;
const RTN_UNICAST = 1;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly mac?: number;
  /** Index of the bridge or bond that it is a port of. */
  readonly master?: number;
  /** `bridge`, `veth`, `vlan`, `wireguard` …; absent for hardware. */
  readonly type?: string;
  readonly up: boolean;
  /** Loopback, point to point or without ARP: no home devices there. */
  readonly special: boolean;
}

export interface InterfaceAddress {
  readonly index: number;
  readonly address: string;
  readonly bits: number;
}

export interface Route {
  readonly family: 4 | 6;
  /** Canonical text; of the default route `0.0.0.0` or `::`, with `bits` 0. */
  readonly destination: string;
  readonly bits: number;
  readonly index: number;
  readonly hasGateway: boolean;
}

export interface Neighbour {
  /** Of the interface; for an entry of a bridge's table, the port. */
  readonly index: number;
  readonly master?: number;
  /** NeighbourState bits. */
  readonly state: number;
  readonly deleted: boolean;
  readonly mac?: number;
  /** Absent in a bridge's table. */
  readonly address?: string;
  readonly isBridgeEntry: boolean;
}

export interface RouteVisitor {
  link?(link: Link, deleted: boolean): void;
  address?(address: InterfaceAddress): void;
  route?(route: Route): void;
  neighbour?(neighbour: Neighbour): void;
  /** Any message: for who only wants to know that something changed. */
  any?(): void;
}

/** Decodes the messages in [start, end); malformed ones are left out. */
export function decodeRoutes(bytes: Uint8Array, start: number, end: number, visitor: RouteVisitor): void {
  eachMessage(bytes, start, end, (type, _flags, at, stop) => {
    visitor.any?.();
    if (type === RouteType.NewLink || type === RouteType.DeleteLink) {
      const link = visitor.link && decodeLink(bytes, at, stop);
      if (link) visitor.link?.(link, type === RouteType.DeleteLink);
    } else if (type === RouteType.NewAddress) {
      const address = visitor.address && decodeAddress(bytes, at, stop);
      if (address) visitor.address?.(address);
    } else if (type === RouteType.NewRoute) {
      const route = visitor.route && decodeRoute(bytes, at, stop);
      if (route) visitor.route?.(route);
    } else if (type === RouteType.NewNeighbour || type === RouteType.DeleteNeighbour) {
      const deleted = type === RouteType.DeleteNeighbour;
      const neighbour = visitor.neighbour && decodeNeighbour(bytes, at, stop, deleted);
      if (neighbour) visitor.neighbour?.(neighbour);
    }
  });
}

/** struct ifinfomsg, then IFLA_ADDRESS 1, IFLA_IFNAME 3, IFLA_MASTER 10, IFLA_LINKINFO 18 { IFLA_INFO_KIND 1 } */
function decodeLink(bytes: Uint8Array, at: number, end: number): Link | undefined {
  const attributes = at + 16;
  // The bridge tells of its ports' states under its own family.
  if (attributes > end || bytes[at] === AF.Bridge) return undefined;
  const name = findAttribute(bytes, attributes, end, 3);
  if (name < 0) return undefined;
  const flags = u32le(bytes, at + 8);
  const mac = readMac(bytes, attributes, end, 1);
  const master = findAttribute(bytes, attributes, end, 10);
  const info = findAttribute(bytes, attributes, end, 18);
  const kind = info < 0 ? -1 : findAttribute(bytes, info, attributeEnd(bytes, info), 1);
  return {
    index: u32le(bytes, at + 4),
    name: textAt(bytes, name, attributeEnd(bytes, name)),
    ...(mac === undefined ? {} : { mac }),
    ...(master < 0 ? {} : { master: u32le(bytes, master) }),
    ...(kind < 0 ? {} : { type: textAt(bytes, kind, attributeEnd(bytes, kind)) }),
    up: (flags & IFF.Up) !== 0,
    special: (flags & (IFF.Loopback | IFF.PointToPoint | IFF.NoArp)) !== 0,
  };
}

/** struct ifaddrmsg, then IFA_LOCAL 2 (the own end of a point-to-point link) or IFA_ADDRESS 1 */
function decodeAddress(bytes: Uint8Array, at: number, end: number): InterfaceAddress | undefined {
  if (at + 8 > end) return undefined;
  const address = readAddress(bytes, at + 8, end, 2, bytes[at]) ?? readAddress(bytes, at + 8, end, 1, bytes[at]);
  if (address === undefined) return undefined;
  return { index: u32le(bytes, at + 4), address, bits: bytes[at + 1] as number };
}

/** struct rtmsg, then RTA_DST 1, RTA_OIF 4, RTA_GATEWAY 5, RTA_MULTIPATH 9, RTA_TABLE 15, RTA_VIA 18; unicast of the main table */
function decodeRoute(bytes: Uint8Array, at: number, end: number): Route | undefined {
  const attributes = at + 12;
  if (attributes > end || bytes[at + 7] !== RTN_UNICAST) return undefined;
  const table = findAttribute(bytes, attributes, end, 15);
  if ((table < 0 ? bytes[at + 4] : u32le(bytes, table)) !== RT_TABLE_MAIN) return undefined;
  const family = bytes[at] === AF.IPv4 ? 4 : bytes[at] === AF.IPv6 ? 6 : undefined;
  if (family === undefined) return undefined;
  const multipath = findAttribute(bytes, attributes, end, 9);
  const output = findAttribute(bytes, attributes, end, 4);
  // struct rtnexthop: length, flags, hops, then the index.
  const index = output >= 0 ? u32le(bytes, output) : multipath >= 0 ? u32le(bytes, multipath + 4) : -1;
  if (index < 0) return undefined;
  return {
    family,
    destination: readAddress(bytes, attributes, end, 1, bytes[at]) ?? (family === 4 ? "0.0.0.0" : "::"),
    bits: bytes[at + 1] as number,
    index,
    hasGateway:
      multipath >= 0 || findAttribute(bytes, attributes, end, 5) >= 0 || findAttribute(bytes, attributes, end, 18) >= 0,
  };
}

/** struct ndmsg, then NDA_DST 1, NDA_LLADDR 2, NDA_MASTER 9 */
function decodeNeighbour(bytes: Uint8Array, at: number, end: number, deleted: boolean): Neighbour | undefined {
  const attributes = at + 12;
  if (attributes > end) return undefined;
  const isBridgeEntry = bytes[at] === AF.Bridge;
  const address = isBridgeEntry ? undefined : readAddress(bytes, attributes, end, 1, bytes[at]);
  if (address === undefined && !isBridgeEntry) return undefined;
  const mac = readMac(bytes, attributes, end, 2);
  const master = findAttribute(bytes, attributes, end, 9);
  return {
    index: u32le(bytes, at + 4),
    ...(master < 0 ? {} : { master: u32le(bytes, master) }),
    state: u16le(bytes, at + 8),
    deleted,
    ...(mac === undefined ? {} : { mac }),
    ...(address === undefined ? {} : { address }),
    isBridgeEntry,
  };
}

function readAddress(
  bytes: Uint8Array,
  start: number,
  end: number,
  type: number,
  family: number | undefined,
): string | undefined {
  const value = findAttribute(bytes, start, end, type);
  if (value < 0) return undefined;
  const length = attributeEnd(bytes, value) - value;
  if (family === AF.IPv4 && length === 4) return printAddress(wordsFromBytes(bytes, value, 4));
  if (family === AF.IPv6 && length === 16) return printAddress(wordsFromBytes(bytes, value, 6));
  return undefined;
}

function readMac(bytes: Uint8Array, start: number, end: number, type: number): number | undefined {
  const value = findAttribute(bytes, start, end, type);
  return value < 0 || attributeEnd(bytes, value) - value !== 6 ? undefined : macFromBytes(bytes, value);
}
