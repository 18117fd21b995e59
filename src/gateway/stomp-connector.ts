/** From a `Device.LocalAgent.MTP.{i}.` row whose Protocol is STOMP, and the connection it names, to a connection. */
import { isLoopback } from "../config/option.ts";
import type { StompConfig } from "../config/stomp.ts";
import type { InstanceNode, Tree } from "../model/tree.ts";
import { isMtpError, MtpError } from "../mtp/error.ts";
import type { StompConnection } from "../mtp/stomp.ts";
import type { StompOptions } from "../mtp/stomp-options.ts";
import type { StompState } from "../objects/stomp-states.ts";
import type { Link, ReceivedRecord } from "../usp/link.ts";
import type { Connected, MtpConnector } from "../usp/mtp.ts";
import { passwordOf, revocationLists, tlsOptions } from "./broker-files.ts";
import type { ConnectorOptions } from "./connector.ts";

/** `undefined` where the row names no enabled connection. */
export function stompConnector(mtp: InstanceNode, options: ConnectorOptions): MtpConnector | undefined {
  const { tree, stompStates } = options;
  const settings = tree.at(`${mtp.path}STOMP.`);
  const reference = settings && tree.text(settings, "Reference");
  const connection = reference ? tree.at(reference) : undefined;
  if (!settings || !connection || !reference || tree.text(connection, "Enable") !== "true") return undefined;
  const state = stompStates.of(reference);
  const milliseconds = (name: string) => 1000 * Number(tree.text(connection, name));
  const set = (status: StompState["status"], reason: string) => {
    state.reason = reason;
    if (state.status === status) return;
    state.status = status;
    state.since = Date.now();
    tree.changes.value(connection.path, "Status");
  };
  return {
    protocol: "STOMP",
    retry: {
      minimumMs: milliseconds("ServerRetryInitialInterval"),
      multiplier: Number(tree.text(connection, "ServerRetryIntervalMultiplier")) / 1000,
      maximumMs: milliseconds("ServerRetryMaxInterval"),
      fromZero: true,
    },
    watches: [connection.path],
    connect: async (signal) => {
      set("Connecting", state.reason);
      try {
        const wanted = stompOptions(connection, settings, options);
        // Read when it is needed: most gateways speak MQTT.
        const { connectStomp } = await import("../mtp/stomp.ts");
        const made = await connectStomp(wanted, signal);
        state.destination = made.info.destination;
        if (state.destinationFromServer !== made.info.destinationFromServer) {
          state.destinationFromServer = made.info.destinationFromServer;
          tree.changes.value(settings.path, "DestinationFromServer");
        }
        set("Enabled", "");
        return connected(made, reference, state, wanted, () => set("Connecting", "the connection ended"));
      } catch (error) {
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
export function isOfSection(tree: Pick<Tree, "text">, connection: InstanceNode, section: StompConfig): boolean {
  const { host, username, virtual_host } = section;
  const is = (name: string, value: string) => tree.text(connection, name) === value;
  return is("Host", host) && is("Username", username) && is("VirtualHost", virtual_host);
}

function connected(
  { link, info, chain }: StompConnection,
  broker: string,
  state: StompState,
  { url }: StompOptions,
  ended: () => void,
): Connected {
  const timed: Link = {
    received: timeReceived(link.received, state, ended),
    send: async (record, options) => {
      await link.send(record, options);
      state.lastSent = Date.now();
    },
    close: () => link.close(),
  };
  return {
    link: timed,
    connectRecord: { $case: "stompConnect", value: { version: 0, subscribedDestination: info.destination } },
    // Whoever may send at the broker is behind this door, wherever the broker is.
    door: { protocol: "STOMP", local: isLoopback(new URL(url).hostname) },
    broker,
    ...(chain === undefined ? {} : { tls: { chain } }),
  };
}

async function* timeReceived(received: AsyncIterable<ReceivedRecord>, state: StompState, ended: () => void) {
  try {
    for await (const record of received) {
      state.lastReceived = Date.now();
      yield record;
    }
  } finally {
    ended();
  }
}

function stompOptions(
  connection: InstanceNode,
  settings: InstanceNode,
  { tree, endpointId, config, maxRecordBytes }: ConnectorOptions,
): StompOptions {
  const text = (name: string) => tree.text(connection, name) as string;
  const isTls = text("EnableEncryption") === "true";
  const files = config.stomp.find((section) => isOfSection(tree, connection, section));
  const host = text("Host");
  if (host === "") throw new MtpError("address", `${connection.path}Host is empty`);
  if (!isTls && !isLoopback(host) && files?.allow_plaintext !== true)
    throw new MtpError(
      "address",
      `${host} is beyond this machine: without TLS it needs option allow_plaintext '1' in a stomp section of that host, username and virtual_host`,
    );
  const optional = <K extends string>(key: K, value: string) => (value === "" ? {} : { [key]: value });
  return {
    url: `${isTls ? "stomps" : "stomp"}://${host.includes(":") ? `[${host}]` : host}:${text("Port")}`,
    endpointId,
    ...optional("username", text("Username")),
    ...optional("password", passwordOf(connection, files)),
    ...optional("virtualHost", text("VirtualHost")),
    ...optional("destination", tree.text(settings, "Destination") as string),
    ...(text("EnableHeartbeats") === "true"
      ? {
          heartBeat: {
            outgoingMs: Number(text("OutgoingHeartbeat")),
            incomingMs: Number(text("IncomingHeartbeat")),
          },
        }
      : {}),
    ...(isTls ? { tls: { ...tlsOptions(files), ...revocationLists(config) } } : {}),
    limits: { recordBytes: maxRecordBytes },
  };
}

function failureStatus(error: unknown): StompState["status"] {
  if (!isMtpError(error)) return "Error";
  switch (error.kind) {
    case "dns":
    case "unreachable":
      return "ServerNotPresent";
    case "credentials":
      return "Error_AuthenticationFailure";
    case "address":
    case "subscribe":
      return "Error_Misconfigured";
    default:
      return "Error";
  }
}
