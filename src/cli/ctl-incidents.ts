/** `ctl incidents`: what looked wrong, newest first. */
import { devicesOfHome, rowsOf } from "./ctl-home.ts";
import { Exit, say, sayJson, type Word } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { nameOfDevice, number, text } from "./device-table.ts";
import { ago, table } from "./text.ts";

export const incidents: Word = async (context) => {
  if (context.args.length > 0) throw new UsageError("incidents takes no arguments");
  const found = (await rowsOf(context, "Incident")).map(({ row }) => row).reverse();
  if (context.options.json === true) {
    sayJson(context, { Incident: found });
    return Exit.Ok;
  }
  if (found.length === 0) {
    say(context, "nothing looked wrong so far");
    return Exit.Ok;
  }
  const names = new Map((await devicesOfHome(context)).map((each) => [text(each["PhysAddress"]), nameOfDevice(each)]));
  const now = context.io.now?.() ?? Date.now();
  const cells = found.map((row) => [
    ago(text(row["LastTime"]), now),
    names.get(text(row["PhysAddress"])) ?? text(row["PhysAddress"]),
    text(row["Type"]),
    text(row["Severity"]),
    `${number(row["Count"])}`,
    text(row["State"]),
    text(row["ActionTaken"]),
    text(row["Summary"]),
  ]);
  const titles = ["LAST SEEN", "DEVICE", "TYPE", "SEVERITY", "COUNT", "STATE", "ACTION", "WHAT"];
  say(
    context,
    table(
      titles.map((title) => ({ title })),
      cells,
    ),
  );
  return Exit.Ok;
};
