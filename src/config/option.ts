/** Kinds of options: each parses its text, or says what it should be. */
import { isIPv4, parseAddress } from "../lib/address.ts";
import { endpointIdFault, foreignIdFault } from "../lib/endpoint-id.ts";

export interface Option<T> {
  readonly description: string;
  readonly default: T | undefined;
  readonly isList: boolean;
  /** Throws Error saying what the value should be. */
  parse(values: readonly string[]): T;
}

export type Options = Readonly<Record<string, Option<unknown>>>;
export type ValuesOf<O extends Options> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

export const one = <T>(description: string, fallback: T | undefined, parse: (text: string) => T): Option<T> => ({
  description,
  default: fallback,
  isList: false,
  parse: ([value]) => parse(value as string),
});

export const text = (description: string, fallback?: string, pattern = /^.{0,4096}$/) =>
  one(description, fallback, (value) => {
    if (/\p{Cc}/u.test(value)) throw new Error("must not hold control characters");
    if (!pattern.test(value)) throw new Error(`must match ${String(pattern)}`);
    return value;
  });

/** Of a file: empty where none is meant, `words` that mean something else. */
export const file = (description: string, ...words: string[]) =>
  one(description, "", (value) => {
    if (value !== "" && !words.includes(value) && !/^\/[^\p{Cc}]*$/u.test(value))
      throw new Error(`must be ${[...words, "an absolute path"].join(" or ")}`);
    return value;
  });

/** One that can be published to. */
export const topic = (description: string) =>
  one(description, "", (value) => {
    if (/[#+\p{Cc}]/u.test(value) || Buffer.byteLength(value) > 65_535)
      throw new Error("must be a topic without wildcards # and +");
    return value;
  });

export const endpointId = (description: string, fallback?: string) =>
  one(description, fallback, (value) => {
    const fault = value === "" ? undefined : endpointIdFault(value);
    if (fault !== undefined) throw new Error(`must be an endpoint id: ${fault}`);
    if (value === "" && fallback === undefined) throw new Error("must not be empty");
    return value;
  });

/** Of somebody else. */
export const foreignEndpointId = (description: string) =>
  one(description, undefined, (value) => {
    const fault = foreignIdFault(value);
    if (fault !== undefined) throw new Error(`must be an endpoint id: ${fault}`);
    return value;
  });

export const bool = (description: string, fallback: boolean) =>
  one(description, fallback, (value) => {
    if (/^(?:1|true|yes|on|enabled)$/.test(value)) return true;
    if (/^(?:0|false|no|off|disabled)$/.test(value)) return false;
    throw new Error("must be 1 or 0");
  });

export const number = (description: string, fallback: number, min: number, max: number) =>
  one(description, fallback, (value) => {
    if (!/^\d{1,10}$/.test(value) || Number(value) < min || Number(value) > max)
      throw new Error(`must be a number from ${min} to ${max}`);
    return Number(value);
  });

export const oneOf = <const V extends string>(description: string, fallback: V, ...values: V[]): Option<V> =>
  one<V>(description, fallback, (value) => {
    if (!values.includes(value as V)) throw new Error(`must be one of ${values.join(", ")}`);
    return value as V;
  });

export const many = (
  description: string,
  check: (value: string) => boolean,
  what: string,
): Option<readonly string[]> => ({
  description,
  default: [],
  isList: true,
  parse: (values) => {
    for (const value of values) if (!check(value)) throw new Error(`must be ${what}`);
    return values;
  },
});

/** A program with its arguments, one list member each; none: there is none. */
export const argv = (description: string): Option<readonly string[]> => ({
  description,
  default: [],
  isList: true,
  parse: (values) => {
    if (!values[0]?.startsWith("/") || values.some((value) => value.includes("\0")))
      throw new Error("must begin with the absolute path of a program, its arguments following one by one");
    return values;
  },
});

export function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  const words = parseAddress(host);
  if (!words) return false;
  return isIPv4(words) ? (words[3] as number) >>> 24 === 127 : !words[0] && !words[1] && !words[2] && words[3] === 1;
}
