/**
 * The types of TR-106 (Amendment 12, §3.2 and table "Named data types"): each parses the text that a controller writes
 * and prints its own canonical text. Pure data and functions; nothing here knows USP.
 */

/** The base type that GetSupportedDM reports and the XML prints. */
export type BaseType =
  | "string"
  | "boolean"
  | "dateTime"
  | "base64"
  | "hexBinary"
  | "int"
  | "long"
  | "unsignedInt"
  | "unsignedLong"
  | "decimal";

/** What the XML and the manual say of a type beyond its base; also enforced by `parse`. */
export interface Facets {
  readonly maxLength?: number;
  readonly minLength?: number;
  readonly values?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  readonly units?: string;
  readonly pattern?: string;
  /** A comma-separated list of `item`s (TR-106 §3.2.3). */
  readonly list?: { readonly maxItems?: number };
  readonly reference?: Reference;
  /** Named data type (`Alias`, `StatsCounter64`, `MACAddress`, `IPAddress`, `IPPrefix`). */
  readonly dataType?: string;
}

/** A parameter whose value is the path of a row (TR-106 §3.2.4). */
export interface Reference {
  /** Supported path of the table, e.g. `Device.MQTT.Client.{i}.`. */
  readonly target: string;
  /** A strong reference must point to a row that exists, and is cleared when the row goes; a weak one never changes. */
  readonly strong: boolean;
  /** The row that holds the reference goes with its target (Subscription.Recipient). */
  readonly deletesRow: boolean;
}

export interface ValueType<T> {
  readonly base: BaseType;
  readonly facets: Facets;
  /** The value of a parameter that declares no default. */
  readonly empty: T;
  /** @throws ValueError */
  parse(text: string): T;
  print(value: T): string;
  /** The type of a list's members; absent for scalars. */
  readonly item?: ValueType<unknown>;
}

/** The text is not of the type (`syntax`, USP 7011) or outside its facets (`range`, USP 7012). */
export class ValueError extends Error {
  override readonly name = "ValueError";
  constructor(
    readonly kind: "syntax" | "range",
    message: string,
  ) {
    super(message);
  }
}

/** TR-106 Unknown Time, 0001-01-01T00:00:00Z, in milliseconds since 1970. */
export const UNKNOWN_TIME = -62135596800000;
/** TR-106's far future, 9999-12-31T23:59:59Z: "never". */
export const NEVER = 253402300799000;

const quote = (text: string) => JSON.stringify(text.length > 64 ? `${text.slice(0, 64)}…` : text);

/** Free text of at most `maxLength` characters (Unicode code points), optionally one of `values` or matching `pattern`. */
export function string(facets: Facets = {}): ValueType<string> {
  const pattern = facets.pattern === undefined ? undefined : new RegExp(`^(?:${facets.pattern})$`, "u");
  return {
    base: "string",
    facets,
    empty: facets.values?.[0] ?? "",
    print: (value) => value,
    parse(text) {
      const { maxLength, minLength, values } = facets;
      if (maxLength !== undefined && text.length > maxLength && [...text].length > maxLength)
        throw new ValueError("range", `${text.length} characters; at most ${maxLength} are allowed`);
      if (minLength !== undefined && text.length < minLength)
        throw new ValueError("range", `${quote(text)} is shorter than ${minLength}`);
      if (values && !values.includes(text))
        throw new ValueError("range", `${quote(text)} is not one of ${values.join(", ")}`);
      if (pattern && !pattern.test(text))
        throw new ValueError("range", `${quote(text)} does not match ${facets.pattern}`);
      return text;
    },
  };
}

/** One of a fixed set of words. The type parameter keeps the words. */
export function enumeration<const V extends string>(...values: readonly [V, ...V[]]): ValueType<V> {
  return string({ values }) as ValueType<V>;
}

export const boolean: ValueType<boolean> = {
  base: "boolean",
  facets: {},
  empty: false,
  print: (value) => (value ? "true" : "false"),
  parse(text) {
    if (text === "true" || text === "1") return true;
    if (text === "false" || text === "0") return false;
    throw new ValueError("syntax", `${quote(text)} is not a boolean (true, false, 1, 0)`);
  },
};

