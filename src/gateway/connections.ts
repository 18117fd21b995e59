/**
 * Whom the agent talks to: address and port of each connection that it dials, from the moment it tries until a while after
 * it ended. No rule cuts those, whatever rows controllers changed since the start.
 */
import type { DialObserver } from "../mtp/socket.ts";

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

/** More than an agent has; who writes rows that dial everywhere makes no hole in the rules for it. */
const MAX_ENDPOINTS = 32;
/** How long one that ended is still let through: for its last packets, and so that a retry changes nothing. */
const LINGER_MS = 60_000;

interface Held {
  readonly endpoint: Endpoint;
  count: number;
  timer: NodeJS.Timeout | undefined;
}

export class Connections implements DialObserver {
  readonly #changed: (endpoints: readonly Endpoint[]) => void;
  readonly #lingerMs: number;
  readonly #held = new Map<string, Held>();
  #isTold = true;

  constructor(changed: (endpoints: readonly Endpoint[]) => void, lingerMs = LINGER_MS) {
    this.#changed = changed;
    this.#lingerMs = lingerMs;
  }

  dialled(addresses: readonly string[], port: number): () => void {
    const held = addresses.flatMap((address) => this.#hold({ address, port }) ?? []);
    return () => {
      for (const one of held.splice(0)) this.#release(one);
    };
  }

  #hold(endpoint: Endpoint): Held | undefined {
    const key = `${endpoint.address} ${endpoint.port}`;
    let held = this.#held.get(key);
    if (!held) {
      if (this.#held.size >= MAX_ENDPOINTS) return undefined;
      this.#held.set(key, (held = { endpoint, count: 0, timer: undefined }));
      this.#tell();
    }
    clearTimeout(held.timer);
    held.count++;
    return held;
  }

  #release(held: Held): void {
    if (--held.count > 0) return;
    held.timer = setTimeout(() => {
      this.#held.delete(`${held.endpoint.address} ${held.endpoint.port}`);
      this.#tell();
    }, this.#lingerMs).unref();
  }

  /** Once for all that happens in one turn. */
  #tell(): void {
    if (!this.#isTold) return;
    this.#isTold = false;
    queueMicrotask(() => {
      this.#isTold = true;
      this.#changed([...this.#held.values()].map(({ endpoint }) => endpoint));
    });
  }
}
