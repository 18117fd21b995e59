/**
 * DHCP leases as servers write them down.
 *
 * dnsmasq: `expiry mac address name client-id` with the expiry in seconds since 1970 (0: never) and `*` for no name;
 * odhcpd: `# interface mac address name valid-until id length …` with the MAC as 12 hexadecimal digits (-1: never, `-`
 * for no name). Leases of DHCPv6 are left out: they name a DUID, which the device itself chooses and which may hold
 * anybody's hardware address; who holds an IPv6 address is the neighbour table's to say.
 */
import { parseAddress, isIPv4, parseMac, printAddress } from "../lib/address.ts";

export interface Lease {
  readonly mac: number;
  /** IPv4, canonical text. */
  readonly address: string;
  /** As `cleanHostName` lets it pass. */
  readonly hostName?: string;
  /** Milliseconds since 1970; absent: never, or not known. */
  readonly expires?: number;
}

export const LEASE_LIMIT = 4096;
const HOST_NAME_LIMIT = 63;
/** A smaller number is a duration: dnsmasq built for machines without a clock writes those. */
const EARLIEST_EXPIRY_S = 1_000_000_000;

/** The leases in a file of either format, by address. A last line without its end is still being written. */
export function parseLeases(text: string): Map<string, Lease> {
  const leases = new Map<string, Lease>();
  for (const line of text.slice(0, text.lastIndexOf("\n") + 1).split("\n")) {
    if (leases.size === LEASE_LIMIT) break;
    const words = line.split(" ");
    const lease = words[0] === "#" ? odhcpdLease(words) : dnsmasqLease(words);
    if (lease) leases.set(lease.address, lease);
  }
  return leases;
}

/** What a device calls itself, as far as it can be shown anywhere: letters, digits, `-`, `_` and `.`; `undefined` if nothing is left. */
export function cleanHostName(name: string | undefined): string | undefined {
  const clean = (name ?? "")
    .replace(/[^A-Za-z0-9._-]/g, "")
    .replace(/^[.-]+|[.-]+$/g, "")
    .slice(0, HOST_NAME_LIMIT);
  return clean === "" ? undefined : clean;
}

function dnsmasqLease([expiry, mac, address, name]: readonly string[]): Lease | undefined {
  if (expiry === undefined || !/^\d+$/.test(expiry)) return undefined;
  // dnsmasq writes other hardware types than Ethernet as `type-address`.
  return makeLease(parseMac(mac ?? ""), address, name, Number(expiry));
}

function odhcpdLease([, , mac = "", address, name, validUntil]: readonly string[]): Lease | undefined {
  if (!/^[0-9a-f]{12}$/i.test(mac)) return undefined;
  return makeLease(Number.parseInt(mac, 16), address, name, Number(validUntil));
}

function makeLease(
  mac: number | undefined,
  address: string | undefined,
  name: string | undefined,
  expiry: number,
): Lease | undefined {
  const words = parseAddress(address ?? "");
  if (!mac || !words || !isIPv4(words)) return undefined;
  const hostName = cleanHostName(name);
  return {
    mac,
    address: printAddress(words),
    ...(hostName === undefined ? {} : { hostName }),
    ...(expiry >= EARLIEST_EXPIRY_S ? { expires: expiry * 1000 } : {}),
  };
}