export interface Range {
  readonly min?: number;
  readonly max?: number;
  readonly units?: string;
}

export const int = (range: Range = {}) => integer("int", -2147483648, 2147483647, range);
export const unsignedInt = (range: Range = {}) => integer("unsignedInt", 0, 4294967295, range);
/** 64-bit, held as a double: exact to 2^53 (9 PB); beyond it a value is refused on the way in. */
export const long = (range: Range = {}) => integer("long", -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, range);
export const unsignedLong = (range: Range = {}) => integer("unsignedLong", 0, Number.MAX_SAFE_INTEGER, range);

/** A monotone counter (TR-181 StatsCounter64). */
export const statsCounter64: ValueType<number> = integer(
  "unsignedLong",
  0,
  Number.MAX_SAFE_INTEGER,
  {},
  "StatsCounter64",
);
export const statsCounter32: ValueType<number> = integer("unsignedInt", 0, 4294967295, {}, "StatsCounter32");

function integer(base: BaseType, lowest: number, highest: number, range: Range, dataType?: string): ValueType<number> {
  const min = range.min ?? lowest;
  const max = range.max ?? highest;
  return {
    base,
    facets: { ...range, ...(dataType === undefined ? {} : { dataType }) },
    empty: min <= 0 && max >= 0 ? 0 : min,
    print: (value) => `${value}`,
    parse(text) {
      if (!/^[+-]?\d{1,20}$/.test(text)) throw new ValueError("syntax", `${quote(text)} is not ${article(base)}`);
      const value = Number(text);
      if (value < lowest || value > highest) throw new ValueError("syntax", `${text} does not fit ${article(base)}`);
      if (value < min || value > max) throw new ValueError("range", `${text} is outside ${min}..${max}`);
      return value === 0 ? 0 : value;
    },
  };
}

const article = (base: BaseType) => (/^[aeiou]/.test(base) ? `an ${base}` : `a ${base}`);

export const decimal: ValueType<number> = {
  base: "decimal",
  facets: {},
  empty: 0,
  print: (value) => `${value}`,
  parse(text) {
    if (!/^[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})$/.test(text))
      throw new ValueError("syntax", `${quote(text)} is not a decimal`);
    return Number(text);
  },
};

/** Milliseconds since 1970, UTC; printed to the second, with a fraction only when there is one. */
export const dateTime: ValueType<number> = {
  base: "dateTime",
  facets: {},
  empty: UNKNOWN_TIME,
  print: printDateTime,
  parse(text) {
    const match = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)?$/.exec(text);
    const day = match ? Number((match[1] as string).slice(8, 10)) : 0;
    const time = match ? Date.parse(`${match[1]}${(match[2] ?? "").slice(0, 4)}${match[3] ?? "Z"}`) : Number.NaN;
    // Date.parse rolls 31 February over to March.
    const rolled = match && new Date(Date.parse(`${match[1]}Z`)).getUTCDate() !== day;
    if (Number.isNaN(time) || rolled)
      throw new ValueError("syntax", `${quote(text)} is not a dateTime like 2026-01-31T12:00:00Z`);
    return time;
  },
};

function printDateTime(value: number): string {
  if (!(value >= UNKNOWN_TIME && value <= NEVER + 999)) return "0001-01-01T00:00:00Z";
  const text = new Date(value).toISOString();
  return text.endsWith(".000Z") ? `${text.slice(0, -5)}Z` : text;
}

/** Bytes as base64 (RFC 4648 §4); held as text. */
export function base64(facets: Facets = {}): ValueType<string> {
  return {
    base: "base64",
    facets,
    empty: "",
    print: (value) => value,
    parse(text) {
      if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text))
        throw new ValueError("syntax", "not base64");
      if (facets.maxLength !== undefined && (text.length / 4) * 3 > facets.maxLength + 2)
        throw new ValueError("range", `more than ${facets.maxLength} bytes`);
      return text;
    },
  };
}

