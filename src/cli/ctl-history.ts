/** `ctl history`: what a device or the home moved, minute by minute, hour by hour or day by day. */
import { ROOT } from "../../datamodel/spin-root.ts";
import { deviceOf, list, rowsOf } from "./ctl-home.ts";
import { Exit, say, sayJson, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { nameOfDevice, text } from "./device-table.ts";
import { wholeNumber, type Json, type JsonObject } from "./json.ts";
import { amount, countText, table } from "./text.ts";

const SPANS = { minute: "Minute", hour: "Hour", day: "Day" } as const;

/** The rows of the text: which list, and how its amounts are said. */
const ROWS: readonly (readonly [title: string, name: string, say: (value: number) => string])[] = [
  ["SENT", "BytesSent", (value) => amount(value, "B")],
  ["RECEIVED", "BytesReceived", (value) => amount(value, "B")],
  ["BLOCKED", "BlockedPackets", (value) => `${countText(value)} packets`],
];

export const history: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (rest.length > 0) throw new UsageError("history [DEVICE]");
  const { by = "hour" } = context.options;
  if (!Object.hasOwn(SPANS, by)) throw new UsageError(`--by ${by}: is none of ${Object.keys(SPANS).join(", ")}`);
  const whose = await holderOf(context, wanted);
  const found = await reportOf(context, `${whose.path}History.${SPANS[by as keyof typeof SPANS]}.`);
  if (context.options.json === true) sayJson(context, { ...whose.row, ...found });
  else say(context, `${whose.name}, ${by} by ${by} until ${text(found["ReportEndTime"])}\n${lines(found)}`);
  return Exit.Ok;
};

/** Whose history: its object, what to call it, and what `--json` adds. */
async function holderOf(context: WordContext, wanted: string | undefined) {
  if (wanted === undefined) return { path: `${ROOT}Summary.`, name: "The home", row: {} };
  const rows = await rowsOf(context, "Device");
  const device = deviceOf(
    rows.map(({ row }) => row),
    wanted,
  );
  const { path } = rows.find(({ row }) => row === device) as { path: string };
  const mac = text(device["PhysAddress"]);
  return { path, name: `${nameOfDevice(device)} (${mac})`, row: { PhysAddress: mac } };
}

/** The parameters in the model's own names, lists as arrays. @throws UspError */
async function reportOf({ controller }: WordContext, path: string): Promise<JsonObject> {
  const [outcome] = await controller.get([path]);
  if (outcome?.error !== undefined) throw outcome.error;
  const values = [...(outcome?.objects[0]?.params ?? [])];
  return Object.fromEntries(
    values.map(([name, value]): [string, Json] => {
      if (name === "ReportEndTime") return [name, value];
      return [name, name === "SampleInterval" ? wholeNumber(value) : list(value).map(wholeNumber)];
    }),
  );
}

function lines(found: JsonObject): string {
  const numbers = (name: string) => (Array.isArray(found[name]) ? (found[name] as Json[]).map(Number) : []);
  const suspect = numbers("SuspectData");
  const cells = ROWS.map(([title, name, sayOf]) => {
    const values = numbers(name);
    const total = values.reduce((sum, value) => sum + value, 0);
    return [title, sparkline(values, suspect), sayOf(total), sayOf(Math.max(0, ...values))];
  });
  const columns = [{ title: "" }, { title: "OLDEST FIRST" }, right("TOTAL"), right("MOST")];
  const doubtful = suspect.filter((each) => each === 1).length;
  const note =
    doubtful === 0 ? "" : `\n${doubtful} of ${suspect.length} were not wholly watched; · where nothing was seen`;
  return `${table(columns, cells)}${note}`;
}

const right = (title: string) => ({ title, align: "right" as const });

/** A bar a value, the greatest full; the lowest bar is for nothing alone. Nothing that is suspect is a dot. */
export function sparkline(values: readonly number[], suspect: readonly number[]): string {
  const bars = "▂▃▄▅▆▇█";
  const most = Math.max(...values);
  return values
    .map((value, at) => (value > 0 ? bars[Math.ceil((value / most) * bars.length) - 1] : suspect[at] === 1 ? "·" : "▁"))
    .join("");
}
