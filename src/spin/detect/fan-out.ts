/**
 * Scans: one device fails at many hosts (HostScan), or at many ports of one host (PortScan), in a minute, or at three times
 * as many in an hour.
 *
 * Thresholds and exemptions are measured, not guessed: ten hosts in 60 s, ports that applications retry left out, found
 * every scan of the sample and raised no alarm on 609 captures of benign devices, set-ups and whole weeks; without the
 * exempt ports, 9 alarms. All of those came from one cause, a phone behind a dead line, hence the gate: failures towards
 * the Internet count only while something there answers somebody (attempts.ts). What the device had looked up counts
 * neither, nor what our own rules stop.
 *
 * Peer-to-peer programs fail at many hosts all day, but at ports as different as the hosts: so only ports of services
 * count together, and any other port for itself, with twice the threshold. Some of their peers have a service's port, too
 * (one in a hundred or so), so the more a device fails elsewhere, the more it takes. Lists of game servers and networks
 * whose members all have one port are told from scans by their answers: who scans gets hardly any.
 */
import { DistinctSet } from "./distinct-set.ts";
import { FadingSum } from "./fading-sum.ts";
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

/**
 * What applications try again and again when the line is down; a phone behind a dead one failed at a dozen hosts a minute.
 * Where it takes a scan to fail at so many, it is one.
 */
