/**
 * Who owns a hardware address's prefix, from the file that scripts/vendors.mjs packs (its layout stands there). It is
 * read at offsets, so that a megabyte of names costs no memory; only the latest answers are kept.
 */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { isLocallyAdministered } from "./address.ts";
import { describe, type Log } from "./log.ts";

/** Address as a number → name, or "". Never throws. */
export type VendorOf = (mac: number) => string;

const MAGIC = "SPINOUI1";
const HEADER_BYTES = 24;
const MAX_FILE_BYTES = 64 << 20;
const MAX_NAME_BYTES = 128;
const KEPT = 256;
/** Bits of a prefix, and bytes that it takes in the file. */
const LENGTHS = [
  { bits: 24, width: 3 },
  { bits: 28, width: 4 },
  { bits: 36, width: 5 },
] as const;
const NAME_NUMBER_BYTES = 2;

/** @param path `undefined`: there is no such file, and nobody is known. */
export function vendorsIn(path: string | undefined, log: Log): VendorOf {
  const file = path === undefined ? undefined : open(path, log);
  if (path === undefined) log.debug("vendors.bin is missing: devices' vendors stay empty");
  if (!file) return () => "";
  const kept = new Map<number, string>();
  let isBroken = false;
  return (mac) => {
    if (isBroken || isLocallyAdministered(mac)) return "";
    // No prefix is longer than 36 bits.
    const key = Math.floor(mac / 2 ** 12);
    let name = kept.get(key);
    if (name === undefined) {
      try {
        name = file.find(mac);
      } catch (error) {
        isBroken = true;
        closeSync(file.descriptor);
        log.debug(`${path}: ${describe(error)}`);
        return "";
      }
    } else kept.delete(key);
    kept.set(key, name);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value as number);
    return name;
  };
}

function open(path: string, log: Log): VendorFile | undefined {
  let descriptor: number | undefined;
  try {
    descriptor = openSync(path, "r");
    return new VendorFile(descriptor);
  } catch (error) {
    if (descriptor !== undefined) closeSync(descriptor);
    log.debug(`${path}: ${describe(error)}; devices' vendors stay empty`);
    return undefined;
  }
}

class VendorFile {
  readonly descriptor: number;
  readonly #tables: { readonly bits: number; readonly width: number; readonly count: number; readonly at: number }[] =
    [];
  readonly #nameCount: number;
  readonly #offsetsAt: number;
  readonly #namesAt: number;
  readonly #bytes = Buffer.alloc(MAX_NAME_BYTES);

  /** @throws Error where it is no such file, or not all of it */
  constructor(descriptor: number) {
    this.descriptor = descriptor;
    const { size } = fstatSync(descriptor);
    if (size > MAX_FILE_BYTES) throw new Error("is too large to be a table of vendors");
    const header = this.#read(0, HEADER_BYTES);
    if (header.toString("latin1", 0, MAGIC.length) !== MAGIC) throw new Error("is no table of vendors");
    let at = HEADER_BYTES;
    for (const [i, { bits, width }] of LENGTHS.entries()) {
      const count = header.readUInt32BE(MAGIC.length + 4 * i);
      this.#tables.push({ bits, width, count, at });
      at += count * (width + NAME_NUMBER_BYTES);
    }
    this.#nameCount = header.readUInt32BE(MAGIC.length + 4 * LENGTHS.length);
    this.#offsetsAt = at;
    this.#namesAt = at + 4 * (this.#nameCount + 1);
    if (this.#namesAt > size) throw new Error("ends too early");
    const end = this.#read(this.#namesAt - 4, 4).readUInt32BE(0);
    if (this.#namesAt + end !== size) throw new Error("has lost some of its names");
  }

  /** The longest prefix counts: a registered block of 24 bits is parted into longer ones. @throws Error */
  find(mac: number): string {
    for (const table of [...this.#tables].reverse()) {
      const number = this.#numberOf(Math.floor(mac / 2 ** (48 - table.bits)), table);
      if (number !== undefined) return this.#name(number);
    }
    return "";
  }

  #numberOf(prefix: number, { width, count, at }: { width: number; count: number; at: number }): number | undefined {
    const size = width + NAME_NUMBER_BYTES;
    let low = 0;
    let high = count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const entry = this.#read(at + middle * size, size);
      const found = entry.readUIntBE(0, width);
      if (found === prefix) return entry.readUInt16BE(width);
      if (found < prefix) low = middle + 1;
      else high = middle;
    }
    return undefined;
  }

  #name(number: number): string {
    if (number >= this.#nameCount) throw new Error(`has no name ${number}`);
    const offsets = this.#read(this.#offsetsAt + 4 * number, 8);
    const [from, to] = [offsets.readUInt32BE(0), offsets.readUInt32BE(4)];
    if (to < from || to - from > MAX_NAME_BYTES) throw new Error(`has no name ${number}`);
    return this.#read(this.#namesAt + from, to - from).toString("utf8");
  }

  /** Valid until the next call. */
  #read(at: number, size: number): Buffer {
    const read = readSync(this.descriptor, this.#bytes, 0, size, at);
    if (read !== size) throw new Error("ends too early");
    return this.#bytes.subarray(0, size);
  }
}
