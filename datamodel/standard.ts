/** Types and paths that several standard objects share. */
import { string, unsignedInt } from "./values.ts";

export const seconds = (range: { min?: number; max?: number } = {}) => unsignedInt({ ...range, units: "seconds" });
/** An MQTT topic or a STOMP destination. */
export const topic = string({ maxLength: 65535 });
/** Of the retry formula (TR-369 R-NOT.1 and its likes): first wait, and growth in thousandths. */
export const retryMinimum = seconds({ min: 1, max: 65535 });
export const retryMultiplier = unsignedInt({ min: 1000, max: 65535 });

export const AGENT_MTP = "Device.LocalAgent.MTP.{i}.";
export const CONTROLLER = "Device.LocalAgent.Controller.{i}.";
export const CONTROLLER_MTP = `${CONTROLLER}MTP.{i}.` as const;
export const ROLE = "Device.LocalAgent.ControllerTrust.Role.{i}.";
export const CERTIFICATE = "Device.LocalAgent.Certificate.{i}.";
export const MQTT_CLIENT = "Device.MQTT.Client.{i}.";
export const STOMP_CONNECTION = "Device.STOMP.Connection.{i}.";
