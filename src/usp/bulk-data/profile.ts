/** A row of `Device.BulkData.Profile.{i}.` with all below it, as typed values: read anew for each report. */
import type { InstanceNode, Tree } from "../../model/tree.ts";
import type { RetryPolicy } from "../retry.ts";
import { csvOption } from "./csv-options.ts";
import type { Encoding, Timestamp } from "./encode.ts";
import type { ReportReference } from "./report.ts";

export const BULK_DATA = "Device.BulkData.";
export const PROFILE_TABLE = "Device.BulkData.Profile.{i}.";

export interface Profile {
  /** Instance path of its row, with final dot. */
  readonly path: string;
  readonly enabled: boolean;
  /** Instance path of its owner's Controller row, without final dot. */
  readonly owner: string;
  readonly encoding: Encoding;
  readonly intervalMs: number;
  /** Milliseconds since 1970 of one report; `undefined` for any. */
  readonly phase: number | undefined;
  /** -1: as many as there is room for. */
  readonly retained: number;
  readonly references: readonly ReportReference[];
  readonly target: Target;
}

export type Target = HttpTarget | MqttTarget | { readonly protocol: "USPEventNotif" };

export interface HttpTarget {
  readonly protocol: "HTTP";
  /** Empty where none is set. */
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly method: "POST" | "PUT";
  readonly gzip: boolean;
  readonly date: boolean;
  /** `undefined`: not again. */
  readonly retry: RetryPolicy | undefined;
  readonly uriParameters: readonly { readonly name: string; readonly path: string }[];
}

export interface MqttTarget {
  readonly protocol: "MQTT";
  /** Instance path of the client's row, without final dot; empty where none is set. */
  readonly client: string;
  readonly topic: string;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
}

export function readProfile(tree: Tree, row: InstanceNode): Profile {
  const phase = value<number>(row, "TimeReference");
  return {
    path: row.path,
    enabled: value(row, "Enable"),
    owner: value(row, "Controller"),
    encoding: readEncoding(tree, row),
    intervalMs: 1000 * value<number>(row, "ReportingInterval"),
    // A time before 1970 is none that a clock had (TR-106 Unknown Time).
    phase: phase > 0 ? phase : undefined,
    retained: value(row, "NumberOfRetainedFailedReports"),
    references: below(tree, row, "Parameter").map((reference) => ({
      name: value(reference, "Name"),
      path: value(reference, "Reference"),
      exclude: value(reference, "Exclude"),
    })),
    target: readTarget(tree, row),
  };
}

function readEncoding(tree: Tree, row: InstanceNode): Encoding {
  const type = value<Encoding["type"]>(row, "EncodingType");
  const at = single(tree, row, `${type}Encoding`);
  if (type === "JSON")
    return { type, format: value(at, "ReportFormat"), timestamp: value<Timestamp>(at, "ReportTimestamp") };
  return {
    type,
    format: value(at, "ReportFormat"),
    timestamp: value<Timestamp>(at, "RowTimestamp"),
    // Rows of before the rules: as by default.
    fieldSeparator: csvOption("FieldSeparator", value(at, "FieldSeparator")) ?? ",",
    rowSeparator: csvOption("RowSeparator", value(at, "RowSeparator")) ?? "\r\n",
    escape: csvOption("EscapeCharacter", value(at, "EscapeCharacter")) ?? '"',
  };
}

function readTarget(tree: Tree, row: InstanceNode): Target {
  const protocol = value<Target["protocol"]>(row, "Protocol");
  if (protocol === "USPEventNotif") return { protocol };
  const at = single(tree, row, protocol);
  if (protocol === "MQTT")
    return {
      protocol,
      client: value(at, "Reference"),
      topic: value(at, "PublishTopic"),
      qos: value(at, "PublishQoS"),
      retain: value(at, "PublishRetain"),
    };
  return {
    protocol,
    url: value(at, "URL"),
    username: value(at, "Username"),
    password: value(at, "Password"),
    method: value(at, "Method"),
    gzip: value(at, "Compression") === "GZIP",
    date: value(at, "UseDateHeader"),
    retry: value(at, "RetryEnable")
      ? {
          minimumMs: 1000 * value<number>(at, "RetryMinimumWaitInterval"),
          multiplier: value<number>(at, "RetryIntervalMultiplier") / 1000,
          maximumMs: Infinity,
        }
      : undefined,
    uriParameters: below(tree, at, "RequestURIParameter").map((parameter) => ({
      name: value(parameter, "Name"),
      path: value(parameter, "Reference"),
    })),
  };
}

function single(tree: Tree, parent: InstanceNode, name: string): InstanceNode {
  const object = parent.object.children.get(name);
  const node = object && tree.single(parent, object);
  if (!node) throw new TypeError(`${parent.path}${name}. is not in the tree`);
  return node;
}

function below(tree: Tree, parent: InstanceNode, name: string): InstanceNode[] {
  const table = parent.object.children.get(name);
  return table ? [...tree.rows(parent, table)] : [];
}

function value<T>(node: InstanceNode, name: string): T {
  return node.object.params.get(name)?.read(node.row) as T;
}
