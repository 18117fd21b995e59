/** Frames as a test says them, where the kernel would give them: a double that keeps the contract of FrameTap. */
import type { FrameTap, TapHandlers, TapRequest } from "../../src/capture/live/frame-tap.ts";
import { macFromBytes } from "../../src/lib/address.ts";

export class ScriptedTap implements FrameTap {
  readonly #open = new Set<{ request: TapRequest; handlers: TapHandlers }>();
  readonly #interfaces: readonly string[];
  why: string | undefined;

  constructor(interfaces: readonly string[] = ["br-lan"]) {
    this.#interfaces = interfaces;
  }

  get opened(): readonly TapRequest[] {
    return [...this.#open].map(({ request }) => request);
  }

  unusable(): string | undefined {
    return this.why;
  }

  open(request: TapRequest, handlers: TapHandlers): () => void {
    const one = { request, handlers };
    this.#open.add(one);
    setImmediate(() => {
      if (!this.#open.has(one)) return;
      if (this.#interfaces.includes(request.interface)) handlers.onReady();
      else handlers.onError(new Error("there is no such interface"));
    });
    return () => void this.#open.delete(one);
  }

  /** The frame passes at the interface. */
  pass(frame: Uint8Array, { timeMs = 1_700_000_000_000, at = "br-lan" } = {}): void {
    for (const { request, handlers } of this.#open) {
      const { mac, snapLength } = request;
      if (request.interface !== at) continue;
      if (mac !== undefined && macFromBytes(frame, 0) !== mac && macFromBytes(frame, 6) !== mac) continue;
      // As in the helper's answers, other bytes stand around it.
      const kept = Math.min(frame.length, snapLength);
      const bytes = Buffer.concat([Buffer.alloc(3, 0xee), frame.subarray(0, kept), Buffer.alloc(5, 0xee)]);
      handlers.onFrame(bytes, 3, 3 + kept, frame.length, timeMs);
    }
  }

  lose(frames: number): void {
    for (const { handlers } of this.#open) handlers.onLoss(frames);
  }

  fail(message: string): void {
    for (const { handlers } of this.#open) handlers.onError(new Error(message));
  }
}
