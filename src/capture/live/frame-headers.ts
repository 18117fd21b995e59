/**
 * Where the headers of an Ethernet frame end, and which bytes of them name a peer: what a capture may show to those who
 * may not see what is said, or to whom. Anything unknown ends at the last header that was understood, so that no byte of
 * a payload is ever taken for one of a header.
 */

/** Offsets from the start of the frame. One object is used again and again. */
export interface FrameHeaders {
  /** Bytes of headers; never more than the frame has. */
  length: number;
  /** Where the IP or ARP header begins; 0 if there is none. */
  network: number;
  /** 4 or 6; 0 for all else, ARP too. */
  family: 0 | 4 | 6;
  isArp: boolean;
  /** Where what the IP headers carry begins; 0 where it is none of TCP, UDP and ICMP, or a later fragment. */
  transport: number;
  protocol: number;
}

const LINK_BYTES = 14;
const TAG_BYTES = 4;
/** Two are in use; more are somebody's joke. */
const MAX_TAGS = 4;
/** RFC 8200 §4.1 knows seven, each once. */
const MAX_EXTENSIONS = 8;
const IPV6_BYTES = 40;

const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const TCP = 6;
const ICMP = 1;
const ICMPV6 = 58;
const UDP = 17;
const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION = 60;

/** Reads the frame in [start, end) of `bytes` into `headers`. */
export function readHeaders(bytes: Uint8Array, start: number, end: number, headers: FrameHeaders): void {
  const frame = end - start;
  headers.network = headers.transport = headers.family = headers.protocol = 0;
  headers.isArp = false;
  headers.length = Math.min(frame, LINK_BYTES);
  if (frame < LINK_BYTES) return;
  let at = LINK_BYTES;
  let type = half(bytes, start + 12);
  for (let tags = 0; isTag(type) && tags < MAX_TAGS; tags++) {
    headers.length = Math.min(frame, at + TAG_BYTES);
    if (frame < at + TAG_BYTES) return;
    type = half(bytes, start + at + 2);
    at += TAG_BYTES;
  }
  if (type === IPV4) readIPv4(bytes, start, at, frame, headers);
  else if (type === IPV6) readIPv6(bytes, start, at, frame, headers);
  else if (type === ARP) readArp(bytes, start, at, frame, headers);
}

/** Whole where it speaks of Ethernet and IPv4, without the padding behind it; else its fixed part. */
function readArp(bytes: Uint8Array, start: number, at: number, frame: number, headers: FrameHeaders): void {
  headers.network = at;
  headers.isArp = true;
  const isKnown = frame >= at + 8 && bytes[start + at + 4] === 6 && bytes[start + at + 5] === 4;
  headers.length = Math.min(frame, at + (isKnown ? 28 : 8));
}

function readIPv4(bytes: Uint8Array, start: number, at: number, frame: number, headers: FrameHeaders): void {
  const ip = start + at;
  if (frame < at + 20 || (bytes[ip] as number) >>> 4 !== 4) return void shortIp(bytes, start, at, frame, 4, headers);
  const words = (bytes[ip] as number) & 15;
  if (words < 5) return;
  headers.network = at;
  headers.family = 4;
  const total = half(bytes, ip + 2);
  // 0: what segmentation offload has not cut up yet.
  const packetEnd = total === 0 ? frame : Math.min(frame, at + Math.max(total, 20));
  const payload = at + words * 4;
  headers.length = Math.min(payload, packetEnd);
  headers.protocol = bytes[ip + 9] as number;
  if (payload > packetEnd || (half(bytes, ip + 6) & 0x1fff) !== 0) return;
  readTransport(bytes, start, payload, packetEnd, headers);
}

function readIPv6(bytes: Uint8Array, start: number, at: number, frame: number, headers: FrameHeaders): void {
  const ip = start + at;
  if (frame < at + IPV6_BYTES || (bytes[ip] as number) >>> 4 !== 6)
    return void shortIp(bytes, start, at, frame, 6, headers);
  headers.network = at;
  headers.family = 6;
  const length = half(bytes, ip + 4);
  const packetEnd = length === 0 ? frame : Math.min(frame, at + IPV6_BYTES + length);
  let next = bytes[ip + 6] as number;
  let payload = at + IPV6_BYTES;
  let isFirst = true;
  for (let count = 0; isExtension(next) && count < MAX_EXTENSIONS && isFirst; count++) {
    headers.length = Math.min(payload, packetEnd);
    if (payload + 8 > packetEnd) return;
    const extension = start + payload;
    if (next === FRAGMENT) isFirst = half(bytes, extension + 2) >>> 3 === 0;
    payload += extensionBytes(next, bytes[extension + 1] as number);
    next = bytes[extension] as number;
  }
  headers.length = Math.min(payload, packetEnd);
  headers.protocol = next;
  if (payload <= packetEnd && isFirst) readTransport(bytes, start, payload, packetEnd, headers);
}

/** A header of which the snap length or the sender left too little; what stands there is kept if it is one. */
function shortIp(
  bytes: Uint8Array,
  start: number,
  at: number,
  frame: number,
  family: 4 | 6,
  headers: FrameHeaders,
): void {
  if (frame > at && (bytes[start + at] as number) >>> 4 !== family) return;
  headers.network = at;
  headers.family = family;
  headers.length = Math.min(frame, at + (family === 4 ? 20 : IPV6_BYTES));
}

