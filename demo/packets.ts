/**
 * Builds packets byte by byte, with valid lengths and checksums: the material of the demo's capture and of the tests'
 * and benchmarks' traffic. Addresses are given as text, payloads as bytes.
 */
import type { Answer } from "dns-packet";
import dnsPacket from "dns-packet";
import { isIPv4, parseAddress, parseMac } from "../src/lib/address.ts";

export const EtherType = { IPv4: 0x0800, Arp: 0x0806, IPv6: 0x86dd } as const;
export const Protocol = { Icmp: 1, Tcp: 6, Udp: 17, Icmpv6: 58 } as const;
export const Flag = { Fin: 1, Syn: 2, Rst: 4, Psh: 8, Ack: 16 } as const;
export const BROADCAST = "FF:FF:FF:FF:FF:FF";

/** An Ethernet frame; `vlans` are tags from the outside in. */
export function ethernet(
  source: string,
  destination: string,
  payload: Uint8Array,
  vlans: readonly number[] = [],
): Buffer {
  const version = (payload[0] as number) >>> 4;
  const isArp = payload[0] === 0 && payload[1] === 1;
  const frame = Buffer.alloc(14 + 4 * vlans.length + payload.length);
  putMac(frame, 0, destination);
  putMac(frame, 6, source);
  let at = 12;
  for (const [index, vlan] of vlans.entries()) {
    frame.writeUInt16BE(vlans.length > 1 && index === 0 ? 0x88a8 : 0x8100, at);
    frame.writeUInt16BE(vlan, at + 2);
    at += 4;
  }
  frame.writeUInt16BE(isArp ? EtherType.Arp : version === 4 ? EtherType.IPv4 : EtherType.IPv6, at);
  frame.set(payload, at + 2);
  return frame;
}

export interface IpOptions {
  /** IPv4 identification, IPv6 fragment identification. */
  readonly id?: number;
  readonly ttl?: number;
  /** Makes it a fragment: bytes before it, and whether more follow. */
  readonly fragment?: { readonly offset: number; readonly more: boolean };
  /** IPv6 extension headers before the payload: whole headers but for their next-header byte, with their numbers. */
  readonly extensions?: readonly { readonly number: number; readonly bytes: Uint8Array }[];
}

/** An IP packet of the family of its addresses. */
export function ip(
  source: string,
  destination: string,
  protocol: number,
  payload: Uint8Array,
  options: IpOptions = {},
): Buffer {
  const from = words(source);
  return isIPv4(from)
    ? ipv4(from, words(destination), protocol, payload, options)
    : ipv6(from, words(destination), protocol, payload, options);
}

function ipv4(from: Uint32Array, to: Uint32Array, protocol: number, payload: Uint8Array, options: IpOptions): Buffer {
  const packet = Buffer.alloc(20 + payload.length);
  packet[0] = 0x45;
  packet.writeUInt16BE(packet.length, 2);
  packet.writeUInt16BE((options.id ?? 0) & 0xffff, 4);
  const { fragment } = options;
  packet.writeUInt16BE(fragment ? (fragment.more ? 0x2000 : 0) | (fragment.offset >>> 3) : 0x4000, 6);
  packet[8] = options.ttl ?? 64;
  packet[9] = protocol;
  packet.writeUInt32BE(from[3] as number, 12);
  packet.writeUInt32BE(to[3] as number, 16);
  packet.writeUInt16BE(fold(sum(packet, 0, 20)), 10);
  packet.set(payload, 20);
  return packet;
}

