/**
 * Which side of a flow is the home's, through NAT (conntrack's two tuples, reference: nf_conntrack, RFC 4787 terms):
 *
 *   device → Internet   original source is the device; the reply's destination may be the gateway (masquerade)
 *   Internet → device   original source is outside; the reply's source is the device (port forward, or IPv6 routed)
 *   device ↔ gateway    one end is an address of the gateway: local
 *   device ↔ device     seen only where the gateway routes between them: local, for both
 *   gateway ↔ Internet  not a device's: ignored
 */
import { inPrefix, isIPv4, parseAddress, parsePrefix } from "../lib/address.ts";
import type { Prefix } from "../lib/address.ts";

export const Direction = {
  /** Neither end is the home's, or the gateway speaks for itself. */
  Ignored: 0,
  /** The home is not known yet. */
  Unknown: 1,
  Outbound: 2,
  Inbound: 3,
  /** A device began; the other end is the gateway or another device. */
  LocalOutbound: 4,
  /** The gateway began. */
  LocalInbound: 5,
} as const;
export type DirectionCode = (typeof Direction)[keyof typeof Direction];

/** Where in a flow's 16 address words each end stands: original source and destination, reply source and destination. */
export const ORIGINAL_SOURCE = 0;
export const ORIGINAL_DESTINATION = 4;
export const REPLY_SOURCE = 8;
export const REPLY_DESTINATION = 12;

export function isLocal(direction: number): boolean {
  return direction >= Direction.LocalOutbound;
}

/** The device opened the flow, rather than the peer. */
export function deviceBegan(direction: number): boolean {
  return direction === Direction.Outbound || direction === Direction.LocalOutbound;
}

/** Offset of the device's address among the 16 words. */
export function deviceOffset(direction: number): number {
  return deviceBegan(direction) ? ORIGINAL_SOURCE : REPLY_SOURCE;
}

/** Offset of the peer's address: for an outbound flow the one that the device addressed, else the one that answers. */
export function peerOffset(direction: number): number {
  if (direction === Direction.Outbound) return ORIGINAL_DESTINATION;
  return direction === Direction.LocalOutbound ? REPLY_SOURCE : ORIGINAL_SOURCE;
}

/** How the home is cut. `owned` says whether a known device holds an address, whatever the prefixes say. */
export class HomeMap {
  #prefixes: Prefix[] = [];
  #gateway: Uint32Array[] = [];
  #known = false;
  #hasIPv4 = false;
  #hasIPv6 = false;
  readonly #owned: (words: ArrayLike<number>, offset: number) => boolean;

  constructor(owned: (words: ArrayLike<number>, offset: number) => boolean) {
    this.#owned = owned;
  }

  get known(): boolean {
    return this.#known;
  }

  set(lanPrefixes: readonly string[], gatewayAddresses: readonly string[]): void {
    this.#prefixes = lanPrefixes.map(parsePrefix).filter((prefix) => prefix !== undefined);
    this.#gateway = gatewayAddresses.map(parseAddress).filter((address) => address !== undefined);
    this.#hasIPv4 = this.#prefixes.some((prefix) => isIPv4(prefix.words));
    this.#hasIPv6 = this.#prefixes.some((prefix) => !isIPv4(prefix.words) && !isLinkLocal(prefix.words, 0));
    this.#known = true;
  }

