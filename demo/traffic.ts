/** What devices of a home do on the network, as frames with times: joining, looking up, talking, streaming. */
import { PcapWriter } from "../src/capture/pcap-writer.ts";
import {
  BROADCAST,
  Flag,
  applicationData,
  arp,
  clientHello,
  dhcp,
  dnsAnswer,
  dnsQuestion,
  echo,
  ethernet,
  neighbour,
  routerAdvertisement,
  tcp,
  udp,
} from "./packets.ts";
import { randomFrom } from "./random.ts";

export interface Device {
  readonly name: string;
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
}

/** A service on the Internet; the names are the chain that its first name resolves through. */
export interface Service {
  readonly names: readonly string[];
  readonly ipv4: string;
  readonly ipv6?: string;
  readonly port: number;
}

export const GATEWAY: Device = {
  name: "gateway",
  mac: "02:00:00:00:00:FE",
  ipv4: "192.168.1.1",
  ipv6: "2001:db8:1::1",
};
const GATEWAY_LINK_LOCAL = "fe80::fe";
const SEGMENT = 1400;

/** How a transfer goes: bytes each way, over which time, and whether over IPv6. */
export interface Transfer {
  readonly up: number;
  readonly down: number;
  readonly lastsMs: number;
  readonly isIpv6?: boolean;
}

export class Traffic {
  readonly #frames: { time: number; order: number; frame: Uint8Array }[] = [];
  readonly #startMs: number;
  readonly random: () => number;
  #port = 40_000;

  constructor(startMs: number, seed: number) {
    this.#startMs = startMs;
    this.random = randomFrom(seed);
  }

  /** Adds a frame; `at` is milliseconds after the start. */
  put(at: number, frame: Uint8Array): void {
    this.#frames.push({ time: this.#startMs + at, order: this.#frames.length, frame });
  }

