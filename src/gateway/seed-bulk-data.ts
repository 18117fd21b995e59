/** First start: the profile that is shipped, which reports the home in figures and names nobody in it. */
import type { Config } from "../config.ts";
import type { Transaction } from "../model/transaction.ts";
import { addRow, mustBe, rowWith } from "./seed-rows.ts";

const PROFILES = "Device.BulkData.Profile.";
/** As most collectors of fleets have it; a home's figures change little in less. */
const INTERVAL_S = 900;
/** Half an hour without the collector loses nothing. */
const RETAINED = 2;

/** By name in the report: a parameter or object; `undefined`: taken out. */
const CONTENT: readonly (readonly [name: string | undefined, path: string])[] = [
  ["eid", "Device.LocalAgent.EndpointID"],
  ["Model", "Device.DeviceInfo.ModelName"],
  ["Software", "Device.DeviceInfo.SoftwareVersion"],
  ["UpTime", "Device.DeviceInfo.UpTime"],
  ["Status", "Device.X_SPIN.Status"],
  ["CounterAccuracy", "Device.X_SPIN.CounterAccuracy"],
  ["Summary", "Device.X_SPIN.Summary."],
  // Lists of a month, which would be most of the report.
  [undefined, "Device.X_SPIN.Summary.History."],
];

/** Profiles that stand already belong to controllers whose rows are lost: they go. Without a controller there is none. */
export function seedBulkData(transaction: Transaction, { bulkData, controllers }: Config): void {
  const { tree } = transaction;
  for (const row of [...tree.all(mustBe(tree.object(PROFILES)))]) transaction.remove(row);
  const ofRole = (...roles: string[]) => controllers.find(({ role }) => roles.includes(role));
  // Whoever may enable it, rather than one who only reads.
  const first = ofRole("Operator", "Support", "Admin") ?? ofRole("Monitor");
  const owner = first && rowWith(transaction, "Device.LocalAgent.Controller.", "EndpointID", first.endpoint_id);
  if (owner === undefined) return;
  const profile = addRow(transaction, "Device.BulkData.", PROFILES, {
    Alias: "cpe-summary",
    Name: "Summary of the home",
    Enable: `${bulkData.summary}`,
    ReportingInterval: `${Math.max(INTERVAL_S, bulkData.min_interval)}`,
    NumberOfRetainedFailedReports: `${RETAINED}`,
    Protocol: bulkData.summary_url === "" ? "USPEventNotif" : "HTTP",
    "HTTP.URL": bulkData.summary_url,
    "HTTP.Compression": "GZIP",
    "HTTP.RetryEnable": "true",
  });
  transaction.write(profile, "Controller", owner);
  for (const [name, path] of CONTENT) {
    const isThere = path.endsWith(".") ? tree.object(path) !== undefined : true;
    if (isThere)
      addRow(transaction, profile.path, "Device.BulkData.Profile.{i}.Parameter.", {
        Name: name ?? "",
        Reference: path,
        Exclude: `${name === undefined}`,
      });
  }
}
