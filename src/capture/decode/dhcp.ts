/**
 * DHCPv4 messages as captured (RFC 2131, RFC 2132), as far as a home's devices are concerned: who got which address for
 * how long, calls itself what, and says what it is. Input is hostile: bounded, never throws.
 */
import type { Prefix } from "../../lib/address.ts";
import { macFromBytes, maskWords, wordsFromBytes, printAddress } from "../../lib/address.ts";
import { deviceText, mudUrl } from "./device-text.ts";

export const DhcpType = {
  Discover: 1,
  Offer: 2,
  Request: 3,
  Decline: 4,
  Ack: 5,
  Nak: 6,
  Release: 7,
  Inform: 8,
} as const;

export interface DhcpMessage {
  /** Of `DhcpType`. */
  readonly type: number;
  readonly mac: number;
  /** The address that the server gives, and the one that the client says it has; canonical, empty if none. */
  readonly given: string;
  readonly held: string;
  /** Option 12, or the first label of option 81; printable ASCII, empty if none. */
  readonly hostName: string;
  /** Seconds; undefined if not said or for ever. */
  readonly leaseSeconds: number | undefined;
  /** Option 60; empty if none. */
  readonly vendorClass: string;
  /** Option 55, in the client's order. */
  readonly parameterList: readonly number[];
  /** Option 161 (RFC 8520 §10.1); empty if none. */
  readonly mudUrl: string;
}

const FIXED_BYTES = 240;
const HOST_NAME_LIMIT = 64;
const VENDOR_CLASS_LIMIT = 255;

/** Decodes a BOOTP payload with the DHCP cookie and an Ethernet client; `undefined` for anything else. */
export function decodeDhcp(bytes: Uint8Array): DhcpMessage | undefined {
  if (!isDhcp(bytes)) return undefined;
  const type = option(bytes, 53);
  if (!type || type.length !== 1) return undefined;
  const lease = option(bytes, 51);
  const leaseSeconds = lease?.length === 4 ? (wordsFromBytes(lease, 0, 4)[3] as number) : undefined;
  return {
    type: type[0] as number,
    mac: macFromBytes(bytes, 28),
    given: addressAt(bytes, 16),
    held: addressAt(bytes, 12),
    hostName: hostName(bytes),
    leaseSeconds: leaseSeconds === 0xffffffff ? undefined : leaseSeconds,
    vendorClass: deviceText(option(bytes, 60) ?? NOTHING, VENDOR_CLASS_LIMIT),
    parameterList: [...(option(bytes, 55) ?? NOTHING)],
    mudUrl: mudUrl(option(bytes, 161) ?? NOTHING),
  };
}

const NOTHING = new Uint8Array(0);

/** The prefix that a server's answer puts the client in, and the router that it names. */
export function dhcpNetwork(bytes: Uint8Array): { prefix: Prefix; router: Uint32Array | undefined } | undefined {
  if (!isDhcp(bytes)) return undefined;
  const mask = option(bytes, 1);
  const given = wordsFromBytes(bytes, 16, 4);
  if (mask?.length !== 4 || given[3] === 0) return undefined;
  const length = 32 - Math.log2(2 ** 32 - (wordsFromBytes(mask, 0, 4)[3] as number));
  if (!Number.isInteger(length) || length < 8 || length > 30) return undefined;
  const router = option(bytes, 3);
  return {
    prefix: { words: maskWords(given, length + 96), bits: length + 96 },
    router: router && router.length >= 4 ? wordsFromBytes(router, 0, 4) : undefined,
  };
}

function isDhcp(bytes: Uint8Array): boolean {
  return (
    bytes.length > FIXED_BYTES &&
    bytes[1] === 1 &&
    bytes[2] === 6 &&
    bytes[236] === 0x63 &&
    bytes[237] === 0x82 &&
    bytes[238] === 0x53 &&
    bytes[239] === 0x63
  );
}

function addressAt(bytes: Uint8Array, at: number): string {
  const words = wordsFromBytes(bytes, at, 4);
  return words[3] === 0 ? "" : printAddress(words);
}

function hostName(bytes: Uint8Array): string {
  const plain = option(bytes, 12);
  // Option 81 begins with flags and two result codes (RFC 4702); its name is text unless bit E says DNS labels.
  const qualified = option(bytes, 81);
  const text = plain ?? (qualified && ((qualified[0] ?? 0) & 4) === 0 ? qualified.subarray(3) : undefined);
  if (!text) return "";
  const name = Buffer.from(text.subarray(0, HOST_NAME_LIMIT)).toString("latin1").replace(/\0+$/, "");
  const first = plain ? name : (name.split(".")[0] as string);
  return /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(first) ? first : "";
}

/** The first occurrence of an option in the options field. */
function option(bytes: Uint8Array, code: number): Uint8Array | undefined {
  for (let at = FIXED_BYTES; at < bytes.length;) {
    const found = bytes[at] as number;
    if (found === 255) return undefined;
    if (found === 0) {
      at++;
      continue;
    }
    const length = bytes[at + 1] ?? 0;
    if (at + 2 + length > bytes.length) return undefined;
    if (found === code) return bytes.subarray(at + 2, at + 2 + length);
    at += 2 + length;
  }
  return undefined;
}
