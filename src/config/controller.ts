/** Options of a controller. */
import { text, topic, endpointId, bool, number, oneOf, type ValuesOf } from "./option.ts";

export const controllerOptions = {
  endpoint_id: endpointId("The controller's endpoint id."),
  enable: bool("Whether its Messages are taken.", true),
  role: oneOf("What it may do.", "Operator", "Monitor", "Operator", "Support", "Admin", "Resident", "Untrusted"),
  mqtt: text("Name of the `mqtt` section by which it is reached.", ""),
  topic: topic("Topic for what answers no request: notifications; empty: `usp/v1/controller/ENDPOINT-ID`."),
  secured: bool("Put its role into SecuredRoles: it may read secured values, within PrivacyLevel.", false),
  periodic_interval: number("Seconds between Periodic! events.", 86400, 1, 4294967295),
} as const;

export type ControllerConfig = ValuesOf<typeof controllerOptions> & { readonly name: string };
