/** What a connection to an MQTT broker needs to know, and what it tells once it stands. */
import type { Subscription } from "./mqtt-topics.ts";
import type { TlsOptions } from "./socket.ts";

/** What is no Record. */
export interface MqttPublication {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** MQTT 5. */
  readonly contentType: string;
}

export interface MqttOptions {
  /** `mqtt://host:1883` or `mqtts://host:8883`; the ports are those by default. */
  readonly url: string;
  readonly version: "5" | "3.1.1";
  readonly endpointId: string;
  /** Without one: what the broker assigns (5), or the endpoint id (3.1.1) (R-MQTT.8 to .10). */
  readonly clientId?: string;
  readonly username?: string;
  readonly password?: string;
  /** Default true. */
  readonly cleanStart?: boolean;
  /** MQTT 5, for a session that outlives the connection. */
  readonly sessionExpirySeconds?: number;
  /** Default 60; 0 for none. */
  readonly keepAliveSeconds?: number;
  readonly will?: {
    readonly topic: string;
    readonly payload: Uint8Array;
    readonly qos: 0 | 1 | 2;
    readonly retain: boolean;
  };
  readonly tls?: TlsOptions;
  /** MQTT 5, after `usp-endpoint-id`: values by name, none of which is a number (those would come first). */
  readonly connectProperties?: Readonly<Record<string, string>>;
  readonly publishProperties?: Readonly<Record<string, string>>;
  /** Subscribes to nothing, and takes nothing. */
  readonly publishOnly?: boolean;
  readonly subscriptions?: readonly Subscription[];
  /** Where answers shall go unless the broker's Response Information says otherwise (ResponseTopicConfigured). */
  readonly responseTopic?: string;
  /** Default 0. Lowered to what the broker allows. */
  readonly publishQos?: 0 | 1 | 2;
  /** 3.1.1: publish to `topic/reply-to=…` (R-MQTT.24). Default true; false for peers that listen on the bare topic only. */
  readonly appendReplyTo?: boolean;
  /** In milliseconds, for everything up to the granted subscriptions. Default 10,000. */
  readonly connectTimeoutMs?: number;
  readonly limits?: Partial<MqttLimits>;
  /** Counted up as packets come and go, also of attempts that fail. */
  readonly counts?: MqttCounts;
}

/** MQTT packets of every type, and of two. */
export interface MqttCounts {
  packetsSent: number;
  packetsReceived: number;
  subscribeSent: number;
  unsubscribeSent: number;
}

export interface MqttLimits {
  /** Greatest Record that is taken, in bytes. */
  readonly recordBytes: number;
  /** Records that came and were not taken yet, after which reading stops. */
  readonly incomingRecords: number;
  readonly incomingBytes: number;
  /** Records that were not sent yet, after which `send` rejects. */
  readonly outgoingRecords: number;
  readonly outgoingBytes: number;
}

export const DEFAULT_MQTT_LIMITS: MqttLimits = {
  recordBytes: 1 << 20,
  incomingRecords: 256,
  incomingBytes: 4 << 20,
  outgoingRecords: 2048,
  outgoingBytes: 16 << 20,
};

export interface MqttInfo {
  readonly version: "5" | "3.1.1";
  /** The filters that the broker granted, and those that it did not. */
  readonly subscribed: readonly string[];
  readonly refused: readonly string[];
  /** Where peers reach us: for the Connect Record and as Response Topic. */
  readonly replyTopic: string;
  /** To be kept and used as client id from now on (R-MQTT.9). */
  readonly assignedClientId?: string;
  /** 5: what the broker gave to build response topics of. */
  readonly responseInformation?: string;
  readonly sessionPresent: boolean;
  /** In seconds; the broker's word counts. */
  readonly keepAliveSeconds: number;
  /** In bytes, of a whole MQTT packet, that the broker takes. */
  readonly maximumPacketSize: number;
  readonly publishQos: 0 | 1 | 2;
}
