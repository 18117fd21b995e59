/** First start, MQTT: brokers become clients, each with an MTP row. */
import type { MqttConfig } from "../config/mqtt.ts";
import type { Transaction } from "../model/transaction.ts";
import { TOPIC_PRESETS, topicOf } from "../mtp/presets.ts";
import { addRow, pathOf, rowWith, setAll, type TransportSeed } from "./seed-rows.ts";

/** Where an agent listens whose configuration names no topic, and where a controller is thought to: as `ctl` has it. */
const AGENT_TOPIC = TOPIC_PRESETS.spin.agent;
const CONTROLLER_TOPIC = TOPIC_PRESETS.spin.controller;

export const mqttSeed: TransportSeed = {
  protocol: "MQTT",
  connections: {
    part: "brokers",
    seed: (transaction, config) =>
      new Map(
        config.mqtt.map((mqtt) => [
          mqtt.name,
          rowWith(transaction, "Device.MQTT.Client.", "Name", mqtt.name) ?? addClient(transaction, mqtt),
        ]),
      ),
  },
  mtps: (transaction, config, clients, endpointId) =>
    new Map(
      config.mqtt.map((mqtt) => {
        const mtp = addRow(transaction, "Device.LocalAgent.", "Device.LocalAgent.MTP.", {
          Enable: "true",
          Protocol: "MQTT",
        });
        setAll(transaction, `${mtp.path}MQTT.`, {
          Reference: clients.get(mqtt.name) as string,
          ResponseTopicConfigured: mqtt.topic === "" ? topicOf(AGENT_TOPIC, { eid: endpointId }) : mqtt.topic,
          PublishQoS: `${mqtt.qos}`,
        });
        return [mqtt.name, pathOf(mtp)];
      }),
    ),
  route: ({ mqtt, topic, endpoint_id }, mtps) => {
    const mtp = mtps.get(mqtt);
    if (mtp === undefined) return undefined;
    const Topic = topic === "" ? topicOf(CONTROLLER_TOPIC, { ceid: endpoint_id }) : topic;
    return { object: "MQTT.", values: { Topic, AgentMTPReference: mtp } };
  },
};

function addClient(transaction: Transaction, mqtt: MqttConfig): string {
  const client = addRow(transaction, "Device.MQTT.", "Device.MQTT.Client.", {
    Name: mqtt.name,
    Enable: "true",
    ProtocolVersion: mqtt.version,
    BrokerAddress: mqtt.host,
    BrokerPort: `${mqtt.port === 0 ? (mqtt.tls ? 8883 : 1883) : mqtt.port}`,
    TransportProtocol: mqtt.tls ? "TLS" : "TCP/IP",
    KeepAliveTime: `${mqtt.keepalive}`,
    ClientID: mqtt.client_id,
    Username: mqtt.username,
  });
  return pathOf(client);
}
