/** How each `Device.MQTT.Client.{i}.` fares: filled by who connects, shown by mqtt.ts. */
import { UNKNOWN_TIME } from "../../datamodel/values.ts";
import type { Publication } from "../usp/bulk-data/delivery.ts";

export type MqttStatus =
  "Disabled" | "Connecting" | "Connected" | "Error_Misconfigured" | "Error_BrokerUnreachable" | "Error";

export interface MqttState {
  status: MqttStatus;
  /** Last failure in words; empty if there was none since the connection stands. */
  reason: string;
  responseInformation: string;
  /** Topic filters that the broker granted. */
  subscribed: readonly string[];
  /** Milliseconds since 1970. */
  established: number;
  lastSent: number;
  lastReceived: number;
  publishSent: number;
  publishReceived: number;
  subscribeSent: number;
  unsubscribeSent: number;
  /** MQTT packets of every type. */
  packetsSent: number;
  packetsReceived: number;
  connectionErrors: number;
  publishErrors: number;
  /** Sends what is no Record; absent while it is not connected. */
  publish?: ((publication: Publication) => Promise<void>) | undefined;
}

export class MqttStates {
  readonly #states = new Map<string, MqttState>();

  /** By the client's instance path without final dot. */
  of(path: string): MqttState {
    let state = this.#states.get(path);
    if (!state) {
      state = initial();
      this.#states.set(path, state);
    }
    return state;
  }

  forget(path: string): void {
    this.#states.delete(path);
  }
}

function initial(): MqttState {
  return {
    status: "Connecting",
    reason: "",
    responseInformation: "",
    subscribed: [],
    established: UNKNOWN_TIME,
    lastSent: UNKNOWN_TIME,
    lastReceived: UNKNOWN_TIME,
    publishSent: 0,
    publishReceived: 0,
    subscribeSent: 0,
    unsubscribeSent: 0,
    packetsSent: 0,
    packetsReceived: 0,
    connectionErrors: 0,
    publishErrors: 0,
  };
}
