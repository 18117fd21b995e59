/** A report as text: JSON or CSV, in the layouts of TR-369 annex A. Reports that could not be delivered before go first. */
import type { Entry, Report } from "./report.ts";

export type Timestamp = "Unix-Epoch" | "ISO-8601" | "None";

export interface JsonEncoding {
  readonly type: "JSON";
  readonly format: "ObjectHierarchy" | "NameValuePair";
  readonly timestamp: Timestamp;
}

export interface CsvEncoding {
  readonly type: "CSV";
  readonly format: "ParameterPerRow" | "ParameterPerColumn";
  readonly timestamp: Timestamp;
  readonly fieldSeparator: string;
  readonly rowSeparator: string;
  readonly escape: string;
}

export type Encoding = JsonEncoding | CsvEncoding;

export function encode(reports: readonly Report[], encoding: Encoding): string {
  return encoding.type === "JSON" ? encodeJson(reports, encoding) : encodeCsv(reports, encoding);
}

/** R-BULK.7, R-BULK.8a, R-BULK.11. */
export function mediaType({ type }: Encoding): string {
  return type === "JSON" ? "application/json; charset=UTF-8" : "text/csv; charset=UTF-8; header=present";
}

function encodeJson(reports: readonly Report[], { format, timestamp }: JsonEncoding): string {
  const texts = reports.map(({ collectedAt, entries }) => {
    const root: Members = new Map();
    const time = timeText(collectedAt, timestamp);
    if (time !== undefined) root.set("CollectionTime", timestamp === "Unix-Epoch" ? time : JSON.stringify(time));
    for (const entry of entries) {
      if (format === "NameValuePair") root.set(entry.name, literal(entry));
      else nest(root, entry);
    }
    return print(root);
  });
  return `{"Report":[${texts.join(",")}]}`;
}

/** Of a JSON object: texts of values, or objects. A Map, because a name may be any: `__proto__`, `constructor` … */
type Members = Map<string, string | Members>;

/**
 * A name that can't lie where its dots say, because a value is there, stands whole at the top; a value whose place an object
 * has lies in that object, without a name.
 */
function nest(root: Members, entry: Entry): void {
  const names = entry.name.split(".");
  const last = names.pop() as string;
  let at = root;
  for (const name of names) {
    const below: string | Members = at.get(name) ?? new Map();
    if (typeof below === "string") return void root.set(entry.name, literal(entry));
    at.set(name, below);
    at = below;
  }
  const there = at.get(last);
  if (there === undefined) at.set(last, literal(entry));
  else if (typeof there === "string") root.set(entry.name, literal(entry));
  else there.set("", literal(entry));
}

function print(members: Members): string {
  let text = "";
  for (const [name, value] of members)
    text += `${text === "" ? "" : ","}${JSON.stringify(name)}:${typeof value === "string" ? value : print(value)}`;
  return `{${text}}`;
}

const NUMBERS: ReadonlySet<string> = new Set(["int", "long", "unsignedInt", "unsignedLong", "decimal"]);

/** Numbers and booleans as such; all else, lists too, as strings. */
function literal({ param, text }: Entry): string {
  const { base, item } = param.schema.type;
  const isPlain = item === undefined && (base === "boolean" || (NUMBERS.has(base) && /^-?\d+(\.\d+)?$/.test(text)));
  return isPlain ? text : JSON.stringify(text);
}

function encodeCsv(reports: readonly Report[], encoding: CsvEncoding): string {
  const { format, timestamp } = encoding;
  const stamp = (report: Report) => timeText(report.collectedAt, timestamp) ?? [];
  const heading = timestamp === "None" ? [] : ["ReportTimestamp"];
  const rows: string[][] = [];
  if (format === "ParameterPerRow") {
    rows.push([...heading, "ParameterName", "ParameterValue", "ParameterType"]);
    for (const report of reports)
      for (const entry of report.entries) rows.push([stamp(report), entry.name, entry.text, typeName(entry)].flat());
  } else {
    // Rows come and go between reports: each value stands below its name, and a gap where there is none.
    const columns = new Map<string, number>();
    for (const { entries } of reports)
      for (const { name } of entries) if (!columns.has(name)) columns.set(name, columns.size);
    rows.push([...heading, ...columns.keys()]);
    for (const report of reports) {
      const values = new Array<string>(columns.size).fill("");
      for (const { name, text } of report.entries) values[columns.get(name) as number] = text;
      rows.push([stamp(report), values].flat());
    }
  }
  const field = quoting(encoding);
  return rows.map((row) => row.map(field).join(encoding.fieldSeparator) + encoding.rowSeparator).join("");
}

/**
 * RFC 4180 §2: what would be misread stands in double quotes, those within it escaped. Control characters but tabs and line
 * breaks it does not have: by values that hold them a text would be made that others take for a USP Record.
 */
function quoting({ fieldSeparator, rowSeparator, escape }: CsvEncoding): (text: string) => string {
  const special = [fieldSeparator, rowSeparator, '"', escape];
  return (given) => {
    const text = given.replaceAll(NOT_IN_CSV, "\ufffd");
    if (!CONTROL.test(given) && !special.some((part) => text.includes(part))) return text;
    const escaped = escape === '"' ? text : text.replaceAll(escape, escape + escape);
    return `"${escaped.replaceAll('"', `${escape}"`)}"`;
  };
}

const CONTROL = /\p{Cc}/u;
const NOT_IN_CSV = /(?![\t\r\n])\p{Cc}/gu;

/** R-BULK.13: the base type. */
const typeName = ({ param }: Entry): string => (param.schema.type.item ? "string" : param.schema.type.base);

function timeText(ms: number, timestamp: Timestamp): string | undefined {
  if (timestamp === "None") return undefined;
  return timestamp === "Unix-Epoch" ? `${Math.floor(ms / 1000)}` : `${new Date(ms).toISOString().slice(0, 19)}Z`;
}
