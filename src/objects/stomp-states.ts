/** How each `Device.STOMP.Connection.{i}.` fares: filled by who connects, shown by stomp.ts. */
import { UNKNOWN_TIME } from "../../datamodel/values.ts";

export type StompStatus =
  "Enabled" | "Connecting" | "ServerNotPresent" | "Error_Misconfigured" | "Error_AuthenticationFailure" | "Error";

export interface StompState {
  status: StompStatus;
  /** Milliseconds since 1970 of its last change. */
  since: number;
  /** Last failure in words; empty if there was none since the connection stands. */
  reason: string;
  /** What the broker named as subscribe-dest. */
  destinationFromServer: string;
  /** Where we listen. */
  destination: string;
  lastSent: number;
  lastReceived: number;
}

export class StompStates {
  readonly #states = new Map<string, StompState>();

  /** By the connection's instance path without final dot. */
  of(path: string): StompState {
    let state = this.#states.get(path);
    if (!state) {
      state = {
        status: "Connecting",
        since: UNKNOWN_TIME,
        reason: "",
        destinationFromServer: "",
        destination: "",
        lastSent: UNKNOWN_TIME,
        lastReceived: UNKNOWN_TIME,
      };
      this.#states.set(path, state);
    }
    return state;
  }

  forget(path: string): void {
    this.#states.delete(path);
  }
}
