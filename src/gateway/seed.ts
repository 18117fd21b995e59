/**
 * First start: the rows that the configuration asks for. From then on the state directory knows; `spin-usp reset` makes
 * the next start a first one again. A document that was lost is seeded again by itself, so that a damaged file never
 * leaves an agent that nobody can reach.
 */
import { readFileSync } from "node:fs";
import type { Config } from "../config.ts";
import type { ControllerConfig } from "../config/controller.ts";
import { Transaction } from "../model/transaction.ts";
import type { Tree } from "../model/tree.ts";
import { seedRoles } from "../objects/controller-trust.ts";
import { seedBulkData } from "./seed-bulk-data.ts";
import { mqttSeed } from "./seed-mqtt.ts";
import { stompSeed } from "./seed-stomp.ts";
import { webSocketSeed } from "./seed-websocket.ts";
import { addRow, mustBe, setAll, type RowsByName, type SeededPart, type TransportSeed } from "./seed-rows.ts";

/** In the order in which a controller that has several is reached. */
const TRANSPORTS: readonly TransportSeed[] = [mqttSeed, stompSeed, webSocketSeed];

export function seed(tree: Tree, config: Config, endpointId: string, parts: ReadonlySet<SeededPart>): void {
  const transaction = new Transaction(tree);
  const connections = new Map(
    TRANSPORTS.map((transport) => [transport, seedConnections(transaction, transport, config, parts)]),
  );
  if (parts.has("agent")) seedAgent(transaction, config, endpointId, connections);
  if (parts.has("spin")) seedSpin(transaction, config);
  // Whose profiles they are is a matter of controllers.
  if (parts.has("reports") || parts.has("agent")) seedBulkData(transaction, config);
  transaction.check();
  transaction.commit();
}

function seedConnections(
  transaction: Transaction,
  { connections }: TransportSeed,
  config: Config,
  parts: ReadonlySet<SeededPart>,
): RowsByName {
  if (!connections || !(parts.has(connections.part) || parts.has("agent"))) return new Map();
  return connections.seed(transaction, config);
}

function seedAgent(
  transaction: Transaction,
  config: Config,
  endpointId: string,
  connections: ReadonlyMap<TransportSeed, RowsByName>,
): void {
  const { tree } = transaction;
  const roles = seedRoles(transaction);
  const mtps = new Map(
    [...connections].map(([transport, rows]) => [transport, transport.mtps(transaction, config, rows, endpointId)]),
  );
  const secured = new Set<string>();
  for (const controller of config.controllers) {
    const role = roles.get(controller.role) as string;
    seedController(transaction, controller, role, mtps, { config, endpointId });
    if (controller.secured) secured.add(role);
  }
  const trust = mustBe(tree.at("Device.LocalAgent.ControllerTrust."));
  const already = trust.object.params.get("SecuredRoles")?.read(trust.row) as readonly string[];
  transaction.write(trust, "SecuredRoles", [...new Set([...already, ...secured])]);
  transaction.write(trust, "TOFUAllowed", config.agent.tofu);
  if (config.agent.challenge_file === "") return;
  const passphrase = readFileSync(config.agent.challenge_file, "utf8").replace(/\r?\n$/, "");
  addRow(transaction, "Device.LocalAgent.ControllerTrust.", "Device.LocalAgent.ControllerTrust.Challenge.", {
    Enable: "true",
    Description: "Passphrase of this gateway",
    Value: Buffer.from(passphrase).toString("base64"),
    Role: roles.get(config.agent.challenge_role) as string,
    Retries: "4",
    LockoutPeriod: "300",
  });
}

function seedSpin(transaction: Transaction, config: Config): void {
  const { tree } = transaction;
  const capture = mustBe(tree.at("Device.X_SPIN.Capture."));
  transaction.write(capture, "Enable", config.capture.enable);
  transaction.write(capture, "Interfaces", config.capture.interface);
  transaction.write(capture, "CounterInterval", config.capture.counter_interval);
}

function seedController(
  transaction: Transaction,
  controller: ControllerConfig,
  role: string,
  mtps: ReadonlyMap<TransportSeed, RowsByName>,
  agent: { readonly config: Config; readonly endpointId: string },
): void {
  const row = addRow(transaction, "Device.LocalAgent.", "Device.LocalAgent.Controller.", {
    EndpointID: controller.endpoint_id,
    Enable: `${controller.enable}`,
    AssignedRole: role,
    PeriodicNotifInterval: `${controller.periodic_interval}`,
    OnBoardingComplete: `${!controller.onboarding}`,
    X_SPIN_WithheldRecords: controller.withhold.join(","),
  });
  setAll(transaction, `${row.path}E2ESession.`, {
    SessionMode: controller.session,
    PayloadSecurity: controller.session_security,
  });
  let order = 0;
  for (const [{ protocol, route }, rows] of mtps) {
    const found = route(controller, rows, agent);
    if (!found) continue;
    const mtp = addRow(transaction, row.path, "Device.LocalAgent.Controller.{i}.MTP.", {
      Enable: "true",
      Protocol: protocol,
      Order: `${++order}`,
    });
    setAll(transaction, `${mtp.path}${found.object}`, found.values);
  }
}
