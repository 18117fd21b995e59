/**
 * Generates a home's traffic as a capture, from a seed: devices that look up names and talk to peers over TCP, UDP and
 * ICMP, in both families, with heavy-tailed sizes. It keeps its own books of what it sent, for tests to compare with.
 */
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { Flag, arp, dnsAnswer, dnsQuestion, echo, ethernet, neighbour, tcp, udp } from "../../demo/packets.ts";
import { randomFrom } from "../../demo/random.ts";
import { PcapWriter } from "../../src/capture/pcap-writer.ts";
import { printMac } from "../../src/lib/address.ts";

export interface GenerateOptions {
  readonly packets: number;
  readonly devices?: number;
  readonly peers?: number;
  readonly seed?: number;
  /** Of the flows. */
  readonly ipv6Share?: number;
  readonly startMs?: number;
  readonly durationMs?: number;
}

/** What the generator sent, of one device. */
export interface DeviceBooks {
  readonly mac: string;
  readonly ipv4: string;
  readonly ipv6: string;
  bytesSent: number;
  bytesReceived: number;
  packetsSent: number;
  packetsReceived: number;
  localBytesSent: number;
  localBytesReceived: number;
  queries: number;
}

export interface Books {
  readonly devices: DeviceBooks[];
  packets: number;
  ipPackets: number;
  ipBytes: number;
  flows: number;
}

export const GATEWAY_MAC = "02:00:00:00:00:FE";
const GATEWAY_IPV4 = "192.168.1.1";
const GATEWAY_IPV6 = "2001:db8:1::1";
const SERVICES = 12;
const TTL_MS = 300_000;
const START_MS = Date.UTC(2026, 0, 15, 18, 0, 0);

interface Peer {
  readonly name: string;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly tcpPort: number;
  readonly udpPort: number;
}

/** One conversation that goes on: the next packet of it is made when its time comes. */
interface Conversation {
  time: number;
  readonly device: DeviceBooks;
  readonly peer: Peer;
  readonly isIpv6: boolean;
  readonly kind: "tcp" | "udp" | "icmp";
  readonly port: number;
  readonly peerPort: number;
  step: number;
  readonly steps: number;
  readonly isUpload: boolean;
  sent: number;
  received: number;
}

