/** ClientHellos as clients send them, over TLS and QUIC, written from the RFCs and not from what reads them. */
import { createCipheriv, createHmac } from "node:crypto";

const u16 = (value: number) => Buffer.from([value >>> 8, value & 255]);
const with16 = (bytes: Uint8Array) => Buffer.concat([u16(bytes.length), bytes]);
const extension = (type: number, data: Uint8Array) => Buffer.concat([u16(type), with16(data)]);

export interface HelloParts {
  readonly name?: string;
  readonly ech?: boolean;
  /** Bytes of a key share, as a post-quantum one is. */
  readonly share?: number;
  readonly sessionId?: number;
}

export function serverName(name: string): Buffer {
  return extension(0, with16(Buffer.concat([Buffer.from([0]), with16(Buffer.from(name, "latin1"))])));
}

/** The handshake message. */
export function hello({ name, ech = false, share = 32, sessionId = 32 }: HelloParts = {}): Buffer {
  const extensions = Buffer.concat([
    extension(0x0a0a, Buffer.alloc(0)),
    extension(51, Buffer.alloc(share, 7)),
    ...(ech ? [extension(0xfe0d, Buffer.alloc(180, 9))] : []),
    ...(name === undefined ? [] : [serverName(name)]),
    extension(43, Buffer.from([2, 3, 4])),
  ]);
  return helloOf(extensions, sessionId);
}

export function helloOf(extensions: Uint8Array, sessionId = 32): Buffer {
  const body = Buffer.concat([
    Buffer.from([3, 3]),
    Buffer.alloc(32, 1),
    Buffer.from([sessionId]),
    Buffer.alloc(sessionId, 2),
    with16(Buffer.from([0x13, 1, 0x13, 2])),
    Buffer.from([1, 0]),
    with16(extensions),
  ]);
  return Buffer.concat([Buffer.from([1, 0]), u16(body.length), body]);
}

/** In records of at most so many bytes. */
export function records(handshake: Uint8Array, bytes = 16_384): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < handshake.length; at += bytes)
    parts.push(Buffer.from([22, 3, 1]), with16(handshake.subarray(at, at + bytes)));
  return Buffer.concat(parts);
}

export interface InitialParts {
  readonly version?: 1 | 2;
  readonly destinationId: Uint8Array;
  /** Whose keys protect it, where that is another id: later packets go to the server's. */
  readonly keysOf?: Uint8Array;
  readonly sourceId?: Uint8Array;
  readonly token?: Uint8Array;
  readonly number?: number;
  readonly numberBytes?: number;
  /** Of the datagram, filled up with PADDING frames. */
  readonly bytes?: number;
}

/** CRYPTO frame with a part of a handshake. */
export function crypto(handshake: Uint8Array, from: number, to: number): Buffer {
  return Buffer.concat([Buffer.from([6]), varint(from), varint(to - from), handshake.subarray(from, to)]);
}

/** A datagram with one protected Initial packet that holds the frames. */
export function initial(frames: readonly Uint8Array[], parts: InitialParts): Buffer {
  const { version = 1, destinationId, sourceId = Buffer.alloc(0), token = Buffer.alloc(0) } = parts;
  const { number = 0, numberBytes = 4, bytes = 1200, keysOf = destinationId } = parts;
  const head = Buffer.concat([
    Buffer.from([(version === 1 ? 0xc0 : 0xd0) | (numberBytes - 1)]),
    version === 1 ? Buffer.from([0, 0, 0, 1]) : Buffer.from("6b3343cf", "hex"),
    Buffer.from([destinationId.length]),
    destinationId,
    Buffer.from([sourceId.length]),
    sourceId,
    varint(token.length),
    token,
  ]);
  const content = Buffer.concat(frames);
  const plain = Buffer.alloc(Math.max(content.length, bytes - head.length - 2 - numberBytes - 16));
  content.copy(plain);
  const length = numberBytes + plain.length + 16;
  const packetNumber = Buffer.alloc(4);
  packetNumber.writeUInt32BE(number);
  const header = Buffer.concat([head, u16(0x4000 | length), packetNumber.subarray(4 - numberBytes)]);
  const { key, iv, hp } = clientKeys(version, keysOf);
  const nonce = Buffer.from(iv);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ number) >>> 0, 8);
  const cipher = createCipheriv("aes-128-gcm", key, nonce);
  cipher.setAAD(header);
  const sealed = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  const sample = sealed.subarray(4 - numberBytes, 20 - numberBytes);
  const mask = createCipheriv("aes-128-ecb", hp, null).update(sample);
  header[0] = (header[0] as number) ^ ((mask[0] as number) & 15);
  for (let i = 0; i < numberBytes; i++) {
    const at = header.length - numberBytes + i;
    header[at] = (header[at] as number) ^ (mask[1 + i] as number);
  }
  return Buffer.concat([header, sealed]);
}

function clientKeys(version: 1 | 2, id: Uint8Array) {
  const salt = version === 1 ? "38762cf7f55934b34d179ae6a4c80cadccbb7f0a" : "0dede3def700a6db819381be6e269dcbf9bd2ed9";
  const word = version === 1 ? "quic" : "quicv2";
  const start = createHmac("sha256", Buffer.from(salt, "hex")).update(id).digest();
  const secret = expand(start, "client in", 32);
  return {
    key: expand(secret, `${word} key`, 16),
    iv: expand(secret, `${word} iv`, 12),
    hp: expand(secret, `${word} hp`, 16),
  };
}

/** HKDF-Expand-Label of one block. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const text = Buffer.from(`tls13 ${label}`);
  const info = Buffer.concat([u16(length), Buffer.from([text.length]), text, Buffer.from([0, 1])]);
  return createHmac("sha256", secret).update(info).digest().subarray(0, length);
}

function varint(value: number): Buffer {
  if (value < 64) return Buffer.from([value]);
  return u16(0x4000 | value);
}
