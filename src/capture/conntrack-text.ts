/**
 * Conntrack entries as text: what `conntrack -E` and `conntrack -L` print with `-o extended,id` and what
 * /proc/net/nf_conntrack holds. All are `family number protocol number [timeout] [STATE] key=value …`.
 */
import { parseAddress } from "../lib/address.ts";
import { type FlowColumns, FlowEvent, FlowFlag } from "../spin/observation.ts";

const ICMP = 1;
const ICMPV6 = 58;
const WORD = /(\[?)([^\s[\]=]+)(?:=(\S*))?/g;

/**
 * Writes a line into the columns' next row and counts it; false if it is no entry. `id` is the kernel's where the line
 * has one, else made from the tuple. An event's time stands in front, in seconds.
 */
export function readConntrackLine(line: string, columns: FlowColumns, event: number, now: number): boolean {
  const row = columns.length;
  const tuples = line.indexOf("src=");
  if (tuples < 0) return false;
  const head = /(?:\[(\d+\.\d+)\])?.*?ipv[46]\s+\d+\s+\S+\s+(\d+)\s/.exec(line.slice(0, tuples));
  const protocol = Number(head?.[2] ?? Number.NaN);
  if (!head || !(protocol >= 0 && protocol < 256)) return false;
  const isIcmp = protocol === ICMP || protocol === ICMPV6;
  let direction = -1;
  let id = -1;
  let icmpIds = 0;
  columns.flags[row] = FlowFlag.Answered;
  for (const columnsOf of [columns.packets, columns.bytes, columns.replyPackets, columns.replyBytes])
    columnsOf[row] = 0;
  for (const [, , key, value] of line.slice(tuples).matchAll(WORD)) {
    if (value === undefined) {
      setFlag(columns, row, key as string);
      continue;
    }
    if (key === "src") direction++;
    if (direction > 1) return false;
    const isReply = direction === 1;
    const number = Number(value);
    if (key === "src" || key === "dst") {
      const words = parseAddress(value);
      if (!words) return false;
      columns.addresses.set(words, row * 16 + direction * 8 + (key === "dst" ? 4 : 0));
    } else if (key === "sport") (isReply ? columns.replySourcePort : columns.sourcePort)[row] = number;
    else if (key === "dport") (isReply ? columns.replyDestinationPort : columns.destinationPort)[row] = number;
    else if (key === "type") (isReply ? columns.replySourcePort : columns.sourcePort)[row] = number << 8;
    else if (key === "code") {
      const ports = isReply ? columns.replySourcePort : columns.sourcePort;
      ports[row] = (ports[row] as number) | number;
    } else if (key === "packets") (isReply ? columns.replyPackets : columns.packets)[row] = number;
    else if (key === "bytes") (isReply ? columns.replyBytes : columns.bytes)[row] = number;
    else if (key === "id") {
      // ICMP's tuples have an identifier each, under the same name as the entry's.
      if (isIcmp && icmpIds < 2) {
        (icmpIds++ === 0 ? columns.destinationPort : columns.replyDestinationPort)[row] = number;
      } else id = number;
    }
  }
  if (direction !== 1) return false;
  if (!isIcmp && !line.includes("sport="))
    columns.sourcePort[row] =
      columns.destinationPort[row] =
      columns.replySourcePort[row] =
      columns.replyDestinationPort[row] =
        0;
  columns.event[row] = event;
  columns.protocol[row] = protocol;
  if (isTranslated(columns, row)) columns.flags[row] = columns.flags[row] | FlowFlag.SourceNat;
  columns.id[row] = id >= 0 ? id : tupleId(columns, row);
  const stamp = head[1];
  columns.time[row] = event !== FlowEvent.Counters && stamp !== undefined ? Number(stamp) * 1000 : now;
  columns.length++;
  return true;
}

function setFlag(columns: FlowColumns, row: number, word: string): void {
  const flags = columns.flags[row] as number;
  if (word === "UNREPLIED") columns.flags[row] = flags & ~FlowFlag.Answered;
  else if (word === "OFFLOAD" || word === "HW_OFFLOAD") columns.flags[row] = flags | FlowFlag.Offloaded;
}

/** The reply goes elsewhere than the question came from. */
function isTranslated(columns: FlowColumns, row: number): boolean {
  const at = row * 16;
  for (let i = 0; i < 4; i++) if (columns.addresses[at + i] !== columns.addresses[at + 12 + i]) return true;
  return false;
}

/** 53 bits of the original tuple: the same while the entry lives. */
function tupleId(columns: FlowColumns, row: number): number {
  let low = 0x811c9dc5;
  let high = columns.protocol[row] as number;
  const mix = (word: number) => {
    low = Math.imul(low ^ word, 0x01000193);
    high = Math.imul(high + word, 0x85ebca6b) ^ (high >>> 13) ^ (low >>> 16);
  };
  for (let i = 0; i < 8; i++) mix(columns.addresses[row * 16 + i] as number);
  mix(((columns.sourcePort[row] as number) << 16) | (columns.destinationPort[row] as number));
  return (high & 0x1fffff) * 0x100000000 + (low >>> 0);
}
