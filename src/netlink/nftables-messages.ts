/**
 * Elements of nftables sets and maps as netlink messages (linux/netfilter/nf_tables.h): what the kernel takes in
 * microseconds where a spawned `nft` takes tens of milliseconds. Sets themselves, chains and rules come from the
 * ruleset file; here are only their elements.
 */
import {
  attributeEnd,
  eachAttribute,
  eachMessage,
  Family,
  findAttribute,
  MessageFlag,
  MessageWriter,
  Subsystem,
  textAt,
  u32be,
  u64be,
} from "./messages.ts";

export type TableFamily = "inet" | "bridge";

/** Which set or map. The helper accepts only the table `spin_usp`. */
export interface SetReference {
  readonly family: TableFamily;
  readonly table: string;
  readonly set: string;
}

/** linux/netfilter.h and nf_tables.h: a verdict as the value of a map. */
export type Verdict = "accept" | "drop" | "continue" | "return" | { readonly jump: string } | { readonly goto: string };

export interface SetElement {
  /** As `concatenateKey` makes it; empty for the catch-all element `*`. */
  readonly key: Uint8Array;
  /** Of a concatenation with intervals: the last key, inclusive. */
  readonly keyEnd?: Uint8Array;
  /** Of an interval set without concatenation: this is the first key after an interval. */
  readonly intervalEnd?: boolean;
  readonly catchAll?: boolean;
  /** Milliseconds; absent: for ever (or the set's default). */
  readonly timeout?: number;
  /** Read only: milliseconds left. */
  readonly expires?: number;
  /** Value of a map. */
  readonly data?: Uint8Array;
  /** Value of a verdict map. */
  readonly verdict?: Verdict;
  /** Read only, where the set declares `counter`. */
  readonly packets?: number;
  readonly bytes?: number;
}

const NFT_MSG = { NewSetElements: 12, GetSetElements: 13, DeleteSetElements: 14 } as const;
const LIST = { Table: 1, Set: 2, Elements: 3 } as const;
const ELEMENT = {
  Key: 1,
  Data: 2,
  Flags: 3,
  Timeout: 4,
  Expiration: 5,
  Expression: 7,
  KeyEnd: 10,
  Expressions: 11,
} as const;
const ELEMENT_FLAG = { IntervalEnd: 1, CatchAll: 2 } as const;
const DATA = { Value: 1, Verdict: 2 } as const;
const VERDICT = { Code: 1, Chain: 2 } as const;
const EXPRESSION = { Name: 1, Data: 2 } as const;
const COUNTER = { Bytes: 1, Packets: 2 } as const;
const CODE = { drop: 0, accept: 1, continue: -1, jump: -3, goto: -4, return: -5 } as const;
const FAMILY: Record<TableFamily, number> = { inet: Family.Inet, bridge: Family.Bridge };

/** An attribute's length has 16 bits, and the element list is one attribute. */
const LIST_BYTES = 60_000;

/** Messages for `transact` that add elements; an element that exists already stays (with `exclusive`: EEXIST). */
export function addElements(to: SetReference, elements: readonly SetElement[], exclusive = false): Uint8Array[] {
  const flags = MessageFlag.Request | MessageFlag.Create | (exclusive ? MessageFlag.Exclusive : 0);
  return elementMessages(NFT_MSG.NewSetElements, flags, to, elements, true);
}

/**
 * Messages for `transact` that delete elements by key; the whole transaction fails with ENOENT if one is not there. With
 * `told` the kernel says what each one had counted (`eachDeleted`).
 */
export function deleteElements(from: SetReference, elements: readonly SetElement[], told = false): Uint8Array[] {
  const flags = MessageFlag.Request | (told ? MessageFlag.Echo : 0);
  return elementMessages(NFT_MSG.DeleteSetElements, flags, from, elements, false);
}

/** A message for `transact` that empties a set. */
export function flushSet(set: SetReference): Uint8Array[] {
  return [begin(new MessageWriter(), NFT_MSG.DeleteSetElements, MessageFlag.Request, set).message()];
}

/** The request that dumps a set; the helper sends it, `decodeElements` reads what comes. */
export function dumpElements(set: SetReference): Uint8Array {
  return begin(new MessageWriter(), NFT_MSG.GetSetElements, MessageFlag.Request | MessageFlag.Dump, set).message();
}

/** The two elements that make an interval of a set without concatenation, `last` inclusive. */
export function interval(first: Uint8Array, last: Uint8Array, rest: Omit<SetElement, "key"> = {}): SetElement[] {
  const after = last.slice();
  let at = after.length - 1;
  while (at >= 0 && after[at] === 255) after[at--] = 0;
  const start = { ...rest, key: first };
  // An interval up to the last key of all has no end.
  if (at < 0) return [start];
  after[at] = (after[at] as number) + 1;
  return [start, { key: after, intervalEnd: true, ...(rest.timeout === undefined ? {} : { timeout: rest.timeout }) }];
}

