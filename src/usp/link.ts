/**
 * PORT: one live connection over an MTP. Not a service: retry, connect Records and queues are written once, above it.
 */

/** Where a Record came from and how to answer it on the same MTP (TR-369 R-MSG.0a). */
export interface ReceivedRecord {
  readonly bytes: Uint8Array;
  /** Its length, where that is more than the link takes in: `bytes` is the beginning, enough to say so to who sent it. */
  readonly tooLong?: number;
  /** Where the sender wants its answer: MQTT reply topic, STOMP reply-to-dest; absent on WebSocket and UDS. */
  readonly replyTo?: string;
}

/** Where a Record goes. Absent `to` on MTPs whose connection is the address (WebSocket, UDS). */
export interface SendOptions {
  /** MQTT topic or STOMP destination of the peer. */
  readonly to?: string;
  /** MQTT retain flag (PublishRetainResponse, PublishRetainNotify). */
  readonly retain?: boolean;
}

export interface Link {
  /** Ends when the connection does; throws if it broke. */
  readonly received: AsyncIterable<ReceivedRecord>;
  /** Resolves when the Record is handed over (QoS ≥ 1: acknowledged); rejects when this connection can't carry it. */
  send(record: Uint8Array, options?: SendOptions): Promise<void>;
  /**
   * What came here was no usable Record, and no Error can say so. Present where the MTP has a way to: it tells the peer and
   * ends the connection (R-WS.16, R-UDS.24).
   * @param reason In words, for the peer.
   */
  refuse?(reason: string): void;
  /** Ends the connection in order. Calling it twice is fine. */
  close(): Promise<void>;
}
