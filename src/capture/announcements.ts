/**
 * What devices say of themselves → observations of identity: DHCPv4 and DHCPv6 of clients, mDNS, LLDP. The same for frames
 * of the live LAN and of a capture. Devices repeat themselves; what was told within the hour is not told again.
 */
import type { Observation } from "../spin/observation.ts";
import { type DhcpMessage, DhcpType } from "./decode/dhcp.ts";
import { decodeDhcpv6 } from "./decode/dhcpv6.ts";
import { decodeLldp } from "./decode/lldp.ts";
import { decodeMdns } from "./decode/mdns.ts";
import { cleanHostName } from "./lease-files.ts";

type Identity = Extract<Observation, { readonly kind: "identity" }>;

export const AnnouncementPort = { Dhcp: 67, Dhcpv6: 547, Mdns: 5353 } as const;

const TELL_AGAIN_MS = 3_600_000;
/** A home of a hundred devices says some five hundred different things. */
const TOLD_LIMIT = 4096;

export class Announcements {
  readonly #emit: (observation: Identity) => void;
  /** Fingerprints of what was told, and when; the oldest first. */
  readonly #told = new Map<number, number>();
  decodeErrors = 0;

  constructor(emit: (observation: Identity) => void) {
    this.#emit = emit;
  }

  /** Only clients' messages say something of a client. */
  dhcp({ type, mac, hostName, vendorClass, parameterList, mudUrl }: DhcpMessage, time: number): void {
    if (type !== DhcpType.Discover && type !== DhcpType.Request && type !== DhcpType.Inform) return;
    this.#tell(time, mac, "dhcp", {
      ...name(hostName),
      ...(vendorClass === "" ? {} : { vendorClass }),
      ...(parameterList.length === 0 ? {} : { parameterList }),
      ...(mudUrl === "" ? {} : { mudUrl }),
    });
  }

  /** The payload of a datagram to port 547. */
  dhcpv6(payload: Uint8Array, mac: number, time: number): void {
    const message = decodeDhcpv6(payload);
    if (!message) this.decodeErrors++;
    else
      this.#tell(time, message.relayedMac ?? mac, "dhcpv6", {
        ...name(message.hostName),
        ...(message.vendorClass === "" ? {} : { vendorClass: message.vendorClass }),
        ...(message.mudUrl === "" ? {} : { mudUrl: message.mudUrl }),
      });
  }

  /** The payload of a datagram to port 5353; `source` as four words. */
  mdns(payload: Uint8Array, source: ArrayLike<number>, mac: number, time: number): void {
    const found = decodeMdns(payload, source);
    if (!found) return;
    this.#tell(time, mac, "mdns", {
      ...name(found.hostName),
      ...(found.services.length === 0 ? {} : { services: found.services }),
      ...(found.model === "" ? {} : { model: found.model }),
    });
  }

  /** What follows LLDP's EtherType. */
  lldp(payload: Uint8Array, mac: number, time: number): void {
    const message = decodeLldp(payload);
    if (!message) this.decodeErrors++;
    else
      this.#tell(time, mac, "lldp", {
        ...name(message.systemName),
        ...(message.systemDescription === "" ? {} : { model: message.systemDescription }),
        ...(message.mudUrl === "" ? {} : { mudUrl: message.mudUrl }),
      });
  }

  #tell(
    time: number,
    mac: number,
    source: Identity["source"],
    said: Omit<Identity, "kind" | "time" | "mac" | "source">,
  ): void {
    if (mac === 0 || Object.keys(said).length === 0) return;
    const print = fingerprint(`${mac} ${source} ${JSON.stringify(said)}`);
    const told = this.#told.get(print);
    if (told !== undefined && time - told < TELL_AGAIN_MS) return;
    this.#told.delete(print);
    this.#told.set(print, time);
    if (this.#told.size > TOLD_LIMIT) this.#told.delete(this.#told.keys().next().value as number);
    this.#emit({ kind: "identity", time, mac, source, ...said });
  }
}

function name(text: string): { hostName?: string } {
  const hostName = cleanHostName(text);
  return hostName === undefined ? {} : { hostName };
}

/** 53 bits: of thousands of texts no two have the same, unless somebody looks for it, and then one goes untold for an hour. */
function fingerprint(text: string): number {
  let low = 0x9e3779b1;
  let high = 0x85ebca6b;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    low = Math.imul(low ^ code, 0x01000193);
    high = Math.imul(high ^ code, 0x5bd1e995) ^ (high >>> 15);
  }
  return (high >>> 11) * 0x100000000 + (low >>> 0);
}
