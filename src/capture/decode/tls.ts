/**
 * TLS ClientHello (RFC 8446 §4.1.2, RFC 5246 §7.4.1.2): the server name that the client asks for (RFC 6066 §3), and
 * whether it brings Encrypted Client Hello (RFC 9849), when the name may be that of a front. Clients that have no ECH
 * configuration send the extension all the same, with random content (GREASE), so that its presence tells little.
 *
 * Input is hostile and may be the beginning of what was sent: no length in it is believed, nothing throws.
 */
import { half } from "./packet.ts";

export interface ClientHello {
  /** Lower-case, without the final dot; empty: the client named none, or what no name can be. */
  readonly name: string;
  readonly ech: boolean;
  /** All of it was there; else `ech` and an empty `name` say nothing. */
  readonly whole: boolean;
}

/** Of a hello, its header included: with post-quantum shares and ECH real ones have 1,800 bytes. */
export const HELLO_LIMIT = 8192;

const RECORD_HEADER = 5;
/** RFC 8446 §5.1: 2^14; servers that take more there are none. */
const RECORD_LIMIT = 16_384;
/** Some clients cut their hello into records of some dozen bytes, to get past filters. */
const RECORDS = 64;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const HELLO_HEADER = 4;
/** After the header: version and random. */
const SESSION_ID = HELLO_HEADER + 2 + 32;
const SESSION_ID_LIMIT = 32;
const EXTENSION_LIMIT = 128;
const Extension = { ServerName: 0, EncryptedClientHello: 0xfe0d } as const;
const HOST_NAME = 0;
const NAME_LIMIT = 253;
const NAME = /^(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/;
/** RFC 6066 §3: literal addresses are no host names. */
const IPV4 = /^\d+(\.\d+){3}$/;

/** Whether a stream that begins so is TLS and begins with a ClientHello; a few bytes are enough. */
export function beginsHello(bytes: Uint8Array): boolean {
  return (
    bytes.length > RECORD_HEADER &&
    bytes[0] === HANDSHAKE &&
    bytes[1] === 3 &&
    half(bytes, 3) <= RECORD_LIMIT &&
    bytes[RECORD_HEADER] === CLIENT_HELLO
  );
}

/** The handshake's bytes from the records at a stream's beginning, as far as they go; `undefined`: it is no TLS. */
export function handshakeOf(stream: Uint8Array): Uint8Array | undefined {
  if (!beginsHello(stream)) return undefined;
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let at = 0; at + RECORD_HEADER < stream.length && parts.length < RECORDS && length < HELLO_LIMIT;) {
    if (stream[at] !== HANDSHAKE || stream[at + 1] !== 3) break;
    const end = at + RECORD_HEADER + half(stream, at + 3);
    const part = stream.subarray(at + RECORD_HEADER, end);
    parts.push(part);
    length += part.length;
    at = end;
  }
  if (parts.length === 1) return parts[0];
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Reads a handshake's first message, or as much of it as is there; `undefined`: it is no ClientHello. */
export function readHello(bytes: Uint8Array): ClientHello | undefined {
  if (bytes.length < HELLO_HEADER) return bytes.length === 0 || bytes[0] === CLIENT_HELLO ? PART : undefined;
  const length = HELLO_HEADER + (((bytes[1] as number) << 16) | half(bytes, 2));
  if (bytes[0] !== CLIENT_HELLO || length > HELLO_LIMIT) return undefined;
  const end = Math.min(length, bytes.length);
  const isCut = end < length;
  const at = extensionsAt(bytes, end);
  // What is not there yet may still come; what can never fit is no hello.
  if (at === undefined) return isCut ? PART : undefined;
  if (at < 0) return undefined;
  // Before TLS 1.3 a hello may end without extensions.
  if (at === end) return { ...PART, whole: !isCut };
  return readExtensions(bytes, at, end, length);
}

/** Where the length of the extensions stands; `undefined`: beyond the bytes; -1: a length is wrong. */
function extensionsAt(bytes: Uint8Array, end: number): number | undefined {
  if (SESSION_ID >= end) return undefined;
  const sessionId = bytes[SESSION_ID] as number;
  if (sessionId > SESSION_ID_LIMIT) return -1;
  const suites = SESSION_ID + 1 + sessionId;
  if (suites + 2 > end) return undefined;
  const compression = suites + 2 + half(bytes, suites);
  if (compression >= end) return undefined;
  const extensions = compression + 1 + (bytes[compression] as number);
  return extensions > end ? undefined : extensions;
}

function readExtensions(bytes: Uint8Array, start: number, end: number, length: number): ClientHello | undefined {
  let name = "";
  let ech = false;
  if (start + 2 > end) return end < length ? PART : undefined;
  const stop = start + 2 + half(bytes, start);
  if (stop > length) return undefined;
  let at = start + 2;
  for (let count = 0; count < EXTENSION_LIMIT && at + 4 <= Math.min(stop, end); count++) {
    const type = half(bytes, at);
    const next = at + 4 + half(bytes, at + 2);
    if (next > stop) return undefined;
    if (type === Extension.EncryptedClientHello) ech = true;
    // The first counts, as it does for servers; a second one is an error.
    else if (type === Extension.ServerName && next <= end && name === "") name = serverName(bytes, at + 4, next);
    at = next;
  }
  return { name, ech, whole: at >= stop && end === length };
}

/** The host name of the extension's list; empty if there is none. */
function serverName(bytes: Uint8Array, start: number, end: number): string {
  for (let at = start + 2; at + 3 <= end;) {
    const next = at + 3 + half(bytes, at + 1);
    if (next > end) return "";
    if (bytes[at] === HOST_NAME) return next - at - 3 > NAME_LIMIT + 1 ? "" : hostName(bytes.subarray(at + 3, next));
    at = next;
  }
  return "";
}

function hostName(bytes: Uint8Array): string {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1").toLowerCase();
  const name = text.endsWith(".") ? text.slice(0, -1) : text;
  return name.length <= NAME_LIMIT && NAME.test(name) && !IPV4.test(name) ? name : "";
}

const PART: ClientHello = { name: "", ech: false, whole: false };
