/**
 * The demo on a live home: devices, a gateway and an Internet in network namespaces, the agent as a gateway runs it, a
 * controller behind mosquitto. The kernel blocks. Needs root.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectController } from "../src/controller/connect.ts";
import { AGENT_ID, AGENT_TOPIC } from "../test/support/agent.ts";
import type { HomeDevice } from "../test/support/home-device.ts";
import { scene, sceneMissing, type Scene } from "../test/support/scene.ts";
import { pause } from "./pause.ts";
import { Screen } from "./screen.ts";
import { watchHome } from "./watch.ts";

const NAMES = ["laptop", "tv", "speaker", "camera"] as const;
const GOOD_FOR_MS = 12_000;
const PATIENCE_MS = 5000;

export async function live(signal: AbortSignal): Promise<number> {
  const missing = sceneMissing();
  if (missing !== undefined) {
    process.stderr.write(`the live home can't be had here: ${missing}\n`);
    return 1;
  }
  const screen = new Screen();
  screen.say("Building a home in network namespaces …");
  // The home's reaper removes namespaces when this process ends, however it does; files are removed with their folder.
  const folder = mkdtempSync(join(tmpdir(), "spin-usp-live-"));
  process.env["TMPDIR"] = folder;
  try {
    const building = scene({ devices: NAMES.length });
    const stage = await Promise.race([building, stopped(signal)]);
    if (stage === undefined) {
      // What is half built still writes, and takes itself away when it notices; not for ever.
      const patience = new AbortController();
      const ended = building.then((built) => built.end()).finally(() => patience.abort());
      await Promise.race([ended, pause(PATIENCE_MS, patience.signal)]);
      return 0;
    }
    try {
      return (await play(stage, screen, signal)) ? 0 : 1;
    } finally {
      screen.end();
      await stage.end();
    }
  } catch (error) {
    // Ctrl-C reaches the agent and the broker as well as us: that they are gone is then no error.
    if (!signal.aborted) throw error;
    return 0;
  } finally {
    // The reaper removes the same files when processes ended under the home's hands.
    rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    if (signal.aborted) screen.say("Stopped.");
  }
}

async function play(stage: Scene, screen: Screen, signal: AbortSignal): Promise<boolean> {
  const left = new AbortController();
  const { controller } = await connectController(
    {
      agentId: AGENT_ID,
      controllerId: "self:op:operator",
      agentTopic: AGENT_TOPIC,
      mqtt: { url: `mqtt://${stage.home.broker.host}:${stage.home.broker.port}`, version: "5" },
    },
    signal,
  );
  const lives = inhabit(stage, screen, AbortSignal.any([left.signal, signal]));
  try {
    screen.say(`Agent ${AGENT_ID} on the gateway ⇄ mosquitto (MQTT 5) ⇄ controller self:op:operator.`);
    const everyMs = 1000;
    const watches = watchHome({ controller, screen, signal, now: () => Date.now(), ended: () => false, everyMs });
    return (await Promise.race([watches, stopped(signal)])) ?? true;
  } finally {
    left.abort();
    await controller.close();
    await lives;
  }
}

function stopped(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

/** Leases with names, ordinary traffic, and after a while a camera that scans. */
async function inhabit({ home }: Scene, screen: Screen, signal: AbortSignal): Promise<void> {
  const devices = NAMES.map((name, index) => ({ name, device: home.device(index + 1) }));
  await home.writeLeases(devices);
  const [laptop, tv, speaker, camera] = devices.map(({ device }) => device) as [
    HomeDevice,
    HomeDevice,
    HomeDevice,
    HomeDevice,
  ];
  const again = async (work: () => Promise<unknown>, everyMs: number) => {
    while (!signal.aborted) {
      await work().catch(() => undefined);
      await pause(everyMs, signal);
    }
  };
  await Promise.all([
    again(() => laptop.connections("198.51.100.20", { count: 20, rate: 20, down: 60_000 }), 300),
    again(() => tv.connections("198.51.100.30", { count: 4, rate: 8, down: 900_000 }), 200),
    again(() => speaker.resolve("www.example"), 1500),
    again(() => speaker.udp("198.51.100.40", { count: 20, size: 300 }), 800),
    pause(GOOD_FOR_MS, signal).then(async () => {
      screen.say("The camera begins to scan.");
      await again(() => camera.flows("198.18.0.1", { count: 2000, rate: 400 }), 0);
    }),
  ]);
}
