/** What a word of ctl works with, and how it ends. */
import type { Writable } from "node:stream";
import type { ConnectOptions } from "../controller/connect.ts";
import type { Controller } from "../controller/controller.ts";
import { errorName, type UspError } from "../lib/usp-error.ts";
import type { WordOptions } from "./ctl-options.ts";
import { printJson, type Json } from "./json.ts";
import { escapeLines, escapeText } from "./text.ts";

/** Exit codes that scripts can trust. */
export const Exit = {
  Ok: 0,
  /** The agent refused, with a USP error. */
  Refused: 1,
  /** Wrong words or options; a device that is not there or not the only one. */
  Usage: 2,
  /** The broker is not to be reached, or the connection broke. */
  Broker: 3,
  /** The agent did not answer in time. */
  Timeout: 4,
  /** Some of it was done, some was not. */
  Partial: 5,
} as const;

export type ExitCode = (typeof Exit)[keyof typeof Exit];

export interface CtlIo {
  out(text: string): void;
  err(text: string): void;
  /** Where bytes that are no text go: standard output. */
  readonly binary?: Writable;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Ends words that go on by themselves, and attempts to connect. */
  readonly signal: AbortSignal;
  /** Size of the terminal that `out` is, on which a table can be drawn over; `undefined` if it is none. */
  readonly terminal?: () => { readonly columns: number; readonly rows: number } | undefined;
  readonly now?: () => number;
  readonly readFile?: (path: string) => string;
}

export interface WordContext {
  readonly controller: Controller;
  /** Our endpoint id: Creator of the rules that are ours. */
  readonly controllerId: string;
  /** How we reach the agent. */
  readonly connection: ConnectOptions;
  readonly args: readonly string[];
  readonly options: WordOptions;
  readonly io: CtlIo;
}

export type Word = (context: WordContext) => Promise<ExitCode>;

/** Lines for people. Whatever stands in them, nothing acts on the terminal. */
export function say(context: WordContext, text: string): void {
  context.io.out(`${escapeLines(text)}\n`);
}

export function sayJson(context: WordContext, value: Json, compact = false): void {
  context.io.out(`${printJson(value, compact)}\n`);
}

/** `7006 PermissionDenied: text (Device.X)`. */
export function errorText({ code, message, path }: UspError): string {
  const where = path === undefined || message.includes(path) ? "" : ` (${path})`;
  return escapeText(`${code} ${errorName(code)}: ${message}${where}`);
}

export function errorJson({ code, message, path }: UspError): Json {
  return { Code: code, Name: errorName(code), Message: message, ...(path === undefined ? {} : { Path: path }) };
}

/** Tells errors on stderr; the exit code that they and the rest come to. */
export function tell(context: WordContext, errors: readonly UspError[], done: number): ExitCode {
  if (errors.length === 0) return Exit.Ok;
  const { io, options } = context;
  if (options.json === true) io.err(`${printJson({ Error: errors.map(errorJson) })}\n`);
  else for (const error of errors) io.err(`error: ${errorText(error)}\n`);
  return done === 0 ? Exit.Refused : Exit.Partial;
}
