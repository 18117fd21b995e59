/**
 * Scans: one device fails at many hosts (HostScan), or at many ports of one host (PortScan), in a minute.
 *
 * Thresholds and exemptions are measured, not guessed: ten hosts in 60 s, ports that applications retry left out, found
 * every scan of the sample and raised no alarm on 609 captures of benign devices, set-ups and whole weeks; without the
 * exempt ports, 9 alarms. All of those came from one cause, a phone behind a dead line, hence the gate: failures towards
 * the Internet count only while something there answers somebody (attempts.ts). What the device had looked up counts
 * neither, nor what our own rules stop.
 *
 * Peer-to-peer programs fail at many hosts all day, but at ports as different as the hosts: so only ports of services
 * count together, and any other port for itself, with twice the threshold.
 */
import { DistinctSet } from "./distinct-set.ts";
import type { DetectorSettings, Report, Severity } from "./finding.ts";

export interface FanOutSettings extends DetectorSettings {
  /** Distinct hosts, or ports, within the window. */
  readonly threshold: number;
  readonly windowMs: number;
}

export const defaultHostScan: FanOutSettings = { enable: true, threshold: 10, windowMs: 60_000 };
export const defaultPortScan: FanOutSettings = { enable: true, threshold: 10, windowMs: 60_000 };

/** An attempt that failed: nobody answered, or only to refuse. */
export interface FailedAttempt {
  readonly slot: number;
  /** Of the address; and the address as text, asked for when it is told. */
  readonly hostHash: number;
  readonly host: () => string;
  readonly protocol: number;
  /** 0 where the protocol has none. */
  readonly port: number;
  readonly time: number;
  /** Whether the device had a name for the address. */
  readonly isNamed: boolean;
}

/** What applications try again and again when the line is down. */
const RETRIED_PORTS = new Set([53, 80, 123, 443, 853, 1900, 5223, 5228, 8443, 8883]);
/** Ports above 1023 where services listen that worms and scanners try. */
const SERVICE_PORTS = new Set([
  1433, 1521, 2323, 2375, 2480, 3306, 3389, 4444, 5000, 5432, 5555, 5900, 5984, 6379, 7001, 7547, 8000, 8080, 8081,
  8088, 8181, 8291, 8888, 9000, 9200, 10001, 11211, 27017, 37215, 49152, 52869, 60001,
]);
/** What worms look for: telnet, CPE management and debug ports. Half as many are enough. */
const WORM_PORTS = new Set([23, 2323, 5555, 7547, 37215, 52869]);
const HOSTS = 64;
const PORTS = 32;
/** Hosts of a device whose ports are watched at one time. */
const TRACKED_HOSTS = 4;
/** A scan that goes on is told again, so that its incident stays open, but not with each packet. */
const TELL_AGAIN_MS = 10_000;
/** So many, and it is no mistake of anybody's. */
const CERTAIN = 4;

