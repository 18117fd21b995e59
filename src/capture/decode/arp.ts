/** ARP of IPv4 over Ethernet (RFC 826, RFC 5227), as a `PacketView` shows it. */
import { word, type PacketView } from "./packet.ts";

/** The sender's address of an Ethernet/IPv4 ARP packet; `undefined` for others and for probes. */
export function arpSender(view: PacketView): Uint32Array | undefined {
  const { bytes, network } = view;
  const isEthernetIPv4 = word(bytes, network) === 0x00010800 && word(bytes, network + 4) >>> 16 === 0x0604;
  const address = word(bytes, network + 14);
  return isEthernetIPv4 && address !== 0 ? Uint32Array.of(0, 0, 0xffff, address >>> 0) : undefined;
}

/** Whom an Ethernet/IPv4 ARP request asks for; `undefined` for others, and where it announces the sender itself. */
export function arpTarget(view: PacketView): Uint32Array | undefined {
  const { bytes, network } = view;
  const isRequest = word(bytes, network) === 0x00010800 && word(bytes, network + 4) === 0x06040001;
  const target = word(bytes, network + 24);
  return isRequest && target !== word(bytes, network + 14) ? Uint32Array.of(0, 0, 0xffff, target >>> 0) : undefined;
}
