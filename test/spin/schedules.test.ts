import { ManualClock } from "../../src/lib/clock.ts";
import { namedZone, type Zone } from "../../src/lib/local-time.ts";
import { ScheduleBook, stateOf, type Schedule } from "../../src/spin/schedules.ts";

const amsterdam = namedZone("Europe/Amsterdam") as Zone;
const EVERY_DAY = [0, 1, 2, 3, 4, 5, 6];
const HOUR = 3600;

function schedule(fields: Partial<Schedule>): Schedule {
  return { id: 1, enable: true, days: EVERY_DAY, startMinute: 0, durationSeconds: HOUR, isInverse: false, ...fields };
}

/** `active until …`, by UTC. */
function at(moment: string, fields: Partial<Schedule>): string {
  const { isActive, until } = stateOf(schedule(fields), Date.parse(moment), amsterdam);
  const end = until === Infinity ? "for good" : `until ${new Date(until).toISOString().slice(0, 16)}`;
  return `${isActive ? "active" : "not"} ${end}`;
}

// Monday 12 January 2026; the wall is an hour ahead of UTC.
test.each([
  ["before a slot", "2026-01-12T19:59:59Z", { startMinute: 21 * 60 }, "not until 2026-01-12T20:00"],
  ["at its first moment", "2026-01-12T20:00:00Z", { startMinute: 21 * 60 }, "active until 2026-01-12T21:00"],
  ["at its end", "2026-01-12T21:00:00Z", { startMinute: 21 * 60 }, "not until 2026-01-13T20:00"],
  [
    "past midnight, on a day that is not its own",
    "2026-01-13T01:00:00Z",
    { days: [1], startMinute: 22 * 60, durationSeconds: 9 * HOUR },
    "active until 2026-01-13T06:00",
  ],
  [
    "on a day without a slot",
    "2026-01-14T12:00:00Z",
    { days: [1], startMinute: 22 * 60 },
    "not until 2026-01-19T21:00",
  ],
  [
    "a slot of a week, in which the next begins",
    "2026-01-14T12:00:00Z",
    { days: [1], durationSeconds: 168 * HOUR },
    "active until 2026-01-25T23:00",
  ],
  [
    "inverse, outside",
    "2026-01-12T19:00:00Z",
    { startMinute: 21 * 60, isInverse: true },
    "active until 2026-01-12T20:00",
  ],
  ["inverse, inside", "2026-01-12T20:30:00Z", { startMinute: 21 * 60, isInverse: true }, "not until 2026-01-12T21:00"],
  ["no day", "2026-01-12T20:30:00Z", { days: [] }, "not for good"],
  ["not enabled", "2026-01-12T23:30:00Z", { enable: false }, "not for good"],
  ["not enabled and inverse", "2026-01-12T20:30:00Z", { enable: false, isInverse: true }, "not for good"],
])("%s", (_, moment, fields, expected) => {
  expect(at(moment, fields)).toBe(expected);
});

test.each([
  // 29 March 2026: 02:00 becomes 03:00. A night of nine hours is one of clock time less on the wall, not on the clock.
  ["a night in which summer time begins", "2026-03-28T22:00:00Z", "active until 2026-03-29T06:00"],
  ["a night in which it ends", "2026-10-24T21:00:00Z", "active until 2026-10-25T05:00"],
])("%s", (_, moment, expected) => {
  expect(at(moment, { startMinute: 22 * 60, durationSeconds: 9 * HOUR })).toBe(expected);
});

test("summer time moves the slot with the wall", () => {
  expect(at("2026-03-27T12:00:00Z", { startMinute: 20 * 60 })).toBe("not until 2026-03-27T19:00");
  expect(at("2026-03-29T12:00:00Z", { startMinute: 20 * 60 })).toBe("not until 2026-03-29T18:00");
});

test("a whole year has each slot once", () => {
  const evening = schedule({ startMinute: 21 * 60 });
  let slots = 0;
  let now = Date.UTC(2026, 0, 1);
  for (let step = 0; step < 1000 && now < Date.UTC(2027, 0, 1); step++) {
    const { isActive, until } = stateOf(evening, now, amsterdam);
    if (isActive) {
      slots++;
      expect(until - now).toBe(HOUR * 1000);
    }
    now = until;
  }
  expect(slots).toBe(365);
});

describe("the book", () => {
  test("follows a clock that is set forward and back", () => {
    const clock = { time: Date.UTC(2026, 0, 12, 12), now: () => clock.time, monotonic: () => 0 };
    const book = new ScheduleBook(clock, amsterdam);
    book.put(schedule({ startMinute: 21 * 60 }));
    expect(book.state(1)?.isActive).toBe(false);
    clock.time = Date.UTC(2026, 0, 12, 20, 30);
    expect(book.state(1)?.isActive).toBe(true);
    clock.time = Date.UTC(2026, 0, 12, 12);
    expect(book.state(1)?.isActive).toBe(false);
  });

  test("has nothing active while the clock was never set", () => {
    const clock = new ManualClock(Date.UTC(1970, 0, 1, 20, 30));
    const book = new ScheduleBook(clock, amsterdam);
    book.put(schedule({ durationSeconds: 24 * HOUR }));
    expect(book.state(1)).toEqual({ isActive: false, until: Date.UTC(2026, 0, 1) });
  });

  test("tells what began and ended", () => {
    const clock = new ManualClock(Date.UTC(2026, 0, 12, 12));
    const book = new ScheduleBook(clock, amsterdam);
    const told: number[] = [];
    book.onActiveChange((id) => told.push(id));
    book.put(schedule({ id: 7, startMinute: 21 * 60 }));
    book.tick();
    expect(told).toEqual([]);
    clock.moveTo(Date.UTC(2026, 0, 12, 20));
    book.tick();
    book.tick();
    expect(told).toEqual([7]);
    clock.moveTo(Date.UTC(2026, 0, 12, 21));
    book.tick();
    expect(told).toEqual([7, 7]);
  });
});
