/** `History.` of `Device.X_SPIN.Device.{i}.` and of `Device.X_SPIN.Summary.`. */
import { SpinDeviceHistory, SpinSummaryHistory } from "../../datamodel/spin-history.ts";
import { bind } from "../model/binding.ts";
import type { Implementation } from "../model/implementation.ts";
import { SPANS, type History, type SpanName } from "../spin/history.ts";
import type { HomeDevice } from "../spin/types.ts";
import type { SpinParts } from "./home.ts";

export function spinHistoryObjects({ home }: Pick<SpinParts, "home">): Implementation[] {
  return [
    ...objects(SpinDeviceHistory, home.history, (device: HomeDevice) => device.number),
    ...objects(SpinSummaryHistory, home.history, () => undefined),
  ];
}

/** @param deviceOf Instance number of the device whose row it is; `undefined`: the home. */
function objects<R>(
  schemas: typeof SpinDeviceHistory,
  history: History,
  deviceOf: (row: R) => number | undefined,
): Implementation[] {
  const span = (name: SpanName) =>
    bind(schemas[name], {
      of: (row: R) => () => history.report(name, deviceOf(row)),
      get: {
        SampleInterval: () => SPANS[name].seconds,
        ReportEndTime: () => history.end(name),
        BytesSent: (report) => report()?.bytesSent ?? [],
        BytesReceived: (report) => report()?.bytesReceived ?? [],
        BlockedPackets: (report) => report()?.blockedPackets ?? [],
        SuspectData: (report) => report()?.suspect ?? [],
      },
    });
  return [bind(schemas.History, { get: {} }), span("Minute"), span("Hour"), span("Day")];
}
