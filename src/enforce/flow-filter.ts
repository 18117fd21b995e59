/** Which conntrack entries a block ends. */
import { inPrefix, isIPv4, parseAddress, parsePrefix } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { prefixFamily } from "../spin/rule-values.ts";
import type { FlowFilter } from "./transport.ts";

/** The entry's addresses: 16 words (source, destination, reply's source, reply's destination), and the original's ports. */
export type FlowTest = (addresses: Uint32Array, protocol: number, ports: ArrayLike<number>) => boolean;

/** Whether any of the filters means the entry. */
export function anyFlowTest(filters: readonly FlowFilter[]): FlowTest {
  const tests = filters.map(flowTest);
  return (addresses, protocol, ports) => tests.some((test) => test(addresses, protocol, ports));
}

/**
 * Whether the filter means the entry. It was begun by the device (source of the original, destination as it asked), or by
 * the peer (source of the reply is the device, source of the original the peer).
 */
export function flowTest({ devices, destinations, spared, allows }: FlowFilter): FlowTest {
  const own = devices && new AddressSet(devices);
  const kept = new AddressSet(spared);
  const far = destinations?.map(parsePrefix).filter((prefix) => prefix !== undefined);
  const ends = (addresses: Uint32Array, device: number, peer: number) =>
    (!own || own.has(addresses, device)) && (!far || isIn(far, addresses, peer));
  const isAllowed = (addresses: Uint32Array, device: number, peer: number, protocol: number, port: number) =>
    allows?.({
      device: addresses.slice(device, device + 4),
      peer: addresses.slice(peer, peer + 4),
      protocol,
      port,
      initiator: peer === 0 ? "Peer" : "Device",
    }) ?? false;
  return (addresses, protocol, ports) => {
    if (kept.has(addresses, 0)) return false;
    if (ends(addresses, 0, 4)) return !isAllowed(addresses, 0, 4, protocol, ports[1] as number);
    return ends(addresses, 8, 0) && !isAllowed(addresses, 8, 0, protocol, ports[0] as number);
  };
}

/** Addresses, found by their last word first, since a test sees every entry of conntrack's table. */
export class AddressSet {
  readonly #byLastWord = new Map<number, Uint32Array[]>();

  constructor(texts: readonly string[]) {
    for (const text of texts) {
      const address = parseAddress(text);
      if (!address) continue;
      const last = address[3] as number;
      const list = this.#byLastWord.get(last);
      if (list) list.push(address);
      else this.#byLastWord.set(last, [address]);
    }
  }

  has(addresses: Uint32Array, at: number): boolean {
    const list = this.#byLastWord.get(addresses[at + 3] as number);
    if (!list) return false;
    for (const known of list)
      if (known[0] === addresses[at] && known[1] === addresses[at + 1] && known[2] === addresses[at + 2]) return true;
    return false;
  }
}

export function isIn(prefixes: readonly Prefix[], addresses: Uint32Array, at: number): boolean {
  const family = isIPv4(addresses, at) ? 4 : 6;
  return prefixes.some((prefix) => prefixFamily(prefix) === family && inPrefix(prefix, addresses, at));
}