/** The frames in order of time. `books` is complete when the iteration is. */
export function* generateFrames(options: GenerateOptions, books: Books): Generator<{ time: number; frame: Buffer }> {
  const { packets, devices = 60, peers = 300, seed = 1, ipv6Share = 0.25 } = options;
  const { startMs = START_MS, durationMs = Math.max(10_000, packets * 0.6) } = options;
  const random = randomFrom(seed);
  const pick = <T>(from: readonly T[]) => from[Math.floor(random() * from.length)] as T;
  for (let i = 0; i < devices; i++)
    books.devices.push({
      mac: printMac(0x02_00_00_00_01_00 + i),
      ipv4: `192.168.1.${10 + i}`,
      ipv6: `2001:db8:1::${(0x100 + i).toString(16)}`,
      bytesSent: 0,
      bytesReceived: 0,
      packetsSent: 0,
      packetsReceived: 0,
      localBytesSent: 0,
      localBytesReceived: 0,
      queries: 0,
    });
  const names: Peer[] = Array.from({ length: peers }, (_, i) => ({
    name: `host-${i}.service-${i % 40}.example`,
    ipv4: i % 3 === 0 ? `198.51.100.${i % 250}` : i % 3 === 1 ? `203.0.113.${i % 250}` : `198.18.${i % 100}.${i % 250}`,
    ipv6: `2001:db8:${(0x100 + (i % 60)).toString(16)}::${(i + 1).toString(16)}`,
    tcpPort: [443, 443, 443, 80, 8883][i % 5] as number,
    udpPort: [443, 443, 123, 3478][i % 4] as number,
  }));
  const heap = new Heap();
  /** Mean packets of a flow; the figure makes 1,000,000 packets some 21,000 flows. */
  const meanSteps = 47;
  const gapMs = durationMs / Math.max(1, packets / meanSteps);
  let nextFlowAt = startMs;
  let nextAnnounce = startMs;
  let announced = 0;
  /** When a device last asked for a name: its answer lasts TTL_MS. */
  const asked = new Map<string, number>();
  // A device has its few services, and now and then goes elsewhere.
  const services = books.devices.map(() => Array.from({ length: SERVICES }, () => pick(names)));

  const out = (time: number, frame: Buffer, ipLength: number) => {
    books.packets++;
    if (ipLength > 0) {
      books.ipPackets++;
      books.ipBytes += ipLength;
    }
    return { time, frame };
  };
  const toPeer = (device: DeviceBooks, packet: Buffer) => {
    device.bytesSent += packet.length;
    device.packetsSent++;
    return ethernet(device.mac, GATEWAY_MAC, packet);
  };
  const fromPeer = (device: DeviceBooks, packet: Buffer) => {
    device.bytesReceived += packet.length;
    device.packetsReceived++;
    return ethernet(GATEWAY_MAC, device.mac, packet);
  };

  while (books.packets < packets) {
    const first = heap.peek();
    if (announced < devices && (first === undefined || nextAnnounce <= first.time)) {
      // Each device shows itself before it talks: ARP, and neighbour discovery.
      const device = books.devices[announced++] as DeviceBooks;
      yield out(
        nextAnnounce,
        ethernet(device.mac, "FF:FF:FF:FF:FF:FF", arp(1, device.mac, device.ipv4, "00:00:00:00:00:00", GATEWAY_IPV4)),
        0,
      );
      if (books.packets === packets) return;
      const solicitation = neighbour(135, device.ipv6, "ff02::1:ff00:1", GATEWAY_IPV6, device.mac);
      // Neighbour discovery belongs to no flow.
      yield out(nextAnnounce + 0.2, ethernet(device.mac, "33:33:FF:00:00:01", solicitation), 0);
      nextAnnounce += 20;
      continue;
    }
    if (first === undefined || nextFlowAt <= first.time) {
      const chosen = Math.floor(random() * devices);
      const device = books.devices[chosen] as DeviceBooks;
      const peer = random() < 0.95 ? pick(services[chosen] as Peer[]) : pick(names);
      const isIpv6 = random() < ipv6Share;
      const chance = random();
      const kind = chance < 0.72 ? "tcp" : chance < 0.97 ? "udp" : "icmp";
      let begin = nextFlowAt;
      const knows = `${device.mac} ${peer.name} ${isIpv6}`;
      if (begin - (asked.get(knows) ?? -Infinity) > TTL_MS) {
        asked.set(knows, begin);
        // Looked up at the gateway's resolver, over IPv4.
        const id = Math.floor(random() * 65_536);
        const port = 20_000 + Math.floor(random() * 40_000);
        const type = isIpv6 ? "AAAA" : "A";
        const question = udp(device.ipv4, GATEWAY_IPV4, port, 53, dnsQuestion(id, peer.name, type));
        device.queries++;
        device.localBytesSent += question.length;
        books.flows++;
        yield out(begin, ethernet(device.mac, GATEWAY_MAC, question), question.length);
        if (books.packets === packets) return;
        const chain = [peer.name, `edge-${peer.name}`];
        const answer = udp(
          GATEWAY_IPV4,
          device.ipv4,
          53,
          port,
          dnsAnswer(id, chain, type, [isIpv6 ? peer.ipv6 : peer.ipv4], TTL_MS / 1000),
        );
        device.localBytesReceived += answer.length;
        yield out(begin + 0.05, ethernet(GATEWAY_MAC, device.mac, answer), answer.length);
        begin += 0.1;
      }
      books.flows++;
      // Pareto with α = 1.2, cut off: most conversations are short, a few carry most of the bytes.
      const steps = Math.min(2000, Math.max(kind === "icmp" ? 2 : 6, Math.round(8 / random() ** (1 / 1.2))));
      heap.push({
        time: begin,
        device,
        peer,
        isIpv6,
        kind,
        port: 20_000 + Math.floor(random() * 40_000),
        peerPort: kind === "tcp" ? peer.tcpPort : peer.udpPort,
        step: 0,
        steps: kind === "icmp" ? Math.min(steps, 10) & ~1 : steps,
        isUpload: random() < 0.15,
        sent: 1,
        received: 1,
      });
      nextFlowAt += gapMs * (0.5 + random());
      continue;
    }
    const talk = heap.pop() as Conversation;
    const { packet, isSent } = nextPacket(talk, random);
    const frame = isSent ? toPeer(talk.device, packet) : fromPeer(talk.device, packet);
    yield out(talk.time, frame, packet.length);
    talk.step++;
    talk.time += talk.step % 10 === 0 ? 20 + random() * 200 : 0.05 + random();
    if (talk.step < talk.steps) heap.push(talk);
  }
}

