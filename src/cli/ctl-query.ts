/** `ctl query` and `ctl dns`: what the home remembers, newest first. */
import { deviceOf, devicesOfHome, list } from "./ctl-home.ts";
import { Exit, say, sayJson, type ExitCode, type Word, type WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { whole } from "./ctl-raw.ts";
import { destination, query as rowsOfQuery } from "./ctl-traffic.ts";
import { nameOfDevice, number, text } from "./device-table.ts";
import type { JsonObject } from "./json.ts";
import { ago, amount, countText, parseDuration, table } from "./text.ts";

const left = (title: string) => ({ title, align: "left" as const });
const right = (title: string) => ({ title, align: "right" as const });

interface KindTable {
  readonly kind: string;
  readonly columns: readonly { readonly title: string; readonly align: "left" | "right" }[];
  readonly cells: (row: JsonObject, device: string, when: (name: string) => string) => string[];
}

const sizes = (row: JsonObject) => [amount(number(row["BytesSent"]), "B"), amount(number(row["BytesReceived"]), "B")];
const arrow = (row: JsonObject) => (row["Initiator"] === "Peer" ? "←" : "→");
const PEER = [left("DESTINATION"), left("ADDRESS"), left("SERVICE")];
const MOVED = [right("SENT"), right("RECEIVED")];

const KINDS: { readonly [word: string]: KindTable } = {
  flows: {
    kind: "Flows",
    columns: [left("BEGAN"), left("ENDED"), left("DEVICE"), left(""), ...PEER, ...MOVED, right("FLOWS")],
    cells: (row, device, when) => [
      when("Start"),
      text(row["End"]).startsWith("0001-") ? "open" : when("End"),
      device,
      arrow(row),
      ...destination(row),
      ...sizes(row),
      `${row["Flows"] === undefined ? 1 : number(row["Flows"])}`,
    ],
  },
  destinations: {
    kind: "Destinations",
    columns: [left("LAST SEEN"), left("DEVICE"), ...PEER, ...MOVED, left("BLOCKED")],
    cells: (row, device, when) => [
      when("LastSeen"),
      device,
      ...destination(row),
      ...sizes(row),
      row["Blocked"] === true ? "blocked" : "",
    ],
  },
  dns: {
    kind: "DNSQueries",
    columns: [left("ASKED"), left("DEVICE"), left("NAME"), left("TYPE"), left("ANSWER"), right("TTL"), right("TIMES")],
    cells: (row, device, when) => [
      when("Time"),
      device,
      text(row["Name"]),
      text(row["Type"]),
      answerOf(row),
      number(row["AnswerCount"]) > 0 ? `${number(row["TTL"])} s` : "",
      countText(number(row["Count"])),
    ],
  },
  blocked: {
    kind: "Blocked",
    columns: [left("BEGAN"), left("ENDED"), left("DEVICE"), left(""), ...PEER, right("PACKETS"), left("RULE")],
    cells: (row, device, when) => [
      when("Start"),
      when("End"),
      device,
      arrow(row),
      ...destination(row),
      countText(number(row["PacketsSent"]) + number(row["PacketsReceived"])),
      /\d+$/.exec(text(row["Rule"]))?.[0] ?? "",
    ],
  },
  history: {
    kind: "History",
    columns: [left("FROM"), left("TO"), left("DEVICE"), ...MOVED, right("BLOCKED"), left("")],
    cells: (row, device) => [
      text(row["Start"]),
      text(row["End"]),
      device,
      ...sizes(row),
      countText(number(row["BlockedPackets"])),
      row["SuspectData"] === true ? "not wholly watched" : "",
    ],
  },
};

/** A result code as people know it. */
const CODES: { readonly [code: number]: string } = {
  1: "FORMERR",
  2: "SERVFAIL",
  3: "NXDOMAIN",
  4: "NOTIMP",
  5: "REFUSED",
};

export const query: Word = (context) => {
  const [first, ...rest] = context.args;
  const isKind = first !== undefined && Object.hasOwn(KINDS, first);
  // A device alone asks for its flows.
  const [kind, devices] = isKind ? [first, rest] : ["flows", context.args];
  if (devices.length > 1) throw new UsageError(`query [${Object.keys(KINDS).join("|")}] [DEVICE]`);
  return show(context, KINDS[kind] as KindTable, devices[0]);
};

export const dns: Word = (context) => {
  const [device, ...rest] = context.args;
  if (device === undefined || rest.length > 0) throw new UsageError("dns DEVICE");
  return show(context, KINDS["dns"] as KindTable, device);
};

async function show(context: WordContext, kind: KindTable, wanted: string | undefined): Promise<ExitCode> {
  const { options, controller } = context;
  const now = context.io.now?.() ?? Date.now();
  const to = options.to ?? options.destination;
  const known = await devicesOfHome(context);
  const atMost = whole("limit", options.limit, 20);
  if (atMost === 0) throw new UsageError("--limit 0: is no number of rows");
  const found = await rowsOfQuery(
    controller,
    {
      Kind: kind.kind,
      ...(wanted === undefined ? {} : { PhysAddress: text(deviceOf(known, wanted)["PhysAddress"]) }),
      ...(options.since === undefined ? {} : { Since: timeOf("since", options.since, now) }),
      ...(options.until === undefined ? {} : { Until: timeOf("until", options.until, now) }),
      ...(to === undefined ? {} : { Destination: to }),
    },
    atMost,
  );
  if (options.json === true) {
    sayJson(context, { Row: found });
    return Exit.Ok;
  }
  if (found.length === 0) {
    say(context, "nothing that is remembered");
    return Exit.Ok;
  }
  const names = new Map(known.map((each) => [text(each["PhysAddress"]), nameOfDevice(each)]));
  const cells = found.map((row) =>
    kind.cells(row, names.get(text(row["PhysAddress"])) ?? text(row["PhysAddress"]), (name) =>
      ago(text(row[name]), now),
    ),
  );
  say(context, table([...kind.columns], cells));
  return Exit.Ok;
}

/**
 * `2h`: so long ago; or a time of the calendar, in UTC where it names no zone.
 * @throws UsageError
 */
export function timeOf(option: string, given: string, now: number): string {
  const seconds = parseDuration(given);
  const named = /^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)?$/.exec(given) !== null;
  const zoned = /(?:Z|[+-]\d\d:\d\d)$/.test(given.slice(10)) || given.length === 10 ? given : `${given}Z`;
  const time = seconds === undefined ? (named ? Date.parse(zoned.replace(" ", "T")) : NaN) : now - seconds * 1000;
  if (Number.isNaN(time)) throw new UsageError(`--${option} ${given}: is no time, as 2h or 2026-01-31T18:00 is`);
  return new Date(time).toISOString().replace(/\.\d+Z$/, "Z");
}

function answerOf(row: JsonObject): string {
  const code = row["ResultCode"];
  if (code === undefined) return "none seen";
  if (number(code) !== 0) return CODES[number(code)] ?? `code ${number(code)}`;
  const shown = list(row["Answers"]);
  const more = number(row["AnswerCount"]) - shown.length;
  if (shown.length === 0) return "no address";
  return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
