/** TR-181 2.19: the agent, its MTPs and controllers, subscriptions and requests. */
import { argument, command, event, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import {
  seconds,
  retryMinimum,
  retryMultiplier,
  AGENT_MTP,
  CERTIFICATE,
  CONTROLLER,
  CONTROLLER_MTP,
  ROLE,
} from "./standard.ts";
import { alias, boolean, dateTime, enumeration, int, list, reference, string, unsignedInt } from "./values.ts";

const protocol = enumeration("MQTT", "STOMP", "WebSocket", "UDS");

const thresholdOperator = enumeration("Rise", "Fall", "Cross", "Eq", "NotEq");

export const LocalAgent = object("Device.LocalAgent.", {
  description: "The USP agent.",
  params: {
    EndpointID: readOnly(string(), "The agent's endpoint id."),
    SoftwareVersion: readOnly(string({ maxLength: 64 }), "Version of the agent."),
    UpTime: readOnly(seconds(), "Since the agent started.", { valueChange: false }),
    SupportedProtocols: readOnly(list(protocol), "Protocols it speaks."),
    AdvertisedDeviceSubtypes: readWrite(list(string()), "Subtypes advertised in discovery."),
    MaxSubscriptionChangeAdoptionTime: readWrite(
      seconds({ min: 5 }),
      "Longest that a changed Subscription may take to count. Here it counts at once.",
    ),
    SupportedNumberOfSubscriptions: readOnly(int(), "Most Subscription rows.", { default: -1 }),
    SupportedThresholdOperator: readOnly(list(thresholdOperator), "Operators of a Threshold."),
  },
  commands: {
    "AddCertificate()": command("sync", "Makes a certificate known; what it is trusted for, Credential rows say.", {
      input: {
        Alias: argument(alias, "Alias of the row."),
        Certificate: argument(string(), "PEM, or base64 of DER.", { mandatory: true }),
      },
    }),
  },
  events: { "Periodic!": event("Sent to a controller each PeriodicNotifInterval.") },
});

export const Mtp = object(AGENT_MTP, {
  description: "A way by which controllers reach the agent.",
  keys: [["Alias"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is used."),
    Status: readOnly(enumeration("Down", "Up", "Error"), "Whether it is connected."),
    Protocol: readWrite(protocol, "Its protocol."),
    EnableMDNS: readWrite(boolean, "Whether it is advertised by mDNS.", { default: true }),
  },
});

export const Controller = object(CONTROLLER, {
  description: "A controller that the agent knows.",
  keys: [["Alias"]],
  functionalKeys: [["EndpointID"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    EndpointID: readWrite(string(), "Its endpoint id."),
    ControllerCode: readWrite(string({ maxLength: 128 }), "The operator's own mark."),
    ProvisioningCode: readWrite(string({ maxLength: 64 }), "The operator's provisioning code."),
    Enable: readWrite(boolean, "Whether its Messages are taken and notifications sent to it."),
    AssignedRole: readWrite(list(reference(ROLE)), "Roles given to it."),
    InheritedRole: readOnly(list(reference(ROLE)), "Roles that a certificate brought it, when it last spoke."),
    Credential: readWrite(
      list(reference(CERTIFICATE)),
      "Its certificates: it has to show one of them. Empty: any with its endpoint id that an authority vouches for.",
    ),
    PeriodicNotifInterval: readWrite(seconds({ min: 1 }), "Between two Periodic! events.", { default: 86400 }),
    PeriodicNotifTime: readWrite(dateTime, "Phase of the Periodic! events; unknown time: any."),
    USPNotifRetryMinimumWaitInterval: readWrite(
      retryMinimum,
      "First wait before an unanswered notification is repeated.",
      { default: 5 },
    ),
    USPNotifRetryIntervalMultiplier: readWrite(retryMultiplier, "How the wait grows, in thousandths.", {
      default: 2000,
    }),
    OnBoardingComplete: readWrite(
      boolean,
      "Whether the controller knows the agent. While it is not, the agent sends it OnBoardRequests.",
    ),
    OnBoardingRestartTime: readWrite(
      seconds(),
      "Seconds after an answered OnBoardRequest until the next, while OnBoardingComplete is false; 0: none.",
    ),
    X_SPIN_WithheldRecords: readWrite(
      list(enumeration("Connect", "Disconnect"), { maxItems: 2, isSet: true }),
      "Records without a Message that it is not sent, because it chokes on them (usp-js on Disconnect, Oktopus on both).",
    ),
  },
  commands: {
    "AddMyCertificate()": command(
      "sync",
      "The controller makes its own certificate known: from now on it has to show it.",
      {
        input: {
          Alias: argument(alias, "Alias of the certificate's row."),
          Certificate: argument(string(), "PEM, or base64 of DER.", { mandatory: true }),
        },
      },
    ),
    "SendOnBoardRequest()": command("sync", "Sends it an OnBoardRequest, until it is answered."),
  },
});

export const ControllerMtp = object(CONTROLLER_MTP, {
  description: "How the agent reaches the controller.",
  keys: [["Alias"]],
  functionalKeys: [["Protocol"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is used."),
    Protocol: readWrite(protocol, "Its protocol."),
    Order: readWrite(unsignedInt({ min: 1 }), "Lower comes first."),
  },
});

export const BootParameter = object(`${CONTROLLER}BootParameter.{i}.`, {
  description: "What Boot! tells the controller.",
  keys: [["Alias"]],
  functionalKeys: [["ParameterName"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is told."),
    ParameterName: readWrite(string({ maxLength: 256 }), "Path of the parameter or object."),
  },
});

export const Subscription = object("Device.LocalAgent.Subscription.{i}.", {
  description: "What a controller wants to be told.",
  keys: [["Alias"], ["Recipient", "ID"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is told."),
    Recipient: readOnly(reference(CONTROLLER, { deletesRow: true }), "Who: the controller that added the row."),
    TriggerAction: readWrite(
      enumeration("Notify", "Config", "NotifyAndConfig"),
      "Whether what happens is told, sets what TriggerConfigSettings says, or both.",
    ),
    TriggerConfigSettings: readWrite(
      list(string(), { maxItems: 16, maxLength: 4096 }),
      "Parameters to set, each `PATH=VALUE`, with the recipient's rights. At most once a second.",
    ),
    ID: readWrite(string({ maxLength: 64 }), "The controller's own name for it."),
    CreationDate: readOnly(dateTime, "When the row was added."),
    NotifType: readWrite(
      enumeration("ValueChange", "ObjectCreation", "ObjectDeletion", "OperationComplete", "Event"),
      "What happenings.",
    ),
    ReferenceList: readWrite(list(string({ maxLength: 256 })), "Of what: paths, search paths, objects with all below."),
    Persistent: readWrite(boolean, "Whether the row outlives a restart."),
    TimeToLive: readWrite(seconds(), "Since CreationDate; 0: without end."),
    NotifRetry: readWrite(boolean, "Whether notifications are repeated until they are answered."),
    NotifExpiration: readWrite(seconds(), "When repeating ends; 0: never."),
  },
});

export const Request = object("Device.LocalAgent.Request.{i}.", {
  description: "An asynchronous operation under way.",
  keys: [["Alias"]],
  functionalKeys: [["Originator", "Command", "CommandKey"]],
  maxRows: 64,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Originator: readOnly(string(), "Endpoint id of the controller that asked."),
    Command: readOnly(string(), "Path of the command."),
    CommandKey: readOnly(string(), "The controller's own name for it."),
    Status: readOnly(enumeration("Requested", "Active", "Canceling", "Canceled", "Success", "Error"), "How far it is."),
  },
  commands: { "Cancel()": command("sync", "Asks the operation to end.") },
});

export const Threshold = object("Device.LocalAgent.Threshold.{i}.", {
  description: "A number to be watched: the controller that added the row is told when it passes a value.",
  keys: [["Alias"]],
  rows: "add-delete",
  maxRows: 64,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is watched."),
    OperatingMode: readWrite(enumeration("Normal", "Single"), "Single: the row is disabled once it was triggered."),
    ReferencePath: readWrite(string({ maxLength: 256 }), "Object, or search path of objects."),
    ThresholdParam: readWrite(
      string({ maxLength: 256 }),
      "The parameter of it. One that does not notify (a counter) is looked at every five seconds.",
    ),
    ThresholdOperator: readWrite(
      thresholdOperator,
      "Rise, Fall: it comes to the value from below, from above; Cross: either; Eq, NotEq: it gets or leaves the value.",
    ),
    ThresholdValue: readWrite(string({ maxLength: 24 }), "A whole number."),
    Controller: readOnly(
      reference(CONTROLLER, { deletesRow: true }),
      "Who is told: the controller that added the row.",
    ),
  },
  events: {
    "Triggered!": event("The number passed the value.", {
      ParamPath: argument(string(), "Path of the parameter."),
      ParamValue: argument(string(), "Its value then."),
    }),
  },
});
