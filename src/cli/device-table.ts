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
  { title: "VENDOR", goes: 1, cell: (device) => text(device["Vendor"]) },
  { title: "MAC", goes: 4, cell: (device) => text(device["PhysAddress"]) },
  { title: "ADDRESSES", goes: 2, cell: firstAddresses },
  { title: "SENT", align: "right", cell: (device) => amount(stats(device, "BytesSent"), "B") },
  { title: "RECEIVED", align: "right", cell: (device) => amount(stats(device, "BytesReceived"), "B") },
  {
    title: "RATE",
    align: "right",
    cell: (device) => amount(stats(device, "BytesSentRate") + stats(device, "BytesReceivedRate"), "bit/s"),
  },
  { title: "LAST SEEN", goes: 3, cell: (device, now) => ago(text(device["LastSeen"]), now) },
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
