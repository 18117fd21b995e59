/** The home's time zone, by which schedules go. */
import { readFileSync, statSync } from "node:fs";
import { namedZone, systemZone, type Zone } from "../lib/local-time.ts";
import type { Log } from "../lib/log.ts";
import { parseUci, UciError } from "../lib/uci.ts";

/** OpenWrt keeps there what its clock shows; Node can't read the form in which it stands in `TZ` there. */
const SYSTEM_FILE = "/etc/config/system";
const FILE_LIMIT = 64 * 1024;

/** @param name Of the configuration; empty: from OpenWrt's, else the process's own. */
export function homeZone(name: string, log: Log, systemFile = SYSTEM_FILE): Zone {
  const wanted = name || zoneOf(systemFile);
  if (wanted === undefined || wanted === "") return systemZone;
  const zone = namedZone(wanted);
  if (zone) return zone;
  log.warn(`the time zone ${JSON.stringify(wanted)} is not known here: schedules go by the process's own`);
  return systemZone;
}

function zoneOf(path: string): string | undefined {
  try {
    if (statSync(path).size > FILE_LIMIT) return undefined;
    const system = parseUci(readFileSync(path, "utf8")).find(({ type }) => type === "system");
    // LuCI writes `America/New York`.
    return system?.options.get("zonename")?.values[0]?.replaceAll(" ", "_");
  } catch (error) {
    if (error instanceof UciError || (error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw error;
  }
}
