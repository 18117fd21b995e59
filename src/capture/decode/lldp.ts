/**
 * What a device says of itself by LLDP (IEEE 802.1AB): system name (TLV 5), system description (6) and its MUD URL (127 of
 * IANA, subtype 1: RFC 8520 §12). Input is hostile: bounded, never throws.
 */
import { deviceText, mudUrl } from "./device-text.ts";
import { half } from "./packet.ts";

export interface LldpMessage {
  /** As sent: whoever shows it cleans it. */
  readonly systemName: string;
  readonly systemDescription: string;
  readonly mudUrl: string;
}

const NAME_LIMIT = 255;
const DESCRIPTION_LIMIT = 128;
const TLV_LIMIT = 64;

/** The frame's payload; `undefined` for what does not begin as LLDP must: chassis, port, time to live. */
export function decodeLldp(bytes: Uint8Array): LldpMessage | undefined {
  let systemName = "";
  let systemDescription = "";
  let url = "";
  let at = 0;
  for (let i = 0; i < TLV_LIMIT && at + 2 <= bytes.length; i++) {
    const head = half(bytes, at);
    const type = head >>> 9;
    const value = bytes.subarray(at + 2, at + 2 + (head & 0x1ff));
    if ((i < 3 && type !== i + 1) || value.length < (head & 0x1ff)) return undefined;
    if (type === 0) break;
    if (type === 5) systemName ||= deviceText(value, NAME_LIMIT);
    else if (type === 6) systemDescription ||= deviceText(value, DESCRIPTION_LIMIT);
    else if (type === 127 && value.length > 4 && half(value, 0) === 0 && half(value, 2) === 0x5e01)
      url ||= mudUrl(value.subarray(4));
    at += 2 + (head & 0x1ff);
  }
  return at === 0 ? undefined : { systemName, systemDescription, mudUrl: url };
}
