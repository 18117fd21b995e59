/**
 * First start: the rows that the configuration asks for. From then on the state directory knows; `spin-usp reset` makes
 * the next start a first one again. A document that was lost is seeded again by itself, so that a damaged file never
 * leaves an agent that nobody can reach.
 */
import type { Config } from "../config.ts";
import type { ControllerConfig } from "../config/controller.ts";
import type { MqttConfig } from "../config/mqtt.ts";
import type { Tree } from "../model/tree.ts";
import { Transaction, type ParamSetting } from "../model/transaction.ts";
import { TOPIC_PRESETS, topicOf } from "../mtp/presets.ts";
import { seedRoles } from "../objects/controller-trust.ts";

/** Where an agent listens whose configuration names no topic, and where a controller is thought to: as `ctl` has it. */
const AGENT_TOPIC = TOPIC_PRESETS.spin.agent;
const CONTROLLER_TOPIC = TOPIC_PRESETS.spin.controller;

/** What is kept in a document of its own: brokers, the agent with its controllers and roles, and SPIN's settings. */
export type SeededPart = "brokers" | "agent" | "spin";

export function seed(tree: Tree, config: Config, endpointId: string, parts: ReadonlySet<SeededPart>): void {
  const transaction = new Transaction(tree);
  const hasClients = !parts.has("brokers");
  const clients = new Map(
    parts.has("brokers") || parts.has("agent")
      ? config.mqtt.map((mqtt) => [
          mqtt.name,
          (hasClients ? clientNamed(tree, mqtt.name) : undefined) ?? seedClient(transaction, mqtt),
        ])
      : [],
  );
  if (parts.has("agent")) seedAgent(transaction, config, endpointId, clients);
  if (parts.has("spin")) seedSpin(transaction, config);
  transaction.check();
  transaction.commit();
}

function seedAgent(
  transaction: Transaction,
  config: Config,
  endpointId: string,
  clients: ReadonlyMap<string, string>,
): void {
  const { tree } = transaction;
  const roles = seedRoles(transaction);
  const mtps = new Map(
    config.mqtt.map((mqtt) => [mqtt.name, seedMtp(transaction, mqtt, clients.get(mqtt.name) as string, endpointId)]),
  );
  const secured = new Set<string>();
  for (const controller of config.controllers) {
    const role = roles.get(controller.role) as string;
    seedController(transaction, controller, role, mtps.get(controller.mqtt));
    if (controller.secured) secured.add(role);
  }
  const trust = mustBe(tree.at("Device.LocalAgent.ControllerTrust."));
  const already = trust.object.params.get("SecuredRoles")?.read(trust.row) as readonly string[];
  transaction.write(trust, "SecuredRoles", [...new Set([...already, ...secured])]);
}

function seedSpin(transaction: Transaction, config: Config): void {
  const { tree } = transaction;
  const capture = mustBe(tree.at("Device.X_SPIN.Capture."));
  transaction.write(capture, "Enable", config.capture.enable);
  transaction.write(capture, "Interfaces", config.capture.interface);
  transaction.write(capture, "CounterInterval", config.capture.counter_interval);
}

/** @returns the path of the client's row, without final dot */
function clientNamed(tree: Tree, name: string): string | undefined {
  for (const node of tree.all(mustBe(tree.object("Device.MQTT.Client."))))
    if (tree.text(node, "Name") === name) return node.path.slice(0, -1);
  return undefined;
}

/** @returns the path of the client's row, without final dot */
function seedClient(transaction: Transaction, mqtt: MqttConfig): string {
  return add(transaction, "Device.MQTT.", "Device.MQTT.Client.", {
    Name: mqtt.name,
    Enable: "true",
    ProtocolVersion: mqtt.version,
    BrokerAddress: mqtt.host,
    BrokerPort: `${mqtt.port === 0 ? (mqtt.tls ? 8883 : 1883) : mqtt.port}`,
    TransportProtocol: mqtt.tls ? "TLS" : "TCP/IP",
    KeepAliveTime: `${mqtt.keepalive}`,
    ClientID: mqtt.client_id,
    Username: mqtt.username,
  }).path.slice(0, -1);
}

/** @returns the path of the MTP row, without final dot */
function seedMtp(transaction: Transaction, mqtt: MqttConfig, client: string, endpointId: string): string {
  const { tree } = transaction;
  const topic = mqtt.topic === "" ? topicOf(AGENT_TOPIC, { eid: endpointId }) : mqtt.topic;
  const mtp = add(transaction, "Device.LocalAgent.", "Device.LocalAgent.MTP.", { Enable: "true", Protocol: "MQTT" });
  const settings = mustBe(tree.at(`${mtp.path}MQTT.`));
  transaction.set(settings, "Reference", client);
  transaction.set(settings, "ResponseTopicConfigured", topic);
  transaction.set(settings, "PublishQoS", `${mqtt.qos}`);
  return mtp.path.slice(0, -1);
}

function seedController(
  transaction: Transaction,
  controller: ControllerConfig,
  role: string,
  mtp: string | undefined,
): void {
  const { tree } = transaction;
  const row = add(transaction, "Device.LocalAgent.", "Device.LocalAgent.Controller.", {
    EndpointID: controller.endpoint_id,
    Enable: `${controller.enable}`,
    AssignedRole: role,
    PeriodicNotifInterval: `${controller.periodic_interval}`,
  });
  if (mtp === undefined) return;
  const route = transaction.add(
    row,
    mustBe(tree.object("Device.LocalAgent.Controller.{i}.MTP.")),
    settings({ Enable: "true", Protocol: "MQTT", Order: "1" }),
  ).node;
  const topic = mustBe(tree.at(`${route.path}MQTT.`));
  const named =
    controller.topic === "" ? topicOf(CONTROLLER_TOPIC, { ceid: controller.endpoint_id }) : controller.topic;
  transaction.set(topic, "Topic", named);
  transaction.set(topic, "AgentMTPReference", mtp);
}

function add(transaction: Transaction, parent: string, table: string, values: Readonly<Record<string, string>>) {
  const { tree } = transaction;
  return transaction.add(mustBe(tree.at(parent)), mustBe(tree.object(table)), settings(values)).node;
}

const settings = (values: Readonly<Record<string, string>>): ParamSetting[] =>
  Object.entries(values).map(([param, value]) => ({ param, value, required: true }));

function mustBe<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the model lacks a part that every agent has");
  return value;
}
