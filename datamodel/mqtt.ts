/** TR-181 2.19: MQTT clients, and the MQTT settings of MTP rows. */
import { command, counter, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { seconds, topic, retryMultiplier, AGENT_MTP, CONTROLLER_MTP, MQTT_CLIENT } from "./standard.ts";
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

export const MqttClientUserProperty = object(`${MQTT_CLIENT}UserProperty.{i}.`, {
  description: "5.0: a user property that the agent sends, after its own.",
  keys: [["Alias"]],
  functionalKeys: [["Name"]],
  rows: "add-delete",
  maxRows: 16,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is sent."),
    Name: readWrite(topic, "Its name; `usp-endpoint-id` stays the agent's."),
    Value: readWrite(topic, "Its value."),
    PacketType: readWrite(list(enumeration("CONNECT", "PUBLISH"), { isSet: true }), "With which packets."),
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

export const MtpMqtt = object(`${AGENT_MTP}MQTT.`, {
  description: "Its settings where Protocol is MQTT.",
  params: {
    Reference: readWrite(reference(MQTT_CLIENT), "The MQTT client that it uses."),
    ResponseTopicConfigured: readWrite(topic, "Where controllers send to the agent, unless the broker says otherwise."),
    ResponseTopicDiscovered: readOnly(topic, "Where the broker's Response Information says they do."),
    PublishQoS: readWrite(unsignedInt({ max: 2 }), "QoS of what the agent sends."),
  },
});

export const ControllerMtpMqtt = object(`${CONTROLLER_MTP}MQTT.`, {
  description: "Where the controller listens, where Protocol is MQTT.",
  params: {
    Topic: readWrite(topic, "Topic for Records that answer no request with a topic of its own."),
    PublishRetainResponse: readWrite(boolean, "Retain flag of responses."),
    PublishRetainNotify: readWrite(boolean, "Retain flag of notifications."),
    AgentMTPReference: readWrite(
      reference(AGENT_MTP),
      "The agent's MTP by which to send, and the only one to hear it on; empty: any of this protocol.",
    ),
    X_SPIN_ReplyPrefixes: readWrite(list(topic), "What topics begin with to which it may ask for answers; empty: any."),
  },
});
