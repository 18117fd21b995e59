/** Data-model values as JSON in the model's own names: `{"Device":[{"PhysAddress":…,"Stats":{"BytesSent":…}}]}`. */

export type Json = string | number | bigint | boolean | readonly Json[] | JsonObject;
export interface JsonObject {
  readonly [name: string]: Json;
}

/**
 * Nests values by their paths, below `root`, which every path starts with. Tables become arrays in the order of their
 * instance numbers.
 */
export function nest(values: Iterable<readonly [path: string, value: Json]>, root = ""): JsonObject {
  const tree: Tree = new Map();
  for (const [path, value] of values) {
    const parts = path.slice(root.length).split(".");
    const name = parts.pop() as string;
    let node = tree;
    for (const part of parts) {
      let child = node.get(part);
      if (!(child instanceof Map)) node.set(part, (child = new Map()));
      node = child;
    }
    if (name !== "") node.set(name, value);
  }
  return Object.fromEntries([...tree].map(([name, child]) => [name, unfold(child)]));
}

type Tree = Map<string, Json | Tree>;

function unfold(node: Json | Tree): Json {
  if (!(node instanceof Map)) return node;
  const entries = [...node];
  if (entries.length > 0 && entries.every(([name]) => /^\d+$/.test(name))) {
    return entries.sort(([a], [b]) => Number(a) - Number(b)).map(([, child]) => unfold(child));
  }
  return Object.fromEntries(entries.map(([name, child]) => [name, unfold(child)]));
}

/**
 * Like JSON.stringify with two blanks, but for numbers past 2^53, whose digits stay, and for characters that act on a
 * terminal, which are escaped. `compact` gives one line.
 */
export function printJson(value: Json, compact = false): string {
  // What Node prints by itself takes a fifth of the time, and BigInts are rare.
  return escapeActing(hasBigInt(value) ? print(value, compact, "") : JSON.stringify(value, null, compact ? 0 : 2));
}

function hasBigInt(value: Json): boolean {
  if (typeof value !== "object") return typeof value === "bigint";
  for (const item of Object.values(value)) if (hasBigInt(item)) return true;
  return false;
}

function print(value: Json, compact: boolean, indent: string): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object") return JSON.stringify(value);
  const inner = `${indent}  `;
  const isArray = Array.isArray(value);
  const items = isArray
    ? value.map((item) => print(item as Json, compact, inner))
    : Object.entries(value).map(
        ([name, item]) => `${JSON.stringify(name)}:${compact ? "" : " "}${print(item, compact, inner)}`,
      );
  const [open, close] = isArray ? ["[", "]"] : ["{", "}"];
  if (items.length === 0) return open + close;
  return compact
    ? `${open}${items.join(",")}${close}`
    : `${open}\n${inner}${items.join(`,\n${inner}`)}\n${indent}${close}`;
}

/** JSON.stringify escapes the controls of ASCII alone. The line breaks that are left are the layout's. */
function escapeActing(json: string): string {
  if (!/[^\n -~]/.test(json)) return json;
  return json.replace(/[^\P{Cc}\n]|[\p{Cf}\p{Zl}\p{Zp}]/gu, (c) =>
    Array.from({ length: c.length }, (_, at) => `\\u${c.charCodeAt(at).toString(16).padStart(4, "0")}`).join(""),
  );
}

/** A whole number as JSON has it: exact, whatever its size. */
export function wholeNumber(text: string): Json {
  if (!/^-?\d+$/.test(text)) return text;
  const number = Number(text);
  return Number.isSafeInteger(number) ? number : BigInt(text);
}
