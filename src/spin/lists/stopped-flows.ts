/**
 * Living flows that a rule on a list has come to stop: the kernel drops their packets by itself, but offloaded ones never
 * come by it again unless their conntrack entries end.
 */
import type { Prefix } from "../../lib/address.ts";
import type { Policy } from "../ruleset.ts";

/** So many are ended at once; a home has no more with listed peers. */
const MAX_CUTS = 512;

export interface StoppedFlowsOptions {
  /** Visits living flows of devices with the Internet: row, device's hardware address, words and offset of the peer. */
  readonly eachFlow: (visit: (row: number, mac: number, words: ArrayLike<number>, offset: number) => void) => void;
  readonly isStopped: (row: number) => boolean;
  readonly cut: (devices: readonly number[], destinations: readonly Prefix[]) => void;
}

export class StoppedFlows {
  readonly #options: StoppedFlowsOptions;
  #last = "";

  constructor(options: StoppedFlowsOptions) {
    this.#options = options;
  }

  /** The enforcer has this policy; `revision` counts changes of what lists hold. */
  applied({ rules }: Policy, revision: number): void {
    const onLists = rules.filter(({ action, destinations }) => {
      if (action === "Count" || destinations === "*") return false;
      return (destinations.lists ?? []).length > 0 || destinations.domains.some((name) => name.startsWith("list:"));
    });
    const state =
      onLists.length === 0 ? "" : `${revision} ${JSON.stringify(onLists.map(({ id, macs }) => [id, macs]))}`;
    if (state === this.#last) return;
    this.#last = state;
    if (state === "") return;
    const { eachFlow, isStopped, cut } = this.#options;
    const peers = new Map<number, Prefix[]>();
    let left = MAX_CUTS;
    eachFlow((row, mac, words, offset) => {
      if (left === 0 || !isStopped(row)) return;
      left--;
      const prefix = { words: Uint32Array.from({ length: 4 }, (_, i) => words[offset + i] as number), bits: 128 };
      const known = peers.get(mac);
      if (known) known.push(prefix);
      else peers.set(mac, [prefix]);
    });
    for (const [mac, prefixes] of peers) cut([mac], prefixes);
  }
}
