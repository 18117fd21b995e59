/**
 * Which side of a capture is the home. The hardware address to which others send packets for many networks is the
 * gateway; the others are home devices, and their addresses give the LAN's prefixes. A sample of the capture's head
 * decides (`sample`, `conclude`); what later packets prove (`follow`) is added. Prefixes that the user gave override.
 *
 * Where the link layer names nobody (raw IP), the home is the private side, or the side that opens the connections.
 */
import type { Prefix } from "../lib/address.ts";
import { inPrefix, macFromBytes, maskWords, printAddress, printPrefix } from "../lib/address.ts";
import { arpSender } from "./decode/arp.ts";
import { dhcpNetwork } from "./decode/dhcp.ts";
import { IpProtocol, PacketKind, PacketType, TcpFlag, word } from "./decode/packet.ts";
import type { PacketView } from "./decode/packet.ts";

const MAC_LIMIT = 4096;
const ADDRESS_LIMIT = 4096;
const PREFIX_LIMIT = 256;
/** A device that sends from more addresses than this, none of which is answered, makes them up. */
const BELIEVED_SOURCES = 4;

interface Address {
  readonly words: Uint32Array;
  sent: boolean;
  got: boolean;
  claimed: boolean;
}

/** What the sample showed of one hardware address. */
interface Station {
  readonly addresses: Map<string, Address>;
  /** Networks (/24, or /48 of global unicast) of the packets that others sent to it, and that it sent. */
  readonly netsTo: Set<string>;
  readonly netsFrom: Set<string>;
  isRouter: boolean;
  /** Of the machine that captured (Linux cooked). */
  isOwn: boolean;
  isGateway: boolean;
}

export class HomeNetwork {
  /** Grows when gateways or prefixes are learned: time for another `network` observation. */
  version = 0;
  readonly #given: readonly Prefix[];
  readonly #prefixes: Prefix[] = [];
  readonly #prefixTexts = new Set<string>();
  readonly #gateways = new Set<number>();
  readonly #gatewayAddresses = new Set<string>();
  readonly #stations = new Map<number, Station>();
  readonly #dhcpPrefixes: Prefix[] = [];
  readonly #seen = new Int32Array(8192);
  readonly #openers = new Map<string, { words: Uint32Array; peers: Set<string> }>();

  constructor(given: readonly Prefix[]) {
    this.#given = given;
  }

