/**
 * Source of the names that the gateway's administrator gave devices: /etc/ethers and /etc/hosts, and on OpenWrt the folder
 * of hosts files that dnsmasq reads besides, where the names of static leases and of odhcpd stand. Whose an address is say
 * ethers and the lease files. The files are looked at when they change.
 */
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { parseEthers, parseHosts } from "./hosts-files.ts";
import { parseLeases } from "./lease-files.ts";
import { LEASE_FILES } from "./leases.ts";
import { SourceHealth } from "./source-health.ts";
import { readBounded, watchFiles } from "./watched-files.ts";

export interface HostsOptions {
  /** Default: `/etc/hosts`, `/etc/ethers`, OpenWrt's `/tmp/hosts`. */
  readonly hosts?: string;
  readonly ethers?: string;
  readonly folder?: string;
  /** Lease files; default: where they usually are. */
  readonly leases?: readonly string[];
  readonly clock: Clock;
  readonly log: Log;
}

const POLL_MS = 10_000;
const SETTLE_MS = 100;
const FOLDER_LIMIT = 16;

export class HostsSource implements Source {
  readonly name = "hosts";
  readonly health = new SourceHealth();
  readonly #options: HostsOptions;
  /** By source and hardware address. */
  #told = new Map<string, string>();

  constructor(options: HostsOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    if (signal.aborted) return;
    const { hosts = "/etc/hosts", ethers = "/etc/ethers", folder = "/tmp/hosts", log } = this.#options;
    const { leases = LEASE_FILES } = this.#options;
    const wakeup = new Wakeup();
    const watching = watchFiles([hosts, ethers], log, () => wakeup.wake());
    let seen = "";
    this.#told = new Map();
    while (!signal.aborted) {
      const more = (await readdir(folder).catch(() => [])).sort().slice(0, FOLDER_LIMIT);
      const names = [hosts, ...more.map((name) => join(folder, name))];
      const print = await fingerprint([ethers, ...leases, ...names]);
      if (print !== seen) await this.#read(ethers, leases, names, emit);
      seen = print;
      await wakeup.wait(POLL_MS, signal);
      await new Wakeup().wait(SETTLE_MS, signal);
    }
    watching.close();
    this.health.status = "Disabled";
  }

  async #read(
    ethersFile: string,
    leaseFiles: readonly string[],
    hostsFiles: readonly string[],
    emit: (observation: Observation) => void,
  ): Promise<void> {
    const troubles: string[] = [];
    const read = async (file: string) =>
      await readBounded(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOENT" && error.code !== "EISDIR")
          troubles.push(`${file}: ${error.code ?? error.message}`);
        return "";
      });
    const ethers = parseEthers(await read(ethersFile));
    const macOf = new Map(ethers.addresses);
    for (const file of leaseFiles)
      for (const { address, mac } of parseLeases(await read(file)).values()) macOf.set(address, mac);
    for (const [mac, name] of ethers.names) this.#tell(mac, "ethers", name, emit);
    for (const file of hostsFiles)
      for (const [mac, name] of parseHosts(await read(file), macOf)) this.#tell(mac, "hosts", name, emit);
    this.health.running("file", troubles.join("; "));
  }

  #tell(mac: number, source: "hosts" | "ethers", hostName: string, emit: (observation: Observation) => void): void {
    const key = `${source} ${mac}`;
    if (this.#told.get(key) === hostName) return;
    this.#told.set(key, hostName);
    this.health.observations++;
    emit({ kind: "identity", time: this.#options.clock.now(), mac, source, hostName });
  }
}

/** Changes when one of the files does. */
async function fingerprint(files: readonly string[]): Promise<string> {
  const prints = files.map((file) =>
    stat(file).then(
      ({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`,
      () => "-",
    ),
  );
  return (await Promise.all(prints)).join();
}
