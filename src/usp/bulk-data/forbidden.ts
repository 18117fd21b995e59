/**
 * Where no report may go unless the configuration says so: this machine, what is on its links (the home), private and
 * link-local ranges. Otherwise a controller could make the gateway knock at every door of the home.
 */
import { lookup as lookupDns, type LookupAddress, type LookupOptions } from "node:dns";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { inPrefix, MAPPED_PREFIX_WORD, parseAddress, parsePrefix, type Prefix } from "../../lib/address.ts";

/** Why a report may not go to that address, in words; `undefined` if it may. */
export type Forbidden = (address: string) => string | undefined;

const SPECIAL = [
  ["0.0.0.0/8", "this machine"],
  ["127.0.0.0/8", "this machine"],
  ["::/127", "this machine"],
  ["10.0.0.0/8", "a private range"],
  ["172.16.0.0/12", "a private range"],
  ["192.168.0.0/16", "a private range"],
  // RFC 6598: between a provider and its homes, and of overlay networks that reach into homes.
  ["100.64.0.0/10", "a private range"],
  ["fc00::/7", "a private range"],
  // RFC 3879, long deprecated and still private; RFC 8215, a network's own way to IPv4.
  ["fec0::/10", "a private range"],
  ["64:ff9b:1::/48", "a private range"],
  ["169.254.0.0/16", "link-local"],
  ["fe80::/10", "link-local"],
  ["224.0.0.0/4", "a group"],
  ["ff00::/8", "a group"],
  ["255.255.255.255/32", "a group"],
].map(([text, what]) => ({ prefix: parsePrefix(text as string) as Prefix, what: what as string }));

const OPTION = "a report goes there only by option allow_local in bulk_data";

/** Addresses that lead to the IPv4 address in them: NAT64, IPv4-compatible, 6to4; in which bits it stands. */
const LEADING_TO_IPV4 = [
  ["64:ff9b::/96", 96],
  ["::/96", 96],
  ["2002::/16", 16],
].map(([text, bit]) => ({ prefix: parsePrefix(text as string) as Prefix, bit: bit as number }));

/** All but the public Internet, without the prefixes given. */
export function forbiddenBut(allowed: readonly string[]): Forbidden {
  const permitted = allowed.flatMap((text) => parsePrefix(text) ?? []);
  return (address) => {
    const given = parseAddress(address);
    if (!given) return "no address";
    const words = endOf(given);
    if (permitted.some((prefix) => inPrefix(prefix, words))) return undefined;
    const special = SPECIAL.find(({ prefix }) => inPrefix(prefix, words));
    if (special) return special.what;
    return onLink().some((prefix) => inPrefix(prefix, words)) ? "on a link of this gateway" : undefined;
  };
}

/** The IPv4 address that one reaches by it, if it leads to one. */
function endOf(given: Uint32Array): ArrayLike<number> {
  const way = LEADING_TO_IPV4.find(({ prefix }) => inPrefix(prefix, given));
  if (!way) return given;
  const [first = 0, second = 0, , last = 0] = given;
  return [0, 0, MAPPED_PREFIX_WORD, way.bit === 96 ? last : ((first << 16) | (second >>> 16)) >>> 0];
}

/** The home may have public addresses: IPv6 always has. */
function onLink(): Prefix[] {
  return Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .flatMap(({ cidr }) => (cidr === null || cidr.endsWith("/0") ? [] : (parsePrefix(cidr) ?? [])));
}

/** Names are looked up by the request itself; an address stands in the URL. @throws Error */
export function refuseLiteral(host: string, forbidden: Forbidden, remedy = OPTION): void {
  const why = isIP(host) === 0 ? undefined : forbidden(host);
  if (why !== undefined) throw refusal(host, why, remedy);
}

/** For `lookup` of a request: the addresses of a name to which a report may go, or an error that says why to none. */
export function guardedLookup(forbidden: Forbidden, remedy = OPTION) {
  return (
    host: string,
    options: LookupOptions,
    done: (error: Error | null, address: string | LookupAddress[], family?: number) => void,
  ): void => {
    lookupDns(host, { ...options, all: true }, (error, found) => {
      if (error) return done(error, "");
      const permitted = found.filter(({ address }) => forbidden(address) === undefined);
      const [first] = permitted;
      if (!first) {
        const [refused] = found;
        return done(
          refusal(`${host} is ${refused?.address ?? "nowhere"}, which`, forbidden(refused?.address ?? ""), remedy),
          "",
        );
      }
      return options.all === true ? done(null, permitted) : done(null, first.address, first.family);
    });
  };
}

function refusal(what: string, why = "no address", remedy: string): Error {
  return new Error(`${what} is ${why}: ${remedy}`);
}
