/** What every connector is: from an MTP row to a way of connecting. One file for each MTP implements it. */
import type { Config } from "../config.ts";
import type { Log } from "../lib/log.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { WebSocketSessions } from "../mtp/websocket-sessions.ts";
import type { MqttStates } from "../objects/mqtt-states.ts";
import type { StompStates } from "../objects/stomp-states.ts";
import type { WebSocketStates } from "../objects/websocket.ts";
import type { MtpConnector, MtpListener } from "../usp/mtp.ts";

/** What connectors need of the gateway. */
export interface ConnectorOptions {
  readonly tree: Tree;
  readonly endpointId: string;
  /** For what the standard model has no parameter for: files of secrets, the permission to use plaintext. */
  readonly config: Config;
  readonly mqttStates: MqttStates;
  readonly stompStates: StompStates;
  readonly webSocketStates: WebSocketStates;
  /** Of this agent, dialled and taken. */
  readonly webSocketSessions: WebSocketSessions;
  /** Greatest Record that is taken. */
  readonly maxRecordBytes: number;
  readonly log: Log;
}

export type Connect = (row: InstanceNode, options: ConnectorOptions) => MtpConnector | MtpListener | undefined;

export type Dial = (row: InstanceNode, options: ConnectorOptions) => MtpConnector | undefined;
