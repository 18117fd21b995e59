/**
 * The strict check that runs before a message is decoded. ts-proto takes what protobuf lets a decoder take: invalid
 * UTF-8, a oneof set twice (the last wins), unknown enum values, known fields of a wrong wire type. TR-369 R-ENC.2 to
 * R-ENC.5 refuse these, so one pass over the bytes, driven by the schema's tables, says no before anything is built.
 *
 * Unknown fields are allowed and skipped: later versions of USP add fields.
 */
import { MESSAGES } from "./generated/wire-tables.ts";
import type { FieldTable } from "./wire-table.ts";

export interface WireLimits {
  /** Greatest size, in bytes. */
  readonly bytes: number;
  /** Greatest number of repeated fields and map entries in all: paths, settings, results … */
  readonly elements: number;
}

/** Why bytes are refused. `unknown` is a oneof of which only members are set that we have never heard of. */
export type FaultKind = "malformed" | "utf8" | "enum" | "oneof" | "missing" | "unknown" | "limit";

export interface WireFault {
  readonly kind: FaultKind;
  /** The message in which it was found, as the schema names it: `usp.Request`. */
  readonly message: string;
  readonly reason: string;
}

/** Walks `bytes` as the message at index `message` of the tables; `undefined` when nothing is wrong. Never throws. */
export function checkWire(bytes: Uint8Array, message: number, limits: WireLimits): WireFault | undefined {
  const rule = RULES[message] as MessageRule;
  if (bytes.length > limits.bytes) {
    const reason = `${bytes.length} bytes are more than the limit of ${limits.bytes}`;
    return { kind: "limit", message: rule.name, reason };
  }
  const walk = new Walk(bytes, limits.elements);
  return walk.message(rule, bytes.length) ? undefined : walk.fault;
}

const VARINT = 0;
const BIT64 = 1;
const DELIMITED = 2;
const BIT32 = 5;

interface FieldRule {
  readonly name: string;
  readonly type: FieldTable["type"];
  readonly wireType: number;
  readonly repeated: boolean;
  /** This field's bit in the set of those seen; field numbers of USP stay below 31. */
  readonly bit: number;
  /** Bits that may not be set yet when this field comes: its own, or its whole oneof's. */
  readonly excludes: number;
  readonly max: number;
  /** Index of the rule of a message field. */
  readonly message: number;
}

interface MessageRule {
  readonly name: string;
  /** By field number. */
  readonly fields: readonly (FieldRule | undefined)[];
  /** Exactly one bit of each mask has to be set. */
  readonly oneofs: readonly { readonly name: string; readonly mask: number }[];
  /** Messages that all else rests on: Msg.header, Msg.body, each oper_status. */
  readonly required: number;
}

const RULES: readonly MessageRule[] = MESSAGES.map((table) => {
  const oneofs = table.oneofs.map((name, index) => ({
    name,
    mask: table.fields.reduce((mask, field) => (field.oneof === index ? mask | (1 << field.number) : mask), 0),
  }));
  const greatest = Math.max(0, ...table.fields.map((field) => field.number));
  const fields = new Array<FieldRule | undefined>(greatest + 1).fill(undefined);
  let required = 0;
  for (const field of table.fields) {
    const bit = 1 << field.number;
    if (field.type === "message" && field.repeated !== true && field.oneof === undefined) required |= bit;
    fields[field.number] = {
      name: field.name,
      type: field.type,
      wireType: wireTypeOf(field.type),
      repeated: field.repeated === true,
      bit,
      excludes: field.oneof === undefined ? bit : (oneofs[field.oneof]?.mask ?? bit),
      max: field.max ?? 0,
      message: field.message ?? 0,
    };
  }
  return { name: table.name, fields, oneofs, required };
});

function wireTypeOf(type: FieldTable["type"]): number {
  if (type === "bool" || type === "enum" || type === "uint64") return VARINT;
  return type === "fixed32" ? BIT32 : DELIMITED;
}

/** One pass. Methods answer false once `fault` is set. Depth is bounded by the schema, which has no recursive message. */
class Walk {
  fault: WireFault | undefined = undefined;
  #position = 0;
  #elements = 0;
  readonly #bytes: Uint8Array;
  readonly #maxElements: number;

  constructor(bytes: Uint8Array, maxElements: number) {
    this.#bytes = bytes;
    this.#maxElements = maxElements;
  }