/** A key of one field as it is; of several, each padded to 4 bytes, as nft's registers are. */
export function concatenateKey(...fields: readonly Uint8Array[]): Uint8Array {
  if (fields.length === 1) return fields[0] as Uint8Array;
  const key = new Uint8Array(fields.reduce((sum, field) => sum + ((field.length + 3) & ~3), 0));
  let at = 0;
  for (const field of fields) {
    key.set(field, at);
    at += (field.length + 3) & ~3;
  }
  return key;
}

/** `ether_addr`: 6 bytes. */
export function macField(mac: number): Uint8Array {
  const field = new Uint8Array(6);
  for (let i = 5, rest = mac; i >= 0; i--, rest = Math.floor(rest / 256)) field[i] = rest % 256;
  return field;
}

/** `ipv4_addr` (4 bytes) or `ipv6_addr` (16) from the four words of src/lib/address.ts at `offset`. */
export function addressField(words: ArrayLike<number>, family: 4 | 6, offset = 0): Uint8Array {
  const field = new Uint8Array(family === 4 ? 4 : 16);
  for (let i = 0; i < field.length; i++) {
    const word = words[offset + (family === 4 ? 3 : i >> 2)] as number;
    field[i] = (word >>> (24 - 8 * (i & 3))) & 255;
  }
  return field;
}

/** `inet_service`: 2 bytes. */
export function portField(port: number): Uint8Array {
  return Uint8Array.of(port >>> 8, port & 255);
}

/** `inet_proto`: 1 byte. */
export function protocolField(protocol: number): Uint8Array {
  return Uint8Array.of(protocol);
}

/** `mark` and other 32-bit integers in the machine's order: 4 bytes. */
export function markField(mark: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(mark).buffer);
}

/** `ifname`: 16 bytes. */
export function interfaceField(name: string): Uint8Array {
  const field = new Uint8Array(16);
  field.set(Buffer.from(name, "latin1").subarray(0, 15));
  return field;
}

/** Appends the elements in the netlink messages of [start, end) to `elements`. */
export function decodeElements(bytes: Uint8Array, start: number, end: number, elements: SetElement[]): void {
  eachMessage(bytes, start, end, (type, _flags, bodyStart, bodyEnd) => {
    if (type !== ((Subsystem.Nftables << 8) | NFT_MSG.NewSetElements)) return;
    const list = findAttribute(bytes, bodyStart + 4, bodyEnd, LIST.Elements);
    if (list < 0) return;
    eachAttribute(bytes, list, attributeEnd(bytes, list), (_type, at, stop) => {
      elements.push(decodeElement(bytes, at, stop));
    });
  });
}

/** Where the keys of the elements in the netlink messages of [start, end) stand, without a copy of each. */
export function eachElementKey(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (at: number, isIntervalEnd: boolean) => void,
): void {
  eachMessage(bytes, start, end, (type, _flags, bodyStart, bodyEnd) => {
    if (type !== ((Subsystem.Nftables << 8) | NFT_MSG.NewSetElements)) return;
    const list = findAttribute(bytes, bodyStart + 4, bodyEnd, LIST.Elements);
    if (list < 0) return;
    eachAttribute(bytes, list, attributeEnd(bytes, list), (_type, at, stop) => {
      const key = findAttribute(bytes, at, stop, ELEMENT.Key);
      const value = key < 0 ? -1 : findAttribute(bytes, key, attributeEnd(bytes, key), DATA.Value);
      if (value < 0) return;
      const flags = findAttribute(bytes, at, stop, ELEMENT.Flags);
      visit(value, flags >= 0 && (u32be(bytes, flags) & ELEMENT_FLAG.IntervalEnd) !== 0);
    });
  });
}

/** The deleted elements in the netlink messages of [start, end), with the names of their sets. */
export function eachDeleted(
  bytes: Uint8Array,
  start: number,
  end: number,
  visit: (set: string, element: SetElement) => void,
): void {
  eachMessage(bytes, start, end, (type, _flags, bodyStart, bodyEnd) => {
    if (type !== ((Subsystem.Nftables << 8) | NFT_MSG.DeleteSetElements)) return;
    const set = findAttribute(bytes, bodyStart + 4, bodyEnd, LIST.Set);
    const list = findAttribute(bytes, bodyStart + 4, bodyEnd, LIST.Elements);
    if (set < 0 || list < 0) return;
    const name = textAt(bytes, set, attributeEnd(bytes, set));
    eachAttribute(bytes, list, attributeEnd(bytes, list), (_type, at, stop) => {
      visit(name, decodeElement(bytes, at, stop));
    });
  });
}

function begin(writer: MessageWriter, message: number, flags: number, set: SetReference): MessageWriter {
  writer.begin((Subsystem.Nftables << 8) | message, flags, FAMILY[set.family]);
  return writer.text(LIST.Table, set.table).text(LIST.Set, set.set);
}

function elementMessages(
  message: number,
  flags: number,
  set: SetReference,
  elements: readonly SetElement[],
  withValues: boolean,
): Uint8Array[] {
  const messages: Uint8Array[] = [];
  const writer = new MessageWriter();
  for (let next = 0; next < elements.length;) {
    begin(writer, message, flags, set).nest(LIST.Elements, () => {
      const limit = writer.length + LIST_BYTES;
      for (; next < elements.length && writer.length < limit; next++) {
        writeElement(writer, elements[next] as SetElement, withValues);
      }
    });
    messages.push(writer.message());
  }
  return messages;
}

