/**
 * Findings of detectors become incidents: what belongs together is one, told when it begins and when it is over. A ring of
 * a hundred in which no device can push the others' out.
 */
import type { Finding, IncidentType, Severity } from "./finding.ts";
import { INCIDENT_TYPES, SEVERITIES } from "./finding.ts";

export const INCIDENT_STATES = ["Open", "Acknowledged", "Closed"] as const;
export type IncidentState = (typeof INCIDENT_STATES)[number];

export interface Incident {
  /** Instance number; never reused, survives restarts. */
  readonly number: number;
  readonly type: IncidentType;
  readonly mac: number;
  severity: Severity;
  /** Milliseconds since 1970. */
  readonly firstTime: number;
  lastTime: number;
  /** Findings in it. */
  count: number;
  /** The largest measured, and what it was measured against. */
  measured: number;
  threshold: number;
  windowMs: number;
  summary: string;
  /** Addresses, ports, names, newest last: secured in the model. */
  peers: readonly string[];
  /** In words; empty if nothing was done. */
  actionTaken: string;
  /** Number of the rule that was made; 0: none. */
  rule: number;
  state: IncidentState;
}

export type IncidentNotice =
  | { readonly kind: "opened"; readonly incident: Incident; readonly suppressed: number }
  | { readonly kind: "changed"; readonly incident: Incident }
  | { readonly kind: "closed"; readonly incident: Incident }
  | { readonly kind: "removed"; readonly incident: Incident };

export interface IncidentsOptions {
  readonly limit: number;
  readonly notify: (notice: IncidentNotice) => void;
}

/** Findings of one type and device this close together are one incident; quiet for so long, it is over. */
const QUIET_MS = 15 * 60_000;
const PEERS = 16;
/** More are opened than told in a minute; how many were not told, the next one says. */
const TOLD_PER_MINUTE = 10;
/** Of a full ring no device may fill more than a fifth. */
const SHARE = 5;

export class Incidents {
  readonly #options: IncidentsOptions;
  readonly #rows: Incident[] = [];
  nextNumber = 1;
  #told = 0;
  #minute = -Infinity;
  #suppressed = 0;

  constructor(options: IncidentsOptions) {
    this.#options = options;
  }

  /** In the order of their numbers. */
  all(): readonly Incident[] {
    return this.#rows;
  }

  at(number: number): Incident | undefined {
    return this.#rows.find((incident) => incident.number === number);
  }

  get openCount(): number {
    return this.#rows.reduce((open, { state }) => open + Number(state !== "Closed"), 0);
  }

  /** Takes a finding of the device; gives its incident, and whether it is a new one. */
  report(finding: Finding, mac: number): { readonly incident: Incident; readonly isNew: boolean } {
    const known = this.#rows.findLast(
      ({ type, mac: whose, state, lastTime }) =>
        type === finding.type && whose === mac && state !== "Closed" && finding.time - lastTime < QUIET_MS,
    );
    if (!known) return { incident: this.#open(finding, mac), isNew: true };
    known.count++;
    known.lastTime = Math.max(known.lastTime, finding.time);
    known.peers = [...new Set([...known.peers, ...finding.peers])].slice(-PEERS);
    const isWorse = SEVERITIES.indexOf(finding.severity) > SEVERITIES.indexOf(known.severity);
    if (isWorse) known.severity = finding.severity;
    if (finding.measured > known.measured || isWorse) {
      known.measured = finding.measured;
      known.threshold = finding.threshold;
      known.windowMs = finding.windowMs;
      known.summary = finding.summary;
    }
    this.#options.notify({ kind: "changed", incident: known });
    return { incident: known, isNew: false };
  }

  /** @returns whether there is such an incident */
  setState(number: number, state: IncidentState): boolean {
    const incident = this.at(number);
    if (!incident) return false;
    if (incident.state === state) return true;
    incident.state = state;
    this.#options.notify({ kind: state === "Closed" ? "closed" : "changed", incident });
    return true;
  }

  /** What was done about it, and by which rule. */
  acted(incident: Incident, action: string, rule: number): void {
    incident.actionTaken = action;
    incident.rule = rule;
    this.#options.notify({ kind: "changed", incident });
  }

