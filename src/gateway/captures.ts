/** The port of live captures, whose code is read when somebody first wants one. */
import { existsSync } from "node:fs";
import type { LiveCapture } from "../spin/live-capture.ts";
import type { LiveCaptureParts } from "./live-capture.ts";

type Captures = LiveCapture & { close(): void; forget(mac?: number): Promise<number> };

export interface LazyCaptures extends LiveCapture {
  /** Removes what was kept; call it once, at the end. */
  close(): Promise<void>;
}

export function lazyCaptures(parts: LiveCaptureParts): LazyCaptures {
  let made: Promise<Captures> | undefined;
  const captures = () => (made ??= import("./live-capture.ts").then(({ makeLiveCaptures }) => makeLiveCaptures(parts)));
  // What an agent that was killed left behind is somebody's traffic.
  const cleaned = existsSync(parts.folder)
    ? import("./live-capture.ts").then(({ removeLeftovers }) => removeLeftovers(parts.folder))
    : Promise.resolve();
  cleaned.catch((error: unknown) => parts.log.warn("captures of an earlier life were not removed", error));
  return {
    get interfaces() {
      return parts.interfaces();
    },
    run: async (request, signal) => (await captures()).run(request, signal),
    forget: async (mac) => (await made)?.forget(mac) ?? 0,
    close: async () => (await made)?.close(),
  };
}
