/**
 * Elements of the rulesets' sets and maps (spin.nft, spin-bridge.nft), between the three forms that they have: typed here, text for `nft`
 * and its JSON, bytes for netlink. An element's id is its map and its fields, the level first:
 * `pair_up4 3 . 02:00:00:00:00:01 . 192.0.2.7`.
 */
import { isIPv4, parseAddress, parseMac, printAddress, printMac } from "../lib/address.ts";
import {
  addressField,
  concatenateKey,
  interfaceField,
  interval,
  macField,
  markField,
  portField,
  protocolField,
} from "../netlink/nftables-messages.ts";
import type { SetElement, TableFamily } from "../netlink/nftables-messages.ts";
import { COUNT_LEVEL } from "../spin/policy-cells.ts";
import { addressNumber } from "../spin/prefix-table.ts";

export const TABLE = "spin_usp";

type FieldType = "mark" | "mac" | "ipv4" | "ipv6" | "protocol" | "port" | "interface";
/** mark, mac, protocol, port: a number; addresses: a bigint; interface: its name. */
export type FieldValue = number | bigint | string;

interface MapSchema {
  readonly fields: readonly FieldType[];
  /** The fields as the kernel has them: where there are ranges, the peer's address first (spin.nft says why). */
  readonly order: readonly number[];
  /** exact: a hash; tree: intervals of one field; ranges: intervals in each field of a concatenation. */
  readonly form: "exact" | "tree" | "ranges";
  readonly value: "mac" | "none";
}

/** An element without its counters. `value` is that of a map, as nft writes it; empty in a set. */
export interface Element {
  readonly id: string;
  readonly map: string;
  readonly from: readonly FieldValue[];
  /** The same as `from` in fields that are no range. */
  readonly to: readonly FieldValue[];
  readonly value: string;
  /** Milliseconds since 1970; Infinity: none. */
  readonly expires: number;
}

export interface Count {
  readonly packets: number;
  readonly bytes: number;
}

/** What the kernel says of an element. */
export interface CountedElement extends Element, Count {}

export const MAPS: ReadonlyMap<string, MapSchema> = schemas();

/** What the bridge's table has of them: there the sets of the way up serve both ways. */
const BRIDGE_MAPS = /^(version|dropped_up|device_up|(pair|network|box|used)_up[46]|service[46]|destination[46]_\d)$/;

/** The sets and maps of our table of the family. */
export function mapsOf(family: TableFamily): readonly string[] {
  const names = [...MAPS.keys()];
  return family === "inet" ? names : names.filter((name) => BRIDGE_MAPS.test(name));
}

/** Sets whose elements are rules' and count their hits. */
export const COUNTED_MAPS: readonly string[] = [...MAPS.keys()].filter((name) =>
  /^(pair|network|box|device|destination|service)/.test(name),
);
/** Sets that the packet path fills. */
export const DROPPED_SETS = ["dropped_up", "dropped_down4", "dropped_down6"] as const;

/** An element; `to` only where ranges are. */
export function element(
  map: string,
  from: readonly FieldValue[],
  value = "",
  options: { readonly to?: readonly FieldValue[]; readonly expires?: number } = {},
): Element {
  const to = options.to ?? from;
  return {
    id: `${map} ${fieldTexts(map, from, to).join(" . ")}`,
    map,
    from,
    to,
    value,
    expires: options.expires ?? Infinity,
  };
}

/** `{ … }` content of nft's `add element`; `now` turns the expiry into a timeout. */
export function addText(element: Element, now: number): string {
  const { value, expires } = element;
  const timeout = expires === Infinity ? "" : ` timeout ${timeoutOf(expires, now)}ms`;
  return `${keyOnlyText(element)}${timeout}${value === "" ? "" : ` : ${value}`}`;
}

export function keyOnlyText({ map, from, to }: Element): string {
  const { order } = schemaOf(map);
  const parts = fieldTexts(map, from, to);
  return order.map((at) => parts[at]).join(" . ");
}

