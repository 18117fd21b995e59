/** The word about lists: show, add, remove, refresh, enable, disable. */
import { readFileSync, statSync } from "node:fs";
import { ROOT } from "../../datamodel/spin-root.ts";
import { rowsOf, type Row } from "./ctl-home.ts";
import { Exit, say, sayJson, type ExitCode, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { number, text } from "./device-table.ts";
import { ago, table } from "./text.ts";

const LISTS = `${ROOT}List.`;
const FORMATS = ["Plain", "Hosts", "CSV", "RPZ"];
/** What a parameter may hold (datamodel/spin-list.ts). */
const MAX_CONTENT = 4095;
const USAGE =
  "lists [show [LIST] | add URL|FILE [--format F] | remove LIST | refresh LIST | enable LIST | disable LIST]";
/** How long `add` and `refresh` wait for what comes of it. */
const ATTEMPTS = 50;

export const lists: Word = async (context) => {
  const [verb = "show", target, ...rest] = context.args;
  if (rest.length > 0) throw new UsageError(USAGE);
  switch (verb) {
    case "show":
      return show(context, target);
    case "add":
      return add(context, target);
    case "remove": {
      const { path } = await listOf(context, target);
      await context.controller.remove(path);
      return done(context, path, "deleted");
    }
    case "refresh": {
      const { path } = await listOf(context, target);
      await context.controller.run(`${path}Refresh()`);
      return report(context, path);
    }
    case "enable":
    case "disable": {
      const { path } = await listOf(context, target);
      await context.controller.write(path, { Enable: `${verb === "enable"}` });
      return verb === "enable" ? report(context, path) : done(context, path, "disabled");
    }
    default:
      throw new UsageError(USAGE);
  }
};

async function show(context: WordContext, target: string | undefined): Promise<ExitCode> {
  const found = target === undefined ? await rowsOf(context, "List") : [await listOf(context, target)];
  if (context.options.json === true) {
    sayJson(context, { List: found.map(({ row }) => row) });
    return Exit.Ok;
  }
  if (found.length === 0) {
    say(context, "no lists");
    return Exit.Ok;
  }
  const now = context.io.now?.() ?? Date.now();
  const cells = found.map(({ path, row }) => [
    path.slice(LISTS.length, -1),
    text(row["Alias"]),
    text(row["Format"]),
    [text(row["Status"]), text(row["StatusReason"])].filter((each) => each !== "").join(": "),
    `${number(row["Entries"])}`,
    `${number(row["Unreadable"])}`,
    `${number(row["PassedOver"])}`,
    text(row["LastUpdate"]).startsWith("0001-") ? "never" : ago(text(row["LastUpdate"]), now),
    text(row["Creator"]) || text(row["Origin"]),
    text(row["URL"]) || "set here",
  ]);
  const titles = ["LIST", "ALIAS", "FORMAT", "STATUS", "ENTRIES", "UNREADABLE", "PASSED OVER", "UPDATED", "BY", "FROM"];
  say(
    context,
    table(
      titles.map((title) => ({ title })),
      cells,
    ),
  );
  return Exit.Ok;
}

async function add(context: WordContext, source: string | undefined): Promise<ExitCode> {
  if (source === undefined) throw new UsageError("lists add URL|FILE [--format Plain|Hosts|CSV|RPZ]");
  const wanted = context.options.format ?? "Plain";
  const format = FORMATS.find((each) => each.toLowerCase() === wanted.toLowerCase());
  if (format === undefined) throw new UsageError(`--format ${wanted}: is none of ${FORMATS.join(", ")}`);
  const isUrl = /^https?:\/\//.test(source);
  const values = isUrl ? { URL: source } : { Content: contentOf(source) };
  const path = await context.controller.create(LISTS, { Enable: "true", Format: format, ...values });
  return report(context, path);
}

/** @throws UsageError where the file can't be read, or is more than a parameter holds */
function contentOf(path: string): string {
  try {
    const { size } = statSync(path);
    if (size > MAX_CONTENT)
      throw new UsageError(
        `${path} has ${size} bytes; a list that is set here may have ${MAX_CONTENT}. Serve it by http and give its URL, or name it in a section \`list\` of the agent's configuration (option file)`,
      );
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path}: ${(error as Error).message}; a URL begins with http:// or https://`);
  }
}

/** By number, path or alias. @throws UsageError */
async function listOf(context: WordContext, wanted: string | undefined): Promise<Row> {
  if (wanted === undefined) throw new UsageError(USAGE);
  const path = /^\d+$/.test(wanted) ? `${LISTS}${wanted}.` : wanted.endsWith(".") ? wanted : `${wanted}.`;
  const rows = await rowsOf(context, "List");
  const found = rows.find((each) => each.path === path) ?? rows.find(({ row }) => row["Alias"] === wanted);
  if (!found) throw new UsageError(`there is no list ${JSON.stringify(wanted)}; see \`lists\``);
  return found;
}

/** Waits shortly for what comes of it. */
async function report(context: WordContext, path: string): Promise<ExitCode> {
  const names = ["Status", "StatusReason", "Entries"] as const;
  let status = "";
  let reason = "";
  let entries = "0";
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const values = await context.controller.read(names.map((name) => `${path}${name}`));
    [status = "", reason = "", entries = "0"] = names.map((name) => values.get(`${path}${name}`));
    if (status !== "Loading") break;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  if (context.options.json === true)
    sayJson(context, { List: path, Status: status, StatusReason: reason, Entries: Number(entries) });
  else say(context, `${path} ${status}, ${entries} entries${reason === "" ? "" : `: ${reason}`}`);
  return status === "Enabled" && reason === "" ? Exit.Ok : Exit.Partial;
}

function done(context: WordContext, path: string, what: string): ExitCode {
  if (context.options.json === true) sayJson(context, { List: path, Done: what });
  else say(context, `${what} ${path}`);
  return Exit.Ok;
}
