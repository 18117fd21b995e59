/** The agent as it is run and its controllers over WebSocket, whichever of the two listens. */
import { chmodSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectByUrl } from "../../src/controller/connect-url.ts";
import { listenForAgents, type ListenOptions } from "../../src/controller/connect-websocket.ts";
import type { Controller } from "../../src/controller/controller.ts";
import type { TlsOptions } from "../../src/mtp/tls.ts";
import { Agent, AGENT_ID, CONTROLLER_ID, type AgentOptions } from "./agent.ts";
import { eventually } from "./eventually.ts";

export const PATH = "/usp";
const never = new AbortController().signal;

/** One that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

export class WebSocketBed {
  readonly #folders: string[] = [];
  readonly #agents: Agent[] = [];
  readonly #controllers: Controller[] = [];

  async folder(): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), "spin-usp-websocket-"));
    chmodSync(folder, 0o755);
    this.#folders.push(folder);
    return folder;
  }

  /** Starts one that captures and enforces nothing and knows no other transport. */
  async agent(options: Partial<AgentOptions> = {}): Promise<Agent> {
    const agent = await Agent.start({
      folder: await this.folder(),
      enforce: "none",
      role: "Admin",
      ...options,
      capture: { enable: "0", helper: "none", ...options.capture },
    });
    this.#agents.push(agent);
    return agent;
  }

  /** One that listens on loopback. `websocket`: options of its section, over the defaults. */
  async listening(
    options: Partial<AgentOptions> & { websocket?: Readonly<Record<string, string | readonly string[]>> } = {},
  ): Promise<{ agent: Agent; port: number }> {
    const port = await freePort();
    const { websocket, ...rest } = options;
    const section = { listen: ["127.0.0.1"], port: String(port), path: PATH, tls: "0", ...websocket };
    const agent = await this.agent({
      ...rest,
      controller: { websocket: "lan", ...rest.controller },
      sections: [{ type: "websocket", name: "lan", options: section }, ...(rest.sections ?? [])],
    });
    return { agent, port };
  }

  /** A controller of the agent at that port, as soon as it listens. */
  async controller(
    port: number,
    { tls, controllerId = CONTROLLER_ID }: { tls?: TlsOptions; controllerId?: string } = {},
  ): Promise<Controller> {
    const url = `${tls ? "wss" : "ws"}://127.0.0.1:${port}${PATH}`;
    const options = { controllerId, agentId: AGENT_ID, timeoutMs: 10_000, url };
    const mqtt = { url: "mqtt://127.0.0.1", version: "5" as const, ...(tls ? { tls } : {}) };
    const connect = () => connectByUrl({ ...options, mqtt }, never).catch((error: unknown) => error as Error);
    const isThere = (result: Controller | Error) =>
      !(result instanceof Error && /nothing listens/.test(result.message));
    const result = await eventually(connect, isThere, { timeoutMs: 30_000, what: "the agent's port" });
    if (result instanceof Error) throw result;
    this.#controllers.push(result);
    return result;
  }

  async clear(): Promise<void> {
    for (const controller of this.#controllers.splice(0)) await controller.close();
    for (const agent of this.#agents.splice(0)) if (agent.running) await agent.kill();
    for (const folder of this.#folders.splice(0)) await rm(folder, { recursive: true, force: true });
  }
}

/** A controller that agents dial. */
export class ListeningController {
  readonly #stopping = new AbortController();
  readonly #arrived: Controller[] = [];
  readonly #waiting: ((controller: Controller) => void)[] = [];
  #ended: Promise<void> = Promise.resolve();

  private constructor(readonly port: number) {}

  static async start(
    port: number,
    options: Omit<Partial<ListenOptions>, "server"> & { server?: Partial<ListenOptions["server"]> } = {},
  ): Promise<ListeningController> {
    const it = new ListeningController(port);
    await new Promise<void>((resolve, reject) => {
      it.#ended = listenForAgents(
        {
          controllerId: CONTROLLER_ID,
          ...options,
          server: { addresses: ["127.0.0.1"], port, path: PATH, ...options.server },
        },
        it.#stopping.signal,
        {
          listening: () => resolve(),
          agent: (controller) => {
            const taker = it.#waiting.shift();
            if (taker) taker(controller);
            else it.#arrived.push(controller);
          },
        },
      );
      it.#ended.catch(reject);
    });
    return it;
  }

  /** The next agent that comes. */
  next(): Promise<Controller> {
    const first = this.#arrived.shift();
    return first ? Promise.resolve(first) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
    for (const controller of this.#arrived.splice(0)) await controller.close();
  }
}
