/**
 * Schedules: when rules that name them hold (`Device.X_SPIN.Schedule.{i}.`). A schedule is one slot on some days of the
 * week, by the wall clock of the home; it may last past midnight. A rule that names several holds in each of their slots.
 */
import type { Clock } from "../lib/clock.ts";
import { momentOf, wallTime, type Zone } from "../lib/local-time.ts";

export interface Schedule {
  /** Instance number of the row. */
  readonly id: number;
  readonly enable: boolean;
  /** 0 Sunday … 6 Saturday; none: no slot at all. */
  readonly days: readonly number[];
  /** Minutes after midnight. */
  readonly startMinute: number;
  readonly durationSeconds: number;
  /** Active outside the slots instead. */
  readonly isInverse: boolean;
}

export interface ScheduleState {
  readonly isActive: boolean;
  /** When that changes, in milliseconds since 1970; Infinity: not by itself. */
  readonly until: number;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;
/** 1970-01-01 was a Thursday. */
const FIRST_WEEKDAY = 4;
/** A slot longer than a week would run into itself. */
export const LONGEST_SLOT_SECONDS = 7 * 86_400;
/** No slot that a row can describe begins later than a week from now. */
const DAYS_AHEAD = 8;
/** Before this the clock was never set: a gateway without a battery starts in 1970, or when its firmware was built. */
const CLOCK_IS_SET = Date.UTC(2026, 0, 1);

export class ScheduleBook {
  readonly #clock: Clock;
  readonly #zone: Zone;
  readonly #schedules = new Map<number, Schedule>();
  readonly #states = new Map<number, ScheduleState & { readonly at: number }>();
  readonly #listeners = new Set<() => void>();
  readonly #active = new Map<number, boolean>();
  readonly #activeListeners = new Set<(id: number) => void>();

  constructor(clock: Clock, zone: Zone) {
    this.#clock = clock;
    this.#zone = zone;
  }

  put(schedule: Schedule): void {
    this.#schedules.set(schedule.id, schedule);
    this.#changed(schedule.id);
    if (!this.#active.has(schedule.id)) this.#active.set(schedule.id, this.state(schedule.id)?.isActive === true);
  }

  remove(id: number): void {
    this.#active.delete(id);
    if (this.#schedules.delete(id)) this.#changed(id);
  }

  get(id: number): Schedule | undefined {
    return this.#schedules.get(id);
  }

  get isClockSet(): boolean {
    return this.#clock.now() >= CLOCK_IS_SET;
  }

  /** Called after each change, synchronously. */
  onChange(listener: () => void): void {
    this.#listeners.add(listener);
  }

  /** `undefined` where there is no such schedule. While the clock was never set none is active. */
  state(id: number): ScheduleState | undefined {
    const schedule = this.#schedules.get(id);
    if (!schedule) return undefined;
    const now = this.#clock.now();
    if (now < CLOCK_IS_SET) return { isActive: false, until: CLOCK_IS_SET };
    const known = this.#states.get(id);
    if (known && known.at <= now && now < known.until) return known;
    const state = { ...stateOf(schedule, now, this.#zone), at: now };
    this.#states.set(id, state);
    return state;
  }

  /** Tells which schedules began or ended since the last call. */
  tick(): void {
    for (const id of this.#schedules.keys()) {
      const isActive = this.state(id)?.isActive === true;
      if (this.#active.get(id) === isActive) continue;
      this.#active.set(id, isActive);
      for (const listener of this.#activeListeners) listener(id);
    }
  }

  /** Called when a schedule begins or ends, by the clock or because its row changed. */
  onActiveChange(listener: (id: number) => void): void {
    this.#activeListeners.add(listener);
  }

  #changed(id: number): void {
    this.#states.delete(id);
    for (const listener of this.#listeners) listener();
  }
}

/** Whether the schedule is active at `now`, and until when that stays so. */
export function stateOf(schedule: Schedule, now: number, zone: Zone): ScheduleState {
  if (!schedule.enable) return { isActive: false, until: Infinity };
  const slots = slotsAround(schedule, now, zone);
  const current = slots.find(({ from, to }) => from <= now && now < to);
  const next = slots.find(({ from }) => from > now);
  return {
    isActive: (current !== undefined) !== schedule.isInverse,
    until: current?.to ?? next?.from ?? Infinity,
  };
}

/** The slots from a week ago to a week ahead, in order; those that touch are one. */
function slotsAround({ days, startMinute, durationSeconds }: Schedule, now: number, zone: Zone) {
  const today = Math.floor(wallTime(zone, now) / DAY_MS);
  const slots: { from: number; to: number }[] = [];
  for (let day = today - DAYS_AHEAD; day <= today + DAYS_AHEAD; day++) {
    if (!days.includes((((day + FIRST_WEEKDAY) % 7) + 7) % 7)) continue;
    const from = momentOf(zone, day * DAY_MS + startMinute * MINUTE_MS);
    const to = from + durationSeconds * 1000;
    const last = slots.at(-1);
    if (last && from <= last.to) last.to = Math.max(last.to, to);
    else slots.push({ from, to });
  }
  return slots;
}
