/** The product as it is run, on loopback beside a mosquitto of its own, without touching the network. */
import { mkdtemp, rm } from "node:fs/promises";
import { chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectController } from "../../src/controller/connect.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { Agent, AGENT_ID, AGENT_TOPIC, CONTROLLER_ID, CONTROLLER_TOPIC, type AgentOptions } from "../support/agent.ts";
import { eventually } from "../support/eventually.ts";
import { hasMosquitto, startMosquitto, type Broker } from "../support/mosquitto.ts";
import { missing } from "../support/needs.ts";

export const gatewayMissing = missing("setpriv") ?? (hasMosquitto ? undefined : "needs mosquitto");

export class Bed {
  readonly #folders: string[] = [];
  readonly #agents: Agent[] = [];
  readonly #controllers: Controller[] = [];

  private constructor(readonly broker: Broker) {}

  /** A mosquitto with these lines of configuration and files in its folder; `{folder}` stands for that. */
  static async up(
    config: readonly string[] = ["set_tcp_nodelay true"],
    files: Readonly<Record<string, string>> = {},
  ): Promise<Bed> {
    return new Bed(await startMosquitto({ config, files }));
  }

  /** A folder for an agent's configuration and state; it goes with the bed. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "spin-usp-gateway-"));
    chmodSync(folder, 0o755);
    this.#folders.push(folder);
    return folder;
  }

  /** Starts one that captures and enforces nothing, unless the options say otherwise. */
  async agent(folder: string, options: Partial<AgentOptions> = {}): Promise<Agent> {
    const agent = await Agent.start({
      folder,
      broker: { host: "127.0.0.1", port: this.broker.port },
      enforce: "none",
      ...options,
      capture: { enable: "0", helper: "none", ...options.capture },
    });
    this.#agents.push(agent);
    return agent;
  }

  async controller(options: { version?: "5" | "3.1.1" } = {}): Promise<Controller> {
    const { controller } = await connectController(
      {
        controllerId: CONTROLLER_ID,
        agentId: AGENT_ID,
        agentTopic: AGENT_TOPIC,
        controllerTopic: CONTROLLER_TOPIC,
        timeoutMs: 5000,
        mqtt: { url: this.broker.url, version: options.version ?? "5", publishQos: 0 },
      },
      new AbortController().signal,
    );
    this.#controllers.push(controller);
    return controller;
  }

  /** Ends agents, controllers and what they left; the broker stays. */
  async clear(): Promise<void> {
    for (const controller of this.#controllers.splice(0)) await controller.close();
    for (const agent of this.#agents.splice(0)) if (agent.running) await agent.kill();
    for (const folder of this.#folders.splice(0)) await rm(folder, { recursive: true, force: true });
  }

  async down(): Promise<void> {
    await this.clear();
    await this.broker.stop();
  }
}

/** Waits until the agent answers. */
export async function answers(controller: Controller, agent: Agent, timeoutMs = 20_000): Promise<void> {
  const ask = () =>
    controller.read(["Device.LocalAgent.EndpointID"], { timeoutMs: 300 }).then(
      () => "",
      (error: unknown) => String(error),
    );
  await agent.unlessItDies(eventually(ask, (error) => error === "", { timeoutMs, what: "the agent's answer" }));
}

/** Waits for the end of the process; its exit code. */
export async function exitOf(agent: Agent): Promise<number> {
  const ends = await agent.unlessItDies(new Promise<never>(() => undefined)).catch((error: unknown) => String(error));
  return Number(/ended with (\d+)/.exec(String(ends))?.[1]);
}
