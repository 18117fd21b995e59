/** The devices of a home as a table for people, from the same objects that `--json` prints. */
import type { Json, JsonObject } from "./json.ts";
import { ago, amount, table, type Column } from "./text.ts";

/** What one calls the device: the name given to it, else its own, else its hardware address. */
export function nameOfDevice(device: JsonObject): string {
  return text(device["Name"]) || text(device["HostName"]) || text(device["PhysAddress"]);
}

interface DeviceColumn extends Column {
  readonly cell: (device: JsonObject, now: number) => string;
  /** Which goes first where there is not room for all; absent: it stays. */
  readonly goes?: number;
}

const stats = (device: JsonObject, name: string) => number(object(device["Stats"])[name]);

const COLUMNS: readonly DeviceColumn[] = [
  { title: "NAME", cell: nameOfDevice },
  { title: "TYPE", goes: 2, cell: (device) => text(device["Type"]) },
  { title: "VENDOR", goes: 1, cell: (device) => text(device["Vendor"]) },
  { title: "MAC", goes: 5, cell: (device) => text(device["PhysAddress"]) },
  { title: "ADDRESSES", goes: 3, cell: firstAddresses },
  { title: "SENT", align: "right", cell: (device) => amount(stats(device, "BytesSent"), "B") },
  { title: "RECEIVED", align: "right", cell: (device) => amount(stats(device, "BytesReceived"), "B") },
  {
    title: "RATE",
    align: "right",
    cell: (device) => amount(stats(device, "BytesSentRate") + stats(device, "BytesReceivedRate"), "bit/s"),
  },
  { title: "LAST SEEN", goes: 4, cell: (device, now) => ago(text(device["LastSeen"]), now) },
  { title: "BLOCKED", cell: (device) => (device["Blocked"] === true ? "blocked" : "") },
];

/**
 * @param now Milliseconds since 1970, against which LastSeen is told; a replay's clock is the capture's.
 * @param width Columns of characters that there are; the least telling are left out until the table fits.
 */
export function deviceTable(devices: readonly JsonObject[], now: number, width = Infinity): string {
  const shown = [...COLUMNS];
  for (;;) {
    const lines = table(
      shown,
      devices.map((device) => shown.map(({ cell }) => cell(device, now))),
    );
    const next = shown.reduce((least, each) => ((each.goes ?? 9) < (least.goes ?? 9) ? each : least));
    if (next.goes === undefined || lines.split("\n").every((line) => [...line].length <= width)) return lines;
    shown.splice(shown.indexOf(next), 1);
  }
}

/**
 * Rows that the resident said are one device become one: its traffic is the sum of theirs, and its addresses are all of
 * theirs. `rows` with their paths, as the model has them.
 */
export function mergedAsOne(rows: readonly { readonly path: string; readonly row: JsonObject }[]): JsonObject[] {
  const standing = new Map<string, JsonObject[]>();
  const into = ({ row }: { readonly row: JsonObject }) => text(row["MergedInto"]);
  for (const { path, row } of rows) if (into({ row }) === "") standing.set(path.replace(/\.$/, ""), [row]);
  const alone: JsonObject[] = [];
  for (const each of rows) if (into(each) !== "") (standing.get(into(each).replace(/\.$/, "")) ?? alone).push(each.row);
  return [...[...standing.values()].map(sumOf), ...alone];
}

function sumOf([first = {}, ...others]: readonly JsonObject[]): JsonObject {
  if (others.length === 0) return first;
  const all = [first, ...others];
  const joined = (name: string) =>
    all
      .map((row) => text(row[name]))
      .filter((each) => each !== "")
      .join(",");
  const last = all
    .map((row) => text(row["LastSeen"]))
    .sort()
    .at(-1) as string;
  const sums = Object.entries(object(first["Stats"])).map(([name]) => [
    name,
    all.reduce((sum, row) => sum + stats(row, name), 0),
  ]);
  return {
    ...first,
    PhysAddress: `${text(first["PhysAddress"])} +${others.length}`,
    IPv4Address: joined("IPv4Address"),
    IPv6Address: joined("IPv6Address"),
    LastSeen: last,
    Blocked: all.some((row) => row["Blocked"] === true),
    Stats: Object.fromEntries(sums) as JsonObject,
  };
}

export function text(value: Json | undefined): string {
  return value === undefined || typeof value === "object" ? "" : String(value);
}

export function number(value: Json | undefined): number {
  return typeof value === "number" || typeof value === "bigint" ? Number(value) : 0;
}

export function object(value: Json | undefined): JsonObject {
  return typeof value === "object" && !Array.isArray(value) ? (value as JsonObject) : {};
}

/** Of each family the address that was confirmed last. */
function firstAddresses(device: JsonObject): string {
  const lists = [text(device["IPv4Address"]), text(device["IPv6Address"])].filter((list) => list !== "");
  return lists
    .map((list) => {
      const [first, ...more] = list.split(",");
      return more.length === 0 ? first : `${first} +${more.length}`;
    })
    .join(" ");
}