export class FanOut {
  hostScan = defaultHostScan;
  portScan = defaultPortScan;
  readonly #report: Report;
  readonly #hosts: DistinctSet;
  readonly #wormHosts: DistinctSet;
  /** Of the one other port that a device tries most (a majority vote, Boyer and Moore), and its lead over the rest. */
  readonly #samePortHosts: DistinctSet;
  readonly #samePort: Uint16Array;
  readonly #lead: Float64Array;
  readonly #ports: DistinctSet;
  /** Which host each tracker follows, and when it last failed there. */
  readonly #trackedHost: Uint32Array;
  readonly #trackedAt: Float64Array;
  readonly #hostsTold: Float64Array;
  readonly #portsTold: Float64Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#hosts = new DistinctSet(slots, HOSTS);
    this.#wormHosts = new DistinctSet(slots, HOSTS / 4);
    this.#samePortHosts = new DistinctSet(slots, HOSTS);
    this.#samePort = new Uint16Array(slots);
    this.#lead = new Float64Array(slots);
    this.#ports = new DistinctSet(slots * TRACKED_HOSTS, PORTS);
    this.#trackedHost = new Uint32Array(slots * TRACKED_HOSTS);
    this.#trackedAt = new Float64Array(slots * TRACKED_HOSTS).fill(-Infinity);
    this.#hostsTold = new Float64Array(slots).fill(-Infinity);
    this.#portsTold = new Float64Array(slots).fill(-Infinity);
  }

  failed(attempt: FailedAttempt): void {
    if (this.portScan.enable && attempt.port !== 0) this.#countPort(attempt);
    if (this.hostScan.enable && !attempt.isNamed && !RETRIED_PORTS.has(attempt.port)) this.#countHost(attempt);
  }

  clear(slot: number): void {
    this.#hosts.clear(slot);
    this.#wormHosts.clear(slot);
    this.#samePortHosts.clear(slot);
    this.#lead[slot] = 0;
    for (let k = 0; k < TRACKED_HOSTS; k++) {
      this.#ports.clear(slot * TRACKED_HOSTS + k);
      this.#trackedAt[slot * TRACKED_HOSTS + k] = -Infinity;
    }
    this.#hostsTold[slot] = this.#portsTold[slot] = -Infinity;
  }

  #countHost(attempt: FailedAttempt): void {
    const { slot, hostHash, port, time } = attempt;
    const { threshold, windowMs } = this.hostScan;
    const since = time - windowMs;
    if (port >= 1024 && !SERVICE_PORTS.has(port)) return this.#countSamePort(attempt, since);
    const isWorm = WORM_PORTS.has(port);
    this.#hosts.add(slot, hostHash, time, since);
    if (isWorm) this.#wormHosts.add(slot, hostHash, time, since);
    const hosts = this.#hosts.count(slot, since);
    const weight = hosts + this.#wormHosts.count(slot, since);
    if (weight >= threshold) this.#tellHosts(attempt, hosts, threshold, severityOf(weight, threshold, isWorm));
  }

  #countSamePort(attempt: FailedAttempt, since: number): void {
    const { slot, hostHash, port, time } = attempt;
    const lead = this.#lead[slot] as number;
    if (this.#samePort[slot] !== port) {
      if (lead > 0) {
        this.#lead[slot] = lead - 1;
        return;
      }
      this.#samePort[slot] = port;
      this.#samePortHosts.clear(slot);
    }
    this.#lead[slot] = Math.min(lead + 1, HOSTS);
    this.#samePortHosts.add(slot, hostHash, time, since);
    const hosts = this.#samePortHosts.count(slot, since);
    const threshold = 2 * this.hostScan.threshold;
    if (hosts >= threshold) this.#tellHosts(attempt, hosts, threshold, severityOf(hosts, threshold, false));
  }

  #tellHosts({ slot, host, port, time }: FailedAttempt, measured: number, threshold: number, severity: Severity): void {
    if (time - (this.#hostsTold[slot] as number) < TELL_AGAIN_MS) return;
    this.#hostsTold[slot] = time;
    const { windowMs } = this.hostScan;
    this.#report({
      type: "HostScan",
      slot,
      severity,
      time,
      measured,
      threshold,
      windowMs,
      summary: `tried to reach ${measured >= HOSTS ? "at least " : ""}${measured} addresses in ${windowMs / 1000} s, and none answered`,
      peers: [`${host()} port ${port}`],
    });
  }

  #countPort({ slot, hostHash, host, port, protocol, time }: FailedAttempt): void {
    const { threshold, windowMs } = this.portScan;
    const since = time - windowMs;
    const tracker = this.#tracker(slot, hostHash, time, since);
    this.#ports.add(tracker, port | (protocol << 16), time, since);
    const measured = this.#ports.count(tracker, since);
    if (measured < threshold || time - (this.#portsTold[slot] as number) < TELL_AGAIN_MS) return;
    this.#portsTold[slot] = time;
    this.#report({
      type: "PortScan",
      slot,
      severity: severityOf(measured, threshold, false),
      time,
      measured,
      threshold,
      windowMs,
      summary: `tried ${measured >= PORTS ? "at least " : ""}${measured} ports of one address in ${windowMs / 1000} s, and was refused`,
      peers: [host()],
    });
  }

  /** The one that follows the host, else the one that has failed nowhere for longest. */
  #tracker(slot: number, hostHash: number, time: number, since: number): number {
    const from = slot * TRACKED_HOSTS;
    let found = from;
    for (let at = from; at < from + TRACKED_HOSTS; at++) {
      if (this.#trackedHost[at] === hostHash && (this.#trackedAt[at] as number) >= since) {
        found = at;
        this.#trackedAt[found] = time;
        return found;
      }
      if ((this.#trackedAt[at] as number) < (this.#trackedAt[found] as number)) found = at;
    }
    this.#ports.clear(found);
    this.#trackedHost[found] = hostHash;
    this.#trackedAt[found] = time;
    return found;
  }
}

export const isRetriedPort = (port: number): boolean => RETRIED_PORTS.has(port);

function severityOf(measured: number, threshold: number, isWorm: boolean): Severity {
  return isWorm || measured >= CERTAIN * threshold ? "High" : "Medium";
}
