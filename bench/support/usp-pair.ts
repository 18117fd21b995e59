/**
 * The agent and the floor, and the reference agent where it is installed, each on a broker of its own on loopback, without
 * a home: what a request over MQTT costs each.
 */
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { AGENT_TOPIC, Agent } from "../../test/support/agent.ts";
import { eventually } from "../../test/support/eventually.ts";
import { startMosquitto } from "../../test/support/mosquitto.ts";
import { start, stop } from "../../test/support/namespace.ts";
import { LoadGenerator } from "./load.ts";
import { startObuspa } from "./obuspa.ts";

export interface Side {
  readonly load: LoadGenerator;
  readonly pid: number;
}

export interface Pair {
  readonly agent: Side;
  readonly floor: Side;
  /** OB-USP-A, where it is installed. */
  readonly peer?: Side | undefined;
  /** Its name, or that it is not installed. */
  readonly peerName: string;
  end(): Promise<void>;
}

const BROKER = ["set_tcp_nodelay true", "max_queued_messages 0", "max_inflight_messages 0"];

/** `parameters` is how many the floor answers with; `benchRows` how many rows `X_BENCH` has. */
export async function pair(parameters: number, benchRows: number): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), "spin-bench-"));
  const broker = () => startMosquitto({ config: BROKER });
  const brokers = [await broker(), await broker(), await broker()] as const;
  const [first, second, third] = brokers;
  const agent = await Agent.start({
    folder,
    broker: { host: "127.0.0.1", port: first.port },
    enforce: "none",
    logLevel: "warn",
    capture: { interface: ["lo"] },
    // As the floor, and as the reference agent was measured.
    mqtt: { qos: "0" },
    args: ["--bench-model", String(benchRows)],
    // As OB-USP-A was measured, and as the floor answers.
    qos: 0,
    role: "Admin",
    // Room for a Get of 200,000 parameters.
    agent: { max_message_size: "16000000" },
    nodeArgs: process.env["SPIN_BENCH_NODE_ARGS"]?.split(" ") ?? [],
  });
  const floor = await echo(second.port, parameters);
  const obuspa = await startObuspa(folder, third.port);
  const loads = await Promise.all(brokers.map(({ port }) => LoadGenerator.connect(port)));
  const [ours, theFloors, theirs] = loads as [LoadGenerator, LoadGenerator, LoadGenerator];
  await agent.unlessItDies(answering(ours, () => agent.log.slice(-1000)));
  if (obuspa) await answering(theirs, () => "OB-USP-A is silent");
  return {
    agent: { load: ours, pid: agent.pid },
    floor: { load: theFloors, pid: floor.pid as number },
    ...(obuspa ? { peer: { load: theirs, pid: obuspa.pid } } : {}),
    peerName: obuspa ? "OB-USP-A" : "OB-USP-A: not installed (OBUSPA)",
    async end() {
      await Promise.all(loads.map((load) => load.close()));
      await Promise.all([agent.stop(), stop(floor), obuspa?.end()]);
      await Promise.all(brokers.map((broker) => broker.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answering(load: LoadGenerator, log: () => string): Promise<void> {
  let answered = false;
  const ask = () => {
    void load.get("Device.DeviceInfo.SoftwareVersion").then(() => (answered = true));
    return answered;
  };
  try {
    await eventually(ask, Boolean, { everyMs: 200, timeoutMs: 15_000, what: "an answer" });
  } catch (error) {
    throw new Error(`${(error as Error).message}: ${log()}`);
  }
}

async function echo(port: number, parameters: number): Promise<ChildProcess> {
  const file = resolve("build/bench/echo-endpoint.cjs");
  const child = start(undefined, process.execPath, [file, String(port), AGENT_TOPIC, String(parameters)]);
  child.stderr?.pipe(process.stderr);
  await new Promise((done) => child.stdout?.once("data", done));
  return child;
}
