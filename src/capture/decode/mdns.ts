/**
 * What a device announces of itself by multicast DNS (RFC 6762) and DNS-SD (RFC 6763): its `.local` name, the types of its
 * services, and its model where a TXT record names it. Responses alone: questions carry what others answered. Input is
 * hostile: bounded, never throws.
 */
import { wordsFromBytes } from "../../lib/address.ts";
import { deviceText } from "./device-text.ts";
import { readName, skipName } from "./dns.ts";
import { half } from "./packet.ts";

export interface MdnsAnnouncement {
  /** Without `.local`, lower-case; empty if none. */
  readonly hostName: string;
  /** Such as `_hap._tcp`, in the order of appearance. */
  readonly services: readonly string[];
  readonly model: string;
}

const HEADER_BYTES = 12;
const RECORD_LIMIT = 256;
const SERVICE_LIMIT = 32;
const MODEL_LIMIT = 64;
const Type = { A: 1, PTR: 12, TXT: 16, AAAA: 28, SRV: 33 } as const;
const CLASS_IN = 1;
const HOST = /^((?:[a-z0-9_-]|\\\d{3})+)\.local$/;
const SERVICE = /(?:^|\.)(_[a-z0-9-]{1,15}\._(?:tcp|udp))\.local$/;
/** DNS-SD's own: asks for, or lists, the types. */
const META = /(?:^|\.)_services\._dns-sd\._udp\.local$/;
/** Keys of TXT records that name the make, the best first: `_device-info`, AirPlay; HomeKit, Cast; printers; RAOP. */
const MODEL_KEYS = ["model", "md", "ty", "am"];

/**
 * The announcement of whoever sent it from `source` (four words); `undefined` for questions, for what is malformed, for
 * what says nothing of the sender, and for what speaks for others: where there are addresses of the source's family and
 * the source is none of them, a reflector or a sleep proxy sent it.
 */
export function decodeMdns(bytes: Uint8Array, source: ArrayLike<number>): MdnsAnnouncement | undefined {
  if (bytes.length < HEADER_BYTES || (half(bytes, 2) & 0xf800) !== 0x8000) return undefined;
  const services = new Set<string>();
  const models = MODEL_KEYS.map(() => "");
  const isV4 = source[0] === 0 && source[1] === 0 && (source[2] as number) >>> 0 === 0xffff;
  let ownName = "";
  let otherName = "";
  let hasOwn = false;
  let hasForeign = false;
  let at = HEADER_BYTES;
  for (let i = half(bytes, 4); i > 0; i--) {
    const end = at < bytes.length ? skipName(bytes, at) : -1;
    if (end < 0) return undefined;
    at = end + 4;
  }
  const records = half(bytes, 6) + half(bytes, 8) + half(bytes, 10);
  for (let i = 0; i < records && i < RECORD_LIMIT && at < bytes.length; i++) {
    const end = skipName(bytes, at);
    // The snap length may have cut it: what was whole counts.
    if (end < 0 || end + 10 > bytes.length) break;
    const type = half(bytes, end);
    const length = half(bytes, end + 8);
    const data = end + 10;
    if (data + length > bytes.length) break;
    const isGoodbye = half(bytes, end + 4) === 0 && half(bytes, end + 6) === 0;
    // The top bit of the class says that the cache is to be flushed.
    const isInternet = (half(bytes, end + 2) & 0x7fff) === CLASS_IN;
    if (isInternet && !isGoodbye) {
      const owner = readName(bytes, at) ?? "";
      if ((type === Type.A && length === 4) || (type === Type.AAAA && length === 16)) {
        const words = wordsFromBytes(bytes, data, type === Type.A ? 4 : 6);
        const isOwn = words.every((word, k) => word === (source[k] as number) >>> 0);
        hasOwn ||= isOwn;
        hasForeign ||= !isOwn && (type === Type.A) === isV4;
        const name = HOST.exec(owner)?.[1] ?? "";
        if (isOwn) ownName ||= name;
        else otherName ||= name;
      } else if (type === Type.SRV && length > 6) {
        addService(services, owner);
        otherName ||= HOST.exec(readName(bytes, data + 6) ?? "")?.[1] ?? "";
      } else if (type === Type.PTR) {
        if (META.test(owner)) addService(services, readName(bytes, data) ?? "");
        else addService(services, owner);
      } else if (type === Type.TXT && SERVICE.test(owner)) {
        addService(services, owner);
        readModel(bytes, data, data + length, models);
      }
    }
    at = data + length;
  }
  if (hasForeign && !hasOwn) return undefined;
  const hostName = ownName || (hasOwn ? "" : otherName);
  const model = models.find((text) => text !== "") ?? "";
  if (hostName === "" && services.size === 0 && model === "") return undefined;
  return { hostName, services: [...services], model };
}

function addService(services: Set<string>, name: string): void {
  const type = META.test(name) ? undefined : SERVICE.exec(name)?.[1];
  if (type !== undefined && services.size < SERVICE_LIMIT) services.add(type);
}

/** Strings with a byte of length before each, `key=value`. */
function readModel(bytes: Uint8Array, start: number, end: number, models: string[]): void {
  for (let at = start; at < end; at += 1 + (bytes[at] as number)) {
    const pair = bytes.subarray(at + 1, Math.min(end, at + 1 + (bytes[at] as number)));
    const equals = pair.indexOf(0x3d);
    if (equals < 1 || equals > 8) continue;
    const place = MODEL_KEYS.indexOf(Buffer.from(pair.subarray(0, equals)).toString("latin1").toLowerCase());
    if (place >= 0) models[place] ||= deviceText(pair.subarray(equals + 1), MODEL_LIMIT);
  }
}
