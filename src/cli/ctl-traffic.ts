/** The words about traffic: devices, top, flows, watch. */
import { ROOT, Spin } from "../../datamodel/spin.ts";
import type { Controller } from "../controller/controller.ts";
import { pause } from "../lib/pause.ts";
import { deviceOf, devicesOfHome, rowsOf } from "./ctl-home.ts";
import { Exit, say, sayJson, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { whole } from "./ctl-raw.ts";
import { deviceTable, mergedAsOne, nameOfDevice, number, text } from "./device-table.ts";
import { wholeNumber, type Json, type JsonObject } from "./json.ts";
import { ago, amount, fit, parseDuration, table } from "./text.ts";

export const devices: Word = async (context) => {
  noArguments(context, "devices");
  const found = await rowsOf(context, "Device");
  if (context.options.json === true) sayJson(context, { Device: found.map(({ row }) => row) });
  else if (found.length === 0) say(context, "no devices yet");
  else say(context, deviceTable(mergedAsOne(found), now(context), context.io.terminal?.()?.columns));
  return Exit.Ok;
};

export const top: Word = async (context) => {
  const [wanted, ...rest] = context.args;
  if (wanted === undefined || rest.length > 0) throw new UsageError("top DEVICE");
  const device = deviceOf(await devicesOfHome(context), wanted);
  const mac = text(device["PhysAddress"]);
  const all = await query(context.controller, { Kind: "Destinations", PhysAddress: mac, ...since(context) }, Infinity);
  const total = (row: JsonObject) => number(row["BytesSent"]) + number(row["BytesReceived"]);
  const greatest = [...all].sort((a, b) => total(b) - total(a)).slice(0, limit(context));
  if (context.options.json === true) {
    sayJson(context, { Row: greatest });
    return Exit.Ok;
  }
  say(context, `${nameOfDevice(device)} (${mac})`);
  const cells = greatest.map((row) => [
    ...destination(row),
    amount(number(row["BytesSent"]), "B"),
    amount(number(row["BytesReceived"]), "B"),
    ago(text(row["LastSeen"]), now(context)),
    row["Blocked"] === true ? "blocked" : "",
  ]);
  const columns = [...DESTINATION, SENT, RECEIVED, { title: "LAST SEEN" }, { title: "BLOCKED" }];
  say(context, table(columns, cells));
  hint(context, greatest);
  return Exit.Ok;
};

export const flows: Word = async (context) => {
  const [named, ...rest] = context.args;
  if (rest.length > 0) throw new UsageError("flows [DEVICE]");
  const wanted = named ?? context.options.device;
  const known = await devicesOfHome(context);
  const filters = {
    Kind: "Flows",
    ...(wanted === undefined ? {} : { PhysAddress: text(deviceOf(known, wanted)["PhysAddress"]) }),
    ...(context.options.destination === undefined ? {} : { Destination: context.options.destination }),
    ...since(context),
  };
  const found = await query(context.controller, filters, limit(context));
  if (context.options.json === true) {
    sayJson(context, { Row: found });
    return Exit.Ok;
  }
  const names = new Map(known.map((each) => [text(each["PhysAddress"]), nameOfDevice(each)]));
  const cells = found.map((row) => [
    ago(text(row["Start"]), now(context)),
    text(row["End"]).startsWith("0001-") ? "open" : ago(text(row["End"]), now(context)),
    names.get(text(row["PhysAddress"])) ?? text(row["PhysAddress"]),
    row["Initiator"] === "Peer" ? "←" : "→",
    ...destination(row),
    amount(number(row["BytesSent"]), "B"),
    amount(number(row["BytesReceived"]), "B"),
  ]);
  say(
    context,
    table(
      [{ title: "BEGAN" }, { title: "ENDED" }, { title: "DEVICE" }, { title: "" }, ...DESTINATION, SENT, RECEIVED],
      cells,
    ),
  );
  hint(context, found);
  return Exit.Ok;
};

/** Draws the devices anew every `interval`, until it is ended. */
export const watch: Word = async (context) => {
  noArguments(context, "watch");
  const { io, options } = context;
  const interval = parseDuration(options.interval ?? "2s");
  if (interval === undefined) throw new UsageError(`--interval ${options.interval}: is no time, as 2s is`);
  const count = whole("count", options.count, Infinity);
  for (let drawn = 0; drawn < count && !io.signal.aborted;) {
    const found = await rowsOf(context, "Device");
    if (options.json === true) sayJson(context, { Device: found.map(({ row }) => row) }, true);
    else {
      const terminal = io.terminal?.();
      const lines =
        found.length === 0 ? "no devices yet" : deviceTable(mergedAsOne(found), now(context), terminal?.columns);
      // Home (at first: a clear screen), each line and the rest of it erased, then what is left below.
      io.out(
        terminal === undefined
          ? `${lines}\n\n`
          : `${drawn === 0 ? "\u001b[2J" : ""}\u001b[H${fit(lines, terminal).replaceAll("\n", "\u001b[K\n")}\u001b[K\n\u001b[J`,
      );
    }
    if (++drawn < count) await pause(interval * 1000, io.signal);
  }
  return Exit.Ok;
};

/** Rows of `Query()`, page by page, up to `atMost`. @throws UspError */
export async function query(
  controller: Controller,
  filters: Readonly<Record<string, string>>,
  atMost: number,
): Promise<JsonObject[]> {
  const found: JsonObject[] = [];
  for await (const page of pagesOf(controller, filters, () => atMost - found.length)) found.push(...page);
  return found;
}

/** The same, a page at a time, until `left` says that there are enough. @throws UspError */
export async function* pagesOf(
  controller: Controller,
  filters: Readonly<Record<string, string>>,
  left: () => number = () => Infinity,
): AsyncGenerator<JsonObject[]> {
  let pages = 0;
  for (let cursor = ""; ;) {
    const size = String(Math.min(PAGE, left()));
    const output = await controller.run(`${ROOT}Query()`, {
      ...filters,
      Limit: size,
      ...(cursor === "" ? {} : { Cursor: cursor }),
    });
    const page = new Map<number, { [column: string]: Json }>();
    for (const [name, value] of output) {
      const [, instance, column] = /^Row\.(\d+)\.(\w+)$/.exec(name) ?? [];
      if (instance === undefined || column === undefined) continue;
      const row = page.get(Number(instance)) ?? {};
      row[column] = typed(column, value);
      page.set(Number(instance), row);
    }
    yield [...page].sort(([a], [b]) => a - b).map(([, row]) => row);
    const next = output.get("NextCursor") ?? "";
    if (next === "" || next === cursor || left() <= 0 || ++pages === MAX_PAGES) return;
    cursor = next;
  }
}

const PAGE = 500;
/** A page may be empty where the agent looked through a part of its log in vain; so many of them at most. */
const MAX_PAGES = 1000;
const DESTINATION = [{ title: "DESTINATION" }, { title: "ADDRESS" }, { title: "SERVICE" }] as const;
const SENT = { title: "SENT", align: "right" } as const;
const RECEIVED = { title: "RECEIVED", align: "right" } as const;

export function destination(row: JsonObject): string[] {
  const protocols: { readonly [number: string]: string } = { 1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6" };
  const protocol = text(row["Protocol"]);
  const name = protocols[protocol] ?? `protocol ${protocol}`;
  const port = number(row["Port"]);
  const service = port === 0 ? name : `${name}/${port}`;
  return [text(row["Domain"]) || "-", text(row["Address"]) || "-", service];
}

/** Says why destinations are empty, where all of them are. */
function hint(context: WordContext, found: readonly JsonObject[]): void {
  if (found.length > 0 && found.every((row) => text(row["Address"]) === "" && text(row["Domain"]) === "")) {
    context.io.err("whom the devices talk to is not shown to this controller (PrivacyLevel, SecuredRoles)\n");
  }
}

function typed(column: string, value: string): Json {
  const columns: { readonly [name: string]: { readonly type: { readonly base: string } } } =
    Spin.commands["Query()"].rows.Row;
  const base = Object.hasOwn(columns, column) ? columns[column]?.type.base : undefined;
  if (base === "boolean") return value === "true" || value === "1";
  return base === "unsignedInt" || base === "unsignedLong" || base === "int" || base === "long"
    ? wholeNumber(value)
    : value;
}

function since(context: WordContext): { Since?: string } {
  const { since: back } = context.options;
  if (back === undefined) return {};
  const seconds = parseDuration(back);
  if (seconds === undefined) throw new UsageError(`--since ${back}: is no time, as 1h is`);
  return { Since: new Date(now(context) - seconds * 1000).toISOString().replace(/\.\d+Z$/, "Z") };
}

function limit({ options }: WordContext): number {
  const value = whole("limit", options.limit, 20);
  if (value === 0) throw new UsageError("--limit 0: is no number of rows");
  return value;
}

function now({ io }: WordContext): number {
  return io.now?.() ?? Date.now();
}

export function noArguments({ args }: WordContext, word: string): void {
  if (args.length > 0) throw new UsageError(`${word} takes no ${JSON.stringify(args[0])}`);
}
