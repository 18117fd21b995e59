/**
 * The parts of TR-181 2.19 that an agent must have: names, types, access, keys and defaults are the standard's (a test
 * holds them against a fixture of its facts), the descriptions are ours.
 */
import { argument, command, counter, event, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import {
  alias,
  boolean,
  dateTime,
  enumeration,
  list,
  reference,
  statsCounter32,
  statsCounter64,
  string,
  unsignedInt,
} from "./values.ts";

const seconds = (range: { min?: number; max?: number } = {}) => unsignedInt({ ...range, units: "seconds" });
const topic = string({ maxLength: 65535 });
const retryMinimum = seconds({ min: 1, max: 65535 });
const retryMultiplier = unsignedInt({ min: 1000, max: 65535 });

const CONTROLLER = "Device.LocalAgent.Controller.{i}.";
const ROLE = "Device.LocalAgent.ControllerTrust.Role.{i}.";
const MQTT_CLIENT = "Device.MQTT.Client.{i}.";

export const Device = object("Device.", {
  description: "The gateway.",
  params: {
    RootDataModelVersion: readOnly(string({ maxLength: 32, pattern: "2\\.\\d+" }), "Version of the standard model."),
  },
  events: {
    "Boot!": event("The agent has started.", {
      CommandKey: argument(string(), "Key of the command that caused it, if one did."),
      Cause: argument(string(), "LocalReboot, RemoteReboot, FactoryReset, LocalFactoryReset or RemoteFactoryReset."),
      Reason: argument(string(), "In words."),
      FirmwareUpdated: argument(boolean, "Whether the software is another than before."),
      ParameterMap: argument(string(), "JSON of the values that the recipient's BootParameter rows name."),
    }),
  },
});

export const DeviceInfo = object("Device.DeviceInfo.", {
  description: "What device this is.",
  params: {
    Manufacturer: readOnly(string({ maxLength: 64 }), "Maker of the gateway."),
    ManufacturerOUI: readOnly(string({ maxLength: 6, pattern: "([0-9A-F]{6})?" }), "Its OUI, six hex digits."),
    ModelName: readOnly(string({ maxLength: 64 }), "Model."),
    ModelNumber: readOnly(string({ maxLength: 64 }), "Model number."),
    Description: readOnly(string({ maxLength: 256 }), "In words."),
    ProductClass: readOnly(string({ maxLength: 64 }), "Class within which serial numbers are unique."),
    SerialNumber: readOnly(string({ maxLength: 64 }), "Serial number."),
    HardwareVersion: readOnly(string({ maxLength: 64 }), "Hardware version."),
    SoftwareVersion: readOnly(string({ maxLength: 64 }), "Version of the firmware or, standing alone, of spin-usp."),
    ProvisioningCode: readWrite(string({ maxLength: 64 }), "What the operator keeps here for its provisioning."),
    UpTime: readOnly(seconds(), "Since the gateway started.", { valueChange: false }),
    HostName: readOnly(string({ maxLength: 255 }), "Name of the host."),
    FriendlyName: readWrite(string({ maxLength: 32 }), "Name for people."),
  },
});

export const LocalAgent = object("Device.LocalAgent.", {
  description: "The USP agent.",
  params: {
    EndpointID: readOnly(string(), "The agent's endpoint id."),
    SoftwareVersion: readOnly(string({ maxLength: 64 }), "Version of the agent."),
    UpTime: readOnly(seconds(), "Since the agent started.", { valueChange: false }),
    SupportedProtocols: readOnly(list(enumeration("WebSocket", "STOMP", "MQTT", "UDS")), "Protocols it speaks."),
    AdvertisedDeviceSubtypes: readWrite(list(string()), "Subtypes advertised in discovery."),
  },
  events: { "Periodic!": event("Sent to a controller each PeriodicNotifInterval.") },
});

export const Mtp = object("Device.LocalAgent.MTP.{i}.", {
  description: "A way by which controllers reach the agent.",
  keys: [["Alias"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is used."),
    Status: readOnly(enumeration("Down", "Up", "Error"), "Whether it is connected."),
    Protocol: readWrite(enumeration("MQTT"), "Its protocol."),
    EnableMDNS: readWrite(boolean, "Whether it is advertised by mDNS.", { default: true }),
  },
});

export const MtpMqtt = object("Device.LocalAgent.MTP.{i}.MQTT.", {
  description: "Its settings where Protocol is MQTT.",
  params: {
    Reference: readWrite(reference(MQTT_CLIENT), "The MQTT client that it uses."),
    ResponseTopicConfigured: readWrite(topic, "Where controllers send to the agent, unless the broker says otherwise."),
    ResponseTopicDiscovered: readOnly(topic, "Where the broker's Response Information says they do."),
    PublishQoS: readWrite(unsignedInt({ max: 2 }), "QoS of what the agent sends."),
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
    InheritedRole: readOnly(list(reference(ROLE)), "Roles that its credential brings."),
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
  },
});

export const ControllerMtp = object(`${CONTROLLER}MTP.{i}.`, {
  description: "How the agent reaches the controller.",
  keys: [["Alias"]],
  functionalKeys: [["Protocol"]],
  rows: "add-delete",
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is used."),
    Protocol: readWrite(enumeration("MQTT"), "Its protocol."),
    Order: readWrite(unsignedInt({ min: 1 }), "Lower comes first."),
  },
});

export const ControllerMtpMqtt = object(`${CONTROLLER}MTP.{i}.MQTT.`, {
  description: "Where the controller listens, where Protocol is MQTT.",
  params: {
    Topic: readWrite(topic, "Topic for Records that answer no request with a topic of its own."),
    PublishRetainResponse: readWrite(boolean, "Retain flag of responses."),
    PublishRetainNotify: readWrite(boolean, "Retain flag of notifications."),
    AgentMTPReference: readWrite(
      reference("Device.LocalAgent.MTP.{i}."),
      "The agent's MTP by which to send; empty: the first that is up.",
    ),
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

export const ControllerTrust = object("Device.LocalAgent.ControllerTrust.", {
  description: "Who may do what.",
  params: {
    UntrustedRole: readWrite(list(reference(ROLE)), "Roles of a controller that has none."),
    BannedRole: readWrite(reference(ROLE), "Role of a controller whose credential was revoked."),
    SecuredRoles: readWrite(list(reference(ROLE)), "Roles that may read secured parameters."),
  },
});

export const Role = object(ROLE, {
  description: "A set of permissions.",
  keys: [["Alias"]],
  functionalKeys: [["Name"]],
  rows: "add-delete",
  maxRows: 32,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it gives its permissions."),
    Name: readWrite(string({ maxLength: 64 }), "Its name."),
  },
});

const rights = string({ maxLength: 4, pattern: "[r-][w-][x-][n-]" });

export const Permission = object(`${ROLE}Permission.{i}.`, {
  description:
    "What the role may do to some paths. Of several that match, the one with the highest Order decides alone.",
  keys: [["Alias"]],
  functionalKeys: [["Order"]],
  rows: "add-delete",
  maxRows: 64,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it counts."),
    Order: readWrite(unsignedInt(), "Higher decides over lower."),
    Targets: readWrite(list(string({ maxLength: 256 })), "Partial paths, instances, or search paths to parameters."),
    Param: readWrite(rights, "Of parameters: r Get and GetSupportedDM, w Add and Set, n ValueChange.", {
      default: "----",
    }),
    Obj: readWrite(rights, "Of objects: r use in paths and GetSupportedDM, w Add, n ObjectCreation.", {
      default: "----",
    }),
    InstantiatedObj: readWrite(rights, "Of rows: r GetInstances, w Delete, n ObjectDeletion.", { default: "----" }),
    CommandEvent: readWrite(
      rights,
      "Of commands and events: r GetSupportedDM, x Operate, n Event and OperationComplete.",
      {
        default: "----",
      },
    ),
  },
});

export const Mqtt = object("Device.MQTT.", { description: "MQTT." });

export const MqttCapabilities = object("Device.MQTT.Capabilities.", {
  description: "What the MQTT client can do.",
  params: {
    ProtocolVersionsSupported: readOnly(list(enumeration("3.1", "3.1.1", "5.0")), "Versions."),
    TransportProtocolSupported: readOnly(
      list(enumeration("TCP/IP", "TLS", "WebSocket", "WebSocketTLS")),
      "Transports.",
    ),
    MaxNumberOfClientSubscriptions: readOnly(unsignedInt(), "Most Subscription rows of a client; 0: no bound."),
  },
});

export const MqttClient = object(MQTT_CLIENT, {
  description: "A connection to a broker.",
  keys: [["Alias"], ["Name"]],
  rows: "add-delete",
  maxRows: 16,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Name: readWrite(string({ maxLength: 64 }), "Name for people."),
    Enable: readWrite(boolean, "Whether it connects."),
    Status: readOnly(
      enumeration("Disabled", "Connecting", "Connected", "Error_Misconfigured", "Error_BrokerUnreachable", "Error"),
      "State of the connection.",
    ),
    ProtocolVersion: readWrite(enumeration("5.0", "3.1.1"), "MQTT version."),
    BrokerAddress: readWrite(string({ maxLength: 256 }), "Host name or address of the broker."),
    BrokerPort: readWrite(unsignedInt({ min: 1, max: 65535 }), "Its port.", { default: 1883 }),
    TransportProtocol: readWrite(enumeration("TCP/IP", "TLS"), "How to reach it."),
    CleanSession: readWrite(boolean, "3.1.1: begin without a session.", { default: true }),
    CleanStart: readWrite(boolean, "5.0: begin without a session.", { default: true }),
    WillEnable: readWrite(boolean, "Whether the broker is left a will."),
    WillQoS: readWrite(unsignedInt({ max: 2 }), "QoS of the will."),
    WillRetain: readWrite(boolean, "Retain flag of the will."),
    KeepAliveTime: readWrite(seconds({ max: 65535 }), "Between keep-alives; 0: none.", { default: 60 }),
    SessionExpiryInterval: readWrite(seconds(), "5.0: how long the broker keeps the session."),
    ReceiveMaximum: readWrite(
      unsignedInt({ max: 65535 }),
      "5.0: most QoS 1 and 2 publications under way; 0: the protocol's.",
      {
        default: 64,
      },
    ),
    MaximumPacketSize: readWrite(
      unsignedInt({ units: "bytes" }),
      "5.0: largest packet taken; 0: the agent's own bound.",
    ),
    RequestResponseInfo: readWrite(boolean, "5.0: ask the broker for Response Information.", { default: true }),
    RequestProblemInfo: readWrite(boolean, "5.0: ask the broker for reasons in words.", { default: true }),
    ClientID: readWrite(topic, "Client id; empty: the broker's choice (5.0), the endpoint id (3.1.1)."),
    WillTopic: readWrite(topic, "Topic of the will."),
    WillValue: readWrite(topic, "Text of the will."),
    Username: readWrite(string({ maxLength: 256 }), "User name at the broker."),
    Password: readWrite(string({ maxLength: 256 }), "Password at the broker. Never read back.", {
      secured: true,
      hidden: true,
    }),
    MessageRetryTime: readWrite(seconds({ min: 1 }), "3.1.1: before an unacknowledged publication is repeated.", {
      default: 5,
    }),
    ConnectRetryTime: readWrite(seconds({ min: 1 }), "First wait before connecting again.", { default: 5 }),
    ConnectRetryIntervalMultiplier: readWrite(retryMultiplier, "How the wait grows, in thousandths.", {
      default: 2000,
    }),
    ConnectRetryMaxInterval: readWrite(seconds({ min: 1 }), "Longest wait.", { default: 30720 }),
    ResponseInformation: readOnly(topic, "5.0: what the broker gave."),
  },
  commands: { "ForceReconnect()": command("sync", "Closes the connection and opens it again.") },
});

export const MqttClientSubscription = object(`${MQTT_CLIENT}Subscription.{i}.`, {
  description: "A topic to subscribe to, besides those that the agent needs.",
  keys: [["Alias"]],
  functionalKeys: [["Topic"]],
  rows: "add-delete",
  maxRows: 32,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is subscribed to."),
    Status: readOnly(enumeration("Unsubscribed", "Subscribed", "Subscribing", "Unsubscribing", "Error"), "State."),
    Topic: readWrite(topic, "Topic filter."),
    QoS: readWrite(unsignedInt({ max: 2 }), "Highest QoS to be sent with."),
  },
});

export const MqttClientStats = object(`${MQTT_CLIENT}Stats.`, {
  description: "Figures of the connection.",
  params: {
    BrokerConnectionEstablished: readOnly(dateTime, "When it was last established."),
    LastPublishMessageSent: counter(dateTime, "Last publication sent."),
    LastPublishMessageReceived: counter(dateTime, "Last publication taken."),
    PublishSent: counter(statsCounter64, "Publications sent."),
    PublishReceived: counter(statsCounter64, "Publications taken."),
    SubscribeSent: counter(statsCounter64, "SUBSCRIBE packets sent."),
    UnSubscribeSent: counter(statsCounter64, "UNSUBSCRIBE packets sent."),
    MQTTMessagesSent: counter(statsCounter64, "Packets sent."),
    MQTTMessagesReceived: counter(statsCounter64, "Packets taken."),
    ConnectionErrors: counter(statsCounter32, "Failed connections."),
    PublishErrors: counter(statsCounter32, "Publications that failed."),
  },
});
