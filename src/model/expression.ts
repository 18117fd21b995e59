/**
 * Search expressions (TR-369 §2.5.3): `[Enable==true&&Alias!="x"]`, AND only. Compiled against an object's schema, so
 * that each literal is parsed once, by the parameter's own type.
 */
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { UNKNOWN_TIME, ValueError, type ValueType } from "../../datamodel/values.ts";

export type Operator = "==" | "!=" | "~=" | "<" | ">" | "<=" | ">=";

export interface Comparison {
  /** Relative path: names of single-instance children or followed references, then a parameter. */
  readonly path: readonly PathStep[];
  readonly operator: Operator;
  readonly literal: string;
  readonly quoted: boolean;
}

export interface PathStep {
  readonly name: string;
  readonly follow?: number | "*";
}

export type Expression = readonly Comparison[];

export const MAX_COMPARISONS = 16;

const COMPARISON = /^\s*([A-Za-z_][A-Za-z0-9_.#*+]*)\s*(==|!=|~=|<=|>=|<|>)\s*(?:"([^"]*)"|([^"\s&|=<>!~[\]]+))\s*$/;
const STEP = /^([A-Za-z_][A-Za-z0-9_]*)(?:(?:#([1-9]\d{0,5}|\*))?(\+))?$/;

/** Parses what stands between the brackets. @throws UspError 7008 */
export function parseExpression(text: string, path: string): Expression {
  const parts = splitConjunction(text);
  if (parts.length > MAX_COMPARISONS) throw syntax(path, `more than ${MAX_COMPARISONS} comparisons`);
  return parts.map((part) => {
    const match = COMPARISON.exec(part);
    if (!match) throw syntax(path, `${JSON.stringify(part.slice(0, 64))} is not a comparison`);
    const steps = (match[1] as string).split(".").map((step) => parseStep(step, path));
    if (steps.at(-1)?.follow !== undefined) throw syntax(path, "the left side must end in a parameter");
    const quoted = match[3] !== undefined;
    return {
      path: steps,
      operator: match[2] as Operator,
      literal: quoted ? unescape(match[3] as string, path) : (match[4] as string),
      quoted,
    };
  });
}

function splitConjunction(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  let quoted = false;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '"') quoted = !quoted;
    else if (!quoted && text[i] === "&" && text[i + 1] === "&") {
      parts.push(text.slice(start, i));
      start = i + 2;
      i++;
    }
  }
  parts.push(text.slice(start));
  return parts;
}

function parseStep(text: string, path: string): PathStep {
  const match = STEP.exec(text);
  if (!match) throw syntax(path, `${JSON.stringify(text.slice(0, 64))} is not a name`);
  const name = match[1] as string;
  if (match[3] === undefined) return { name };
  return { name, follow: match[2] === undefined ? 1 : match[2] === "*" ? "*" : Number(match[2]) };
}

/** `%22` is a quote and `%25` a percent sign; nothing else is escaped. */
function unescape(text: string, path: string): string {
  return text.replace(/%(.{0,2})/g, (_, code: string) => {
    if (code === "22") return '"';
    if (code === "25") return "%";
    throw syntax(path, `%${code} is not an escape; only %22 and %25 are`);
  });
}

/**
 * The test that a comparison makes of a value of `type`. The literal is parsed by the type (a list's by its member's),
 * so `"aa:bb:…"` finds `AA:BB:…`. @throws UspError 7008 where operator and type do not go together or the literal is no value
 */
export function compileComparison(
  comparison: Comparison,
  type: ValueType<unknown>,
  path: string,
): (value: unknown) => boolean {
  const { operator, literal, quoted } = comparison;
  const isList = type.item !== undefined;
  const scalar = type.item ?? type;
  if (operator === "~=" && !isList) throw syntax(path, "~= is for lists");
  // A list as a whole is text, whatever its members are.
  const isWhole = isList && operator !== "~=";
  if (quoted && !isWhole && (scalar.base === "boolean" || isNumeric(scalar)))
    throw syntax(path, `a ${scalar.base} is written without quotes`);
  if (!quoted && (isWhole || isText(scalar)))
    throw syntax(path, `a ${isWhole ? "list" : scalar.base} is written in quotes`);
  const wanted = parseLiteral(isWhole ? type : scalar, literal, quoted, path);
  if (operator === "~=") {
    const printed = wanted === undefined ? literal : scalar.print(wanted);
    return (value) => (value as readonly unknown[]).some((member) => scalar.print(member) === printed);
  }
  if (operator === "==" || operator === "!=") {
    const printed = wanted === undefined ? literal : type.print(wanted);
    return operator === "==" ? (value) => type.print(value) === printed : (value) => type.print(value) !== printed;
  }
  if (isList || isText(scalar) || scalar.base === "boolean")
    throw syntax(path, `${operator} does not order a ${isList ? "list" : scalar.base}`);
  if (scalar.base === "dateTime" && wanted === UNKNOWN_TIME) throw syntax(path, "the Unknown Time has no order");
  const bound = wanted as number;
  const unordered = scalar.base === "dateTime" ? UNKNOWN_TIME : Number.NaN;
  switch (operator) {
    case "<":
      return (value) => value !== unordered && (value as number) < bound;
    case ">":
      return (value) => value !== unordered && (value as number) > bound;
    case "<=":
      return (value) => value !== unordered && (value as number) <= bound;
    case ">=":
      return (value) => value !== unordered && (value as number) >= bound;
  }
}

/** A literal out of range is a value that nothing has; one that is not of the type is an error. */
function parseLiteral(type: ValueType<unknown>, literal: string, quoted: boolean, path: string): unknown {
  // A number may be compared with bounds that its own range excludes.
  if (isNumeric(type) && !type.item && /^[+-]?\d+(\.\d+)?$/.test(literal)) return Number(literal);
  try {
    return type.parse(literal);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    if (error.kind === "range" && quoted) return undefined;
    throw syntax(path, error.message);
  }
}

const isNumeric = ({ base }: ValueType<unknown>) => /^(?:int|long|unsignedInt|unsignedLong|decimal)$/.test(base);
const isText = ({ base }: ValueType<unknown>) => base === "string" || base === "base64" || base === "hexBinary";

function syntax(path: string, why: string): UspError {
  return new UspError(UspErrorCode.InvalidPathSyntax, `${path.slice(0, 128)}: ${why}`, path);
}
