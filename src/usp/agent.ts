/**
 * A USP agent (TR-369) over whatever links it is given. It has never heard of SPIN: it serves the tree. Skeleton: the
 * shape that is wired, filled in next.
 */
import type { AgentOptions } from "./options.ts";
import type { Connected } from "./mtp.ts";

export class Agent {
  readonly #options: AgentOptions;

  constructor(options: AgentOptions) {
    this.#options = options;
  }

  /**
   * Connects the MTP rows, answers and notifies until the signal; then lets answers leave, says Disconnect, closes.
   * Call once. Resolves when all is closed; rejects only on a bug of ours.
   */
  async run(signal: AbortSignal): Promise<void> {
    this.#options.log.info(`${this.#options.endpointId} serves ${this.#options.tree.root.path}`);
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
  }

  /** Serves a link that a peer opened to us (WebSocket, Unix socket). `mtp`: path of its LocalAgent.MTP row, no final dot. */
  async serve(_mtp: string, _connected: Connected, _signal: AbortSignal): Promise<void> {}

  /** Closes what stands on the MTP row (instance path without final dot) and connects anew: ForceReconnect(). */
  reconnect(_mtp: string): void {}
}
