/** Which enforcer this gateway gets: the kernel through the helper, through spawned nft, or none. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import type { Config } from "../config.ts";
import { ConfigError } from "../config.ts";
import { HelperTransport } from "../enforce/helper-transport.ts";
import { NftablesEnforcer } from "../enforce/nftables.ts";
import type { Transport } from "../enforce/transport.ts";
import { WithBridge } from "../enforce/with-bridge.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import { RESIDENT_PORTS } from "../lib/resident-ports.ts";
import type { Store } from "../lib/store.ts";
import type { NetfilterHelper } from "../netlink/helper.ts";
import type { Enforcer } from "../spin/ruleset.ts";
import { findPart } from "./files.ts";
import { noEnforcer } from "./no-enforcer.ts";

export interface EnforcerParts {
  readonly helper: NetfilterHelper | undefined;
  readonly store: Store;
  readonly log: Log;
  readonly clock: Clock;
}

/** Elements as the boot script loads them, in the state directory: of the table of each family. */
export const SAVED_RULES = "rules.nft";
export const SAVED_BRIDGE_RULES = "rules-bridge.nft";
/** linux/net/bridge/br_netfilter_hooks.c: whether bridged frames pass the tables of the families ip and ip6. */
const BRIDGE_FILTERS = ["iptables", "ip6tables"].map((which) => `/proc/sys/net/bridge/bridge-nf-call-${which}`);

export interface MadeEnforcer {
  readonly enforcer: Enforcer;
  /** False: every rule is told that nobody enforces it. */
  readonly enforces: boolean;
}

/** @throws ConfigError where the backend that the configuration insists on can't work */
export async function makeEnforcer({ enforce }: Config, parts: EnforcerParts): Promise<MadeEnforcer> {
  if (enforce.backend === "none")
    return { enforcer: noEnforcer("option backend of enforce is none", false), enforces: false };
  const transport = await transportOf(enforce.backend, parts);
  if (typeof transport === "string") return { enforcer: noEnforcer(transport, true), enforces: false };
  const make = ({ transport, file }: { transport: Transport; file: string }) =>
    new NftablesEnforcer({
      transport,
      clock: parts.clock,
      log: parts.log,
      savedFile: join(parts.store.directory, file),
      residentPorts: residentPorts(enforce.resident_port),
    });
  const inet = make({ transport: transport.inet, file: SAVED_RULES });
  if (!transport.bridge) return { enforcer: inet, enforces: true };
  const { bridge } = transport;
  return {
    enforcer: new WithBridge({
      inet,
      bridge: make({ transport: bridge, file: SAVED_BRIDGE_RULES }),
      stands: async () => (await bridge.read(["version"], parts.clock.now())) !== undefined,
      isFilteredElsewhere: () => BRIDGE_FILTERS.some((path) => readOr(path, "0").trim() === "1"),
      log: parts.log,
    }),
    enforces: true,
  };
}

function readOr(path: string, otherwise: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return otherwise;
  }
}

function residentPorts(given: readonly string[]): readonly number[] {
  if (given.length === 0) return RESIDENT_PORTS;
  return [...new Set(given.map(Number))].filter((port) => port > 0);
}

interface Transports {
  readonly inet: Transport;
  /** Absent where its ruleset is not installed. */
  readonly bridge: Transport | undefined;
}

/** The ways to the kernel, or in words why there are none. */
async function transportOf(
  backend: "auto" | "helper" | "nft",
  { helper, log }: EnforcerParts,
): Promise<Transports | string> {
  const rulesetFile = findPart("spin.nft");
  const bridgeFile = findPart("spin-bridge.nft");
  const insist = (why: string): string => {
    if (backend !== "auto") throw new ConfigError(`enforce option backend is "${backend}", but ${why}`);
    log.error(`rules can't be enforced: ${why}`);
    return why;
  };
  if (rulesetFile === undefined) return insist("spin.nft was not found");
  if (backend !== "nft") {
    const why = helper ? await helper.usable() : "there is no helper";
    if (helper && why === undefined)
      return {
        inet: new HelperTransport(helper),
        bridge: bridgeFile === undefined ? undefined : new HelperTransport(helper, "bridge"),
      };
    if (backend === "helper") return insist(`the helper can't be used: ${why}`);
    log.warn(`rules go through spawned nft: ${why}`);
  }
  const { status, error, stderr } = spawnSync("nft", ["list", "tables"], { encoding: "utf8", timeout: 5000 });
  if (status !== 0) return insist(`nft can't be used: ${error?.message ?? stderr.trim()}`);
  const { NftTransport } = await import("../enforce/nft-transport.ts");
  return {
    inet: new NftTransport({ rulesetFile }),
    bridge: bridgeFile === undefined ? undefined : new NftTransport({ rulesetFile: bridgeFile, family: "bridge" }),
  };
}
