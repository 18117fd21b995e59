/** Options of reports (`Device.BulkData.`): where they may go, and the one that is shipped. */
import { parsePrefix } from "../lib/address.ts";
import { bool, file, many, number, text, type ValuesOf } from "./option.ts";

export const bulkDataOptions = {
  min_interval: number("Shortest ReportingInterval that a profile may have, in seconds.", 60, 1, 86_400),
  allow_plaintext: bool("Permit collectors by http://, where anybody on the way reads the report.", false),
  allow_local: many(
    "Prefix inside the home, a private range or this machine to which reports may go all the same: `10.20.0.0/16`. Without, a controller can't make the gateway knock at doors of the home.",
    (value) => parsePrefix(value) !== undefined,
    "an address or a prefix",
  ),
  ca_file: file("PEM file of the authorities trusted for collectors; empty: the system's."),
  summary: bool("Enable the shipped profile, which reports the summary of the home each 900 s.", false),
  summary_url: text(
    "The collector that it goes to; empty: to the first configured controller, as `Push!`.",
    "",
    /^(?:https?:\/\/[^\s#@]+)?$/,
  ),
} as const;

export type BulkDataConfig = ValuesOf<typeof bulkDataOptions>;