/** For netlink: one element, or the two of a tree's interval. */
export function setElements({ map, from, to, value, expires }: Element, now: number): SetElement[] {
  const schema = schemaOf(map);
  const { form, value: kind } = schema;
  const key = keyBytes(schema, from);
  const rest = {
    ...(expires === Infinity ? {} : { timeout: timeoutOf(expires, now) }),
    ...(kind === "mac" ? { data: macField(parseMac(value) as number) } : {}),
  };
  if (form === "tree") return interval(key, keyBytes(schema, to), rest);
  if (form === "ranges") return [{ ...rest, key, keyEnd: keyBytes(schema, to) }];
  return [{ ...rest, key }];
}

/** Elements of one map by their keys' bytes, as they were read last: most of a big map is the same each time. */
export interface LastRead {
  byKey: ReadonlyMap<string, CountedElement>;
}

/** Reads what netlink dumped of a map. `last` becomes what was read. */
export function fromSetElements(
  map: string,
  dumped: readonly SetElement[],
  now: number,
  last: LastRead = { byKey: new Map() },
): CountedElement[] {
  const schema = schemaOf(map);
  const fresh = new Map<string, CountedElement>();
  const read = (from: Uint8Array, to: Uint8Array, source: SetElement): CountedElement => {
    const key = bytesText(from) + bytesText(to);
    const { packets = 0, bytes = 0 } = source;
    const expires = source.expires === undefined ? Infinity : now + source.expires;
    const value = valueText(source);
    const known = last.byKey.get(key);
    let one: CountedElement;
    if (known?.packets === packets && known.bytes === bytes && known.value === value && known.expires === expires)
      one = known;
    else {
      const like = known ?? element(map, fieldValues(schema, from), value, { to: fieldValues(schema, to) });
      // Spelled out: a spread of ten thousand gives each its own hidden class, which is larger than the element.
      one = { id: like.id, map, from: like.from, to: like.to, value, expires, packets, bytes };
    }
    fresh.set(key, one);
    return one;
  };
  const elements = readAll(dumped, schema.form, read);
  last.byKey = fresh;
  return elements;
}

function readAll(
  dumped: readonly SetElement[],
  form: MapSchema["form"],
  read: (from: Uint8Array, to: Uint8Array, source: SetElement) => CountedElement,
): CountedElement[] {
  if (form !== "tree") return dumped.map((source) => read(source.key, source.keyEnd ?? source.key, source));
  // Starts and ends come in the order of the tree, one way or the other; an end and the next start may have one key.
  const order = (a: SetElement, b: SetElement) =>
    Buffer.compare(a.key, b.key) || Number(b.intervalEnd ?? false) - Number(a.intervalEnd ?? false);
  const sorted = [...dumped];
  const [first, second] = sorted;
  if (first && second && order(first, second) > 0) sorted.reverse();
  sorted.sort(order);
  const elements: CountedElement[] = [];
  for (const [i, source] of sorted.entries()) {
    if (source.intervalEnd) continue;
    const end = sorted[i + 1];
    const last = end ? before(end.key) : new Uint8Array(source.key.length).fill(255);
    elements.push(read(source.key, last, source));
  }
  return elements;
}

/** The map and the bytes of the (first) key: what an element and what netlink tells of its deletion have in common. */
export function elementKey({ map, from }: Pick<Element, "map" | "from">): string {
  return `${map} ${bytesText(keyBytes(schemaOf(map), from))}`;
}

export function deletedKey(set: string, { key }: SetElement): string {
  return `${set} ${bytesText(key)}`;
}

function bytesText(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return buffer.toString("latin1");
}

/** Reads an element of a map in nft's JSON (`nft -jn list …`); `undefined` if it is not one. */
export function fromJson(map: string, json: unknown, now: number): CountedElement | undefined {
  const schema = schemaOf(map);
  const [key, data] = schema.value !== "none" && Array.isArray(json) ? json : [json, undefined];
  const { val, expires, counter } = (key as { elem?: JsonElement }).elem ?? { val: key };
  const parts = typeof val === "object" && val !== null && "concat" in val ? (val.concat as unknown[]) : [val];
  const from: FieldValue[] = [];
  const to: FieldValue[] = [];
  for (const [i, at] of schema.order.entries()) {
    const range = jsonRange(schema.fields[at] as FieldType, parts[i]);
    if (!range) return undefined;
    [from[at], to[at]] = range;
  }
  const value = typeof data === "string" ? data.toLowerCase() : "";
  return {
    ...element(map, from, value, { to, expires: expires === undefined ? Infinity : now + expires * 1000 }),
    packets: counter?.packets ?? 0,
    bytes: counter?.bytes ?? 0,
  };
}

