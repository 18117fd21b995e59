/**
 * Deleting conntrack entries (linux/netfilter/nfnetlink_conntrack.h). The rows of events and dumps are decoded in
 * src/capture/conntrack-rows.ts, straight into the columns that the capture hands on.
 */
import { attributeEnd, eachMessage, Family, findAttribute, MessageFlag, MessageWriter, u32be } from "./messages.ts";
import { addressField, portField, protocolField } from "./nftables-messages.ts";

export const ConntrackMessage = { New: 0x100, Get: 0x101, Delete: 0x102 } as const;
/** enum ctattr_type, ctattr_tuple, ctattr_ip, ctattr_l4proto, ctattr_counters, ctattr_timestamp */
export const CT = {
  Original: 1,
  Reply: 2,
  Status: 3,
  CountersOriginal: 9,
  CountersReply: 10,
  Id: 12,
  Zone: 18,
  Timestamp: 20,
} as const;
export const TUPLE = { Ip: 1, Protocol: 2 } as const;
export const IP = { Source4: 1, Destination4: 2, Source6: 3, Destination6: 4 } as const;
export const PROTOCOL = {
  Number: 1,
  SourcePort: 2,
  DestinationPort: 3,
  IcmpId: 4,
  IcmpType: 5,
  IcmpCode: 6,
  Icmp6Id: 7,
  Icmp6Type: 8,
  Icmp6Code: 9,
} as const;

/** An entry's original direction. Addresses are four words each; for ICMP the ports are type·256 + code and the identifier. */
export interface ConntrackTuple {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly source: ArrayLike<number>;
  readonly destination: ArrayLike<number>;
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** The kernel's id of the entry; a newer entry with the same tuple is then left alone. */
  readonly id?: number;
}

/**
 * Sees 16 words (src, dst, reply src, reply dst), the protocol, and the original direction's source and destination port
 * (0 where the protocol has none); says whether the entry is to go.
 */
export type TupleTest = (addresses: Uint32Array, protocol: number, ports: Uint16Array) => boolean;

const ICMP = 1;
const ICMPV6 = 58;

/** The message that deletes the entry with this tuple. */
export function deleteTuple(tuple: ConntrackTuple): Uint8Array {
  const { family, protocol, source, destination, sourcePort, destinationPort, id } = tuple;
  const writer = beginDelete(family === 4 ? Family.IPv4 : Family.IPv6);
  writer.nest(CT.Original, () => {
    writer.nest(TUPLE.Ip, () => {
      writer.bytes(family === 4 ? IP.Source4 : IP.Source6, addressField(source, family));
      writer.bytes(family === 4 ? IP.Destination4 : IP.Destination6, addressField(destination, family));
    });
    writer.nest(TUPLE.Protocol, () => {
      writer.bytes(PROTOCOL.Number, protocolField(protocol));
      if (protocol === ICMP || protocol === ICMPV6) {
        const [idType, typeType, codeType] =
          protocol === ICMP
            ? [PROTOCOL.IcmpId, PROTOCOL.IcmpType, PROTOCOL.IcmpCode]
            : [PROTOCOL.Icmp6Id, PROTOCOL.Icmp6Type, PROTOCOL.Icmp6Code];
        writer.bytes(idType, portField(destinationPort));
        writer.bytes(typeType, Uint8Array.of(sourcePort >>> 8));
        writer.bytes(codeType, Uint8Array.of(sourcePort & 255));
      } else {
        writer.bytes(PROTOCOL.SourcePort, portField(sourcePort));
        writer.bytes(PROTOCOL.DestinationPort, portField(destinationPort));
      }
    });
  });
  if (id !== undefined) writer.u32(CT.Id, id);
  return writer.message();
}

