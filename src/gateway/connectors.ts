/** Which backend makes a connection of an MTP row, by its Protocol. */
import type { DialFactory, MtpFactory } from "../usp/mtp.ts";
import type { Protocol } from "../usp/policy.ts";
import type { Connect, ConnectorOptions, Dial } from "./connector.ts";
import { mqttConnector } from "./mqtt-connector.ts";
import { stompConnector } from "./stomp-connector.ts";
import { udsConnector } from "./uds-connector.ts";
import { webSocketDialler, webSocketListener } from "./websocket-connector.ts";

/** Of rows of `Device.LocalAgent.MTP.{i}.`. */
const AGENT_ROWS: Readonly<Partial<Record<Protocol, Connect>>> = {
  MQTT: mqttConnector,
  STOMP: stompConnector,
  WebSocket: webSocketListener,
  UDS: udsConnector,
};

/** Of rows of `Device.LocalAgent.Controller.{i}.MTP.{i}.`: where the agent dials the controller. */
const CONTROLLER_ROWS: Readonly<Partial<Record<Protocol, Dial>>> = {
  WebSocket: webSocketDialler,
};

export const PROTOCOLS = Object.keys(AGENT_ROWS) as readonly Protocol[];

export function connectors(options: ConnectorOptions): { readonly mtp: MtpFactory; readonly dial: DialFactory } {
  const protocolOf = (row: Parameters<MtpFactory>[0]) => options.tree.text(row, "Protocol") as Protocol;
  return {
    mtp: (row) => AGENT_ROWS[protocolOf(row)]?.(row, options),
    dial: (row) => CONTROLLER_ROWS[protocolOf(row)]?.(row, options),
  };
}