/** NFTA_LIST_ELEM */
const LIST_ELEMENT = 1;

function writeElement(writer: MessageWriter, element: SetElement, withValues: boolean): void {
  writer.nest(LIST_ELEMENT, () => {
    const flags = (element.intervalEnd ? ELEMENT_FLAG.IntervalEnd : 0) | (element.catchAll ? ELEMENT_FLAG.CatchAll : 0);
    if (flags) writer.u32(ELEMENT.Flags, flags);
    if (!element.catchAll) writer.nest(ELEMENT.Key, () => writer.bytes(DATA.Value, element.key));
    const { keyEnd, data, verdict, timeout } = element;
    if (keyEnd) writer.nest(ELEMENT.KeyEnd, () => writer.bytes(DATA.Value, keyEnd));
    if (!withValues || element.intervalEnd) return;
    if (timeout !== undefined) writer.u64(ELEMENT.Timeout, timeout);
    if (data) writer.nest(ELEMENT.Data, () => writer.bytes(DATA.Value, data));
    if (verdict !== undefined)
      writer.nest(ELEMENT.Data, () => writer.nest(DATA.Verdict, () => writeVerdict(writer, verdict)));
  });
}

function writeVerdict(writer: MessageWriter, verdict: Verdict): void {
  if (typeof verdict === "string") writer.u32(VERDICT.Code, CODE[verdict]);
  else if ("jump" in verdict) writer.u32(VERDICT.Code, CODE.jump).text(VERDICT.Chain, verdict.jump);
  else writer.u32(VERDICT.Code, CODE.goto).text(VERDICT.Chain, verdict.goto);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function decodeElement(bytes: Uint8Array, start: number, end: number): SetElement {
  const element: Mutable<SetElement> = { key: new Uint8Array(0) };
  eachAttribute(bytes, start, end, (type, at, stop) => {
    if (type === ELEMENT.Key) element.key = valueOf(bytes, at, stop) ?? element.key;
    else if (type === ELEMENT.KeyEnd) {
      const keyEnd = valueOf(bytes, at, stop);
      if (keyEnd) element.keyEnd = keyEnd;
    } else if (type === ELEMENT.Flags) {
      const flags = u32be(bytes, at);
      if (flags & ELEMENT_FLAG.IntervalEnd) element.intervalEnd = true;
      if (flags & ELEMENT_FLAG.CatchAll) element.catchAll = true;
    } else if (type === ELEMENT.Timeout) element.timeout = u64be(bytes, at);
    else if (type === ELEMENT.Expiration) element.expires = u64be(bytes, at);
    else if (type === ELEMENT.Data) decodeData(bytes, at, stop, element);
    else if (type === ELEMENT.Expression) decodeCounter(bytes, at, stop, element);
    else if (type === ELEMENT.Expressions)
      eachAttribute(bytes, at, stop, (_type, from, to) => decodeCounter(bytes, from, to, element));
  });
  return element;
}

function decodeData(bytes: Uint8Array, start: number, end: number, element: Mutable<SetElement>): void {
  const data = valueOf(bytes, start, end);
  if (data) element.data = data;
  const verdict = findAttribute(bytes, start, end, DATA.Verdict);
  if (verdict < 0) return;
  const stop = attributeEnd(bytes, verdict);
  const code = findAttribute(bytes, verdict, stop, VERDICT.Code);
  const chain = findAttribute(bytes, verdict, stop, VERDICT.Chain);
  if (code < 0) return;
  const name = chain < 0 ? "" : textAt(bytes, chain, attributeEnd(bytes, chain));
  const value = u32be(bytes, code) | 0;
  if (value === CODE.jump) element.verdict = { jump: name };
  else if (value === CODE.goto) element.verdict = { goto: name };
  else if (value === CODE.drop) element.verdict = "drop";
  else if (value === CODE.accept) element.verdict = "accept";
  else if (value === CODE.return) element.verdict = "return";
  else if (value === CODE.continue) element.verdict = "continue";
}

function decodeCounter(bytes: Uint8Array, start: number, end: number, element: Mutable<SetElement>): void {
  const name = findAttribute(bytes, start, end, EXPRESSION.Name);
  const data = findAttribute(bytes, start, end, EXPRESSION.Data);
  if (name < 0 || data < 0 || textAt(bytes, name, attributeEnd(bytes, name)) !== "counter") return;
  eachAttribute(bytes, data, attributeEnd(bytes, data), (type, at) => {
    if (type === COUNTER.Bytes) element.bytes = u64be(bytes, at);
    else if (type === COUNTER.Packets) element.packets = u64be(bytes, at);
  });
}

/** A copy of NFTA_DATA_VALUE within [start, end). */
function valueOf(bytes: Uint8Array, start: number, end: number): Uint8Array | undefined {
  const value = findAttribute(bytes, start, end, DATA.Value);
  return value < 0 ? undefined : bytes.slice(value, attributeEnd(bytes, value));
}
