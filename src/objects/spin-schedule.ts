/** `Device.X_SPIN.Schedule.{i}.`: rows that controllers own; when they are active is the ScheduleBook's to say. */
import { ROOT } from "../../datamodel/spin.ts";
import type { Values } from "../../datamodel/schema.ts";
import { SpinSchedule, WEEKDAYS } from "../../datamodel/spin-schedule.ts";
import type { Implementation } from "../model/implementation.ts";
import { table, type StoredRow } from "../model/table.ts";
import type { Tree } from "../model/tree.ts";
import type { Schedule, ScheduleBook } from "../spin/schedules.ts";
import type { SpinParts } from "./home.ts";

export const SCHEDULE_TABLE = `${ROOT}Schedule.`;

type ScheduleRow = StoredRow<Values<(typeof SpinSchedule)["params"]>>;

export function spinSchedule({ home, persistence, undo }: SpinParts): Implementation {
  const { schedules } = home;
  return table(SpinSchedule, {
    persistence,
    initial: (caller) => ({ Creator: caller.endpointId }),
    computed: {
      Status: (row) => statusOf(row, schedules),
      TimeLeft: ({ instance }) => {
        const state = schedules.state(instance);
        if (!state?.isActive || state.until === Infinity) return 0;
        return Math.max(0, Math.ceil((state.until - home.now()) / 1000));
      },
    },
    committed: (change) => {
      const { kind, row } = change;
      undo.record(SCHEDULE_TABLE, change);
      if (kind === "removed") schedules.remove(row.instance);
      else schedules.put(toSchedule(row));
    },
  });
}

/** Rows that were kept over a restart, into the book; before the rules that name them. */
export function restoreSchedules(tree: Tree, { schedules }: SpinParts["home"]): void {
  const object = tree.object(SCHEDULE_TABLE);
  for (const { row } of object ? tree.all(object) : []) schedules.put(toSchedule(row as ScheduleRow));
}

/** Pushes Status as it changes by the clock. */
export function tellSchedules(tree: Tree, { schedules }: SpinParts["home"]): void {
  schedules.onActiveChange((id) => tree.changes.value(`${SCHEDULE_TABLE}${id}.`, "Status"));
}

function statusOf({ instance, values }: ScheduleRow, schedules: ScheduleBook) {
  if (!values.Enable) return "Inactive";
  if (values.Day.length === 0 || values.StartTime === "" || !schedules.isClockSet) return "Error";
  return schedules.state(instance)?.isActive === true ? "Active" : "Inactive";
}

function toSchedule({ instance, values }: ScheduleRow): Schedule {
  const [hour, minute] = values.StartTime.split(":").map(Number);
  const isWhole = hour !== undefined && minute !== undefined && values.Day.length > 0;
  return {
    id: instance,
    // A slot that isn't described never comes, nor does the time outside of it.
    enable: values.Enable && isWhole,
    days: values.Day.map((day) => (WEEKDAYS.indexOf(day) + 1) % 7),
    startMinute: (hour ?? 0) * 60 + (minute ?? 0),
    durationSeconds: values.Duration,
    isInverse: values.InverseMode,
  };
}