function ipv6(from: Uint32Array, to: Uint32Array, protocol: number, payload: Uint8Array, options: IpOptions): Buffer {
  const { fragment } = options;
  const extensions = [...(options.extensions ?? [])];
  if (fragment) {
    const header = Buffer.alloc(8);
    header.writeUInt16BE(fragment.offset | (fragment.more ? 1 : 0), 2);
    header.writeUInt32BE(options.id ?? 0, 4);
    extensions.push({ number: 44, bytes: header });
  }
  const chain = Buffer.concat(
    extensions.map(({ bytes }, index) => {
      const header = Buffer.from(bytes);
      header[0] = extensions[index + 1]?.number ?? protocol;
      return header;
    }),
  );
  const packet = Buffer.alloc(40 + chain.length + payload.length);
  packet[0] = 0x60;
  packet.writeUInt16BE(chain.length + payload.length, 4);
  packet[6] = extensions[0]?.number ?? protocol;
  packet[7] = options.ttl ?? 64;
  for (let i = 0; i < 4; i++) {
    packet.writeUInt32BE(from[i] as number, 8 + 4 * i);
    packet.writeUInt32BE(to[i] as number, 24 + 4 * i);
  }
  packet.set(chain, 40);
  packet.set(payload, 40 + chain.length);
  return packet;
}

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly flags: number;
  readonly sequence?: number;
  readonly acknowledgment?: number;
  readonly payload?: Uint8Array;
}

export function tcp(source: string, destination: string, segment: TcpSegment, options?: IpOptions): Buffer {
  const payload = segment.payload ?? EMPTY;
  // A SYN says its maximum segment size.
  const optionBytes = segment.flags & Flag.Syn ? 4 : 0;
  const header = Buffer.alloc(20 + optionBytes + payload.length);
  header.writeUInt16BE(segment.sourcePort, 0);
  header.writeUInt16BE(segment.destinationPort, 2);
  header.writeUInt32BE((segment.sequence ?? 1) >>> 0, 4);
  header.writeUInt32BE(segment.flags & Flag.Ack ? (segment.acknowledgment ?? 1) >>> 0 : 0, 8);
  header[12] = ((20 + optionBytes) / 4) << 4;
  header[13] = segment.flags;
  header.writeUInt16BE(64_240, 14);
  if (optionBytes > 0) header.writeUInt32BE(0x020405b4, 20);
  header.set(payload, 20 + optionBytes);
  return ip(source, destination, Protocol.Tcp, withChecksum(source, destination, Protocol.Tcp, header, 16), options);
}

export function udp(
  source: string,
  destination: string,
  sourcePort: number,
  destinationPort: number,
  payload: Uint8Array,
  options?: IpOptions,
): Buffer {
  const datagram = udpDatagram(source, destination, sourcePort, destinationPort, payload);
  return ip(source, destination, Protocol.Udp, datagram, options);
}

