/** Reports by MQTT: on the connection that an MTP has with the client's broker, else on one made for the report. */
import type { Tree } from "../model/tree.ts";
import type { Publish } from "../usp/bulk-data/delivery.ts";
import type { ConnectorOptions } from "./connector.ts";
import { mqttOptions } from "./mqtt-connector.ts";

/** A broker that does not acknowledge by then has not taken it. */
const PATIENCE_MS = 30_000;

export function mqttPublisher(
  options: Pick<ConnectorOptions, "tree" | "endpointId" | "config" | "mqttStates">,
): Publish {
  const { tree, mqttStates } = options;
  return async (publication, signal) => {
    const client = tree.at(publication.client);
    if (!client || tree.text(client, "Enable") !== "true") throw new Error(`${publication.client} is not enabled`);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const state = mqttStates.of(publication.client);
    if (state.publish) return unless(limit, state.publish(publication));
    // A second connection of one client id would end the first.
    if (isOfMtp(tree, publication.client)) throw new Error(`${publication.client} is not connected: ${state.reason}`);
    const wanted = { ...mqttOptions(client, undefined, { ...options, maxRecordBytes: 1024 }), publishOnly: true };
    const { connectMqtt } = await import("../mtp/mqtt.ts");
    const { link, publish } = await connectMqtt(wanted, limit);
    try {
      await unless(limit, publish(publication));
    } finally {
      await link.close();
    }
  };
}

function isOfMtp(tree: Tree, client: string): boolean {
  const table = tree.object("Device.LocalAgent.MTP.");
  for (const row of table ? tree.all(table) : []) {
    if (tree.text(row, "Enable") !== "true" || tree.text(row, "Protocol") !== "MQTT") continue;
    const settings = tree.at(`${row.path}MQTT.`);
    if (settings && tree.text(settings, "Reference") === client) return true;
  }
  return false;
}

/** What the promise gives, unless the signal comes before. */
function unless(signal: AbortSignal, promise: Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(new Error("the broker did not take it in time"));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}
