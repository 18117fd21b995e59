/**
 * Frames of one Ethernet interface as the helper hands them on (src/netlink/helper/frames.c): what is asked for, and how
 * the answer is laid out. No filter of the caller's ever reaches the kernel; it names one of four.
 */
import { u32le } from "./messages.ts";

export interface FramesRequest {
  /** The name of an Ethernet interface: a bridge, a port, a VLAN of one. Not the loopback. */
  readonly interface: string;
  readonly filter:
    | {
        /**
         * What devices tell a LAN: ARP, LLDP, DHCPv4 and DHCPv6 to servers, mDNS. Frames that came in alone, 1,600 bytes
         * of each, 1,000 a second of ARP and as many of the rest; those past it are told by `onLoss` as passed over.
         */
        readonly kind: "home";
      }
    /** LLDP alone, for the ports of a bridge, which keep it from the bridge itself. */
    | { readonly kind: "lldp" }
    /** Every frame from or to a hardware address, also those that leave by the interface. Four at once at most. */
    | { readonly kind: "device"; readonly mac: number }
    /** Every frame of the interface; it counts as one of those four. */
    | { readonly kind: "all" };
  /** For `device` and `all`: bytes kept of each frame, 14 to 65,535. Default 65,535. */
  readonly snapLength?: number;
}

export interface FramesHandlers {
  /**
   * A frame in [start, end) of `bytes`, from its destination address on, without checksum; VLAN tags are in their place.
   * Valid until the call returns. `originalLength`: bytes that the wire had. `timeMs`: the kernel's time in ms since 1970,
   * exact to a quarter of a microsecond. Segmentation offload makes frames longer than the wire's.
   */
  onFrame(bytes: Buffer, start: number, end: number, originalLength: number, timeMs: number): void;
  /**
   * Frames that the kernel had to drop since the last call because they weren't read in time, and (home, lldp) those not
   * read because of the rate. At most once a second, the first at once. A restart of the helper counts as 1.
   */
  onLoss?(lost: number, passedOver: number): void;
  /**
   * In words why there are no frames: no such interface, no CAP_NET_RAW, or the interface has gone. The subscription is
   * tried again at the helper's next start only: end it, and ask anew.
   */
  onError(error: Error): void;
  /** The kernel hands frames over from now on; again after each restart of the helper. */
  onReady?(): void;
  /** The helper ended or does not answer; it is being started again. */
  onDown?(reason: string): void;
}

const FILTER = { home: 1, lldp: 2, device: 3, all: 4 } as const;
const NAME_BYTES = 16;
const HEADER_BYTES = 16;
const LONGEST = 65_535;

/** @throws RangeError for what names no interface */
export function framesPayload({ interface: name, filter, snapLength = LONGEST }: FramesRequest): Uint8Array {
  const payload = Buffer.alloc(NAME_BYTES + 16);
  if (name === "" || Buffer.byteLength(name) >= NAME_BYTES || name.includes("\0"))
    throw new RangeError(`${JSON.stringify(name)} is no name of an interface`);
  payload.write(name, 0);
  payload.writeUInt32LE(FILTER[filter.kind], NAME_BYTES);
  if (filter.kind === "device") payload.writeUIntBE(filter.mac, NAME_BYTES + 4, 6);
  payload.writeUInt32LE(snapLength, NAME_BYTES + 12);
  return payload;
}

/** Hands on each frame of a Data payload; one that is not whole ends it. */
export function eachFrame(bytes: Buffer, start: number, end: number, onFrame: FramesHandlers["onFrame"]): void {
  for (let at = start; at + HEADER_BYTES <= end;) {
    const captured = u32le(bytes, at);
    const frame = at + HEADER_BYTES;
    if (frame + captured > end) return;
    const timeMs = u32le(bytes, at + 8) * 1000 + u32le(bytes, at + 12) / 1e6;
    onFrame(bytes, frame, frame + captured, u32le(bytes, at + 4), timeMs);
    at = frame + ((captured + 3) & ~3);
  }
}
