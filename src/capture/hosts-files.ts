/**
 * Names that the gateway's own files give devices: ethers(5), `mac name` or `mac address`, and hosts(5), `address name …`.
 * What hosts says of an address is said of a device only where something else says whose the address is.
 */
import { canonicalAddress, parseMac } from "../lib/address.ts";
import { cleanHostName } from "./lease-files.ts";

/** A home has some dozens. */
const ETHERS_LIMIT = 2048;
const NAMES_LIMIT = 2048;

export interface Ethers {
  readonly names: ReadonlyMap<number, string>;
  /** Hardware address by canonical address. */
  readonly addresses: ReadonlyMap<string, number>;
}

export function parseEthers(text: string): Ethers {
  const names = new Map<number, string>();
  const addresses = new Map<string, number>();
  for (const [first = "", second] of lines(text)) {
    if (names.size + addresses.size === ETHERS_LIMIT) break;
    // ethers(5) lets a leading zero be left out.
    const mac = parseMac(first.replace(/\b([0-9a-f])\b/gi, "0$1"));
    if (!mac || second === undefined) continue;
    const address = canonicalAddress(second);
    const name = cleanHostName(second);
    if (address !== undefined) addresses.set(address, mac);
    else if (name !== undefined && !names.has(mac)) names.set(mac, name);
  }
  return { names, addresses };
}

/** The names of devices, by hardware address; `macOf` says who has an address. The first line of an address counts. */
export function parseHosts(text: string, macOf: ReadonlyMap<string, number>): Map<number, string> {
  const names = new Map<number, string>();
  for (const [first = "", ...rest] of lines(text)) {
    if (names.size === NAMES_LIMIT) break;
    const mac = macOf.get(first) ?? macOf.get(canonicalAddress(first) ?? "");
    if (mac === undefined || names.has(mac)) continue;
    const name = cleanHostName(rest.find((one) => !one.includes(".")) ?? rest[0]);
    if (name !== undefined) names.set(mac, name);
  }
  return names;
}

function* lines(text: string): Generator<string[]> {
  for (const line of text.split("\n")) {
    const words = line.replace(/#.*/, "").trim().split(/\s+/);
    if (words.length > 1) yield words;
  }
}
