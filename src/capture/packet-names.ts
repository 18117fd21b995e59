/**
 * What packets say of names: DNS questions and answers of home devices, over UDP and TCP, servers' names in TLS and QUIC,
 * DHCPv4 leases with the names that clients give themselves, and what devices announce. Streams and names are bounded.
 */
import { macFromBytes, printAddress } from "../lib/address.ts";
import type { Observation } from "../spin/observation.ts";
import { AnnouncementPort, Announcements } from "./announcements.ts";
import type { DhcpMessage } from "./decode/dhcp.ts";
import { DhcpType, decodeDhcp } from "./decode/dhcp.ts";
import { decodeDns } from "./decode/dns.ts";
import type { PacketView } from "./decode/packet.ts";
import { TcpFlag, word } from "./decode/packet.ts";
import type { HomeNetwork } from "./pcap-home.ts";
import { mayName, ServerNames } from "./server-names.ts";

const STREAM_LIMIT = 64;
const HOST_NAME_LIMIT = 1024;
const MESSAGE_LIMIT = 65_535;

interface Stream {
  /** Sequence number of the next byte. */
  next: number;
  pending: Uint8Array;
}

export class PacketNames {
  readonly #home: HomeNetwork;
  readonly #emit: (observation: Observation) => void;
  /** By slot of the flow and direction. */
  readonly #streams = new Map<number, Stream>();
  readonly #hostNames = new Map<number, string>();
  readonly #announcements: Announcements;
  readonly #servers: ServerNames;
  #now = 0;
  #errors = 0;

  constructor(home: HomeNetwork, emit: (observation: Observation) => void) {
    this.#home = home;
    this.#emit = emit;
    this.#announcements = new Announcements(emit);
    this.#servers = new ServerNames((name) => emit({ kind: "server-name", time: this.#now, ...name }), false);
  }

  get decodeErrors(): number {
    return this.#errors + this.#announcements.decodeErrors + this.#servers.decodeErrors;
  }

  /** A UDP packet from or to port 53. */
  dnsUdp(view: PacketView, time: number): void {
    const start = view.transport + 8;
    if (view.transport >= 0 && start < view.networkEnd)
      this.#message(view, view.bytes.subarray(start, view.networkEnd), time);
  }

  /** A whole UDP payload that came in fragments; `view` is of one of them. */
  dnsPayload(view: PacketView, payload: Uint8Array, time: number): void {
    this.#message(view, payload, time);
  }

