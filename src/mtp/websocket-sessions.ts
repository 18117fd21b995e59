/**
 * At most one open session with each endpoint (R-WS.4), whoever opened it. The one that stands is kept while its other end
 * lives, so that nobody ends a controller's session by coming in its name; one whose other end is gone gives way at once.
 */
import type { WebSocketLink } from "./websocket.ts";

/** For the other end of the older session to show that it lives. */
const PROBE_MS = 3_000;

export class WebSocketSessions {
  readonly #open = new Map<string, WebSocketLink>();
  readonly #probed = new Set<string>();

  /** Whether a session with that endpoint may be opened now; ends one whose other end is gone. */
  async admits(peer: string): Promise<boolean> {
    const link = this.#open.get(peer);
    if (!link?.isOpen) return true;
    // One newcomer is enough to ask.
    if (this.#probed.has(peer)) return false;
    this.#probed.add(peer);
    try {
      if (await link.answers(PROBE_MS)) return false;
      void link.close();
      return true;
    } finally {
      this.#probed.delete(peer);
    }
  }

  /** False if meanwhile another was opened. */
  add(peer: string, link: WebSocketLink): boolean {
    if (this.#open.get(peer)?.isOpen === true) return false;
    this.#open.set(peer, link);
    void link.closed.then(() => {
      if (this.#open.get(peer) === link) this.#open.delete(peer);
    });
    return true;
  }

  /** Resolves when there is none with that endpoint, or the signal is aborted. */
  async none(peer: string, signal: AbortSignal): Promise<void> {
    const stop = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    for (let link = this.#open.get(peer); link !== undefined && !signal.aborted; link = this.#open.get(peer))
      await Promise.race([link.closed, stop]);
  }
}
