/** From a `Device.LocalAgent.MTP.{i}.` row whose Protocol is MQTT, and the client it names, to a connection. */
import type { MqttConfig } from "../config/mqtt.ts";
import { isLoopback } from "../config/option.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import type { MqttConnection } from "../mtp/mqtt.ts";
import { isMtpError, MtpError } from "../mtp/error.ts";
import type { MqttInfo, MqttOptions } from "../mtp/mqtt-options.ts";
import type { MqttState } from "../objects/mqtt-states.ts";
import { Transaction } from "../model/transaction.ts";
import type { Link, ReceivedRecord } from "../usp/link.ts";
import type { Connected, MtpConnector } from "../usp/mtp.ts";
import { passwordOf, revocationLists, tlsOptions } from "./broker-files.ts";
import type { ConnectorOptions } from "./connector.ts";

/** `undefined` where the row names no client. */
export function mqttConnector(mtp: InstanceNode, options: ConnectorOptions): MtpConnector | undefined {
  const { tree, mqttStates: states } = options;
  const settings = tree.at(`${mtp.path}MQTT.`);
  const reference = settings && tree.text(settings, "Reference");
  const client = reference ? tree.at(reference) : undefined;
  if (!settings || !client || !reference) return undefined;
  const state = states.of(reference);
  const milliseconds = (name: string) => 1000 * Number(tree.text(client, name));
  return {
    protocol: "MQTT",
    retry: {
      minimumMs: milliseconds("ConnectRetryTime"),
      multiplier: Number(tree.text(client, "ConnectRetryIntervalMultiplier")) / 1000,
      maximumMs: milliseconds("ConnectRetryMaxInterval"),
    },
    watches: [client.path],
    connect: async (signal) => {
      const set = (status: MqttState["status"], reason: string) => {
        state.reason = reason;
        if (state.status === status) return;
        state.status = status;
        tree.changes.value(client.path, "Status");
      };
      set("Connecting", state.reason);
      try {
        const wanted = { ...mqttOptions(client, settings, options), counts: state };
        // Read when it is needed: a service of another agent, or one that has a controller's WebSocket, does without.
        const { connectMqtt } = await import("../mtp/mqtt.ts");
        const made = await connectMqtt(wanted, signal);
        const { info, publish } = made;
        established(state, info);
        keepClientId(tree, client, info);
        state.publish = (publication) => counted(state, publish(publication));
        set("Connected", "");
        tree.changes.value(client.path, "ResponseInformation");
        return connected(made, wanted, state, () => {
          state.publish = undefined;
          set("Connecting", "the connection ended");
        });
      } catch (error) {
        state.connectionErrors++;
        set(failureStatus(error), error instanceof Error ? error.message : String(error));
        throw error;
      }
    },
  };
}

/**
 * Whether a row is the one that a section of the configuration is about: what the model has no parameter for (files of
 * secrets, the permission to use plaintext) holds for that broker and user alone, and not where a controller points the row.
 */
function isOfSection(tree: Pick<Tree, "text">, client: InstanceNode, { name, host, username }: MqttConfig): boolean {
  const is = (param: string, value: string) => tree.text(client, param) === value;
  return is("Name", name) && is("BrokerAddress", host) && is("Username", username);
}

function connected(
  { link, info, chain }: MqttConnection,
  { url }: MqttOptions,
  state: MqttState,
  ended: () => void,
): Connected {
  const counting: Link = {
    received: countReceived(link.received, state, ended),
    send: (record, options) => counted(state, link.send(record, options)),
    close: () => link.close(),
  };
  return {
    link: counting,
    connectRecord: {
      $case: "mqttConnect",
      value: { version: info.version === "5" ? 1 : 0, subscribedTopic: info.replyTopic },
    },
    maxRecordBytes: Math.max(1024, info.maximumPacketSize - 4096),
    // Whoever may publish at the broker is behind this door, wherever the broker is.
    door: { protocol: "MQTT", local: isLoopback(new URL(url).hostname) },
    ...(chain === undefined ? {} : { tls: { chain } }),
  };
}

async function counted(state: MqttState, sent: Promise<void>): Promise<void> {
  try {
    await sent;
    state.publishSent++;
    state.lastSent = Date.now();
  } catch (error) {
    state.publishErrors++;
    throw error;
  }
}

async function* countReceived(received: AsyncIterable<ReceivedRecord>, state: MqttState, ended: () => void) {
  try {
    for await (const record of received) {
      state.publishReceived++;
      state.lastReceived = Date.now();
      yield record;
    }
  } finally {
    ended();
  }
}

