/**
 * Flows that have ended, for Query(Flows): a ring of each device's own, so that a device that scans pushes out nothing
 * but its own past. Rings begin small and grow to the quota.
 */
import type { FlowRows } from "./flow-rows.ts";
import { deviceBegan, peerOffset } from "./direction.ts";
import { grown } from "./word-index.ts";

const FIRST_ROWS = 16;

export class EndedFlows {
  readonly #quota: number;
  readonly #rings: (EndedRing | undefined)[];

  constructor(slots: number, quota: number) {
    this.#quota = quota;
    this.#rings = new Array<EndedRing | undefined>(slots).fill(undefined);
  }

  ring(slot: number): EndedRing | undefined {
    return this.#rings[slot];
  }

  /** Copies an ended row, before it is released. */
  add(rows: FlowRows, row: number, domain: string): void {
    if (this.#quota === 0) return;
    const slot = rows.device[row] as number;
    (this.#rings[slot] ??= new EndedRing(this.#quota)).add(rows, row, domain);
  }

  removeAll(slot: number): void {
    this.#rings[slot] = undefined;
  }
}

export class EndedRing {
  readonly #quota: number;
  #at = 0;
  length = 0;
  #capacity = 0;

  serial = new Float64Array(0);
  words = new Uint32Array(0);
  port = new Uint16Array(0);
  protocol = new Uint8Array(0);
  /** 1: the device began. */
  began = new Uint8Array(0);
  start = new Float64Array(0);
  end = new Float64Array(0);
  /** BytesSent, BytesReceived, PacketsSent, PacketsReceived. */
  totals = new Float64Array(0);
  domain: string[] = [];
  domainSource = new Uint8Array(0);

  constructor(quota: number) {
    this.#quota = quota;
  }

  add(rows: FlowRows, row: number, domain: string): void {
    if (this.length === this.#capacity && this.#capacity < this.#quota) this.#grow();
    const to = this.#at;
    const direction = rows.direction[row] as number;
    const began = deviceBegan(direction);
    const peer = row * 16 + peerOffset(direction);
    for (let k = 0; k < 4; k++) this.words[to * 4 + k] = rows.addresses[peer + k] as number;
    this.serial[to] = rows.serial[row] as number;
    this.port[to] = servicePort(rows, row);
    this.protocol[to] = rows.protocol[row] as number;
    this.began[to] = began ? 1 : 0;
    this.start[to] = rows.start[row] as number;
    this.end[to] = rows.seen[row] as number;
    const sent = row * 4 + (began ? 0 : 2);
    const received = row * 4 + (began ? 2 : 0);
    this.totals[to * 4] = rows.last[sent + 1] as number;
    this.totals[to * 4 + 1] = rows.last[received + 1] as number;
    this.totals[to * 4 + 2] = rows.last[sent] as number;
    this.totals[to * 4 + 3] = rows.last[received] as number;
    this.domain[to] = domain;
    this.domainSource[to] = rows.domainSource[row] as number;
    this.#at = (to + 1) % this.#capacity;
    if (this.length < this.#capacity) this.length++;
  }

  /** Only while the ring has not turned yet, so the rows stay in order. */
  #grow(): void {
    const to = Math.min(this.#quota, Math.max(FIRST_ROWS, this.#capacity * 2));
    this.serial = grown(this.serial, new Float64Array(to));
    this.words = grown(this.words, new Uint32Array(to * 4));
    this.port = grown(this.port, new Uint16Array(to));
    this.protocol = grown(this.protocol, new Uint8Array(to));
    this.began = grown(this.began, new Uint8Array(to));
    this.start = grown(this.start, new Float64Array(to));
    this.end = grown(this.end, new Float64Array(to));
    this.totals = grown(this.totals, new Float64Array(to * 4));
    this.domainSource = grown(this.domainSource, new Uint8Array(to));
    this.#at = this.#capacity;
    this.#capacity = to;
  }
}

const ICMP = 1;
const ICMPV6 = 58;

/**
 * The port that the initiator addressed: the peer's where the device began, the device's own (after port forwarding)
 * where the peer did; 0 for ICMP, which has none.
 */
export function servicePort(rows: FlowRows, row: number): number {
  const protocol = rows.protocol[row];
  if (protocol === ICMP || protocol === ICMPV6) return 0;
  return rows.ports[row * 4 + (deviceBegan(rows.direction[row] as number) ? 1 : 2)] as number;
}
