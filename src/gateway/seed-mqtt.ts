/** First start, MQTT: brokers become clients, each with an MTP row. */
import type { MqttConfig } from "../config/mqtt.ts";
import type { Transaction } from "../model/transaction.ts";
import { TOPIC_PRESETS, topicOf, type TopicPreset } from "../lib/topics.ts";
import { addRow, pathOf, rowWith, setAll, type TransportSeed } from "./seed-rows.ts";

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
          ResponseTopicConfigured:
            mqtt.topic === "" ? topicOf(TOPIC_PRESETS[mqtt.topics].agent, { eid: endpointId }) : mqtt.topic,
          PublishQoS: `${mqtt.qos}`,
        });
        return [mqtt.name, pathOf(mtp)];
      }),
    ),
  route: ({ mqtt, topic, endpoint_id }, mtps, { config, endpointId }) => {
    const mtp = mtps.get(mqtt);
    const broker = config.mqtt.find(({ name }) => name === mqtt);
    if (mtp === undefined || broker === undefined) return undefined;
    const preset: TopicPreset = TOPIC_PRESETS[broker.topics];
    const ids = { eid: endpointId, ceid: endpoint_id };
    const Topic = topic === "" ? topicOf(preset.notices ?? preset.controller, ids) : topic;
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
