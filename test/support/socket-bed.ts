/** The product as it is run, on a machine without any broker: reached through its local doors alone. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectBySocket } from "../../src/controller/connect-socket.ts";
import type { Controller } from "../../src/controller/controller.ts";
import { Agent, type AgentOptions, type ConfigSection } from "./agent.ts";
import { eventually } from "./eventually.ts";

export class SocketBed {
  readonly folder = mkdtempSync(join(tmpdir(), "spin-doors-"));
  readonly #agents: Agent[] = [];
  readonly #controllers: Controller[] = [];

  path(name: string): string {
    return join(this.folder, `${name}.sock`);
  }

  /** A socket section named as its role in lower case, unless the options say otherwise. */
  section(role: string, options: Readonly<Record<string, string>> = {}): ConfigSection {
    const name = role.toLowerCase();
    return { type: "socket", name, options: { role, path: this.path(name), ...options } };
  }

  /** Starts one and waits for its doors. Several starts are restarts of one agent. */
  async agent(roles: readonly (string | ConfigSection)[], options: Partial<AgentOptions> = {}): Promise<Agent> {
    const given = roles.map((role) => (typeof role === "string" ? this.section(role) : role));
    // Without one the agent has the resident's where the machine's own agent may have it.
    const none = this.section("Resident", { enable: "0" });
    const sections = given.some(({ name }) => name === none.name) ? given : [...given, none];
    const agent = await Agent.start({
      folder: this.folder,
      enforce: "none",
      ...options,
      capture: { enable: "0", helper: "none" },
      sections: [...sections, ...(options.sections ?? [])],
    });
    this.#agents.push(agent);
    for (const { name, options: set } of sections)
      if (set["enable"] !== "0") await this.opens(set["path"] as string, agent, name);
    return agent;
  }

  /** Waits until somebody answers there. */
  async opens(path: string, agent: Agent, name = path): Promise<void> {
    const attempt = () =>
      this.connect(path).then(
        (controller) => controller.close().then(() => ""),
        (error: unknown) => String(error),
      );
    await agent.unlessItDies(eventually(attempt, (error) => error === "", { timeoutMs: 20_000, what: `door ${name}` }));
  }

  async connect(path: string, controllerId = "self::tester"): Promise<Controller> {
    const options = { url: `unix:${path}`, controllerId, agentId: "", mqtt: { url: "", version: "5" } } as const;
    const controller = await connectBySocket(options, new AbortController().signal);
    this.#controllers.push(controller);
    return controller;
  }

  /** As whoever comes through that role's door. */
  as(role: string, controllerId?: string): Promise<Controller> {
    return this.connect(this.path(role.toLowerCase()), controllerId);
  }

  async clear(): Promise<void> {
    for (const controller of this.#controllers.splice(0)) await controller.close();
    for (const agent of this.#agents.splice(0)) if (agent.running) await agent.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}
