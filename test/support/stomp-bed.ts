/** The agent as it is run and a controller of its, on both sides of a RabbitMQ of the test's own. */
import { mkdtemp, rm } from "node:fs/promises";
import { chmodSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectByStomp } from "../../src/controller/connect-stomp.ts";
import type { Controller } from "../../src/controller/controller.ts";
import type { StompOptions } from "../../src/mtp/stomp-options.ts";
import { Agent, AGENT_ID, CONTROLLER_ID, type AgentOptions } from "./agent.ts";
import { GUEST, startRabbit, type Rabbit, type RabbitOptions } from "./rabbitmq.ts";

export class StompBed {
  readonly #folders: string[] = [];
  readonly #agents: Agent[] = [];
  readonly #controllers: Controller[] = [];

  private constructor(readonly rabbit: Rabbit) {}

  static async up(options: RabbitOptions = {}): Promise<StompBed> {
    return new StompBed(await startRabbit({ ...options, files: { guest: `${GUEST.password}\n`, ...options.files } }));
  }

  /** A folder for an agent's configuration and state; it goes with the bed. */
  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "spin-usp-stomp-"));
    chmodSync(folder, 0o755);
    this.#folders.push(folder);
    return folder;
  }

  /** Starts one that captures and enforces nothing and knows no other transport. `stomp`: options over the defaults. */
  async agent(options: Partial<AgentOptions> & { stomp?: Readonly<Record<string, string>> } = {}): Promise<Agent> {
    const { stomp, ...rest } = options;
    const agent = await Agent.start({
      folder: await this.folder(),
      enforce: "none",
      role: "Admin",
      ...rest,
      controller: { stomp: "broker", ...rest.controller },
      capture: { enable: "0", helper: "none", ...rest.capture },
      sections: [
        { type: "stomp", name: "broker", options: { ...this.#section(), ...stomp } },
        ...(rest.sections ?? []),
      ],
    });
    this.#agents.push(agent);
    return agent;
  }

  async controller(stomp: Partial<StompOptions> = {}): Promise<Controller> {
    const { controller } = await connectByStomp(
      {
        controllerId: CONTROLLER_ID,
        agentId: AGENT_ID,
        timeoutMs: 5000,
        stomp: { url: this.rabbit.url, ...GUEST, ...stomp },
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
    await this.rabbit.stop();
  }

  /** RabbitMQ knows `guest` from the start; its password is in a file, as a password should be. */
  #section(): Record<string, string> {
    return {
      host: "127.0.0.1",
      port: String(this.rabbit.port),
      tls: "0",
      username: GUEST.username,
      password_file: join(this.rabbit.folder, "guest"),
      retry_interval: "1",
    };
  }
}