  /** A TCP packet from or to port 53; the messages in it carry two bytes of length (RFC 1035 §4.2.2). */
  dnsTcp(view: PacketView, slot: number, reversed: boolean, time: number): void {
    const { bytes, transport } = view;
    if (transport < 0 || transport + 20 > view.networkEnd) return;
    const key = slot * 2 + (reversed ? 1 : 0);
    const sequence = word(bytes, transport + 4) >>> 0;
    if ((view.tcpFlags & TcpFlag.Syn) !== 0) {
      if (this.#streams.size < STREAM_LIMIT) this.#streams.set(key, { next: (sequence + 1) >>> 0, pending: EMPTY });
      return;
    }
    const start = transport + ((bytes[transport + 12] as number) >>> 4) * 4;
    if (start < view.networkEnd) this.#segment(view, key, sequence, bytes.subarray(start, view.networkEnd), time);
    if ((view.tcpFlags & (TcpFlag.Fin | TcpFlag.Rst)) !== 0) this.#streams.delete(key);
  }

  /** One of the first packets that who began a flow sent: it may name the server. */
  first(view: PacketView, time: number): void {
    if (!mayName(view.protocol, view.destinationPort) || !this.#home.isLan(view.addresses, 0)) return;
    const mac = view.sourceMac < 0 ? undefined : macFromBytes(view.bytes, view.sourceMac);
    if (mac === undefined ? this.#home.isGatewayAddress(view.addresses, 0) : this.#home.isGateway(mac)) return;
    this.#now = time;
    this.#servers.packet(view, mac, time);
  }

  /** The flow is gone, its slot may be another's. */
  forget(slot: number): void {
    if (this.#streams.size === 0) return;
    this.#streams.delete(slot * 2);
    this.#streams.delete(slot * 2 + 1);
  }

  /** A UDP packet between ports 67 and 68. */
  dhcp(view: PacketView, time: number): void {
    const start = view.transport + 8;
    if (view.transport < 0 || start >= view.networkEnd) return;
    const message = decodeDhcp(view.bytes.subarray(start, view.networkEnd));
    if (message === undefined) this.#errors++;
    else {
      this.#lease(message, time);
      if (!this.#home.isGateway(message.mac)) this.#announcements.dhcp(message, time);
    }
  }

  /** A UDP packet to port 547 or 5353 from a home device. */
  announcement(view: PacketView, time: number): void {
    const start = view.transport + 8;
    const mac = this.#sender(view);
    if (mac === 0 || view.transport < 0 || start >= view.networkEnd) return;
    const payload = view.bytes.subarray(start, view.networkEnd);
    if (view.destinationPort === AnnouncementPort.Dhcpv6) this.#announcements.dhcpv6(payload, mac, time);
    else this.#announcements.mdns(payload, view.addresses, mac, time);
  }

  /** An LLDP frame. */
  lldp(view: PacketView, time: number): void {
    const mac = this.#sender(view);
    if (mac !== 0) this.#announcements.lldp(view.bytes.subarray(view.network, view.end), mac, time);
  }

  /** The hardware address of the home device that sent the frame; 0 if none did, or the link layer does not say. */
  #sender({ bytes, sourceMac }: PacketView): number {
    const mac = sourceMac < 0 ? 0 : macFromBytes(bytes, sourceMac);
    return this.#home.isGateway(mac) ? 0 : mac;
  }

  #segment(view: PacketView, key: number, sequence: number, data: Uint8Array, time: number): void {
    let stream = this.#streams.get(key);
    if (!stream) {
      // The connection began before the capture: a segment is taken to begin with a message.
      if (this.#streams.size >= STREAM_LIMIT) return;
      stream = { next: sequence, pending: EMPTY };
      this.#streams.set(key, stream);
    }
    const behind = (stream.next - sequence) | 0;
    if (behind < 0) {
      // Bytes are missing: where the next message begins is no longer known.
      this.#streams.delete(key);
      return;
    }
    if (behind >= data.length) return;
    const fresh = data.subarray(behind);
    stream.next = (stream.next + fresh.length) >>> 0;
    let bytes = stream.pending.length === 0 ? fresh : Buffer.concat([stream.pending, fresh]);
    while (bytes.length >= 2) {
      const length = ((bytes[0] as number) << 8) | (bytes[1] as number);
      if (bytes.length < 2 + length) break;
      this.#message(view, bytes.subarray(2, 2 + length), time);
      bytes = bytes.subarray(2 + length);
    }
    // A copy, because the window goes away.
    stream.pending = bytes.length === 0 ? EMPTY : Uint8Array.from(bytes.subarray(0, MESSAGE_LIMIT + 2));
  }

  #message(view: PacketView, bytes: Uint8Array, time: number): void {
    const message = decodeDns(bytes);
    if (message === undefined) {
      this.#errors++;
      return;
    }
    const at = message.response ? 4 : 0;
    if (!this.#home.isLan(view.addresses, at)) return;
    const macAt = message.response ? view.destinationMac : view.sourceMac;
    const mac = macAt < 0 ? undefined : macFromBytes(view.bytes, macAt);
    // The gateway's own resolver asks for everybody; whom it asks for was told already.
    if (mac !== undefined && this.#home.isGateway(mac)) return;
    if (mac === undefined && this.#home.isGatewayAddress(view.addresses, at)) return;
    const client = printAddress(view.addresses, at);
    const common = mac === undefined ? { time, client } : { time, client, mac };
    if (message.response) {
      const { names, type, rcode, addresses } = message;
      this.#emit({ kind: "answer", ...common, names, type, rcode, addresses });
    } else this.#emit({ kind: "query", ...common, name: message.name, type: message.type });
  }

  #lease(message: DhcpMessage, time: number): void {
    const { type, mac, given, held } = message;
    if (type === DhcpType.Discover || type === DhcpType.Request || type === DhcpType.Inform) {
      if (message.hostName !== "" && (this.#hostNames.has(mac) || this.#hostNames.size < HOST_NAME_LIMIT))
        this.#hostNames.set(mac, message.hostName);
    } else if (type === DhcpType.Ack && given !== "") {
      // An Ack that gives nothing answers an Inform: the address is no lease.
      const hostName = this.#hostNames.get(mac) ?? message.hostName;
      this.#emit({
        kind: "lease",
        time,
        mac,
        address: given,
        ...(hostName === "" ? {} : { hostName }),
        ...(message.leaseSeconds === undefined ? {} : { expires: time + message.leaseSeconds * 1000 }),
      });
    } else if (type === DhcpType.Release && held !== "")
      this.#emit({ kind: "lease", time, mac, address: held, ended: true });
  }
}

const EMPTY = new Uint8Array(0);
