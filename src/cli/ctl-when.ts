/** `--when "mon-fri 21:00-07:00, sat-sun 23:00-08:00"`: slots of the week, and the schedules that say them. */
import { WEEKDAYS } from "../../datamodel/spin-schedule.ts";
import { ROOT } from "../../datamodel/spin.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import type { WordContext } from "./ctl-io.ts";
import { UsageError } from "./ctl-options.ts";

interface Slot {
  /** As in WEEKDAYS, in its order. */
  readonly days: readonly string[];
  /** HH:MM */
  readonly start: string;
  readonly seconds: number;
}

const SCHEDULES = `${ROOT}Schedule.`;
const DAY_SECONDS = 86_400;

/** @throws UsageError */
export function parseSlots(when: string): Slot[] {
  const slots: Slot[] = [];
  const named = new Set<string>();
  for (const part of when.split(",").map((each) => each.trim().toLowerCase())) {
    const [, days, from, to] = /^([a-z]{3,9}(?:-[a-z]{3,9})?)?\s*(?:(\d{1,2}:\d\d)-(\d{1,2}:\d\d))?$/.exec(part) ?? [];
    if (part === "" || (days === undefined && from === undefined)) throw wrong(when);
    for (const day of days === undefined ? [] : daysIn(days, when)) named.add(day);
    if (from === undefined || to === undefined) continue;
    const [start, end] = [secondsOf(from, when), secondsOf(to, when)];
    slots.push({
      days: WEEKDAYS.filter((day) => named.size === 0 || named.has(day)),
      start: from.padStart(5, "0"),
      seconds: end > start ? end - start : end - start + DAY_SECONDS,
    });
    named.clear();
  }
  if (slots.length === 0 || named.size > 0) throw wrong(when);
  return slots;
}

/** Schedules that say these slots, ours where there are some: paths without final dot. */
export async function schedulesFor({ controller }: WordContext, slots: readonly Slot[]): Promise<string[]> {
  const paths: string[] = [];
  for (const { days, start, seconds } of slots) {
    const values = { Enable: "true", Day: days.join(","), StartTime: start, Duration: String(seconds) };
    const path = await controller.create(SCHEDULES, values).catch((error: unknown) => {
      // The agent knows which are ours, also where it knows us by another name.
      const same = error instanceof UspError && /Device\.X_SPIN\.Schedule\.\d+/.exec(error.message)?.[0];
      if (!same || error.code !== UspErrorCode.DuplicateUniqueKey) throw error;
      return same;
    });
    paths.push(path.replace(/\.$/, ""));
  }
  return paths;
}

/** `fri` or `fri-mon`. */
function daysIn(days: string, when: string): string[] {
  const [first, last] = days.split("-").map((name) => {
    const at = WEEKDAYS.findIndex((day) => day.toLowerCase().startsWith(name));
    if (at < 0) throw wrong(when);
    return at;
  });
  const list: string[] = [];
  for (let at = first as number; list.length < 7; at = (at + 1) % 7) {
    list.push(WEEKDAYS[at] as string);
    if (at === (last ?? first)) break;
  }
  return list;
}

function secondsOf(time: string, when: string): number {
  const [hour, minute] = time.split(":").map(Number) as [number, number];
  // An end at midnight may be written as 24:00.
  if (hour > 24 || minute > 59 || (hour === 24 && minute > 0)) throw wrong(when);
  return hour * 3600 + minute * 60;
}

function wrong(when: string): UsageError {
  return new UsageError(
    `--when ${JSON.stringify(when)}: is no time of the week, as "21:00-07:00" and "mon-fri 8:00-12:30, sat 10:00-24:00" are`,
  );
}
