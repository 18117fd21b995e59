/** What the objects layer shows and asks of sessions; made before the tree, filled by the agent. */
import type { Trust } from "../session/identity.ts";
import type { PeerStatus } from "../session/peer.ts";

export interface SessionState {
  readonly status: PeerStatus;
  readonly retryCount: number;
}

const NONE: SessionState = { status: "Down", retryCount: 0 };

export class SessionStates {
  /** Whether the agent has a certificate for payload security. */
  readonly hasIdentity: boolean;
  readonly #states = new Map<string, SessionState>();
  #onReset: (controller: string) => void = () => undefined;

  constructor(hasIdentity: boolean) {
    this.hasIdentity = hasIdentity;
  }

  /** By the Controller row's instance path, without final dot. */
  of(controller: string): SessionState {
    return this.#states.get(controller) ?? NONE;
  }

  set(controller: string, state: SessionState): void {
    this.#states.set(controller, state);
  }

  forget(controller: string): void {
    this.#states.delete(controller);
  }

  /** Reset() */
  reset(controller: string): void {
    this.#onReset(controller);
  }

  onReset(reset: (controller: string) => void): void {
    this.#onReset = reset;
  }
}

/** AgentOptions.sessions */
export interface SessionOptions {
  readonly states: SessionStates;
  /** Certificate for payload security and signatures; without one, neither is done. Default of `check`: admission's. */
  readonly trust?: Omit<Trust, "check"> & Partial<Trust>;
  /** Whether Records are ignored that neither their MTP nor a signature protects (R-E2E.30). Default false. */
  readonly integrityRequired?: boolean;
}
