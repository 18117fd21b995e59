/** What the agent says that it saw and missed. */
import { eventually } from "../../test/support/eventually.ts";
import type { Operator } from "../../test/support/operator.ts";

export interface CaptureCounters {
  readonly eventsLost: number;
  readonly resyncs: number;
}

export async function captureCounters(operator: Operator): Promise<CaptureCounters> {
  const values = await operator.get("Device.X_SPIN.Capture.");
  const of = (name: string) => Number(values.get(`Device.X_SPIN.Capture.${name}`) ?? NaN);
  return { eventsLost: of("EventsLost"), resyncs: of("Resyncs") };
}

/** The device's FlowsOpened once it stands at `atLeast`, or as it stands when it has not moved for a while. */
export async function flowsOpened(
  operator: Operator,
  mac: string,
  atLeast: number,
  timeoutMs = 20_000,
): Promise<number> {
  const read = async () => (await operator.stats(mac)).FlowsOpened ?? 0;
  return eventually(read, (n) => n >= atLeast, { everyMs: 500, timeoutMs }).catch(read);
}