/** A handler of dumped messages that appends to `messages` a delete for each entry the test accepts. */
export function deleteMatching(
  test: TupleTest,
  messages: Uint8Array[],
): (bytes: Uint8Array, start: number, end: number) => void {
  const addresses = new Uint32Array(16);
  const ports = new Uint16Array(2);
  return (bytes, start, end) =>
    eachMessage(bytes, start, end, (type, _flags, bodyStart, bodyEnd) => {
      if (type !== ConntrackMessage.New) return;
      const attributes = bodyStart + 4;
      const original = findAttribute(bytes, attributes, bodyEnd, CT.Original);
      const reply = findAttribute(bytes, attributes, bodyEnd, CT.Reply);
      const id = findAttribute(bytes, attributes, bodyEnd, CT.Id);
      if (original < 0 || reply < 0) return;
      const protocol = readTuple(bytes, original, attributeEnd(bytes, original), addresses, 0);
      readTuple(bytes, reply, attributeEnd(bytes, reply), addresses, 8);
      readPorts(bytes, original, attributeEnd(bytes, original), ports);
      if (protocol < 0 || !test(addresses, protocol, ports)) return;
      // The kernel's own tuple goes back as it came.
      const writer = beginDelete(bytes[bodyStart] as number);
      writer.bytes(CT.Original | 0x8000, bytes.subarray(original, attributeEnd(bytes, original)));
      if (id >= 0) writer.u32(CT.Id, u32be(bytes, id));
      const zone = findAttribute(bytes, attributes, bodyEnd, CT.Zone);
      if (zone >= 0) writer.bytes(CT.Zone, bytes.subarray(zone, attributeEnd(bytes, zone)));
      messages.push(writer.message());
    });
}

/** Reads a tuple's two addresses into eight words at `at`; the protocol, or -1 if it is not whole. */
export function readTuple(bytes: Uint8Array, start: number, end: number, addresses: Uint32Array, at: number): number {
  const ip = findAttribute(bytes, start, end, TUPLE.Ip);
  const protocol = findAttribute(bytes, start, end, TUPLE.Protocol);
  if (ip < 0 || protocol < 0) return -1;
  const ipEnd = attributeEnd(bytes, ip);
  const number = findAttribute(bytes, protocol, attributeEnd(bytes, protocol), PROTOCOL.Number);
  if (number < 0 || !readAddresses(bytes, ip, ipEnd, addresses, at)) return -1;
  return bytes[number] as number;
}

function readPorts(bytes: Uint8Array, start: number, end: number, ports: Uint16Array): void {
  const protocol = findAttribute(bytes, start, end, TUPLE.Protocol);
  const port = (type: number) => {
    const at = protocol < 0 ? -1 : findAttribute(bytes, protocol, attributeEnd(bytes, protocol), type);
    return at < 0 ? 0 : ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  };
  ports[0] = port(PROTOCOL.SourcePort);
  ports[1] = port(PROTOCOL.DestinationPort);
}

function readAddresses(bytes: Uint8Array, start: number, end: number, addresses: Uint32Array, at: number): boolean {
  const source4 = findAttribute(bytes, start, end, IP.Source4);
  const width = source4 >= 0 ? 4 : 16;
  const source = source4 >= 0 ? source4 : findAttribute(bytes, start, end, IP.Source6);
  const destination = findAttribute(bytes, start, end, source4 >= 0 ? IP.Destination4 : IP.Destination6);
  if (source < 0 || destination < 0) return false;
  if (attributeEnd(bytes, source) - source !== width || attributeEnd(bytes, destination) - destination !== width)
    return false;
  putAddress(bytes, source, width, addresses, at);
  putAddress(bytes, destination, width, addresses, at + 4);
  return true;
}

function putAddress(bytes: Uint8Array, from: number, width: number, addresses: Uint32Array, at: number): void {
  if (width === 4) {
    addresses[at] = addresses[at + 1] = 0;
    addresses[at + 2] = 0xffff;
    addresses[at + 3] = u32be(bytes, from);
  } else for (let i = 0; i < 4; i++) addresses[at + i] = u32be(bytes, from + 4 * i);
}

function beginDelete(family: number): MessageWriter {
  return new MessageWriter().begin(ConntrackMessage.Delete, MessageFlag.Request, family);
}
