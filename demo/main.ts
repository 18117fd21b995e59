/**
 * `npm run demo`: a small home, replayed from a capture of our own test bed. An agent watches it, a controller reads it
 * through a broker, sees a camera go bad, blocks it through USP, and watches the rule's hits rise. All in one process,
 * all over real Records.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { ROOT } from "../datamodel/spin.ts";
import { devicesOfHome, rowsOf } from "../src/cli/ctl-home.ts";
import { deviceTable, nameOfDevice, number, object, text } from "../src/cli/device-table.ts";
import type { JsonObject } from "../src/cli/json.ts";
import { amount } from "../src/cli/text.ts";
import { connectController } from "../src/controller/connect.ts";
import type { Controller } from "../src/controller/controller.ts";
import { createLog } from "../src/lib/log.ts";
import { AGENT_ID, CONTROLLER_ID, CONTROLLER_TOPIC, demoAgent, type DemoAgent } from "./agent.ts";
import { startBroker } from "./broker.ts";
import { writeDemoHome } from "./make-home.ts";
import { Screen } from "./screen.ts";

const USAGE = `Usage: npm run demo -- [--speed N] [--live]

  --speed N   how often faster than captured; default 2
  --live      as root: a live home in network namespaces, where the kernel blocks
`;

/** A device that opens so many flows in a second is up to no good. */
const SUSPICIOUS_FLOWS_PER_SECOND = 40;
/** What is watched after the block, before the demo ends, in seconds of the wall clock. */
const AFTERMATH_S = 12;

async function main(args: string[]): Promise<number> {
  let options;
  try {
    options = parseArgs({ args, options: { speed: { type: "string" }, live: { type: "boolean" }, help: { type: "boolean" } } }).values;
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n\n${USAGE}`);
    return 2;
  }
  if (options.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const speed = Number(options.speed ?? "2");
  if (!(speed > 0 && speed <= 100)) {
    process.stderr.write(`--speed is ${JSON.stringify(options.speed)}; it must be a number above 0, at most 100\n`);
    return 2;
  }
  const stop = new AbortController();
  process.once("SIGINT", () => stop.abort());
  process.once("SIGTERM", () => stop.abort());
  if (options.live) {
    const { live } = await import("./live.ts");
    return live(stop.signal);
  }
  return replayed(speed, stop);
}

async function replayed(speed: number, stop: AbortController): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-demo-"));
  const broker = await startBroker();
  try {
    const capture = join(folder, "home.pcap");
    writeDemoHome(capture);
    const agent = demoAgent({ capture, speed, port: broker.port, log: createLog("spin-usp", { level: "warn" }) });
    const runs = agent.run(stop.signal);
    const shows = show(agent, broker.port, speed, stop.signal).finally(() => stop.abort());
    await Promise.all([runs, shows]);
    return 0;
  } finally {
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function show(agent: DemoAgent, port: number, speed: number, signal: AbortSignal): Promise<void> {
  const screen = new Screen();
  screen.say(`A home of our test bed is replayed at ${speed} times its speed.`);
  screen.say(`Agent ${AGENT_ID} ⇄ MQTT 3.1.1 at 127.0.0.1:${port} ⇄ controller ${CONTROLLER_ID}.`);
  const controller = await connect(port, signal);
  if (!controller) return;
  try {
    await watch(agent, controller, screen, signal);
  } finally {
    screen.end();
    await controller.close();
  }
}

async function connect(port: number, signal: AbortSignal): Promise<Controller | undefined> {
  for (let attempt = 0; !signal.aborted && attempt < 50; attempt++) {
    const { controller } = await connectController(
      {
        agentId: AGENT_ID,
        controllerId: CONTROLLER_ID,
        controllerTopic: CONTROLLER_TOPIC,
        mqtt: { url: `mqtt://127.0.0.1:${port}`, version: "3.1.1" },
      },
      signal,
    );
    const reached = await controller.get(["Device.LocalAgent.EndpointID"], { timeoutMs: 500 }).then(
      () => true,
      () => false,
    );
    if (reached) return controller;
    await controller.close();
    await pause(100, signal);
  }
  if (!signal.aborted) throw new Error("the agent could not be reached through the broker");
  return undefined;
}

async function watch(agent: DemoAgent, controller: Controller, screen: Screen, signal: AbortSignal): Promise<void> {
  let before = new Map<string, { flows: number; at: number }>();
  let blocked: { name: string; rule: string; at: number } | undefined;
  while (!signal.aborted) {
    const devices = await devicesOfHome({ controller });
    const rules = (await rowsOf({ controller }, "Rule")).map(({ row }) => row);
    screen.draw(`${deviceTable(devices, agent.now())}\n${ruleLines(rules)}`);
    const suspect = blocked ? undefined : mostFlows(devices, before, agent.now());
    before = new Map(devices.map((device) => [text(device["PhysAddress"]), { flows: flowsOf(device), at: agent.now() }]));
    if (suspect) {
      const name = nameOfDevice(suspect.device);
      screen.say(`${name} opened ${Math.round(suspect.perSecond)} flows a second: it scans. Blocking it through USP …`);
      const rule = await block(controller, suspect.device);
      screen.say(`Operate Block() answered: ${rule}. From here its packets are dropped and counted as the rule's hits.`);
      blocked = { name, rule, at: performance.now() };
    }
    if (blocked && (performance.now() - blocked.at > 1000 * AFTERMATH_S || agent.ended)) {
      const [rule] = rules;
      const hits = `${number(rule?.["HitPackets"])} packets, ${amount(number(rule?.["HitBytes"]), "B")}`;
      screen.say(`${blocked.name} stays blocked; ${blocked.rule} has dropped ${hits}. That is the main job.`);
      return;
    }
    if (agent.ended) return;
    await pause(1000, signal);
  }
  screen.say("Stopped.");
}

interface Suspect {
  readonly device: JsonObject;
  readonly perSecond: number;
}

/** The device whose FlowsOpened rose fastest since the last reading, if that is too fast. Capture time counts. */
function mostFlows(devices: readonly JsonObject[], before: ReadonlyMap<string, { flows: number; at: number }>, now: number): Suspect | undefined {
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
  return outcome.outputs?.get("Rule") ?? "";
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

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`demo: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exitCode = 1;
  },
);
