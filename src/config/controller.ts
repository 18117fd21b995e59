/** Options of a controller. */
import { text, topic, bool, file, foreignEndpointId, many, number, one, oneOf, type ValuesOf } from "./option.ts";
import { controllerSessionOptions } from "./session.ts";
import { destinationText } from "./stomp.ts";
import { webSocketUrl } from "./websocket.ts";

export const controllerOptions = {
  endpoint_id: foreignEndpointId("The controller's endpoint id."),
  enable: bool("Whether its Messages are taken.", true),
  role: oneOf("What it may do.", "Operator", "Monitor", "Operator", "Support", "Admin", "Resident", "Untrusted"),
  mqtt: text("Name of the `mqtt` section by which it is reached.", ""),
  stomp: text("Name of the `stomp` section by which it is reached.", ""),
  destination: one(
    "STOMP destination for what answers no request; empty: `/topic/usp.v1.controller.ENDPOINT-ID`.",
    "",
    destinationText,
  ),
  websocket: text("Name of the `websocket` section by which it comes.", ""),
  websocket_url: webSocketUrl("Where the agent dials it by WebSocket: `wss://HOST:PORT/PATH`; empty: it does not."),
  allow_plaintext: bool("Permit dialling it without TLS beyond this machine.", false),
  ca_file: file(
    "PEM file of the authorities trusted for it: in sessions, and where it is dialled; empty there: the system's.",
  ),
  cert_file: file("PEM file of the agent's certificate for it."),
  key_file: file("PEM file of its key."),
  topic: topic(
    "Topic for what answers no request: notifications; empty: that of the broker's `topics`, by default `usp/v1/controller/ENDPOINT-ID`.",
  ),
  withhold: many(
    "Records that it is not sent because it chokes on them: `Connect`, `Disconnect`. usp-js needs `Disconnect`, Oktopus both.",
    (value) => value === "Connect" || value === "Disconnect",
    "Connect or Disconnect",
  ),
  secured: bool("Put its role into SecuredRoles: it may read secured values, within PrivacyLevel.", false),
  ...controllerSessionOptions,
  onboarding: bool(
    "Send it OnBoardRequests until it sets OnBoardingComplete; otherwise it is taken to know the agent.",
    false,
  ),
  periodic_interval: number("Seconds between Periodic! events.", 86400, 1, 4294967295),
} as const;

export type ControllerConfig = ValuesOf<typeof controllerOptions> & { readonly name: string };
