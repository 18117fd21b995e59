/**
 * What a flow's row owes goes to its device, its destination and the home. Sent is towards the Internet, seen from the
 * device.
 */
import { Counter } from "./counters.ts";
import type { Counters } from "./counters.ts";
import type { Destinations } from "./destinations.ts";
import { deviceBegan, Direction, isLocal, peerOffset } from "./direction.ts";
import { servicePort } from "./ended-flows.ts";
import type { FlowRows } from "./flow-rows.ts";
import type { Names } from "./names.ts";
import type { FlowColumns } from "./observation.ts";
import type { Owners } from "./owners.ts";

/** An answer that arrives this long after its flow's start still names the flow. */
const NAMING_MS = 30_000;

export interface CreditsOptions {
  readonly slots: number;
  readonly owners: Owners;
  readonly counters: Counters;
  readonly destinations: Destinations;
  readonly names: Names;
  /** The device in a slot sent something by itself, at the latest then (milliseconds since 1970). */
  readonly sent: (slot: number, time: number) => void;
  readonly watch?: FlowWatch;
}

/** Who is told what becomes of flows: the detectors. */
export interface FlowWatch {
  /** A flow that has just begun has got its device. */
  began(row: number): void;
  /** Packets that were counted for the device of a flow with the Internet. */
  moved(row: number, sent: number, received: number): void;
}

export class Credits {
  readonly #rows: FlowRows;
  readonly #options: CreditsOptions;
  /** The difference being credited: packets, bytes, reply packets, reply bytes. Doubles as arguments would be boxed. */
  readonly #delta = new Float64Array(4);
  /** Devices that sent since the last `flushSent`, and when. */
  readonly #sentAt: Float64Array;
  readonly #sentSlots: Int32Array;
  #sentCount = 0;

  constructor(rows: FlowRows, options: CreditsOptions) {
    this.#rows = rows;
    this.#options = options;
    this.#sentAt = new Float64Array(options.slots).fill(-1);
    this.#sentSlots = new Int32Array(options.slots);
  }

  /** Credits what the row owes its device. */
  credit(row: number): void {
    const rows = this.#rows;
    const delta = this.#delta;
    const at = row * 4;
    for (let k = 0; k < 4; k++) {
      delta[k] = (rows.last[at + k] as number) - (rows.credited[at + k] as number);
      rows.credited[at + k] = rows.last[at + k] as number;
    }
    const direction = rows.direction[row] as number;
    const slot = rows.device[row] as number;
    const sent = deviceBegan(direction) ? 0 : 2;
    const received = 2 - sent;
    // What the gateway's own questions draw from a device is not sent by itself.
    if ((delta[sent] as number) > 0 && direction !== Direction.LocalInbound)
      this.#noteSent(slot, rows.seen[row] as number);
    const { counters } = this.#options;
    if (isLocal(direction)) {
      counters.add(slot, Counter.LocalBytesSent, delta[sent + 1] as number);
      counters.add(slot, Counter.LocalBytesReceived, delta[received + 1] as number);
      this.#creditPeer(row, sent, received);
      return;
    }
    this.#options.watch?.moved(row, delta[sent] as number, delta[received] as number);
    counters.addTraffic(
      slot,
      delta[sent + 1] as number,
      delta[received + 1] as number,
      delta[sent] as number,
      delta[received] as number,
    );
    this.#options.destinations.add(
      this.destination(row),
      delta[sent + 1] as number,
      delta[received + 1] as number,
      delta[sent] as number,
      delta[received] as number,
      rows.seen[row] as number,
    );
  }

  /** The other device of a flow inside the home gets the same, the other way round. */
  #creditPeer(row: number, sent: number, received: number): void {
    const rows = this.#rows;
    const { counters, owners } = this.#options;
    if ((rows.peerDevice[row] as number) < 0)
      rows.peerDevice[row] = owners.find(rows.addresses, row * 16 + peerOffset(rows.direction[row] as number));
    const peer = rows.peerDevice[row] as number;
    if (peer < 0 || peer === rows.device[row]) return;
    counters.add(peer, Counter.LocalBytesSent, this.#delta[received + 1] as number);
    counters.add(peer, Counter.LocalBytesReceived, this.#delta[sent + 1] as number);
    if ((this.#delta[received] as number) > 0) this.#noteSent(peer, rows.seen[row] as number);
  }

  /** The destination of a row, looked up once and again if it had to give way in between. */
  destination(row: number): number {
    const rows = this.#rows;
    const { destinations } = this.#options;
    const known = rows.destination[row] as number;
    const named = rows.domain[row] !== "" || !this.name(row);
    if (known >= 0 && named && destinations.serial[known] === rows.destinationSerial[row]) return known;
    const found = destinations.at(
      rows.device[row] as number,
      rows.addresses,
      row * 16 + peerOffset(rows.direction[row] as number),
      rows.protocol[row] as number,
      servicePort(rows, row),
      rows.domain[row] as string,
      rows.start[row] as number,
      rows.domainSource[row],
    );
    rows.destination[row] = found;
    rows.destinationSerial[row] = destinations.serial[found] as number;
    return found;
  }

  /** Looks for the flow's name while it is young; whether it has got one now. */
  name(row: number): boolean {
    const rows = this.#rows;
    if ((rows.seen[row] as number) - (rows.start[row] as number) > NAMING_MS) return false;
    const at = row * 16 + peerOffset(rows.direction[row] as number);
    const { names } = this.#options;
    const found = names.bestRow(rows.device[row] as number, rows.addresses, at);
    if (found < 0) return false;
    rows.domain[row] = names.nameAt(found);
    rows.domainSource[row] = names.sourceAt(found);
    return true;
  }

  /** A flow that never had a row, at its end: all of it. */
  whole(slot: number, direction: number, columns: FlowColumns, i: number): void {
    const { counters } = this.#options;
    const began = deviceBegan(direction);
    const bytes = columns.bytes[i] as number;
    const replyBytes = columns.replyBytes[i] as number;
    const sent = began ? bytes : replyBytes;
    const received = began ? replyBytes : bytes;
    if (isLocal(direction)) {
      counters.add(slot, Counter.LocalBytesSent, sent);
      counters.add(slot, Counter.LocalBytesReceived, received);
      return;
    }
    const packets = columns.packets[i] as number;
    const replyPackets = columns.replyPackets[i] as number;
    counters.addTraffic(slot, sent, received, began ? packets : replyPackets, began ? replyPackets : packets);
  }

  #noteSent(slot: number, time: number): void {
    const before = this.#sentAt[slot] as number;
    if (before < 0) this.#sentSlots[this.#sentCount++] = slot;
    if (time > before) this.#sentAt[slot] = time;
  }

  /** Tells of the devices that sent since the last time. */
  flushSent(): void {
    for (let k = 0; k < this.#sentCount; k++) {
      const slot = this.#sentSlots[k] as number;
      this.#options.sent(slot, this.#sentAt[slot] as number);
      this.#sentAt[slot] = -1;
    }
    this.#sentCount = 0;
  }
}