  /** Ends what has been quiet. @param time milliseconds since 1970 */
  tick(time: number): void {
    for (const incident of this.#rows)
      if (incident.state !== "Closed" && time - incident.lastTime >= QUIET_MS) this.setState(incident.number, "Closed");
  }

  /** Forgets a device's. @returns how many those were */
  forget(mac: number): number {
    const own = this.#rows.filter((each) => each.mac === mac);
    for (const incident of own) this.#remove(incident);
    return own.length;
  }

  save(): unknown {
    return { next: this.nextNumber, rows: this.#rows };
  }

  /** Takes what `save` made; rows that are none are left out. */
  load(saved: unknown): void {
    if (typeof saved !== "object" || saved === null) return;
    const { next, rows } = saved as { next?: unknown; rows?: unknown };
    if (Array.isArray(rows))
      for (const row of rows.slice(-this.#options.limit)) if (isIncident(row)) this.#rows.push(row);
    this.#rows.sort((a, b) => a.number - b.number);
    const last = this.#rows.at(-1)?.number ?? 0;
    this.nextNumber = Math.max(last + 1, Number.isSafeInteger(next) ? (next as number) : 1);
  }

  #open(finding: Finding, mac: number): Incident {
    const { type, severity, time, measured, threshold, windowMs, summary, peers } = finding;
    this.#makeRoom(mac);
    const incident: Incident = {
      number: this.nextNumber++,
      type,
      mac,
      severity,
      firstTime: time,
      lastTime: time,
      count: 1,
      measured,
      threshold,
      windowMs,
      summary,
      peers: peers.slice(-PEERS),
      actionTaken: "",
      rule: 0,
      state: "Open",
    };
    this.#rows.push(incident);
    this.#tell(incident, time);
    return incident;
  }

  #tell(incident: Incident, time: number): void {
    if (time - this.#minute >= 60_000 || time < this.#minute) {
      this.#minute = time;
      this.#told = 0;
    }
    const isTold = this.#told < TOLD_PER_MINUTE;
    if (isTold) {
      this.#told++;
      this.#options.notify({ kind: "opened", incident, suppressed: this.#suppressed });
      this.#suppressed = 0;
    } else {
      this.#suppressed++;
      this.#options.notify({ kind: "changed", incident });
    }
  }

  /** The device that has too many gives one of its own; else the least that is over; else the least. */
  #makeRoom(mac: number): void {
    const { limit } = this.#options;
    if (this.#rows.length < limit) return;
    const own = this.#rows.filter((incident) => incident.mac === mac);
    const from = own.length >= limit / SHARE ? own : this.#rows;
    const value = ({ state, severity, lastTime }: Incident) =>
      (state === "Closed" ? 0 : 1e15) + SEVERITIES.indexOf(severity) * 1e14 + lastTime;
    this.#remove(from.reduce((least, each) => (value(each) < value(least) ? each : least)));
  }

  #remove(incident: Incident): void {
    this.#rows.splice(this.#rows.indexOf(incident), 1);
    this.#options.notify({ kind: "removed", incident });
  }
}

function isIncident(value: unknown): value is Incident {
  if (typeof value !== "object" || value === null) return false;
  const row = value as Record<keyof Incident, unknown>;
  const numbers = [
    row.number,
    row.mac,
    row.firstTime,
    row.lastTime,
    row.count,
    row.measured,
    row.threshold,
    row.windowMs,
    row.rule,
  ];
  return (
    numbers.every((number) => typeof number === "number" && Number.isFinite(number) && number >= 0) &&
    [row.summary, row.actionTaken].every((text) => typeof text === "string" && text.length <= 1024) &&
    INCIDENT_TYPES.includes(row.type as IncidentType) &&
    SEVERITIES.includes(row.severity as Severity) &&
    INCIDENT_STATES.includes(row.state as IncidentState) &&
    Array.isArray(row.peers) &&
    row.peers.length <= PEERS &&
    row.peers.every((peer) => typeof peer === "string" && peer.length <= 512)
  );
}
