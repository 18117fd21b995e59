/** The words about what is kept: export, erase, and whom it was shown to: accesses, support. */
import { once } from "node:events";
import { ROOT } from "../../datamodel/spin-root.ts";
import { MAX_SUPPORT_S } from "../../datamodel/spin-access-log.ts";
import { parseMac, printMac } from "../lib/address.ts";
import { UspError } from "../lib/usp-error.ts";
import { fileFor } from "./ctl-capture.ts";
import { deviceOf, list, rowsOf, type Row } from "./ctl-home.ts";
import { errorText, Exit, say, sayJson, type ExitCode, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { noArguments, pagesOf } from "./ctl-traffic.ts";
import { number, text } from "./device-table.ts";
import { nest, printJson, type Json, type JsonObject } from "./json.ts";
import { ago, countText, escapeLines, parseDuration, table } from "./text.ts";
import { typedValues } from "./value-types.ts";

/** Kinds of Query() that are of a device. */
const KINDS = ["Destinations", "Flows", "DNSQueries", "Blocked", "History"] as const;

export const exportDevice: Word = async (context) => {
  const { args, options, io } = context;
  const [wanted, ...rest] = args;
  if (wanted === undefined || rest.length > 0) throw new UsageError("export DEVICE [-o FILE]");
  const { output } = options;
  const devices = await rowsOf(context, "Device");
  const row = deviceOf(
    devices.map((each) => each.row),
    wanted,
  );
  const device = devices.find((each) => each.row === row) as Row;
  if (output === undefined || output === "-") return write(context, device, (chunk) => Promise.resolve(io.out(chunk)));
  const file = await fileFor(output);
  let failure: Error | undefined;
  file.on("error", (error) => (failure = error));
  try {
    const code = await write(context, device, async (chunk) => {
      if (failure) throw new UsageError(`-o ${output}: ${failure.message}`);
      if (!file.write(chunk)) await Promise.race([once(file, "drain"), once(file, "close")]);
    });
    return code;
  } finally {
    await new Promise((resolve) => file.end(resolve));
    if (failure) io.err(`error: ${escapeLines(`-o ${output}: ${failure.message}`)}\n`);
  }
};

/** Everything, part by part, so that a week's flows need not fit into memory. What is refused is named. */
async function write(context: WordContext, device: Row, put: (chunk: string) => Promise<void>): Promise<ExitCode> {
  const { controller, io } = context;
  const mac = text(device.row["PhysAddress"]);
  const outcomes = await controller.get([device.path]);
  for (const { error } of outcomes) if (error !== undefined) throw error;
  const whole = nest(await typedValues(controller, outcomes), device.path);
  await put(`{\n"Exported": ${JSON.stringify(new Date(io.now?.() ?? Date.now()).toISOString())},\n`);
  await put(`"Device": ${printJson(whole)}`);
  const refused: [part: string, why: string][] = [];
  for (const kind of KINDS) {
    await put(`,\n${JSON.stringify(kind)}: [`);
    let isFirst = true;
    try {
      for await (const page of pagesOf(controller, { Kind: kind, PhysAddress: mac })) {
        for (const each of page) {
          await put(`${isFirst ? "" : ","}\n${printJson(each, true)}`);
          isFirst = false;
        }
      }
    } catch (error) {
      if (!(error instanceof UspError)) throw error;
      refused.push([kind, errorText(error)]);
    }
    await put("]");
  }
  for (const [name, isAbout] of ABOUT) {
    const found = (await rowsOf(context, name)).filter((each) => isAbout(each.row, mac, device.path));
    await put(`,\n${JSON.stringify(name)}: [${found.map(({ row }) => `\n${printJson(row, true)}`).join(",")}]`);
  }
  const notShown: JsonObject = Object.fromEntries(refused);
  await put(`${refused.length > 0 ? `,\n"NotShown": ${printJson(notShown)}` : ""}\n}\n`);
  for (const [part, why] of refused) io.err(`${escapeLines(`${part}: not shown to this controller: ${why}`)}\n`);
  return refused.length > 0 ? Exit.Partial : Exit.Ok;
}

/** Rows of other tables that are about a device. */
const ABOUT: readonly (readonly [
  table: "AccessLog" | "Incident" | "Rule",
  isAbout: (row: JsonObject, mac: string, path: string) => boolean,
])[] = [
  ["Incident", (row, mac) => row["PhysAddress"] === mac],
  ["Rule", (row, mac) => list(row["MACAddressList"]).includes(mac)],
  // Changes of its row, captures of it.
  ["AccessLog", (row, mac, path) => text(row["What"]).includes(path) || text(row["What"]).includes(mac)],
];

export const erase: Word = async (context) => {
  const { args, options, controller } = context;
  const isAll = options.all === true;
  if (args.length !== (isAll ? 0 : 1)) throw new UsageError("erase DEVICE | erase --all");
  // What is left of a device that is forgotten has its address alone.
  const given = parseMac(args[0] ?? "");
  const device = async () =>
    deviceOf(
      (await rowsOf(context, "Device")).map(({ row }) => row),
      args[0] as string,
    );
  const mac = isAll ? "" : given === undefined ? text((await device())["PhysAddress"]) : printMac(given);
  const output = await controller.run(`${ROOT}EraseHistory()`, isAll ? {} : { PhysAddress: mac });
  const erased: JsonObject = Object.fromEntries(
    [...output].map(([name, value]): [string, Json] => [name, name === "What" ? value : Number(value)]),
  );
  if (options.json === true) sayJson(context, erased);
  else say(context, `erased: ${output.get("What") ?? ""}`);
  return Exit.Ok;
};

export const accesses: Word = async (context) => {
  noArguments(context, "accesses");
  const rows = (await rowsOf(context, "AccessLog")).map(({ row }) => row);
  rows.sort((a, b) => text(b["LastTime"]).localeCompare(text(a["LastTime"])));
  const now = context.io.now?.() ?? Date.now();
  if (context.options.json === true) sayJson(context, { AccessLog: rows });
  else if (rows.length === 0) say(context, "nothing that was done, or that this controller may know of");
  else
    say(
      context,
      table(
        [
          { title: "LAST" },
          { title: "TIMES", align: "right" },
          { title: "CONTROLLER" },
          { title: "" },
          { title: "WHAT" },
        ],
        rows.map((row) => [
          ago(text(row["LastTime"]), now),
          countText(number(row["Count"])),
          text(row["Controller"]),
          row["Secured"] === true ? "peers" : "",
          text(row["What"]),
        ]),
      ),
    );
  return Exit.Ok;
};

export const support: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (wanted === undefined || rest.length > 0) throw new UsageError("support TIME|off");
  const seconds = wanted === "off" ? 0 : parseDuration(wanted);
  if (seconds === undefined || seconds > MAX_SUPPORT_S)
    throw new UsageError(`support ${wanted}: is no time of a day at most, as 30m or 2h is, nor off`);
  const output = await context.controller.run(`${ROOT}GrantSupport()`, { Duration: String(seconds) });
  const until = output.get("SupportUntil") ?? "";
  if (context.options.json === true) sayJson(context, { SupportUntil: until });
  else say(context, seconds === 0 ? "Support sees no more than others" : `Support sees what is secured until ${until}`);
  return Exit.Ok;
};
