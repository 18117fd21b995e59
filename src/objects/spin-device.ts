/** `Device.X_SPIN.Device.{i}.` with its Stats: the devices of the home, and the quick Block and Unblock. */
import { ROOT, SpinDevice, SpinDeviceStats } from "../../datamodel/spin.ts";
import { NEVER, UNKNOWN_TIME } from "../../datamodel/values.ts";
import { parseMac } from "../lib/address.ts";
import { describe } from "../lib/log.ts";
import { UspError, UspErrorCode } from "../lib/usp-error.ts";
import { bind } from "../model/binding.ts";
import type { Caller, CommandCall, Implementation, ModelTree } from "../model/implementation.ts";
import { Transaction } from "../model/transaction.ts";
import type { Rule } from "../spin/rules.ts";
import type { HomeDevice } from "../spin/types.ts";
import type { SpinParts } from "./home.ts";

const RULE_TABLE = `${ROOT}Rule.`;

export function spinDevice(parts: SpinParts): Implementation {
  const { home, log } = parts;
  const saveFailed = (error: unknown) => log.warn("the devices could not be saved", error);
  const forgetting = new Set<number>();
  return bind(SpinDevice, {
    rows: {
      instances: function* (_parent: unknown) {
        for (const { number } of home.devices()) yield number;
      },
      row: (_parent: unknown, instance: number): HomeDevice | undefined => home.device(instance),
      find: (_parent: unknown, param: string, value: unknown) => {
        if (param !== "PhysAddress") return [...home.devices()].find(({ alias }) => alias === value)?.number;
        const mac = parseMac(String(value));
        return mac === undefined ? undefined : home.deviceByMac(mac)?.number;
      },
      remove: (_parent: unknown, instance: number) => {
        // Forgetting can't be taken back, so it waits for the transaction's end.
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
      IPv4Address: (device) => device.ipv4Addresses,
      IPv6Address: (device) => device.ipv6Addresses,
      Interface: (device) => device.interface,
      FirstSeen: (device) => device.firstSeen || UNKNOWN_TIME,
      LastSeen: (device) => device.lastSeen || UNKNOWN_TIME,
      Active: (device) => device.active,
      Blocked: (device) => device.blocked,
      TopDestinations: (device) => home.topDestinations(device.number, 5).map(({ name }) => name),
    },
    set: {
      Name: (device, name) => {
        const before = device.name;
        home.setName(device.number, name).catch(saveFailed);
        return () => void home.setName(device.number, before).catch(saveFailed);
      },
    },
    committed: ({ kind, instance }) => {
      if (kind === "removed" && forgetting.delete(instance)) home.forget(instance).catch(saveFailed);
    },
    commands: {
      "Block()": async (device, { Duration, Reason }, call) => {
        const path = block(call, device, Duration ?? 0, Reason ?? "");
        await inForce(parts);
        return { Rule: path };
      },
      "Unblock()": async (device, _args, call) => {
        unblock(call, device, home.rules.list());
        await inForce(parts);
        const rest = home.rules.list().filter((rule) => home.rules.inForce(rule.id) && blocksAllOf(rule, device));
        return {
          Blocked: device.blocked || rest.length > 0,
          Rules: rest.map(({ id }) => `${RULE_TABLE}${id}`),
          Origins: rest.map(({ origin }) => origin),
        };
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

/** Makes the caller's block rule, or renews the one that it has. */
function block({ tree, caller }: CommandCall, device: HomeDevice, duration: number, reason: string): string {
  const expiry = duration === 0 ? NEVER : Date.now() + duration * 1000;
  const transaction = new Transaction(tree, caller);
  try {
    const existing = ownBlock(tree, caller, device);
    const node = existing ?? transaction.add(parentOfRules(tree), ruleTable(tree), []).node;
    const values = {
      Enable: true,
      Action: "Block",
      MACAddressList: [device.physAddress],
      DestinationList: ["*"],
      ExpiryDate: expiry,
      Reason: reason,
    };
    for (const [name, value] of Object.entries(values)) transaction.write(node, name, value);
    transaction.check();
    transaction.commit();
    return node.path.slice(0, -1);
  } catch (error) {
    transaction.rollback();
    throw error instanceof UspError ? new UspError(UspErrorCode.CommandFailed, error.message) : error;
  }
}

/** Removes the caller's own rules that block the device alone; from those of several devices it takes this one out. */
function unblock({ tree, caller }: CommandCall, device: HomeDevice, rules: readonly Rule[]): void {
  const transaction = new Transaction(tree, caller);
  for (const rule of rules) {
    if (rule.creator !== caller.endpointId || !blocksAllOf(rule, device) || rule.macs === "*") continue;
    const node = tree.at(`${RULE_TABLE}${rule.id}.`);
    if (!node) continue;
    if (rule.macs.length === 1) transaction.remove(node);
    else {
      const others = (node.object.params.get("MACAddressList")?.read(node.row) as readonly string[]).filter(
        (mac) => mac !== device.physAddress,
      );
      transaction.write(node, "MACAddressList", others);
    }
  }
  transaction.check();
  transaction.commit();
}

function ownBlock(tree: ModelTree, caller: Caller, device: HomeDevice) {
  for (const node of tree.rows(parentOfRules(tree), ruleTable(tree))) {
    const text = (name: string) => tree.text(node, name);
    if (
      text("Creator") === caller.endpointId &&
      text("Action") === "Block" &&
      text("MACAddressList") === device.physAddress &&
      text("DestinationList") === "*" &&
      text("Protocol") === "-1" &&
      text("PortList") === "" &&
      text("Initiator") === "Any"
    )
      return node;
  }
  return undefined;
}

/** Whether the rule, were it alone, would block all of the device's traffic. */
function blocksAllOf(rule: Rule, device: HomeDevice): boolean {
  return (
    (rule.action === "Block" || rule.action === "Reject") &&
    rule.destinations === "*" &&
    rule.protocol === -1 &&
    rule.ports.length === 0 &&
    rule.initiator === "Any" &&
    rule.macs !== "*" &&
    rule.macs.includes(device.mac)
  );
}

const ruleTable = (tree: ModelTree) => tree.object(RULE_TABLE) as NonNullable<ReturnType<ModelTree["object"]>>;
const parentOfRules = (tree: ModelTree) => tree.at(ROOT) as NonNullable<ReturnType<ModelTree["at"]>>;

/** On disk and in the kernel, so that whoever gets the answer can rely on it; a kernel that hangs shows as Pending. */
async function inForce({ persistence, home }: SpinParts): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, 2000)));
  try {
    await Promise.all([persistence?.saved(), Promise.race([home.settled(), patience])]);
  } catch (error) {
    throw new UspError(UspErrorCode.Internal, `the rule is in force but could not be saved: ${describe(error)}`);
  } finally {
    clearTimeout(timer);
  }
}