const RETRIED_PORTS = new Set([53, 80, 123, 443, 853, 1900, 5223, 5228, 8443, 8883]);
const RETRIED_TIMES = 6;
/** Ports above 1023 where services listen that worms and scanners try. */
const SERVICE_PORTS = new Set([
  1433, 1521, 2323, 2375, 2480, 3306, 3389, 4444, 5000, 5432, 5555, 5900, 5984, 6379, 7001, 7547, 8000, 8080, 8081,
  8088, 8181, 8291, 8888, 9000, 9200, 10001, 11211, 27017, 37215, 49152, 52869, 60001,
]);
/** What worms look for: telnet, CPE management and debug ports. Half as many are enough. */
const WORM_PORTS = new Set([23, 2323, 5555, 7547, 37215, 52869]);
const HOSTS = 64;
const WORM_HOSTS = 32;
const PORTS = 32;
/** Hosts of a device whose ports are watched at one time. */
const TRACKED_HOSTS = 8;
/** Slow scans: so many windows long, and so many times the threshold. */
const SLOW = { windows: 60, times: 3 } as const;
/** Of failures at ports that no service has, so many may be at a service's port by chance. */
const BY_CHANCE = 0.05;
/** At least so many failures for each answer make a scan of one port. */
const FAILURES_PER_ANSWER = 4;
/** What traceroute counts through, three datagrams a hop (its first port is IANA's `traceroute`). */
const TRACEROUTE = { protocol: 17, from: 33_434, to: 33_534 } as const;
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
  readonly #retriedHosts: DistinctSet;
  /** Of the one other port that a device tries most (a majority vote, Boyer and Moore), and its lead over the rest. */
  readonly #samePortHosts: DistinctSet;
  readonly #samePort: Uint16Array;
  readonly #lead: Float64Array;
  /** Answers from that port, and failures at ports of no service: sums that fade with the window, and their times. */
  readonly #answers: FadingSum;
  readonly #strays: FadingSum;
  readonly #slowStrays: FadingSum;
  readonly #ports: DistinctSet;
  /** Which host each tracker follows, and when it last failed there. */
  readonly #trackedHost: Uint32Array;
  readonly #trackedAt: Float64Array;
  readonly #hostsTold: Float64Array;
  readonly #portsTold: Float64Array;

  constructor(slots: number, report: Report) {
    this.#report = report;
    this.#hosts = new DistinctSet(slots, HOSTS);
    this.#wormHosts = new DistinctSet(slots, WORM_HOSTS);
    this.#retriedHosts = new DistinctSet(slots, HOSTS);
    this.#samePortHosts = new DistinctSet(slots, HOSTS);
    this.#samePort = new Uint16Array(slots);
    this.#lead = new Float64Array(slots);
    this.#answers = new FadingSum(slots);
    this.#strays = new FadingSum(slots);
    this.#slowStrays = new FadingSum(slots);
    this.#ports = new DistinctSet(slots * TRACKED_HOSTS, PORTS);
    this.#trackedHost = new Uint32Array(slots * TRACKED_HOSTS);
    this.#trackedAt = new Float64Array(slots * TRACKED_HOSTS);
    this.#hostsTold = new Float64Array(slots);
    this.#portsTold = new Float64Array(slots);
  }

  failed(attempt: FailedAttempt): void {
    if (this.portScan.enable && attempt.port !== 0 && !isTraceroute(attempt)) this.#countPort(attempt);
    if (!this.hostScan.enable || attempt.isNamed) return;
    if (RETRIED_PORTS.has(attempt.port)) this.#countRetried(attempt);
    else this.#countHost(attempt);
  }

  /** Somebody answered the device, at that port. */
  answered(slot: number, port: number, time: number): void {
    if ((this.#lead[slot] as number) > 0 && this.#samePort[slot] === port)
      this.#answers.add(slot, time, this.hostScan.windowMs);
  }

  clear(slot: number): void {
    this.#hosts.clear(slot);
    this.#wormHosts.clear(slot);
    this.#retriedHosts.clear(slot);
    this.#samePortHosts.clear(slot);
    this.#lead[slot] = 0;
    for (const sum of [this.#answers, this.#strays, this.#slowStrays]) sum.clear(slot);
    for (let k = 0; k < TRACKED_HOSTS; k++) {
      this.#ports.clear(slot * TRACKED_HOSTS + k);
      this.#trackedAt[slot * TRACKED_HOSTS + k] = 0;
    }
    this.#hostsTold[slot] = this.#portsTold[slot] = 0;
  }

  #countHost(attempt: FailedAttempt): void {
    const { slot, hostHash, port, time } = attempt;
    const { threshold, windowMs } = this.hostScan;
    const since = time - windowMs;
    if (port >= 1024 && !SERVICE_PORTS.has(port)) return this.#countSamePort(attempt, since);
    const isWorm = WORM_PORTS.has(port);
    this.#hosts.add(slot, hostHash, time, since);
    if (isWorm) this.#wormHosts.add(slot, hostHash, time, since);
    const byChance = BY_CHANCE * this.#strays.at(slot, time, windowMs);
    if (this.#weigh(attempt, since, threshold + Math.round(byChance), windowMs, isWorm)) return;
    const slowMs = SLOW.windows * windowMs;
    const slowByChance = BY_CHANCE * this.#slowStrays.at(slot, time, slowMs);
    this.#weigh(attempt, time - slowMs, SLOW.times * threshold + Math.round(slowByChance), slowMs, isWorm);
  }

  /** @returns whether the hosts since then are many; those that a worm looks for count twice */
  #weigh(attempt: FailedAttempt, since: number, threshold: number, windowMs: number, isWorm: boolean): boolean {
    const hosts = this.#hosts.count(attempt.slot, since);
    const weight = hosts + this.#wormHosts.count(attempt.slot, since);
    if (weight < threshold) return false;
    this.#tellHosts(attempt, hosts, threshold, windowMs, severityOf(weight, threshold, isWorm));
    return true;
  }

  #countRetried(attempt: FailedAttempt): void {
    const { slot, hostHash, time } = attempt;
    const { windowMs } = this.hostScan;
    const since = time - windowMs;
    // More than there are places can't be counted: a higher setting means all of them.
    const threshold = Math.min(HOSTS, RETRIED_TIMES * this.hostScan.threshold);
    if (!this.#retriedHosts.add(slot, hostHash, time, since)) return;
    const hosts = this.#retriedHosts.count(slot, since);
    if (hosts >= threshold) this.#tellHosts(attempt, hosts, threshold, windowMs, "Medium");
  }

  #countSamePort(attempt: FailedAttempt, since: number): void {
    const { slot, hostHash, port, time } = attempt;
    const { windowMs } = this.hostScan;
    const lead = this.#lead[slot] as number;
    this.#strays.add(slot, time, windowMs);
    this.#slowStrays.add(slot, time, SLOW.windows * windowMs);
    if (this.#samePort[slot] !== port) {
      if (lead > 0) {
        this.#lead[slot] = lead - 1;
        return;
      }
      this.#samePort[slot] = port;
      this.#samePortHosts.clear(slot);
      this.#answers.clear(slot);
    }
    this.#lead[slot] = Math.min(lead + 1, HOSTS);
    this.#samePortHosts.add(slot, hostHash, time, since);
    const hosts = this.#samePortHosts.count(slot, since);
    const threshold = 2 * this.hostScan.threshold;
    // Of more hosts than there are places nobody knows how many they are; the sum of failures does.
    const failures = Math.max(hosts, this.#strays.at(slot, time, windowMs));
    if (hosts < threshold || failures < FAILURES_PER_ANSWER * this.#answers.at(slot, time, windowMs)) return;
    this.#tellHosts(attempt, hosts, threshold, windowMs, severityOf(hosts, threshold, false));
  }

  #tellHosts(
    { slot, host, port, time }: FailedAttempt,
    measured: number,
    threshold: number,
    windowMs: number,
    severity: Severity,
  ): void {
    if (time - (this.#hostsTold[slot] as number) < TELL_AGAIN_MS) return;
    this.#hostsTold[slot] = time;
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

  #countPort(attempt: FailedAttempt): void {
    const { slot, hostHash, port, protocol, time } = attempt;
    const { threshold, windowMs } = this.portScan;
    const slowMs = SLOW.windows * windowMs;
    const tracker = this.#tracker(slot, hostHash, time, time - slowMs);
    this.#ports.add(tracker, port | (protocol << 16), time, time - windowMs);
    const measured = this.#ports.count(tracker, time - windowMs);
    if (measured >= threshold) return this.#tellPorts(attempt, measured, threshold, windowMs);
    const slowly = this.#ports.count(tracker, time - slowMs);
    if (slowly >= SLOW.times * threshold) this.#tellPorts(attempt, slowly, SLOW.times * threshold, slowMs);
  }

  #tellPorts({ slot, host, time }: FailedAttempt, measured: number, threshold: number, windowMs: number): void {
    if (time - (this.#portsTold[slot] as number) < TELL_AGAIN_MS) return;
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

  /**
   * The one that follows the host; else a free one, else that of the host with the fewest ports, the newest of them: so
   * hosts that are scanned in turn keep what they have, however many there are.
   */
  #tracker(slot: number, hostHash: number, time: number, since: number): number {
    const from = slot * TRACKED_HOSTS;
    let found = -1;
    let fewest = Infinity;
    for (let at = from; at < from + TRACKED_HOSTS; at++) {
      const trackedAt = this.#trackedAt[at] as number;
      if (this.#trackedHost[at] === hostHash && trackedAt > 0 && trackedAt >= since) {
        this.#trackedAt[at] = time;
        return at;
      }
      const ports = this.#ports.count(at, since);
      const isFewer = ports < fewest || (ports === fewest && trackedAt > (this.#trackedAt[found] as number));
      if (!isFewer) continue;
      found = at;
      fewest = ports;
    }
    this.#ports.clear(found);
    this.#trackedHost[found] = hostHash;
    this.#trackedAt[found] = time;
    return found;
  }
}

const isTraceroute = ({ protocol, port }: FailedAttempt): boolean =>
  protocol === TRACEROUTE.protocol && port >= TRACEROUTE.from && port <= TRACEROUTE.to;

function severityOf(measured: number, threshold: number, isWorm: boolean): Severity {
  return isWorm || measured >= CERTAIN * threshold ? "High" : "Medium";
}
