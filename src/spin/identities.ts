/**
 * Brings what is heard of devices to their rows. A name may be known before the device is: the gateway's files are read at
 * the start, and the frame in which a new device says who it is may come before the one that shows its address.
 */
import type { DeviceTable } from "./devices.ts";
import type { Identity, IdentityObservation } from "./identity.ts";

/** Lines of the gateway's files that are kept, for rows that may come again: past it, the first read go. */
const MAX_OF_FILES = 1024;
/** Devices without a row, and what is kept of one: each source says its own in one or two pieces. */
const MAX_WAITING = 256;
const MAX_PIECES = 8;

export class Identities {
  /** By hardware address and source. */
  readonly #files = new Map<string, IdentityObservation>();
  readonly #waiting = new Map<number, IdentityObservation[]>();

  heard(observation: IdentityObservation, devices: DeviceTable): void {
    const { mac, source } = observation;
    if (source === "hosts" || source === "ethers") keep(this.#files, `${source} ${mac}`, observation, MAX_OF_FILES);
    const row = devices.byMac(mac);
    if (row) devices.identify(row, source, observation);
    else if (source !== "hosts" && source !== "ethers")
      keep(this.#waiting, mac, [...(this.#waiting.get(mac) ?? []), observation].slice(-MAX_PIECES), MAX_WAITING);
  }

  /** The row is new: what was heard of it before. */
  recall({ mac, identity }: { readonly mac: number; readonly identity: Identity }): void {
    for (const source of ["hosts", "ethers"] as const) {
      const line = this.#files.get(`${source} ${mac}`);
      if (line) identity.learn(source, line);
    }
    for (const piece of this.#waiting.get(mac) ?? []) identity.learn(piece.source, piece);
    this.#waiting.delete(mac);
  }
}

/** The oldest goes for the newest. */
function keep<K, V>(map: Map<K, V>, key: K, value: V, most: number): void {
  map.delete(key);
  map.set(key, value);
  if (map.size > most) map.delete(map.keys().next().value as K);
}
