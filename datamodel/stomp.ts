/** TR-181 2.19: connections to STOMP brokers, and the STOMP settings of MTP rows. */
import { object, readOnly, readWrite, writeOnce } from "./schema.ts";
import {
  seconds,
  topic,
  retryMinimum,
  retryMultiplier,
  AGENT_MTP,
  CONTROLLER_MTP,
  STOMP_CONNECTION,
} from "./standard.ts";
import { alias, boolean, dateTime, enumeration, list, reference, string, unsignedInt } from "./values.ts";

const heartBeat = unsignedInt({ units: "milliseconds" });

export const Stomp = object("Device.STOMP.", { description: "STOMP." });

export const StompConnection = object(STOMP_CONNECTION, {
  description: "A connection to a broker.",
  keys: [["Alias"]],
  functionalKeys: [["Host", "Username", "VirtualHost"]],
  rows: "add-delete",
  maxRows: 16,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it connects."),
    Status: readOnly(
      enumeration(
        "Enabled",
        "Disabled",
        "Unknown",
        "Connecting",
        "ServerNotPresent",
        "Error_Misconfigured",
        "Error_AuthenticationFailure",
        "Error",
      ),
      "State of the connection; Enabled: it stands.",
    ),
    LastChangeDate: readOnly(dateTime, "When Status last changed."),
    Host: readWrite(string({ maxLength: 256 }), "Host name or address of the broker."),
    Port: readWrite(unsignedInt({ min: 1, max: 65535 }), "Its port.", { default: 61613 }),
    Username: readWrite(string({ maxLength: 256 }), "User name at the broker."),
    Password: readWrite(string({ maxLength: 256 }), "Password at the broker. Never read back.", {
      secured: true,
      hidden: true,
    }),
    VirtualHost: readWrite(string({ maxLength: 256 }), "Virtual host at the broker; empty: its default."),
    EnableHeartbeats: readWrite(boolean, "Whether heart-beats are asked for and offered."),
    OutgoingHeartbeat: readWrite(heartBeat, "Longest silence of ours that is offered; 0: none is."),
    IncomingHeartbeat: readWrite(heartBeat, "Longest silence of the broker's that is wanted; 0: any."),
    ServerRetryInitialInterval: readWrite(retryMinimum, "Bound of the first wait before connecting again.", {
      default: 60,
    }),
    ServerRetryIntervalMultiplier: readWrite(retryMultiplier, "How the wait grows, in thousandths.", {
      default: 2000,
    }),
    ServerRetryMaxInterval: readWrite(seconds({ min: 1 }), "Longest wait.", { default: 30720 }),
    EnableEncryption: readWrite(boolean, "Whether to use TLS.", { default: true }),
  },
});

export const MtpStomp = object(`${AGENT_MTP}STOMP.`, {
  description: "Its settings where Protocol is STOMP.",
  params: {
    Reference: readWrite(reference(STOMP_CONNECTION), "The STOMP connection that it uses."),
    Destination: readWrite(topic, "Where controllers send to the agent, unless the broker says otherwise."),
    DestinationFromServer: readOnly(topic, "Where the broker's subscribe-dest says they do."),
  },
});

export const ControllerMtpStomp = object(`${CONTROLLER_MTP}STOMP.`, {
  description: "Where the controller listens, where Protocol is STOMP.",
  params: {
    Reference: readWrite(
      reference(STOMP_CONNECTION),
      "The STOMP connection by which it is reached, and the only one to hear it on; empty: any.",
    ),
    Destination: readWrite(topic, "Destination for Records that answer no request with one of its own."),
    X_SPIN_ReplyPrefixes: readWrite(
      list(topic),
      "What destinations begin with to which it may ask for answers; empty: any.",
    ),
  },
});
