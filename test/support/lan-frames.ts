/** Frames that devices of a LAN send, made by hand. Checksums of UDP and IPv4 are left out: nobody here looks at them. */
import { parseAddress, parseMac } from "../../src/lib/address.ts";

const EVERYBODY = "FF:FF:FF:FF:FF:FF";

export function macBytes(mac: string): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(parseMac(mac) as number, 0, 6);
  return bytes;
}

function addressBytes(address: string): Buffer {
  const words = parseAddress(address) as Uint32Array;
  const bytes = Buffer.alloc(16);
  for (let i = 0; i < 4; i++) bytes.writeUInt32BE(words[i] as number, 4 * i);
  return address.includes(":") ? bytes : bytes.subarray(12);
}

const u16 = (value: number) => Buffer.from([value >> 8, value & 255]);
const u32 = (value: number) => Buffer.from([value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255]);

export function ethernet(from: string, to: string, type: number, payload: Uint8Array): Buffer {
  const frame = Buffer.concat([macBytes(to), macBytes(from), u16(type), payload]);
  return frame.length < 60 ? Buffer.concat([frame, Buffer.alloc(60 - frame.length)]) : frame;
}

/** The same frame with an 802.1Q tag. */
export function tagged(frame: Uint8Array, id: number): Buffer {
  return Buffer.concat([frame.subarray(0, 12), u16(0x8100), u16(id), frame.subarray(12)]);
}

export interface ArpFields {
  readonly mac: string;
  readonly operation?: 1 | 2;
  /** `0.0.0.0`: a probe (RFC 5227). */
  readonly sender: string;
  readonly target: string;
  readonly to?: string;
  /** Of the sender inside the packet, where it is another than the frame's. */
  readonly senderMac?: string;
}

export function arp({ mac, operation = 1, sender, target, to = EVERYBODY, senderMac = mac }: ArpFields): Buffer {
  const fixed = Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]);
  const targetMac = macBytes(operation === 1 ? "00:00:00:00:00:00" : to);
  const payload = [fixed, macBytes(senderMac), addressBytes(sender), targetMac, addressBytes(target)];
  return ethernet(mac, to, 0x0806, Buffer.concat(payload));
}

export interface UdpFields {
  readonly mac: string;
  readonly to?: string;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
  /** IPv4: flags and offset of a fragment. */
  readonly fragment?: number;
}

export function udp(fields: UdpFields): Buffer {
  const { mac, to = EVERYBODY, source, destination, sourcePort, destinationPort, payload, fragment = 0 } = fields;
  const length = payload.length + 8;
  const datagram = Buffer.concat([u16(sourcePort), u16(destinationPort), u16(length), u16(0), payload]);
  if (source.includes(":")) {
    const header = [Buffer.from([0x60, 0, 0, 0]), u16(length), Buffer.from([17, 64])];
    const packet = Buffer.concat([...header, addressBytes(source), addressBytes(destination), datagram]);
    return ethernet(mac, to, 0x86dd, packet);
  }
  const header = [Buffer.from([0x45, 0]), u16(length + 20), u16(1), u16(fragment), Buffer.from([64, 17, 0, 0])];
  const packet = Buffer.concat([...header, addressBytes(source), addressBytes(destination), datagram]);
  return ethernet(mac, to, 0x0800, packet);
}

export type Option = readonly [code: number, data: string | Uint8Array];

const option = (width: 1 | 2, [code, data]: Option): Buffer => {
  const bytes = Buffer.from(data);
  const head = width === 1 ? Buffer.from([code, bytes.length]) : Buffer.concat([u16(code), u16(bytes.length)]);
  return Buffer.concat([head, bytes]);
};

/** A client's DHCPv4 message as a payload. */
export function dhcp(mac: string, type: number, options: readonly Option[], given = "0.0.0.0"): Buffer {
  const bytes = Buffer.alloc(240);
  bytes.set([type === 2 || type === 5 ? 2 : 1, 1, 6, 0], 0);
  bytes.writeUInt32BE(0x5350494e, 4);
  bytes.set(addressBytes(given), 16);
  bytes.set(macBytes(mac), 28);
  bytes.writeUInt32BE(0x63825363, 236);
  const all: readonly Option[] = [[53, Uint8Array.of(type)], ...options];
  return Buffer.concat([bytes, ...all.map((one) => option(1, one)), Buffer.of(255)]);
}

