/**
 * QUIC's Initial packets from a client, versions 1 (RFC 9001 §5) and 2 (RFC 9369 §3): their protection is no secret,
 * because its keys follow from the first packet's destination connection id. Inside are CRYPTO frames with parts of the
 * ClientHello, which browsers spread over two or three packets and shuffle on purpose.
 *
 * Input is hostile: no length in it is believed, every loop is bounded, nothing throws.
 */
import { createCipheriv, createDecipheriv, createHmac } from "node:crypto";
import { HELLO_LIMIT } from "./tls.ts";
import { word } from "./packet.ts";

/** What differs between the versions. */
interface Version {
  readonly salt: Buffer;
  /** The long header's type bits of an Initial. */
  readonly initialType: number;
  readonly label: string;
}

const VERSIONS: ReadonlyMap<number, Version> = new Map([
  [1, { salt: Buffer.from("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", "hex"), initialType: 0, label: "quic" }],
  [
    0x6b3343cf,
    { salt: Buffer.from("0dede3def700a6db819381be6e269dcbf9bd2ed9", "hex"), initialType: 1, label: "quicv2" },
  ],
]);

export interface InitialKeys {
  readonly key: Buffer;
  readonly iv: Buffer;
  readonly headerProtection: Buffer;
}

/** An Initial packet's header, before its protection is taken off. Offsets count from the datagram's beginning. */
export interface InitialHeader {
  readonly version: number;
  readonly start: number;
  readonly destinationId: Uint8Array;
  readonly packetNumberAt: number;
  readonly end: number;
}

/** RFC 9000 §17.2. */
const CONNECTION_ID_LIMIT = 20;
/** Packets in one datagram: an Initial, a 0-RTT and a Handshake at most make sense. */
const PACKETS = 4;
const SAMPLE_AT = 4;
const SAMPLE_BYTES = 16;
const TAG_BYTES = 16;
/** Each is a byte long at least; real packets hold a dozen, beside padding. */
const FRAMES = 512;
const Frame = { Padding: 0, Ping: 1, Ack: 2, AckEcn: 3, Crypto: 6 } as const;
/** Ranges of an acknowledgement: a client that begins has seen few packets. */
const ACK_RANGES = 64;

/** The datagram's Initial packets of a known version. */
export function initialHeaders(datagram: Uint8Array): InitialHeader[] {
  const found: InitialHeader[] = [];
  for (let start = 0, count = 0; start < datagram.length && count < PACKETS; count++) {
    const packet = longHeader(datagram, start);
    if (!packet) break;
    if (packet.isInitial) found.push(packet);
    start = packet.end;
  }
  return found;
}

/** The client's keys of a connection whose first destination id was this. */
export function initialKeys(version: number, destinationId: Uint8Array): InitialKeys | undefined {
  const known = VERSIONS.get(version);
  if (!known) return undefined;
  const { salt, label } = known;
  const initial = createHmac("sha256", salt).update(destinationId).digest();
  const secret = expandLabel(initial, "client in", 32);
  return {
    key: expandLabel(secret, `${label} key`, 16),
    iv: expandLabel(secret, `${label} iv`, 12),
    headerProtection: expandLabel(secret, `${label} hp`, 16),
  };
}

/** What the packet protects; `undefined` if these are not its keys, or it was cut or damaged. */
export function openInitial(datagram: Uint8Array, header: InitialHeader, keys: InitialKeys): Buffer | undefined {
  const { start, packetNumberAt, end } = header;
  const sampleAt = packetNumberAt + SAMPLE_AT;
  if (sampleAt + SAMPLE_BYTES > end || end > datagram.length) return undefined;
  const mask = createCipheriv("aes-128-ecb", keys.headerProtection, null).update(
    datagram.subarray(sampleAt, sampleAt + SAMPLE_BYTES),
  );
  const first = (datagram[start] as number) ^ ((mask[0] as number) & 0x0f);
  const numberBytes = (first & 3) + 1;
  const bodyAt = packetNumberAt + numberBytes;
  if (end - bodyAt < TAG_BYTES) return undefined;
  const associated = Buffer.from(datagram.subarray(start, bodyAt));
  associated[0] = first;
  const nonce = Buffer.from(keys.iv);
  for (let i = 0; i < numberBytes; i++) {
    const at = packetNumberAt - start + i;
    const byte = (associated[at] as number) ^ (mask[1 + i] as number);
    associated[at] = byte;
    const nonceAt = nonce.length - numberBytes + i;
    // A number below 2^32 is whole: a client's first packets have such.
    nonce[nonceAt] = (nonce[nonceAt] as number) ^ byte;
  }
  const decipher = createDecipheriv("aes-128-gcm", keys.key, nonce);
  decipher.setAAD(associated);
  decipher.setAuthTag(datagram.subarray(end - TAG_BYTES, end));
  const plain = decipher.update(datagram.subarray(bodyAt, end - TAG_BYTES));
  try {
    decipher.final();
    return plain;
  } catch {
    return undefined;
  }
}