/** A UDP header and payload, as they are cut into fragments. */
export function udpDatagram(
  source: string,
  destination: string,
  sourcePort: number,
  destinationPort: number,
  payload: Uint8Array,
): Buffer {
  const datagram = Buffer.alloc(8 + payload.length);
  datagram.writeUInt16BE(sourcePort, 0);
  datagram.writeUInt16BE(destinationPort, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  datagram.set(payload, 8);
  return withChecksum(source, destination, Protocol.Udp, datagram, 6);
}

/** An echo request or reply of the family of its addresses. */
export function echo(
  source: string,
  destination: string,
  isReply: boolean,
  identifier: number,
  sequence: number,
  size = 56,
): Buffer {
  const isV4 = isIPv4(words(source));
  const message = Buffer.alloc(8 + size);
  message[0] = isV4 ? (isReply ? 0 : 8) : isReply ? 129 : 128;
  message.writeUInt16BE(identifier, 4);
  message.writeUInt16BE(sequence, 6);
  return icmp(source, destination, message);
}

/** An ICMP or ICMPv6 message whose checksum is put in. */
export function icmp(source: string, destination: string, message: Buffer, options?: IpOptions): Buffer {
  if (!isIPv4(words(source)))
    return ip(
      source,
      destination,
      Protocol.Icmpv6,
      withChecksum(source, destination, Protocol.Icmpv6, message, 2),
      options,
    );
  message.writeUInt16BE(fold(sum(message, 0, message.length)), 2);
  return ip(source, destination, Protocol.Icmp, message, options);
}

/** An ARP packet (the payload of a frame): 1 request, 2 reply. */
export function arp(operation: 1 | 2, senderMac: string, sender: string, targetMac: string, target: string): Buffer {
  const packet = Buffer.alloc(28);
  packet.writeUInt32BE(0x00010800, 0);
  packet.writeUInt16BE(0x0604, 4);
  packet.writeUInt16BE(operation, 6);
  putMac(packet, 8, senderMac);
  packet.writeUInt32BE(words(sender)[3] as number, 14);
  putMac(packet, 18, targetMac);
  packet.writeUInt32BE(words(target)[3] as number, 24);
  return packet;
}

/** A neighbour solicitation (135) or advertisement (136) with the sender's hardware address (RFC 4861 §4.3, §4.4). */
export function neighbour(type: 135 | 136, source: string, destination: string, target: string, mac: string): Buffer {
  const message = Buffer.alloc(32);
  message[0] = type;
  if (type === 136) message[4] = 0x60;
  putAddress(message, 8, target);
  message[24] = type === 135 ? 1 : 2;
  message[25] = 1;
  putMac(message, 26, mac);
  return icmp(source, destination, message, { ttl: 255 });
}

/** A router advertisement with one on-link prefix of 64 bits (RFC 4861 §4.2). */
export function routerAdvertisement(source: string, mac: string, prefix: string): Buffer {
  const message = Buffer.alloc(16 + 8 + 32);
  message[0] = 134;
  message[4] = 64;
  message.writeUInt16BE(1800, 6);
  message[16] = 1;
  message[17] = 1;
  putMac(message, 18, mac);
  message[24] = 3;
  message[25] = 4;
  message[26] = 64;
  message[27] = 0xc0;
  message.writeUInt32BE(86_400, 28);
  message.writeUInt32BE(14_400, 32);
  putAddress(message, 40, prefix);
  return icmp(source, "ff02::1", message, { ttl: 255 });
}

export function dnsQuestion(id: number, name: string, type: "A" | "AAAA" | "HTTPS"): Buffer {
  return dnsPacket.encode({
    type: "query",
    id,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: type as "A", name }],
  });
}

/** An answer: a chain of names from the question on, and the addresses of the last, which may have none. */
export function dnsAnswer(
  id: number,
  names: readonly string[],
  type: "A" | "AAAA",
  addresses: readonly string[],
  ttl = 300,
): Buffer {
  const answers: Answer[] = names.slice(1).map((data, i) => ({ type: "CNAME", name: names[i] as string, ttl, data }));
  for (const data of addresses) answers.push({ type, name: names.at(-1) as string, ttl, data });
  return dnsPacket.encode({
    type: "response",
    id,
    flags: dnsPacket.RECURSION_DESIRED | dnsPacket.RECURSION_AVAILABLE,
    questions: [{ type, name: names[0] as string }],
    answers,
  });
}

export interface DhcpOptions {
  /** 1 discover, 2 offer, 3 request, 5 ack, 7 release. */
  readonly type: number;
  readonly mac: string;
  readonly transaction: number;
  readonly given?: string;
  readonly held?: string;
  readonly hostName?: string;
  readonly server?: string;
  readonly leaseSeconds?: number;
}

/** A DHCPv4 message (the payload of UDP), of a /24 whose router is the server. */
export function dhcp(options: DhcpOptions): Buffer {
  const isReply = options.type === 2 || options.type === 5 || options.type === 6;
  const message = Buffer.alloc(240);
  message[0] = isReply ? 2 : 1;
  message[1] = 1;
  message[2] = 6;
  message.writeUInt32BE(options.transaction, 4);
  if (options.held) message.writeUInt32BE(words(options.held)[3] as number, 12);
  if (options.given && isReply) message.writeUInt32BE(words(options.given)[3] as number, 16);
  putMac(message, 28, options.mac);
  message.writeUInt32BE(0x63825363, 236);
  const parts = [message, Buffer.of(53, 1, options.type)];
  const word = (code: number, value: number) => {
    const option = Buffer.of(code, 4, 0, 0, 0, 0);
    option.writeUInt32BE(value, 2);
    parts.push(option);
  };
  if (isReply && options.leaseSeconds !== undefined) word(51, options.leaseSeconds);
  if (isReply) word(1, 0xffffff00);
  if (options.server) word(54, words(options.server)[3] as number);
  if (isReply && options.server) word(3, words(options.server)[3] as number);
  if (!isReply && options.given) word(50, words(options.given)[3] as number);
  if (options.hostName) parts.push(Buffer.of(12, options.hostName.length), Buffer.from(options.hostName, "latin1"));
  parts.push(Buffer.of(255));
  return Buffer.concat(parts);
}