export function dhcpFrame(mac: string, type: number, options: readonly Option[]): Buffer {
  const ends = { source: "0.0.0.0", destination: "255.255.255.255", sourcePort: 68, destinationPort: 67 };
  return udp({ mac, ...ends, payload: dhcp(mac, type, options) });
}

/** A client's DHCPv6 message as a payload. */
export function dhcpv6(type: number, options: readonly Option[]): Buffer {
  return Buffer.concat([u32((type << 24) | 0x5350), ...options.map((one) => option(2, one))]);
}

export function dhcpv6Frame(mac: string, source: string, type: number, options: readonly Option[]): Buffer {
  const ends = { source, destination: "ff02::1:2", sourcePort: 546, destinationPort: 547, to: "33:33:00:01:00:02" };
  return udp({ mac, ...ends, payload: dhcpv6(type, options) });
}

export type Tlv = readonly [type: number, value: string | Uint8Array];

export function lldpFrame(mac: string, tlvs: readonly Tlv[]): Buffer {
  const chassis: Tlv = [1, Buffer.concat([Buffer.of(4), macBytes(mac)])];
  const all: readonly Tlv[] = [chassis, [2, "\x05eth0"], [3, u16(120)], ...tlvs, [0, ""]];
  const payload = all.map(([type, value]) => {
    const bytes = Buffer.from(value);
    return Buffer.concat([u16((type << 9) | bytes.length), bytes]);
  });
  return ethernet(mac, "01:80:C2:00:00:0E", 0x88cc, Buffer.concat(payload));
}

/** RFC 8520 §11: the URL in LLDP. */
export const mudTlv = (url: string): Tlv => [127, Buffer.concat([Buffer.of(0, 0, 0x5e, 1), Buffer.from(url)])];

export function dnsName(name: string): Buffer {
  const labels = name === "" ? [] : name.split(/(?<!\\)\./);
  const bytes = labels.map((label) => {
    const text = Buffer.from(label.replaceAll("\\.", "."));
    return Buffer.concat([Buffer.of(text.length), text]);
  });
  return Buffer.concat([...bytes, Buffer.of(0)]);
}

export interface DnsRecord {
  readonly name: string;
  readonly type: "A" | "AAAA" | "PTR" | "SRV" | "TXT";
  /** An address, a name, `host port`, or for TXT its strings. */
  readonly data: string | readonly string[];
  readonly ttl?: number;
}

const TYPE = { A: 1, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 } as const;

function recordBytes({ name, type, data, ttl = 120 }: DnsRecord): Buffer {
  let value: Buffer;
  if (typeof data !== "string")
    value = Buffer.concat(data.map((text) => Buffer.concat([Buffer.of(Buffer.byteLength(text)), Buffer.from(text)])));
  else if (type === "A" || type === "AAAA") value = addressBytes(data);
  else if (type === "SRV") {
    const [host = "", port] = data.split(" ");
    value = Buffer.concat([u32(0), u16(Number(port)), dnsName(host)]);
  } else value = dnsName(data);
  return Buffer.concat([dnsName(name), u16(TYPE[type]), u16(0x8001), u32(ttl), u16(value.length), value]);
}

/** An mDNS response as a payload. */
export function mdns(records: readonly DnsRecord[]): Buffer {
  const header = [u16(0), u16(0x8400), u16(0), u16(records.length), u16(0), u16(0)];
  return Buffer.concat([...header, ...records.map(recordBytes)]);
}

export function mdnsFrame(mac: string, source: string, records: readonly DnsRecord[]): Buffer {
  const isV6 = source.includes(":");
  const ends = isV6
    ? { source, destination: "ff02::fb", to: "33:33:00:00:00:FB" }
    : { source, destination: "224.0.0.251", to: "01:00:5E:00:00:FB" };
  return udp({ mac, ...ends, sourcePort: 5353, destinationPort: 5353, payload: mdns(records) });
}
