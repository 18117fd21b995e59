import { UsageError } from "../../src/cli/ctl-options.ts";
import { parseSlots } from "../../src/cli/ctl-when.ts";

const say = (when: string) =>
  parseSlots(when).map(
    ({ days, start, seconds }) => `${days.map((day) => day.slice(0, 2)).join("")} ${start}+${seconds / 60}`,
  );

test.each([
  ["21:00-07:00", ["MoTuWeThFrSaSu 21:00+600"]],
  ["8:30-12:00", ["MoTuWeThFrSaSu 08:30+210"]],
  ["mon-fri 8:00-15:00", ["MoTuWeThFr 08:00+420"]],
  ["Fri-Mon 20:00-24:00", ["MoFrSaSu 20:00+240"]],
  ["sat, sun 10:00-12:00", ["SaSu 10:00+120"]],
  ["wednesday 0:00-24:00", ["We 00:00+1440"]],
  ["sun-thu 21:00-7:00, fri-sat 23:00-8:00", ["MoTuWeThSu 21:00+600", "FrSa 23:00+540"]],
  ["21:00-21:00", ["MoTuWeThFrSaSu 21:00+1440"]],
])("%s", (when, slots) => {
  expect(say(when)).toEqual(slots);
});

test.each([
  "",
  "night",
  "mon",
  "25:00-26:00",
  "21:00",
  "21:60-22:00",
  "24:30-1:00",
  "mo 1:00-2:00",
  "mon- 1:00-2:00",
  "1:00-2:00,",
  "1:00-2:00 mon",
])("%j is no time of the week", (when) => {
  expect(() => parseSlots(when)).toThrow(UsageError);
});
