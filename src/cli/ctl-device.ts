/** The words about one device: device, merge. */
import { deviceOf, list, pathOf, rowsOf, type Row } from "./ctl-home.ts";
import { Exit, say, sayJson, type Word } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { nameOfDevice, text } from "./device-table.ts";
import type { JsonObject } from "./json.ts";
import { ago } from "./text.ts";

export const device: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (wanted === undefined || rest.length > 0) throw new UsageError("device DEVICE");
  const rows = await rowsOf(context, "Device");
  const found = rowOf(rows, wanted);
  if (context.options.json === true) {
    sayJson(context, { Device: [found.row] });
    return Exit.Ok;
  }
  const lines = linesOf(found, rows, context.io.now?.() ?? Date.now()).filter(([, value]) => value !== "");
  const width = Math.max(...lines.map(([title]) => title.length));
  for (const [title, value] of lines) say(context, `${title.padEnd(width)}  ${value}`);
  return Exit.Ok;
};

/** Says that two rows are one physical device, or with `--undo` that one is its own. */
export const merge: Word = async (context) => {
  const { args, options } = context;
  if (args.length !== (options.undo === true ? 1 : 2)) throw new UsageError("merge DEVICE INTO | merge --undo DEVICE");
  const rows = await rowsOf(context, "Device");
  const [from, into] = args.map((wanted) => rowOf(rows, wanted)) as [Row, Row | undefined];
  if (from === into) throw new UsageError(`merge: both are ${named(from.row)}`);
  const target = into?.path.replace(/\.$/, "") ?? "";
  await context.controller.run(`${pathOf(from.row)}MergeInto()`, { Device: target });
  if (options.json === true) sayJson(context, { PhysAddress: text(from.row["PhysAddress"]), MergedInto: target });
  else if (into === undefined) say(context, `${named(from.row)} is a device of its own`);
  else say(context, `${named(from.row)} is one with ${named(into.row)}: rules on either hold for both`);
  return Exit.Ok;
};

function rowOf(rows: readonly Row[], wanted: string): Row {
  const found = deviceOf(
    rows.map(({ row }) => row),
    wanted,
  );
  return rows.find(({ row }) => row === found) as Row;
}

const named = (row: JsonObject) => `${nameOfDevice(row)} (${text(row["PhysAddress"])})`;

function linesOf({ path, row }: Row, rows: readonly Row[], now: number): [title: string, value: string][] {
  const value = (name: string) => text(row[name]);
  const is = (name: string) => row[name] === true;
  const own = path.replace(/\.$/, "");
  const into = rows.find((each) => each.path === `${value("MergedInto")}.`);
  const merged = rows.filter((each) => text(each.row["MergedInto"]) === own);
  const kind = value("Type") === "" ? "" : `${value("Type")} (${value("TypeReason")})`;
  return [
    ["Name", value("Name")],
    ["Host name", value("HostName")],
    ["Type", kind],
    ["MAC", `${value("PhysAddress")}${is("Randomized") ? " (chosen by the device)" : ""}`],
    ["Vendor", value("Vendor")],
    ["IPv4", list(row["IPv4Address"]).join(" ")],
    ["IPv6", list(row["IPv6Address"]).join(" ")],
    ["Interface", value("Interface")],
    ["MUD URL", value("MUDURL")],
    ["First seen", ago(value("FirstSeen"), now)],
    ["Last seen", ago(value("LastSeen"), now)],
    ["State", ["Active", "Blocked", "Ignored"].filter(is).join(", ").toLowerCase() || "silent"],
    ["One with", [...(into ? [into] : []), ...merged].map((each) => named(each.row)).join(", ")],
    ["Path", own],
  ];
}
