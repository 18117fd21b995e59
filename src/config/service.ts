/** Options of the agent as a USP Service, behind the USP Broker of the device's own agent. */
import { bool, endpointId, file, oneOf, type ValuesOf } from "./option.ts";

export const serviceOptions = {
  enable: bool("Register `Device.X_SPIN.` at the USP Broker of this machine.", false),
  broker: file("Socket on which the broker's controller listens; empty: `/var/run/usp/broker_controller_path`."),
  role: oneOf(
    "What all controllers may do that come through the broker.",
    "Operator",
    "Monitor",
    "Operator",
    "Support",
    "Admin",
  ),
  endpoint_id: endpointId("Endpoint id that the broker's row has until the broker names itself.", "self::usp-broker"),
  secured: bool("Put its role into SecuredRoles: it may read secured values, within PrivacyLevel.", false),
} as const;

export type ServiceConfig = ValuesOf<typeof serviceOptions>;

const BROKER = "/var/run/usp/broker_controller_path";

export const completeService = (given: ServiceConfig): ServiceConfig => ({
  ...given,
  broker: given.broker === "" ? BROKER : given.broker,
});
