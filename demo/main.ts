/**
 * `npm run demo`: a small home, replayed from a capture of our own test bed. An agent watches it, a controller reads it
 * through a broker, sees a camera go bad, blocks it through USP, and watches the rule's hits rise. All in one process,
 * all over real Records.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { connectController } from "../src/controller/connect.ts";
import type { Controller } from "../src/controller/controller.ts";
import { createLog } from "../src/lib/log.ts";
import { AGENT_ID, CONTROLLER_ID, CONTROLLER_TOPIC, demoAgent, type DemoAgent } from "./agent.ts";
import { startBroker } from "./broker.ts";
import { writeDemoHome } from "./make-home.ts";
import { pause } from "./pause.ts";
import { Screen } from "./screen.ts";
import { watchHome } from "./watch.ts";

const USAGE = `Usage: npm run demo -- [--speed N] [--live]

  --speed N   how often faster than captured; default 2
  --live      as root: a live home in network namespaces, where the kernel blocks
`;

async function main(args: string[]): Promise<number> {
  let options;
  try {
    options = parseArgs({
      args,
      options: { speed: { type: "string" }, live: { type: "boolean" }, help: { type: "boolean" } },
    }).values;
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
    // The agent stays until the controller has left: a question that is under way is answered.
    const left = new AbortController();
    const runs = agent.run(left.signal).finally(() => stop.abort());
    const shows = show(agent, broker.port, speed, stop.signal).finally(() => left.abort());
    const [, isDone] = await Promise.all([runs, shows]);
    return isDone ? 0 : 1;
  } finally {
    await broker.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Whether what the demo is about was seen, or nobody waited for it. */
async function show(agent: DemoAgent, port: number, speed: number, signal: AbortSignal): Promise<boolean> {
  const screen = new Screen();
  screen.say(`A home of our test bed is replayed at ${speed} times its speed.`);
  if (process.getuid?.() === 0)
    screen.say("You are root: `npm run demo -- --live` shows it on a live home, where the kernel blocks.");
  screen.say(`Agent ${AGENT_ID} ⇄ MQTT 3.1.1 at 127.0.0.1:${port} ⇄ controller ${CONTROLLER_ID}.`);
  const controller = await connect(port, signal);
  if (!controller) return true;
  const everyMs = Math.min(1000, Math.max(20, 2000 / speed));
  try {
    return await watchHome({
      controller,
      screen,
      signal,
      now: () => agent.now(),
      ended: () => agent.ended,
      everyMs,
    });
  } finally {
    screen.end();
    if (signal.aborted) screen.say("Stopped.");
    await controller.close();
  }
}

async function connect(port: number, signal: AbortSignal): Promise<Controller | undefined> {
  for (let attempt = 0; !signal.aborted && attempt < 50; attempt++) {
    const connected = await connectController(
      {
        agentId: AGENT_ID,
        controllerId: CONTROLLER_ID,
        controllerTopic: CONTROLLER_TOPIC,
        mqtt: { url: `mqtt://127.0.0.1:${port}`, version: "3.1.1" },
      },
      signal,
    ).catch((error: unknown) => {
      if (signal.aborted) return undefined;
      throw error;
    });
    if (!connected) return undefined;
    const { controller } = connected;
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

// What a home under construction still waits for does not hold us up.
main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: unknown) => {
    process.stderr.write(`demo: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    process.exit(1);
  },
);
