/** `Device.MQTT.`: the clients that connect to brokers, and the MQTT settings of MTP rows. */
import {
  ControllerMtpMqtt,
  Mqtt,
  MqttCapabilities,
  MqttClient,
  MqttClientStats,
  MqttClientSubscription,
  MqttClientUserProperty,
  MtpMqtt,
} from "../../datamodel/mqtt.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import type { Persistence } from "../model/persistence.ts";
import { table, type StoredRow } from "../model/table.ts";
import { clearsPassword } from "./broker-password.ts";
import type { MqttStates } from "./mqtt-states.ts";

export interface MqttParts {
  readonly persistence: Persistence | undefined;
  readonly states: MqttStates;
  /** Closes the client's connection and opens it anew. `client`: its instance path without final dot. */
  readonly reconnect: (client: string) => void;
}

const MAX_SUBSCRIPTIONS = 32;

export function mqttObjects({ persistence, states, reconnect }: MqttParts): Implementation[] {
  const pathOf = ({ instance }: { readonly instance: number }) => `Device.MQTT.Client.${instance}`;
  return [
    bind(Mqtt, { get: {} }),
    bind(MqttCapabilities, {
      get: {
        ProtocolVersionsSupported: () => ["3.1.1", "5.0"] as const,
        TransportProtocolSupported: () => ["TCP/IP", "TLS"] as const,
        MaxNumberOfClientSubscriptions: () => MAX_SUBSCRIPTIONS,
      },
    }),
    table(MqttClient, {
      persistence,
      initial: (_caller, { instance }) => ({ Name: `client-${instance}` }),
      guard: clearsPassword("BrokerAddress"),
      computed: {
        Status: (row) => (row.values.Enable ? states.of(pathOf(row)).status : "Disabled"),
        ResponseInformation: (row) => states.of(pathOf(row)).responseInformation,
      },
      committed: ({ kind, row }) => {
        if (kind === "removed") states.forget(pathOf(row));
      },
      commands: {
        "ForceReconnect()": (row) => {
          reconnect(pathOf(row));
          return {};
        },
      },
    }),
    table(MqttClientSubscription, {
      persistence,
      computed: {
        Status: ({ values, parent }) => {
          if (!values.Enable || !parent) return "Unsubscribed";
          const state = states.of(pathOf(parent));
          if (state.status !== "Connected") return "Unsubscribed";
          return state.subscribed.includes(values.Topic) ? "Subscribed" : "Error";
        },
      },
    }),
    table(MqttClientUserProperty, {
      persistence,
      validate: ({ values: { Name } }) => {
        if (!/^\d*$|^usp-endpoint-id$/.test(Name)) return;
        throw new UspError(
          UspErrorCode.InvalidValue,
          `Name: ${JSON.stringify(Name)} names no property of yours`,
          "Name",
        );
      },
    }),
    bind(MqttClientStats, {
      of: (client: StoredRow) => states.of(pathOf(client)),
      get: {
        BrokerConnectionEstablished: (state) => state.established,
        LastPublishMessageSent: (state) => state.lastSent,
        LastPublishMessageReceived: (state) => state.lastReceived,
        PublishSent: (state) => state.publishSent,
        PublishReceived: (state) => state.publishReceived,
        SubscribeSent: (state) => state.subscribeSent,
        UnSubscribeSent: (state) => state.unsubscribeSent,
        MQTTMessagesSent: (state) => state.packetsSent,
        MQTTMessagesReceived: (state) => state.packetsReceived,
        ConnectionErrors: (state) => state.connectionErrors,
        PublishErrors: (state) => state.publishErrors,
      },
    }),
    table(MtpMqtt, {
      persistence,
      computed: { ResponseTopicDiscovered: ({ values }) => states.of(values.Reference).responseInformation },
    }),
    table(ControllerMtpMqtt, { persistence }),
  ];
}
