/**
 * What can be read of a Record or Message that was refused: whom it was from, whom it was for, which request it was.
 * TR-369 R-MTP.5 answers a broken Record only when these are known. Reads tolerantly, believes only well-formed text,
 * never throws.
 */
import { isUtf8 } from "./wire-check.ts";

export interface SalvagedMsg {
  readonly msgId?: string;
  /** The body says that it is a Request (an answer is never answered). */
  readonly isRequest: boolean;
}

export interface SalvagedRecord extends SalvagedMsg {
  readonly fromId?: string;
  readonly toId?: string;
  /** It was to go through a session. */
  readonly isOfSession: boolean;
}

export function salvageRecord(bytes: Uint8Array): SalvagedRecord {
  const found: { toId?: string; fromId?: string } = {};
  let msg: SalvagedMsg = { isRequest: false };
  let isOfSession = false;
  for (const field of fields(bytes)) {
    if (field.number === 2) assign(found, "toId", field.bytes);
    else if (field.number === 3) assign(found, "fromId", field.bytes);
    else if (field.number === 8) isOfSession = true;
    else if (field.number === 7) {
      for (const inner of fields(field.bytes)) if (inner.number === 2) msg = salvageMsg(inner.bytes);
    }
  }
  return { ...found, ...msg, isOfSession };
}

export function salvageMsg(bytes: Uint8Array): SalvagedMsg {
  const found: { msgId?: string } = {};
  let isRequest = false;
  for (const field of fields(bytes)) {
    if (field.number === 1) {
      for (const inner of fields(field.bytes)) if (inner.number === 1) assign(found, "msgId", inner.bytes);
    } else if (field.number === 2) {
      for (const inner of fields(field.bytes)) if (inner.number === 1) isRequest = true;
    }
  }
  return { ...found, isRequest };
}

/** Ids are short; a longer one is no id that we would repeat in an answer. */
const MAX_ID_BYTES = 512;
/** Of one message: the fields that we look for come among the first. */
const MAX_FIELDS = 32;

function assign<Key extends string>(found: { [K in Key]?: string }, key: Key, bytes: Uint8Array): void {
  if (bytes.length === 0 || bytes.length > MAX_ID_BYTES || !isUtf8(bytes, 0, bytes.length)) return;
  found[key] = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

/** The length-delimited fields of a message, until the first thing that makes no sense. A cut-off field gives its rest. */
function* fields(bytes: Uint8Array): Generator<{ number: number; bytes: Uint8Array }> {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let scale = 1, i = 0; i < 10 && at < bytes.length; i++, scale *= 128) {
      const byte = bytes[at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    at = bytes.length;
    return 0;
  };
  for (let count = 0; at < bytes.length && count < MAX_FIELDS; count++) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === 0) return;
    if (wireType === 0) varint();
    else if (wireType === 1) at += 8;
    else if (wireType === 5) at += 4;
    else if (wireType === 2) {
      const length = varint();
      yield { number, bytes: bytes.subarray(at, at + length) };
      at += length;
    } else return;
  }
}