function readTransport(bytes: Uint8Array, start: number, at: number, end: number, headers: FrameHeaders): void {
  const { protocol, family } = headers;
  let length = 0;
  if (protocol === TCP) {
    const words = end > at + 12 ? (bytes[start + at + 12] as number) >>> 4 : 5;
    length = Math.max(5, words) * 4;
  } else if (protocol === UDP) length = 8;
  else if (protocol === (family === 4 ? ICMP : ICMPV6)) length = 8;
  if (length === 0) return;
  headers.transport = at;
  headers.length = Math.min(end, at + length);
}

/**
 * Takes out of a copy of the headers whatever tells a public address: the addresses, what options may hold, and the
 * checksums, from which one could be reckoned. `start` is where the copy begins; it has `headers.length` bytes.
 */
export function maskPeers(copy: Uint8Array, start: number, headers: FrameHeaders): void {
  const { network, family, transport, protocol, length } = headers;
  if (family === 0) return;
  const zero = (from: number, to: number) => {
    if (from < Math.min(to, length)) copy.fill(0, start + from, start + Math.min(to, length));
  };
  // Cut off inside its addresses: what they are can't be told any more.
  if (length < network + (family === 4 ? 20 : IPV6_BYTES)) return zero(network + (family === 4 ? 10 : 8), length);
  if (family === 4) {
    if (!isOfHome4(copy, start + network + 12)) zero(network + 12, network + 16);
    if (!isOfHome4(copy, start + network + 16)) zero(network + 16, network + 20);
    zero(network + 10, network + 12);
    zero(network + 20, transport || length);
  } else {
    if (!isOfHome6(copy, start + network + 8)) zero(network + 8, network + 24);
    if (!isOfHome6(copy, start + network + 24)) zero(network + 24, network + 40);
    maskExtensions(copy, start, headers, zero);
  }
  if (transport === 0) return;
  if (protocol === TCP) {
    zero(transport + 16, transport + 18);
    // Multipath TCP advertises addresses there.
    zero(transport + 20, length);
  } else if (protocol === UDP) zero(transport + 6, transport + 8);
  else {
    zero(transport + 2, transport + 4);
    // A redirect names a router.
    if (protocol === ICMP && copy[start + transport] === 5) zero(transport + 4, transport + 8);
  }
}

/** Routes and home addresses stand in extensions; what follows and how long each is stays. */
function maskExtensions(
  copy: Uint8Array,
  start: number,
  { network, transport, length }: FrameHeaders,
  zero: (from: number, to: number) => void,
): void {
  let next = copy[start + network + 6] as number;
  const end = transport || length;
  for (let at = network + IPV6_BYTES; isExtension(next) && at + 8 <= end;) {
    const bytes = extensionBytes(next, copy[start + at + 1] as number);
    if (next !== FRAGMENT) zero(at + 2, at + bytes);
    next = copy[start + at] as number;
    at += bytes;
  }
}

/** Whether the frame is from or to the IP address (four words), or an ARP that speaks of it. */
export function concerns(bytes: Uint8Array, start: number, headers: FrameHeaders, address: Uint32Array): boolean {
  const { network, family, isArp, length } = headers;
  const at = start + network;
  const is4 = address[0] === 0 && address[1] === 0 && address[2] === 0xffff;
  if (family === 4 && length >= network + 20)
    return is4 && (word(bytes, at + 12) === address[3] || word(bytes, at + 16) === address[3]);
  if (family === 6 && length >= network + IPV6_BYTES)
    return !is4 && (equals6(bytes, at + 8, address) || equals6(bytes, at + 24, address));
  return (
    isArp &&
    is4 &&
    length >= network + 28 &&
    (word(bytes, at + 14) === address[3] || word(bytes, at + 24) === address[3])
  );
}

const isTag = (type: number) => type === 0x8100 || type === 0x88a8 || type === 0x9100;

const isExtension = (header: number) =>
  header === HOP_BY_HOP ||
  header === ROUTING ||
  header === FRAGMENT ||
  header === AUTHENTICATION ||
  header === DESTINATION;

/** RFC 8200 §4; RFC 4302 §2.2 counts otherwise. */
function extensionBytes(header: number, length: number): number {
  if (header === FRAGMENT) return 8;
  return header === AUTHENTICATION ? (length + 2) * 4 : (length + 1) * 8;
}

/** Private, link-local, a group, or none: says nothing of who is talked to outside. */
function isOfHome4(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at] as number;
  const second = bytes[at + 1] as number;
  if (first === 10 || first === 127 || first >= 224) return true;
  if (first === 172) return second >>> 4 === 1;
  if (first === 192) return second === 168;
  if (first === 169) return second === 254;
  return first === 0;
}

function isOfHome6(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at] as number;
  if (first === 0xff || first >>> 1 === 0x7e) return true;
  if (first === 0xfe) return (bytes[at + 1] as number) >>> 6 === 2;
  for (let i = 0; i < 16; i++) if (bytes[at + i] !== 0) return false;
  return true;
}

function equals6(bytes: Uint8Array, at: number, address: Uint32Array): boolean {
  for (let i = 0; i < 4; i++) if (word(bytes, at + 4 * i) !== address[i]) return false;
  return true;
}

const half = (bytes: Uint8Array, at: number) => ((bytes[at] as number) << 8) | (bytes[at + 1] as number);

const word = (bytes: Uint8Array, at: number) => ((half(bytes, at) << 16) | half(bytes, at + 2)) >>> 0;
