/** What a detector says, and what every detector is. Detectors hold a bounded state for each device slot, in columns. */

export const INCIDENT_TYPES = [
  "TrafficPeak",
  "HostScan",
  "PortScan",
  "ARPScan",
  "Flood",
  "DNSTunnel",
  "NewDestination",
  "ListedPeer",
  "RuleViolation",
  "AddressSpoofing",
] as const;
export type IncidentType = (typeof INCIDENT_TYPES)[number];

export const SEVERITIES = ["Info", "Low", "Medium", "High"] as const;
export type Severity = (typeof SEVERITIES)[number];

export interface Finding {
  readonly type: IncidentType;
  /** Slot of the device. */
  readonly slot: number;
  readonly severity: Severity;
  /** Milliseconds since 1970. */
  readonly time: number;
  /** What was measured, the threshold that it reached, and over how long. */
  readonly measured: number;
  readonly threshold: number;
  readonly windowMs: number;
  /** In plain words, without peers: after the device's name, "tried to reach …". */
  readonly summary: string;
  /** Whom it concerns: addresses, ports, names. Secured in the model. */
  readonly peers: readonly string[];
}

export type Report = (finding: Finding) => void;

/** Switches and thresholds that every detector has; its own come on top. */
export interface DetectorSettings {
  readonly enable: boolean;
}
