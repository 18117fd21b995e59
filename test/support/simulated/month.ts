/** Days of a household through SPIN with all detectors, with what goes wrong in a home: the incidents that came of it. */
import type { Incident } from "../../../src/spin/detect/incidents.ts";
import { DAY, HOUR, MINUTE, SECOND, SimulatedHome } from "./home.ts";
import { Household } from "./household.ts";

/** The week in which Europe's clocks go forward. */
const START = Date.UTC(2026, 2, 25);

export interface SimulatedDays {
  readonly home: SimulatedHome;
  readonly incidents: readonly Incident[];
  /** What was not Info, in words. */
  readonly alarms: readonly string[];
}

export async function simulate(days: number, seed = 1): Promise<SimulatedDays> {
  const home = new SimulatedHome({ start: START, seed });
  const family = new Household(home);
  for (let day = 0; day < days; day++) {
    trouble(home, family, day);
    // Routers start again at night, after an update: without a clock of their own, until they hear the time.
    home.run(DAY / 8);
    if (day % 7 === 5) await restart(home);
    home.run((DAY * 7) / 8);
  }
  const incidents = home.incidents();
  const alarms = incidents
    .filter(({ severity }) => severity !== "Info")
    .map((incident) => {
      const at = new Date(incident.firstTime).toISOString();
      const { type, severity, summary, peers } = incident;
      return `${at} ${home.deviceOf(incident)} ${type} ${severity}: ${summary} (${peers.slice(0, 3).join(", ")})`;
    });
  return { home, incidents, alarms };
}

function trouble(home: SimulatedHome, family: Household, day: number): void {
  const { random } = home;
  // The line goes for a minute, in the evening for twenty, on some day for five hours.
  outage(home, random.between(0, 24) * HOUR * 0.9, MINUTE);
  if (day % 2 === 0) outage(home, 19 * HOUR + random.between(0, 90) * MINUTE, 20 * MINUTE);
  if (day % 7 === 3) outage(home, 15 * HOUR, 5 * HOUR);
  // It comes and goes.
  if (day % 7 === 4)
    for (let k = 0; k < 20; k++) outage(home, 20 * HOUR + k * 40 * SECOND, random.between(5, 25) * SECOND);
  if (day % 3 === 1) {
    home.after(18 * HOUR, () => (home.hasNames = false));
    home.after(18 * HOUR + 25 * MINUTE, () => (home.hasNames = true));
  }
  if (day === 4) home.after(HOUR, () => (family.shiftMs = HOUR));
  // A clock that was wrong is set.
  if (day % 7 === 2) home.after(20.5 * HOUR, () => home.clock.setWall(home.clock.now() - 90 * MINUTE));
  if (day % 7 === 2) home.after(22 * HOUR, () => home.clock.setWall(home.clock.now() + 90 * MINUTE));
}

function outage(home: SimulatedHome, from: number, ms: number): void {
  home.after(from, () => (home.isOnline = false));
  home.after(from + ms, () => (home.isOnline = true));
}

async function restart(home: SimulatedHome): Promise<void> {
  const wall = home.clock.now();
  home.clock.setWall(Date.UTC(2024, 0, 1));
  await home.reboot();
  home.isOnline = false;
  home.run(40 * SECOND);
  home.isOnline = true;
  home.run(20 * SECOND);
  home.clock.setWall(wall + MINUTE);
}
