/** `Device.X_SPIN.Device.{i}.` with its Stats: the devices of the home, and the quick Block and Unblock. */
import { ROOT, SpinDevice, SpinDeviceStats } from "../../datamodel/spin.ts";
import { NEVER, UNKNOWN_TIME } from "../../datamodel/values.ts";
import { parseMac } from "../lib/address.ts";
import { describe } from "../lib/log.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { CommandCall, Implementation } from "../model/implementation.ts";
import type { HomeDevice } from "../spin/types.ts";
import { captureTraffic } from "./capture-traffic.ts";
import { block, blocksAllOf, unblock } from "./device-blocks.ts";
import type { SpinParts } from "./home.ts";
import { hostPath } from "./hosts.ts";
import { isAtHome } from "./privacy.ts";

/** Most rules that Unblock() names: its answer is to be read by people. */
const MAX_NAMED = 100;

/** @param hasHosts Whether `Device.Hosts.` is in the model */
export function spinDevice(parts: SpinParts, hasHosts: boolean): Implementation {
  const { home } = parts;
  /** Rows that the transaction under way removes: forgetting can't be taken back, so it waits for the end. */
  const forgetting = new Set<number>();
  const present = (device: HomeDevice | undefined) => (device && forgetting.has(device.number) ? undefined : device);
  return bind(SpinDevice, {
    rows: {
      instances: function* (_parent: unknown) {
        for (const { number } of home.devices()) if (!forgetting.has(number)) yield number;
      },
      row: (_parent: unknown, instance: number): HomeDevice | undefined => present(home.device(instance)),
      find: (_parent: unknown, param: string, value: unknown) => {
        if (param !== "PhysAddress") return [...home.devices()].find(({ alias }) => alias === value)?.number;
        const mac = parseMac(String(value));
        return mac === undefined ? undefined : home.deviceByMac(mac)?.number;
      },
      remove: (_parent: unknown, instance: number) => {
        forgetting.add(instance);
        return () => void forgetting.delete(instance);
      },
    },
    get: {
      Alias: (device) => device.alias,
      PhysAddress: (device) => device.physAddress,
      Randomized: (device) => device.randomized,
      Name: (device) => device.name,
      HostName: (device) => device.hostName,
      Vendor: (device) => device.vendor,
      Type: (device) => device.type,
      TypeReason: (device) => device.typeReason,
      MUDURL: (device) => device.mudUrl,
      IPv4Address: (device) => device.ipv4Addresses,
      IPv6Address: (device) => device.ipv6Addresses,
      Host: (device) => (hasHosts ? hostPath(device) : ""),
      Interface: (device) => device.interface,
      FirstSeen: (device) => device.firstSeen || UNKNOWN_TIME,
      LastSeen: (device) => device.lastSeen || UNKNOWN_TIME,
      Active: (device) => device.active,
      Blocked: (device) => device.blocked,
      Ignored: (device) => device.ignored,
      MergedInto: ({ mergedInto }) => (mergedInto === 0 ? "" : `${ROOT}Device.${mergedInto}`),
      TopDestinations: (device) => home.topDestinations(device.number, 5).map(({ name }) => name),
    },
    set: {
      Name: (device, name) => {
        const before = device.name;
        kept(parts, home.setName(device.number, name));
        return () => kept(parts, home.setName(device.number, before));
      },
    },
    committed: ({ kind, instance }) => {
      if (kind === "removed" && forgetting.delete(instance)) kept(parts, home.forget(instance));
    },
    commands: {
      "Block()": async (device, { Duration = 0, Reason = "" }, call) => {
        const expiry = Duration === 0 ? NEVER : home.now() + Duration * 1000;
        const path = block(call, device, { expiry, reason: Reason });
        await inForce(parts);
        return { Rule: path };
      },
      "CaptureTraffic()": (device, args, call) => captureTraffic(parts, device, args, call),
      "Unblock()": async (device, _args, call) => {
        unblock(call, device, home.rules.list());
        await inForce(parts);
        const rest = home.rules
          .list()
          .filter((rule) => blocksAllOf(rule, device) && isObeyed(parts, rule.id) && home.rules.isScheduled(rule.id));
        return {
          Blocked: device.blocked || rest.length > 0,
          Rules: rest.slice(0, MAX_NAMED).map(({ id }) => `${ROOT}Rule.${id}`),
          Origins: rest.slice(0, MAX_NAMED).map(({ origin }) => origin),
        };
      },
      "MergeInto()": async (device, { Device = "" }, call) => {
        if (!isAtHome(call.caller))
          throw new UspError(
            UspErrorCode.PermissionDenied,
            "MergeInto() is the resident's alone: nobody else can know",
          );
        const saved = merged(parts, device, Device, call);
        kept(parts, saved);
        await inForce(parts);
        return {};
      },
    },
  });
}

export function spinDeviceStats(): Implementation {
  return bind(SpinDeviceStats, {
    of: ({ stats }: HomeDevice) => stats,
    get: {
      BytesSent: (stats) => stats.bytesSent,
      BytesReceived: (stats) => stats.bytesReceived,
      PacketsSent: (stats) => stats.packetsSent,
      PacketsReceived: (stats) => stats.packetsReceived,
      LocalBytesSent: (stats) => stats.localBytesSent,
      LocalBytesReceived: (stats) => stats.localBytesReceived,
      FlowsOpened: (stats) => stats.flowsOpened,
      ActiveFlowCount: (stats) => stats.activeFlowCount,
      DNSQueryCount: (stats) => stats.dnsQueryCount,
      BlockedPackets: (stats) => stats.blockedPackets,
      BlockedBytes: (stats) => stats.blockedBytes,
      BytesSentRate: (stats) => Math.round(stats.bytesSentRate),
      BytesReceivedRate: (stats) => Math.round(stats.bytesReceivedRate),
    },
  });
}

function merged({ home }: SpinParts, device: HomeDevice, into: string, { tree }: CommandCall): Promise<void> {
  const target = into === "" ? undefined : tree.at(into.endsWith(".") ? into : `${into}.`);
  if (into !== "" && target?.object.path !== SpinDevice.path)
    throw new UspError(UspErrorCode.InvalidCommandArguments, `Device is no row of ${ROOT}Device.{i}.: ${into}`);
  try {
    return home.merge(device.number, target?.instance);
  } catch (error) {
    // By name: which file the class comes from is not ours to know.
    if (error instanceof Error && error.name === "MergeError")
      throw new UspError(UspErrorCode.CommandFailed, error.message);
    throw error;
  }
}

/** The answer to the controller waits for it, and tells it what the disk refused. */
function kept({ persistence, log }: SpinParts, saved: Promise<void>): void {
  persistence?.include(saved);
  saved.catch((error: unknown) => log.warn(`the devices could not be saved: ${describe(error)}`));
}

/** It is in force, or will be at once, and no other rule decides instead. */
function isObeyed({ home }: SpinParts, rule: number): boolean {
  const { status } = home.rules.state(rule);
  return status === "Enabled" || status === "Pending";
}

/** On disk and in the kernel, so that whoever gets the answer can rely on it; a kernel that hangs shows as Pending. */
async function inForce({ persistence, home }: SpinParts): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, 2000)));
  // A disk that refuses is told by whoever sends the answer: it waits for the same promise.
  const saved = persistence?.saved().catch(() => undefined);
  await Promise.all([saved, Promise.race([home.settled(), patience])]);
  clearTimeout(timer);
}