/** Hands on each CRYPTO frame's part of the handshake; stops at what an Initial may not hold. */
export function eachCrypto(payload: Uint8Array, take: (offset: number, data: Uint8Array) => void): void {
  const reader = new Reader(payload, 0);
  for (let frames = 0; frames < FRAMES && reader.at < payload.length;) {
    const type = payload[reader.at++] as number;
    // Padding is a frame a byte, by the thousand.
    if (type === Frame.Padding) continue;
    frames++;
    if (type === Frame.Ping) continue;
    if (type === Frame.Ack || type === Frame.AckEcn) {
      if (!skipAck(reader, type === Frame.AckEcn)) return;
      continue;
    }
    if (type !== Frame.Crypto) return;
    const offset = reader.number();
    const length = reader.number();
    if (offset < 0 || length < 0 || length > payload.length - reader.at) return;
    take(offset, payload.subarray(reader.at, reader.at + length));
    reader.at += length;
  }
}

/** The handshake as its parts come, in any order and more than once. */
export class CryptoStream {
  readonly #bytes = new Uint8Array(HELLO_LIMIT);
  readonly #isThere = new Uint8Array(HELLO_LIMIT);
  #length = 0;

  take(offset: number, data: Uint8Array): void {
    if (offset >= HELLO_LIMIT) return;
    const part = data.subarray(0, HELLO_LIMIT - offset);
    this.#bytes.set(part, offset);
    this.#isThere.fill(1, offset, offset + part.length);
    while (this.#length < HELLO_LIMIT && this.#isThere[this.#length] === 1) this.#length++;
  }

  /** From the beginning on, as far as nothing is missing. */
  get whole(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }
}

interface LongHeader extends InitialHeader {
  readonly isInitial: boolean;
}

function longHeader(bytes: Uint8Array, start: number): LongHeader | undefined {
  if (start + 7 > bytes.length || ((bytes[start] as number) & 0xc0) !== 0xc0) return undefined;
  const version = word(bytes, start + 1) >>> 0;
  const known = VERSIONS.get(version);
  if (!known) return undefined;
  const type = ((bytes[start] as number) >>> 4) & 3;
  const isInitial = type === known.initialType;
  const destinationAt = start + 6;
  const sourceAt = destinationAt + (bytes[destinationAt - 1] as number) + 1;
  if (sourceAt - destinationAt - 1 > CONNECTION_ID_LIMIT || sourceAt > bytes.length) return undefined;
  const sourceBytes = bytes[sourceAt - 1] as number;
  if (sourceBytes > CONNECTION_ID_LIMIT) return undefined;
  const reader = new Reader(bytes, sourceAt + sourceBytes);
  // A Retry has no length; no client sends one.
  if (type === ((known.initialType + 3) & 3)) return undefined;
  if (isInitial && !reader.skip(reader.number())) return undefined;
  const length = reader.number();
  const packetNumberAt = reader.at;
  if (length < 0 || length > bytes.length - packetNumberAt) return undefined;
  const destinationId = bytes.subarray(destinationAt, sourceAt - 1);
  return { version, isInitial, start, destinationId, packetNumberAt, end: packetNumberAt + length };
}

/** RFC 9000 §19.3. */
function skipAck(reader: Reader, hasEcn: boolean): boolean {
  if (reader.number() < 0 || reader.number() < 0) return false;
  const ranges = reader.number();
  if (ranges < 0 || ranges > ACK_RANGES || reader.number() < 0) return false;
  for (let left = 2 * ranges + (hasEcn ? 3 : 0); left > 0; left--) if (reader.number() < 0) return false;
  return true;
}

/** Variable-length integers, RFC 9000 §16. */
class Reader {
  readonly #bytes: Uint8Array;
  at: number;

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes;
    this.at = at;
  }

  /** -1: the bytes end before. */
  number(): number {
    const bytes = this.#bytes;
    if (this.at >= bytes.length) return -1;
    const first = bytes[this.at] as number;
    const length = 1 << (first >>> 6);
    if (this.at + length > bytes.length) return -1;
    let value = first & 0x3f;
    for (let i = 1; i < length; i++) value = value * 256 + (bytes[this.at + i] as number);
    this.at += length;
    return value;
  }

  skip(length: number): boolean {
    if (length < 0 || length > this.#bytes.length - this.at) return false;
    this.at += length;
    return true;
  }
}

/** HKDF-Expand-Label (RFC 8446 §7.1) with no context, of at most one block of SHA-256. */
function expandLabel(secret: Buffer, label: string, length: number): Buffer {
  const full = `tls13 ${label}`;
  const info = Buffer.concat([Buffer.from([0, length, full.length]), Buffer.from(full, "latin1"), Buffer.from([0, 1])]);
  return createHmac("sha256", secret).update(info).digest().subarray(0, length);
}