export function hexBinary(facets: Facets = {}): ValueType<string> {
  return {
    base: "hexBinary",
    facets,
    empty: "",
    print: (value) => value,
    parse(text) {
      if (!/^(?:[0-9a-fA-F]{2})*$/.test(text)) throw new ValueError("syntax", `${quote(text)} is not hexBinary`);
      if (facets.maxLength !== undefined && text.length / 2 > facets.maxLength)
        throw new ValueError("range", `more than ${facets.maxLength} bytes`);
      return text.toUpperCase();
    },
  };
}

/**
 * A comma-separated list (TR-106 §3.2.3): blanks around members are dropped, a comma inside a member is `%2C`. The empty
 * text is the empty list. Of a set, what is said twice is kept once, where it was said first.
 */
export function list<T>(
  item: ValueType<T>,
  facets: { maxItems?: number; maxLength?: number; isSet?: boolean } = {},
): ValueType<readonly T[]> {
  const print = (values: readonly T[]) =>
    values.map((value) => item.print(value).replaceAll("%", "%25").replaceAll(",", "%2C")).join(",");
  const mustFit = (length: number) => {
    if (facets.maxLength !== undefined && length > facets.maxLength)
      throw new ValueError("range", `${length} characters; at most ${facets.maxLength} are allowed`);
  };
  return {
    base: item.base === "string" ? "string" : item.base,
    facets: {
      ...item.facets,
      ...(facets.maxLength === undefined ? {} : { maxLength: facets.maxLength }),
      list: facets.maxItems === undefined ? {} : { maxItems: facets.maxItems },
    },
    item: item,
    empty: [],
    print,
    parse(text) {
      mustFit(text.length);
      if (text.trim() === "") return [];
      const members = text.split(",");
      if (facets.maxItems !== undefined && members.length > facets.maxItems)
        throw new ValueError("range", `${members.length} members; at most ${facets.maxItems} are allowed`);
      const values = members.map((member) => item.parse(member.trim().replaceAll(/%2C/gi, ",").replaceAll("%25", "%")));
      const kept = facets.isSet ? distinct(values, item) : values;
      // A canonical text may be longer than what was written.
      if (facets.maxLength !== undefined) mustFit(print(kept).length);
      return kept;
    },
  };
}

/** The first of each. */
function distinct<T>(values: readonly T[], { print }: ValueType<T>): readonly T[] {
  const seen = new Set<string>();
  return values.filter((value) => {
    const text = print(value);
    return seen.size < seen.add(text).size;
  });
}

/** An instance's alias: non-empty, starts with a letter, at most 64 (TR-181 Alias). */
export const alias: ValueType<string> = {
  ...string({ maxLength: 64, pattern: "[A-Za-z][^\\u0000-\\u001f]*" }),
  facets: { maxLength: 64, dataType: "Alias" },
};

/** The path of a row, without a trailing dot; empty for none. Resolved and canonicalised by the model. */
export function reference(
  target: string,
  options: { strong?: boolean; deletesRow?: boolean; maxLength?: number } = {},
): ValueType<string> {
  const facets: Facets = {
    maxLength: options.maxLength ?? 256,
    reference: { target, strong: options.strong ?? true, deletesRow: options.deletesRow ?? false },
  };
  return { ...string({ maxLength: facets.maxLength as number }), facets };
}

/** A type that canonicalises text: `parse` returns the canonical form, or `undefined` when the text is no such thing. */
export function canonical(
  dataType: string,
  facets: Facets,
  what: string,
  canonicalise: (text: string) => string | undefined,
): ValueType<string> {
  return {
    base: "string",
    facets: { ...facets, dataType },
    empty: "",
    print: (value) => value,
    parse(text) {
      const value = text.length <= 1024 ? canonicalise(text) : undefined;
      if (value === undefined) throw new ValueError("range", `${quote(text)} is not ${what}`);
      return value;
    },
  };
}