interface JsonElement {
  readonly val: unknown;
  readonly expires?: number;
  readonly counter?: { readonly packets: number; readonly bytes: number };
}

function schemas(): Map<string, MapSchema> {
  const maps = new Map<string, MapSchema>();
  const put = (name: string, form: MapSchema["form"], value: MapSchema["value"], ...fields: FieldType[]) =>
    maps.set(name, { fields, form, value, order: fields.map((_, i) => i) });
  const putRanges = (name: string, order: readonly number[], ...fields: FieldType[]) =>
    maps.set(name, { fields, form: "ranges", value: "none", order });
  put("version", "exact", "none", "mark");
  put("lan", "exact", "none", "interface");
  put("resident", "exact", "none", "port");
  put("list_places", "exact", "none", "mark", "mark", "mark");
  put("list_used", "exact", "none", "mark");
  put("list_every", "exact", "none", "mark");
  put("list_device_up", "exact", "none", "mark", "mac");
  putRanges("list_service", [1, 2, 0], "mark", "protocol", "port");
  putRanges("list_box_up", [1, 2, 3, 0], "mark", "mac", "protocol", "port");
  put("dropped_up", "exact", "none", "mac");
  put("device_up", "exact", "none", "mark", "mac");
  for (const family of [4, 6] as const) {
    const ip = `ipv${family}` as const;
    put(`management${family}`, "exact", "none", ip, "port");
    put(`owner${family}`, "exact", "mac", ip);
    put(`dropped_down${family}`, "exact", "none", ip);
    put(`sources${family}`, "exact", "none", "mac", ip);
    put(`device_down${family}`, "exact", "none", "mark", ip);
    put(`list_device_down${family}`, "exact", "none", "mark", ip);
    putRanges(`list_box_down${family}`, [1, 2, 3, 0], "mark", ip, "protocol", "port");
    putRanges(`service${family}`, [1, 2, 3, 0], "mark", ip, "protocol", "port");
    for (let level = 0; level <= COUNT_LEVEL; level++) put(`destination${family}_${level}`, "tree", "none", ip);
    for (const way of ["up", "down"] as const) {
      const device = way === "up" ? "mac" : ip;
      put(`pair_${way}${family}`, "exact", "none", "mark", device, ip);
      putRanges(`network_${way}${family}`, [2, 1, 0], "mark", device, ip);
      putRanges(`box_${way}${family}`, [2, 1, 3, 4, 0], "mark", device, ip, "protocol", "port");
      put(`used_${way}${family}`, "exact", "none", "mark");
    }
  }
  return maps;
}

function schemaOf(map: string): MapSchema {
  const schema = MAPS.get(map);
  if (!schema) throw new RangeError(`no map ${map} in the ruleset`);
  return schema;
}

/** Milliseconds; at least one second, so that a late message still has an effect. */
function timeoutOf(expires: number, now: number): number {
  return Math.max(1000, Math.round(expires - now));
}

function fieldTexts(map: string, from: readonly FieldValue[], to: readonly FieldValue[]): string[] {
  return schemaOf(map).fields.map((type, i) => {
    const first = fieldText(type, from[i] as FieldValue);
    return from[i] === to[i] ? first : `${first}-${fieldText(type, to[i] as FieldValue)}`;
  });
}

function fieldText(type: FieldType, value: FieldValue): string {
  if (type === "mac") return printMac(value as number).toLowerCase();
  if (type === "ipv4" || type === "ipv6") return addressText(value as bigint, type === "ipv4" ? 4 : 6);
  return type === "interface" ? `"${value}"` : String(value);
}

/** Text of an address given as a number of its family's width. */
export function addressText(value: bigint, family: 4 | 6): string {
  const words = addressWords(value, family);
  if (family === 4 || !isIPv4(words)) return printAddress(words);
  const low = words[3] as number;
  return `::ffff:${(low >>> 16).toString(16)}:${(low & 0xffff).toString(16)}`;
}

