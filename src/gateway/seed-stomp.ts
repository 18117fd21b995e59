/** First start, STOMP: brokers become connections, each with an MTP row. */
import { stompPort, type StompConfig } from "../config/stomp.ts";
import type { Transaction } from "../model/transaction.ts";
import { AGENT_DESTINATION, CONTROLLER_DESTINATION, destinationOf } from "../mtp/stomp-options.ts";
import { addRow, mustBe, pathOf, setAll, type TransportSeed } from "./seed-rows.ts";
import { isOfSection } from "./stomp-connector.ts";

export const stompSeed: TransportSeed = {
  protocol: "STOMP",
  connections: {
    part: "stomp",
    seed: (transaction, config) =>
      new Map(
        config.stomp.map((stomp) => [stomp.name, found(transaction, stomp) ?? addConnection(transaction, stomp)]),
      ),
  },
  mtps: (transaction, config, connections, endpointId) =>
    new Map(
      config.stomp.map(({ name, destination }) => {
        const values = { Enable: "true", Protocol: "STOMP" };
        const mtp = addRow(transaction, "Device.LocalAgent.", "Device.LocalAgent.MTP.", values);
        const Reference = connections.get(name) as string;
        const Destination = destination === "" ? destinationOf(AGENT_DESTINATION, endpointId) : destination;
        setAll(transaction, `${mtp.path}STOMP.`, { Reference, Destination });
        // What a controller's row refers to is the connection.
        return [name, Reference];
      }),
    ),
  route: ({ stomp, destination, endpoint_id }, connections) => {
    const Reference = connections.get(stomp);
    if (Reference === undefined) return undefined;
    const Destination = destination === "" ? destinationOf(CONTROLLER_DESTINATION, endpoint_id) : destination;
    return { object: "STOMP.", values: { Reference, Destination } };
  },
};

/** The row that stands already. */
function found({ tree }: Transaction, stomp: StompConfig): string | undefined {
  for (const node of tree.all(mustBe(tree.object("Device.STOMP.Connection."))))
    if (isOfSection(tree, node, stomp)) return pathOf(node);
  return undefined;
}

function addConnection(transaction: Transaction, stomp: StompConfig): string {
  const heartBeat = `${1000 * stomp.heartbeat}`;
  const connection = addRow(transaction, "Device.STOMP.", "Device.STOMP.Connection.", {
    Enable: "true",
    Host: stomp.host,
    Port: `${stompPort(stomp)}`,
    VirtualHost: stomp.virtual_host,
    Username: stomp.username,
    EnableEncryption: `${stomp.tls}`,
    EnableHeartbeats: `${stomp.heartbeat > 0}`,
    OutgoingHeartbeat: heartBeat,
    IncomingHeartbeat: heartBeat,
    ServerRetryInitialInterval: `${stomp.retry_interval}`,
  });
  return pathOf(connection);
}
