import { momentOf, namedZone, wallTime } from "../../src/lib/local-time.ts";

const amsterdam = namedZone("Europe/Amsterdam");
if (!amsterdam) throw new Error("this Node has no time zones");

test("an unknown zone is none", () => {
  expect(namedZone("Mars/Olympus")).toBeUndefined();
  expect(namedZone("../etc/passwd")).toBeUndefined();
});

test.each([
  ["2026-01-10T12:00:00Z", "2026-01-10T13:00:00Z"],
  ["2026-07-10T12:00:00Z", "2026-07-10T14:00:00Z"],
])("at %s the wall shows %s", (moment, wall) => {
  expect(new Date(wallTime(amsterdam, Date.parse(moment))).toISOString()).toBe(wall.replace("Z", ".000Z"));
});

test.each([
  ["22:00 in winter", "2026-01-10T22:00:00Z", "2026-01-10T21:00:00Z"],
  ["22:00 in summer", "2026-07-10T22:00:00Z", "2026-07-10T20:00:00Z"],
  ["02:30 of the day that leaves it out: an hour later, 03:30", "2026-03-29T02:30:00Z", "2026-03-29T01:30:00Z"],
  ["02:30 of the day that has it twice: the first", "2026-10-25T02:30:00Z", "2026-10-25T00:30:00Z"],
  ["03:00 after it came twice", "2026-10-25T03:00:00Z", "2026-10-25T02:00:00Z"],
])("the wall shows %s", (_, wall, moment) => {
  expect(new Date(momentOf(amsterdam, Date.parse(wall))).toISOString()).toBe(moment.replace("Z", ".000Z"));
});

test("half an hour off, and the date line", () => {
  const [kolkata, kiritimati] = ["Asia/Kolkata", "Pacific/Kiritimati"].map(namedZone);
  expect(kolkata?.offsetMs(0)).toBe(5.5 * 3_600_000);
  expect(kiritimati?.offsetMs(Date.UTC(2026, 0, 1))).toBe(14 * 3_600_000);
});
