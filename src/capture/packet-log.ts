/** Packets that the ruleset logs to an NFLOG group, through the helper: subscribing, trying again, and taking them apart. */
import { macFromBytes } from "../lib/address.ts";
import type { Log } from "../lib/log.ts";
import { Wakeup } from "../lib/wakeup.ts";
import { RequestKind, words } from "../netlink/frames.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import { attributeEnd, eachMessage, findAttribute, Subsystem, u16be } from "../netlink/messages.ts";
import type { SourceHealth } from "./source-health.ts";
import { whyUnusable } from "./why-unusable.ts";

export interface PacketLogOptions {
  readonly helper: NetfilterHelper | undefined;
  readonly log: Log;
  readonly health: SourceHealth;
  readonly group: number;
  /** Packets that the kernel keeps before it tells, 10 ms at most. */
  readonly kernelQueue: number;
  /** What the user misses while nothing comes, for the log: `DNS names go unseen`. */
  readonly missing: string;
}

/** An IP packet at [start, end) of the bytes; `mac` is its sender's, where the frame showed it. */
export type PacketHandler = (bytes: Buffer, start: number, end: number, mac: number | undefined) => void;

/** linux/netfilter/nfnetlink_log.h */
const LOG_PACKET = Subsystem.PacketLog << 8;
const ATTRIBUTE = { HardwareAddress: 8, Payload: 9 } as const;
const ETHERNET_BYTES = 6;
const SNAP_LENGTH = 65_535;
/** A few packets in a row are handed on at once, because blocks by name hang on it; a stream of them, in this rhythm. */
const COALESCE_MS = 40;
const RETRY_MS = 2000;

/** Until the signal. Whatever keeps the packets away shows in `health`. */
export async function readPacketLog(
  { helper, log, health, group, kernelQueue, missing }: PacketLogOptions,
  signal: AbortSignal,
  onMessages: (bytes: Buffer, start: number, end: number) => void,
): Promise<void> {
  const wakeup = new Wakeup();
  let told = "";
  if (signal.aborted) return;
  health.status = "Starting";
  const unusable = await whyUnusable(helper, signal);
  while (!signal.aborted) {
    let refused = unusable ?? "";
    const forget =
      helper && unusable === undefined
        ? helper.subscribe({
            kind: RequestKind.PacketLog,
            payload: words(group, SNAP_LENGTH, kernelQueue, COALESCE_MS),
            onMessages,
            onLoss: (count) => (health.lost += count),
            onError: (error) => {
              refused = error.message;
              wakeup.wake();
            },
            onReady: () => health.running("helper"),
            onDown: (reason) => health.running("helper", reason),
          })
        : undefined;
    await wakeup.wait(forget ? 1 << 30 : RETRY_MS, signal);
    forget?.();
    if (signal.aborted || refused === "") continue;
    if (refused !== told) log.warn(`${missing}: ${refused}`);
    told = refused;
    health.backend = helper ? "helper" : "";
    health.failed(refused);
    if (forget) await wakeup.wait(RETRY_MS, signal);
  }
  health.status = "Disabled";
}

/** Hands on each packet of NFLOG's netlink messages in [start, end). */
export function eachPacket(bytes: Buffer, start: number, end: number, onPacket: PacketHandler): void {
  eachMessage(bytes, start, end, (type, _flags, bodyStart, bodyEnd) => {
    if (type !== LOG_PACKET) return;
    const payload = findAttribute(bytes, bodyStart + 4, bodyEnd, ATTRIBUTE.Payload);
    if (payload < 0) return;
    const hardware = findAttribute(bytes, bodyStart + 4, bodyEnd, ATTRIBUTE.HardwareAddress);
    const isEthernet = hardware >= 0 && u16be(bytes, hardware) === ETHERNET_BYTES;
    onPacket(bytes, payload, attributeEnd(bytes, payload), isEthernet ? macFromBytes(bytes, hardware + 4) : undefined);
  });
}
