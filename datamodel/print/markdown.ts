/** The data model's chapter of the manual. */
import { PROFILES } from "../profiles.ts";
import { model, type Arguments, type ObjectSchema, type Param } from "../schema.ts";
import type { ValueType } from "../values.ts";

export function printMarkdown(objects: readonly ObjectSchema[], title: string): string {
  const sections = model(objects).map(printObject);
  return [`# ${title}`, "", LEGEND, "", printProfiles(), "", ...sections].join("\n");
}

function printProfiles(): string {
  const names = PROFILES.map(({ name, but }) => (but === undefined ? name : `${name} (${but})`));
  return `Profiles of TR-181 2.19: ${names.join(", ")}.`;
}

const LEGEND = [
  "Printed from `datamodel/`; do not edit.",
  "",
  "R read-only · W writable · 1 writable when the row is added · S secured: empty without a role in SecuredRoles ·",
  "H never read back · ~ a counter or rate: it does not notify.",
].join("\n");

function printObject(schema: ObjectSchema): string {
  const rights = [schema.canAdd ? "add" : "", schema.canDelete ? "delete" : ""].filter(Boolean).join(", ");
  const keys = schema.keys.map(({ params }) => params.map((name) => `\`${name}\``).join(" + ")).join("; ");
  const facts = [
    schema.isTable && rights ? `Controllers may ${rights} rows.` : "",
    schema.isTable && Number.isFinite(schema.maxRows) ? `At most ${schema.maxRows} rows.` : "",
    keys ? `Unique keys: ${keys}.` : "",
  ].filter(Boolean);
  const lines = [`## \`${schema.path}\``, "", schema.description, ""];
  if (facts.length > 0) lines.push(facts.join(" "), "");
  const params = Object.entries(schema.params);
  if (params.length > 0) {
    lines.push("| parameter | | type | meaning |", "| --- | --- | --- | --- |");
    for (const [name, param] of params)
      lines.push(
        `| \`${name}\` | ${flags(param)} | ${typeText(param.type)}${defaultText(param)} | ${cell(param.description)} |`,
      );
    lines.push("");
  }
  for (const [name, command] of Object.entries(schema.commands)) {
    lines.push(`### \`${name}\``, "", `${command.description}${command.mode === "async" ? " Asynchronous." : ""}`, "");
    lines.push(...argumentTable("in", command.input), ...argumentTable("out", command.output));
    for (const [table, columns] of Object.entries(command.rows))
      lines.push(...argumentTable(`out, \`${table}.{i}.\``, columns));
  }
  for (const [name, event] of Object.entries(schema.events)) {
    lines.push(`### \`${name}\``, "", event.description, "", ...argumentTable("with", event.args));
  }
  return lines.join("\n");
}

function argumentTable(heading: string, args: Arguments): string[] {
  const entries = Object.entries(args);
  if (entries.length === 0) return [];
  const rows = entries.map(([name, { type, description, mandatory, secured, ...rest }]) => {
    const marks = [mandatory ? "mandatory" : "", secured ? "S" : ""].filter(Boolean).join(" ");
    const fallback = rest.default === undefined ? "" : ` = ${type.print(rest.default)}`;
    return `| \`${name}\` | ${marks} | ${typeText(type)}${fallback} | ${cell(description)} |`;
  });
  return [`| ${heading} | | type | meaning |`, "| --- | --- | --- | --- |", ...rows, ""];
}

function flags(param: Param): string {
  const access = param.access === "readOnly" ? "R" : param.access === "readWrite" ? "W" : "1";
  return [access, param.secured ? "S" : "", param.hidden ? "H" : "", param.valueChange ? "" : "~"]
    .filter(Boolean)
    .join(" ");
}

function typeText(type: ValueType<unknown>): string {
  const scalar = type.item ?? type;
  const { values, min, max, units, maxLength, reference, dataType } = scalar.facets;
  let text = dataType ?? scalar.base;
  if (values) text = values.map((value) => `\`${value}\``).join(", ");
  else if (reference) text = `row of \`${reference.target}\``;
  else if (scalar.base === "string" && dataType === undefined && maxLength !== undefined) text = `string(${maxLength})`;
  if (min !== undefined || max !== undefined) text += ` [${min ?? ""}:${max ?? ""}]`;
  if (units !== undefined) text += `, ${units}`;
  return type.item ? `list of ${text}` : text;
}

function defaultText(param: Param): string {
  if (!param.hasDefault) return "";
  return ` = ${param.type.print(param.default) || "empty"}`;
}

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("\n", " ");