  message(rule: MessageRule, end: number): boolean {
    let seen = 0;
    let unknown = false;
    while (this.#position < end) {
      const tag = this.#varint32(end);
      if (tag < 0) return this.#refuse("malformed", rule, undefined, "a tag is cut short or too long");
      const field = rule.fields[tag >>> 3];
      if (field === undefined) {
        if (tag >>> 3 === 0) return this.#refuse("malformed", rule, undefined, "a field has the number 0");
        if (!this.#skip(tag & 7, end))
          return this.#refuse("malformed", rule, undefined, `unknown field ${tag >>> 3} is broken`);
        unknown = true;
        continue;
      }
      if ((tag & 7) !== field.wireType) return this.#refuse("malformed", rule, field, `has wire type ${tag & 7}`);
      if (field.repeated) {
        if (++this.#elements > this.#maxElements) {
          return this.#refuse("limit", rule, field, `is one of more than ${this.#maxElements} elements`);
        }
      } else if ((seen & field.excludes) !== 0) {
        return this.#refuse(
          "oneof",
          rule,
          field,
          (seen & field.bit) !== 0 ? "comes twice" : "is a second member of its oneof",
        );
      }
      seen |= field.bit;
      if (!this.#value(rule, field, end)) return false;
    }
    return this.#isComplete(rule, seen, unknown);
  }

  #value(rule: MessageRule, field: FieldRule, end: number): boolean {
    switch (field.wireType) {
      case DELIMITED: {
        const length = this.#varint32(end);
        const stop = this.#position + length;
        if (length < 0 || stop > end) return this.#refuse("malformed", rule, field, "is longer than what holds it");
        if (field.type === "message") return this.message(RULES[field.message] as MessageRule, stop);
        if (field.type === "string" && !isUtf8(this.#bytes, this.#position, stop)) {
          return this.#refuse("utf8", rule, field, "is not UTF-8");
        }
        this.#position = stop;
        return true;
      }
      case BIT32:
        this.#position += 4;
        return this.#position <= end || this.#refuse("malformed", rule, field, "is cut short");
      default:
        return this.#number(rule, field, end);
    }
  }

  #number(rule: MessageRule, field: FieldRule, end: number): boolean {
    if (field.type !== "enum")
      return this.#skipVarint(end) || this.#refuse("malformed", rule, field, "is no 64-bit number");
    const start = this.#position;
    if (!this.#skipVarint(end)) return this.#refuse("malformed", rule, field, "is no number");
    // Every enum of USP fits one byte; a longer spelling of a small number is legal, if odd.
    let value = 0;
    let scale = 1;
    for (let at = start; at < this.#position; at++, scale *= 128) value += ((this.#bytes[at] as number) & 0x7f) * scale;
    return value <= field.max || this.#refuse("enum", rule, field, `has the unknown value ${value}`);
  }

  #isComplete(rule: MessageRule, seen: number, unknown: boolean): boolean {
    for (const oneof of rule.oneofs) {
      if ((seen & oneof.mask) !== 0) continue;
      const what = unknown ? "holds nothing that is known here" : "is missing";
      return this.#refuse(unknown ? "unknown" : "missing", rule, undefined, `${oneof.name} ${what}`);
    }
    if ((seen & rule.required) === rule.required) return true;
    const missing = rule.fields.find((field) => field !== undefined && (rule.required & ~seen & field.bit) !== 0);
    return this.#refuse("missing", rule, missing, "is missing");
  }

  /** A length or tag of at most 32 bits; −1 if it is cut short or longer. */
  #varint32(end: number): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 5 && this.#position < end; i++, scale *= 128) {
      const byte = this.#bytes[this.#position++] as number;
      if (byte < 0x80) {
        if (i === 4 && byte > 0x0f) return -1;
        return value + byte * scale;
      }
      value += (byte & 0x7f) * scale;
    }
    return -1;
  }

  #skipVarint(end: number): boolean {
    for (let i = 0; i < 10 && this.#position < end; i++) {
      const byte = this.#bytes[this.#position++] as number;
      if (byte < 0x80) return i < 9 || byte <= 1;
    }
    return false;
  }

  #skip(wireType: number, end: number): boolean {
    switch (wireType) {
      case VARINT:
        return this.#skipVarint(end);
      case BIT64:
        this.#position += 8;
        break;
      case BIT32:
        this.#position += 4;
        break;
      case DELIMITED: {
        const length = this.#varint32(end);
        if (length < 0) return false;
        this.#position += length;
        break;
      }
      default: // Groups went away with protobuf 3; 6 and 7 never were.
        return false;
    }
    return this.#position <= end;
  }

  #refuse(kind: FaultKind, rule: MessageRule, field: FieldRule | undefined, what: string): false {
    const name = field === undefined ? rule.name : `${rule.name}.${field.name}`;
    this.fault = { kind, message: rule.name, reason: `${name}: ${what} (near byte ${this.#position})` };
    return false;
  }
}

/** RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF. */
export function isUtf8(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    const first = bytes[at++] as number;
    if (first < 0x80) continue;
    const follow =
      first >= 0xc2 && first <= 0xdf ? 1 : first >= 0xe0 && first <= 0xef ? 2 : first >= 0xf0 && first <= 0xf4 ? 3 : 0;
    if (follow === 0 || at + follow > end) return false;
    const second = bytes[at] as number;
    if (second < (first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80)) return false;
    if (second > (first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf)) return false;
    for (let i = 1; i < follow; i++) if (((bytes[at + i] as number) & 0xc0) !== 0x80) return false;
    at += follow;
  }
  return true;
}
