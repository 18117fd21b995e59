/**
 * USP path names (TR-369 §2.5): text → segments. Parsing knows only the grammar; what the names mean is the tree's.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { parseExpression, type Expression } from "./expression.ts";

export type Segment =
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "instance"; readonly instance: number }
  | { readonly kind: "wildcard" }
  | { readonly kind: "search"; readonly expression: Expression }
  /** `Name+`, `Name#2+`, `Name#*+`: go where the parameter points. `item` counts from 1. */
  | { readonly kind: "follow"; readonly name: string; readonly item: number | "*" };

export interface ParsedPath {
  readonly text: string;
  readonly segments: readonly Segment[];
  /** Name of a parameter; `X()` of a command; `X!` of an event. Absent for an object path. */
  readonly leaf?: string;
  readonly leafKind: "object" | "parameter" | "command" | "event";
  /** Whether it holds a wildcard, a search expression or a reference to follow: no hit is then no error. */
  readonly isSearch: boolean;
}

/** Bounds against hostile paths: far above any real one (OB-USP-A stops at 256 characters and 6 tables). */
export const MAX_PATH_LENGTH = 4096;
export const MAX_SEGMENTS = 64;

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;
const FOLLOW = /^([A-Za-z_][A-Za-z0-9_]*)(?:#(\d{1,6}|\*))?\+$/;
const INSTANCE = /^[1-9]\d{0,9}$/;

/** @throws UspError 7008 */
export function parsePath(text: string): ParsedPath {
  if (text.length > MAX_PATH_LENGTH) throw syntax(text, `longer than ${MAX_PATH_LENGTH} characters`);
  const parts = splitPath(text);
  if (parts.length > MAX_SEGMENTS) throw syntax(text, `more than ${MAX_SEGMENTS} components`);
  const last = parts.pop() as string;
  const segments = parts.map((part) => parseSegment(part, text));
  if (segments[0]?.kind !== "name" && last !== "Device") throw syntax(text, "it does not start with a name");
  const isSearch = segments.some(({ kind }) => kind === "wildcard" || kind === "search" || kind === "follow");
  if (last === "") return { text, segments, leafKind: "object", isSearch };
  const command = last.endsWith("()");
  const event = last.endsWith("!");
  const name = command ? last.slice(0, -2) : event ? last.slice(0, -1) : last;
  if (INSTANCE.test(last) || last === "*" || last.startsWith("[")) {
    // `Device.X.1` without its final dot: rows are objects (R-ARC: object paths end with a dot), tolerated.
    const segment = parseSegment(last, text);
    return {
      text,
      segments: [...segments, segment],
      leafKind: "object",
      isSearch: isSearch || segment.kind !== "instance",
    };
  }
  if (!NAME.test(name)) throw syntax(text, `${JSON.stringify(last.slice(0, 64))} is not a name`);
  return { text, segments, leaf: last, leafKind: command ? "command" : event ? "event" : "parameter", isSearch };
}

/** Splits at dots outside brackets and quotes. */
function splitPath(text: string): string[] {
  if (!text.includes("[")) return text.split(".");
  const parts: string[] = [];
  let start = 0;
  let bracketed = false;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (quoted) quoted = c !== '"';
    else if (bracketed) {
      if (c === '"') quoted = true;
      else if (c === "[") throw syntax(text, "brackets do not nest");
      else if (c === "]") bracketed = false;
    } else if (c === "[") bracketed = true;
    else if (c === ".") {
      parts.push(text.slice(start, i));
      start = i + 1;
    }
  }
  if (quoted || bracketed) throw syntax(text, quoted ? "a quote is not closed" : "a bracket is not closed");
  parts.push(text.slice(start));
  return parts;
}

function parseSegment(part: string, text: string): Segment {
  if (NAME.test(part)) return { kind: "name", name: part };
  if (INSTANCE.test(part)) return { kind: "instance", instance: Number(part) };
  if (part === "*") return { kind: "wildcard" };
  if (part.startsWith("[") && part.endsWith("]"))
    return { kind: "search", expression: parseExpression(part.slice(1, -1), text) };
  const follow = FOLLOW.exec(part);
  if (follow) {
    const item = follow[2] ?? "1";
    if (item === "0") throw syntax(text, "list items count from 1");
    return { kind: "follow", name: follow[1] as string, item: item === "*" ? "*" : Number(item) };
  }
  throw syntax(
    text,
    `${JSON.stringify(part.slice(0, 64))} is neither a name, an instance number, * nor [an expression]`,
  );
}

function syntax(text: string, why: string): UspError {
  return new UspError(UspErrorCode.InvalidPathSyntax, `${text.slice(0, 128)}: ${why}`, text);
}