  get lanPrefixes(): readonly string[] {
    return [...this.#prefixTexts];
  }
  get gatewayAddresses(): readonly string[] {
    return [...this.#gatewayAddresses];
  }
  get gatewayMacs(): readonly number[] {
    return [...this.#gateways];
  }

  isGateway(mac: number): boolean {
    return this.#gateways.has(mac);
  }

  isGatewayAddress(words: ArrayLike<number>, offset: number): boolean {
    return this.#gatewayAddresses.size > 0 && this.#gatewayAddresses.has(printAddress(words, offset));
  }

  /** Whether the four words at `offset` are an address of the home's network (link-local ones are). */
  isLan(words: ArrayLike<number>, offset: number): boolean {
    for (const prefix of this.#prefixes) if (inPrefix(prefix, words, offset)) return true;
    return isLinkLocal(words, offset);
  }

  /** Takes in one packet of the capture's head. */
  sample(view: PacketView): void {
    if (view.kind === PacketKind.Arp) return this.#sampleArp(view);
    if ((view.kind !== PacketKind.IPv4 && view.kind !== PacketKind.IPv6) || this.#isRepeated(view)) return;
    const source = view.sourceMac < 0 ? undefined : this.#station(macFromBytes(view.bytes, view.sourceMac));
    const target = isUnicastMac(view.bytes, view.destinationMac)
      ? this.#station(macFromBytes(view.bytes, view.destinationMac))
      : undefined;
    if (source) {
      if (view.packetType === PacketType.Outgoing) source.isOwn = true;
      this.#note(source, view.addresses, 0)?.sent();
    }
    if (target) this.#note(target, view.addresses, 4)?.got();
    if (view.protocol === IpProtocol.Icmpv6) this.#sampleNdp(view, source);
    else if (view.protocol === IpProtocol.Udp && view.sourcePort === 67) this.#sampleDhcp(view);
    this.#sampleOpener(view);
  }

  /** Decides from what was sampled. */
  conclude(): void {
    this.#chooseGateways();
    for (const prefix of this.#given) this.#addPrefix(prefix);
    if (this.#stations.size > 0) this.#inferPrefixes();
    else this.#inferFromOpeners();
    this.#collectGatewayAddresses();
    this.#stations.clear();
    this.#openers.clear();
    this.version++;
  }

  /**
   * Learns from a packet after the head. Called once a flow, direction and interval, not for each packet. `true` when it
   * showed that its receiver is a home device with an address in a network not known so far.
   */
  follow(view: PacketView): boolean {
    if (view.sourceMac < 0 || !isUnicastMac(view.bytes, view.destinationMac)) return false;
    const { addresses } = view;
    if (isPlain(addresses, 4) && !this.isLan(addresses, 4)) {
      const target = macFromBytes(view.bytes, view.destinationMac);
      if (this.#gateways.has(target)) return false;
      const fromGateway = this.#gateways.has(macFromBytes(view.bytes, view.sourceMac));
      if (!fromGateway && this.isLan(addresses, 0)) {
        this.#gateways.add(target);
        this.version++;
      } else if (fromGateway && !this.#isGivenFamily(addresses, 4)) {
        // The gateway delivers it there, so it is the device's; what a device merely claims to send from is not.
        this.#addPrefix(prefixAround(Uint32Array.from(addresses.subarray(4, 8)), false));
        this.version++;
        return true;
      }
    }
    return false;
  }

  /** A device claims an address by ARP or neighbour discovery after the head. */
  claimed(mac: number, words: Uint32Array): void {
    if (!isPlain(words, 0) || this.isLan(words, 0) || this.#isGivenFamily(words)) return;
    if (this.#gateways.has(mac)) return;
    this.#addPrefix(prefixAround(words, false));
    this.version++;
  }

  /** Most packets of a sample say what another said before. A collision only makes one be looked at twice, or never. */
  #isRepeated(view: PacketView): boolean {
    // Neighbour discovery and DHCP say more than their addresses.
    if (view.protocol === IpProtocol.Icmpv6 || view.sourcePort === 67) return false;
    const { addresses } = view;
    let hash = view.view ^ (view.tcpFlags & TcpFlag.Syn) ^ (view.destinationPort < view.sourcePort ? 0x5bd1e995 : 0);
    if (view.destinationMac >= 0) hash ^= word(view.bytes, view.destinationMac + 2);
    for (let i = 0; i < 8; i++) hash = Math.imul(hash ^ (addresses[i] as number), 0x9e3779b1) ^ (hash >>> 15);
    hash |= 1;
    const place = (hash >>> 8) & (this.#seen.length - 1);
    if (this.#seen[place] === hash) return true;
    this.#seen[place] = hash;
    return false;
  }

  #station(mac: number): Station | undefined {
    let station = this.#stations.get(mac);
    if (!station && this.#stations.size < MAC_LIMIT) {
      station = {
        addresses: new Map(),
        netsTo: new Set(),
        netsFrom: new Set(),
        isRouter: false,
        isOwn: false,
        isGateway: false,
      };
      this.#stations.set(mac, station);
    }
    return station;
  }

  #address(station: Station, words: Uint32Array): Address | undefined {
    const key = printAddress(words);
    let address = station.addresses.get(key);
    if (!address && station.addresses.size < ADDRESS_LIMIT) {
      address = { words, sent: false, got: false, claimed: false };
      station.addresses.set(key, address);
    }
    return address;
  }

  #note(station: Station, addresses: Int32Array, offset: number): { sent(): void; got(): void } | undefined {
    if (!isPlain(addresses, offset)) return undefined;
    const words = Uint32Array.from(addresses.subarray(offset, offset + 4));
    const address = this.#address(station, words);
    const net = networkOf(words);
    return {
      sent: () => {
        if (address) address.sent = true;
        if (net !== undefined && station.netsFrom.size < ADDRESS_LIMIT) station.netsFrom.add(net);
      },
      got: () => {
        if (address) address.got = true;
        if (net !== undefined && station.netsTo.size < ADDRESS_LIMIT) station.netsTo.add(net);
      },
    };
  }

  #sampleArp(view: PacketView): void {
    const words = arpSender(view);
    if (!words || !isPlain(words, 0)) return;
    const station = this.#station(macFromBytes(view.bytes, view.network + 8));
    const address = station && this.#address(station, words);
    if (address) address.claimed = true;
  }

  #sampleNdp(view: PacketView, source: Station | undefined): void {
    if (view.transport < 0) return;
    const type = view.bytes[view.transport] as number;
    if (type === 134 && source) source.isRouter = true;
    const claim = ndpClaim(view);
    const address = claim && source && this.#address(source, claim);
    if (address) address.claimed = true;
  }

  #sampleDhcp(view: PacketView): void {
    const network = dhcpNetwork(view.bytes.subarray(view.transport + 8, Math.max(view.transport + 8, view.networkEnd)));
    if (network && this.#dhcpPrefixes.length < PREFIX_LIMIT) this.#dhcpPrefixes.push(network.prefix);
    if (network?.router) {
      const text = printAddress(network.router);
      for (const station of this.#stations.values()) if (station.addresses.get(text)?.claimed) station.isRouter = true;
    }
  }

  #sampleOpener(view: PacketView): void {
    const opens =
      view.protocol === IpProtocol.Tcp
        ? (view.tcpFlags & (TcpFlag.Syn | TcpFlag.Ack)) === TcpFlag.Syn || view.destinationPort < view.sourcePort
        : view.destinationPort < view.sourcePort || (view.transport >= 0 && isEchoRequest(view));
    const at = opens ? 0 : 4;
    if (!isPlain(view.addresses, 0) || !isPlain(view.addresses, 4)) return;
    const words = Uint32Array.from(view.addresses.subarray(at, at + 4));
    const key = printPrefix(prefixAround(words, false));
    let group = this.#openers.get(key);
    if (!group && this.#openers.size < ADDRESS_LIMIT) this.#openers.set(key, (group = { words, peers: new Set() }));
    if (group && group.peers.size < ADDRESS_LIMIT) group.peers.add(printAddress(view.addresses, 4 - at));
  }

  #chooseGateways(): void {
    const stations = [...this.#stations.values()];
    const mark = (isOne: (station: Station) => boolean): boolean => {
      const chosen = stations.filter(isOne);
      // A rule that leaves no device, or finds no gateway, says nothing.
      if (chosen.length === 0 || chosen.length === stations.length) return false;
      for (const station of chosen) station.isGateway = true;
      return true;
    };
    if (this.#given.length > 0) {
      for (const station of stations) {
        const addresses = [...station.addresses.values()].filter((a) => !a.claimed && this.#isGivenFamily(a.words));
        const isInside = addresses.some((a) => a.sent && this.#isGiven(a.words));
        // Others send to it what is not the home's, or it sends nothing else. (What it claims by ARP is its own.)
        station.isGateway = addresses.some((a) => !this.#isGiven(a.words) && (a.got || (a.sent && !isInside)));
      }
    } else {
      const most = Math.max(0, ...stations.map((station) => spread(station.netsTo)));
      const mostFrom = Math.max(0, ...stations.map((station) => spread(station.netsFrom)));
      void (
        mark((station) => spread(station.netsTo) >= Math.max(2, most / 8)) ||
        mark((station) => spread(station.netsFrom) >= Math.max(2, mostFrom / 8)) ||
        mark((station) => station.isRouter) ||
        mark((station) => !isPrivateStation(station) && stations.some(isPrivateStation)) ||
        mark(carriesForOthers) ||
        this.#markPeer(stations)
      );
    }
    // A machine that forwards is the gateway with all of its interfaces.
    if (stations.some((station) => station.isGateway && station.isOwn))
      for (const station of stations) station.isGateway ||= station.isOwn;
    for (const [mac, station] of this.#stations) if (station.isGateway) this.#gateways.add(mac);
  }

  /** Two stations with one address each, in different networks: the one that opens connections is at home. */
  #markPeer(stations: readonly Station[]): boolean {
    const nets = new Set(stations.flatMap((station) => [...station.netsTo, ...station.netsFrom]));
    if (nets.size < 2) return false;
    const [home] = [...this.#openers.values()].sort((a, b) => b.peers.size - a.peers.size);
    const homeNet = home && networkOf(home.words);
    if (homeNet === undefined) return false;
    let found = false;
    for (const station of stations) {
      if (station.addresses.size === 0 || station.netsTo.has(homeNet) || station.netsFrom.has(homeNet)) continue;
      found = station.isGateway = true;
    }
    return found;
  }

  #inferPrefixes(): void {
    const foreign: Uint32Array[] = [];
    for (const station of this.#stations.values())
      if (station.isGateway) for (const a of station.addresses.values()) if (!a.claimed) foreign.push(a.words);
    for (const station of this.#stations.values()) {
      if (station.isGateway) continue;
      const sources = [...station.addresses.values()].filter((address) => address.sent).length;
      for (const address of station.addresses.values()) {
        const isItsOwn = address.claimed || (address.sent && (address.got || sources <= BELIEVED_SOURCES));
        if ((!isItsOwn && !address.got) || this.isLan(address.words, 0) || this.#isGivenFamily(address.words)) continue;
        const known = this.#dhcpPrefixes.find((prefix) => inPrefix(prefix, address.words));
        const around = known ?? prefixAround(address.words, true);
        // The gateway itself may hold an address in it; more are peers that merely lie nearby.
        const others = foreign.filter((words) => inPrefix(around, words)).length;
        const isShared = others > (known || isPrivate(address.words) ? 2 : 1);
        this.#addPrefix(isShared ? { words: address.words, bits: 128 } : around);
      }
    }
  }

  #inferFromOpeners(): void {
    const groups = [...this.#openers.values()];
    for (const isFamily of [isMapped, (words: Uint32Array) => !isMapped(words)]) {
      const family = groups
        .filter((group) => isFamily(group.words) && !this.#isGivenFamily(group.words))
        .sort((a, b) => b.peers.size - a.peers.size);
      const inside = family.filter((group) => isPrivate(group.words));
      for (const group of inside.length > 0 ? inside : family.slice(0, 1))
        this.#addPrefix(prefixAround(group.words, inside.length > 0 || !isMapped(group.words)));
    }
  }

  #collectGatewayAddresses(): void {
    for (const station of this.#stations.values()) {
      if (!station.isGateway) continue;
      for (const [text, address] of station.addresses)
        if ((address.claimed || this.isLan(address.words, 0)) && this.#gatewayAddresses.size < PREFIX_LIMIT)
          if (!this.#isOfDevice(text)) this.#gatewayAddresses.add(text);
    }
  }

  #isOfDevice(text: string): boolean {
    for (const station of this.#stations.values())
      if (!station.isGateway && station.addresses.get(text)?.sent) return true;
    return false;
  }

  /** Whether the user gave prefixes of the address's family: then no others are inferred. */
  #isGivenFamily(words: ArrayLike<number>, at = 0): boolean {
    return this.#given.some((prefix) => isMapped(prefix.words) === isMapped(words, at));
  }

  #isGiven(words: ArrayLike<number>): boolean {
    return this.#given.some((prefix) => inPrefix(prefix, words));
  }

  #addPrefix(prefix: Prefix): void {
    const text = printPrefix(prefix);
    if (this.#prefixTexts.has(text) || this.#prefixes.length >= PREFIX_LIMIT) return;
    this.#prefixTexts.add(text);
    this.#prefixes.push(prefix);
  }
}

/** The address that a neighbour message proves its sender to hold: its source, or an advertisement's target. */
export function ndpClaim(view: PacketView): Uint32Array | undefined {
  const type = view.transport < 0 ? 0 : (view.bytes[view.transport] as number);
  if (type < 133 || type > 136) return undefined;
  if (type === 136) {
    if (view.transport + 24 > view.networkEnd) return undefined;
    return Uint32Array.from([8, 12, 16, 20], (at) => word(view.bytes, view.transport + at) >>> 0);
  }
  return isPlain(view.addresses, 0) || isLinkLocal(view.addresses, 0)
    ? Uint32Array.from(view.addresses.subarray(0, 4))
    : undefined;
}

/** A unicast address with a meaning beyond its link: what can tell home from foreign. */
export function isPlain(words: ArrayLike<number>, at: number): boolean {
  const first = (words[at] as number) >>> 0;
  if (isMapped(words, at)) {
    const octet = (words[at + 3] as number) >>> 24;
    return octet !== 0 && octet !== 127 && octet < 224 && (words[at + 3] as number) >>> 16 !== 0xa9fe;
  }
  return first >>> 24 !== 0xff && first >>> 22 !== 0x3fa && first >>> 24 !== 0;
}

function isMapped(words: ArrayLike<number>, at = 0): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === 0xffff;
}

export function isLinkLocal(words: ArrayLike<number>, at: number): boolean {
  return isMapped(words, at) ? (words[at + 3] as number) >>> 16 === 0xa9fe : (words[at] as number) >>> 22 === 0x3fa;
}

/** RFC 1918, shared (RFC 6598) and unique local addresses. */
function isPrivate(words: ArrayLike<number>): boolean {
  if (!isMapped(words)) return (words[0] as number) >>> 25 === 0x7e;
  const w = (words[3] as number) >>> 0;
  return w >>> 24 === 10 || w >>> 20 === 0xac1 || w >>> 16 === 0xc0a8 || w >>> 22 === 0x191;
}

/** The network that an address probably lies in: /24 where `wide` or private, else the host itself; /64. */
function prefixAround(words: Uint32Array, wide: boolean): Prefix {
  const bits = isMapped(words) ? (wide || isPrivate(words) ? 120 : 128) : 64;
  return { words: maskWords(words, bits), bits };
}

/** Names the /24 or, of global unicast, the /48; `undefined` for unique local addresses, which a device has besides. */
function networkOf(words: Uint32Array): string | undefined {
  if (isMapped(words)) return `4 ${(words[3] as number) >>> 8}`;
  if (isPrivate(words)) return undefined;
  return `6 ${words[0]} ${(words[1] as number) >>> 16}`;
}

/** The larger number of networks of one family: a device has an address of each. */
function spread(nets: ReadonlySet<string>): number {
  let ipv4 = 0;
  for (const net of nets) if (net.startsWith("4")) ipv4++;
  return Math.max(ipv4, nets.size - ipv4);
}

function isPrivateStation(station: Station): boolean {
  const addresses = [...station.addresses.values()];
  return addresses.length > 0 && addresses.every((address) => isPrivate(address.words));
}

/** Claims addresses by ARP or neighbour discovery, and carries others. */
function carriesForOthers(station: Station): boolean {
  const addresses = [...station.addresses.values()];
  return addresses.some((a) => a.claimed) && addresses.some((a) => !a.claimed && (a.got || a.sent));
}

function isEchoRequest(view: PacketView): boolean {
  const type = view.bytes[view.transport];
  return (view.protocol === IpProtocol.Icmp && type === 8) || (view.protocol === IpProtocol.Icmpv6 && type === 128);
}

function isUnicastMac(bytes: Uint8Array, at: number): boolean {
  return at >= 0 && ((bytes[at] as number) & 1) === 0;
}
