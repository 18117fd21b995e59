/** What a connection to a STOMP broker needs to know, and what it tells once it stands. */
import { MtpError } from "./error.ts";
import type { Endpoint, TlsOptions } from "./socket.ts";

export interface StompOptions {
  /** `stomp://host:61613` or `stomps://host:61614`; the ports are those by default. */
  readonly url: string;
  readonly endpointId: string;
  readonly username?: string;
  readonly password?: string;
  /** `host` of the STOMP frame (VirtualHost); without one the broker's default. */
  readonly virtualHost?: string;
  /** Where we listen, unless the broker's `subscribe-dest` says otherwise (R-STOMP: subscribe-dest wins). */
  readonly destination?: string;
  /** In milliseconds; 0: none. Absent: no heart-beat header at all. */
  readonly heartBeat?: { readonly outgoingMs: number; readonly incomingMs: number };
  readonly tls?: TlsOptions;
  /** In milliseconds, for everything up to the subscription. Default 10,000. */
  readonly connectTimeoutMs?: number;
  readonly limits?: Partial<StompLinkLimits>;
}

export interface StompLinkLimits {
  /** Greatest Record that is taken, in bytes. */
  readonly recordBytes: number;
  /** Records that came and were not taken yet, after which reading stops. */
  readonly incomingRecords: number;
  readonly incomingBytes: number;
  /** Records that were not sent yet, after which `send` rejects. */
  readonly outgoingRecords: number;
  readonly outgoingBytes: number;
}

/** As over MQTT (DEFAULT_MQTT_LIMITS). */
export const DEFAULT_STOMP_LINK_LIMITS: StompLinkLimits = {
  recordBytes: 1 << 20,
  incomingRecords: 256,
  incomingBytes: 4 << 20,
  outgoingRecords: 2048,
  outgoingBytes: 16 << 20,
};

export interface StompInfo {
  /** Where we listen: for the Connect Record and as reply-to-dest. */
  readonly destination: string;
  /** `subscribe-dest` of CONNECTED; empty if the broker named none. */
  readonly destinationFromServer: string;
  /** What was agreed on, in milliseconds; 0: none. */
  readonly sendsEveryMs: number;
  readonly hearsEveryMs: number;
  /** `server` of CONNECTED: what the broker is. */
  readonly server: string;
}

/** Half of a header line, since a colon takes two bytes on the wire. */
const LONGEST_DESTINATION = 8_000;

/** Whether one can send there: not empty, no NUL (which no header can hold), short enough for our own decoder. */
export function isDestination(destination: string): boolean {
  return destination !== "" && !destination.includes("\0") && Buffer.byteLength(destination) <= LONGEST_DESTINATION;
}

/**
 * Where an agent listens whose configuration names no destination, and where a controller is thought to. A topic, so that
 * nothing waits at the broker for an agent that is away, as with MQTT; and because RabbitMQ can say who may send to which
 * topic, but not to which queue.
 */
export const AGENT_DESTINATION = "/topic/usp.v1.agent.";
export const CONTROLLER_DESTINATION = "/topic/usp.v1.controller.";

/**
 * Brokers read `%` as an escape (RabbitMQ) and `/`, `*`, `#` and `>` as levels and wildcards, so none of them may stand
 * in the endpoint id.
 */
export function destinationOf(prefix: string, endpointId: string): string {
  return prefix + endpointId.replace(/[^A-Za-z0-9_.:-]/g, (c) => encodeURIComponent(c).replace("*", "%2A"));
}

/** @throws MtpError address */
export function endpointOf(options: StompOptions): Endpoint {
  let url: URL | undefined;
  try {
    url = new URL(options.url);
  } catch {
    // Said below.
  }
  if (url === undefined || (url.protocol !== "stomp:" && url.protocol !== "stomps:") || url.hostname === "") {
    throw new MtpError(
      "address",
      `${JSON.stringify(options.url)} is no broker's address, as stomp://192.0.2.1:61613 is`,
    );
  }
  const isTls = url.protocol === "stomps:";
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: url.port === "" ? (isTls ? 61_614 : 61_613) : Number(url.port),
    tls: isTls ? (options.tls ?? {}) : undefined,
  };
}
