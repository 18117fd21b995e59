/** The word that takes back what we changed last: undo. */
import { ROOT } from "../../datamodel/spin.ts";
import { list } from "./ctl-home.ts";
import { Exit, say, sayJson, type Word } from "./ctl-io.ts";
import { noArguments } from "./ctl-traffic.ts";

export const undo: Word = async (context) => {
  noArguments(context, "undo");
  const output = await context.controller.run(`${ROOT}Undo()`);
  const what = output.get("What") ?? "";
  const rows = list(output.get("Rows"));
  if (context.options.json === true) sayJson(context, { What: what, Rows: rows });
  else {
    say(context, `taken back: ${what}`);
    const isBack = rows.filter((row) => !what.includes(`${row}.`));
    if (isBack.length > 0) say(context, `back as ${isBack.map((row) => `${row}.`).join(", ")}`);
  }
  return Exit.Ok;
};
