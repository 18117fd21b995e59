/**
 * At most one open session with each endpoint (R-WS.4), whoever opened it. The one that stands is kept while its other end
 * lives, so that nobody ends a controller's session by coming in its name; one whose other end is gone gives way at once,
 * and so does one that a name alone opened, to one that TLS has verified.
 */
import type { WebSocketLink } from "./websocket.ts";

interface Session {
  readonly link: WebSocketLink;
  /** TLS found at the other end whom it calls itself. */
  readonly isVerified: boolean;
}

/** For the other end of the older session to show that it lives. */
const PROBE_MS = 3_000;

export class WebSocketSessions {
  readonly #open = new Map<string, Session>();
  readonly #probed = new Set<string>();

  /** Whether a session with that endpoint may be opened now; ends one whose other end is gone. */
  async admits(peer: string, isVerified: boolean): Promise<boolean> {
    const session = this.#open.get(peer);
    if (!session || !stands(session, isVerified)) return true;
    const { link } = session;
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
  async add(peer: string, link: WebSocketLink, isVerified: boolean): Promise<boolean> {
    const before = this.#open.get(peer);
    if (before && stands(before, isVerified)) return false;
    const session = { link, isVerified };
    this.#open.set(peer, session);
    void link.closed.then(() => {
      if (this.#open.get(peer) === session) this.#open.delete(peer);
    });
    if (before?.link.isOpen === true) {
      before.link.displace();
      // Who served it lets go of it before the new one is served.
      await new Promise((resolve) => setImmediate(resolve));
    }
    return true;
  }

  /** Resolves when there is none with that endpoint in the way of one that is so verified, or the signal is aborted. */
  async none(peer: string, isVerified: boolean, signal: AbortSignal): Promise<void> {
    const stop = new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
    for (;;) {
      const session = this.#open.get(peer);
      if (!session || signal.aborted || (isVerified && !session.isVerified)) return;
      await Promise.race([session.link.closed, stop]);
    }
  }
}

/** Against a newcomer. */
const stands = ({ link, isVerified }: Session, isNewVerified: boolean) => link.isOpen && (isVerified || !isNewVerified);
