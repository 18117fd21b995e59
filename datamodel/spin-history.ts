/** `History.` of each device and of the home: what was moved, minute by minute, hour by hour and day by day. */
import { counter, object } from "./schema.ts";
import { ROOT } from "./spin-root.ts";
import { dateTime, list, unsignedInt, unsignedLong, type ValueType } from "./values.ts";

/** Numbers need no escapes, and there are many of them. */
const numbers = (item: ValueType<number>, maxItems: number): ValueType<readonly number[]> => ({
  ...list(item, { maxItems, maxLength: 4095 }),
  print: (values) => values.join(","),
});

const span = (path: string, samples: number) =>
  object(path, {
    description: `Intervals that are over: ${samples} values in each list, the oldest first. They end at whole minutes, whole hours or midnight by the UTC clock, whatever the time of the place. Exact to within Capture.CounterInterval at the ends.`,
    params: {
      SampleInterval: counter(unsignedInt({ units: "seconds" }), "Length of an interval."),
      ReportEndTime: counter(dateTime, "When the last sample ended."),
      BytesSent: counter(numbers(unsignedLong(), samples), "Towards the Internet, IP header included."),
      BytesReceived: counter(numbers(unsignedLong(), samples), "From the Internet, IP header included."),
      BlockedPackets: counter(numbers(unsignedLong(), samples), "Packets dropped or rejected by rules."),
      SuspectData: counter(
        numbers(unsignedInt({ max: 1 }), samples),
        "1 where the values are not the whole truth: more than a tenth of the time was not watched (the agent was not running, capture was off, the clock was set), or the device was not known yet; what was not seen is 0.",
      ),
    },
  });

const history = (parent: string) => {
  const path = `${ROOT}${parent}.History.`;
  return {
    History: object(path, {
      description: "What was moved, over time. It survives a restart; after a crash, the last minutes may be missing.",
    }),
    Minute: span(`${path}Minute.`, 60),
    Hour: span(`${path}Hour.`, 48),
    Day: span(`${path}Day.`, 35),
  };
};

export const SpinDeviceHistory = history("Device.{i}");
export const SpinSummaryHistory = history("Summary");

export const historyObjects = [...Object.values(SpinDeviceHistory), ...Object.values(SpinSummaryHistory)] as const;
