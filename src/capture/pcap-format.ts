/**
 * What the capture formats have in common: link types, limits, and the error that says where a file stopped making
 * sense. Sources: pcap-savefile(5), draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng, tcpdump.org's LINKTYPE registry.
 */

/** LINKTYPE_ values that are decoded. */
export const LinkType = {
  Null: 0,
  Ethernet: 1,
  /** DLT_RAW as BSDs wrote it into files. */
  RawBsd: 12,
  RawOpenBsd: 14,
  Raw: 101,
  Loop: 108,
  LinuxCooked: 113,
  IPv4: 228,
  IPv6: 229,
  LinuxCooked2: 276,
} as const;

const DECODED: ReadonlySet<number> = new Set(Object.values(LinkType));

export function isDecoded(linkType: number): boolean {
  return DECODED.has(linkType);
}

/** The largest packet that is believed: libpcap's MAXIMUM_SNAPLEN for all link types that are decoded here. */
export const MAX_PACKET = 262_144;
/** The largest pcapng block that holds a packet or describes an interface, options included. Others are skipped, however long. */
export const MAX_BLOCK = MAX_PACKET + 65_536;

/** Where and why a capture could not be read further. What came before it was read. */
export class CaptureError extends Error {
  override readonly name = "CaptureError";
  constructor(
    /** Byte of the (decompressed) capture at which the unreadable part begins. */
    readonly offset: number,
    readonly reason: string,
  ) {
    super(`at byte ${offset}: ${reason}`);
  }
}