/** A TLS 1.2-framed ClientHello that names a server (RFC 8446 §4.1.2, RFC 6066 §3). */
export function clientHello(serverName: string, random: Uint8Array): Buffer {
  const name = Buffer.from(serverName, "latin1");
  const sni = vector(2, Buffer.concat([Buffer.of(0), vector(2, name)]));
  const versions = vector(1, Buffer.of(3, 4, 3, 3));
  const extensions = Buffer.concat([
    extension(0, sni),
    extension(43, versions),
    extension(10, vector(2, Buffer.of(0, 0x1d))),
  ]);
  const hello = Buffer.concat([
    Buffer.of(3, 3),
    random.subarray(0, 32),
    Buffer.of(0),
    vector(2, Buffer.of(0x13, 1, 0x13, 2, 0xc0, 0x2f)),
    Buffer.of(1, 0),
    vector(2, extensions),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(hello.length);
  length[0] = 1;
  return Buffer.concat([Buffer.of(0x16, 3, 1), vector(2, Buffer.concat([length, hello]))]);
}

/** `size` bytes of a TLS application data record. */
export function applicationData(size: number): Buffer {
  const record = Buffer.alloc(Math.max(size, 5), 0xa5);
  record.set([0x17, 3, 3]);
  record.writeUInt16BE(record.length - 5, 3);
  return record;
}

function extension(number: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.of(number >>> 8, number & 255), vector(2, body)]);
}

function vector(lengthBytes: 1 | 2, body: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeUIntBE(body.length, 0, lengthBytes);
  return Buffer.concat([length, body]);
}

function withChecksum(source: string, destination: string, protocol: number, segment: Buffer, at: number): Buffer {
  let total = protocol + segment.length + sum(segment, 0, segment.length);
  for (const address of [words(source), words(destination)])
    for (const [index, word] of address.entries())
      // The mapped prefix of an IPv4 address is not on the wire.
      if (index === 3 || !isIPv4(address)) total += (word >>> 16) + (word & 0xffff);
  segment.writeUInt16BE(fold(total) || 0xffff, at);
  return segment;
}

/** The one's-complement sum of 16-bit words (RFC 1071), not yet folded. */
function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let at = from; at + 1 < to; at += 2) total += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  return (to - from) % 2 === 0 ? total : total + ((bytes[to - 1] as number) << 8);
}

function fold(total: number): number {
  while (total > 0xffff) total = Math.floor(total / 0x10000) + (total & 0xffff);
  return ~total & 0xffff;
}

const parsed = new Map<string, Uint32Array>();

function words(text: string): Uint32Array {
  let address = parsed.get(text);
  if (!address) {
    address = parseAddress(text);
    if (!address) throw new Error(`not an address: ${text}`);
    if (parsed.size > 10_000) parsed.clear();
    parsed.set(text, address);
  }
  return address;
}

function putMac(bytes: Buffer, at: number, text: string): void {
  const mac = parseMac(text);
  if (mac === undefined) throw new Error(`not a hardware address: ${text}`);
  bytes.writeUIntBE(mac, at, 6);
}

function putAddress(bytes: Buffer, at: number, text: string): void {
  for (const [index, word] of words(text).entries()) bytes.writeUInt32BE(word, at + 4 * index);
}

const EMPTY = new Uint8Array(0);
