/**
 * PORT: how a row of `Device.LocalAgent.MTP.{i}.` or `Device.LocalAgent.Controller.{i}.MTP.{i}.` becomes Links. Backends
 * live in src/mtp; who wires them gives the agent one function from row to connector or listener.
 */
import type { RecordType } from "./codec.ts";
import type { Link } from "./link.ts";
import type { InstanceNode } from "../model/tree.ts";
import type { Door, Protocol } from "./policy.ts";
import type { RetryPolicy } from "./retry.ts";

/** A live connection and what the agent has to say first on it. */
export interface Connected {
  readonly link: Link;
  /** The MTP's own Connect Record: `{ $case: "mqttConnect", value: { version, subscribedTopic } }`. */
  readonly connectRecord: RecordType;
  /** Greatest Record that the other end takes, in bytes (MQTT 5 Maximum Packet Size less the packet's own). */
  readonly maxRecordBytes?: number;
  /** Default: of the connector's protocol, not local. */
  readonly door?: Door;
  /** Endpoint id of the one at the other end, where the connection has but one (WebSocket, Unix socket). */
  readonly peer?: string;
  /**
   * Row of the controller at the other end (instance path without final dot), where the connection itself says who that
   * is: a Unix socket that is one controller's. Then `peer` is what it calls itself there.
   */
  readonly controller?: string;
  /** The other end is a USP Broker, at which these objects (paths with final dot) are to be registered. */
  readonly register?: readonly string[];
  /** Row of the connection to a broker that it is (instance path without final dot), where controllers' rows name that. */
  readonly broker?: string;
  /** Present where the connection is TLS. */
  readonly tls?: {
    /** DER of the peer's certificates, leaf first; empty where it showed none. */
    readonly chain: readonly Uint8Array[];
    /** Whether the system's authorities vouch for who comes in here; default false. */
    readonly trustsSystem?: boolean;
  };
}

/** Dials: one connection at a time, made anew when it ends. */
export interface MtpConnector {
  readonly protocol: Protocol;
  readonly retry: RetryPolicy;
  /**
   * Instance paths (final dot) below which a controller's change means: connect anew. What the device itself writes there
   * does not. The MTP row's own path is implied.
   */
  readonly watches: readonly string[];
  /** Opens a connection; rejects with a reason for an operator. Aborting the signal gives up. */
  connect(signal: AbortSignal): Promise<Connected>;
}

/** Listens: many connections, each served for itself. */
export interface MtpListener {
  readonly protocol: Protocol;
  /** Before it tries to listen again. */
  readonly retry: RetryPolicy;
  readonly watches: readonly string[];
  /**
   * Listens until the signal, then resolves; rejects with a reason for an operator when it can't listen or breaks.
   * Connections that were accepted are the agent's: it ends them.
   */
  listen(signal: AbortSignal, events: ListenerEvents): Promise<void>;
}

export interface ListenerEvents {
  /** From now on it listens. */
  readonly listening: () => void;
  readonly accept: (connected: Connected) => void;
}

/** Of an enabled row of the agent's; `undefined` where its settings can't make a connection (`Status` then is Error). */
export type MtpFactory = (row: InstanceNode) => MtpConnector | MtpListener | undefined;

/** Of an enabled row of a controller's; `undefined` where it is not by this row that the agent dials it. */
export type DialFactory = (row: InstanceNode) => MtpConnector | undefined;

export const isListener = (way: MtpConnector | MtpListener): way is MtpListener => "listen" in way;

export type MtpStatus = "Up" | "Down" | "Error";

export interface MtpState {
  readonly status: MtpStatus;
  /** Why, in words; empty while Up. */
  readonly reason: string;
  /** Milliseconds since 1970 of the last change. */
  readonly since: number;
}

/** What the objects layer shows as `LocalAgent.MTP.{i}.Status`; made before the tree, filled by the agent. */
export class MtpStates {
  readonly #states = new Map<string, MtpState>();

  /** By the row's instance path, without final dot. Also of dialled rows of controllers. */
  of(path: string): MtpState {
    return this.#states.get(path) ?? { status: "Down", reason: "never connected", since: 0 };
  }

  set(path: string, state: MtpState): void {
    this.#states.set(path, state);
  }

  forget(path: string): void {
    this.#states.delete(path);
  }
}
