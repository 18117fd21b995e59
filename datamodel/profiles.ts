/**
 * Profiles of TR-181 2.19 that the agent's model has, whole (a test holds each against the standard's facts). `MTP` ones are
 * there whether or not a configuration uses the MTP.
 */
export const PROFILES: readonly { readonly name: string; readonly but?: string }[] = [
  { name: "LocalAgent:1" },
  { name: "Controllers:1" },
  { name: "Subscriptions:1" },
  { name: "ControllerTrust:1" },
  { name: "ControllerTrust:2" },
  { name: "Challenge:1" },
  { name: "Reboot:1", but: "`Device.Reboot()` only where the configuration says how the gateway restarts" },
  { name: "DeviceInfo:1" },
  { name: "MemoryStatus:1" },
  { name: "MQTTClientBase:1" },
  { name: "MQTTClientCon:1" },
  { name: "MQTTClientSubscribe:1" },
  { name: "MQTTClientExtended:1" },
  { name: "MQTTAgent:1" },
  { name: "MQTTController:2" },
  { name: "STOMPConn:1" },
  { name: "STOMPHeartbeat:1" },
  { name: "STOMPAgent:1" },
  { name: "STOMPController:1" },
  { name: "WebSocketAgent:1" },
  { name: "WebSocketController:1" },
  { name: "UDSAgent:1" },
  { name: "UDSController:1" },
  { name: "BulkDataColl:1" },
  { name: "BulkDataReports:1" },
  { name: "BulkDataHTTP:1" },
  { name: "BulkDataJSONEncoding:1" },
  { name: "BulkDataCSVEncoding:1" },
];