/** Writes a generated capture to a file. */
export async function generateCapture(path: string, options: GenerateOptions): Promise<Books> {
  const books = emptyBooks();
  const writer = new PcapWriter();
  const file = createWriteStream(path);
  for (const { time, frame } of generateFrames(options, books)) {
    writer.write(time, frame);
    if (writer.packets % 2000 === 0)
      for (const chunk of writer.take()) if (!file.write(chunk)) await once(file, "drain");
  }
  for (const chunk of writer.take()) file.write(chunk);
  file.end();
  await once(file, "close");
  return books;
}

/** A generated capture in memory. */
export function generateBytes(options: GenerateOptions): { bytes: Buffer; books: Books } {
  const books = emptyBooks();
  const writer = new PcapWriter();
  for (const { time, frame } of generateFrames(options, books)) writer.write(time, frame);
  return { bytes: Buffer.concat(writer.take()), books };
}

export function emptyBooks(): Books {
  return { devices: [], packets: 0, ipPackets: 0, ipBytes: 0, flows: 0 };
}

function nextPacket(talk: Conversation, random: () => number): { packet: Buffer; isSent: boolean } {
  const near = talk.isIpv6 ? talk.device.ipv6 : talk.device.ipv4;
  const far = talk.isIpv6 ? talk.peer.ipv6 : talk.peer.ipv4;
  const { step, steps } = talk;
  if (talk.kind === "icmp") {
    const isSent = step % 2 === 0;
    return { packet: echo(isSent ? near : far, isSent ? far : near, !isSent, talk.port, step >> 1), isSent };
  }
  // Bulk goes one way, every third packet the other; TCP is framed by handshake and close.
  const isBulk = step % 3 !== 0;
  let isSent = isBulk === talk.isUpload;
  let size = isBulk ? (random() < 0.3 ? 1200 : Math.floor(random() * 900)) : Math.floor(random() * 40);
  if (talk.kind === "udp") {
    if (step === 0) isSent = true;
    const [from, to] = isSent ? [near, far] : [far, near];
    const [sourcePort, destinationPort] = isSent ? [talk.port, talk.peerPort] : [talk.peerPort, talk.port];
    return { packet: udp(from, to, sourcePort, destinationPort, FILLER.subarray(0, size)), isSent };
  }
  let flags = Flag.Ack | (size > 0 ? Flag.Psh : 0);
  if (step === 0) [isSent, flags, size] = [true, Flag.Syn, 0];
  else if (step === 1) [isSent, flags, size] = [false, Flag.Syn | Flag.Ack, 0];
  else if (step === 2) [isSent, flags, size] = [true, Flag.Ack, 0];
  else if (step === steps - 3) [isSent, flags, size] = [true, Flag.Fin | Flag.Ack, 0];
  else if (step === steps - 2) [isSent, flags, size] = [false, Flag.Fin | Flag.Ack, 0];
  else if (step === steps - 1) [isSent, flags, size] = [true, Flag.Ack, 0];
  const [from, to] = isSent ? [near, far] : [far, near];
  const [sourcePort, destinationPort] = isSent ? [talk.port, talk.peerPort] : [talk.peerPort, talk.port];
  const [sequence, acknowledgment] = isSent ? [talk.sent, talk.received] : [talk.received, talk.sent];
  const advance = size + (flags & (Flag.Syn | Flag.Fin) ? 1 : 0);
  if (isSent) talk.sent += advance;
  else talk.received += advance;
  const payload = FILLER.subarray(0, size);
  return { packet: tcp(from, to, { sourcePort, destinationPort, flags, sequence, acknowledgment, payload }), isSent };
}

const FILLER = Buffer.from(Array.from({ length: 1400 }, (_, i) => (i * 37) & 255));

/** Conversations by the time of their next packet. */
class Heap {
  readonly #items: Conversation[] = [];

  peek(): Conversation | undefined {
    return this.#items[0];
  }

  push(item: Conversation): void {
    const items = this.#items;
    let at = items.push(item) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((items[parent] as Conversation).time <= item.time) break;
      items[at] = items[parent] as Conversation;
      at = parent;
    }
    items[at] = item;
  }

  pop(): Conversation | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (items.length === 0 || last === undefined) return top;
    let at = 0;
    for (;;) {
      let child = at * 2 + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && (items[child + 1] as Conversation).time < (items[child] as Conversation).time)
        child++;
      if ((items[child] as Conversation).time >= last.time) break;
      items[at] = items[child] as Conversation;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