function established(state: MqttState, info: MqttInfo): void {
  state.established = Date.now();
  state.subscribed = info.subscribed;
  state.responseInformation = info.responseInformation ?? "";
}

/** R-MQTT.9: the id that the broker gave is ours from now on. */
function keepClientId(tree: Tree, client: InstanceNode, { assignedClientId }: MqttInfo): void {
  if (assignedClientId === undefined || tree.text(client, "ClientID") !== "") return;
  const transaction = new Transaction(tree);
  transaction.write(client, "ClientID", assignedClientId);
  transaction.commit();
}

/** @param settings Of the MTP row; absent for a connection that only publishes. */
export function mqttOptions(
  client: InstanceNode,
  settings: InstanceNode | undefined,
  {
    tree,
    endpointId,
    config,
    maxRecordBytes,
  }: Pick<ConnectorOptions, "tree" | "endpointId" | "config" | "maxRecordBytes">,
): MqttOptions {
  const text = (name: string) => tree.text(client, name) as string;
  const tls = text("TransportProtocol") === "TLS";
  const files = config.mqtt.find((section) => isOfSection(tree, client, section));
  const host = text("BrokerAddress");
  if (host === "") throw new MtpError("address", `${client.path}BrokerAddress is empty`);
  if (!tls && !isLoopback(host) && files?.allow_plaintext !== true)
    throw new MtpError(
      "address",
      `${host} is beyond this machine: without TLS it needs option allow_plaintext '1' in mqtt '${text("Name")}', of that host and username`,
    );
  const version = text("ProtocolVersion") === "5.0" ? "5" : "3.1.1";
  const optional = <K extends string>(key: K, value: string) => (value === "" ? {} : { [key]: value });
  return {
    url: `${tls ? "mqtts" : "mqtt"}://${host.includes(":") ? `[${host}]` : host}:${text("BrokerPort")}`,
    version,
    endpointId,
    ...optional("clientId", text("ClientID")),
    ...optional("username", text("Username")),
    // MQTT 3.1.1 has no password without a user name, and mqtt.js ends the connection over it in either version.
    ...(text("Username") === "" ? {} : optional("password", passwordOf(client, files))),
    cleanStart: text(version === "5" ? "CleanStart" : "CleanSession") === "true",
    sessionExpirySeconds: Number(text("SessionExpiryInterval")),
    keepAliveSeconds: Number(text("KeepAliveTime")),
    ...(text("WillEnable") === "true"
      ? {
          will: {
            topic: text("WillTopic"),
            payload: Buffer.from(text("WillValue")),
            qos: Number(text("WillQoS")) as 0 | 1 | 2,
            retain: text("WillRetain") === "true",
          },
        }
      : {}),
    ...(tls ? { tls: { ...tlsOptions(files), ...revocationLists(config) } } : {}),
    ...userProperties(tree, client, "CONNECT", "connectProperties"),
    ...userProperties(tree, client, "PUBLISH", "publishProperties"),
    subscriptions: subscriptionsOf(tree, client),
    ...optional("responseTopic", (settings && tree.text(settings, "ResponseTopicConfigured")) ?? ""),
    publishQos: Number((settings && tree.text(settings, "PublishQoS")) ?? 0) as 0 | 1 | 2,
    limits: { recordBytes: maxRecordBytes },
  };
}

function userProperties(tree: Tree, client: InstanceNode, packet: string, option: string) {
  const table = client.object.children.get("UserProperty");
  const rows = (table ? [...tree.rows(client, table)] : []).filter(
    (row) => tree.text(row, "Enable") === "true" && tree.text(row, "PacketType")?.split(",").includes(packet),
  );
  const properties = Object.fromEntries(
    rows.map((row) => [tree.text(row, "Name") as string, tree.text(row, "Value") as string]),
  );
  return rows.length === 0 ? {} : { [option]: properties };
}

function subscriptionsOf(tree: Tree, client: InstanceNode) {
  const table = client.object.children.get("Subscription");
  if (!table) return [];
  return [...tree.rows(client, table)]
    .filter((row) => tree.text(row, "Enable") === "true")
    .map((row) => ({ topic: tree.text(row, "Topic") as string, qos: Number(tree.text(row, "QoS")) as 0 | 1 | 2 }));
}

function failureStatus(error: unknown): MqttState["status"] {
  if (!isMtpError(error)) return "Error";
  switch (error.kind) {
    case "dns":
    case "unreachable":
      return "Error_BrokerUnreachable";
    case "address":
    case "subscribe":
      return "Error_Misconfigured";
    default:
      return "Error";
  }
}
