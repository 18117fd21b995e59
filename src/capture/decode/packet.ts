/**
 * One packet seen through offsets: link layer, IPv4 or IPv6 with its extension headers, ports. A `PacketView` is made
 * once and parses packet after packet straight from the capture's buffer; it allocates nothing, believes no length that
 * the packet states, and never reads past what was captured.
 */
import { LinkType } from "../pcap-format.ts";

export const PacketKind = { Other: 0, Arp: 1, Lldp: 2, IPv4: 4, IPv6: 6, Malformed: 7 } as const;

export const IpProtocol = { Icmp: 1, Igmp: 2, Tcp: 6, Udp: 17, Icmpv6: 58 } as const;

export const TcpFlag = { Fin: 1, Syn: 2, Rst: 4, Ack: 16 } as const;

export const Fragment = { None: 0, First: 1, Later: 2 } as const;

/** Direction as Linux cooked captures tell it (packet(7)); -1 where the link layer does not. */
export const PacketType = { Unknown: -1, Host: 0, Broadcast: 1, Multicast: 2, OtherHost: 3, Outgoing: 4 } as const;

const MAX_VLAN_TAGS = 4;
const MAX_EXTENSION_HEADERS = 16;
const MAPPED = 0xffff;

const EtherType = {
  IPv4: 0x0800,
  Arp: 0x0806,
  Vlan: 0x8100,
  IPv6: 0x86dd,
  PppoeSession: 0x8864,
  Lldp: 0x88cc,
} as const;

export class PacketView {
  bytes: Uint8Array = new Uint8Array(0);
  /** Where the captured bytes of the packet end. */
  end = 0;
  kind: number = PacketKind.Other;
  /** Offsets of the hardware addresses; -1 where the link layer has none. */
  sourceMac = -1;
  destinationMac = -1;
  packetType: number = PacketType.Unknown;
  /** Tells apart the places where the same packet may have been captured twice: interface, VLAN, sender. */
  view = 0;
  /** Offset of the IP header, of the ARP packet or of LLDP's data. */
  network = 0;
  /** Length of the IP packet in bytes, header included, as the wire had it. */
  length = 0;
  /** Source and destination, four signed words each in network order; IPv4 as IPv4-mapped. */
  readonly addresses = new Int32Array(8);
  protocol = 0;
  /** Offset of the transport header; -1 when it was not captured or is in another fragment. */
  transport = -1;
  /** Where the IP packet's captured bytes end (padding and checksums of the link layer come after). */
  networkEnd = 0;
  sourcePort = 0;
  destinationPort = 0;
  tcpFlags = 0;
  fragment: number = Fragment.None;
  fragmentId = 0;
  /** Of a fragment: bytes of the datagram's payload before it, and whether more follow. */
  fragmentOffset = 0;
  moreFragments = false;
  /** Offset of what follows the network headers. */
  payload = 0;

  /** Parses the packet of `captured` bytes at `offset`, of which the wire had `wire`. */
  parse(
    bytes: Uint8Array,
    offset: number,
    captured: number,
    wire: number,
    linkType: number,
    interfaceId: number,
  ): void {
    this.bytes = bytes;
    this.end = offset + captured;
    this.kind = PacketKind.Other;
    this.view = interfaceId;
    const wireEnd = offset + wire;
    if (linkType === LinkType.Ethernet) {
      this.packetType = PacketType.Unknown;
      this.#ethernet(bytes, offset, wireEnd);
    } else this.#otherLink(bytes, offset, wireEnd, linkType);
  }

