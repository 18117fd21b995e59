/** The home as the operator's words need it: its devices as JSON objects, and which of them somebody means. */
import { ROOT } from "../../datamodel/spin.ts";
import { canonicalAddress, parseMac, printMac } from "../lib/address.ts";
import type { WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";
import { nameOfDevice, text } from "./device-table.ts";
import { nest, type Json, type JsonObject } from "./json.ts";
import { typedValues } from "./value-types.ts";

export interface Row {
  /** Instance path, with its final dot. */
  readonly path: string;
  readonly row: JsonObject;
}

/** Rows of a table below `Device.X_SPIN.`, typed, in the order of their instance numbers. @throws UspError */
export async function rowsOf(
  { controller }: Pick<WordContext, "controller">,
  name: "AccessLog" | "Device" | "Incident" | "List" | "Rule" | "Schedule",
): Promise<Row[]> {
  const table = `${ROOT}${name}.`;
  // A row and the single objects below it: the lists of History would be most of the answer, and may be too much for one.
  const outcomes = await controller.get([table], { maxDepth: 2 });
  for (const { error } of outcomes) if (error !== undefined) throw error;
  const byInstance = new Map<number, [path: string, value: Json][]>();
  for (const [path, value] of await typedValues(controller, outcomes)) {
    const instance = Number.parseInt(path.slice(table.length), 10);
    const values = byInstance.get(instance);
    if (values === undefined) byInstance.set(instance, [[path, value]]);
    else values.push([path, value]);
  }
  return [...byInstance]
    .sort(([a], [b]) => a - b)
    .map(([instance, values]) => ({ path: `${table}${instance}.`, row: nest(values, `${table}${instance}.`) }));
}

export async function devicesOfHome(context: Pick<WordContext, "controller">): Promise<JsonObject[]> {
  return (await rowsOf(context, "Device")).map(({ row }) => row);
}

/**
 * The device that a MAC address, name, host name, IP address or alias means, in any case of letters.
 * @throws UsageError naming the candidates where there are several, or that there is none
 */
export function deviceOf(devices: readonly JsonObject[], wanted: string): JsonObject {
  const found = devicesOf(devices, wanted);
  const [first, ...others] = found;
  if (first === undefined) throw new UsageError(`there is no device ${JSON.stringify(wanted)}; see \`devices\``);
  if (others.length > 0) {
    const candidates = found.map((each) => `${nameOfDevice(each)} (${text(each["PhysAddress"])})`).join(", ");
    throw new UsageError(`${JSON.stringify(wanted)} may be any of ${candidates}; use the MAC address`);
  }
  return first;
}

export function devicesOf(devices: readonly JsonObject[], wanted: string): JsonObject[] {
  const mac = parseMac(wanted);
  if (mac !== undefined) return devices.filter((each) => each["PhysAddress"] === printMac(mac));
  const address = canonicalAddress(wanted);
  if (address !== undefined) return devices.filter((each) => addressesOf(each).includes(address));
  const name = wanted.toLowerCase();
  const called = (each: JsonObject) =>
    ["Name", "HostName", "Alias"].some((key) => text(each[key]).toLowerCase() === name);
  return devices.filter(called);
}

/** A search path to the device's row, which holds whatever its instance number is. */
export function pathOf(device: JsonObject): string {
  return `${ROOT}Device.[PhysAddress=="${text(device["PhysAddress"])}"].`;
}

function addressesOf(device: JsonObject): string[] {
  return ["IPv4Address", "IPv6Address"].flatMap((key) => text(device[key]).split(",")).filter((each) => each !== "");
}

export function list(value: Json | undefined): string[] {
  return text(value)
    .split(",")
    .filter((each) => each !== "");
}
