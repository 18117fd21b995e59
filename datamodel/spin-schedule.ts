/** `Device.X_SPIN.Schedule.{i}.`: when rules hold. The parameters are those of TR-181's `Device.Schedules.Schedule.{i}.`. */
import { object, readOnly, readWrite, writeOnce } from "./schema.ts";
import { ROOT } from "./spin-root.ts";
import { alias, boolean, enumeration, list, string, unsignedInt } from "./values.ts";

export const WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;

const SpinSchedule = object(`${ROOT}Schedule.{i}.`, {
  description:
    "One slot on some days of the week, by the home's wall clock. A rule that names several schedules holds in each of their slots.",
  keys: [["Alias"]],
  functionalKeys: [["Creator", "Enable", "Day", "StartTime", "Duration", "InverseMode"]],
  rows: "add-delete",
  maxRows: 100,
  params: {
    Alias: writeOnce(alias, "Alias of the row."),
    Enable: readWrite(boolean, "Whether it is followed; one that is not is never active.", { default: false }),
    Status: readOnly(
      enumeration("Active", "Inactive", "StackDisabled", "Error"),
      "Error: it names no day or no time, or the gateway's clock was never set.",
    ),
    Description: readWrite(string({ maxLength: 256 }), "What it is for."),
    Day: readWrite(
      list(enumeration(...WEEKDAYS), { maxItems: 7, isSet: true }),
      "Days on which the slot begins. Empty: none.",
    ),
    StartTime: readWrite(
      string({ maxLength: 5, pattern: "(([01][0-9]|2[0-3]):[0-5][0-9])?" }),
      "When the slot begins, HH:MM by the home's wall clock. Where summer time leaves it out, an hour later; where it comes twice, the first time.",
    ),
    Duration: readWrite(
      unsignedInt({ min: 1, max: 604_800, units: "seconds" }),
      "How long the slot lasts; past midnight, if need be.",
      { default: 3600 },
    ),
    InverseMode: readWrite(boolean, "Active outside the slots instead.", { default: false }),
    TimeLeft: readOnly(
      unsignedInt({ units: "seconds" }),
      "How long it stays active; 0 where it is not, or is so for good.",
      { valueChange: false },
    ),
    Creator: readOnly(string({ maxLength: 256 }), "Endpoint id of who made it; empty for the agent."),
  },
});

export const scheduleObjects = [SpinSchedule] as const;
export { SpinSchedule };
