/**
 * PORT: the frames of one device, or of one interface of the LAN, into a capture file that is sent away as it grows or
 * kept for the resident. What of a frame may be seen is the caller's to say, and may only become less while it runs.
 */

/** Whole frames; their headers alone; headers alone and of public addresses nothing. From most to least. */
export type Visible = "Frames" | "Headers" | "HeadersWithoutPeers";

export interface CaptureRequest {
  /** Hardware address of the device; absent: all that the interface carries. */
  readonly mac?: number;
  /** Names of the LAN's interfaces to listen at; at least one. */
  readonly interfaces: readonly string[];
  /** Only frames from or to this IP address (four words). */
  readonly address?: Uint32Array;
  readonly format: "libpcap" | "pcapng";
  /** Whichever comes first ends it; of the counts, 0 is none. Bytes are those kept of frames. */
  readonly durationMs: number;
  readonly packetCount: number;
  readonly byteCount: number;
  /** Most bytes kept of a frame. */
  readonly snapLength: number;
  /** Absent: kept in a file. */
  readonly target?: CaptureTarget;
  /** Asked each second; an object ends the capture and says why in words. */
  visible(): Visible | { readonly denied: string };
}

export interface CaptureTarget {
  /** http: or https:. */
  readonly url: string;
  readonly method: "PUT" | "POST";
  /** Empty: none is told. */
  readonly username: string;
  readonly password: string;
  /** Whether it may lie in the home, on this machine or in a private range. */
  readonly mayBeLocal: boolean;
}

export interface CaptureResult {
  /**
   * Complete: one of the bounds was reached. Partial: it ended before. Canceled: by the signal. Refused, Busy: it never
   * began, because of what was asked, or of another that runs. Failed: it can't be had here. Undelivered: the target did
   * not take it.
   */
  readonly status: "Complete" | "Partial" | "Canceled" | "Refused" | "Busy" | "Failed" | "Undelivered";
  /** Why it ended, in words. */
  readonly reason: string;
  readonly packets: number;
  /** Of frames, as kept. */
  readonly bytes: number;
  /** Frames that could not be kept: the kernel's buffer or ours was full. */
  readonly lost: number;
  /** Milliseconds since 1970; both 0 if it never began. */
  readonly startTime: number;
  readonly endTime: number;
  /** The URL, or the path of the file; empty if there is none. */
  readonly location: string;
  /** Whether anything was left out that the snap length did not. */
  readonly headersOnly: boolean;
}

export interface LiveCapture {
  /** The LAN's interfaces as they are known. */
  readonly interfaces: ReadonlySet<string>;
  /** Until a bound is reached or the signal. Never rejects. */
  run(request: CaptureRequest, signal: AbortSignal): Promise<CaptureResult>;
  /** Removes what is kept of a device, or all that is kept. @returns how many files those were */
  forget?(mac?: number): Promise<number>;
}

/** As much as is ever kept of a frame, and the least that is of use: its Ethernet header. */
export const LONGEST_SNAP = 65_535;
export const SHORTEST_SNAP = 14;
/** Nobody means to watch a device for longer; a day would be surveillance, and a forgotten one costs the gateway. */
export const MAX_DURATION_S = 3600;
export const DEFAULT_DURATION_S = 60;
