/**
 * Sets of a list's addresses in the kernel: too many for an object each. What changes goes as ranges straight from typed
 * arrays, some thousands in a transaction, so that others get their turn; what is there is compared by a sum over all keys.
 */
import { setImmediate as immediate } from "node:timers/promises";
import type { MessagesHandler } from "../netlink/helper.ts";
import {
  addElements,
  deleteElements,
  eachElementKey,
  flushSet,
  interval,
  type SetElement,
} from "../netlink/nftables-messages.ts";
import { compareWords, type ListRanges, type Width } from "../spin/lists/ranges.ts";
import { addressText, TABLE } from "./elements.ts";
import type { Transport } from "./transport.ts";

/**
 * Ranges in a transaction of the helper: 450 kB, some 20 ms of ours. Each transaction costs the kernel some 10 ms however
 * small, and very large ones cost it more than they spare.
 */
const PART = 10_000;
/** The same of spawned nft, which takes memory for each. */
const SCRIPT_PART = 2000;
/** Without the helper nft reads the whole set for each part. */
export const SCRIPT_LIMIT = 20_000;

export const EMPTY: Uint32Array = new Uint32Array(0);
export const widthOf = (family: 4 | 6): Width => (family === 4 ? 1 : 4);
export const rangesOf = (ranges: ListRanges, family: 4 | 6): Uint32Array => (family === 4 ? ranges.v4 : ranges.v6);

/** Runs a piece of work when the kernel is free for it. */
export type Turn = <T>(work: () => Promise<T>) => Promise<T>;

/** Empties a set. */
export async function emptySet({ bulk, script }: Transport, set: string): Promise<void> {
  if (bulk) await bulk.transact(flushSet({ family: "inet", table: TABLE, set }));
  else await script?.(`flush set inet ${TABLE} ${set}\n`);
}

/** Makes a set that holds `before` hold `after`. If it fails, nobody knows what it holds. */
export async function changeSet(
  { bulk, script }: Transport,
  set: string,
  family: 4 | 6,
  { before, after }: { readonly before: Uint32Array; readonly after: Uint32Array },
  turn: Turn,
): Promise<void> {
  const width = widthOf(family);
  for (const { removed, added } of differences(before, after, width, bulk ? PART : SCRIPT_PART)) {
    await turn(async () => {
      if (bulk) {
        const at = { family: "inet", table: TABLE, set } as const;
        const intervals = (ranges: readonly Uint32Array[]) => ranges.flatMap((range) => intervalOf(range, width));
        await bulk.transact([...deleteElements(at, intervals(removed)), ...addElements(at, intervals(added))]);
      } else {
        const line = (verb: string, ranges: readonly Uint32Array[]) =>
          ranges.length === 0 ? "" : `${verb} element inet ${TABLE} ${set} { ${textOf(ranges, family)} }\n`;
        await script?.(line("delete", removed) + line("add", added));
      }
    });
    await immediate();
  }
}

/**
 * The kernel begins anew with each 32 kB of a dump, so that reading 200,000 ranges takes it 5 s (measured): bigger sets are
 * not looked at.
 */
const LOOK_LIMIT = 20_000;

/** Whether a set holds these ranges and nothing else, as far as one can tell; `undefined` where one can't. */
export async function isHeld(
  { bulk }: Transport,
  set: string,
  family: 4 | 6,
  ranges: Uint32Array,
): Promise<boolean | undefined> {
  const width = widthOf(family);
  if (!bulk || ranges.length > LOOK_LIMIT * 2 * width) return undefined;
  let found = 0;
  let sum = 0;
  const onMessages: MessagesHandler = (bytes, start, end) =>
    eachElementKey(bytes, start, end, (at, isEnd) => {
      found++;
      sum = (sum + hashKey(bytes, at, 4 * width, isEnd)) >>> 0;
    });
  await bulk.dump(set, () => {
    found = sum = 0;
    return onMessages;
  });
  let wanted = 0;
  let wantedSum = 0;
  for (let from = 0; from < ranges.length; from += PART * 2 * width) {
    for (let at = from; at < Math.min(ranges.length, from + PART * 2 * width); at += 2 * width)
      for (const { key, intervalEnd = false } of intervalOf(ranges.subarray(at, at + 2 * width), width)) {
        wanted++;
        wantedSum = (wantedSum + hashKey(key, 0, 4 * width, intervalEnd)) >>> 0;
      }
    await immediate();
  }
  return found === wanted && sum === wantedSum;
}

/** 32 bits that tell these ranges from others. */
export function fingerprintOf(v4: Uint32Array, v6: Uint32Array): number {
  let hash = 0x811c9dc5 ^ v4.length;
  for (const words of [v4, v6])
    for (const word of words) {
      hash = Math.imul(hash ^ word, 0x01000193);
      hash ^= hash >>> 15;
    }
  return hash >>> 0;
}

/** Ranges as text for nft, `192.0.2.0-192.0.2.7, …`. */
export function textOf(ranges: readonly Uint32Array[], family: 4 | 6): string {
  const number = (range: Uint32Array, at: number) =>
    family === 4
      ? BigInt(range[at] as number)
      : range.subarray(at, at + 4).reduce((sum, word) => (sum << 32n) | BigInt(word), 0n);
  return ranges
    .map((range) => {
      const [from, to] = [number(range, 0), number(range, widthOf(family))];
      return from === to ? addressText(from, family) : `${addressText(from, family)}-${addressText(to, family)}`;
    })
    .join(", ");
}

/** What leaves and what comes, in parts of about `size`; no part's ranges meet those of a later one. */
export function* differences(
  before: Uint32Array,
  after: Uint32Array,
  width: Width,
  size: number,
): Iterable<{ removed: Uint32Array[]; added: Uint32Array[] }> {
  const step = 2 * width;
  let removed: Uint32Array[] = [];
  let added: Uint32Array[] = [];
  /** The last address that this part's ranges reach. */
  let reach: Uint32Array | undefined;
  for (let i = 0, j = 0; i < before.length || j < after.length;) {
    const order = i >= before.length ? 1 : j >= after.length ? -1 : compareWords(before, i, after, j, width);
    if (order === 0 && compareWords(before, i + width, after, j + width, width) === 0) {
      i += step;
      j += step;
      continue;
    }
    const isOld = order <= 0;
    const range = isOld ? before.subarray(i, i + step) : after.subarray(j, j + step);
    if (removed.length + added.length >= size && reach && compareWords(range, 0, reach, 0, width) > 0) {
      yield { removed, added };
      removed = [];
      added = [];
      reach = undefined;
    }
    (isOld ? removed : added).push(range);
    if (!reach || compareWords(range, width, reach, 0, width) > 0) reach = range.subarray(width);
    if (isOld) i += step;
    else j += step;
  }
  if (removed.length + added.length > 0) yield { removed, added };
}

function intervalOf(range: Uint32Array, width: Width): SetElement[] {
  return interval(keyOf(range, 0, width), keyOf(range, width, width));
}

function keyOf(range: Uint32Array, at: number, width: Width): Uint8Array {
  const key = new Uint8Array(4 * width);
  for (let i = 0; i < key.length; i++) key[i] = (range[at + (i >> 2)] as number) >>> (24 - 8 * (i & 3));
  return key;
}

function hashKey(bytes: Uint8Array, at: number, length: number, isEnd: boolean): number {
  let hash = isEnd ? 0x9747b28c : 0x811c9dc5;
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[at + i] as number), 0x01000193);
  hash ^= hash >>> 15;
  return Math.imul(hash, 0x2c1b3c6d) >>> 0;
}
