/**
 * The owners of hardware addresses' prefixes, packed from the IEEE's registry as the npm package `oui-data` carries it.
 * All numbers are big-endian; src/lib/vendors.ts reads it.
 *
 *   "SPINOUI1"; u32 × 4: how many 24-, 28- and 36-bit prefixes there are, how many names
 *   per length, in ascending order: the prefix in 3, 4 or 5 bytes, the number of its name in 2
 *   u32 × (names + 1): where each name begins, from the first one on; the last: where they all end
 *   the names, in UTF-8
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { root } from "./setup.mjs";

/** Of the registry itself: no maker's name. */
const NOBODY = new Set(["", "Private", "IEEE Registration Authority"]);
const MAX_NAME_BYTES = 128;
const DIGITS = [6, 7, 9];

/** @param registry Prefix in 6, 7 or 9 hexadecimal digits → name, and an address in the lines after it. */
export function packVendors(registry) {
  const rows = Object.entries(registry).map(([prefix, text]) => [prefix, nameOf(text)]);
  const named = rows.filter(([, name]) => !NOBODY.has(name));
  const names = [...new Set(named.map(([, name]) => name))].sort();
  if (names.length > 0xffff) throw new Error(`${names.length} names are more than two bytes can number`);
  const numbers = new Map(names.map((name, i) => [name, i]));
  const tables = DIGITS.map((digits) => {
    const width = Math.ceil(digits / 2);
    const ofLength = named.filter(([prefix]) => prefix.length === digits);
    const sorted = ofLength.map(([prefix, name]) => [parseInt(prefix, 16), name]).sort(([a], [b]) => a - b);
    const table = Buffer.alloc(sorted.length * (width + 2));
    sorted.forEach(([prefix, name], i) => {
      table.writeUIntBE(prefix, i * (width + 2), width);
      table.writeUInt16BE(numbers.get(name), i * (width + 2) + width);
    });
    return { count: sorted.length, table };
  });
  const texts = names.map((name) => Buffer.from(name));
  const offsets = [0];
  for (const text of texts) offsets.push(offsets.at(-1) + text.length);
  const counts = [...tables.map(({ count }) => count), names.length];
  const parts = [Buffer.from("SPINOUI1"), words(counts), ...tables.map(({ table }) => table), words(offsets), ...texts];
  return Buffer.concat(parts);
}

function nameOf(text) {
  let name = text.split("\n", 1)[0].trim();
  while (Buffer.byteLength(name) > MAX_NAME_BYTES) name = name.slice(0, -1);
  return name;
}

function words(numbers) {
  const bytes = Buffer.alloc(numbers.length * 4);
  numbers.forEach((number, i) => bytes.writeUInt32BE(number, i * 4));
  return bytes;
}

/** Writes the table, and beside it whose data it is. Returns its size. */
export function writeVendors(path) {
  const index = createRequire(import.meta.url).resolve("oui-data");
  const { name, version, license, author } = JSON.parse(readFileSync(join(dirname(index), "package.json"), "utf8"));
  const bytes = packVendors(JSON.parse(readFileSync(index, "utf8")));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  writeFileSync(
    `${path}.LEGAL.txt`,
    `Owners of hardware addresses, from the IEEE's public registries as packed in ${name} ${version} by ${author} (${license}).\n`,
  );
  return bytes.length;
}

if (process.argv[1]?.endsWith("vendors.mjs")) writeVendors(join(root, "dist/vendors.bin"));
