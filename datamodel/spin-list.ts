/** `Device.X_SPIN.List.{i}.`: addresses and names that are too many for a rule. */
import { command, object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { ROOT } from "./spin-root.ts";
import { alias, boolean, dateTime, enumeration, string, unsignedInt } from "./values.ts";

export const SpinList = object(`${ROOT}List.{i}.`, {
  description:
    "Addresses, prefixes and names by the thousand, fetched or set here. A rule names it in its DestinationList; the detector ListedPeer looks for all that are enabled and not in an Allow rule.",
  keys: [["Alias"]],
  rows: "add-delete",
  maxRows: 64,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is kept loaded; rules on a list that is not have no effect."),
    Status: readOnly(
      enumeration("Disabled", "Loading", "Enabled", "Error", "Error_Misconfigured"),
      "Whether it is loaded. Enabled also while an update fails: the last good one stays.",
    ),
    StatusReason: readOnly(string({ maxLength: 512 }), "Why not, or what was wrong with the last update, in words."),
    Origin: readOnly(
      enumeration("Controller", "User", "System"),
      "Whose it is: a controller's, the resident's, or the firmware configuration's.",
      { default: "Controller" },
    ),
    URL: readWrite(
      string({ maxLength: 1024, pattern: "((https?|file)://[^\\s#@]+)?" }),
      "Where it is fetched, by http or https, without a name and password. Not inside the home, on this gateway or its links, unless the resident or the configuration says so; file: is the configuration's alone.",
    ),
    Content: readWrite(string({ maxLength: 4095 }), "The list itself, where there is no URL.", { secured: true }),
    Format: readWrite(
      enumeration("Plain", "Hosts", "CSV", "RPZ"),
      "Plain: an address, prefix, range or name a line. Hosts: hosts(5). CSV: the first column that is an entry. RPZ: a response policy zone. A name stands for what is below it too.",
    ),
    Checksum: readWrite(
      string({ maxLength: 64, pattern: "([0-9A-Fa-f]{64})?" }),
      "SHA-256 in hex that the content must have; what has another one is not taken. Empty: any.",
    ),
    LoadedChecksum: readOnly(string({ maxLength: 64 }), "SHA-256 of what is loaded; empty while nothing is."),
    RefreshInterval: readWrite(
      unsignedInt({ min: 600, max: 2_592_000, units: "seconds" }),
      "How often it is fetched, a tenth more or less.",
      { default: 86_400 },
    ),
    Entries: readOnly(unsignedInt(), "Entries loaded.", { valueChange: false }),
    Unreadable: readOnly(unsignedInt(), "Lines or words that are no entry.", { valueChange: false }),
    PassedOver: readOnly(
      unsignedInt(),
      "Entries not taken: private, local and group addresses, the home's, the gateway's and the agent's brokers', whole top-level domains, and those beyond 500,000.",
      { valueChange: false },
    ),
    LastUpdate: readOnly(dateTime, "When its content was last fetched, or found to be the newest.", {
      valueChange: false,
    }),
    Creator: readOnly(string({ maxLength: 256 }), "Endpoint id of who made it; empty for the agent."),
  },
  commands: {
    "Refresh()": command("sync", "Fetches it now."),
  },
});

export const listObjects = [SpinList] as const;