  /** The whole as a pcap file, in the order of time. */
  file(): Buffer {
    const writer = new PcapWriter();
    this.#frames.sort((a, b) => a.time - b.time || a.order - b.order);
    for (const { time, frame } of this.#frames) writer.write(time, frame);
    return Buffer.concat(writer.take());
  }

  /** The gateway tells of the home's IPv6 prefix. */
  advertise(at: number): void {
    const packet = routerAdvertisement(GATEWAY_LINK_LOCAL, GATEWAY.mac, "2001:db8:1::");
    this.put(at, ethernet(GATEWAY.mac, "33:33:00:00:00:01", packet));
  }

  /** A device comes to the network: DHCP, duplicate address detection, and who the gateway is. */
  join(at: number, device: Device): void {
    const { mac, ipv4, ipv6, name } = device;
    const transaction = Math.floor(this.random() * 0xffffffff);
    const asks = (type: number) =>
      ethernet(
        mac,
        BROADCAST,
        udp("0.0.0.0", "255.255.255.255", 68, 67, dhcp({ type, mac, transaction, hostName: name, given: ipv4 })),
      );
    const answers = (type: number) => {
      const message = dhcp({ type, mac, transaction, given: ipv4, server: GATEWAY.ipv4, leaseSeconds: 43_200 });
      return ethernet(GATEWAY.mac, mac, udp(GATEWAY.ipv4, ipv4, 67, 68, message));
    };
    this.put(at, asks(1));
    this.put(at + 3, answers(2));
    this.put(at + 5, asks(3));
    this.put(at + 8, answers(5));
    this.put(at + 20, ethernet(mac, BROADCAST, arp(1, mac, ipv4, "00:00:00:00:00:00", GATEWAY.ipv4)));
    this.put(at + 20.4, ethernet(GATEWAY.mac, mac, arp(2, GATEWAY.mac, GATEWAY.ipv4, mac, ipv4)));
    this.put(at + 30, ethernet(mac, "33:33:FF:00:00:01", neighbour(135, ipv6, "ff02::1:ff00:1", GATEWAY.ipv6, mac)));
    this.put(at + 30.4, ethernet(GATEWAY.mac, mac, neighbour(136, GATEWAY.ipv6, ipv6, GATEWAY.ipv6, GATEWAY.mac)));
  }

  /** Asks the gateway's resolver for both families; returns when the answers are there. */
  lookup(at: number, device: Device, service: Service): number {
    const { names, ipv4, ipv6 } = service;
    for (const [type, addresses] of [
      ["A", [ipv4]],
      ["AAAA", ipv6 === undefined ? [] : [ipv6]],
    ] as const) {
      const id = Math.floor(this.random() * 65_536);
      const port = this.#nextPort();
      const question = udp(device.ipv4, GATEWAY.ipv4, port, 53, dnsQuestion(id, names[0] as string, type));
      this.put(at, ethernet(device.mac, GATEWAY.mac, question));
      const answer = udp(GATEWAY.ipv4, device.ipv4, 53, port, dnsAnswer(id, names, type, addresses, 120));
      this.put(at + 12, ethernet(GATEWAY.mac, device.mac, answer));
    }
    return at + 14;
  }

  /** Looks the service up and has a TLS conversation with it. */
  visit(at: number, device: Device, service: Service, transfer: Transfer): void {
    const begin = this.lookup(at, device, service);
    const talk = this.#connect(begin, device, service, transfer.isIpv6 ?? false);
    talk.send(0, clientHello(service.names[0] as string, Buffer.alloc(32, Math.floor(this.random() * 256))));
    talk.receive(20, applicationData(SEGMENT));
    const rounds = Math.max(1, Math.ceil(Math.max(transfer.up, transfer.down) / SEGMENT));
    for (let i = 0; i < rounds; i++) {
      const due = 40 + (transfer.lastsMs * (i + this.random() * 0.5)) / rounds;
      const share = (bytes: number) => Math.floor(bytes / rounds);
      if (share(transfer.up) > 0) talk.send(due, applicationData(share(transfer.up)));
      if (share(transfer.down) > 0) talk.receive(due + 5, applicationData(share(transfer.down)));
      if (i % 2 === 1) talk.acknowledge(due + 6);
    }
    talk.close(60 + transfer.lastsMs);
  }

  /** A stream of datagrams each way, evenly over the time. */
  stream(at: number, device: Device, service: Service, transfer: Transfer, sizes: { up: number; down: number }): void {
    const begin = this.lookup(at, device, service);
    const port = this.#nextPort();
    const [near, far] = ends(device, service, transfer.isIpv6 ?? false);
    const send = (size: number) =>
      ethernet(device.mac, GATEWAY.mac, udp(near, far, port, service.port, Buffer.alloc(size, 0x5a)));
    const receive = (size: number) =>
      ethernet(GATEWAY.mac, device.mac, udp(far, near, service.port, port, Buffer.alloc(size, 0x5a)));
    const each = (bytes: number, size: number, make: (size: number) => Uint8Array) => {
      const count = size === 0 ? 0 : Math.ceil(bytes / size);
      for (let i = 0; i < count; i++)
        this.put(begin + (transfer.lastsMs * (i + this.random() * 0.3)) / count, make(size));
    };
    each(transfer.up, sizes.up, send);
    each(transfer.down, sizes.down, receive);
  }

  /** A long-lived connection with a small message each way now and then, as MQTT's pings. */
  keepAlive(at: number, device: Device, service: Service, everyMs: number, untilMs: number): void {
    const begin = this.lookup(at, device, service);
    const talk = this.#connect(begin, device, service, false);
    talk.send(0, clientHello(service.names[0] as string, Buffer.alloc(32, 7)));
    talk.receive(20, applicationData(900));
    for (let due = everyMs; begin + due < untilMs; due += everyMs * (0.9 + this.random() * 0.2)) {
      talk.send(due, applicationData(60));
      talk.receive(due + 25, applicationData(45));
      talk.acknowledge(due + 26);
    }
  }

  /** A service announced to the home by multicast DNS. */
  announce(at: number, device: Device, service: string): void {
    const message = dnsAnswer(0, [service, `${device.name}.local`], "A", [device.ipv4], 120);
    this.put(at, ethernet(device.mac, "01:00:5E:00:00:FB", udp(device.ipv4, "224.0.0.251", 5353, 5353, message)));
    this.put(at + 1, ethernet(device.mac, "33:33:00:00:00:FB", udp(device.ipv6, "ff02::fb", 5353, 5353, message)));
  }

  /** Asks for the time. */
  askTime(at: number, device: Device, service: Service): void {
    this.stream(at, device, service, { up: 48, down: 48, lastsMs: 20 }, { up: 48, down: 48 });
  }

  ping(at: number, device: Device, address: string): void {
    const isIpv6 = address.includes(":");
    const near = isIpv6 ? device.ipv6 : device.ipv4;
    this.put(at, ethernet(device.mac, GATEWAY.mac, echo(near, address, false, 77, at)));
    this.put(at + 11, ethernet(GATEWAY.mac, device.mac, echo(address, near, true, 77, at)));
  }

  /** Knocks at a port: refused, or silence. */
  knock(at: number, device: Device, address: string, port: number, isRefused: boolean): void {
    const sourcePort = this.#nextPort();
    const knock = tcp(device.ipv4, address, { sourcePort, destinationPort: port, flags: Flag.Syn, sequence: 0x1337 });
    this.put(at, ethernet(device.mac, GATEWAY.mac, knock));
    if (!isRefused) return;
    const refusal = tcp(address, device.ipv4, {
      sourcePort: port,
      destinationPort: sourcePort,
      flags: Flag.Rst | Flag.Ack,
      acknowledgment: 0x1338,
    });
    this.put(at + 30, ethernet(GATEWAY.mac, device.mac, refusal));
  }

  /** Asks who has an address of the home. */
  probe(at: number, device: Device, address: string): void {
    this.put(at, ethernet(device.mac, BROADCAST, arp(1, device.mac, device.ipv4, "00:00:00:00:00:00", address)));
  }

  #connect(begin: number, device: Device, service: Service, isIpv6: boolean) {
    const [near, far] = ends(device, service, isIpv6);
    const ports = { near: this.#nextPort(), far: service.port };
    let [sent, received] = [Math.floor(this.random() * 1e9), Math.floor(this.random() * 1e9)];
    const out = (after: number, flags: number, payload?: Uint8Array) => {
      const segment = tcp(near, far, {
        sourcePort: ports.near,
        destinationPort: ports.far,
        flags,
        sequence: sent,
        acknowledgment: received,
        ...(payload ? { payload } : {}),
      });
      this.put(begin + after, ethernet(device.mac, GATEWAY.mac, segment));
      sent += (payload?.length ?? 0) + (flags & (Flag.Syn | Flag.Fin) ? 1 : 0);
    };
    const back = (after: number, flags: number, payload?: Uint8Array) => {
      const segment = tcp(far, near, {
        sourcePort: ports.far,
        destinationPort: ports.near,
        flags,
        sequence: received,
        acknowledgment: sent,
        ...(payload ? { payload } : {}),
      });
      this.put(begin + after, ethernet(GATEWAY.mac, device.mac, segment));
      received += (payload?.length ?? 0) + (flags & (Flag.Syn | Flag.Fin) ? 1 : 0);
    };
    out(-0.3, Flag.Syn);
    back(-0.2, Flag.Syn | Flag.Ack);
    out(-0.1, Flag.Ack);
    return {
      send: (after: number, payload: Uint8Array) => out(after, Flag.Ack | Flag.Psh, payload),
      receive: (after: number, payload: Uint8Array) => back(after, Flag.Ack | Flag.Psh, payload),
      acknowledge: (after: number) => out(after, Flag.Ack),
      close: (after: number) => {
        out(after, Flag.Fin | Flag.Ack);
        back(after + 10, Flag.Fin | Flag.Ack);
        out(after + 11, Flag.Ack);
      },
    };
  }

  #nextPort(): number {
    this.#port = this.#port >= 60_000 ? 40_000 : this.#port + 1;
    return this.#port;
  }
}

function ends(device: Device, service: Service, isIpv6: boolean): [string, string] {
  return isIpv6 && service.ipv6 !== undefined ? [device.ipv6, service.ipv6] : [device.ipv4, service.ipv4];
}
