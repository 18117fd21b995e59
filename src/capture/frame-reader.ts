/**
 * Frames of the LAN → observations: ARP's questions and claims, and what devices say of themselves. A file of its own, which
 * the gateway loads when frames come.
 */
import { macFromBytes, printAddress } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import type { Observation } from "../spin/observation.ts";
import { AnnouncementPort, Announcements } from "./announcements.ts";
import { arpSender, arpTarget } from "./decode/arp.ts";
import { decodeDhcp } from "./decode/dhcp.ts";
import { Fragment, IpProtocol, PacketKind, PacketView } from "./decode/packet.ts";
import { LinkType } from "./pcap-format.ts";

export interface FrameReaderOptions {
  readonly lan: {
    /** Whether the four words are an address of the home. */
    holds(words: ArrayLike<number>): boolean;
    isGateway(mac: number): boolean;
  };
  readonly clock: Clock;
  readonly emit: (observation: Observation) => void;
}

/**
 * How often it is told again that somebody holds an address: detection wants three claims of a minute. While two contend
 * for it, nearly each claim is told.
 */
const CLAIM_EVERY_MS = 5000;
const CONTENDED_EVERY_MS = 1000;
const CONTENDED_MS = 60_000;
const CLAIM_LIMIT = 4096;
const MULTICAST_BIT = 0x010000000000;

interface Claim {
  readonly mac: number;
  readonly told: number;
  readonly contendedUntil: number;
}

export class FrameReader {
  readonly #options: FrameReaderOptions;
  readonly #view = new PacketView();
  /** By IPv4 address as a word: who was told to hold it, and when; the oldest first. */
  readonly #claims = new Map<number, Claim>();
  readonly #announcements: Announcements;
  #undecoded = 0;

  constructor(options: FrameReaderOptions) {
    this.#options = options;
    this.#announcements = new Announcements(options.emit);
  }

  get decodeErrors(): number {
    return this.#undecoded + this.#announcements.decodeErrors;
  }

  /** Takes a frame that came in by the interface. */
  read(interfaceName: string, bytes: Buffer, start: number, end: number, originalLength: number): void {
    const view = this.#view;
    view.parse(bytes, start, end - start, originalLength, LinkType.Ethernet, 0);
    if (view.kind === PacketKind.Malformed) {
      this.#undecoded++;
      return;
    }
    const mac = macFromBytes(bytes, view.sourceMac);
    if (!this.#isDevice(mac)) return;
    const time = this.#options.clock.now();
    if (view.kind === PacketKind.Arp) this.#arp(interfaceName, time);
    else if (view.kind === PacketKind.Lldp) this.#announcements.lldp(bytes.subarray(view.network, end), mac, time);
    else if (view.protocol === IpProtocol.Udp && view.fragment !== Fragment.Later) this.#datagram(mac, time);
  }

  #datagram(mac: number, time: number): void {
    const view = this.#view;
    const start = view.transport + 8;
    if (view.transport < 0 || start >= view.networkEnd) return;
    const payload = view.bytes.subarray(start, view.networkEnd);
    if (view.destinationPort === AnnouncementPort.Mdns) this.#announcements.mdns(payload, view.addresses, mac, time);
    else if (view.destinationPort === AnnouncementPort.Dhcpv6) this.#announcements.dhcpv6(payload, mac, time);
    else if (view.destinationPort === AnnouncementPort.Dhcp) {
      // An extender puts its own address into the frame; whose lease it is stands in the message.
      const message = decodeDhcp(payload);
      if (!message) this.#undecoded++;
      else if (this.#isDevice(message.mac)) this.#announcements.dhcp(message, time);
    }
  }

  #arp(interfaceName: string, time: number): void {
    const view = this.#view;
    const mac = macFromBytes(view.bytes, view.network + 8);
    if (!this.#isDevice(mac)) return;
    const address = arpSender(view);
    if (address && this.#options.lan.holds(address) && this.#isNews(address[3] as number, mac, time))
      this.#options.emit({
        kind: "neighbour",
        time,
        mac,
        address: printAddress(address),
        interface: interfaceName,
        state: "frame",
      });
    const target = arpTarget(view);
    if (target) this.#options.emit({ kind: "who-has", time, mac, target: printAddress(target) });
  }

  #isNews(address: number, mac: number, time: number): boolean {
    const claim = this.#claims.get(address);
    const isOther = claim !== undefined && claim.mac !== mac;
    const contendedUntil = isOther ? time + CONTENDED_MS : (claim?.contendedUntil ?? 0);
    const every = time < contendedUntil ? CONTENDED_EVERY_MS : CLAIM_EVERY_MS;
    if (claim && !isOther && time - claim.told < every) return false;
    this.#claims.delete(address);
    this.#claims.set(address, { mac, told: time, contendedUntil });
    if (this.#claims.size > CLAIM_LIMIT) this.#claims.delete(this.#claims.keys().next().value as number);
    return true;
  }

  #isDevice(mac: number): boolean {
    return mac !== 0 && Math.floor(mac / MULTICAST_BIT) % 2 === 0 && !this.#options.lan.isGateway(mac);
  }
}
