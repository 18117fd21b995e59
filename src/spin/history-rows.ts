/**
 * The histories as rows, newest first: the minutes since the last full hour, the hours before them as far back as they
 * cover whole days, the days before those. So no time is in two rows, and none between two is in none. Intervals in which
 * nothing moved, as far as anybody watched, are left out.
 */
import { printMac } from "../lib/address.ts";
import { SPANS, type History, type Report, type SpanName } from "./history.ts";
import type { Wanted } from "./query.ts";
import type { HistoryRow, HomeDevice } from "./types.ts";

interface Interval {
  readonly span: SpanName;
  /** Among the report's samples. */
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

/** `next`: the last row of a page after which there are more. A cursor's place is the end of its interval. */
export function historyPage(
  history: History,
  devices: readonly HomeDevice[],
  wanted: Wanted,
): { rows: HistoryRow[]; next: { end: number; device: number } | undefined } {
  const rows: HistoryRow[] = [];
  const mine = devices
    .filter(({ mac }) => wanted.mac === undefined || mac === wanted.mac)
    .sort((a, b) => a.number - b.number);
  const reports = new Map<string, Report | undefined>();
  const reportOf = (span: SpanName, device: number) => {
    const key = `${span}${device}`;
    if (!reports.has(key)) reports.set(key, columnsOf(history.report(span, device)));
    return reports.get(key);
  };
  let last: { end: number; device: number } | undefined;
  for (const { span, index, start, end } of intervals(history)) {
    if (end > wanted.before || end < wanted.since || start > wanted.until) continue;
    for (const { number, mac, firstSeen } of mine) {
      if (end === wanted.before && number <= (wanted.detail ?? 0)) continue;
      const report = reportOf(span, number);
      const [sent = 0, received = 0, blocked = 0, suspect = 0] = [
        report?.bytesSent[index],
        report?.bytesReceived[index],
        report?.blockedPackets[index],
        report?.suspect[index],
      ];
      const isKnown = firstSeen < end;
      if (sent === 0 && received === 0 && blocked === 0 && !(suspect === 1 && isKnown)) continue;
      if (rows.length === wanted.limit) return { rows, next: last };
      last = { end, device: number };
      rows.push({
        Start: start,
        End: end,
        PhysAddress: printMac(mac),
        BytesSent: sent,
        BytesReceived: received,
        BlockedPackets: blocked,
        SuspectData: suspect === 1,
      });
    }
  }
  return { rows, next: undefined };
}

/** The lists are made when they are read: once is enough. */
function columnsOf(report: Report | undefined): Report | undefined {
  if (!report) return undefined;
  const { bytesSent, bytesReceived, blockedPackets, suspect } = report;
  return { bytesSent, bytesReceived, blockedPackets, suspect };
}

function* intervals(history: History): IterableIterator<Interval> {
  const lastHour = history.end("Hour");
  const hours = SPANS.Hour.samples * SPANS.Hour.seconds * 1000;
  const day = SPANS.Day.seconds * 1000;
  const firstHour = Math.ceil((lastHour - hours) / day) * day;
  yield* of(history, "Minute", lastHour, Infinity);
  yield* of(history, "Hour", firstHour, lastHour);
  yield* of(history, "Day", -Infinity, firstHour);
}

function* of(history: History, span: SpanName, from: number, to: number): IterableIterator<Interval> {
  const length = SPANS[span].seconds * 1000;
  const { samples } = SPANS[span];
  for (let back = 0; back < samples; back++) {
    const end = history.end(span) - back * length;
    if (end <= to && end - length >= from) yield { span, index: samples - 1 - back, start: end - length, end };
  }
}
