/** `History.` of each device and of the home: what was moved, minute by minute, hour by hour and day by day. */
import { object, readOnly, type Param } from "./schema.ts";
import { ROOT } from "./spin-root.ts";
import { dateTime, list, unsignedInt, unsignedLong, type ValueType } from "./values.ts";

/** Numbers need no escapes, and there are many of them. */
const numbers = (item: ValueType<number>, maxItems: number): ValueType<readonly number[]> => ({
  ...list(item, { maxItems, maxLength: 4095 }),
  print: (values) => values.join(","),
});

/** A value that grows while it is read: it never notifies. */
const silent = <T>(type: ValueType<T>, description: string): Param<T, "readOnly"> =>
  readOnly(type, description, { valueChange: false });

const span = (path: string, what: string, samples: number, ends: string) =>
  object(path, {
    description: `The last ${samples} ${what}s that are over, ends by the UTC clock: ${ends}. Each list has ${samples} values, the oldest first. Exact to within Capture.CounterInterval at the ends.`,
    params: {
      SampleInterval: silent(unsignedInt({ units: "seconds" }), `Length of a ${what}.`),
      ReportEndTime: silent(dateTime, "When the last sample ended."),
      BytesSent: silent(numbers(unsignedLong(), samples), "Towards the Internet, IP header included."),
      BytesReceived: silent(numbers(unsignedLong(), samples), "From the Internet, IP header included."),
      BlockedPackets: silent(numbers(unsignedLong(), samples), "Packets dropped or rejected by rules."),
      SuspectData: silent(
        numbers(unsignedInt({ max: 1 }), samples),
        "1 where the values are not the whole truth: more than a tenth of the time was not watched (the agent was not running, capture was off, the clock was set), or the device was not known yet; what was not seen is 0.",
      ),
    },
  });

const history = (parent: string, whose: string) => {
  const path = `${ROOT}${parent}.History.`;
  return {
    History: object(path, {
      description: `What ${whose} moved, over time. It survives a restart; after a crash, the last minutes may be missing.`,
    }),
    Minute: span(`${path}Minute.`, "minute", 60, "whole minutes"),
    Hour: span(`${path}Hour.`, "hour", 48, "whole hours"),
    Day: span(`${path}Day.`, "day", 35, "midnight UTC, whatever the time of the place"),
  };
};

export const SpinDeviceHistory = history("Device.{i}", "the device");
export const SpinSummaryHistory = history("Summary", "the home");

export const historyObjects = [...Object.values(SpinDeviceHistory), ...Object.values(SpinSummaryHistory)] as const;
