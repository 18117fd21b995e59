/** Arguments of commands: text ⇄ typed values, by their declaration. */
import type { Argument, Arguments, Command } from "../../datamodel/schema.ts";
import { ValueError } from "../../datamodel/values.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { CommandOutputs } from "./implementation.ts";

/**
 * Typed arguments; unknown ones are left out (R-OPR.6), absent optional ones get their default (R-OPR.7).
 * @throws UspError 7027 for a mandatory one that is missing or a value that is none (R-OPR.5)
 */
export function parseInput(command: Command, input: ReadonlyMap<string, string>): Readonly<Record<string, unknown>> {
  const args: Record<string, unknown> = {};
  for (const [name, argument] of Object.entries(command.input)) {
    const text = input.get(name);
    if (text !== undefined) args[name] = parse(name, argument, text);
    else if (argument.mandatory) throw new UspError(UspErrorCode.InvalidCommandArguments, `${name} is missing`, name);
    else args[name] = argument.default;
  }
  return args;
}

function parse(name: string, argument: Argument, text: string): unknown {
  try {
    return argument.type.parse(text);
  } catch (error) {
    if (!(error instanceof ValueError)) throw error;
    throw new UspError(UspErrorCode.InvalidCommandArguments, `${name}: ${error.message}`, name);
  }
}

/** Texts of what a command gave back: `NextCursor`, `Row.1.Start`, … Secured ones are empty unless shown. */
export function printOutputs(command: Command, outputs: CommandOutputs, showSecured: boolean): Map<string, string> {
  const texts = new Map<string, string>();
  printInto(texts, "", command.output, outputs, showSecured);
  for (const [table, columns] of Object.entries(command.rows)) {
    const rows = (outputs[table] ?? []) as readonly CommandOutputs[];
    rows.forEach((row, i) => printInto(texts, `${table}.${i + 1}.`, columns, row, showSecured));
  }
  return texts;
}

function printInto(
  texts: Map<string, string>,
  prefix: string,
  declared: Arguments,
  values: CommandOutputs,
  showSecured: boolean,
): void {
  for (const [name, argument] of Object.entries(declared)) {
    const value = values[name];
    if (value === undefined) continue;
    texts.set(`${prefix}${name}`, argument.secured && !showSecured ? "" : argument.type.print(value));
  }
}

/** Names of all outputs as GetSupportedDM tells them: `Row.{i}.Start`. */
export function outputNames(command: Command): string[] {
  const names = Object.keys(command.output);
  for (const [table, columns] of Object.entries(command.rows))
    for (const column of Object.keys(columns)) names.push(`${table}.{i}.${column}`);
  return names;
}
