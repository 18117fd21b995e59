/**
 * What a DHCPv6 client says of itself (RFC 8415): vendor class (option 16), its name (39, RFC 4704) and its MUD URL (112,
 * RFC 8520 §10.2). Its DUID is not looked at: it may hold anybody's hardware address. Of what a relay forwards, the relay says
 * whose it is. Input is hostile: bounded, never throws.
 */
import { macFromBytes } from "../../lib/address.ts";
import { half } from "./packet.ts";
import { deviceText, mudUrl } from "./device-text.ts";

export interface Dhcpv6Message {
  /** Of a message that a relay forwards: the client's hardware address; undefined otherwise, the frame has it. */
  readonly relayedMac: number | undefined;
  readonly type: number;
  /** First label of the name; empty if none. As sent: whoever shows it cleans it. */
  readonly hostName: string;
  readonly vendorClass: string;
  readonly mudUrl: string;
}

/** Client to server: Solicit, Request, Confirm, Renew, Rebind, Release, Decline, Information-request. */
const FROM_CLIENT = new Set([1, 3, 4, 5, 6, 8, 9, 11]);
const RELAY_FORWARD = 12;
const HEADER_BYTES = 4;
const RELAY_HEADER_BYTES = 34;
const RELAY_MESSAGE = 9;
const VENDOR_CLASS_LIMIT = 255;
const LABEL_LIMIT = 63;

/** A client's message; `undefined` for others (servers', of several relays) and for what is not whole in its options. */
export function decodeDhcpv6(bytes: Uint8Array): Dhcpv6Message | undefined {
  return bytes[0] === RELAY_FORWARD ? relayed(bytes) : clientMessage(bytes, undefined);
}

function clientMessage(bytes: Uint8Array, relayedMac: number | undefined): Dhcpv6Message | undefined {
  const type = bytes[0];
  if (type === undefined || !FROM_CLIENT.has(type)) return undefined;
  let hostName = "";
  let vendor = "";
  let url = "";
  const isWhole = eachOption(bytes, HEADER_BYTES, (code, data) => {
    if (code === 16) vendor ||= vendorClass(data);
    else if (code === 39) hostName ||= firstLabel(data.subarray(1));
    else if (code === 112) url ||= mudUrl(data);
  });
  return isWhole ? { relayedMac, type, hostName, vendorClass: vendor, mudUrl: url } : undefined;
}

/** Hops, the link's address, and the client's, of which the hardware address can be told if it was made from that. */
function relayed(bytes: Uint8Array): Dhcpv6Message | undefined {
  if (bytes.length < RELAY_HEADER_BYTES || half(bytes, 18) !== 0xfe80 || half(bytes, 29) !== 0xfffe) return undefined;
  const eui = bytes.subarray(26, RELAY_HEADER_BYTES);
  const mac = macFromBytes(Uint8Array.of((eui[0] as number) ^ 2, ...eui.subarray(1, 3), ...eui.subarray(5)), 0);
  let message: Dhcpv6Message | undefined;
  eachOption(bytes, RELAY_HEADER_BYTES, (code, data) => {
    if (code === RELAY_MESSAGE) message ??= clientMessage(data, mac);
  });
  return message;
}

/** False if they end before they are whole. */
function eachOption(bytes: Uint8Array, at: number, visit: (code: number, data: Uint8Array) => void): boolean {
  while (at + 4 <= bytes.length) {
    const length = half(bytes, at + 2);
    if (at + 4 + length > bytes.length) return false;
    visit(half(bytes, at), bytes.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return at === bytes.length;
}

/** An enterprise number, then data with two bytes of length before each. */
function vendorClass(data: Uint8Array): string {
  const texts: string[] = [];
  for (let at = 4; at + 2 <= data.length; at += 2 + half(data, at))
    texts.push(deviceText(data.subarray(at + 2, at + 2 + half(data, at)), VENDOR_CLASS_LIMIT));
  return texts.filter(Boolean).join(" ").slice(0, VENDOR_CLASS_LIMIT);
}

function firstLabel(labels: Uint8Array): string {
  const length = labels[0] ?? 0;
  return length > LABEL_LIMIT || length >= labels.length + 1
    ? ""
    : deviceText(labels.subarray(1, 1 + length), LABEL_LIMIT);
}
