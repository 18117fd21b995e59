/** The agent and the floor on two brokers of loopback, without a home: what a request over MQTT costs each. */
import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { AGENT_TOPIC, Agent } from "../../test/support/agent.ts";
import { eventually } from "../../test/support/eventually.ts";
import { type Broker, startMosquitto } from "../../test/support/mosquitto.ts";
import { start, stop } from "../../test/support/namespace.ts";
import { LoadGenerator } from "./load.ts";

export interface Side {
  readonly load: LoadGenerator;
  readonly pid: number;
}

export interface Pair {
  readonly agent: Side;
  readonly floor: Side;
  end(): Promise<void>;
}

const BROKER = ["set_tcp_nodelay true", "max_queued_messages 0", "max_inflight_messages 0"];

/** `parameters` is how many the floor answers with; `benchRows` how many rows `X_BENCH` has. */
export async function pair(parameters: number, benchRows: number): Promise<Pair> {
  const folder = await mkdtemp(join(tmpdir(), "spin-bench-"));
  const brokers: Broker[] = [await startMosquitto({ config: BROKER }), await startMosquitto({ config: BROKER })];
  const [first, second] = brokers as [Broker, Broker];
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
    nodeArgs: process.env["SPIN_BENCH_NODE_ARGS"]?.split(" ") ?? [],
  });
  const floor = await echo(second.port, parameters);
  const loads = [await LoadGenerator.connect(first.port), await LoadGenerator.connect(second.port)] as const;
  await agent.unlessItDies(answering(loads[0], agent));
  return {
    agent: { load: loads[0], pid: agent.pid },
    floor: { load: loads[1], pid: floor.pid as number },
    async end() {
      await Promise.all(loads.map((load) => load.close()));
      await Promise.all([agent.stop(), stop(floor)]);
      await Promise.all(brokers.map((broker) => broker.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function answering(load: LoadGenerator, agent: Agent): Promise<void> {
  let answered = false;
  const ask = () => {
    void load.get("Device.DeviceInfo.SoftwareVersion").then(() => (answered = true));
    return answered;
  };
  await eventually(ask, Boolean, { everyMs: 200, timeoutMs: 15_000, what: `an answer; ${agent.log.slice(-1000)}` });
}

async function echo(port: number, parameters: number): Promise<ChildProcess> {
  const file = resolve("build/bench/echo-endpoint.cjs");
  const child = start(undefined, process.execPath, [file, String(port), AGENT_TOPIC, String(parameters)]);
  child.stderr?.pipe(process.stderr);
  await new Promise((done) => child.stdout?.once("data", done));
  return child;
}
