/** What SPIN 1.0 kept in /etc/spin, read with suspicion: a line that is none is told, never fatal. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { addressOf, isAddress, LISTS, quoted, type ListName } from "./home.ts";
import { parseMac, printMac } from "../../lib/address.ts";

export interface SpinFiles {
  readonly lists: Readonly<Record<ListName, readonly string[]>>;
  /** By MAC or IP address. */
  readonly names: ReadonlyMap<string, string>;
  readonly pairs: readonly { readonly ends: readonly [StoredNode, StoredNode] }[];
  /** What can't be used, in words. */
  readonly faults: readonly string[];
}

export interface StoredNode {
  readonly id: string;
  readonly mac: string;
  readonly ips: readonly string[];
}

const MAX_FILE_BYTES = 1 << 20;
const MAX_LINES = 10_000;
const MAX_NODES = 4096;
/** SPIN itself threw larger ones away. */
const MAX_NODE_BYTES = 10_240;
const MAX_FAULTS = 200;

/** @throws the system's error where there is no such folder */
export function readSpinFiles(folder: string): SpinFiles {
  readdirSync(folder);
  const faults: string[] = [];
  const fault = (text: string) => void (faults.length < MAX_FAULTS && faults.push(text));
  const lines = (name: string): (readonly [where: string, line: string])[] => {
    const text = readText(join(folder, name), MAX_FILE_BYTES, fault);
    const all = text.split(/\r?\n/).map((line, i) => [`${name} line ${i + 1}`, line.trim()] as const);
    if (all.length > MAX_LINES) fault(`${name} has more than ${MAX_LINES} lines; the rest is left out`);
    return all.slice(0, MAX_LINES).filter(([, line]) => line !== "" && !line.startsWith("#"));
  };
  const addresses = (name: ListName) => {
    const found = new Set<string>();
    for (const [where, line] of lines(`${name}.list`)) {
      try {
        // A whole address's prefix is the address.
        found.add(addressOf(line.replace(/^([\d.]+)\/32$|^([0-9a-f:]+)\/128$/i, "$1$2")));
      } catch {
        fault(`${where}: ${quoted(line)} is no IP address`);
      }
    }
    return [...found];
  };
  const lists = { block: addresses("block"), ignore: addresses("ignore"), allow: addresses("allow") };
  const names = new Map<string, string>();
  for (const [where, line] of lines("names.conf")) {
    const [, what = "", name = ""] = /^name:\s*(\S+)\s+(.+)$/.exec(line) ?? [];
    const mac = parseMac(what);
    if (name === "" || (mac === undefined && !isAddress(what))) fault(`${where}: ${quoted(line)} names nothing`);
    else if (name.length > 64 || /\p{Cc}/u.test(name))
      fault(`${where}: the name is longer than 64 characters, or no text`);
    else names.set(mac === undefined ? addressOf(what) : printMac(mac), name);
  }
  return { lists, names, pairs: readPairs(folder, lines("nodepair.list"), fault), faults };
}

type Fault = (text: string) => void;

function readPairs(folder: string, lines: readonly (readonly [string, string])[], fault: Fault): SpinFiles["pairs"] {
  const nodes = new Map<string, StoredNode | undefined>();
  const nodeOf = (id: string) => {
    if (!nodes.has(id) && nodes.size < MAX_NODES) nodes.set(id, readNode(folder, id, fault));
    return nodes.get(id);
  };
  return lines.flatMap(([where, line]) => {
    const [, first, second] = /^(\d{1,10})\s+(\d{1,10})$/.exec(line) ?? [];
    const ends = [nodeOf(first ?? ""), nodeOf(second ?? "")] as const;
    if (first === undefined || second === undefined) fault(`${where}: ${quoted(line)} is no pair of nodes`);
    else if (!ends[0] || !ends[1]) fault(`${where}: node ${ends[0] ? second : first} is not in nodestore`);
    else return { ends: [ends[0], ends[1]] as const };
    return [];
  });
}

function readNode(folder: string, id: string, fault: Fault): StoredNode | undefined {
  if (!/^\d{1,10}$/.test(id)) return undefined;
  const text = readText(join(folder, "nodestore", id), MAX_NODE_BYTES, fault);
  if (text === "") return undefined;
  try {
    const { mac, ips } = JSON.parse(text) as { mac?: unknown; ips?: unknown };
    const number = typeof mac === "string" ? parseMac(mac) : undefined;
    const known = (Array.isArray(ips) ? ips : []).filter((ip): ip is string => typeof ip === "string" && isAddress(ip));
    return { id, mac: number === undefined ? "" : printMac(number), ips: [...new Set(known.map(addressOf))] };
  } catch {
    fault(`nodestore/${id} is no JSON object`);
    return undefined;
  }
}

/** Empty where there is none. */
function readText(path: string, limit: number, fault: Fault): string {
  try {
    const { size } = statSync(path);
    if (size > limit) {
      fault(`${path} has ${size} bytes, more than ${limit}; it is left out`);
      return "";
    }
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") fault((error as Error).message);
    return "";
  }
}

export const LIST_NAMES = Object.keys(LISTS) as ListName[];
