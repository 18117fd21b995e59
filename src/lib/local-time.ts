/** Wall-clock time: which moment a clock on the wall shows 22:00, through changes to and from summer time. */

export interface Zone {
  /** Milliseconds that the wall is ahead of UTC at that moment (milliseconds since 1970). */
  offsetMs(time: number): number;
}

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** That of the process: `TZ`, else /etc/localtime. */
export const systemZone: Zone = { offsetMs: (time) => -new Date(time).getTimezoneOffset() * MINUTE_MS };

/** By its name in the IANA database, such as `Europe/Amsterdam`; `undefined` where this Node does not know it. */
export function namedZone(name: string): Zone | undefined {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: name,
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch {
    return undefined;
  }
  return {
    offsetMs: (time) => {
      const parts = new Map(format.formatToParts(time).map(({ type, value }) => [type, Number(value)]));
      const of = (type: Intl.DateTimeFormatPartTypes) => parts.get(type) ?? 0;
      const wall = Date.UTC(of("year"), of("month") - 1, of("day"), of("hour"), of("minute"), of("second"));
      return wall - Math.floor(time / 1000) * 1000;
    },
  };
}

/** What the wall shows, counted as if it were UTC. */
export function wallTime(zone: Zone, time: number): number {
  return time + zone.offsetMs(time);
}

/**
 * The moment at which the wall shows `wall` (counted as if it were UTC): the first of two where an hour comes twice; where
 * it is left out, as much later as was left out.
 */
export function momentOf(zone: Zone, wall: number): number {
  const before = wall - zone.offsetMs(wall - DAY_MS);
  const after = wall - zone.offsetMs(wall + DAY_MS);
  const shown = [before, after].filter((time) => wallTime(zone, time) === wall);
  return shown.length > 0 ? Math.min(...shown) : before;
}
