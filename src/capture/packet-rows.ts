/** Flows of the packet table as rows of `FlowColumns`, which are emitted when full and when asked. */
import type { Observation } from "../spin/observation.ts";
import { FlowFlag, flowColumns } from "../spin/observation.ts";
import { IpProtocol } from "./decode/packet.ts";
import type { PacketTable } from "./packet-table.ts";
import { DOUBLES, Double, State, WORDS, Word } from "./packet-table.ts";

const ROWS = 4096;

export class FlowRows {
  readonly #table: PacketTable;
  readonly #emit: (observation: Observation) => void;
  readonly #columns = flowColumns(ROWS);

  constructor(table: PacketTable, emit: (observation: Observation) => void) {
    this.#table = table;
    this.#emit = emit;
  }

  /** Adds a row with the counters of the flow in `slot` as they stand. */
  put(slot: number, event: number, time: number): void {
    const columns = this.#columns;
    if (columns.length === ROWS) this.emit();
    const row = columns.length++;
    const { words, doubles } = this.#table;
    const at = slot * WORDS;
    const doubleAt = slot * DOUBLES;
    const key = words[at + Word.Key] as number;
    const ports = words[at + Word.Ports] as number;
    const protocol = key & 0xff;
    columns.event[row] = event;
    columns.id[row] = slot;
    columns.protocol[row] = protocol;
    columns.flags[row] = ((words[at + Word.State] as number) & State.Answered) !== 0 ? FlowFlag.Answered : 0;
    const { addresses } = columns;
    for (let i = 0, to = row * 16; i < 4; i++, to++) {
      addresses[to] = addresses[to + 12] = words[at + Word.Source + i] as number;
      addresses[to + 4] = addresses[to + 8] = words[at + Word.Destination + i] as number;
    }
    if (protocol === IpProtocol.Icmp || protocol === IpProtocol.Icmpv6) {
      const request = key >>> 8;
      columns.sourcePort[row] = request << 8;
      columns.destinationPort[row] = ports;
      columns.replySourcePort[row] = icmpReply(request) << 8;
      columns.replyDestinationPort[row] = ports;
    } else {
      columns.sourcePort[row] = columns.replyDestinationPort[row] = ports >>> 16;
      columns.destinationPort[row] = columns.replySourcePort[row] = ports;
    }
    columns.packets[row] = doubles[doubleAt + Double.Packets] as number;
    columns.bytes[row] = doubles[doubleAt + Double.Bytes] as number;
    columns.replyPackets[row] = doubles[doubleAt + Double.ReplyPackets] as number;
    columns.replyBytes[row] = doubles[doubleAt + Double.ReplyBytes] as number;
    columns.time[row] = time;
  }

  /** Emits the rows put so far, if any. */
  emit(): void {
    if (this.#columns.length === 0) return;
    this.#emit({ kind: "flows", columns: this.#columns });
    this.#columns.length = 0;
  }
}

function icmpReply(request: number): number {
  if (request === 8) return 0;
  return request + 1;
}