  /** `addresses` holds 16 words at `at`, as `FlowColumns.addresses` does. */
  classify(addresses: ArrayLike<number>, at: number): DirectionCode {
    if (!this.#known) return Direction.Unknown;
    const source = at + ORIGINAL_SOURCE;
    const answering = at + REPLY_SOURCE;
    if (this.isGateway(addresses, source))
      return this.isLan(addresses, answering) ? Direction.LocalInbound : Direction.Ignored;
    if (this.isLan(addresses, source)) {
      // Whoever really answers decides: a hijacked DNS question ends at the gateway, a hairpin at another device.
      const local =
        this.isGateway(addresses, answering) ||
        this.isLan(addresses, answering) ||
        isGroup(addresses, at + ORIGINAL_DESTINATION) ||
        this.isGateway(addresses, at + ORIGINAL_DESTINATION) ||
        this.#isBroadcast(addresses, at + ORIGINAL_DESTINATION);
      return local ? Direction.LocalOutbound : Direction.Outbound;
    }
    return !this.isGateway(addresses, answering) && this.isLan(addresses, answering)
      ? Direction.Inbound
      : Direction.Ignored;
  }

  isGateway(words: ArrayLike<number>, offset: number): boolean {
    for (const address of this.#gateway) if (sameWords(address, 0, words, offset)) return true;
    return false;
  }

  isLan(words: ArrayLike<number>, offset: number): boolean {
    return this.#inPrefixes(words, offset) || this.#owned(words, offset);
  }

  /**
   * Whether a device may hold the address at all: a host's address on this LAN, and not the gateway's. Where no prefix
   * of the family is known, any host's address will do.
   */
  claimable(words: ArrayLike<number>, offset: number): boolean {
    if (isUnspecified(words, offset) || isGroup(words, offset) || isLoopback(words, offset)) return false;
    if (this.isGateway(words, offset) || this.#isBroadcast(words, offset)) return false;
    if (isLinkLocal(words, offset)) return true;
    const prefixesKnown = isIPv4(words, offset) ? this.#hasIPv4 : this.#hasIPv6;
    return !prefixesKnown || this.#inPrefixes(words, offset);
  }

  /**
   * Whether a name may make a rule cover the address: never one of the home's, the gateway's or a private one, so that
   * an answer can't turn a rule on a name against the home (DNS rebinding).
   */
  coverable(words: ArrayLike<number>, offset: number): boolean {
    return !(
      isUnspecified(words, offset) ||
      isGroup(words, offset) ||
      isLoopback(words, offset) ||
      isLinkLocal(words, offset) ||
      isPrivate(words, offset) ||
      this.isGateway(words, offset) ||
      this.isLan(words, offset)
    );
  }

  #inPrefixes(words: ArrayLike<number>, offset: number): boolean {
    for (const prefix of this.#prefixes) if (inPrefix(prefix, words, offset)) return true;
    return false;
  }

  /** The limited broadcast address, or a LAN prefix's directed one (its last address). */
  #isBroadcast(words: ArrayLike<number>, offset: number): boolean {
    if (!isIPv4(words, offset)) return false;
    const word = words[offset + 3] as number;
    if (word === 0xffffffff) return true;
    for (const prefix of this.#prefixes) {
      if (!isIPv4(prefix.words) || prefix.bits > 126 || prefix.bits < 96) continue;
      const hostMask = prefix.bits === 96 ? 0xffffffff : (1 << (128 - prefix.bits)) - 1;
      if (inPrefix(prefix, words, offset) && (word & hostMask) >>> 0 === hostMask >>> 0) return true;
    }
    return false;
  }
}

export function sameWords(a: ArrayLike<number>, aOffset: number, b: ArrayLike<number>, bOffset: number): boolean {
  return (
    a[aOffset + 3] === b[bOffset + 3] &&
    a[aOffset + 2] === b[bOffset + 2] &&
    a[aOffset + 1] === b[bOffset + 1] &&
    a[aOffset] === b[bOffset]
  );
}

function isUnspecified(words: ArrayLike<number>, offset: number): boolean {
  if (isIPv4(words, offset)) return (words[offset + 3] as number) >>> 24 === 0;
  return words[offset] === 0 && words[offset + 1] === 0 && words[offset + 2] === 0 && words[offset + 3] === 0;
}

/** Multicast, or the reserved class E with its broadcast address. */
function isGroup(words: ArrayLike<number>, offset: number): boolean {
  if (isIPv4(words, offset)) return (words[offset + 3] as number) >>> 28 >= 14;
  return (words[offset] as number) >>> 24 === 0xff;
}

function isLoopback(words: ArrayLike<number>, offset: number): boolean {
  if (isIPv4(words, offset)) return (words[offset + 3] as number) >>> 24 === 127;
  return words[offset] === 0 && words[offset + 1] === 0 && words[offset + 2] === 0 && words[offset + 3] === 1;
}

function isLinkLocal(words: ArrayLike<number>, offset: number): boolean {
  if (isIPv4(words, offset)) return (words[offset + 3] as number) >>> 16 === 0xa9fe;
  return (words[offset] as number) >>> 22 === 0xfe80 >>> 6;
}

/** RFC 1918, RFC 6598 (shared address space), RFC 4193 (unique local). */
function isPrivate(words: ArrayLike<number>, offset: number): boolean {
  if (!isIPv4(words, offset)) return (words[offset] as number) >>> 25 === 0xfc >>> 1;
  const word = words[offset + 3] as number;
  return (
    word >>> 24 === 10 || word >>> 20 === 0xac1 || word >>> 16 === 0xc0a8 || word >>> 22 === (100 << 2) + (64 >>> 6)
  );
}
