/** One live connection as the agent holds it: what is under way on it, and to whom it has introduced itself. */
import type { MsgContent, RecordType } from "./codec.ts";
import type { Link, SendOptions } from "./link.ts";
import type { Connected } from "./mtp.ts";
import type { AgentLimits } from "./options.ts";
import type { Door } from "./policy.ts";

export type OutstandingLimits = Pick<AgentLimits, "outstandingBytes" | "outstandingRecords">;

export class Connection {
  /** Instance path of the agent's MTP row, or of the controller's by which it was dialled, without final dot. */
  readonly mtp: string;
  #door: Door;
  readonly peer: string | undefined;
  /** Row path of the controller at the other end, where the connection says so itself. */
  readonly controller: string | undefined;
  readonly tls: Connected["tls"];
  readonly #broker: string | undefined;
  readonly link: Link;
  readonly connectRecord: RecordType;
  readonly maxRecordBytes: number;
  /** Who has had the Connect Record on this connection (R-MTP.8), by row path, and where. */
  readonly announced = new Map<string, { readonly endpointId: string; readonly to: string | undefined }>();
  /** Who waits for the answer to a request of ours, by message id: those to a broker. */
  readonly asked = new Map<string, (answer: MsgContent) => void>();
  /** Whether a USP Broker is at the other end, which takes no notification that wants an answer. */
  readonly isBroker: boolean;
  /** Controllers that spoke here, for MTPs whose connection is the address. */
  readonly heard = new Set<string>();
  #open = true;
  #outstandingBytes = 0;
  #outstanding = 0;
  readonly #limits: OutstandingLimits;
  /** Answers that this connection did not take, since it last took something. */
  lost = 0;
  #waiting: (() => void)[] = [];

  constructor(mtp: string, connected: Connected, door: Door, limits: OutstandingLimits) {
    this.mtp = mtp;
    this.#door = door;
    this.peer = connected.peer;
    this.controller = connected.controller;
    this.isBroker = connected.register !== undefined;
    this.tls = connected.tls;
    this.#broker = connected.broker;
    this.link = connected.link;
    this.connectRecord = connected.connectRecord;
    this.maxRecordBytes = connected.maxRecordBytes ?? Infinity;
    this.#limits = limits;
  }

  /** Another object whenever what it opens changes. */
  get door(): Door {
    return this.#door;
  }

  /** Roles that the peer's certificate brings to who speaks here. The door is this connection's own from then on. */
  inherit(roles: readonly string[]): void {
    const { inherited = [] } = this.#door;
    if (roles.length === inherited.length && roles.every((role, at) => role === inherited[at])) return;
    this.#door = { ...this.#door, inherited: roles };
  }

  /** Whether a controller that is reached by that row (of an MTP, of a connection to a broker; empty: any) is so here. */
  isBy(row: string): boolean {
    return row === "" || row === this.mtp || row === this.#broker;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Whether a peer has an address of its own here (a topic, a destination). */
  get hasAddresses(): boolean {
    return this.door.protocol === "MQTT" || this.door.protocol === "STOMP";
  }

  /** Rejects when the MTP did not take it. */
  async send(record: Uint8Array, options: SendOptions): Promise<void> {
    this.#outstandingBytes += record.length;
    this.#outstanding++;
    try {
      await this.link.send(record, options);
      this.lost = 0;
    } finally {
      this.#outstandingBytes -= record.length;
      this.#outstanding--;
      if (!this.mustWait) this.#wake();
    }
  }

  /** Resolves when more may be asked of the agent here: what it answered has been taken, mostly. */
  async ready(): Promise<void> {
    while (this.#open && this.mustWait) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  get mustWait(): boolean {
    const { outstandingBytes, outstandingRecords } = this.#limits;
    return this.#outstandingBytes > outstandingBytes || this.#outstanding > outstandingRecords;
  }

  get isIdle(): boolean {
    return this.#outstanding === 0;
  }

  /** The link ended. */
  ended(): void {
    this.#open = false;
    this.#wake();
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
