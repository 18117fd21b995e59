/** Who saw what: `AccessLog.{i}.`, and what the resident alone may say of it: GrantSupport(), EraseHistory(). */
import { argument, command, counter, object, readOnly } from "./schema.ts";
import { ROOT } from "./spin-root.ts";
import { macAddress } from "./types.ts";
import { boolean, dateTime, string, unsignedInt } from "./values.ts";

/** A support session is an exception, and one that is forgotten ends by itself. */
export const MAX_SUPPORT_S = 24 * 60 * 60;
/** Of AccessLog.{i}.: what a gateway can well keep, and a person read. */
export const ACCESS_ROWS = 255;

export const SpinAccessLog = object(`${ROOT}AccessLog.{i}.`, {
  description:
    "What remote controllers read of what is secured, wrote and ran. The resident's alone: to others the table is empty. What one controller does again and again is one row. No controller deletes a row; where the table is full, the oldest of the controller with most rows goes, one that is not Secured first.",
  maxRows: ACCESS_ROWS,
  params: {
    Time: readOnly(dateTime, "When it was first done."),
    LastTime: counter(
      dateTime,
      "When it was last done: within an hour after the time before, and a day after the first.",
    ),
    Count: counter(unsignedInt(), "How often it was done."),
    Controller: readOnly(string({ maxLength: 256 }), "Endpoint id of who did it."),
    What: readOnly(string({ maxLength: 256 }), "What was done, in words."),
    Secured: readOnly(boolean, "Whether it showed whom the home talks to."),
  },
});

export const privacyParams = {
  SupportUntil: readOnly(
    dateTime,
    "When the support session ends that the resident granted; unknown time while there is none.",
  ),
};

export const privacyCommands = {
  "GrantSupport()": command(
    "sync",
    "Lets controllers of the role Support see what is secured, and whole packets, for a while, whatever PrivacyLevel is, but Summary. The resident's alone.",
    {
      input: {
        Duration: argument(
          unsignedInt({ max: MAX_SUPPORT_S, units: "seconds" }),
          "How long from now on, whatever was granted before; 0 ends it.",
          { mandatory: true },
        ),
      },
      output: { SupportUntil: argument(dateTime, "When it ends; unknown time where it has ended.") },
    },
  ),
  "EraseHistory()": command(
    "sync",
    "Erases what a device did, in memory and on disk: the flow log, its history, destinations, the names it asked for, its incidents, and captures that are kept. Its row with its counters and all rules stay, and so do names under a domain of a rule. What lives at the moment is kept when it ends. The resident's alone.",
    {
      input: { PhysAddress: argument(macAddress, "Of which device; left out: of the whole home.") },
      output: {
        Devices: argument(unsignedInt(), "Devices of which something may have been kept."),
        Destinations: argument(unsignedInt(), "Destinations erased."),
        Names: argument(unsignedInt(), "Names erased."),
        Incidents: argument(unsignedInt(), "Incidents erased."),
        Captures: argument(unsignedInt(), "Kept captures erased."),
        What: argument(string(), "The same in words."),
      },
    },
  ),
};
