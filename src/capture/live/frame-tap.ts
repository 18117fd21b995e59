/** PORT: the frames of an interface as they pass, and the helper's packet socket behind it. */
import type { NetfilterHelper } from "../../netlink/helper.ts";

export interface TapRequest {
  readonly interface: string;
  /** Absent: every frame of the interface. */
  readonly mac?: number;
  readonly snapLength: number;
}

export interface TapHandlers {
  /** A frame in [start, end) of `bytes`, valid until the call returns; `original` bytes on the wire; ms since 1970. */
  onFrame(bytes: Buffer, start: number, end: number, original: number, timeMs: number): void;
  /** Frames that were not read in time. */
  onLoss(lost: number): void;
  /** There are no frames, or no more, and why. */
  onError(error: Error): void;
  /** From now on every frame is seen. */
  onReady(): void;
}

export interface FrameTap {
  /** Why nothing can be tapped on this gateway, in words; `undefined` if it can. */
  unusable(): string | undefined;
  /** Listens until the returned function is called. @throws RangeError for what is no name of an interface */
  open(request: TapRequest, handlers: TapHandlers): () => void;
}

export function helperTap(helper: NetfilterHelper | undefined): FrameTap {
  return {
    unusable() {
      if (!helper) return "frames are read by the helper, and there is none";
      if (!helper.running) return `the helper does not run${helper.lastError && `: ${helper.lastError}`}`;
      if (helper.mayReadFrames) return undefined;
      return "the helper lacks CAP_NET_RAW: setcap cap_net_admin,cap_net_raw+ep on it, or an ambient capability";
    },
    open({ interface: name, mac, snapLength }, handlers) {
      if (!helper) throw new RangeError("there is no helper");
      const filter = mac === undefined ? ({ kind: "all" } as const) : ({ kind: "device", mac } as const);
      return helper.frames({ interface: name, filter, snapLength }, handlers);
    },
  };
}
