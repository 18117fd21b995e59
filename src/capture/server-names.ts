/**
 * The names of servers in the first packets of flows: TLS's ClientHello from its segments, QUIC's from its Initial
 * packets. Both may come in several packets, in any order, so what has come waits for the rest: bounded in flows, in
 * bytes and in time. Opening QUIC costs fifty times what reading TLS does, and is bounded in a second.
 */
import { randomInt } from "node:crypto";
import { printAddress } from "../lib/address.ts";
import { IpProtocol, word } from "./decode/packet.ts";
import type { PacketView } from "./decode/packet.ts";
import { CryptoStream, eachCrypto, initialHeaders, initialKeys, openInitial } from "./decode/quic.ts";
import type { InitialHeader, InitialKeys } from "./decode/quic.ts";
import { beginsHello, handshakeOf, HELLO_LIMIT, readHello } from "./decode/tls.ts";
import type { ClientHello } from "./decode/tls.ts";
import { finish, hashWords, mix } from "../spin/word-index.ts";

export interface ServerName {
  /** Canonical text, the device's and the server's. */
  readonly client: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: 6 | 17;
  /** Empty where none could be read. */
  readonly name: string;
  readonly ech: boolean;
  readonly mac?: number;
}

/** As in src/enforce/spin.nft: HTTPS, DNS over TLS and over QUIC, MQTT over TLS. */
const TLS_PORTS: readonly number[] = [443, 853, 8883];
const QUIC_PORTS: readonly number[] = [443, 853];
/** Packets of a flow, in the direction of who began it, that may hold a hello. */
export const FIRST_PACKETS = 8;

/** Flows whose hello is not whole yet, of each protocol: 24 kB a flow of QUIC, up to 8 kB of TLS. */
const WAITING_LIMIT = 32;
const WAITING_MS = 3000;
/** Segments of a hello in hand. */
const SEGMENT_LIMIT = 16;
/** Segments that may come before the one that begins a hello. */
const EARLY_LIMIT = 3;
/** One costs 0.05 ms to derive keys and open. */
const OPENED_PER_SECOND = 200;
/** A server that a device spoke QUIC to is not opened again so soon: browsers open several connections at once. */
const KNOWN_MS = 10_000;
/** The same name for the same server is told again after this, so that it stays fresh. */
const TOLD_MS = 60_000;
/** Devices' servers remembered. */
const KNOWN_LIMIT = 1024;
/** Flows whose hello has been read: what they send next is none. All are forgotten when they are so many. */
const DONE_LIMIT = 512;

interface WaitingTls {
  readonly time: number;
  readonly server: string;
  readonly mac: number | undefined;
  readonly segments: { readonly sequence: number; readonly data: Uint8Array }[];
}

interface WaitingQuic {
  readonly time: number;
  readonly server: string;
  readonly mac: number | undefined;
  /** By version and the flow's first destination id. */
  keys: InitialKeys;
  stream: CryptoStream;
}

export class ServerNames {
  readonly #tell: (name: ServerName) => void;
  readonly #tls = new Map<number, WaitingTls>();
  readonly #quic = new Map<number, WaitingQuic>();
  /** When a server was last named and what as, by device, server, port and protocol; the oldest first. */
  readonly #known = new Map<string, { readonly time: number; readonly name: string }>();
  readonly #holdsEarly: boolean;
  readonly #done = new Set<number>();
  #second = 0;
  #opened = 0;
  /** Packets that were TLS or QUIC by their beginning, and nothing by what followed. */
  decodeErrors = 0;
  /** QUIC packets that were not opened, because too many came at once. */
  passedOver = 0;

  /** @param holdsEarly Whether a segment that comes ahead of its hello is kept: in a capture's millions that costs too much. */
  constructor(tell: (name: ServerName) => void, holdsEarly = true) {
    this.#tell = tell;
    this.#holdsEarly = holdsEarly;
  }

