/** Which conntrack entries a block ends. */
import { inPrefix, isIPv4, parseAddress, parsePrefix } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";
import { prefixFamily } from "../spin/rule-values.ts";
import type { FlowFilter } from "./transport.ts";

/** The filter as a test of texts: source and destination of the original direction, source of the reply. */
export function flowTest(filter: FlowFilter): (source: string, destination: string, replySource: string) => boolean {
  const own = filter.devices && new AddressSet(filter.devices);
  const spared = new AddressSet(filter.spared);
  const far = filter.destinations?.map(parsePrefix).filter((prefix) => prefix !== undefined);
  return (...texts) => {
    const [source, destination, replySource] = texts.map(parseAddress);
    if (!source || !destination || !replySource || spared.has(source, 0)) return false;
    return (
      ((!own || own.has(source, 0)) && (!far || isIn(far, destination, 0))) ||
      ((!own || own.has(replySource, 0)) && (!far || isIn(far, source, 0)))
    );
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
