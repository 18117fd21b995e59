/**
 * Source of what rules stopped: with which peer, protocol and port, in sums over some seconds. The kernel counts them in
 * sets of its own (src/enforce/spin.nft: stopped_*), so that a device which floods costs nothing here, and is counted to
 * the last packet: no packet comes to user space for it. The sets are bounded, and take in new peers at each device's own
 * pace: what has no room in them shows in the device's BlockedPackets alone.
 */
import { macFromBytes, printAddress, wordsFromBytes } from "../lib/address.ts";
import type { Clock } from "../lib/clock.ts";
import { describe } from "../lib/log.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { NetlinkError } from "../netlink/netlink-error.ts";
import type { SetElement } from "../netlink/nftables-messages.ts";
import type { Observation, Source } from "../spin/observation.ts";
import { SourceHealth } from "./source-health.ts";
import { whyUnusable } from "./why-unusable.ts";

type Blocked = Extract<Observation, { kind: "blocked" }>;

export interface BlockedOptions {
  readonly helper?: NetfilterHelper | undefined;
  readonly clock: Clock;
  readonly log: Log;
  /** Default 5 s. */
  readonly intervalMs?: number;
}

interface StoppedSet {
  readonly set: string;
  readonly outbound: boolean;
  readonly family: 4 | 6;
}

const TABLE = "spin_usp";
const SETS: readonly StoppedSet[] = (["up", "down"] as const).flatMap((way) =>
  ([4, 6] as const).map((family) => ({ set: `stopped_${way}${family}`, outbound: way === "up", family })),
);
const INTERVAL_MS = 5000;
/** Reading an element takes some 5 µs, here and in the helper together: 1 % of that. */
const READING_MS_PER_ELEMENT = 0.5;
/** Peers of one device told of at once. A device that tries all addresses tells no more with a thousand than with these. */
const PEERS_PER_DEVICE = 128;
const ENOENT = 2;
/** Fields of a concatenation are padded to this. */
const FIELD_BYTES = 4;

export class BlockedSource implements Source {
  readonly name = "blocked";
  readonly health = new SourceHealth();
  readonly #options: BlockedOptions;
  /** Packets and bytes of each element as they were read last, by set. */
  readonly #seen = new Map<string, Map<string, { readonly packets: number; readonly bytes: number }>>();

  constructor(options: BlockedOptions) {
    this.#options = options;
  }

  async run(signal: AbortSignal, emit: (observation: Observation) => void): Promise<void> {
    const { helper, log, intervalMs = INTERVAL_MS } = this.#options;
    const { health } = this;
    const wakeup = new Wakeup();
    if (signal.aborted) return;
    health.status = "Starting";
    const unusable = await whyUnusable(helper, signal);
    if (helper && unusable === undefined) health.running("helper");
    else {
      health.failed(unusable ?? "");
      if (!signal.aborted) log.warn(`with whom rules stop devices goes unseen: ${health.lastError}`);
    }
    let told = "";
    while (!signal.aborted) {
      let elements = 0;
      if (helper && unusable === undefined)
        try {
          for (const set of SETS) elements += await this.#read(helper, set, emit);
          if (told !== "") health.running("helper");
          told = "";
        } catch (error) {
          if (signal.aborted) break;
          const reason = describe(error);
          health.running("helper", reason);
          if (reason !== told) log.debug(`what rules stopped can't be read: ${reason}`);
          told = reason;
        }
      await wakeup.wait(Math.max(intervalMs, elements * READING_MS_PER_ELEMENT), signal);
    }
    health.status = "Disabled";
  }

  /** Reads one set and tells what was added to it; resolves to how many elements it has. */
  async #read(helper: NetfilterHelper, set: StoppedSet, emit: (observation: Observation) => void): Promise<number> {
    let elements: SetElement[];
    try {
      elements = await helper.dumpSet({ family: "inet", table: TABLE, set: set.set });
    } catch (error) {
      // Nobody has loaded the ruleset yet, or somebody removed it.
      if (!(error instanceof NetlinkError) || error.errno !== ENOENT) throw error;
      this.#seen.set(set.set, new Map());
      return 0;
    }
    this.take(set, elements, emit);
    return elements.length;
  }

  /** Takes a set's elements as they were read. At the first reading they are what an earlier life has told of. */
  take({ set, outbound, family }: StoppedSet, elements: readonly SetElement[], emit: (blocked: Blocked) => void): void {
    const before = this.#seen.get(set);
    const now = new Map<string, { readonly packets: number; readonly bytes: number }>();
    const told = new Map<string, number>();
    const time = this.#options.clock.now();
    for (const { key, packets = 0, bytes = 0 } of elements) {
      const id = Buffer.from(key).toString("latin1");
      now.set(id, { packets, bytes });
      if (!before) continue;
      const last = before.get(id);
      // One that fell began again.
      const isSame = last !== undefined && packets >= last.packets && bytes >= last.bytes;
      const added = { packets: packets - (isSame ? last.packets : 0), bytes: bytes - (isSame ? last.bytes : 0) };
      const stopped = added.packets > 0 ? decode(key, outbound, family) : undefined;
      if (!stopped || isToAll(stopped.address)) continue;
      const device = stopped.client ?? String(stopped.mac);
      const count = (told.get(device) ?? 0) + 1;
      told.set(device, count);
      if (count > PEERS_PER_DEVICE) {
        this.health.passedOver++;
        continue;
      }
      this.health.observations++;
      emit({ kind: "blocked", time, outbound, ...stopped, ...added });
    }
    this.#seen.set(set, now);
  }
}

/** `undefined` for a key that is none of ours. */
function decode(
  key: Uint8Array,
  outbound: boolean,
  family: 4 | 6,
): Pick<Blocked, "mac" | "client" | "address" | "protocol" | "port"> | undefined {
  const addressBytes = family === 4 ? 4 : 16;
  const ownBytes = outbound ? 2 * FIELD_BYTES : addressBytes;
  const protocolAt = ownBytes + addressBytes;
  if (key.length < protocolAt + FIELD_BYTES + 2) return undefined;
  const text = (at: number) => printAddress(wordsFromBytes(key, at, family), 0);
  const portAt = protocolAt + FIELD_BYTES;
  return {
    ...(outbound ? { mac: macFromBytes(key, 0) } : { mac: 0, client: text(0) }),
    address: text(ownBytes),
    protocol: key[protocolAt] as number,
    port: ((key[portAt] as number) << 8) | (key[portAt + 1] as number),
  };
}

/** Multicast and broadcast have no peer. */
function isToAll(address: string): boolean {
  return address.startsWith("ff") || address === "255.255.255.255" || /^2(2[4-9]|3\d)\./.test(address);
}
