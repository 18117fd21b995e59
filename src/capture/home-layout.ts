/**
 * Which side is the home: decided from interfaces, addresses and routes, where nobody configured it. The way to the
 * Internet is the WAN; of the rest, bridges with an address are the LAN (every router's firmware makes one), and where
 * there is no bridge, each Ethernet-like interface with an address.
 */
import { inPrefix, parseAddress, parsePrefix, printPrefix } from "../lib/address.ts";
import type { InterfaceAddress, Link, Route } from "../netlink/route-messages.ts";

export interface HomeLayout {
  readonly lanInterfaces: readonly string[];
  readonly lanPrefixes: readonly string[];
  readonly gatewayAddresses: readonly string[];
  readonly gatewayMacs: readonly number[];
}

/** What the kernel has. */
export interface SystemTables {
  readonly links: Link[];
  readonly addresses: InterfaceAddress[];
  readonly routes: Route[];
}

const LINK_LOCAL = ["fe80::/10", "169.254.0.0/16"].map(
  (text) => parsePrefix(text) as NonNullable<ReturnType<typeof parsePrefix>>,
);
const MULTICAST = ["ff00::/8", "224.0.0.0/4"].map(
  (text) => parsePrefix(text) as NonNullable<ReturnType<typeof parsePrefix>>,
);
/** Made by containers and virtual machines on machines that are no gateways. */
const NOT_A_HOME = /^(docker|br-[0-9a-f]{12}$|virbr|lxcbr|podman|cni)/;
const PREFIX_LIMIT = 64;
/** `fc00::/7` and `10.0.0.0/8` may be homes. */
const NARROWEST_WAY_OUT = 7;
const ADDRESS_LIMIT = 256;

/**
 * `configured`: the LAN interfaces, if the configuration says. `added`: those that a controller names besides, of which
 * the ones that can't be the LAN are passed over (`passedOver` says why): it can widen what rules hold for, never narrow
 * it. All lists come sorted, so that equal layouts are equal text.
 */
export function layOut(
  links: readonly Link[],
  addresses: readonly InterfaceAddress[],
  routes: readonly Route[],
  configured: readonly string[] = [],
  added: readonly string[] = [],
): HomeLayout {
  const named = links.filter((link) => configured.includes(link.name) && !isLoopback(link));
  const base = named.length > 0 ? named : findLan(links, addresses, routes);
  const wan = waysOut(routes);
  const more = links.filter((link) => added.includes(link.name) && !isLoopback(link) && !wan.has(link.index));
  const lan = [...new Set([...base, ...more])];
  const lanIndexes = new Set(lan.map((link) => link.index));
  const loopback = new Set(links.filter(isLoopback).map((link) => link.index));
  const prefixes = new Set<string>();
  for (const { index, address, bits } of addresses)
    if (lanIndexes.has(index) && isRoutable(address)) addPrefix(prefixes, address, bits);
  // Prefixes that the gateway routes on to its LAN without an address of its own in them.
  for (const { index, destination, bits, hasGateway } of routes)
    if (lanIndexes.has(index) && !hasGateway && bits > 0 && isRoutable(destination))
      addPrefix(prefixes, destination, bits);
  const own = addresses.filter((address) => !loopback.has(address.index)).map((address) => address.address);
  const macs = links.flatMap((link) => (link.mac ? [link.mac] : []));
  return {
    lanInterfaces: lan.map((link) => link.name).sort(),
    lanPrefixes: [...prefixes].sort().slice(0, PREFIX_LIMIT),
    gatewayAddresses: [...new Set(own)].sort().slice(0, ADDRESS_LIMIT),
    gatewayMacs: [...new Set(macs)].sort((a, b) => a - b).slice(0, ADDRESS_LIMIT),
  };
}

/** Why interfaces that somebody named are not the LAN's, in words, one each; none where all are. */
export function passedOver(
  { links, routes }: SystemTables,
  configured: readonly string[],
  added: readonly string[],
): string[] {
  const byName = new Map(links.map((link) => [link.name, link]));
  const wan = waysOut(routes);
  return [...new Set([...configured, ...added])].flatMap((name) => {
    const link = byName.get(name);
    if (!link) return [`interface ${name} is passed over: there is none of this name`];
    if (isLoopback(link)) return [`interface ${name} is passed over: it is the loopback`];
    if (wan.has(link.index) && !configured.includes(name))
      return [`interface ${name} is passed over: it is the way to the Internet`];
    return [];
  });
}

const isLoopback = ({ name }: Link): boolean => name === "lo";

/** Interfaces of a default route, or of one that is as wide as no home is (two halves of the Internet, `2000::/3`). */
function waysOut(routes: readonly Route[]): Set<number> {
  return new Set(routes.filter(({ bits }) => bits < NARROWEST_WAY_OUT).map(({ index }) => index));
}

function findLan(links: readonly Link[], addresses: readonly InterfaceAddress[], routes: readonly Route[]): Link[] {
  const wan = new Set(routes.filter((route) => route.bits === 0).map((route) => route.index));
  const addressed = new Set(addresses.filter(({ address }) => isRoutable(address)).map(({ index }) => index));
  const candidates = links.filter(
    (link) =>
      link.up &&
      !link.special &&
      link.master === undefined &&
      !wan.has(link.index) &&
      addressed.has(link.index) &&
      !NOT_A_HOME.test(link.name),
  );
  const bridges = candidates.filter((link) => link.type === "bridge");
  return bridges.length > 0 ? bridges : candidates;
}

function isRoutable(address: string): boolean {
  const words = parseAddress(address);
  return words !== undefined && ![...LINK_LOCAL, ...MULTICAST].some((prefix) => inPrefix(prefix, words));
}

function addPrefix(prefixes: Set<string>, address: string, bits: number): void {
  const prefix = parsePrefix(`${address}/${bits}`);
  if (prefix) prefixes.add(printPrefix(prefix));
}
