/** Source of DHCP leases: the files that dnsmasq and odhcpd keep, read when they change. */
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { type Lease, parseLeases } from "./lease-files.ts";
import { SourceHealth } from "./source-health.ts";
import { readBounded, watchFiles } from "./watched-files.ts";

export interface LeasesOptions {
  /** Those that are not there are looked for again; while there is none of them, the source is Degraded. */
  readonly files?: readonly string[];
  /**
   * Where to look if no files are given: by default, where OpenWrt and Debian have them. With none there the source is
   * Disabled, since a host need not serve DHCP; it goes on looking.
   */
  readonly places?: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

export const LEASE_FILES = ["/tmp/dhcp.leases", "/tmp/odhcpd.leases", "/var/lib/misc/dnsmasq.leases"];

const POLL_MS = 5000;
/** Servers write a file in pieces. */
const SETTLE_MS = 100;
/** A lease that is missing is looked for again before its end is believed: the file may be half written. */
const CONFIRM_MS = 1000;

export class LeasesSource implements Source {
  readonly name = "leases";
  readonly health = new SourceHealth();
  readonly #options: LeasesOptions;
  readonly #known = new Map<string, Lease>();
  /** Addresses that were missing at the last reading. */
  #missing = new Set<string>();

  constructor(options: LeasesOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    if (signal.aborted) return;
    const { places = LEASE_FILES, files = places } = this.#options;
    const wakeup = new Wakeup();
    const watching = watchFiles(files, this.#options.log, () => wakeup.wake());
    this.health.status = "Starting";
    this.health.backend = "file";
    while (!signal.aborted) {
      const leases = await this.#read(files);
      if (leases) this.#compare(leases, emit);
      await wakeup.wait(this.#missing.size > 0 ? CONFIRM_MS : POLL_MS, signal);
      await new Wakeup().wait(SETTLE_MS, signal);
    }
    watching.close();
    this.health.status = "Disabled";
  }

  /** All leases, or `undefined` if no file can be read. */
  async #read(files: readonly string[]): Promise<Map<string, Lease> | undefined> {
    const leases = new Map<string, Lease>();
    let found = 0;
    let trouble = "";
    for (const file of files) {
      try {
        for (const [address, lease] of parseLeases(await readBounded(file))) leases.set(address, lease);
        found++;
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code !== "ENOENT") trouble = `${file}: ${code ?? message}`;
      }
    }
    if (trouble !== "") this.health.running("file", trouble);
    else if (found === 0) this.#noneFound(`no lease file: ${files.join(", ")}`);
    else this.health.running("file");
    return found > 0 ? leases : undefined;
  }

  #noneFound(reason: string): void {
    this.health.running("file", reason);
    if (!this.#options.files) this.health.status = "Disabled";
  }

  #compare(leases: ReadonlyMap<string, Lease>, emit: (observation: Observation) => void): void {
    const time = this.#options.clock.now();
    const missing = new Set<string>();
    const tell = (lease: Lease, ended: boolean) => {
      this.health.observations++;
      emit({ kind: "lease", time, ...lease, ...(ended ? { ended } : {}) });
    };
    for (const [address, lease] of this.#known) {
      const isExpired = lease.expires !== undefined && lease.expires < time && !leases.has(address);
      if (leases.has(address)) continue;
      if (!isExpired && !this.#missing.has(address)) missing.add(address);
      else {
        this.#known.delete(address);
        tell(lease, true);
      }
    }
    for (const [address, lease] of leases) {
      const known = this.#known.get(address);
      this.#known.set(address, lease);
      if (known?.mac === lease.mac && known.hostName === lease.hostName && known.expires === lease.expires) continue;
      // The address changed hands: the one who had it is told first.
      if (known && known.mac !== lease.mac) tell(known, true);
      tell(lease, false);
    }
    this.#missing = missing;
  }
}
