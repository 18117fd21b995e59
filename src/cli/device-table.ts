/** The devices of a home as a table for people, from the same objects that `--json` prints. */
import type { Json, JsonObject } from "./json.ts";
import { ago, amount, table } from "./text.ts";

/** What one calls the device: the name given to it, else its own, else its hardware address. */
export function nameOfDevice(device: JsonObject): string {
  return text(device["Name"]) || text(device["HostName"]) || text(device["PhysAddress"]);
}

/** @param now Milliseconds since 1970, against which LastSeen is told; a replay's clock is the capture's. */
export function deviceTable(devices: readonly JsonObject[], now: number): string {
  const rows = devices.map((device) => {
    const stats = object(device["Stats"]);
    const rate = number(stats["BytesSentRate"]) + number(stats["BytesReceivedRate"]);
    return [
      nameOfDevice(device),
      text(device["Vendor"]),
      text(device["PhysAddress"]),
      firstAddresses(device),
      amount(number(stats["BytesSent"]), "B"),
      amount(number(stats["BytesReceived"]), "B"),
      amount(rate, "bit/s"),
      ago(text(device["LastSeen"]), now),
      device["Blocked"] === true ? "blocked" : "",
    ];
  });
  return table(
    [
      { title: "NAME" },
      { title: "VENDOR" },
      { title: "MAC" },
      { title: "ADDRESSES" },
      { title: "SENT", align: "right" },
      { title: "RECEIVED", align: "right" },
      { title: "RATE", align: "right" },
      { title: "LAST SEEN" },
      { title: "BLOCKED" },
    ],
    rows,
  );
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
