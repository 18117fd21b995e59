/** What the controller of the demo does: looks, notices, blocks, looks again. It knows only what USP tells it. */
import { ROOT } from "../datamodel/spin.ts";
import { devicesOfHome, rowsOf } from "../src/cli/ctl-home.ts";
import { deviceTable, nameOfDevice, number, object, text } from "../src/cli/device-table.ts";
import type { JsonObject } from "../src/cli/json.ts";
import { amount } from "../src/cli/text.ts";
import type { Controller } from "../src/controller/controller.ts";
import { pause } from "./pause.ts";
import type { Screen } from "./screen.ts";

/** A device that opens so many flows in a second is up to no good. */
const SUSPICIOUS_FLOWS_PER_SECOND = 40;
/** What is watched after the block, before the demo ends, in seconds of the wall clock. */
const AFTERMATH_S = 12;

export interface Watched {
  readonly controller: Controller;
  readonly screen: Screen;
  readonly signal: AbortSignal;
  /** Milliseconds since 1970, of the home. */
  readonly now: () => number;
  /** Whether the home's traffic has come to its end. */
  readonly ended: () => boolean;
  /** Between two readings, in milliseconds of the wall clock. */
  readonly everyMs: number;
}

/**
 * Shows the devices until one misbehaves; blocks it through USP; shows the rule's hits rise. Whether it came to that.
 */
export async function watchHome({ controller, screen, signal, now, ended, everyMs }: Watched): Promise<boolean> {
  let before = new Map<string, { flows: number; at: number }>();
  let blocked: { name: string; rule: string; at: number } | undefined;
  while (!signal.aborted) {
    const devices = await devicesOfHome({ controller });
    const rules = (await rowsOf({ controller }, "Rule")).map(({ row }) => row);
    if (devices.length > 0) screen.draw(`${deviceTable(devices, now(), screen.width)}\n${ruleLines(rules)}`);
    const suspect = blocked ? undefined : mostFlows(devices, before, now());
    before = new Map(devices.map((device) => [text(device["PhysAddress"]), { flows: flowsOf(device), at: now() }]));
    if (suspect) {
      const name = nameOfDevice(suspect.device);
      screen.say(`${name} opened ${Math.round(suspect.perSecond)} flows a second: it scans. Blocking it through USP …`);
      const rule = await block(controller, suspect.device);
      screen.say(
        `Operate Block() answered: ${rule}. From here its packets are dropped and counted as the rule's hits.`,
      );
      blocked = { name, rule, at: performance.now() };
    }
    if (blocked && (performance.now() - blocked.at > 1000 * AFTERMATH_S || ended())) {
      const [rule] = rules;
      const hits = `${number(rule?.["HitPackets"])} packets, ${amount(number(rule?.["HitBytes"]), "B")}`;
      screen.say(`${blocked.name} stays blocked; ${blocked.rule} has dropped ${hits}. That is the main job.`);
      return true;
    }
    if (ended()) {
      screen.say("The home's traffic came to its end, and no device misbehaved.");
      return false;
    }
    await pause(everyMs, signal);
  }
  return true;
}

interface Suspect {
  readonly device: JsonObject;
  readonly perSecond: number;
}

/** The device whose FlowsOpened rose fastest since the last reading, if that is too fast. Capture time counts. */
function mostFlows(
  devices: readonly JsonObject[],
  before: ReadonlyMap<string, { flows: number; at: number }>,
  now: number,
): Suspect | undefined {
  let worst: Suspect | undefined;
  for (const device of devices) {
    const last = before.get(text(device["PhysAddress"]));
    if (!last || now - last.at < 500) continue;
    const perSecond = (1000 * (flowsOf(device) - last.flows)) / (now - last.at);
    if (perSecond >= SUSPICIOUS_FLOWS_PER_SECOND && perSecond > (worst?.perSecond ?? 0)) worst = { device, perSecond };
  }
  return worst;
}

const flowsOf = (device: JsonObject) => number(object(device["Stats"])["FlowsOpened"]);

async function block(controller: Controller, device: JsonObject): Promise<string> {
  const path = `${ROOT}Device.[PhysAddress=="${text(device["PhysAddress"])}"].Block()`;
  const [outcome] = await controller.operate(path, { Reason: "scans the network" });
  if (!outcome || outcome.error) throw outcome?.error ?? new Error("Block() was not answered");
  return outcome.output?.get("Rule") ?? "";
}

function ruleLines(rules: readonly JsonObject[]): string {
  if (rules.length === 0) return "no rules";
  return rules
    .map((rule) => {
      const hits = `${number(rule["HitPackets"])} packets (${amount(number(rule["HitBytes"]), "B")}) dropped`;
      return `rule: ${text(rule["Action"])} ${text(rule["MACAddressList"])} → ${text(rule["DestinationList"])}  ${text(rule["Status"])}  ${hits}`;
    })
    .join("\n");
}