  #ethernet(bytes: Uint8Array, offset: number, wireEnd: number): void {
    if (this.end - offset < 14) {
      this.kind = PacketKind.Malformed;
      return;
    }
    this.destinationMac = offset;
    this.sourceMac = offset + 6;
    this.view =
      (Math.imul(this.view, 0x9e3779b1) ^ half(bytes, offset + 6) ^ Math.imul(word(bytes, offset + 8), 0x85ebca6b)) | 0;
    this.#etherType(bytes, offset + 12, wireEnd);
  }

  /** The EtherType at `at` and what follows it; VLAN tags are stepped over. */
  #etherType(bytes: Uint8Array, at: number, wireEnd: number): void {
    let type = half(bytes, at);
    at += 2;
    for (let tags = 0; type === EtherType.Vlan || type === 0x88a8 || type === 0x9100; tags++) {
      if (at + 4 > this.end || tags === MAX_VLAN_TAGS) return;
      this.view = (Math.imul(this.view, 31) + (half(bytes, at) & 0xfff) + 1) | 0;
      type = half(bytes, at + 2);
      at += 4;
    }
    if (type === EtherType.IPv4) this.#ipv4(bytes, at, wireEnd);
    else if (type === EtherType.IPv6) this.#ipv6(bytes, at, wireEnd);
    else if (type === EtherType.Arp) {
      this.network = at;
      if (at + 28 <= this.end) this.kind = PacketKind.Arp;
    } else if (type === EtherType.Lldp) {
      this.network = at;
      this.kind = PacketKind.Lldp;
    } else if (type === EtherType.PppoeSession && at + 8 <= this.end) {
      const protocol = half(bytes, at + 6);
      if (protocol === 0x0021) this.#ipv4(bytes, at + 8, wireEnd);
      else if (protocol === 0x0057) this.#ipv6(bytes, at + 8, wireEnd);
    }
  }

  #otherLink(bytes: Uint8Array, offset: number, wireEnd: number, linkType: number): void {
    this.packetType = PacketType.Unknown;
    this.sourceMac = -1;
    this.destinationMac = -1;
    switch (linkType) {
      case LinkType.LinuxCooked:
        if (this.end - offset < 16) break;
        this.#cooked(half(bytes, offset), half(bytes, offset + 2), half(bytes, offset + 4), offset + 6);
        this.#etherType(bytes, offset + 14, wireEnd);
        return;
      case LinkType.LinuxCooked2:
        if (this.end - offset < 20) break;
        this.view = (Math.imul(this.view, 0x9e3779b1) + word(bytes, offset + 4)) | 0;
        this.#cooked(bytes[offset + 10] as number, half(bytes, offset + 8), bytes[offset + 11] as number, offset + 12);
        this.#etherTypeAt(bytes, half(bytes, offset), offset + 20, wireEnd);
        return;
      case LinkType.Null:
      case LinkType.Loop:
        if (this.end - offset < 4) break;
        this.#rawIp(bytes, offset + 4, wireEnd);
        return;
      default:
        this.#rawIp(bytes, offset, wireEnd);
        return;
    }
    this.kind = PacketKind.Malformed;
  }

  /** Linux cooked header: who sent it, and whether this machine did. Only the sender's address is known. */
  #cooked(packetType: number, hardwareType: number, addressLength: number, addressAt: number): void {
    this.packetType = packetType <= 4 ? packetType : PacketType.Unknown;
    // ARPHRD_ETHER and ARPHRD_IEEE80211 … have six bytes; a loopback's are all zero and identify nobody.
    if (addressLength === 6 && hardwareType !== 772) this.sourceMac = addressAt;
    this.view = (Math.imul(this.view, 31) + packetType + 1) | 0;
  }

  #etherTypeAt(bytes: Uint8Array, type: number, at: number, wireEnd: number): void {
    if (type === EtherType.IPv4) this.#ipv4(bytes, at, wireEnd);
    else if (type === EtherType.IPv6) this.#ipv6(bytes, at, wireEnd);
    else if (type === EtherType.Arp) {
      this.network = at;
      if (at + 28 <= this.end) this.kind = PacketKind.Arp;
    } else if ((type === EtherType.Vlan || type === 0x88a8) && at + 4 <= this.end) {
      this.view = (Math.imul(this.view, 31) + (half(bytes, at) & 0xfff) + 1) | 0;
      this.#etherType(bytes, at + 2, wireEnd);
    }
  }

  #rawIp(bytes: Uint8Array, at: number, wireEnd: number): void {
    if (at >= this.end) this.kind = PacketKind.Malformed;
    else if ((bytes[at] as number) >>> 4 === 4) this.#ipv4(bytes, at, wireEnd);
    else if ((bytes[at] as number) >>> 4 === 6) this.#ipv6(bytes, at, wireEnd);
  }

  #ipv4(bytes: Uint8Array, at: number, wireEnd: number): void {
    const headerLength = at < this.end ? ((bytes[at] as number) & 15) * 4 : 0;
    if (at + 20 > this.end || (bytes[at] as number) >>> 4 !== 4 || headerLength < 20) {
      this.kind = PacketKind.Malformed;
      return;
    }
    let length = half(bytes, at + 2);
    // Zero: segmentation was left to the network card. More than the wire had: not believed.
    if (length === 0 || length > wireEnd - at) length = wireEnd - at;
    if (length < headerLength) {
      this.kind = PacketKind.Malformed;
      return;
    }
    this.kind = PacketKind.IPv4;
    this.network = at;
    this.length = length;
    this.networkEnd = at + length < this.end ? at + length : this.end;
    const addresses = this.addresses;
    addresses[0] = addresses[1] = addresses[4] = addresses[5] = 0;
    addresses[2] = addresses[6] = MAPPED;
    addresses[3] = word(bytes, at + 12);
    addresses[7] = word(bytes, at + 16);
    const fragment = half(bytes, at + 6);
    if ((fragment & 0x3fff) === 0) this.fragment = Fragment.None;
    else {
      this.fragment = (fragment & 0x1fff) === 0 ? Fragment.First : Fragment.Later;
      this.fragmentId = half(bytes, at + 4);
      this.fragmentOffset = (fragment & 0x1fff) * 8;
      this.moreFragments = (fragment & 0x2000) !== 0;
    }
    this.#ports(bytes, bytes[at + 9] as number, at + headerLength);
  }

  #ipv6(bytes: Uint8Array, at: number, wireEnd: number): void {
    if (at + 40 > this.end || (bytes[at] as number) >>> 4 !== 6) {
      this.kind = PacketKind.Malformed;
      return;
    }
    const payload = half(bytes, at + 4);
    // Zero: a jumbogram, or segmentation was left to the network card.
    let length = 40 + payload;
    if (payload === 0 || length > wireEnd - at) length = wireEnd - at;
    this.kind = PacketKind.IPv6;
    this.network = at;
    this.length = length;
    this.networkEnd = at + length < this.end ? at + length : this.end;
    const addresses = this.addresses;
    for (let i = 0; i < 8; i++) addresses[i] = word(bytes, at + 8 + 4 * i);
    this.fragment = Fragment.None;
    const next = bytes[at + 6] as number;
    if (next === IpProtocol.Tcp || next === IpProtocol.Udp || next === IpProtocol.Icmpv6)
      this.#ports(bytes, next, at + 40);
    else this.#extensionHeaders(bytes, next, at + 40);
  }

  #extensionHeaders(bytes: Uint8Array, next: number, at: number): void {
    for (let i = 0; i < MAX_EXTENSION_HEADERS && this.fragment !== Fragment.Later; i++) {
      // Hop-by-hop, routing, destination options, mobility, HIP, shim6; fragment; authentication.
      const isOptions = next === 0 || next === 43 || next === 60 || next === 135 || next === 139 || next === 140;
      if ((!isOptions && next !== 44 && next !== 51) || at + 8 > this.networkEnd) break;
      let size = 8;
      if (next === 44) {
        const fragment = half(bytes, at + 2);
        // An atomic fragment (RFC 6946) is a whole packet.
        if ((fragment & 0xfff9) !== 0) {
          this.fragment = fragment >>> 3 === 0 ? Fragment.First : Fragment.Later;
          this.fragmentId = word(bytes, at + 4);
          this.fragmentOffset = fragment & 0xfff8;
          this.moreFragments = (fragment & 1) !== 0;
        }
      } else size = next === 51 ? ((bytes[at + 1] as number) + 2) * 4 : ((bytes[at + 1] as number) + 1) * 8;
      next = bytes[at] as number;
      at += size;
    }
    this.#ports(bytes, next, at);
  }

  #ports(bytes: Uint8Array, protocol: number, at: number): void {
    this.protocol = protocol;
    this.sourcePort = 0;
    this.destinationPort = 0;
    this.tcpFlags = 0;
    this.transport = -1;
    this.payload = at;
    if (this.fragment === Fragment.Later || at + 4 > this.networkEnd) return;
    this.transport = at;
    if (protocol === IpProtocol.Tcp) {
      this.sourcePort = half(bytes, at);
      this.destinationPort = half(bytes, at + 2);
      if (at + 14 <= this.networkEnd) this.tcpFlags = bytes[at + 13] as number;
    } else if (protocol === IpProtocol.Udp || protocol === 132 || protocol === 136 || protocol === 33) {
      this.sourcePort = half(bytes, at);
      this.destinationPort = half(bytes, at + 2);
    }
  }
}

/** Two bytes in network order. */
export function half(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** Four bytes in network order, signed: so that it is never a boxed number. */
export function word(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
