/** Which interfaces are the LAN's, and what is the gateway's own there: the network source says so, others listen. */
import { inPrefix, parsePrefix, type Prefix } from "../lib/address.ts";

export interface LanLayout {
  readonly lanPrefixes: readonly string[];
  readonly gatewayMacs: readonly number[];
}

export class Lan {
  #interfaces: ReadonlySet<string>;
  #prefixes: readonly Prefix[] = [];
  #gatewayMacs: ReadonlySet<number> = new Set();
  readonly #listeners = new Set<() => void>();

  constructor(interfaces: Iterable<string> = []) {
    this.#interfaces = new Set(interfaces);
  }

  get interfaces(): ReadonlySet<string> {
    return this.#interfaces;
  }

  /** Whether the four words are an address of one of its prefixes. */
  holds(words: ArrayLike<number>): boolean {
    return this.#prefixes.some((prefix) => inPrefix(prefix, words));
  }

  /** Whether the gateway itself has the hardware address. */
  isGateway(mac: number): boolean {
    return this.#gatewayMacs.has(mac);
  }

  set(names: Iterable<string>, layout?: LanLayout): void {
    if (layout) {
      this.#prefixes = layout.lanPrefixes.flatMap((text) => parsePrefix(text) ?? []);
      this.#gatewayMacs = new Set(layout.gatewayMacs);
    }
    const next = new Set(names);
    if (next.size === this.#interfaces.size && [...next].every((name) => this.#interfaces.has(name))) return;
    this.#interfaces = next;
    for (const listener of this.#listeners) listener();
  }

  /** Calls `listener` at each change until the returned function is called. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}