  /** A packet from a device to a server; whose port it is, is looked at here. */
  packet(view: PacketView, mac: number | undefined, time: number): void {
    if (this.#tls.size + this.#quic.size > 0) this.sweep(time);
    if (view.transport < 0) return;
    if (view.protocol === IpProtocol.Tcp && TLS_PORTS.includes(view.destinationPort)) this.#segment(view, mac, time);
    else if (view.protocol === IpProtocol.Udp && QUIC_PORTS.includes(view.destinationPort))
      this.#datagram(view, mac, time);
  }

  /** Lets go of what has waited too long; of a hello in part, the name is told if it had come. */
  sweep(time: number): void {
    for (const [flow, { time: since }] of this.#tls) {
      if (time - since < WAITING_MS && time >= since) break;
      this.#giveUp(flow);
    }
    for (const [flow, { time: since }] of this.#quic) {
      if (time - since < WAITING_MS && time >= since) break;
      this.#giveUpQuic(flow);
    }
  }

  // ---- TLS ---------------------------------------------------------------------------------------------------------

  #segment(view: PacketView, mac: number | undefined, time: number): void {
    const { bytes, transport, networkEnd } = view;
    if (transport + 20 > networkEnd) return;
    const start = transport + ((bytes[transport + 12] as number) >>> 4) * 4;
    if (start >= networkEnd) return;
    // Of a capture's millions of packets most are no hello: they get no view of their own, which costs more than the look.
    if (!this.#holdsEarly && this.#tls.size === 0 && !isHandshake(bytes, start)) return;
    const data = bytes.subarray(start, networkEnd);
    const flow = flowOf(view);
    if (this.#done.has(flow)) return;
    const waiting = this.#tls.get(flow);
    if (!waiting) {
      // The usual case, and the only one without a copy: it is all there.
      const hello = beginsHello(data) ? read(data) : undefined;
      if (hello?.whole === true) return this.#named(flow, serverOf(view), hello, mac, time);
      // A flow that we came late to. Else it is a piece from the middle of a hello, ahead of its turn.
      if (!hello && (!this.#holdsEarly || beginsRecord(data))) return;
    }
    const stream = waiting ?? { time, mac, server: serverOf(view), segments: [] };
    if (stream.segments.length >= SEGMENT_LIMIT) return this.#giveUp(flow);
    // Nothing that came begins a hello: this is no TLS.
    if (stream.segments.length >= EARLY_LIMIT && !beginsHello(data) && !stream.segments.some(isBeginning)) {
      this.#tls.delete(flow);
      this.#isDone(flow);
      return;
    }
    stream.segments.push({ sequence: sequenceOf(bytes, transport), data: data.slice(0, HELLO_LIMIT) });
    this.#tls.set(flow, stream);
    const hello = stream.segments.length > 1 ? read(joined(stream.segments)) : undefined;
    if (hello?.whole === true) {
      this.#tls.delete(flow);
      this.#named(flow, stream.server, hello, mac ?? stream.mac, time);
    } else if (this.#tls.size > WAITING_LIMIT) this.#giveUp(first(this.#tls));
  }

  #giveUp(flow: number): void {
    const waiting = this.#tls.get(flow);
    this.#tls.delete(flow);
    const stream = waiting && joined(waiting.segments);
    const hello = read(stream);
    if (waiting && hello && hello.name !== "") this.#named(flow, waiting.server, hello, waiting.mac, waiting.time);
    else if (stream) this.decodeErrors++;
  }

  // ---- QUIC --------------------------------------------------------------------------------------------------------

  #datagram(view: PacketView, mac: number | undefined, time: number): void {
    const datagram = view.bytes.subarray(view.transport + 8, view.networkEnd);
    const headers = initialHeaders(datagram);
    if (headers.length === 0) return;
    const flow = flowOf(view);
    if (this.#done.has(flow)) return;
    const server = serverOf(view);
    const known = this.#known.get(server);
    if (!this.#quic.has(flow) && known && known.name !== "" && isWithin(time - known.time, KNOWN_MS)) return;
    for (const header of headers) this.#initial(flow, server, datagram, header, mac, time);
  }

  #initial(
    flow: number,
    server: string,
    datagram: Uint8Array,
    header: InitialHeader,
    mac: number | undefined,
    time: number,
  ): void {
    if (!this.#mayOpen(time)) return;
    let waiting = this.#quic.get(flow);
    let plain = waiting && openInitial(datagram, header, waiting.keys);
    if (!plain) {
      // The first packet; or the first after a Retry, which makes all keys anew.
      const keys = initialKeys(header.version, header.destinationId);
      plain = keys && openInitial(datagram, header, keys);
      if (!keys || !plain) {
        this.decodeErrors++;
        return;
      }
      this.#quic.set(flow, (waiting = { time: waiting?.time ?? time, server, mac, keys, stream: new CryptoStream() }));
    }
    const { stream } = waiting as WaitingQuic;
    eachCrypto(plain, (offset, data) => stream.take(offset, data));
    const hello = readHello(stream.whole);
    if (!hello) {
      this.decodeErrors++;
      this.#quic.delete(flow);
    } else if (hello.whole) {
      this.#quic.delete(flow);
      this.#named(flow, server, hello, mac, time);
    } else if (this.#quic.size > WAITING_LIMIT) this.#giveUpQuic(first(this.#quic));
  }

  #giveUpQuic(flow: number): void {
    const waiting = this.#quic.get(flow);
    this.#quic.delete(flow);
    const hello = waiting && readHello(waiting.stream.whole);
    if (waiting && hello && hello.name !== "") this.#named(flow, waiting.server, hello, waiting.mac, waiting.time);
    else this.decodeErrors++;
  }

  #mayOpen(time: number): boolean {
    const second = Math.floor(time / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#opened = 0;
    }
    if (this.#opened >= OPENED_PER_SECOND) {
      this.passedOver++;
      return false;
    }
    this.#opened++;
    return true;
  }

  // ---- both --------------------------------------------------------------------------------------------------------

  #isDone(flow: number): void {
    if (this.#done.size >= DONE_LIMIT) this.#done.clear();
    this.#done.add(flow);
  }

  #named(flow: number, server: string, { name, ech }: ClientHello, mac: number | undefined, time: number): void {
    this.#isDone(flow);
    const known = this.#known.get(server);
    if (known && known.name === name && isWithin(time - known.time, TOLD_MS)) return;
    this.#known.delete(server);
    this.#known.set(server, { time, name });
    if (this.#known.size > KNOWN_LIMIT) this.#known.delete(first(this.#known));
    const [protocol, client, address, port] = server.split(" ") as [string, string, string, string];
    this.#tell({
      client,
      address,
      port: Number(port),
      protocol: Number(protocol) as 6 | 17,
      name,
      ech,
      ...(mac === undefined ? {} : { mac }),
    });
  }
}

/** `protocol client server port` */
function serverOf({ addresses, protocol, destinationPort }: PacketView): string {
  return `${protocol} ${printAddress(addresses, 0)} ${printAddress(addresses, 4)} ${destinationPort}`;
}

/** Nobody outside can make two flows that have the same. */
const SEED = randomInt(0x7fffffff);

/** A number for a flow: most packets that come here are no hello, and a text for each would cost more than all else. */
function flowOf({ addresses, protocol, sourcePort, destinationPort }: PacketView): number {
  return finish(
    mix(hashWords(addresses, 0, SEED), hashWords(addresses, 4, (sourcePort << 16) ^ destinationPort ^ protocol)),
  );
}

/** The first byte of a TLS record that holds a handshake: RFC 8446 §5.1. */
function isHandshake(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 22;
}

function isBeginning({ data }: { readonly data: Uint8Array }): boolean {
  return beginsHello(data);
}

/** The beginning of a TLS record other than a hello's: RFC 8446 §5.1. */
function beginsRecord(data: Uint8Array): boolean {
  return data.length > 1 && (data[0] as number) >= 20 && (data[0] as number) <= 24 && data[1] === 3;
}

function sequenceOf(bytes: Uint8Array, transport: number): number {
  const syn = ((bytes[transport + 13] as number) >>> 1) & 1;
  // Data in a SYN (TCP Fast Open) comes after the SYN's own number.
  return (word(bytes, transport + 4) + syn) >>> 0;
}

function read(stream: Uint8Array | undefined): ClientHello | undefined {
  const handshake = stream && handshakeOf(stream);
  return handshake && readHello(handshake);
}

/** The stream from the segment that begins a hello, as far as no byte is missing; `undefined`: none begins one. */
function joined(segments: WaitingTls["segments"]): Uint8Array | undefined {
  const start = segments.find(({ data }) => beginsHello(data));
  if (!start) return undefined;
  const stream = new Uint8Array(HELLO_LIMIT);
  let length = 0;
  // As many rounds as there are segments at most: each takes one in, or ends.
  for (let grew = true; grew;) {
    grew = false;
    for (const { sequence, data } of segments) {
      const passed = length - ((sequence - start.sequence) | 0);
      if (passed < 0 || passed >= data.length || length >= HELLO_LIMIT) continue;
      const part = data.subarray(passed, passed + HELLO_LIMIT - length);
      stream.set(part, length);
      length += part.length;
      grew = true;
    }
  }
  return stream.subarray(0, length);
}

function first<Key>(map: ReadonlyMap<Key, unknown>): Key {
  return map.keys().next().value as Key;
}

/** Clocks step: what lies in the future is not recent. */
function isWithin(passed: number, limit: number): boolean {
  return passed >= 0 && passed < limit;
}

/** Whether a packet's port is one that this module looks at. */
export function mayName(protocol: number, port: number): boolean {
  return protocol === IpProtocol.Tcp
    ? TLS_PORTS.includes(port)
    : protocol === IpProtocol.Udp && QUIC_PORTS.includes(port);
}