function addressWords(value: bigint, family: 4 | 6): Uint32Array {
  const word = (shift: bigint) => Number((value >> shift) & 0xffffffffn);
  return family === 4
    ? Uint32Array.of(0, 0, 0xffff, word(0n))
    : Uint32Array.of(word(96n), word(64n), word(32n), word(0n));
}

function keyBytes({ fields, form, order }: MapSchema, values: readonly FieldValue[]): Uint8Array {
  return concatenateKey(...order.map((i) => fieldBytes(fields[i] as FieldType, values[i] as FieldValue, form)));
}

function fieldBytes(type: FieldType, value: FieldValue, form: MapSchema["form"]): Uint8Array {
  switch (type) {
    case "mark":
      // nft turns numbers of the machine's order into network order where ranges are compared.
      return form === "exact" ? markField(value as number) : bigEndian(value as number);
    case "mac":
      return macField(value as number);
    case "ipv4":
      return addressField(addressWords(value as bigint, 4), 4);
    case "ipv6":
      return addressField(addressWords(value as bigint, 6), 6);
    case "protocol":
      return protocolField(value as number);
    case "port":
      return portField(value as number);
    case "interface":
      return interfaceField(value as string);
  }
}

const WIDTH: Record<FieldType, number> = { mark: 4, mac: 6, ipv4: 4, ipv6: 16, protocol: 1, port: 2, interface: 16 };

function fieldValues({ fields, form, order }: MapSchema, key: Uint8Array): FieldValue[] {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.byteLength);
  const values: FieldValue[] = [];
  let at = 0;
  for (const i of order) {
    const type = fields[i] as FieldType;
    values[i] = fieldValue(type, bytes, at, form);
    at += (WIDTH[type] + 3) & ~3;
  }
  return values;
}

function fieldValue(type: FieldType, bytes: Buffer, at: number, form: MapSchema["form"]): FieldValue {
  if (type === "interface") return bytes.toString("latin1", at, at + 16).replace(/\0+$/, "");
  if (type === "mark") return form === "exact" ? nativeWord(bytes, at) : bytes.readUInt32BE(at);
  if (type === "ipv4") return BigInt(bytes.readUInt32BE(at));
  if (type === "ipv6") return (bytes.readBigUInt64BE(at) << 64n) | bytes.readBigUInt64BE(at + 8);
  return bytes.readUIntBE(at, WIDTH[type]);
}

function nativeWord(bytes: Buffer, at: number): number {
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset + at, bytes.byteOffset + at + 4))[0] as number;
}

function bigEndian(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

function before(key: Uint8Array): Uint8Array {
  const last = key.slice();
  let at = last.length - 1;
  while (at >= 0 && last[at] === 0) last[at--] = 255;
  if (at >= 0) last[at] = (last[at] as number) - 1;
  return last;
}

function valueText({ data }: SetElement): string {
  return data ? printMac(Buffer.from(data).readUIntBE(0, 6)).toLowerCase() : "";
}

function jsonRange(type: FieldType, json: unknown): readonly [FieldValue, FieldValue] | undefined {
  if (typeof json === "object" && json !== null) {
    const { range, prefix } = json as { range?: [unknown, unknown]; prefix?: { addr: unknown; len: number } };
    if (range) {
      const [from, to] = [jsonField(type, range[0]), jsonField(type, range[1])];
      return from === undefined || to === undefined ? undefined : [from, to];
    }
    if (!prefix) return undefined;
    // nft also writes ranges of ports, protocols and marks as prefixes where it can.
    const from = jsonField(type, prefix.addr);
    if (from === undefined || typeof from === "string") return undefined;
    const free = BigInt(8 * WIDTH[type] - prefix.len);
    const to = BigInt(from) + (1n << free) - 1n;
    return [from, typeof from === "bigint" ? to : Number(to)];
  }
  const value = jsonField(type, json);
  return value === undefined ? undefined : [value, value];
}

function jsonField(type: FieldType, json: unknown): FieldValue | undefined {
  if (type === "interface") return String(json);
  if (type === "mac") return parseMac(String(json));
  if (type !== "ipv4" && type !== "ipv6") return Number.isInteger(Number(json)) ? Number(json) : undefined;
  const words = parseAddress(String(json));
  return words && addressNumber(words, type === "ipv4" ? 4 : 6);
}
